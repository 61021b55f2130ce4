//! What is wrong with a body in protobuf, and where.

use crate::protobuf::{Fault, Malformed};
use std::fmt;

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtobufError {
    /// Bytes from the start of the body.
    pub offset: usize,
    pub what: ProtobufFault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtobufFault {
    Malformed(Malformed),
    /// The name of what is not UTF-8.
    NotUtf8(&'static str),
    NoName,
    UnknownType(u64),
    /// A unit, and the metric that it is not a suffix of.
    Unit(String, String),
    Limit {
        name: &'static str,
        limit: usize,
    },
}

pub(super) type Read<T> = Result<T, ProtobufError>;

impl ProtobufError {
    #[cold]
    pub(super) fn at(offset: usize, what: ProtobufFault) -> ProtobufError {
        ProtobufError { offset, what }
    }
}

impl From<Fault> for ProtobufError {
    fn from(fault: Fault) -> Self {
        ProtobufError { offset: fault.offset, what: ProtobufFault::Malformed(fault.what) }
    }
}

impl fmt::Display for ProtobufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protobuf at byte {}: ", self.offset)?;
        match &self.what {
            ProtobufFault::Malformed(what) => write!(f, "{what}"),
            ProtobufFault::NotUtf8(what) => write!(f, "{what} is not valid UTF-8"),
            ProtobufFault::NoName => f.write_str("metric family without a name"),
            ProtobufFault::UnknownType(code) => write!(f, "unknown metric type {code}"),
            ProtobufFault::Unit(unit, name) => write!(f, "unit {unit:?} not a suffix of metric {name:?}"),
            ProtobufFault::Limit { name, limit } => write!(f, "more {name} than the limit of {limit}"),
        }
    }
}

impl std::error::Error for ProtobufError {}

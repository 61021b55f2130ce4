//! What can be wrong with a remote-write request, and where. The walk keeps no path of its own: once it
//! has failed, the way to the offset of the fault is found by reading the message again.

use crate::protobuf::{LENGTH, Malformed, Reader};
use std::fmt;

/// Why a request was not decoded. All of them are the sender's fault, and repeating will not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a snappy block; the text opens with "snappy: ".
    Snappy(String),
    /// The block claims to hold more than we accept.
    TooLarge { decoded_bytes: u64, limit_bytes: usize },
    /// Not the expected protobuf message. `offset` counts from the start of the decompressed message.
    Malformed { field: String, offset: usize, what: Malformed },
    /// More of something than a request may hold; `name` is that of the limit.
    Limit { field: String, offset: usize, name: &'static str, limit: usize },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Snappy(why) => f.write_str(why),
            DecodeError::TooLarge { decoded_bytes, limit_bytes } => {
                write!(
                    f,
                    "snappy: decoded size of {decoded_bytes} bytes exceeds the limit of {limit_bytes} bytes"
                )
            }
            DecodeError::Malformed { field, offset, what } => {
                write!(f, "malformed write request: {field} at byte {offset}: {what}")
            }
            DecodeError::Limit { field, offset, name, limit } => {
                write!(f, "write request too large: {field} at byte {offset}: more than {limit} {name}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// A field's number, name, whether it repeats, and the message in it.
struct Field(u32, &'static str, bool, &'static [Field]);

const LABEL: &[Field] = &[Field(1, "name", false, &[]), Field(2, "value", false, &[])];
const SAMPLE: &[Field] = &[Field(1, "value", false, &[]), Field(2, "timestamp", false, &[])];
const EXEMPLAR: &[Field] =
    &[Field(1, "labels", true, LABEL), Field(2, "value", false, &[]), Field(3, "timestamp", false, &[])];
const SPAN: &[Field] = &[Field(1, "offset", false, &[]), Field(2, "length", false, &[])];
const HISTOGRAM: &[Field] = &[
    Field(1, "count_int", false, &[]),
    Field(2, "count_float", false, &[]),
    Field(3, "sum", false, &[]),
    Field(4, "schema", false, &[]),
    Field(5, "zero_threshold", false, &[]),
    Field(6, "zero_count_int", false, &[]),
    Field(7, "zero_count_float", false, &[]),
    Field(8, "negative_spans", true, SPAN),
    Field(9, "negative_deltas", false, &[]),
    Field(10, "negative_counts", false, &[]),
    Field(11, "positive_spans", true, SPAN),
    Field(12, "positive_deltas", false, &[]),
    Field(13, "positive_counts", false, &[]),
    Field(14, "reset_hint", false, &[]),
    Field(15, "timestamp", false, &[]),
    Field(16, "custom_values", false, &[]),
];
const TIME_SERIES: &[Field] = &[
    Field(1, "labels", true, LABEL),
    Field(2, "samples", true, SAMPLE),
    Field(3, "exemplars", true, EXEMPLAR),
    Field(4, "histograms", true, HISTOGRAM),
];
const METADATA: &[Field] = &[
    Field(1, "type", false, &[]),
    Field(2, "metric_family_name", false, &[]),
    Field(4, "help", false, &[]),
    Field(5, "unit", false, &[]),
];
const WRITE_REQUEST: &[Field] =
    &[Field(1, "timeseries", true, TIME_SERIES), Field(3, "metadata", true, METADATA)];

/// The path of the field that holds the byte at `offset`, as far as the message can be read, such as
/// `timeseries[3].samples[0].value`.
pub(super) fn path_of(message: &[u8], offset: usize) -> String {
    let mut path = String::new();
    let mut reader = Reader::new(message);
    let mut fields = WRITE_REQUEST;
    // Each turn goes one level deeper, and the table above has three.
    while let Some((step, inner, next)) = step_towards(reader, fields, offset) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&step);
        let Some(inner) = inner else { break };
        (reader, fields) = (inner, next);
    }
    if path.is_empty() { "message".to_owned() } else { path }
}

type Step<'a> = (String, Option<Reader<'a>>, &'static [Field]);

fn step_towards<'a>(mut reader: Reader<'a>, fields: &'static [Field], offset: usize) -> Option<Step<'a>> {
    let mut seen = [0usize; 17];
    while !reader.is_empty() {
        let tag = reader.tag().ok()?;
        let content = reader;
        let past = reader.skip(tag).map_or(reader.end() + 1, |()| reader.offset());
        let index = seen.get_mut(tag.field as usize).map_or(0, |n| std::mem::replace(n, *n + 1));
        if offset >= past {
            continue;
        }
        let known = fields.iter().find(|f| f.0 == tag.field);
        let step = match known {
            None => format!("field {}", tag.field),
            Some(Field(_, name, true, _)) => format!("{name}[{index}]"),
            Some(Field(_, name, false, _)) => (*name).to_owned(),
        };
        let mut inner = content;
        let deeper = match (known, tag.wire) {
            (Some(Field(_, _, _, next)), LENGTH) if !next.is_empty() => {
                inner.message().ok().filter(|m| m.offset() <= offset).map(|m| (m, *next))
            }
            _ => None,
        };
        return Some(match deeper {
            Some((message, next)) => (step, Some(message), next),
            None => (step, None, &[]),
        });
    }
    None
}

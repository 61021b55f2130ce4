//! The language: text -> tree -> plan -> a fragment for each shard -> merge -> value.
//!
//! Architecture invariants: nothing here knows of files, sockets, clocks that decide, or threads; the
//! plan does not change after `plan`; the executor awaits only in `exec::scan`.
#![forbid(unsafe_code)]

pub mod active;
pub mod cache;
pub mod config;
pub mod engine;
pub mod exec;
pub mod explain;
pub mod functions;
mod gate;
pub mod missing;
pub mod plan;
pub mod query;
pub mod syntax;

pub use engine::{Engine, EngineOptions};
pub use query::{
    Answer, InstantRequest, MatrixSeries, Origin, Point, Query, QueryAdmin, QueryError, QueryStats,
    RangeRequest, RequestOptions, Value, VectorElement,
};

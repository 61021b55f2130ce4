//! The words every other crate speaks: labels, matchers, samples, histograms, time ranges, write
//! batches, relabelling, and the contract between a store and those who write to it or read from it.
//!
//! Architecture invariant: nothing here knows of files, sockets, clocks, threads or PromQL, and
//! nothing here depends on another crate of ours.

#![forbid(unsafe_code)]

pub mod batch;
pub mod context;
pub mod duration;
pub mod histogram;
pub mod key;
pub mod label;
pub mod matcher;
pub mod metadata;
pub mod missing;
pub mod number;
pub mod panic;
pub mod range;
pub mod relabel;
pub mod replicas;
pub mod roster;
pub mod sample;
pub mod store;
pub mod testing;
pub mod watermark;

pub use batch::{Refusal, Refused, WriteBatch, WriteOutcome};
pub use context::QueryContext;
pub use duration::{duration_text, parse_duration_ms};
pub use histogram::{CounterReset, Histogram, Span};
pub use label::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use missing::Missing;
pub use range::TimeRange;
pub use roster::{Column, Roster};
pub use sample::{STALE_NAN_BITS, Sample, is_stale, stale_nan};
pub use store::{
    Ack, Append, Catalogue, Columns, Projection, Scatter, Select, SeriesCursor, ShardView, StoreError,
};

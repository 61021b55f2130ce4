//! Every foreign format, parsed and printed: bytes in, model types out (and back), nothing else.
//!
//! * [`remote_write`]: what other Prometheus servers and agents push, and what we would push;
//! * [`exposition`]: what targets show on their `/metrics`, and what we show on ours;
//! * [`json`]: query results as Prometheus prints them.
//!
//! Nothing here does I/O, knows the time or keeps state between messages, scratch memory apart. Whatever
//! arrives is hostile until parsed: no panic, no recursion, no growth without a limit from [`config`].

#![forbid(unsafe_code)]

pub mod config;
pub mod exposition;
pub mod json;
pub mod metadata;
mod protobuf;
pub mod remote_write;

pub use config::Limits;
pub use metadata::{Metadata, MetricType};

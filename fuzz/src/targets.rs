//! The targets, one file a parser. A target only calls its parser and, where there is a way back, checks
//! that the way back returns what was parsed; it holds no logic of its own.

pub mod block;
pub mod chunk_histograms;
pub mod chunk_times;
pub mod chunk_values;
pub mod content_type;
pub mod discovery;
pub mod exposition_openmetrics;
pub mod exposition_protobuf;
pub mod exposition_text;
pub mod http_answer;
pub mod label_key;
pub mod number;
pub mod prometheus_chunk;
pub mod prometheus_files;
pub mod prometheus_index;
pub mod prometheus_log;
pub mod promql;
pub mod remote_write;
pub mod wal;

//! What is known of a metric family besides its samples: type, help, unit.

pub use hearth_model::metadata::MetricKind as MetricType;

/// Metadata of one family, borrowed from the message it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a> {
    pub metric_type: MetricType,
    pub family: &'a str,
    pub help: &'a str,
    pub unit: &'a str,
}

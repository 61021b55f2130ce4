//! What is known of a metric besides its samples: type, help, unit.

use std::sync::Arc;

/// Type of a metric, by the names of OpenMetrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MetricKind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl MetricKind {
    pub const ALL: [MetricKind; 8] = [
        MetricKind::Unknown,
        MetricKind::Counter,
        MetricKind::Gauge,
        MetricKind::Histogram,
        MetricKind::GaugeHistogram,
        MetricKind::Summary,
        MetricKind::Info,
        MetricKind::StateSet,
    ];

    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Unknown => "unknown",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
        }
    }

    /// The kind of that name; unknown where there is none.
    pub fn named(name: &str) -> MetricKind {
        MetricKind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or_default()
    }
}

/// What somebody said of a metric. The texts are shared: a thousand targets say the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricMetadata {
    pub name: Arc<str>,
    pub kind: MetricKind,
    pub unit: Arc<str>,
    pub help: Arc<str>,
}

impl MetricMetadata {
    /// Bytes of its texts.
    pub fn size_bytes(&self) -> usize {
        self.name.len() + self.unit.len() + self.help.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in MetricKind::ALL {
            assert_eq!(MetricKind::named(kind.name()), kind);
        }
        assert_eq!(MetricKind::named("untyped"), MetricKind::Unknown);
    }
}

//! The series that a scrape makes about itself: `up` and its companions.

use crate::job::Job;
use crate::series_labels;
use hearth_model::{Labels, Sample, WriteBatch, key, stale_nan};

/// What one scrape reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub up: bool,
    pub duration_seconds: f64,
    /// Samples in the body.
    pub scraped: u64,
    /// Of them, those that relabelling left.
    pub kept: u64,
    /// Series not in the last scrape.
    pub added: u64,
    /// -1: over the limit.
    pub body_bytes: i64,
}

/// The ready keys of one target's synthetic series.
pub struct Report {
    keys: Vec<Vec<u8>>,
    timeout_seconds: f64,
    sample_limit: f64,
}

const ALWAYS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

impl Report {
    pub fn new(job: &Job, labels: &Labels, timeout_seconds: f64) -> Report {
        let extra: &[&str] = if job.config.extra_scrape_metrics == Some(true) { &EXTRA } else { &[] };
        let key_of = |name: &&str| key::key_of(&series_labels::of_report(labels, name));
        Report {
            keys: ALWAYS.iter().chain(extra).map(key_of).collect(),
            timeout_seconds,
            sample_limit: job.config.sample_limit as f64,
        }
    }

    pub fn push(&self, batch: &mut WriteBatch, timestamp_ms: i64, figures: &Figures) {
        let values = [
            f64::from(u8::from(figures.up)),
            figures.duration_seconds,
            figures.scraped as f64,
            figures.kept as f64,
            figures.added as f64,
            self.timeout_seconds,
            self.sample_limit,
            figures.body_bytes as f64,
        ];
        for (key, value) in self.keys.iter().zip(values) {
            batch.push_keyed(key, &[Sample { timestamp_ms, value }]);
        }
    }

    /// The end of all of them.
    pub fn push_stale(&self, batch: &mut WriteBatch, timestamp_ms: i64) {
        for key in &self.keys {
            batch.push_keyed(key, &[Sample { timestamp_ms, value: stale_nan() }]);
        }
    }
}

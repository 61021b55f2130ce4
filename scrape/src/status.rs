//! What scraping tells about itself, as plain data: targets and pools, metadata, and metric families. The
//! API turns the first two into JSON, whoever serves `/metrics` prints the last. Nothing here acts.

use crate::config::PromDuration;
use hearth_model::Labels;
use hearth_model::metadata::MetricKind;
use std::sync::Arc;

/// What the last scrape of a target said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// One target that is scraped: the fields of `/api/v1/targets` but for `globalUrl`, which depends on
/// where the server says it is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveTarget {
    pub discovered_labels: Labels,
    pub labels: Labels,
    pub scrape_pool: Arc<str>,
    pub scrape_url: String,
    /// "" when the last scrape went well.
    pub last_error: String,
    pub last_scrape_ms: Option<i64>,
    pub last_scrape_duration_seconds: f64,
    pub health: Health,
    pub scrape_interval: PromDuration,
    pub scrape_timeout: PromDuration,
}

/// One target that relabelling dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedTarget {
    pub discovered_labels: Labels,
    pub scrape_pool: Arc<str>,
}

/// One job's targets.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStatus {
    pub name: Arc<str>,
    /// By labels.
    pub active: Vec<ActiveTarget>,
    /// At most `keep_dropped_targets` of them (0: all).
    pub dropped: Vec<DroppedTarget>,
    /// All that were dropped.
    pub dropped_count: usize,
}

/// What a target says of one of its metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata {
    pub kind: MetricKind,
    pub help: Arc<str>,
    pub unit: Arc<str>,
}

/// The metadata that one target's last scrapes carried, by metric name.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMetadata {
    pub labels: Labels,
    pub metrics: Vec<(Arc<str>, Metadata)>,
}

/// How a metric family is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Summary,
}

impl FamilyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Summary => "summary",
        }
    }
}

/// One sample of a family: `name` + `suffix` (`_sum`, `_count` or "").
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub suffix: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// One metric family for `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FamilyKind,
    pub points: Vec<Point>,
}

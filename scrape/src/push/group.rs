//! The nouns of a push gateway: groups, their families, and the samples in them.

use hearth_model::Histogram;
use hearth_wire::exposition::print;
use hearth_wire::metadata::MetricType;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// A group's own labels, which every series of it has; `job` among them.
pub type Labels = BTreeMap<String, String>;

/// When the group last took a push, and when it last refused one, as metrics of each group.
pub const TIMES: [(&str, &str); 2] = [
    ("push_time_seconds", "Last Unix time when changing this group in the Pushgateway succeeded."),
    ("push_failure_time_seconds", "Last Unix time when changing this group in the Pushgateway failed."),
];

/// A sample's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// One series and what was pushed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// As the text format spells it, the group's labels joined in, in one order: the same series always
    /// has the same bytes.
    pub series: Box<[u8]>,
    pub value: Value,
}

/// One metric family of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub kind: MetricType,
    pub help: String,
    pub unit: String,
    pub pushed_ms: i64,
    pub samples: Vec<Pushed>,
}

/// What was pushed under one set of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub labels: Labels,
    pub families: BTreeMap<String, Family>,
    pub pushed_ms: Option<i64>,
    pub failed_ms: Option<i64>,
    pub expires_ms: Option<i64>,
    /// The series of [`TIMES`].
    time_series: [Box<[u8]>; 2],
}

pub(super) fn hash(series: &[u8]) -> u64 {
    xxh3_64(series)
}

/// A series with labels in the order of their names; `instance` is always written, if only as empty, so
/// that a scrape adds none.
pub(super) fn spell(name: &str, labels: &Labels) -> Box<[u8]> {
    let mut out = Vec::new();
    let instance = (!labels.contains_key("instance")).then_some(("instance", ""));
    let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    print::write_series(&mut out, name, own.chain(instance));
    out.into()
}

impl Group {
    pub fn new(labels: Labels) -> Group {
        let time_series = TIMES.map(|(name, _)| spell(name, &labels));
        Group {
            labels,
            families: BTreeMap::new(),
            pushed_ms: None,
            failed_ms: None,
            expires_ms: None,
            time_series,
        }
    }

    pub fn sample_count(&self) -> usize {
        self.families.values().map(|family| family.samples.len()).sum()
    }

    pub(super) fn series_hashes(&self) -> impl Iterator<Item = u64> {
        self.families.values().flat_map(|family| family.samples.iter().map(|pushed| hash(&pushed.series)))
    }

    /// Series and value in seconds of [`TIMES`]; 0 where it never happened.
    pub fn times(&self) -> impl Iterator<Item = (&'static str, &'static str, &[u8], f64)> {
        let values = [self.pushed_ms, self.failed_ms].map(|ms| ms.unwrap_or(0) as f64 / 1_000.0);
        let rows = TIMES.iter().zip(&self.time_series).zip(values);
        rows.map(|(((name, help), series), value)| (*name, *help, &**series, value))
    }
}

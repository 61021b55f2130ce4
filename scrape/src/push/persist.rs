//! Pushed groups over a restart: one JSON document, replaced as a whole. Floats are kept as their bits, so
//! that what is read is what was pushed.

use super::group::{Family, Group, Labels, Pushed, Value};
use super::{Gateway, Held};
use crate::config::MAX_PUSH_FILE_BYTES;
use hearth_model::{CounterReset, Histogram, Span};
use hearth_wire::metadata::MetricType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;

/// Why groups could not be kept or read.
#[derive(Debug)]
pub enum PersistError {
    Io(std::io::Error),
    /// The file is not what this module writes.
    Content(String),
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PersistError::Io(error) => error.fmt(f),
            PersistError::Content(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for PersistError {}

impl From<std::io::Error> for PersistError {
    fn from(error: std::io::Error) -> Self {
        PersistError::Io(error)
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    groups: Vec<StoredGroup>,
}

#[derive(Serialize, Deserialize)]
struct StoredGroup {
    labels: Labels,
    pushed_ms: Option<i64>,
    failed_ms: Option<i64>,
    expires_ms: Option<i64>,
    families: BTreeMap<String, StoredFamily>,
}

#[derive(Serialize, Deserialize)]
struct StoredFamily {
    kind: String,
    help: String,
    unit: String,
    pushed_ms: i64,
    samples: Vec<(String, StoredValue)>,
}

#[derive(Serialize, Deserialize)]
enum StoredValue {
    Float(u64),
    Histogram(Box<StoredHistogram>),
}

#[derive(Serialize, Deserialize)]
struct StoredHistogram {
    schema: i32,
    integer: bool,
    gauge: bool,
    /// Zero threshold, zero count, count, sum.
    scalars: [u64; 4],
    positive_spans: Vec<(i32, u32)>,
    negative_spans: Vec<(i32, u32)>,
    positive_counts: Vec<u64>,
    negative_counts: Vec<u64>,
}

fn store(h: &Histogram) -> StoredHistogram {
    let spans = |spans: &[Span]| spans.iter().map(|span| (span.offset, span.length)).collect();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
    StoredHistogram {
        schema: h.schema,
        integer: h.integer,
        gauge: h.reset == CounterReset::Gauge,
        scalars: [h.zero_threshold, h.zero_count, h.count, h.sum].map(f64::to_bits),
        positive_spans: spans(&h.positive_spans),
        negative_spans: spans(&h.negative_spans),
        positive_counts: bits(&h.positive_counts),
        negative_counts: bits(&h.negative_counts),
    }
}

fn restore(stored: StoredHistogram) -> Histogram {
    let spans =
        |spans: Vec<(i32, u32)>| spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
    let floats = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect();
    let [zero_threshold, zero_count, count, sum] = stored.scalars.map(f64::from_bits);
    Histogram {
        schema: stored.schema,
        integer: stored.integer,
        reset: if stored.gauge { CounterReset::Gauge } else { CounterReset::Unknown },
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans: spans(stored.positive_spans),
        negative_spans: spans(stored.negative_spans),
        positive_counts: floats(stored.positive_counts),
        negative_counts: floats(stored.negative_counts),
        custom_values: Vec::new(),
    }
}

fn kind_named(name: &str) -> MetricType {
    use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary};
    let known = [Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet];
    known.into_iter().find(|kind| kind.name() == name).unwrap_or_default()
}

fn store_family(family: &Family) -> StoredFamily {
    let value = |value: &Value| match value {
        Value::Float(value) => StoredValue::Float(value.to_bits()),
        Value::Histogram(histogram) => StoredValue::Histogram(Box::new(store(histogram))),
    };
    let sample =
        |pushed: &Pushed| (String::from_utf8_lossy(&pushed.series).into_owned(), value(&pushed.value));
    StoredFamily {
        kind: family.kind.name().to_owned(),
        help: family.help.clone(),
        unit: family.unit.clone(),
        pushed_ms: family.pushed_ms,
        samples: family.samples.iter().map(sample).collect(),
    }
}

fn restore_family(stored: StoredFamily) -> Family {
    let value = |stored| match stored {
        StoredValue::Float(bits) => Value::Float(f64::from_bits(bits)),
        StoredValue::Histogram(histogram) => Value::Histogram(Box::new(restore(*histogram))),
    };
    let samples = stored.samples.into_iter();
    Family {
        kind: kind_named(&stored.kind),
        help: stored.help,
        unit: stored.unit,
        pushed_ms: stored.pushed_ms,
        samples: samples
            .map(|(series, v)| Pushed { series: series.into_bytes().into(), value: value(v) })
            .collect(),
    }
}

impl Gateway {
    /// Writes all groups beside `path` and puts them in its place. `since` is what the last call returned;
    /// where nothing changed since, nothing is written.
    pub fn save(&self, path: &Path, since: Option<u64>) -> Result<u64, PersistError> {
        let changes = self.held().changes;
        if since == Some(changes) {
            return Ok(changes);
        }
        let held = self.groups();
        let groups = held.iter().map(|group| StoredGroup {
            labels: group.labels.clone(),
            pushed_ms: group.pushed_ms,
            failed_ms: group.failed_ms,
            expires_ms: group.expires_ms,
            families: group.families.iter().map(|(name, f)| (name.clone(), store_family(f))).collect(),
        });
        let document = Document { version: VERSION, groups: groups.collect() };
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let mut file = std::fs::File::create(&name)?;
        let bytes = serde_json::to_vec(&document).map_err(std::io::Error::from)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&name, path)?;
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::File::open(directory)?.sync_all()?;
        }
        Ok(changes)
    }

    /// Reads what [`Gateway::save`] wrote, in the place of what is here; a file that does not exist is empty.
    pub fn load(&self, path: &Path) -> Result<(), PersistError> {
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_PUSH_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_PUSH_FILE_BYTES {
            return Err(PersistError::Content(format!("more than {MAX_PUSH_FILE_BYTES} bytes")));
        }
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| PersistError::Content(error.to_string()))?;
        if document.version != VERSION {
            return Err(PersistError::Content(format!("version {} is not known", document.version)));
        }
        let mut held = Held::default();
        for stored in document.groups {
            let mut group = Group::new(stored.labels);
            (group.pushed_ms, group.failed_ms) = (stored.pushed_ms, stored.failed_ms);
            group.expires_ms = stored.expires_ms;
            group.families = stored.families.into_iter().map(|(n, f)| (n, restore_family(f))).collect();
            held.put(group);
        }
        *self.held() = held;
        Ok(())
    }
}

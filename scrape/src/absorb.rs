//! A body's lines, turned into a batch: the inner loop of scraping. A sample whose series was seen before
//! allocates nothing.

use crate::cache::Cache;
use crate::config::{MAX_AHEAD_MS, MAX_BATCH_KEY_BYTES};
use crate::job::Job;
use crate::metadata::MetadataCache;
use crate::series_labels::{self, BadSeries};
use hearth_model::{Labels, Sample, WriteBatch, key};
use hearth_wire::config::Limits;
use hearth_wire::exposition::{Entry, Format, Parser, SampleLine, labels_of, pairs_of, unescape_help};
use hearth_wire::metadata::MetricType;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines between two looks at whether other tasks wait: about a millisecond of work.
const LINES_PER_TURN: u64 = 4_096;

/// What was counted on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub scraped: u64,
    pub kept: u64,
    pub added: u64,
    pub duplicate: u64,
    pub out_of_bounds: u64,
    pub over_sample_limit: bool,
    pub over_label_limit: bool,
}

/// One body's way into a batch.
pub struct Absorber<'a> {
    pub job: &'a Job,
    pub labels: &'a Labels,
    pub cache: &'a mut Cache,
    pub metadata: &'a Mutex<MetadataCache>,
    pub batch: &'a mut WriteBatch,
    /// The time of samples without one.
    pub at_ms: i64,
    pub now_ms: i64,
    /// What the last `# TYPE` said.
    pub kind: MetricType,
    pub tally: Tally,
}

impl Absorber<'_> {
    /// Reads the whole body. After an error the batch holds a part of it that must not be stored.
    pub async fn absorb(&mut self, body: &[u8], content_type: &str) -> Result<(), String> {
        let fallback = match self.job.config.fallback_scrape_protocol.as_str() {
            "" => None,
            name => name.parse().ok(),
        };
        let format = Format::from_content_type(content_type, fallback).map_err(|e| e.to_string())?;
        let mut parser = Parser::new(format, body, &Limits::default());
        let mut lines = 0u64;
        loop {
            lines += 1;
            if lines.is_multiple_of(LINES_PER_TURN) {
                tokio::task::yield_now().await;
            }
            match parser.next_expecting(self.cache.expected()).map_err(|e| e.to_string())? {
                Entry::Sample(line) => self.sample(&line)?,
                Entry::Type { family, metric_type } => {
                    self.kind = metric_type;
                    self.metadata().set_kind(family, metric_type.name());
                }
                Entry::Help { family, help } => self.metadata().set_help(family, &unescape_help(help)),
                Entry::Unit { family, unit } => self.metadata().set_unit(family, unit),
                Entry::Comment(_) => {}
                Entry::Eof => break,
            }
        }
        let limit = self.job.config.sample_limit;
        if limit > 0 && self.tally.kept > limit {
            self.tally.over_sample_limit = true;
            return Err("sample limit exceeded".into());
        }
        Ok(())
    }

    fn metadata(&self) -> MutexGuard<'_, MetadataCache> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&mut self, line: &SampleLine<'_>) -> Result<(), String> {
        self.tally.scraped += 1;
        let config = &self.job.config;
        let given_ms = line.timestamp_ms.filter(|_| config.honor_timestamps);
        let (entry, again, new) = match self.cache.find(line.series) {
            Some(hit) => (hit.entry, hit.again, false),
            None => (self.add(line.series)?, false, true),
        };
        let Some(key) = self.cache.key(entry) else { return Ok(()) };
        self.tally.kept += 1;
        if again && given_ms.is_none() {
            self.tally.duplicate += 1;
            return Ok(());
        }
        let timestamp_ms = given_ms.unwrap_or(self.at_ms);
        if timestamp_ms > self.now_ms.saturating_add(MAX_AHEAD_MS) {
            self.tally.out_of_bounds += 1;
            return Ok(());
        }
        if self.batch.keys.len() + key.len() > MAX_BATCH_KEY_BYTES {
            return Err(format!("the series' labels take more than {MAX_BATCH_KEY_BYTES} bytes"));
        }
        // Beyond the limit samples are still counted, to be reported, but nothing of them is stored.
        if config.sample_limit == 0 || self.tally.kept <= config.sample_limit {
            self.batch.push_keyed(key, &[Sample { timestamp_ms, value: line.value }]);
            self.tally.added += u64::from(new);
        }
        if given_ms.is_none() || config.track_timestamps_staleness {
            self.cache.track(entry);
        }
        Ok(())
    }

    /// A series not seen before, or not for a while.
    fn add(&mut self, series: &[u8]) -> Result<u32, String> {
        let exposed = labels_of(series).map_err(|e| e.to_string())?;
        let exposed = match self.kind {
            MetricType::Histogram => series_labels::with_plain_bound(exposed, "le"),
            MetricType::Summary => series_labels::with_plain_bound(exposed, "quantile"),
            _ => exposed,
        };
        let writes = |name: &str| pairs_of(series).any(|(written, _)| written == name);
        match series_labels::resolve(self.job, self.labels, &exposed, writes) {
            Ok(Some(labels)) => Ok(self.cache.insert(series, Some(&key::key_of(&labels)))),
            Ok(None) => Ok(self.cache.insert(series, None)),
            Err(BadSeries::LabelLimit(text)) => {
                self.tally.over_label_limit = true;
                Err(text)
            }
            Err(BadSeries::Invalid(text)) => Err(text),
        }
    }
}

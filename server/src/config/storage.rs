//! The `storage` section: how long samples are kept, how late they may come, how many exemplars there may be.
//! What it leaves out, flags say.

use hearth_scrape::config::{ByteSize, PromDuration};
use serde::{Deserialize, Serialize};

/// Exemplars where nothing is said: Prometheus' number.
const MAX_EXEMPLARS: usize = 100_000;

/// The section as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsdb: Option<Tsdb>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemplars: Option<Exemplars>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tsdb {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order_time_window: Option<PromDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_series_compaction_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_encoding: Option<ChunkEncoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChunkEncoding {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floats: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<PromDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exemplars {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_exemplars: Option<i64>,
}

impl StorageConfig {
    /// What cannot be.
    pub fn check(&self) -> Result<(), String> {
        let percentage = self.retention().percentage.unwrap_or(0.0);
        if !(0.0..=100.0).contains(&percentage) {
            return Err(format!(
                "storage.tsdb.retention.percentage: {percentage} is not a part of a hundred"
            ));
        }
        let encoding = self.tsdb.as_ref().and_then(|tsdb| tsdb.chunk_encoding.as_ref()?.floats.as_deref());
        match encoding {
            None | Some("" | "xor" | "xor2") => Ok(()),
            Some(other) => {
                Err(format!("storage.tsdb.chunk_encoding.floats: {other:?} is not one of xor, xor2"))
            }
        }
    }

    /// What is asked for in vain.
    pub fn warnings(&self) -> Vec<String> {
        let tsdb = self.tsdb.clone().unwrap_or_default();
        let mut all = Vec::new();
        if tsdb.stale_series_compaction_threshold.is_some_and(|part| part > 0.0) {
            all.push(
                "storage.tsdb.stale_series_compaction_threshold has no effect: series that ended leave \
                 memory when their samples are in a block",
            );
        }
        if tsdb.chunk_encoding.is_some_and(|encoding| encoding.floats.is_some()) {
            all.push("storage.tsdb.chunk_encoding has no effect: chunks choose their own form");
        }
        let retention = self.retention();
        if retention.percentage.is_some_and(|part| part > 0.0) && retention.size.is_some_and(|s| s.bytes > 0)
        {
            all.push("storage.tsdb.retention.size has no effect beside storage.tsdb.retention.percentage");
        }
        all.into_iter().map(str::to_owned).collect()
    }

    pub fn retention(&self) -> Retention {
        self.tsdb.as_ref().and_then(|tsdb| tsdb.retention.clone()).unwrap_or_default()
    }

    /// Exemplars that are kept where they are kept at all; as in Prometheus a negative number is none.
    pub fn max_exemplars(&self) -> usize {
        let asked = self.exemplars.as_ref().and_then(|exemplars| exemplars.max_exemplars);
        asked.map_or(MAX_EXEMPLARS, |count| usize::try_from(count).unwrap_or(0))
    }

    pub fn out_of_order_window(&self) -> Option<PromDuration> {
        self.tsdb.as_ref()?.out_of_order_time_window
    }
}

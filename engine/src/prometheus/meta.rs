//! `meta.json`: what a block says of itself.

use super::FormatError;
use serde::{Deserialize, Serialize};

/// More bytes are no block's description.
const MAX_META_BYTES: usize = 16 << 20;

/// How a block came to be from samples that came out of order.
pub const FROM_OUT_OF_ORDER: &str = "from-out-of-order";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub ulid: String,
    pub min_time: i64,
    /// The first time that is no longer the block's.
    pub max_time: i64,
    pub stats: Stats,
    pub compaction: Compaction,
    pub version: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    pub level: u64,
    pub sources: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A block that this one was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parent {
    pub ulid: String,
    pub min_time: i64,
    pub max_time: i64,
}

impl Meta {
    pub fn parse(bytes: &[u8]) -> Result<Meta, FormatError> {
        if bytes.len() > MAX_META_BYTES {
            return Err(FormatError::Damaged("meta.json is too large"));
        }
        let meta: Meta =
            serde_json::from_slice(bytes).map_err(|_| FormatError::Damaged("meta.json is not readable"))?;
        if meta.version != 1 {
            return Err(FormatError::Unknown("version of meta.json", meta.version));
        }
        if meta.min_time > meta.max_time {
            return Err(FormatError::Damaged("meta.json names an end before its beginning"));
        }
        Ok(meta)
    }

    pub fn print(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).unwrap_or_default();
        out.push(b'\n');
        out
    }

    pub fn is_out_of_order(&self) -> bool {
        self.compaction.hints.iter().any(|hint| hint == FROM_OUT_OF_ORDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back() {
        let meta = Meta {
            ulid: "01BKGTZQ1SYQJTR4PB43C8PD98".into(),
            min_time: -5,
            max_time: 7,
            stats: Stats { num_samples: 3, ..Stats::default() },
            compaction: Compaction {
                level: 1,
                hints: vec![FROM_OUT_OF_ORDER.into()],
                ..Compaction::default()
            },
            version: 1,
        };
        assert_eq!(Meta::parse(&meta.print()), Ok(meta.clone()));
        assert!(meta.is_out_of_order());
        assert!(Meta::parse(b"{\"version\": 2}").is_err() && Meta::parse(b"{").is_err());
        assert!(Meta::parse(b"{\"version\": 1, \"minTime\": 2, \"maxTime\": 1}").is_err());
    }
}

//! Type, help and unit of a target's metrics, kept for some scrapes after a metric is gone.

use crate::config::{MAX_METADATA_ENTRIES, MAX_METADATA_TEXT_BYTES, METADATA_LIFE_SCRAPES};
use crate::status::Metadata;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Kept {
    metadata: Metadata,
    seen: u64,
}

/// The metadata of one target.
pub struct MetadataCache {
    metrics: BTreeMap<Arc<str>, Kept>,
    scrape: u64,
    empty: Arc<str>,
}

impl Default for MetadataCache {
    fn default() -> Self {
        MetadataCache { metrics: BTreeMap::new(), scrape: 0, empty: Arc::from("") }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_METADATA_TEXT_BYTES)]
}

impl MetadataCache {
    fn entry(&mut self, name: &str) -> Option<&mut Metadata> {
        if !self.metrics.contains_key(name) {
            if self.metrics.len() >= MAX_METADATA_ENTRIES || name.len() > MAX_METADATA_TEXT_BYTES {
                return None;
            }
            let (help, unit) = (Arc::clone(&self.empty), Arc::clone(&self.empty));
            let metadata = Metadata { kind: "unknown", help, unit };
            self.metrics.insert(Arc::from(name), Kept { metadata, seen: 0 });
        }
        let kept = self.metrics.get_mut(name)?;
        kept.seen = self.scrape;
        Some(&mut kept.metadata)
    }

    pub fn set_kind(&mut self, name: &str, kind: &'static str) {
        if let Some(metadata) = self.entry(name) {
            metadata.kind = kind;
        }
    }

    pub fn set_help(&mut self, name: &str, help: &str) {
        if let Some(metadata) = self.entry(name)
            && *metadata.help != *cut(help)
        {
            metadata.help = Arc::from(cut(help));
        }
    }

    pub fn set_unit(&mut self, name: &str, unit: &str) {
        if let Some(metadata) = self.entry(name)
            && *metadata.unit != *cut(unit)
        {
            metadata.unit = Arc::from(cut(unit));
        }
    }

    /// Ends a good scrape.
    pub fn finish(&mut self) {
        let scrape = self.scrape;
        self.metrics.retain(|_, kept| scrape - kept.seen <= METADATA_LIFE_SCRAPES);
        self.scrape += 1;
    }

    /// One metric's metadata, or all.
    pub fn read(&self, metric: Option<&str>) -> Vec<(Arc<str>, Metadata)> {
        let pair = |(name, kept): (&Arc<str>, &Kept)| (Arc::clone(name), kept.metadata.clone());
        match metric {
            Some(name) => self.metrics.get_key_value(name).map(pair).into_iter().collect(),
            None => self.metrics.iter().map(pair).collect(),
        }
    }

    /// How many metrics, and about how many bytes of text.
    pub fn size(&self) -> (usize, usize) {
        let bytes = |(name, kept): (&Arc<str>, &Kept)| {
            name.len() + kept.metadata.help.len() + kept.metadata.unit.len()
        };
        (self.metrics.len(), self.metrics.iter().map(bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_outlives_its_metric_for_ten_scrapes() {
        let mut cache = MetadataCache::default();
        cache.set_kind("a", "counter");
        cache.set_help("a", "A.");
        cache.finish();
        for _ in 0..10 {
            let kept = &cache.read(Some("a"))[0].1;
            assert_eq!((kept.kind, &*kept.help, &*kept.unit), ("counter", "A.", ""));
            cache.finish();
        }
        cache.finish();
        assert_eq!(cache.size(), (0, 0));
    }

    #[test]
    fn texts_and_entries_are_bounded() {
        let mut cache = MetadataCache::default();
        cache.set_help("a", &"é".repeat(MAX_METADATA_TEXT_BYTES));
        assert_eq!(cache.size().1, MAX_METADATA_TEXT_BYTES + 1);
        cache.set_help(&"n".repeat(MAX_METADATA_TEXT_BYTES + 1), "x");
        assert_eq!(cache.size().0, 1);
    }
}

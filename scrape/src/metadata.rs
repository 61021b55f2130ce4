//! Type, help and unit of a target's metrics, kept for some scrapes after a metric is gone. What is new of them goes to
//! the store with the scrape's samples.

use crate::config::{MAX_METADATA_ENTRIES, MAX_METADATA_TEXT_BYTES, METADATA_LIFE_SCRAPES};
use crate::status::Metadata;
use hearth_model::metadata::{MetricKind, MetricMetadata};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct Kept {
    metadata: Metadata,
    seen: u64,
    attempt: u64,
}

/// The metadata of one target.
pub struct MetadataCache {
    metrics: BTreeMap<Arc<str>, Kept>,
    scrape: u64,
    empty: Arc<str>,
    /// Metrics of which the store does not know yet what was said.
    untold: BTreeSet<Arc<str>>,
    /// Scrapes that failed included.
    attempt: u64,
}

impl Default for MetadataCache {
    fn default() -> Self {
        let (metrics, untold) = (BTreeMap::new(), BTreeSet::new());
        MetadataCache { metrics, scrape: 0, empty: Arc::from(""), untold, attempt: 0 }
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
            let metadata = Metadata { kind: MetricKind::Unknown, help, unit };
            let name = Arc::<str>::from(name);
            self.untold.insert(name.clone());
            self.metrics.insert(name, Kept { metadata, seen: 0, attempt: 0 });
        }
        let kept = self.metrics.get_mut(name)?;
        (kept.seen, kept.attempt) = (self.scrape, self.attempt);
        Some(&mut kept.metadata)
    }

    pub fn set_kind(&mut self, name: &str, kind: MetricKind) {
        if let Some(metadata) = self.entry(name)
            && metadata.kind != kind
        {
            metadata.kind = kind;
            self.changed(name);
        }
    }

    pub fn set_help(&mut self, name: &str, help: &str) {
        if let Some(metadata) = self.entry(name)
            && *metadata.help != *cut(help)
        {
            metadata.help = Arc::from(cut(help));
            self.changed(name);
        }
    }

    pub fn set_unit(&mut self, name: &str, unit: &str) {
        if let Some(metadata) = self.entry(name)
            && *metadata.unit != *cut(unit)
        {
            metadata.unit = Arc::from(cut(unit));
            self.changed(name);
        }
    }

    fn changed(&mut self, name: &str) {
        if !self.untold.contains(name) {
            self.untold.insert(Arc::from(name));
        }
    }

    /// What the store is to be told.
    pub fn take_untold(&mut self) -> Vec<MetricMetadata> {
        let names = std::mem::take(&mut self.untold);
        let of = |name: Arc<str>| {
            let Metadata { kind, help, unit } = self.metrics.get(&name)?.metadata.clone();
            Some(MetricMetadata { name, kind, unit, help })
        };
        names.into_iter().filter_map(of).collect()
    }

    /// The store did not take what it was told: it is told all of it again.
    pub fn tell_again(&mut self) {
        self.untold.extend(self.metrics.keys().cloned());
    }

    /// Ends a scrape that failed: what it told is kept for as long as what the next one tells.
    pub fn fail(&mut self) {
        self.attempt += 1;
    }

    /// Ends a good scrape; whether all that is kept was told by it: another one that tells the same changes nothing.
    pub fn finish(&mut self) -> bool {
        let scrape = self.scrape;
        let mut settled = true;
        self.metrics.retain(|_, kept| {
            settled &= kept.attempt == self.attempt;
            scrape - kept.seen <= METADATA_LIFE_SCRAPES
        });
        self.scrape += 1;
        self.attempt += 1;
        settled
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
    fn what_a_failed_scrape_told_is_not_told_by_the_next() {
        let mut cache = MetadataCache::default();
        cache.set_kind("a", MetricKind::Counter);
        cache.fail();
        assert!(!cache.finish() && !cache.finish());
        cache.set_kind("a", MetricKind::Counter);
        cache.fail();
        cache.set_kind("a", MetricKind::Counter);
        assert!(cache.finish());
    }

    #[test]
    fn metadata_outlives_its_metric_for_ten_scrapes() {
        let mut cache = MetadataCache::default();
        cache.set_kind("a", MetricKind::Counter);
        cache.set_help("a", "A.");
        assert!(cache.finish());
        for _ in 0..10 {
            let kept = &cache.read(Some("a"))[0].1;
            assert_eq!((kept.kind, &*kept.help, &*kept.unit), (MetricKind::Counter, "A.", ""));
            assert!(!cache.finish());
        }
        cache.finish();
        assert_eq!(cache.size(), (0, 0));
        assert!(cache.finish());
    }

    #[test]
    fn the_store_is_told_what_changed() {
        let mut cache = MetadataCache::default();
        let told = |cache: &mut MetadataCache| {
            let all = cache.take_untold();
            all.iter()
                .map(|m| format!("{} {} {}", m.name, m.kind.name(), m.help))
                .collect::<Vec<_>>()
                .join(", ")
        };
        for (help, expect) in [("A.", "a counter A., b unknown "), ("A.", ""), ("Ah.", "a counter Ah.")] {
            cache.set_kind("a", MetricKind::Counter);
            cache.set_help("a", help);
            cache.set_kind("b", MetricKind::Unknown);
            assert_eq!(told(&mut cache), expect);
            cache.finish();
        }
        cache.tell_again();
        assert_eq!(told(&mut cache), "a counter Ah., b unknown ");
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

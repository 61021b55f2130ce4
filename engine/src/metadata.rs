//! Type, help and unit of metrics, of a shard: what was said last of each name, in bounded memory.
//!
//! Invariants: no name is there twice; the texts of all together stay within the limit, beyond which what was said
//! longest ago goes.

use ahash::AHashMap;
use hearth_model::metadata::MetricMetadata;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an entry costs beside its texts, about.
const ENTRY_BYTES: usize = 160;

#[derive(Debug)]
struct Said {
    number: u64,
    metadata: MetricMetadata,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct MetadataTable {
    by_name: AHashMap<Arc<str>, Said>,
    /// Names in the order in which something was said of them.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
    held_bytes: usize,
    limit_bytes: usize,
}

impl MetadataTable {
    pub fn new(limit_bytes: usize) -> MetadataTable {
        MetadataTable { limit_bytes, ..MetadataTable::default() }
    }

    /// Notes what was said; `false` where it was known, or is too much to keep.
    pub fn say(&mut self, metadata: &MetricMetadata) -> bool {
        let bytes = metadata.size_bytes() + ENTRY_BYTES;
        let known = self.by_name.get(&metadata.name).is_some_and(|said| said.metadata == *metadata);
        if known || bytes > self.limit_bytes || metadata.name.is_empty() {
            return false;
        }
        self.forget(&metadata.name);
        while self.held_bytes + bytes > self.limit_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.forget(&oldest);
        }
        let number = self.next;
        self.next += 1;
        self.held_bytes += bytes;
        self.order.insert(number, metadata.name.clone());
        self.by_name.insert(metadata.name.clone(), Said { number, metadata: metadata.clone() });
        true
    }

    fn forget(&mut self, name: &str) {
        if let Some(said) = self.by_name.remove(name) {
            self.order.remove(&said.number);
            self.held_bytes -= said.metadata.size_bytes() + ENTRY_BYTES;
        }
    }

    pub fn get(&self, name: &str) -> Option<&MetricMetadata> {
        self.by_name.get(name).map(|said| &said.metadata)
    }

    pub fn all(&self) -> impl Iterator<Item = &MetricMetadata> {
        self.by_name.values().map(|said| &said.metadata)
    }

    /// Calls `with` in the order of [`MetadataTable::say`], from number `from` on, for as long as it says so; the
    /// number with which to go on, until there is no more.
    pub fn each(&self, from: u64, mut with: impl FnMut(&MetricMetadata) -> bool) -> Option<u64> {
        for (number, name) in self.order.range(from..) {
            if let Some(metadata) = self.get(name)
                && !with(metadata)
            {
                return Some(number + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::metadata::MetricKind;

    fn of(name: &str, help: &str) -> MetricMetadata {
        MetricMetadata { name: name.into(), kind: MetricKind::Gauge, unit: "".into(), help: help.into() }
    }

    fn names(table: &MetadataTable) -> String {
        let mut out = String::new();
        let end = table.each(0, |metadata| {
            out += &metadata.name;
            true
        });
        assert_eq!((end, table.all().count()), (None, out.len()));
        out
    }

    #[test]
    fn what_was_said_last_counts_and_what_is_oldest_goes() {
        let mut table = MetadataTable::new(3 * (ENTRY_BYTES + 3));
        assert!(table.say(&of("a", "1")) && table.say(&of("b", "1")));
        assert!(!table.say(&of("a", "1")), "it was known");
        assert!(table.say(&of("a", "2")) && table.say(&of("c", "1")));
        assert_eq!((names(&table).as_str(), &*table.get("a").expect("is there").help), ("bac", "2"));
        assert!(table.say(&of("d", "12")));
        assert_eq!(names(&table), "acd");
        assert!(!table.say(&of("e", &"x".repeat(2000))), "too much for all of it");
        assert!(table.say(&of("f", &"x".repeat(300))));
        assert_eq!((names(&table).as_str(), table.held_bytes), ("f", ENTRY_BYTES + 301));
        let mut table = MetadataTable::new(1000);
        assert!(table.say(&of("f", "")) && table.say(&of("g", "")));
        let mut seen = Vec::new();
        let next = table.each(0, |m| {
            seen.push(m.name.to_string());
            false
        });
        assert_eq!(
            (seen.join(""), table.each(next.expect("there is more"), |_| true)),
            ("f".to_owned(), None)
        );
    }
}

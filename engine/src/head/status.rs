//! A head's cardinality tables.

use super::Head;
use hearth_model::label::METRIC_NAME;
use hearth_model::store::{Counted, HeadStatus};

/// Entries are handed to the merge over shards whole up to this many: beyond, only the largest of a
/// shard are, and a table over all shards may miss an entry that is small in each.
const TABLE_ENTRIES: usize = 100_000;

fn largest(mut table: Vec<Counted>, limit: usize) -> Vec<Counted> {
    table.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    table.truncate(limit);
    table
}

/// Sums equal names of several tables and keeps the largest.
fn merge(tables: Vec<Vec<Counted>>, limit: usize) -> Vec<Counted> {
    let mut sums = ahash::AHashMap::<String, u64>::new();
    for (name, count) in tables.into_iter().flatten() {
        *sums.entry(name).or_default() += count;
    }
    largest(sums.into_iter().collect(), limit)
}

impl Head {
    pub fn status(&self) -> HeadStatus {
        let symbols = &self.index().symbols;
        let mut status = HeadStatus {
            series: u64::from(self.series_count()),
            chunks: self.series.iter().map(|s| s.chunk_count() as u64).sum(),
            min_ms: self.figures.min_ms.unwrap_or(i64::MAX),
            max_ms: self.figures.max_ms.unwrap_or(i64::MIN),
            ..HeadStatus::default()
        };
        for (name, label) in self.index().names() {
            let mut bytes = 0;
            status.label_pairs += label.values.len() as u64;
            for (value, postings) in &label.values {
                let value = symbols.text(*value);
                bytes += value.len() as u64 * postings.len();
                status.series_by_label_pair.push((format!("{name}={value}"), postings.len()));
                if name == METRIC_NAME {
                    status.series_by_metric_name.push((value.to_owned(), postings.len()));
                }
            }
            status.values_by_label_name.push((name.to_owned(), label.values.len() as u64));
            status.memory_by_label_name.push((name.to_owned(), bytes));
        }
        status.series_by_label_pair = largest(status.series_by_label_pair, TABLE_ENTRIES);
        status.series_by_metric_name = largest(status.series_by_metric_name, TABLE_ENTRIES);
        status
    }
}

/// One status for all shards. A label value that several shards know counts once in each: the numbers of
/// values and pairs are upper bounds when there are several shards.
pub fn merge_status(parts: Vec<HeadStatus>, limit: usize) -> HeadStatus {
    let mut out = HeadStatus { min_ms: i64::MAX, max_ms: i64::MIN, ..HeadStatus::default() };
    for part in &parts {
        out.series += part.series;
        out.chunks += part.chunks;
        out.label_pairs += part.label_pairs;
        out.min_ms = out.min_ms.min(part.min_ms);
        out.max_ms = out.max_ms.max(part.max_ms);
    }
    let table = |of: fn(HeadStatus) -> Vec<Counted>| merge(parts.iter().cloned().map(of).collect(), limit);
    out.series_by_metric_name = table(|p| p.series_by_metric_name);
    out.values_by_label_name = table(|p| p.values_by_label_name);
    out.memory_by_label_name = table(|p| p.memory_by_label_name);
    out.series_by_label_pair = table(|p| p.series_by_label_pair);
    out
}

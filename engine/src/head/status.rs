//! A head's cardinality tables: what there is, and what came within the last hour.

use super::Head;
use crate::index::symbols::Symbol;
use ahash::AHashMap;
use hearth_model::label::METRIC_NAME;
use hearth_model::store::{Counted, HeadStatus};
use xxhash_rust::xxh3::xxh3_64;

/// Entries are handed to the merge over shards whole up to this many: beyond, only the largest of a
/// shard are, and a table over all shards may miss an entry that is small in each.
const TABLE_ENTRIES: usize = 100_000;

/// A shard's part of the tables.
#[derive(Debug, Default)]
pub struct ShardStatus {
    status: HeadStatus,
    /// For each label name the hashes of its values, by which a value that several shards have counts once.
    values: Vec<(String, Vec<u64>)>,
}

fn largest(mut table: Vec<Counted>, limit: usize) -> Vec<Counted> {
    let order = |a: &Counted, b: &Counted| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    if table.len() > limit && limit > 0 {
        table.select_nth_unstable_by(limit - 1, order);
        table.truncate(limit);
    }
    table.sort_unstable_by(order);
    table.truncate(limit);
    table
}

/// What a string of a label takes in Prometheus' memory, by which it tells what labels cost: its bytes and
/// its length.
fn label_bytes(text: &str) -> u64 {
    text.len() as u64 + if text.len() < 255 { 1 } else { 4 }
}

/// Sums equal names of several tables and keeps the largest.
fn merge(tables: Vec<Vec<Counted>>, limit: usize) -> Vec<Counted> {
    let mut sums = AHashMap::<String, u64>::new();
    for (name, count) in tables.into_iter().flatten() {
        *sums.entry(name).or_default() += count;
    }
    largest(sums.into_iter().collect(), limit)
}

impl Head {
    /// `recent` are the numbers of new series with the lower half of their hashes, by which those that left are
    /// told.
    pub fn status(&self, recent: impl Iterator<Item = (u32, u64)>) -> ShardStatus {
        let symbols = &self.index().symbols;
        let mut status = HeadStatus {
            series: u64::from(self.series_count()),
            chunks: self.series.iter().map(|s| s.chunk_count() as u64).sum(),
            min_ms: self.figures.min_ms.unwrap_or(i64::MAX),
            max_ms: self.figures.max_ms.unwrap_or(i64::MIN),
            ..HeadStatus::default()
        };
        let (mut pairs, mut values) = (Vec::new(), Vec::new());
        for (name, label) in self.index().names() {
            let (mut bytes, mut hashes) = (0, Vec::with_capacity(label.values.len()));
            for (value, postings) in &label.values {
                let text = symbols.text(*value);
                hashes.push(xxh3_64(text.as_bytes()));
                bytes += (label_bytes(name) + label_bytes(text)) * postings.len();
                pairs.push((postings.len(), name, *value));
                if name == METRIC_NAME {
                    status.series_by_metric_name.push((text.to_owned(), postings.len()));
                }
            }
            values.push((name.to_owned(), hashes));
            status.memory_by_label_name.push((name.to_owned(), bytes));
        }
        // Only what may be shown becomes text.
        if pairs.len() > TABLE_ENTRIES {
            pairs.select_nth_unstable_by_key(TABLE_ENTRIES - 1, |(count, _, _)| std::cmp::Reverse(*count));
            pairs.truncate(TABLE_ENTRIES);
        }
        let pair =
            |(count, name, value): &(u64, &str, Symbol)| (format!("{name}={}", symbols.text(*value)), *count);
        status.series_by_label_pair = pairs.iter().map(pair).collect();
        status.series_by_metric_name = largest(status.series_by_metric_name, TABLE_ENTRIES);
        self.growth(recent, &mut status);
        ShardStatus { status, values }
    }

    /// The new series by what they have.
    fn growth(&self, recent: impl Iterator<Item = (u32, u64)>, status: &mut HeadStatus) {
        let symbols = &self.index().symbols;
        let (mut names, mut pairs) =
            (AHashMap::<Symbol, u64>::new(), AHashMap::<(Symbol, Symbol), u64>::new());
        let is = |id: &u32, hash: u64| {
            self.series.get(*id as usize).is_some_and(|row| row.living && row.hash as u64 == hash)
        };
        for (id, _) in recent.filter(|(id, hash)| is(id, *hash)) {
            status.new_series += 1;
            for [name, value] in self.symbols_of(id) {
                *names.entry(name).or_default() += 1;
                *pairs.entry((name, value)).or_default() += 1;
            }
        }
        let text = |(name, count): (Symbol, u64)| (symbols.text(name).to_owned(), count);
        status.new_by_label_name = names.into_iter().map(text).collect();
        let metric = symbols.find(METRIC_NAME);
        let metrics = pairs.iter().filter(|((name, _), _)| Some(*name) == metric);
        let metrics = metrics.map(|((_, value), count)| text((*value, *count))).collect();
        status.new_by_metric_name = largest(metrics, TABLE_ENTRIES);
        let pairs = pairs
            .into_iter()
            .map(|((name, value), count)| (format!("{}={}", symbols.text(name), symbols.text(value)), count));
        status.new_by_label_pair = largest(pairs.collect(), TABLE_ENTRIES);
    }
}

/// Distinct values of each label name over all shards.
fn distinct(parts: &mut [ShardStatus]) -> Vec<Counted> {
    let mut all = AHashMap::<String, Vec<u64>>::new();
    for (name, hashes) in parts.iter_mut().flat_map(|part| std::mem::take(&mut part.values)) {
        all.entry(name).or_default().extend(hashes);
    }
    let count = |(name, mut hashes): (String, Vec<u64>)| {
        hashes.sort_unstable();
        hashes.dedup();
        (name, hashes.len() as u64)
    };
    all.into_iter().map(count).collect()
}

/// One status for all shards.
pub fn merge_status(mut parts: Vec<ShardStatus>, limit: usize) -> HeadStatus {
    let values = distinct(&mut parts);
    let mut out = HeadStatus { min_ms: i64::MAX, max_ms: i64::MIN, ..HeadStatus::default() };
    for ShardStatus { status, .. } in &parts {
        out.series += status.series;
        out.chunks += status.chunks;
        out.new_series += status.new_series;
        out.min_ms = out.min_ms.min(status.min_ms);
        out.max_ms = out.max_ms.max(status.max_ms);
    }
    out.label_pairs = values.iter().map(|(_, count)| count).sum();
    out.values_by_label_name = largest(values, limit);
    let mut table = |of: fn(&mut HeadStatus) -> &mut Vec<Counted>| {
        merge(parts.iter_mut().map(|part| std::mem::take(of(&mut part.status))).collect(), limit)
    };
    out.series_by_metric_name = table(|p| &mut p.series_by_metric_name);
    out.memory_by_label_name = table(|p| &mut p.memory_by_label_name);
    out.series_by_label_pair = table(|p| &mut p.series_by_label_pair);
    out.new_by_metric_name = table(|p| &mut p.new_by_metric_name);
    out.new_by_label_name = table(|p| &mut p.new_by_label_name);
    out.new_by_label_pair = table(|p| &mut p.new_by_label_pair);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::Labels;

    /// Two shards with `up` of three and two instances, the job being the same.
    fn parts() -> Vec<ShardStatus> {
        let shard = |instances: std::ops::Range<u32>| {
            let mut head = Head::default();
            for i in instances.clone() {
                let labels =
                    [("__name__", "up".to_owned()), ("instance", i.to_string()), ("job", "node".to_owned())];
                let id = head.create(u128::from(i) + 1, &Labels::from_pairs(labels), None);
                head.append(id, i64::from(i), 1.0);
            }
            // The last one is new; one that left is remembered too.
            head.status([(instances.len() as u32 - 1, u64::from(instances.end)), (0, 99)].into_iter())
        };
        vec![shard(0..3), shard(3..5)]
    }

    #[test]
    fn a_value_counts_once_over_all_shards() {
        let named = |name: &str, count| (name.to_owned(), count);
        let all = merge_status(parts(), 10);
        assert_eq!((all.series, all.chunks, all.label_pairs, all.min_ms, all.max_ms), (5, 5, 7, 0, 4));
        assert_eq!(all.values_by_label_name, [named("instance", 5), named("__name__", 1), named("job", 1)]);
        assert_eq!(
            all.memory_by_label_name,
            [named("__name__", 60), named("instance", 55), named("job", 45)]
        );
        assert_eq!(all.series_by_metric_name, [named("up", 5)]);
        let top = merge_status(parts(), 2);
        assert_eq!(top.series_by_label_pair, [named("__name__=up", 5), named("job=node", 5)]);
        assert_eq!((all.new_series, all.new_by_metric_name), (2, vec![named("up", 2)]));
        assert_eq!(top.new_by_label_name, [named("__name__", 2), named("instance", 2)]);
        assert_eq!(all.new_by_label_pair[2..], [named("instance=2", 1), named("instance=4", 1)]);
    }
}

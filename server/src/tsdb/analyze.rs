//! `hearth tsdb analyze`: which labels make a block large, and which of them come and go.

use super::{Failure, output};
use hearth_engine::moving::list::{Analyzed, Extent, analyzed};
use hearth_model::Matcher;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// What is counted of the series of a block.
#[derive(Default)]
struct Counts {
    series: u64,
    entries: u64,
    /// Time of the block that series with the label do not cover, together.
    uncovered_names: BTreeMap<String, u64>,
    uncovered_pairs: BTreeMap<String, u64>,
    pairs: BTreeMap<String, u64>,
    values: BTreeMap<String, BTreeSet<String>>,
    metrics: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, extent: &Extent<'_>, length_ms: i64) {
        self.series += 1;
        let uncovered = length_ms.saturating_sub(extent.max_ms.saturating_sub(extent.min_ms)).max(0) as u64;
        for (name, value) in extent.labels.iter() {
            self.entries += 1;
            let pair = format!("{name}={value}");
            *self.uncovered_names.entry(name.to_owned()).or_default() += uncovered;
            *self.uncovered_pairs.entry(pair.clone()).or_default() += uncovered;
            *self.pairs.entry(pair).or_default() += 1;
            self.values.entry(name.to_owned()).or_default().insert(value.to_owned());
        }
        *self.metrics.entry(extent.labels.metric_name().to_owned()).or_default() += 1;
    }
}

pub fn run(
    directory: &Path,
    block: Option<&str>,
    selectors: &[Arc<[Matcher]>],
    limit: usize,
    out: &mut impl Write,
) -> Result<u8, Failure> {
    if selectors.len() > 1 {
        return Err(Failure::Told("only one selector can be analyzed at a time".to_owned(), 1));
    }
    let mut counts = Counts::default();
    let found = analyzed(directory, block, selectors, |extent, length_ms| counts.add(extent, length_ms))?;
    writeln!(out, "Block ID: {}", found.name)?;
    writeln!(out, "Duration: {}", output::duration(found.length_ms))?;
    writeln!(out, "Total Series: {}", found.series.unwrap_or(counts.series))?;
    writeln!(out, "Label names: {}", counts.values.len())?;
    writeln!(out, "Postings (unique label pairs): {}", counts.pairs.len())?;
    writeln!(out, "Postings entries (total label pairs): {}", counts.entries)?;
    let length = found.length_ms.max(1) as f64;
    let churn = |uncovered: BTreeMap<String, u64>| {
        uncovered.into_iter().map(|(key, ms)| (key, (ms as f64 / length) as u64)).collect::<Vec<_>>()
    };
    let bytes = counts
        .values
        .iter()
        .map(|(name, values)| (name.clone(), values.iter().map(|value| value.len() as u64).sum::<u64>()));
    let bytes = bytes.collect();
    let values = counts.values.iter().map(|(name, values)| (name.clone(), values.len() as u64)).collect();
    let tables = [
        ("Label pairs most involved in churning", churn(counts.uncovered_pairs)),
        ("Label names most involved in churning", churn(counts.uncovered_names)),
        ("Most common label pairs", counts.pairs.into_iter().collect()),
        ("Label names with highest cumulative label value length", bytes),
        ("Highest cardinality labels", values),
        ("Highest cardinality metric names", counts.metrics.into_iter().collect()),
    ];
    for (title, rows) in tables {
        largest(title, rows, limit, out)?;
    }
    if selectors.is_empty() && !found.sections.is_empty() {
        sections(&found, out)?;
    }
    for damage in &found.damages {
        eprintln!("not everything was read: {damage}");
    }
    Ok(u8::from(!found.damages.is_empty()))
}

fn largest(title: &str, mut rows: Vec<(String, u64)>, limit: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{title}:")?;
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.iter().take(limit).try_for_each(|(key, count)| writeln!(out, "{count} {key}"))
}

/// What the blocks' bytes are for, in the order of the file, and how many of them a sample takes.
fn sections(found: &Analyzed, out: &mut impl Write) -> io::Result<()> {
    let all: u64 = found.sections.iter().map(|(_, bytes)| bytes).sum();
    writeln!(out, "\nBytes of blocks by section:")?;
    for (name, bytes) in &found.sections {
        writeln!(out, "{bytes} {name} ({:.1}%)", *bytes as f64 * 100.0 / all.max(1) as f64)?;
    }
    let each = all as f64 / found.samples_in_blocks.max(1) as f64;
    writeln!(out, "{all} in all, {each:.3} a sample")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_told_with_their_share_and_the_bytes_of_a_sample() {
        let found = Analyzed {
            sections: vec![("chunks", 600), ("series", 150), ("names", 0)],
            samples_in_blocks: 1000,
            ..Analyzed::default()
        };
        let mut out = Vec::new();
        sections(&found, &mut out).expect("writes into memory");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "\nBytes of blocks by section:\n600 chunks (80.0%)\n150 series (20.0%)\n0 names (0.0%)\n750 in all, 0.750 a sample\n"
        );
    }
}

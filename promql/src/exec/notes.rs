//! Warnings and infos of a query: Prometheus' texts, each once, with the position of what caused it.

use super::call::date;
use super::number::{general, two_digits};
use crate::syntax::PositionRange;
use crate::syntax::position::LineColumn;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt::Write;

/// Most texts of each kind that an answer shows; the rest is counted.
pub const MAX_NOTES_SHOWN: usize = 10;
/// Most different notes that a query keeps: beyond it only repetition of the same advice is to be
/// expected (one note a metric name), and it must not grow with the data.
const MAX_NOTES_KEPT: usize = 1_000;

/// What there is to say, apart from the position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    InvalidQuantile(String),
    InvalidRatio { got: String, used: String },
    BadBucketLabel { metric: String, value: String },
    MixedFloatsHistograms { metric: String },
    MixedFloatsHistogramsAggregation,
    MixedClassicNative { metric: String },
    NativeNotCounter { metric: String },
    NativeNotGauge { metric: String },
    MixedExponentialCustom { metric: String },
    IncompatibleBucketLayout { operator: &'static str },
    CounterResetCollision { operation: &'static str },
    StartTimeOverlap { metric: String },
    SortInRangeQuery,
    PossibleNonCounter { metric: String },
    PossibleNonCounterLabel { metric: String, kind: String },
    ForcedMonotonicity { metric: String },
    IncompatibleTypes { left: &'static str, operator: &'static str, right: &'static str },
    HistogramIgnoredInAggregation { operation: &'static str },
    HistogramIgnoredInMixedRange { metric: String },
    QuantileNanResult { metric: String },
    QuantileNanSkew { metric: String },
    FractionNans { metric: String },
    MismatchedCustomBuckets { operation: &'static str },
}

/// ` for metric name "x"`, or nothing where there is no name.
fn for_metric(out: &mut String, metric: &str) {
    if !metric.is_empty() {
        let _ = write!(out, " for metric name {metric:?}");
    }
}

impl Note {
    fn is_info(&self) -> bool {
        use Note::*;
        matches!(
            self,
            PossibleNonCounter { .. }
                | PossibleNonCounterLabel { .. }
                | ForcedMonotonicity { .. }
                | IncompatibleTypes { .. }
                | HistogramIgnoredInAggregation { .. }
                | HistogramIgnoredInMixedRange { .. }
                | QuantileNanResult { .. }
                | QuantileNanSkew { .. }
                | FractionNans { .. }
                | MismatchedCustomBuckets { .. }
        )
    }

    fn text(&self) -> String {
        let kind = if self.is_info() { "info" } else { "warning" };
        let mut out = format!("PromQL {kind}: ");
        if self.is_info() {
            self.write_info(&mut out)
        } else {
            self.write_warning(&mut out)
        }
        out
    }

    fn write_warning(&self, out: &mut String) {
        use Note::*;
        let _ = match self {
            InvalidQuantile(q) => write!(out, "quantile value should be between 0 and 1, got {q}"),
            InvalidRatio { got, used } => {
                write!(out, "ratio value should be between -1 and 1, got {got}, capping to {used}")
            }
            BadBucketLabel { metric, value } => {
                let _ = write!(out, "bucket label \"le\" is missing or has a malformed value of {value:?}");
                for_metric(out, metric);
                Ok(())
            }
            MixedFloatsHistograms { metric } => {
                write!(out, "encountered a mix of histograms and floats for metric name {metric:?}")
            }
            MixedFloatsHistogramsAggregation => {
                write!(out, "encountered a mix of histograms and floats for aggregation")
            }
            MixedClassicNative { metric } => {
                out.push_str("vector contains a mix of classic and native histograms");
                for_metric(out, metric);
                Ok(())
            }
            NativeNotCounter { metric } => {
                write!(out, "this native histogram metric is not a counter: {metric:?}")
            }
            NativeNotGauge { metric } => {
                write!(out, "this native histogram metric is not a gauge: {metric:?}")
            }
            MixedExponentialCustom { metric } => write!(
                out,
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
            ),
            IncompatibleBucketLayout { operator } => {
                write!(out, "incompatible bucket layout encountered for binary operator {operator}")
            }
            CounterResetCollision { operation } => {
                write!(out, "conflicting counter resets during histogram {operation}")
            }
            StartTimeOverlap { metric } => write!(
                out,
                "sample has start time that overlaps with previous sample timestamp for metric {metric:?}"
            ),
            SortInRangeQuery => write!(
                out,
                "sort is ineffective for range queries since results are always ordered by labels"
            ),
            _ => Ok(()),
        };
    }

    fn write_info(&self, out: &mut String) {
        use Note::*;
        let _ = match self {
            PossibleNonCounter { metric } => write!(
                out,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
            ),
            PossibleNonCounterLabel { metric, kind } => write!(
                out,
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind:?}: {metric:?}"
            ),
            IncompatibleTypes { left, operator, right } => write!(
                out,
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            HistogramIgnoredInAggregation { operation } => {
                write!(out, "ignored histogram in {operation} aggregation")
            }
            HistogramIgnoredInMixedRange { metric } => write!(
                out,
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
            MismatchedCustomBuckets { operation } => {
                write!(out, "mismatched custom buckets were reconciled during {operation}")
            }
            ForcedMonotonicity { metric } => {
                out.push_str("input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)");
                for_metric(out, metric);
                Ok(())
            }
            QuantileNanResult { metric } => {
                out.push_str("input to histogram_quantile has NaN observations, result is NaN");
                for_metric(out, metric);
                Ok(())
            }
            QuantileNanSkew { metric } => {
                out.push_str("input to histogram_quantile has NaN observations, result is skewed higher");
                for_metric(out, metric);
                Ok(())
            }
            FractionNans { metric } => {
                out.push_str(
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions",
                );
                for_metric(out, metric);
                Ok(())
            }
            _ => Ok(()),
        };
    }
}

/// How far classic buckets had to be lifted for [`Note::ForcedMonotonicity`], over all that it was said for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lifted {
    pub least_bound: f64,
    pub greatest_bound: f64,
    pub most: f64,
    pub times: u64,
    pub first_ms: i64,
    pub last_ms: i64,
}

impl Lifted {
    fn merge(&mut self, other: Lifted) {
        self.least_bound = self.least_bound.min(other.least_bound);
        self.greatest_bound = self.greatest_bound.max(other.greatest_bound);
        self.most = self.most.max(other.most);
        self.times += other.times;
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
    }

    fn text(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            general(self.least_bound),
            general(self.greatest_bound),
            two_digits(self.most),
            self.times,
            date::rfc3339(self.first_ms),
            date::rfc3339(self.last_ms)
        )
    }
}

/// Where a note was given last, and what it adds up.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kept {
    start: u32,
    lifted: Option<Lifted>,
}

/// The notes of a query or of a part of it. Equal ones count once, wherever they are given: as with
/// Prometheus, the position is that of the last, in the order of evaluation.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    kept: BTreeMap<Note, Kept>,
}

impl Notes {
    pub fn add(&mut self, position: PositionRange, note: Note) {
        self.keep(note, Kept { start: position.start, lifted: None });
    }

    /// A [`Note::ForcedMonotonicity`].
    pub fn add_lifted(&mut self, position: PositionRange, metric: String, lifted: Lifted) {
        let kept = Kept { start: position.start, lifted: Some(lifted) };
        self.keep(Note::ForcedMonotonicity { metric }, kept);
    }

    fn keep(&mut self, note: Note, mut kept: Kept) {
        let full = self.kept.len() >= MAX_NOTES_KEPT;
        match self.kept.entry(note) {
            Entry::Vacant(entry) if !full => drop(entry.insert(kept)),
            Entry::Vacant(_) => {}
            Entry::Occupied(mut before) => {
                if let (Some(lifted), Some(before)) = (&mut kept.lifted, before.get().lifted) {
                    lifted.merge(before);
                }
                before.insert(kept);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Others may have found no room.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= MAX_NOTES_KEPT
    }

    /// About what they hold.
    pub fn size_bytes(&self) -> usize {
        self.kept.len() * (size_of::<(Note, Kept)>() + 32)
    }

    /// Whether what both remark stands at the same place: which place counts is otherwise known only to a
    /// run over the steps of both.
    pub fn agrees_with(&self, other: &Notes) -> bool {
        let same = |(note, kept): (&Note, &Kept)| other.kept.get(note).is_none_or(|k| k.start == kept.start);
        self.kept.iter().all(same)
    }

    /// Takes in what was remarked later.
    pub fn merge(&mut self, other: Notes) {
        other.kept.into_iter().for_each(|(note, kept)| self.keep(note, kept));
    }

    /// The notes as another part of the text that computes the same gives them, at its own positions.
    pub fn moved(&self, from: &[PositionRange], to: &[PositionRange]) -> Notes {
        let mut moved = self.clone();
        for kept in moved.kept.values_mut() {
            let mut pairs = from.iter().zip(to);
            if let Some((_, to)) = pairs.find(|(from, _)| from.start == kept.start) {
                kept.start = to.start;
            }
        }
        moved
    }

    /// Warnings and infos as an answer shows them.
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (BTreeSet::new(), BTreeSet::new());
        for (note, kept) in &self.kept {
            let lifted = kept.lifted.map_or_else(String::new, |lifted| lifted.text());
            let text = format!("{}{lifted} ({})", note.text(), LineColumn::of(query, kept.start));
            if note.is_info() {
                infos.insert(text)
            } else {
                warnings.insert(text)
            };
        }
        (shown(warnings.into_iter(), "warning"), shown(infos.into_iter(), "info"))
    }
}

/// The first of them, and how many more there are.
pub(crate) fn shown(texts: impl ExactSizeIterator<Item = String>, kind: &str) -> Vec<String> {
    let omitted = texts.len().saturating_sub(MAX_NOTES_SHOWN);
    let mut out: Vec<String> = texts.take(MAX_NOTES_SHOWN).collect();
    if omitted > 0 {
        out.push(format!("{omitted} more {kind} annotations omitted"));
    }
    out
}

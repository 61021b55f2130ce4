//! A result over consecutive steps, in columns: half the memory of a list of points, and cut and joined
//! without looking at values. Nothing in here knows where it is kept.
//!
//! What a run remarks it remarks of its steps as a whole. So the steps of a run with remarks are used
//! together or not at all ([`Block::whole`]); those of a run without any can be cut anywhere.

use crate::exec::notes::Notes;
use crate::exec::tile::words_for;
use crate::plan::grid::Steps;
use crate::query::MatrixSeries;
use hearth_model::{Histogram, Labels, Sample};
use std::ops::Range;
use std::sync::Arc;

/// See the module's head. Series ascend by labels, each once.
#[derive(Debug, Clone)]
pub struct Block {
    pub steps: Steps,
    labels: Vec<Labels>,
    /// Series by steps.
    values: Vec<f64>,
    /// Series by words: where a float is.
    present: Vec<u64>,
    /// Of the series that have histograms: series, step, histogram, ascending.
    histograms: Vec<(u32, u32, Arc<Histogram>)>,
    /// Each run's steps, and what it had to remark; consecutive.
    segments: Vec<(Range<usize>, Notes)>,
    /// The expression as it was written, where there are remarks: they have positions in it.
    text: Option<Arc<str>>,
}

impl Block {
    /// A result as the engine gives it, sorted by labels; `None` where two series have the same.
    pub fn of(series: &[MatrixSeries], steps: Steps, notes: Notes, text: &str) -> Option<Block> {
        if series.windows(2).any(|pair| pair[0].labels >= pair[1].labels) {
            return None;
        }
        let labels: Vec<Labels> = series.iter().map(|s| s.labels.clone()).collect();
        let mut block = Block::empty(steps, labels);
        for (row, series) in series.iter().enumerate() {
            for sample in &series.floats {
                block.set(row, block.number(sample.timestamp_ms), sample.value);
            }
            for (time_ms, histogram) in &series.histograms {
                let step = block.number(*time_ms) as u32;
                block.histograms.push((row as u32, step, histogram.clone()));
            }
        }
        block.text = (!notes.is_empty()).then(|| text.into());
        block.segments.push((0..steps.count, notes));
        Some(block)
    }

    fn empty(steps: Steps, labels: Vec<Labels>) -> Block {
        let rows = labels.len();
        Block {
            steps,
            labels,
            values: vec![0.0; rows * steps.count],
            present: vec![0; rows * words_for(steps.count)],
            histograms: Vec::new(),
            segments: Vec::new(),
            text: None,
        }
    }

    fn number(&self, time_ms: i64) -> usize {
        ((time_ms - self.steps.start_ms) / self.steps.step_ms) as usize
    }

    fn set(&mut self, row: usize, step: usize, value: f64) {
        self.values[row * self.steps.count + step] = value;
        self.present[row * words_for(self.steps.count) + step / 64] |= 1 << (step % 64);
    }

    fn has(&self, row: usize, step: usize) -> bool {
        self.present[row * words_for(self.steps.count) + step / 64] >> (step % 64) & 1 == 1
    }

    /// Whether a run had something to remark.
    pub fn has_notes(&self) -> bool {
        self.text.is_some()
    }

    /// The largest part of the steps that cuts no run with remarks.
    pub fn whole(&self, steps: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (steps.start, steps.end.max(steps.start));
        for (run, _) in self.segments.iter().filter(|(_, notes)| !notes.is_empty()) {
            if run.start < start && start < run.end {
                start = run.end;
            }
            if run.start < end && end < run.end {
                end = run.start;
            }
        }
        start..end.max(start)
    }

    /// What was remarked of these steps; `None` where runs give the same note at different places.
    pub fn notes(&self, steps: Range<usize>) -> Option<Notes> {
        let mut all = Notes::default();
        for (run, notes) in &self.segments {
            if run.start < steps.end && steps.start < run.end {
                if !all.agrees_with(notes) {
                    return None;
                }
                all.merge(notes.clone());
            }
        }
        Some(all).filter(|all| !all.is_full())
    }

    /// Whether the remarks, where there are any, are about this very text.
    pub fn serves(&self, text: &str) -> bool {
        self.text.as_deref().is_none_or(|of| of == text)
    }

    pub fn size_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|l| l.size_bytes() + size_of::<Labels>()).sum();
        let histograms: usize = self.histograms.iter().map(|(.., h)| h.size_bytes() + 32).sum();
        let notes: usize = self.segments.iter().map(|(_, notes)| notes.size_bytes() + 64).sum();
        labels + histograms + self.values.len() * 8 + self.present.len() * 8 + notes
    }

    /// What a result over this many series and steps takes, before it is made.
    pub fn estimate_bytes(series: usize, steps: usize) -> usize {
        series * (steps * 8 + words_for(steps) * 8 + size_of::<Labels>())
    }

    /// Parts that follow one another without a gap, as one; of each, the steps that are named.
    pub fn join(parts: &[(&Block, Range<usize>)]) -> Block {
        let mut labels: Vec<Labels> = parts.iter().flat_map(|(b, _)| b.labels.iter().cloned()).collect();
        labels.sort_unstable();
        labels.dedup();
        let (first, range) = &parts[0];
        let steps = Steps {
            start_ms: first.steps.time_ms(range.start),
            step_ms: first.steps.step_ms,
            count: parts.iter().map(|(_, range)| range.len()).sum(),
        };
        let mut out = Block::empty(steps, labels);
        let mut at = 0;
        for (part, range) in parts {
            debug_assert_eq!(part.steps.time_ms(range.start), steps.time_ms(at), "a gap between parts");
            let rows: Vec<usize> =
                part.labels.iter().map(|l| out.labels.partition_point(|other| other < l)).collect();
            for (row, &to) in rows.iter().enumerate() {
                for step in range.clone().filter(|&step| part.has(row, step)) {
                    out.set(to, at + step - range.start, part.values[row * part.steps.count + step]);
                }
            }
            for (row, step, histogram) in &part.histograms {
                if range.contains(&(*step as usize)) {
                    let step = (at + *step as usize - range.start) as u32;
                    out.histograms.push((rows[*row as usize] as u32, step, histogram.clone()));
                }
            }
            out.take_segments(part, range, at);
            at += range.len();
        }
        out.histograms.sort_by_key(|(row, step, _)| (*row, *step));
        out
    }

    /// The runs of a part's steps, which come to lie from `at` on.
    fn take_segments(&mut self, part: &Block, range: &Range<usize>, at: usize) {
        for (run, notes) in &part.segments {
            let (start, end) = (run.start.max(range.start), run.end.min(range.end));
            if start >= end {
                continue;
            }
            let here = at + start - range.start..at + end - range.start;
            match self.segments.last_mut() {
                // Runs without remarks need not be told apart.
                Some((before, of_before)) if of_before.is_empty() && notes.is_empty() => {
                    before.end = here.end
                }
                _ => self.segments.push((here, notes.clone())),
            }
            if !notes.is_empty() {
                self.text.clone_from(&part.text);
            }
        }
    }

    /// The steps of a range as a result; series without a value there are left out.
    pub fn matrix(&self, range: Range<usize>) -> Vec<MatrixSeries> {
        let mut out = Vec::with_capacity(self.labels.len());
        let mut histograms = self.histograms.as_slice();
        for (row, labels) in self.labels.iter().enumerate() {
            let count = histograms.iter().take_while(|(of, ..)| *of as usize == row).count();
            let (of_row, rest) = histograms.split_at(count);
            histograms = rest;
            let floats = range.clone().filter(|&step| self.has(row, step));
            let sample = |step| Sample {
                timestamp_ms: self.steps.time_ms(step),
                value: self.values[row * self.steps.count + step],
            };
            let series = MatrixSeries {
                labels: labels.clone(),
                floats: floats.map(sample).collect(),
                histograms: of_row
                    .iter()
                    .filter(|(_, step, _)| range.contains(&(*step as usize)))
                    .map(|(_, step, h)| (self.steps.time_ms(*step as usize), h.clone()))
                    .collect(),
            };
            if !series.floats.is_empty() || !series.histograms.is_empty() {
                out.push(series);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, floats: &[(i64, f64)]) -> MatrixSeries {
        MatrixSeries {
            labels: Labels::from_pairs([("s", name)]),
            floats: floats.iter().map(|&(timestamp_ms, value)| Sample { timestamp_ms, value }).collect(),
            histograms: Vec::new(),
        }
    }

    fn block(start_ms: i64, count: usize, series: &[MatrixSeries]) -> Block {
        let steps = Steps { start_ms, step_ms: 10, count };
        Block::of(series, steps, Notes::default(), "x").expect("ascends")
    }

    #[test]
    fn parts_are_joined_and_cut() {
        let left = block(0, 3, &[series("a", &[(0, 1.0), (20, 2.0)]), series("b", &[(10, 3.0)])]);
        let right = block(30, 2, &[series("b", &[(30, f64::NAN)]), series("c", &[(40, -0.0)])]);
        let joined = Block::join(&[(&left, 1..3), (&right, 0..2)]);
        assert_eq!((joined.steps.start_ms, joined.steps.count), (10, 4));
        let shown = format!("{:?}", joined.matrix(0..4));
        let expect = [
            series("a", &[(20, 2.0)]),
            series("b", &[(10, 3.0), (30, f64::NAN)]),
            series("c", &[(40, -0.0)]),
        ];
        assert_eq!(shown, format!("{expect:?}"));
        assert_eq!(joined.matrix(1..2), [series("a", &[(20, 2.0)])]);
    }

    #[test]
    fn a_run_with_remarks_is_used_whole() {
        let mut notes = Notes::default();
        notes.add(Default::default(), crate::exec::notes::Note::SortInRangeQuery);
        let steps = Steps { start_ms: 30, step_ms: 10, count: 3 };
        let noted = Block::of(&[], steps, notes, "sort(x)").expect("ascends");
        let quiet = block(0, 3, &[]);
        let joined = Block::join(&[(&quiet, 0..3), (&noted, 0..3)]);
        assert_eq!((joined.whole(1..6), joined.whole(1..5), joined.whole(4..6)), (1..6, 1..3, 6..6));
        assert!(joined.notes(0..3).is_some_and(|notes| notes.is_empty()));
        assert!(joined.notes(2..6).is_some_and(|notes| !notes.is_empty()));
        assert!(joined.serves("sort(x)") && !joined.serves("sort( x)") && quiet.serves("anything"));
    }

    #[test]
    fn equal_series_are_refused() {
        let twice = [series("a", &[(0, 1.0)]), series("a", &[(10, 1.0)])];
        let steps = Steps { start_ms: 0, step_ms: 10, count: 2 };
        assert!(Block::of(&twice, steps, Notes::default(), "x").is_none());
    }
}

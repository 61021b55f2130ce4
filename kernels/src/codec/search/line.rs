//! The LINE predictor's candidates: a slope, the places where the line jumps, and what jitter is left.

use super::{Candidate, NONE, Search, Source};
use crate::codec::cursor::{push_varint, push_zigzag};
use crate::codec::layout::{Header, Kind, Predictor};

/// Steps that people choose for intervals, in milliseconds: a slope measured through jitter is rounded to
/// a multiple of them.
const ROUND_MS: [i64; 5] = [1, 10, 100, 1_000, 5_000];

/// Breaks beyond which a line is none: a sixteenth of the samples.
const BREAKS_SHARE: usize = 16;

/// Times and slopes beyond these are no clock's, and their sums could overflow.
const SIZE_MAX: u64 = 1 << 61;
const SLOPE_MAX: i64 = 1 << 40;

/// A break in the line: where, and by how much.
type Break = (usize, i64);

impl Search {
    /// Tries lines through the first `count` of `words`, where they may be a clock's.
    pub fn lines(&mut self, count: usize) {
        let mut deltas: Vec<i64> =
            self.words[..count].windows(2).map(|w| w[1].wrapping_sub(w[0]) as i64).collect();
        if deltas.is_empty() || self.words[..count].iter().any(|w| (*w as i64).unsigned_abs() >= SIZE_MAX) {
            return;
        }
        // Steady steps need no line.
        if deltas.iter().all(|delta| *delta == deltas[0]) {
            return;
        }
        let middle = deltas.len() / 2;
        let median = *deltas.select_nth_unstable(middle).1;
        if median > SLOPE_MAX {
            return;
        }
        let mut tried = i64::MIN;
        for round in ROUND_MS {
            let slope = (median + round / 2).div_euclid(round) * round;
            if slope > 0 && slope != tried {
                tried = slope;
                self.line(count, slope);
            }
        }
        let whole = self.words[count - 1].wrapping_sub(self.words[0]) as i64;
        let slope = (whole as f64 / (count - 1) as f64).round() as i64;
        if slope > 0 && (slope - median).abs() < median / 8 {
            self.line(count, slope);
        }
    }

    fn line(&mut self, count: usize, slope: i64) {
        self.make_room(Source::Trial);
        let words = &self.words[..count];
        let Some(breaks) = breaks_of(words, slope) else { return };
        let origin = words[0] as i64;
        let (mut shift, mut next, mut least) = (0i64, breaks.iter().peekable(), i64::MAX);
        for (at, (residual, word)) in self.trial.iter_mut().zip(words).enumerate() {
            if let Some((_, by)) = next.next_if(|(place, _)| *place == at) {
                shift += by;
            }
            let off = *word as i64 - origin - shift - slope * at as i64;
            least = least.min(off);
            *residual = off as u64;
        }
        let mut header = Header::new(Kind::of(Predictor::Line), count);
        header.first = (origin + least) as u64;
        header.step = slope as u64;
        let mut bytes = Vec::new();
        push_varint(breaks.len() as u64, &mut bytes);
        let mut next = 0;
        for (at, by) in breaks {
            push_varint((at - next) as u64, &mut bytes);
            push_zigzag(by, &mut bytes);
            next = at + 1;
        }
        let candidate = Candidate { source: Source::Trial, base: least as u64, signed: false };
        self.consider_with(&header, NONE, candidate, bytes);
    }
}

/// Where words leave a line of this slope by more than half of it: a multiple of the slope where the word
/// is about that far off (samples are missing), else all of the distance (the clock starts anew). None
/// where that happens too often.
fn breaks_of(words: &[u64], slope: i64) -> Option<Vec<Break>> {
    let origin = words[0] as i64;
    let (mut breaks, mut shift) = (Vec::new(), 0i64);
    for (at, word) in words.iter().enumerate() {
        let off = *word as i64 - origin - shift - slope * at as i64;
        if off.abs() <= slope / 2 {
            continue;
        }
        let missed = (off + slope / 2).div_euclid(slope) * slope;
        let by = if (off - missed).abs() <= slope / 16 { missed } else { off };
        breaks.push((at, by));
        shift += by;
        if breaks.len() * BREAKS_SHARE > words.len().max(32) {
            return None;
        }
    }
    Some(breaks)
}

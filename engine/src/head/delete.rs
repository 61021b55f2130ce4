//! Deletions: a series' samples within a range leave memory at once, so that what is written later stands
//! for itself. That they do not come back is the log's affair.

use super::Head;
use super::read::Scratch;
use super::series::Series;
use super::streams::Streams;
use hearth_model::{Sample, TimeRange};
use roaring::RoaringBitmap;

impl Head {
    /// Takes the samples within the range away from a series; whether there were any.
    pub fn delete(&mut self, id: u32, range: TimeRange) -> bool {
        let Some(newest_ms) = self.newest_within(id, range) else { return false };
        let series = &mut self.series[id as usize];
        let (bytes, chunks) = (series.size_bytes(), series.chunk_count());
        series.delete(range, &mut self.streams, &mut Scratch::default());
        self.chunk_bytes = self.chunk_bytes + series.size_bytes() - bytes;
        self.figures.chunks_dropped += chunks.saturating_sub(series.chunk_count()) as u64;
        if let Some(histograms) = self.histograms.get_mut(&id) {
            let bytes = |all: &[(i64, std::sync::Arc<hearth_model::Histogram>)]| {
                all.iter().map(|(_, h)| h.size_bytes() + 32).sum::<usize>()
            };
            let before = bytes(histograms);
            histograms.retain(|(time, _)| !range.contains(*time));
            self.histogram_bytes -= before - bytes(histograms);
            if histograms.is_empty() {
                self.histograms.remove(&id);
                self.series[id as usize].set_has_histograms(false);
            }
        }
        if let Some(late) = self.late.get_mut(&id) {
            let before = late.capacity();
            late.retain(|sample| !range.contains(sample.timestamp_ms));
            late.shrink_to_fit();
            self.chunk_bytes -= (before - late.capacity()) * std::mem::size_of::<Sample>();
            if late.is_empty() {
                self.late.remove(&id);
                self.series[id as usize].set_has_late(false);
            }
        }
        let known = self.deleted.entry(id).or_insert(newest_ms);
        *known = newest_ms.max(*known);
        true
    }

    /// Time of a series' newest sample within the range.
    fn newest_within(&self, id: u32, range: TimeRange) -> Option<i64> {
        if !self.overlaps(id, range) {
            return None;
        }
        let mut scratch = Scratch::default();
        self.read_floats(id, range, &mut scratch);
        scratch.floats.times.last().copied().max(self.histograms(id, range).last().map(|(time, _)| *time))
    }

    /// Series that are found still and have lost all their samples.
    pub fn emptied(&self) -> RoaringBitmap {
        let ids = self.deleted.keys().copied();
        ids.filter(|id| self.is_living(*id) && !self.overlaps(*id, TimeRange::ALL)).collect()
    }

    /// Samples up to when were deleted, where the log may know them still.
    pub(super) fn deleted_until(&self, id: u32) -> Option<i64> {
        self.deleted.get(&id).copied()
    }
}

impl Series {
    /// Chunks apart from the range stay, those within go, the others are written anew. The open one is
    /// never left empty beside closed ones: it says what comes in order.
    fn delete(&mut self, range: TimeRange, streams: &mut Streams, scratch: &mut Scratch) {
        let outside = |scratch: &mut Scratch| {
            let times = std::mem::take(&mut scratch.floats.times);
            let values = std::mem::take(&mut scratch.floats.values);
            let kept = times.into_iter().zip(values).filter(|(time, _)| !range.contains(*time));
            kept.collect::<Vec<(i64, f64)>>()
        };
        let mut kept = Vec::new();
        for chunk in self.take_closed() {
            let bounds = TimeRange::new(chunk.min_ms, chunk.max_ms);
            if !bounds.overlaps(range) {
                kept.push(chunk);
                continue;
            }
            scratch.decode(&chunk);
            let rest = outside(scratch);
            kept.extend(Series::closed_chunk(&rest));
        }
        let rest = self.open().filter(|o| TimeRange::new(o.min_ms, o.max_ms).overlaps(range)).map(|open| {
            scratch.read_open(streams, &open);
            outside(scratch)
        });
        let Some(mut rest) = rest else { return self.put_closed(kept) };
        if rest.is_empty()
            && let Some(last) = kept.pop()
        {
            scratch.decode(&last);
            rest = scratch.floats.times.drain(..).zip(scratch.floats.values.drain(..)).collect();
        }
        self.put_closed(kept);
        self.release(streams);
        for (time, value) in rest {
            self.push(streams, time, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::{Histogram, Labels};
    use std::collections::BTreeMap;

    /// Appends and deletes at random; the head holds what a map holds, and accounts for it.
    #[test]
    fn a_head_holds_what_was_not_deleted() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut head, mut expect) = (Head::default(), BTreeMap::new());
            head.set_window(i64::MAX, i64::MAX);
            let id = head.create(1, &Labels::from_pairs([("__name__", "up")]), None);
            let mut now = 0;
            for _ in 0..60 {
                for _ in 0..random.usize(0..150) {
                    now += random.i64(1..20);
                    let time = if random.u32(0..10) == 0 { now - random.i64(0..2000) } else { now };
                    let value = f64::from(random.u32(0..1000));
                    if random.u32(0..30) == 0 {
                        let histogram = Histogram { count: value, ..Histogram::stale() };
                        if head.append_histogram(id, time, &histogram) == crate::head::Fate::Taken {
                            expect.insert(time, value);
                        }
                    } else if head.append(id, time, value) == crate::head::Fate::Taken {
                        expect.insert(time, value);
                    }
                }
                let min = now - random.i64(0..6000);
                let range = TimeRange::new(min, min + random.i64(0..4000));
                let any = expect.range(range.min_ms..=range.max_ms).next().is_some();
                assert_eq!(head.delete(id, range), any, "seed {seed}");
                expect.retain(|time, _| !range.contains(*time));
                let mut scratch = Scratch::default();
                head.read_floats(id, TimeRange::ALL, &mut scratch);
                let mut found: BTreeMap<i64, f64> =
                    scratch.floats.times.into_iter().zip(scratch.floats.values).collect();
                found.extend(head.histograms(id, TimeRange::ALL).iter().map(|(t, h)| (*t, h.count)));
                assert_eq!(found, expect, "seed {seed}");
                assert_eq!(head.emptied().contains(id), expect.is_empty(), "seed {seed}");
            }
            assert!(!head.is_idle(id), "the log knows its samples");
            head.delete(id, TimeRange::ALL);
            assert!(!head.is_idle(id) && head.emptied().contains(id));
            assert_eq!((head.chunk_bytes, head.histogram_bytes), (0, 0), "seed {seed}");
            head.drop_before(i64::MAX);
            assert!(head.is_idle(id) && head.emptied().is_empty());
        }
    }
}

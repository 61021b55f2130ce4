//! A series' floats as two columns, read chunk by chunk.
//!
//! Series of one scrape have the same times, encoded in the same bytes. So the times of the series before
//! stay where they are, and what they were read from is remembered: a chunk whose times are known is not
//! decoded again, and whoever works with the times is told that they are the same.
//!
//! Invariant: while `same` holds, the first `samples` of `times` are those of the series at hand, and what
//! follows them are the rest of the series before.

use super::histogram::Timed;
use super::order;
use hearth_model::TimeRange;

/// What a chunk's times are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// They stand at the beginning of these bytes, the values behind them.
    Encoded(&'a [u8]),
    /// They are shared: a row of a block's table, by the block's number.
    Row { block: u64, row: u32 },
}

/// One chunk's times, of the series before.
#[derive(Debug)]
struct Piece {
    kind: Kind,
    /// Samples of the chunk before the range, and within.
    skipped: usize,
    kept: usize,
    /// Where the key ends in `keys`.
    key_end: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Encoded,
    Row {
        block: u64,
        row: u32,
    },
    /// Told by the times themselves.
    Plain,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct FloatColumns {
    pub times: Vec<i64>,
    pub values: Vec<f64>,
    pieces: Vec<Piece>,
    keys: Vec<u8>,
    /// Pieces of the series at hand that equal those of the one before, and their samples.
    at: usize,
    samples: usize,
    same: bool,
    /// The columns are no longer what was read: nothing of this series is remembered.
    changed: bool,
    /// The series before was dropped: who reads has the times of another.
    dropped: bool,
    plain: Vec<i64>,
}

impl FloatColumns {
    /// Begins a series that may have the times of the one before.
    pub fn begin(&mut self) {
        self.values.clear();
        (self.at, self.samples, self.same, self.changed) = (0, 0, true, false);
    }

    /// Ends it; returns whether its times are those of the one before.
    pub fn end(&mut self) -> bool {
        let dropped = std::mem::take(&mut self.dropped);
        let same = self.same && self.samples == self.times.len() && !dropped;
        self.part();
        same
    }

    /// Drops the series at hand: whatever comes next is not the same as the last that was kept.
    pub fn restart(&mut self) {
        self.forget();
        self.dropped = true;
        self.times.clear();
        self.values.clear();
    }

    /// The columns are about to be changed, or have been: the next series can rely on nothing.
    pub fn forget(&mut self) {
        self.part();
        self.changed = true;
        self.pieces.clear();
        self.keys.clear();
    }

    /// Brings the samples of a series that came from several places into order.
    pub fn put_in_order(&mut self, histograms: &mut Vec<Timed>) {
        if !self.times.is_sorted_by(|a, b| a < b) {
            self.forget();
        }
        order::put_in_order(&mut self.times, &mut self.values, histograms);
    }

    /// From here on the series differs from the one before.
    fn part(&mut self) {
        if std::mem::take(&mut self.same) {
            self.times.truncate(self.samples);
            self.pieces.truncate(self.at);
            self.keys.truncate(self.pieces.last().map_or(0, |piece| piece.key_end));
        }
    }

    /// The known piece that has these times, and how many bytes they are encoded in.
    fn known(&self, key: Key<'_>) -> Option<(usize, &Piece)> {
        let piece = self.pieces.get(self.at).filter(|_| self.same)?;
        match (&piece.kind, key) {
            (Kind::Encoded, Key::Encoded(bytes)) => {
                let start = self.at.checked_sub(1).map_or(0, |before| self.pieces[before].key_end);
                let encoded = &self.keys[start..piece.key_end];
                bytes.starts_with(encoded).then_some((encoded.len(), piece))
            }
            (Kind::Row { block, row }, Key::Row { block: of, row: at }) => {
                ((*block, *row) == (of, at)).then_some((0, piece))
            }
            _ => None,
        }
    }

    /// Appends a chunk, cut to the range. `times` decodes its times and returns how many bytes they have;
    /// `values` decodes what stands behind so many. On an error nothing is appended.
    pub fn append<E>(
        &mut self,
        key: Key<'_>,
        bounds: TimeRange,
        range: TimeRange,
        times: impl FnOnce(&mut Vec<i64>) -> Result<usize, E>,
        values: impl FnOnce(usize, &mut Vec<f64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.values.len();
        if let Some((encoded, piece)) = self.known(key) {
            let (skipped, kept) = (piece.skipped, piece.kept);
            let read = values(encoded, &mut self.values);
            if read.is_ok() {
                trim(&mut self.values, start, skipped, kept);
                (self.at, self.samples) = (self.at + 1, self.samples + kept);
            } else {
                self.values.truncate(start);
                self.part();
            }
            return read;
        }
        self.part();
        let read = times(&mut self.times).and_then(|end| values(end, &mut self.values).map(|()| end));
        let encoded = match read {
            Ok(end) => end,
            Err(error) => {
                self.times.truncate(start);
                self.values.truncate(start);
                return Err(error);
            }
        };
        let (skipped, kept) = cut(&mut self.times, start, bounds, range);
        trim(&mut self.values, start, skipped, kept);
        if self.changed {
            return Ok(());
        }
        let kind = match key {
            Key::Encoded(bytes) => {
                self.keys.extend_from_slice(&bytes[..encoded]);
                Kind::Encoded
            }
            Key::Row { block, row } => Kind::Row { block, row },
        };
        self.pieces.push(Piece { kind, skipped, kept, key_end: self.keys.len() });
        Ok(())
    }

    /// Appends samples that are decoded together.
    pub fn append_together<E>(
        &mut self,
        bounds: TimeRange,
        range: TimeRange,
        decode: impl FnOnce(&mut Vec<i64>, &mut Vec<f64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.values.len();
        self.plain.clear();
        let read = decode(&mut self.plain, &mut self.values);
        if read.is_err() {
            self.values.truncate(start);
            return read;
        }
        let (skipped, kept) = cut(&mut self.plain, 0, bounds, range);
        trim(&mut self.values, start, skipped, kept);
        let alike = |piece: &Piece| piece.kind == Kind::Plain && piece.kept == kept;
        if self.same
            && self.pieces.get(self.at).is_some_and(alike)
            && self.times.get(start..start + kept) == Some(&self.plain[..])
        {
            (self.at, self.samples) = (self.at + 1, self.samples + kept);
            return Ok(());
        }
        self.part();
        self.times.extend_from_slice(&self.plain);
        if !self.changed {
            self.pieces.push(Piece { kind: Kind::Plain, skipped, kept, key_end: self.keys.len() });
        }
        Ok(())
    }
}

/// Keeps of the times from `start` on what lies in the range; returns how many went before it, and how many
/// are left.
fn cut(times: &mut Vec<i64>, start: usize, bounds: TimeRange, range: TimeRange) -> (usize, usize) {
    let mut skipped = 0;
    if bounds.max_ms > range.max_ms {
        times.truncate(start + times[start..].partition_point(|t| *t <= range.max_ms));
    }
    if bounds.min_ms < range.min_ms {
        skipped = times[start..].partition_point(|t| *t < range.min_ms);
        times.drain(start..start + skipped);
    }
    (skipped, times.len() - start)
}

/// Keeps the values from `start` on that belong to what [`cut`] kept.
fn trim(values: &mut Vec<f64>, start: usize, skipped: usize, kept: usize) {
    values.truncate(start + skipped + kept);
    values.drain(start..start + skipped);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk: its times and values as they stand.
    type Chunk = Vec<(i64, f64)>;

    fn append(columns: &mut FloatColumns, chunk: &Chunk, range: TimeRange, shared: Option<u32>) {
        let bytes: Vec<u8> = std::iter::once(chunk.len() as u8)
            .chain(chunk.iter().flat_map(|(t, _)| t.to_le_bytes()))
            .collect();
        let bounds = TimeRange::new(chunk[0].0, chunk[chunk.len() - 1].0);
        let key = shared.map_or(Key::Encoded(&bytes), |row| Key::Row { block: 1, row });
        let length = if shared.is_some() { 0 } else { bytes.len() };
        let read = columns.append(
            key,
            bounds,
            range,
            |times| {
                times.extend(chunk.iter().map(|(t, _)| *t));
                Ok::<usize, ()>(length)
            },
            |end, values| {
                assert_eq!(end, length);
                values.extend(chunk.iter().map(|(_, v)| *v));
                Ok(())
            },
        );
        assert_eq!(read, Ok(()));
    }

    fn plain(columns: &mut FloatColumns, chunk: &Chunk, range: TimeRange) {
        let bounds = TimeRange::new(chunk[0].0, chunk[chunk.len() - 1].0);
        let read = columns.append_together(bounds, range, |times, values| {
            times.extend(chunk.iter().map(|(t, _)| *t));
            values.extend(chunk.iter().map(|(_, v)| *v));
            Ok::<(), ()>(())
        });
        assert_eq!(read, Ok(()));
    }

    /// Series of some chunks each, at times that mostly repeat: the columns are what each series has.
    #[test]
    fn series_with_equal_and_other_times_read_as_they_are() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let range = TimeRange::new(random.i64(0..30), random.i64(30..90));
            let (mut columns, mut before) = (FloatColumns::default(), Vec::new());
            for _ in 0..12 {
                let (mut time, mut expect, mut regular) = (0, Vec::new(), true);
                columns.begin();
                for number in 0..random.u32(0..4) {
                    regular &= random.u8(0..6) != 0;
                    let (count, step) = if regular { (8, 3) } else { (random.i64(1..9), 4) };
                    let chunk: Chunk =
                        (0..count).map(|i| (time + i * step, f64::from(random.u16(..)))).collect();
                    time += count * step;
                    // Equal rows have equal times.
                    let row = Some(number).filter(|_| regular && random.bool());
                    match number {
                        2 => plain(&mut columns, &chunk, range),
                        _ => append(&mut columns, &chunk, range, row),
                    }
                    expect.extend(chunk.into_iter().filter(|(t, _)| range.contains(*t)));
                    if random.u8(0..8) == 0 {
                        columns.forget();
                        expect.pop();
                        columns.times.truncate(expect.len());
                        columns.values.truncate(expect.len());
                    }
                }
                let same = columns.end();
                let (times, values): (Vec<i64>, Vec<f64>) = expect.into_iter().unzip();
                assert_eq!((&columns.times, &columns.values), (&times, &values), "seed {seed}");
                assert!(!same || before == times, "seed {seed}");
                before = times;
            }
        }
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let mut columns = FloatColumns::default();
        let chunk: Chunk = (0..8).map(|i| (i, i as f64)).collect();
        columns.begin();
        append(&mut columns, &chunk, TimeRange::ALL, Some(1));
        assert!(!columns.end());
        columns.begin();
        let bounds = TimeRange::new(0, 7);
        let key = Key::Row { block: 1, row: 1 };
        let failed = columns.append(key, bounds, TimeRange::ALL, |_| Ok(0), |_, _| Err(()));
        assert_eq!(failed, Err(()));
        let later: Chunk = (8..16).map(|i| (i, 0.0)).collect();
        append(&mut columns, &later, TimeRange::ALL, Some(2));
        assert!(!columns.end());
        assert_eq!(columns.times, (8..16).collect::<Vec<_>>());
        columns.restart();
        assert!(columns.times.is_empty() && columns.values.is_empty());
        // A series without floats: it does not have the times of the one before what was dropped.
        columns.begin();
        assert!(!columns.end());
        columns.begin();
        assert!(columns.end());
    }
}

//! What was deleted from a block: ranges of time, each with the series it was deleted from. The block stays
//! as it is; its readers leave these samples out until the block is written anew.
//!
//! The file beside a block holds all of it and is replaced as a whole with each deletion:
//!
//! `magic 8 | version u32 | shard u32 | number u64 | seed u64 | cut i64 | entries u32`, for each entry
//! `oldest time i64 | newest time i64 | length u32 | roaring bitmap of series, portable`, at last
//! `crc32c u32` of all before.

use super::file::BlockError;
use crate::bytes::Reader;
use hearth_model::TimeRange;
use roaring::RoaringBitmap;

const MAGIC: [u8; 8] = *b"HEARTHTS";
const FORMAT_VERSION: u32 = 1;
/// Ranges that a block holds apart before it is written anew at once: each costs every reader of a series
/// with deletions one look.
pub const MAX_ENTRIES: usize = 256;

/// Whose tombstones they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grave {
    pub shard: u32,
    pub number: u64,
    pub seed: u64,
    /// The block's cut: it counts even where the block itself cannot be read any more, so that what was
    /// deleted does not come out of the log again.
    pub cut_ms: i64,
}

/// See the module's head. An entry's range is never empty, nor is its set of series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tombstones {
    entries: Vec<(TimeRange, RoaringBitmap)>,
    /// Series with any deletion.
    touched: RoaringBitmap,
}

impl Tombstones {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Ranges held apart.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Series that something was deleted from.
    pub fn series_count(&self) -> u64 {
        self.touched.len()
    }

    /// Also deletes the range from these series.
    pub fn add(&mut self, range: TimeRange, series: &RoaringBitmap) {
        if range.is_empty() || series.is_empty() {
            return;
        }
        self.touched |= series;
        match self.entries.iter_mut().find(|(same, _)| *same == range) {
            Some((_, of)) => *of |= series,
            None => self.entries.push((range, series.clone())),
        }
    }

    /// What was deleted from a series: ascending, apart from each other.
    pub fn of(&self, series: u32, out: &mut Vec<TimeRange>) {
        out.clear();
        if !self.touched.contains(series) {
            return;
        }
        out.extend(self.entries.iter().filter(|(_, of)| of.contains(series)).map(|(range, _)| *range));
        out.sort_unstable_by_key(|range| range.min_ms);
        out.dedup_by(|next, range| {
            let joins = next.min_ms <= range.max_ms.saturating_add(1);
            if joins {
                range.max_ms = range.max_ms.max(next.max_ms);
            }
            joins
        });
    }

    /// The series that a single deletion took the whole range from.
    pub fn emptied(&self, range: TimeRange) -> RoaringBitmap {
        let whole =
            self.entries.iter().filter(|(of, _)| of.min_ms <= range.min_ms && of.max_ms >= range.max_ms);
        whole.fold(RoaringBitmap::new(), |all, (_, series)| all | series)
    }

    pub fn print(&self, grave: Grave) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&grave.shard.to_le_bytes());
        out.extend_from_slice(&grave.number.to_le_bytes());
        out.extend_from_slice(&grave.seed.to_le_bytes());
        out.extend_from_slice(&grave.cut_ms.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (range, series) in &self.entries {
            out.extend_from_slice(&range.min_ms.to_le_bytes());
            out.extend_from_slice(&range.max_ms.to_le_bytes());
            out.extend_from_slice(&(series.serialized_size() as u32).to_le_bytes());
            let written = series.serialize_into(&mut out);
            debug_assert!(written.is_ok(), "memory takes every byte");
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a file back; the tombstones must be of this shard, block and data directory.
    pub fn parse(
        bytes: &[u8],
        shard: u32,
        number: u64,
        seed: u64,
    ) -> Result<(Grave, Tombstones), BlockError> {
        let damaged = BlockError::Damaged;
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(damaged("its tombstones are too short"))?;
        if crc32c::crc32c(body).to_le_bytes() != *crc {
            return Err(damaged("the checksum of its tombstones does not hold"));
        }
        let mut reader = Reader::new(body);
        let version = match (reader.bytes(8), reader.u32()) {
            (Some(magic), Some(version)) if *magic == MAGIC => version,
            _ => return Err(damaged("its tombstones are something else")),
        };
        if version != FORMAT_VERSION {
            return Err(BlockError::Version(version));
        }
        let (grave, stones) = read(&mut reader).ok_or(damaged("its tombstones are not readable"))?;
        if (grave.shard, grave.number, grave.seed) != (shard, number, seed) {
            return Err(damaged("its tombstones are of another shard, place or data directory"));
        }
        Ok((grave, stones))
    }
}

fn read(reader: &mut Reader<'_>) -> Option<(Grave, Tombstones)> {
    let grave = Grave {
        shard: reader.u32()?,
        number: reader.u64()?,
        seed: reader.u64()?,
        cut_ms: reader.u64()? as i64,
    };
    let mut stones = Tombstones::default();
    for _ in 0..reader.u32()? {
        let range = TimeRange::new(reader.u64()? as i64, reader.u64()? as i64);
        let length = reader.u32()? as usize;
        let series = RoaringBitmap::deserialize_from(reader.bytes(length)?).ok()?;
        stones.add(range, &series);
    }
    reader.is_empty().then_some((grave, stones))
}

/// Whether a range lies in one of these, as [`Tombstones::of`] gives them.
pub fn covers(deleted: &[TimeRange], range: TimeRange) -> bool {
    let at = deleted.partition_point(|d| d.max_ms < range.min_ms);
    deleted.get(at).is_some_and(|d| d.min_ms <= range.min_ms && range.max_ms <= d.max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRAVE: Grave = Grave { shard: 1, number: 2, seed: 3, cut_ms: -4 };

    #[track_caller]
    fn check(deleted: &[(i64, i64, &[u32])], series: u32, expect: &[(i64, i64)]) {
        let mut stones = Tombstones::default();
        for (min, max, series) in deleted {
            stones.add(TimeRange::new(*min, *max), &series.iter().copied().collect());
        }
        let mut found = Vec::new();
        stones.of(series, &mut found);
        assert_eq!(found, expect.iter().map(|(min, max)| TimeRange::new(*min, *max)).collect::<Vec<_>>());
        let (grave, read) = Tombstones::parse(&stones.print(GRAVE), 1, 2, 3).expect("reads back");
        assert_eq!((grave, read), (GRAVE, stones));
    }

    #[test]
    fn ranges_join_where_they_touch() {
        check(&[], 1, &[]);
        check(&[(10, 20, &[1]), (40, 50, &[1, 2]), (5, 5, &[2])], 1, &[(10, 20), (40, 50)]);
        check(&[(10, 20, &[1]), (21, 50, &[1]), (15, 17, &[1])], 1, &[(10, 50)]);
        check(&[(i64::MIN, 0, &[7]), (1, i64::MAX, &[7])], 7, &[(i64::MIN, i64::MAX)]);
        check(&[(20, 10, &[1]), (1, 2, &[])], 1, &[]);
    }

    #[test]
    fn a_range_is_covered_by_one_of_them() {
        let deleted = [TimeRange::new(10, 20), TimeRange::new(30, 40)];
        for (min, max, expect) in [
            (10, 20, true),
            (12, 13, true),
            (9, 12, false),
            (18, 22, false),
            (30, 41, false),
            (40, 40, true),
            (25, 26, false),
        ] {
            assert_eq!(covers(&deleted, TimeRange::new(min, max)), expect, "{min} to {max}");
        }
    }

    #[test]
    fn another_blocks_tombstones_are_refused() {
        let bytes = Tombstones::default().print(GRAVE);
        for (shard, number, seed) in [(0, 2, 3), (1, 0, 3), (1, 2, 0)] {
            assert!(matches!(Tombstones::parse(&bytes, shard, number, seed), Err(BlockError::Damaged(_))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_tombstones_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), headed in any::<bool>()) {
            if headed {
                let mut all = Tombstones::default().print(GRAVE);
                all.truncate(40);
                all.extend_from_slice(&bytes);
                bytes = all;
            }
            let crc = crc32c::crc32c(&bytes).to_le_bytes();
            bytes.extend_from_slice(&crc);
            let _ = Tombstones::parse(&bytes, 1, 2, 3);
        }
    }
}

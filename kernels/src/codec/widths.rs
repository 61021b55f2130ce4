//! Widths of a run's granules: a table of the few widths that the run uses, and a code of as many bits as
//! the table needs for each granule. A run of one width has no codes at all.

use super::CodecError;
use super::cursor::Cursor;
use super::granule::{GRANULE, granule_bytes, is_width};
use super::layout::{GRANULES_MAX, TABLE_MAX};

/// Above this many distinct widths, neighbours are joined before the best table is looked for: bounds the
/// search to some hundred steps.
const SEARCHED_WIDTHS: usize = 8;

/// Bits of a code into a table of so many widths.
#[inline(always)]
pub(super) fn code_bits(entries: usize) -> usize {
    entries.next_power_of_two().trailing_zeros() as usize
}

/// The widths that a run may use, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    entries: [u8; TABLE_MAX],
    count: u8,
}

impl Table {
    pub fn entries(&self) -> &[u8] {
        &self.entries[..usize::from(self.count)]
    }

    /// The place of the smallest entry that is at least `width`.
    #[inline]
    fn code(&self, width: u8) -> usize {
        self.entries().iter().position(|e| *e >= width).unwrap_or(0)
    }

    fn code_bytes(&self, granules: usize) -> usize {
        (granules * code_bits(self.entries().len())).div_ceil(8)
    }

    /// Rounds every need up to its entry and appends the codes.
    pub fn write_codes(&self, needs: &mut [u8], out: &mut Vec<u8>) {
        let (bits, start) = (code_bits(self.entries().len()), out.len());
        out.resize(start + self.code_bytes(needs.len()), 0);
        for (i, need) in needs.iter_mut().enumerate() {
            let code = self.code(*need);
            *need = self.entries[code];
            let (at, shifted) = (start + i * bits / 8, code << (i * bits % 8));
            if shifted & 0xff != 0 {
                out[at] |= shifted as u8;
            }
            if shifted > 0xff {
                out[at + 1] |= (shifted >> 8) as u8;
            }
        }
    }

    /// The table with which the granules of a run of `words` words, which have these needs, cost the fewest
    /// bytes; and these: of table, codes and granules.
    pub fn choose(needs: &[u8], words: usize) -> (Table, usize) {
        let mut histogram = [0u32; 65];
        for &need in needs {
            histogram[usize::from(need)] += 1;
        }
        let mut groups = [(0u8, 0u32); 65];
        let mut found = 0;
        for (width, &count) in histogram.iter().enumerate().filter(|(_, c)| **c > 0) {
            groups[found] = (width as u8, count);
            found += 1;
        }
        let found = join(&mut groups[..found]);
        let (table, mut bytes) = search(&groups[..found], needs.len());
        if let (Some(&last), rest @ 1..) = (needs.last(), words % GRANULE) {
            let last = table.entries[table.code(last)];
            bytes -= usize::from(last) - granule_bytes(last, rest);
        }
        (table, bytes)
    }
}

/// Joins the neighbours that cost the least, until few enough are left; returns how many.
fn join(groups: &mut [(u8, u32)]) -> usize {
    let mut found = groups.len();
    while found > SEARCHED_WIDTHS {
        let cost = |i: usize| u32::from(groups[i + 1].0 - groups[i].0) * groups[i].1;
        let at = (0..found - 1).min_by_key(|&i| cost(i)).unwrap_or(0);
        groups[at + 1].1 += groups[at].1;
        groups.copy_within(at + 1..found, at);
        found -= 1;
    }
    found
}

/// The best choice of up to [`TABLE_MAX`] of the widths: for each number of entries `k` and each width
/// that may be the largest so far, the least cost, from those of `k - 1`.
fn search(groups: &[(u8, u32)], granules: usize) -> (Table, usize) {
    let found = groups.len();
    let mut table = Table { entries: [0; TABLE_MAX], count: 1 };
    let Some(last) = found.checked_sub(1) else { return (table, 1) };
    let mut before = [0u32; SEARCHED_WIDTHS + 1];
    for (i, group) in groups.iter().enumerate() {
        before[i + 1] = before[i] + group.1;
    }
    let span = |from: usize, to: usize| u32::from(groups[to].0) * (before[to + 1] - before[from]);
    let mut costs = [[u32::MAX; SEARCHED_WIDTHS]; TABLE_MAX];
    let mut links = [[0u8; SEARCHED_WIDTHS]; TABLE_MAX];
    for (to, cost) in costs[0].iter_mut().enumerate().take(found) {
        *cost = span(0, to);
    }
    let total = |k: usize, cost: u32| cost as usize + k + 1 + (granules * code_bits(k + 1)).div_ceil(8);
    let (mut best, mut least) = (0, total(0, costs[0][last]));
    for k in 1..TABLE_MAX.min(found) {
        for to in k..found {
            for from in k..=to {
                let cost = costs[k - 1][from - 1] + span(from, to);
                if cost < costs[k][to] {
                    costs[k][to] = cost;
                    links[k][to] = from as u8;
                }
            }
        }
        if total(k, costs[k][last]) < least {
            (best, least) = (k, total(k, costs[k][last]));
        }
    }
    table.count = best as u8 + 1;
    let mut to = last;
    for k in (0..=best).rev() {
        table.entries[k] = groups[to].0;
        to = usize::from(links[k][to]).saturating_sub(1);
    }
    (table, least)
}

/// The widths of a run's granules, read back.
#[derive(Debug)]
pub(super) struct Widths {
    widths: [u8; GRANULES_MAX],
    granules: usize,
}

impl Widths {
    pub fn granules(&self) -> &[u8] {
        &self.widths[..self.granules]
    }

    /// Reads a table's entries.
    pub fn read_table<'a>(cursor: &mut Cursor<'a>, entries: usize) -> Result<&'a [u8], CodecError> {
        let table = cursor.take(entries)?;
        if table.iter().all(|w| is_width(*w)) { Ok(table) } else { Err(CodecError::BadWidth) }
    }

    /// Reads the codes of so many granules; `table` has 1 to [`TABLE_MAX`] entries.
    pub fn read_codes(cursor: &mut Cursor<'_>, table: &[u8], granules: usize) -> Result<Self, CodecError> {
        debug_assert!(granules <= GRANULES_MAX && (1..=TABLE_MAX).contains(&table.len()));
        let mut widths = [table[0]; GRANULES_MAX];
        let bits = code_bits(table.len());
        if bits == 0 {
            return Ok(Widths { widths, granules });
        }
        let codes = cursor.take((granules * bits).div_ceil(8))?;
        let byte = |at: usize| u32::from(codes.get(at).copied().unwrap_or(0));
        for (i, width) in widths[..granules].iter_mut().enumerate() {
            let at = i * bits / 8;
            let code = (byte(at) | byte(at + 1) << 8) >> (i * bits % 8) & ((1 << bits) - 1);
            *width = *table.get(code as usize).ok_or(CodecError::BadWidth)?;
        }
        Ok(Widths { widths, granules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::granule::allowed_width;
    use proptest::prelude::*;

    #[track_caller]
    fn check(needs: &[u8], expect: &[u8]) {
        let (table, _) = Table::choose(needs, needs.len() * GRANULE);
        assert_eq!(table.entries(), expect);
    }

    #[test]
    fn tables_hold_what_pays() {
        check(&[0; 16], &[0]);
        check(&[5; 128], &[5]);
        // One bit a granule and an entry cost less than three bits for each of many.
        check(&[[2u8; 100], [5; 100]].concat(), &[2, 5]);
        check(&[4, 5], &[5]);
        check(&[], &[0]);
    }

    proptest! {
        #[test]
        fn codes_come_back(needs in prop::collection::vec(0u8..=64, 1..=GRANULES_MAX), spread in 1u8..=64) {
            let needs: Vec<u8> = needs.iter().map(|n| allowed_width(u32::from(n % spread))).collect();
            let (table, cost) = Table::choose(&needs, needs.len() * GRANULE);
            let (mut rounded, mut bytes) = (needs.clone(), Vec::new());
            table.write_codes(&mut rounded, &mut bytes);
            prop_assert!(rounded.iter().zip(&needs).all(|(r, n)| r >= n));
            let mut cursor = Cursor::new(&bytes);
            let read = Widths::read_codes(&mut cursor, table.entries(), needs.len()).unwrap();
            prop_assert_eq!(read.granules(), &rounded[..]);
            prop_assert_eq!(cursor.rest(), &[] as &[u8]);
            let payload: usize = rounded.iter().map(|r| usize::from(*r)).sum();
            prop_assert_eq!(cost, table.entries().len() + bytes.len() + payload);
            // No single width is cheaper.
            let widest = usize::from(*needs.iter().max().unwrap());
            prop_assert!(table.entries().len() + bytes.len() + payload <= 1 + widest * needs.len());
        }
    }
}

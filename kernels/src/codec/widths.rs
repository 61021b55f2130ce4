//! Widths of a run's granules: a table of the few widths that the run uses, and a code of as many bits as
//! the table needs for each granule. A run of one width has no codes at all.

use super::CodecError;
use super::cursor::Cursor;
use super::granule::{GRANULE, granule_bytes, is_width};
use super::layout::{GRANULES_MAX, TABLE_MAX};

/// Above this many distinct widths, neighbours are joined before the best table is looked for: bounds the
/// search to some hundred steps.
const SEARCHED_WIDTHS: usize = 8;

/// Zero to the widest.
const WIDTHS: usize = 65;

/// Bits of a code into a table of so many widths.
#[inline(always)]
pub(super) fn code_bits(entries: usize) -> usize {
    entries.next_power_of_two().trailing_zeros() as usize
}

/// What the granules of a run need at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Those behind the last granule are zero.
    pub widths: [u8; GRANULES_MAX],
    pub granules: usize,
    /// A bit for each width that there is: [`Needs::bit`].
    pub which: u64,
    /// Of all granules, none of which is cut.
    pub bytes: usize,
}

fn width_of(bit: u32) -> u8 {
    if bit == 63 { 64 } else { bit as u8 }
}

impl Needs {
    /// No granule needs 58 to 63 bits, so the widest gets the last bit.
    #[inline(always)]
    pub fn bit(width: u8) -> u64 {
        1 << (width - (width >> 6))
    }

    pub fn widths(&self) -> &[u8] {
        &self.widths[..self.granules]
    }

    fn widest(&self) -> u8 {
        width_of(63 - (self.which | 1).leading_zeros())
    }

    /// How many granules need this width.
    fn count(&self, width: u8) -> u32 {
        // Of all of the array, in bytes, as vectors do it best; there are no more than 128.
        let count = self.widths.iter().fold(0u8, |count, other| count + u8::from(*other == width));
        let behind = if width == 0 { GRANULES_MAX - self.granules } else { 0 };
        u32::from(count) - behind as u32
    }

    /// Fewer bytes than this no table, codes and granules of `words` words take.
    pub fn least_bytes(&self, words: usize) -> usize {
        let Some(&last) = self.widths().last() else { return 1 };
        let cut = |width: u8| match words % GRANULE {
            0 => 0,
            rest => usize::from(width) - granule_bytes(width, rest),
        };
        let widest = self.widest();
        let one = 1 + self.granules * usize::from(widest) - cut(widest);
        let several = 2 + self.granules.div_ceil(8) + self.bytes - cut(last);
        one.min(several)
    }
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

    fn code_bytes(&self, granules: usize) -> usize {
        (granules * code_bits(self.entries().len())).div_ceil(8)
    }

    /// For each width the place of the smallest entry that is at least as wide.
    fn codes(&self) -> [u8; WIDTHS] {
        let (mut codes, mut from) = ([0; WIDTHS], 0);
        for (code, &entry) in self.entries().iter().enumerate() {
            codes[from..=usize::from(entry)].fill(code as u8);
            from = usize::from(entry) + 1;
        }
        codes
    }

    /// Rounds every need up to its entry and appends the codes.
    pub fn write_codes(&self, needs: &mut [u8], out: &mut Vec<u8>) {
        let bits = code_bits(self.entries().len());
        if bits == 0 {
            needs.fill(self.entries[0]);
            return;
        }
        let (codes, end) = (self.codes(), out.len() + self.code_bytes(needs.len()));
        for eight in needs.chunks_mut(8) {
            let mut word = 0u32;
            for (i, need) in eight.iter_mut().enumerate() {
                let code = codes[usize::from(*need)];
                word |= u32::from(code) << (i * bits);
                *need = self.entries[usize::from(code)];
            }
            out.extend_from_slice(&word.to_le_bytes()[..bits]);
        }
        out.truncate(end);
    }

    /// The table with which the granules of a run of `words` words, which have these needs, cost the fewest
    /// bytes; and these: of table, codes and granules.
    pub fn choose(needs: &Needs, words: usize) -> (Table, usize) {
        let mut groups = [(0u8, 0u32); WIDTHS];
        let (mut found, mut which) = (0, needs.which);
        while which != 0 {
            let width = width_of(which.trailing_zeros());
            groups[found] = (width, needs.count(width));
            found += 1;
            which &= which - 1;
        }
        let found = join(&mut groups[..found]);
        let (table, mut bytes) = search(&groups[..found], needs.granules);
        if let (Some(&last), rest @ 1..) = (needs.widths().last(), words % GRANULE) {
            let entry = table.entries().iter().find(|entry| **entry >= last).copied().unwrap_or(last);
            bytes -= usize::from(entry) - granule_bytes(entry, rest);
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
    // With the bits of codes alone, and of no granule one too many: when that is dear, all further tables are.
    let exact: u32 = groups.iter().map(|(width, count)| u32::from(*width) * count).sum();
    for k in 1..TABLE_MAX.min(found) {
        if total(k, exact) >= least {
            break;
        }
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
        let bits = code_bits(table.len());
        if bits == 0 {
            return Ok(Widths { widths: [table[0]; GRANULES_MAX], granules });
        }
        let codes = cursor.take((granules * bits).div_ceil(8))?;
        let mut entries = [NO_WIDTH; TABLE_MAX];
        entries[..table.len()].copy_from_slice(table);
        let entries = u64::from_le_bytes(entries);
        let mut widths = [0; GRANULES_MAX];
        match bits {
            1 => look_up::<1>(codes, entries, &mut widths),
            2 => look_up::<2>(codes, entries, &mut widths),
            _ => look_up::<3>(codes, entries, &mut widths),
        }
        // Of the last byte's codes those that no granule has may be any.
        let all = widths[..granules].iter().fold(0, |all, width| all | width);
        if all & NO_WIDTH_BIT != 0 { Err(CodecError::BadWidth) } else { Ok(Widths { widths, granules }) }
    }
}

/// In a table's place without an entry, and the bit of it that no width has.
const NO_WIDTH: u8 = u8::MAX;
const NO_WIDTH_BIT: u8 = 0x80;

/// Looks up codes of so many bits, eight of which fill as many bytes.
#[inline(always)]
fn look_up<const BITS: usize>(codes: &[u8], entries: u64, widths: &mut [u8; GRANULES_MAX]) {
    let (eights, rest) = codes.as_chunks::<BITS>();
    let mut last = [0; BITS];
    last[..rest.len()].copy_from_slice(rest);
    for (widths, bytes) in widths.as_chunks_mut::<8>().0.iter_mut().zip(eights.iter().chain([&last])) {
        let mut word = [0; 4];
        word[..BITS].copy_from_slice(bytes);
        let word = u32::from_le_bytes(word);
        for (i, width) in widths.iter_mut().enumerate() {
            let code = word >> (i * BITS) & ((1 << BITS) - 1);
            *width = (entries >> (8 * code)) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::granule::{allowed_width, run_bytes};
    use proptest::prelude::*;

    fn needs(widths: &[u8]) -> Needs {
        let mut all = [0; GRANULES_MAX];
        all[..widths.len()].copy_from_slice(widths);
        let which = widths.iter().fold(0, |which, width| which | Needs::bit(*width));
        let bytes = widths.iter().map(|width| usize::from(*width)).sum();
        Needs { widths: all, granules: widths.len(), which, bytes }
    }

    #[track_caller]
    fn check(widths: &[u8], expect: &[u8]) {
        let (table, _) = Table::choose(&needs(widths), widths.len() * GRANULE);
        assert_eq!(table.entries(), expect);
    }

    #[test]
    fn tables_hold_what_pays() {
        check(&[0; 16], &[0]);
        check(&[5; 128], &[5]);
        // One bit a granule and an entry cost less than three bits for each of many.
        check(&[[2u8; 64], [5; 64]].concat(), &[2, 5]);
        check(&[4, 5], &[5]);
        check(&[], &[0]);
    }

    proptest! {
        #[test]
        fn codes_come_back(
            widths in prop::collection::vec(0u8..=64, 1..=GRANULES_MAX), spread in 1u8..=64, cut in 0..GRANULE,
        ) {
            let widths: Vec<u8> = widths.iter().map(|n| allowed_width(u32::from(n % spread))).collect();
            let (needs, words) = (needs(&widths), widths.len() * GRANULE - cut);
            let (table, cost) = Table::choose(&needs, words);
            let (mut rounded, mut bytes) = (widths.clone(), Vec::new());
            table.write_codes(&mut rounded, &mut bytes);
            prop_assert!(rounded.iter().zip(&widths).all(|(r, n)| r >= n));
            let mut cursor = Cursor::new(&bytes);
            let read = Widths::read_codes(&mut cursor, table.entries(), widths.len()).unwrap();
            prop_assert_eq!(read.granules(), &rounded[..]);
            prop_assert_eq!(cursor.rest(), &[] as &[u8]);
            prop_assert_eq!(cost, table.entries().len() + bytes.len() + run_bytes(&rounded, words));
            prop_assert!(cost >= needs.least_bytes(words));
            // No single width is cheaper.
            if cut == 0 {
                prop_assert!(cost <= 1 + usize::from(*widths.iter().max().unwrap()) * widths.len());
            }
        }
    }
}

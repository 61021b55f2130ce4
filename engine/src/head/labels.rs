//! The label sets of the head's series, packed: of each its *shape* (a list of label names, kept once however many
//! series have it), then the symbol of each value, all in as many bits as the widest of them needs.
//!
//! Numbers of symbols are given again once nobody holds their strings, so they are small: 10 to 20 bits in a shard of a
//! million series. Bytes of anonymous memory that a series takes in the head, with one float, a million of each kind:
//!
//! | series | labels | symbols of 32 bits, names too | packed |
//! |---|---|---|---|
//! | the load generator's | 11 | 264 | 193 |
//! | node_exporter's, 1,250 a target | 4 | 207 | 182 |
//! | cAdvisor's, 60 a container | 13 | 305 | 226 |
//! | a path of its own each | 5 | 304 | 277 |
//!
//! New series take as much time as before or less, reading a set some 30 ns instead of 10. A second level, which has
//! what all series of a target share once, would save ten bytes more at best of the first kind and six of the second,
//! has to guess which labels these are, and reads memory in one more place for each set.
//!
//! The place of a set that ended is used again by one of the same length. Where more than half of all bytes wait for
//! such a one, those in use are written anew.

use crate::bytes::push_varint;
use crate::index::symbols::Symbol;
use ahash::AHashMap;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// Where a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Of a row that is no series.
    pub const NONE: Place = Place(u32::MAX);
}

/// Bits of a set's first number that say how wide its symbols are; the others are its shape.
const WIDTH_BITS: u32 = 6;
/// Bytes that a set's first number takes at the most, and behind it each label.
const NUMBER_BYTES: usize = 6;
/// Bytes behind the last set: a symbol is taken out of eight.
const SLACK_BYTES: usize = 8;

/// Sets are written anew when more than this and more than half of the bytes are of no use.
const GARBAGE_BYTES: usize = 1 << 16;

/// The names of a set, and how many sets have them; none where it is free.
#[derive(Debug, Default)]
struct Shape {
    names: Box<[Symbol]>,
    sets: u32,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct LabelSets {
    bytes: Vec<u8>,
    /// Places of no use, by their length.
    free: AHashMap<u32, Vec<u32>>,
    garbage_bytes: usize,
    shapes: Vec<Shape>,
    free_shapes: Vec<u32>,
    /// Shapes by their names.
    table: HashTable<u32>,
    hasher: ahash::RandomState,
    /// The shape of the set that came last: the next one has it too, most often.
    last_shape: u32,
}

impl LabelSets {
    /// Whether a set of so many labels still fits: places are 32 bits wide.
    pub fn has_room(&self, labels: usize) -> bool {
        self.bytes.len() + NUMBER_BYTES * (labels + 1) < u32::MAX as usize
    }

    /// Adds a set: name and value in turns. `new_name` is told each name of a shape that no other set has.
    pub fn push(&mut self, pairs: &[Symbol], new_name: impl FnMut(Symbol)) -> Place {
        let shape = self.shape(pairs, new_name);
        self.shapes[shape as usize].sets += 1;
        let start = self.end();
        self.bytes.truncate(start);
        pack(&mut self.bytes, shape, pairs);
        let length = self.bytes.len() - start;
        let free = if self.garbage_bytes > 0 { self.free.get_mut(&(length as u32)) } else { None };
        let place = free.and_then(Vec::pop).map_or(start, |place| {
            self.garbage_bytes -= length;
            self.bytes.copy_within(start.., place as usize);
            self.bytes.truncate(start);
            place as usize
        });
        self.bytes.extend_from_slice(&[0; SLACK_BYTES]);
        Place(place as u32)
    }

    /// Where the last set ends.
    fn end(&self) -> usize {
        self.bytes.len().saturating_sub(SLACK_BYTES)
    }

    /// The number of the shape with the names of these pairs.
    fn shape(&mut self, pairs: &[Symbol], new_name: impl FnMut(Symbol)) -> u32 {
        let names = || pairs.iter().step_by(2);
        let is = |shape: &Shape| shape.names.len() == pairs.len() / 2 && shape.names.iter().eq(names());
        if self.shapes.get(self.last_shape as usize).is_some_and(|shape| shape.sets > 0 && is(shape)) {
            return self.last_shape;
        }
        let hash = names_hash(&self.hasher, names());
        if let Some(found) = self.table.find(hash, |at| is(&self.shapes[*at as usize])) {
            self.last_shape = *found;
            return *found;
        }
        names().copied().for_each(new_name);
        let shape = Shape { names: names().copied().collect(), sets: 0 };
        let number = self.free_shapes.pop().unwrap_or(self.shapes.len() as u32);
        match self.shapes.get_mut(number as usize) {
            Some(free) => *free = shape,
            None => self.shapes.push(shape),
        }
        let (shapes, hasher) = (&self.shapes, &self.hasher);
        self.table.insert_unique(hash, number, |at| names_hash(hasher, shapes[*at as usize].names.iter()));
        self.last_shape = number;
        number
    }

    /// The set at a place.
    #[inline]
    pub fn get(&self, place: Place) -> LabelSet<'_> {
        let mut bytes = self.bytes.get(place.0 as usize..).unwrap_or_default();
        let number = take_number(&mut bytes);
        let shape = self.shapes.get((number >> WIDTH_BITS) as usize).filter(|_| !bytes.is_empty());
        let names = shape.map_or(&[][..], |shape| &shape.names);
        let width = number as u32 & ((1 << WIDTH_BITS) - 1);
        LabelSet { shape: (number >> WIDTH_BITS) as u32, names: names.iter(), bytes, bit: 0, width }
    }

    /// The first byte of a set: what reading it touches first.
    pub fn first(&self, place: Place) -> Option<&u8> {
        self.bytes.get(place.0 as usize)
    }

    /// Gives a set's place to others. `ended` is told the set's values, and the names of its shape where it was the
    /// last set of that.
    pub fn release(&mut self, place: Place, mut ended: impl FnMut(Symbol)) {
        let Some(bytes) = self.bytes.get(place.0 as usize..) else { return };
        let set = self.get(place);
        let number = set.shape;
        let length = bytes.len() - set.bytes.len() + set.length();
        set.for_each(|[_, value]| ended(value));
        self.free.entry(length as u32).or_default().push(place.0);
        self.garbage_bytes += length;
        let shape = &mut self.shapes[number as usize];
        shape.sets -= 1;
        if shape.sets == 0 {
            let shape = std::mem::take(shape);
            let hash = names_hash(&self.hasher, shape.names.iter());
            if let Ok(entry) = self.table.find_entry(hash, |at| *at == number) {
                entry.remove();
            }
            shape.names.iter().copied().for_each(ended);
            self.free_shapes.push(number);
        }
    }

    /// Whether [`LabelSets::rewrite`] is worth its while.
    pub fn is_mostly_garbage(&self) -> bool {
        self.garbage_bytes > GARBAGE_BYTES && self.garbage_bytes > self.bytes.len() / 2
    }

    /// Leaves nothing of no use: `places` are all that are in use, and get what they are now.
    pub fn rewrite<'a>(&mut self, places: impl Iterator<Item = &'a mut Place>) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage_bytes);
        for place in places {
            let set = self.get(*place);
            let end = self.bytes.len() - set.bytes.len() + set.length();
            let start = std::mem::replace(place, Place(bytes.len() as u32)).0;
            bytes.extend_from_slice(&self.bytes[start as usize..end]);
        }
        bytes.extend_from_slice(&[0; SLACK_BYTES]);
        self.bytes = bytes;
        self.free = AHashMap::new();
        self.garbage_bytes = 0;
    }

    /// Memory held.
    pub fn size_bytes(&self) -> usize {
        let places = self.free.values().map(|places| places.capacity() * 4).sum::<usize>();
        let names = |shape: &Shape| size_of::<Shape>() + shape.names.len() * size_of::<Symbol>();
        let shapes = self.shapes.iter().map(names).sum::<usize>();
        self.bytes.capacity() + places + shapes + self.table.capacity() * 5
    }
}

fn names_hash<'a>(hasher: &ahash::RandomState, names: impl Iterator<Item = &'a Symbol>) -> u64 {
    let mut state = hasher.build_hasher();
    names.for_each(|name| state.write_u32(*name));
    state.finish()
}

/// Appends a set: its shape and the width of its widest symbol, then the symbols, so many bits each.
fn pack(out: &mut Vec<u8>, shape: u32, pairs: &[Symbol]) {
    let widest = pairs.iter().skip(1).step_by(2).fold(0, |all, value| all | value);
    let width = u32::BITS - widest.leading_zeros();
    push_varint(out, u64::from(shape) << WIDTH_BITS | u64::from(width));
    let (mut pending, mut bits) = (0u64, 0);
    for pair in pairs.chunks_exact(2) {
        pending |= u64::from(pair[1]) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
    }
}

/// Takes what [`push_varint`] wrote.
#[inline(always)]
fn take_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            break;
        }
    }
    number
}

/// The number of so many bits, 32 at the most, at a place.
#[inline(always)]
fn take_bits(bytes: &[u8], bit: usize, width: u32) -> u32 {
    let eight = bytes.get(bit / 8..).and_then(|from| from.first_chunk::<SLACK_BYTES>());
    let word = u64::from_le_bytes(eight.copied().unwrap_or_default());
    // With the bits before them in their first byte they are fewer than 64.
    (word >> (bit % 8) & ((1 << width) - 1)) as u32
}

/// Name and value of each label, in the order they were given.
#[derive(Debug, Clone)]
pub struct LabelSet<'a> {
    shape: u32,
    names: std::slice::Iter<'a, Symbol>,
    bytes: &'a [u8],
    bit: usize,
    width: u32,
}

impl LabelSet<'_> {
    /// Sets of one shape have the same names, while they are there.
    pub fn shape(&self) -> u32 {
        self.shape
    }

    /// Appends all that is left, name and value in turns.
    #[inline]
    pub fn push_into(self, out: &mut Vec<Symbol>) {
        let (start, names) = (out.len(), self.names.as_slice());
        out.resize(start + 2 * names.len(), 0);
        let mut bit = self.bit;
        for (pair, name) in out[start..].as_chunks_mut().0.iter_mut().zip(names) {
            *pair = [*name, take_bits(self.bytes, bit, self.width)];
            bit += self.width as usize;
        }
    }

    /// Bytes of all its values, while none was taken.
    fn length(&self) -> usize {
        (self.names.len() * self.width as usize).div_ceil(8)
    }
}

impl Iterator for LabelSet<'_> {
    type Item = [Symbol; 2];

    #[inline]
    fn next(&mut self) -> Option<[Symbol; 2]> {
        let name = *self.names.next()?;
        let value = take_bits(self.bytes, self.bit, self.width);
        self.bit += self.width as usize;
        Some([name, value])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.names.size_hint()
    }
}

impl ExactSizeIterator for LabelSet<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Sets beside what they are to be, and how many hold each symbol.
    #[derive(Default)]
    struct Checked {
        sets: LabelSets,
        rows: Vec<(Place, Vec<Symbol>)>,
        held: BTreeMap<Symbol, i64>,
    }

    impl Checked {
        fn push(&mut self, pairs: Vec<Symbol>) {
            let held = &mut self.held;
            pairs.chunks_exact(2).for_each(|pair| *held.entry(pair[1]).or_default() += 1);
            let place = self.sets.push(&pairs, |name| *held.entry(name).or_default() += 1);
            self.rows.push((place, pairs));
        }

        fn release(&mut self, at: usize) {
            let (place, _) = self.rows.swap_remove(at);
            let held = &mut self.held;
            self.sets.release(place, |symbol| *held.entry(symbol).or_default() -= 1);
            if self.sets.is_mostly_garbage() {
                self.sets.rewrite(self.rows.iter_mut().map(|(place, _)| place));
                assert_eq!(self.sets.garbage_bytes, 0);
            }
        }

        #[track_caller]
        fn check(&self) {
            let mut expect = BTreeMap::<Symbol, i64>::new();
            let mut shapes = std::collections::BTreeSet::new();
            for (place, pairs) in &self.rows {
                let mut read = vec![7];
                self.sets.get(*place).push_into(&mut read);
                assert_eq!(&read[1..], pairs);
                assert!(self.sets.get(*place).flatten().eq(pairs.iter().copied()));
                assert_eq!(self.sets.get(*place).len(), pairs.len() / 2);
                pairs.chunks_exact(2).for_each(|pair| *expect.entry(pair[1]).or_default() += 1);
                shapes.insert(pairs.iter().copied().step_by(2).collect::<Vec<_>>());
            }
            shapes.iter().flatten().for_each(|name| *expect.entry(*name).or_default() += 1);
            let mut held = self.held.clone();
            held.retain(|_, count| *count != 0);
            assert_eq!(held, expect, "each value is held once a set, each name once a shape");
            assert_eq!(self.sets.table.len(), shapes.len());
        }
    }

    /// Symbols of every width, the widest too.
    fn symbol() -> impl Strategy<Value = Symbol> {
        (0u32..33, any::<u32>()).prop_map(|(bits, any)| (u64::from(any) & ((1 << bits) - 1)) as u32)
    }

    fn set() -> impl Strategy<Value = Vec<Symbol>> {
        let names = (0u32..4, 1usize..20).prop_map(|(from, count)| (from..from + count as u32).collect());
        names.prop_flat_map(|names: Vec<Symbol>| {
            prop::collection::vec(symbol(), names.len()).prop_map(move |values| {
                names.iter().copied().zip(values).flat_map(<[u32; 2]>::from).collect()
            })
        })
    }

    proptest! {
        #[test]
        fn sets_come_back_however_they_come_and_go(
            steps in prop::collection::vec((prop::option::weighted(0.6, set()), any::<prop::sample::Index>()), 1..200)
        ) {
            let mut checked = Checked::default();
            for (pairs, at) in steps {
                match pairs {
                    Some(pairs) => checked.push(pairs),
                    None if !checked.rows.is_empty() => checked.release(at.index(checked.rows.len())),
                    None => {}
                }
                checked.check();
            }
            (0..checked.rows.len()).rev().for_each(|at| checked.release(at));
            checked.check();
            prop_assert_eq!(checked.sets.end(), checked.sets.garbage_bytes);
        }
    }

    /// Sets of every length after one another, each generation of other shapes: places of the lengths before are of
    /// no use to it.
    #[test]
    fn nothing_grows_while_sets_come_and_go() {
        let (mut checked, mut most_bytes) = (Checked::default(), 0);
        for round in 0..200u32 {
            let wide = 1 << (round % 32);
            for i in 0..2_000u32 {
                let labels = 3 + round % 13;
                checked.push((0..labels).flat_map(|label| [round * 20 + label, wide | (i % wide)]).collect());
            }
            if round % 20 == 0 {
                checked.check();
            }
            most_bytes = most_bytes.max(checked.rows.len() * (3 + 15 * 4));
            (0..checked.rows.len())
                .rev()
                .filter(|at| at % 8 > 0 || round % 5 == 4)
                .for_each(|at| checked.release(at));
        }
        // Half of it garbage, room to grow into, the places' lists.
        let held = checked.sets.size_bytes();
        assert!(held < 5 * most_bytes, "{held} bytes for sets of {most_bytes} at the most");
        (0..checked.rows.len()).rev().for_each(|at| checked.release(at));
        checked.check();
        assert_eq!(checked.sets.shapes.len() - checked.sets.free_shapes.len(), 0);
        assert!(checked.sets.shapes.len() <= 10, "numbers of shapes are given again");
    }

    #[test]
    fn a_row_that_is_no_series_has_no_labels() {
        let mut sets = LabelSets::default();
        assert_eq!(sets.get(Place::NONE).count(), 0);
        sets.push(&[1, 2], |_| {});
        assert_eq!(sets.get(Place::NONE).count(), 0);
        sets.release(Place::NONE, |_| panic!("nothing ends"));
    }
}

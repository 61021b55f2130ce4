//! Floats as integers: decimal ones times a power of ten, and any by its place in the order of floats.

use super::granule::GRANULE;
use super::vectors::{OnVectors, Vectors, dispatch};
use crate::arch::Level;
use pulp::NullaryFnOnce;

/// Powers of ten, all exact.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The floats nearest to 10^-1 and on.
const FRACTIONS: [f64; 12] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12];

/// How an integer becomes a float: by its code in `layout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit(u8);

/// The arithmetic of a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Same,
    Divide(f64),
    /// Twice by a thousand.
    Twice,
    Multiply(f64),
}

const TWICE: u8 = 16;

impl Unit {
    pub const ONE: Unit = Unit(0);

    pub fn of_code(code: u8) -> Option<Unit> {
        (usize::from(code) <= usize::from(TWICE) + FRACTIONS.len()).then_some(Unit(code))
    }

    pub fn code(self) -> u8 {
        self.0
    }

    pub fn way(self) -> Way {
        match self.0 {
            0 => Way::Same,
            code @ ..TWICE => Way::Divide(POWERS[usize::from(code)]),
            TWICE => Way::Twice,
            code => Way::Multiply(FRACTIONS[usize::from(code - TWICE - 1)]),
        }
    }

    /// What the float is multiplied by to come near its integer.
    fn power(self) -> f64 {
        match self.0 {
            code @ ..TWICE => POWERS[usize::from(code)],
            TWICE => 1e6,
            code => POWERS[usize::from(code - TWICE)],
        }
    }
}

impl Way {
    #[inline(always)]
    pub fn apply(self, integer: f64) -> f64 {
        match self {
            Way::Same => integer,
            Way::Divide(by) => integer / by,
            Way::Twice => integer / 1e3 / 1e3,
            Way::Multiply(by) => integer * by,
        }
    }
}

/// Adding it to a float below 2^51 leaves the nearest integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Integers of decimal floats are smaller than this.
const LIMIT: f64 = (1u64 << 51) as f64;

/// What a decimal word stands for.
pub(super) fn from_integer(word: u64, unit: Unit) -> u64 {
    unit.way().apply(word as i64 as f64).to_bits()
}

/// Turns floats into the nearest integers of a unit; a bit for each of a granule's eight says where the
/// integer does not stand for exactly that float, bit for bit.
pub(super) fn to_integers(bits: &[u64], unit: Unit, words: &mut [u64], misses: &mut [u8]) {
    dispatch(Level::WIDEST, Convert { bits, unit, words, misses });
}

struct Convert<'a> {
    bits: &'a [u64],
    unit: Unit,
    words: &'a mut [u64],
    misses: &'a mut [u8],
}

struct ConvertOn<'a, V>(V, Convert<'a>);

impl OnVectors for Convert<'_> {
    type Output = ();

    fn on<V: Vectors>(self, vectors: V) {
        vectors.vectorize(ConvertOn(vectors, self));
    }
}

impl<V: Vectors> NullaryFnOnce for ConvertOn<'_, V> {
    type Output = ();

    // Always inlined, as are its callees: a body behind a call would not be compiled for the wide
    // instruction set.
    #[inline(always)]
    fn call(self) {
        let ConvertOn(vectors, job) = self;
        let power = job.unit.power();
        match job.unit.way() {
            Way::Same => job.run(vectors, 1.0, Way::Same),
            Way::Divide(by) => job.run(vectors, by, Way::Divide(by)),
            Way::Twice => job.run(vectors, power, Way::Twice),
            Way::Multiply(by) => job.run(vectors, power, Way::Multiply(by)),
        }
    }
}

impl Convert<'_> {
    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V, power: f64, way: Way) {
        let (granules, rest) = self.bits.as_chunks::<GRANULE>();
        let (words, words_rest) = self.words.as_chunks_mut::<GRANULE>();
        for ((bits, words), misses) in granules.iter().zip(words).zip(self.misses.iter_mut()) {
            *misses = convert(vectors, bits, words, power, way);
        }
        if !rest.is_empty() {
            let (mut bits, mut words) = ([0; GRANULE], [0; GRANULE]);
            bits[..rest.len()].copy_from_slice(rest);
            self.misses[granules.len()] = convert(vectors, &bits, &mut words, power, way);
            words_rest[..rest.len()].copy_from_slice(&words[..rest.len()]);
        }
    }
}

#[inline(always)]
fn convert<V: Vectors>(
    vectors: V,
    bits: &[u64; GRANULE],
    words: &mut [u64; GRANULE],
    power: f64,
    way: Way,
) -> u8 {
    let mut wrong = [0; GRANULE];
    for ((bits, word), wrong) in bits.iter().zip(words).zip(&mut wrong) {
        (*word, *wrong) = convert_one(*bits, power, way);
    }
    vectors.any(&wrong).1
}

/// The integer nearest to a float, and zero where it stands for exactly that float.
#[inline(always)]
fn convert_one(bits: u64, power: f64, way: Way) -> (u64, u64) {
    let scaled = f64::from_bits(bits) * power;
    let rounded = scaled + ROUNDER;
    let word = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
    // -0.0 comes back as 0.0, NaN as another NaN or none, infinities are beyond the limit. Told by arithmetic on bits,
    // which are in the order of sizes: a choice is not compiled to vectors here.
    let beyond = !(scaled.abs().to_bits().wrapping_sub(LIMIT.to_bits())) >> 63;
    (word, (way.apply(rounded - ROUNDER).to_bits() ^ bits) | beyond)
}

/// The integer of a float, where one stands for exactly it.
pub(super) fn to_integer(bits: u64, unit: Unit) -> Option<u64> {
    let (word, wrong) = convert_one(bits, unit.power(), unit.way());
    (wrong == 0).then_some(word)
}

/// The place of a float among all floats, by sign and size; its own inverse.
#[inline(always)]
pub(super) fn ordered(bits: u64) -> u64 {
    bits ^ (((bits as i64 >> 63) as u64) >> 1)
}

/// NaN, infinities and -0.0: in no order with their neighbours.
#[inline(always)]
pub(super) fn is_special(bits: u64) -> bool {
    (bits & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000) | (bits == 1 << 63)
}

/// Gives every float its place; tells whether there are any that have none.
pub(super) fn to_ordered(bits: &[u64], words: &mut [u64]) -> bool {
    dispatch(Level::WIDEST, Order(bits, words))
}

struct Order<'a>(&'a [u64], &'a mut [u64]);

impl OnVectors for Order<'_> {
    type Output = bool;

    fn on<V: Vectors>(self, vectors: V) -> bool {
        vectors.vectorize(self)
    }
}

impl NullaryFnOnce for Order<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let Order(bits, words) = self;
        let mut special = false;
        for (bits, word) in bits.iter().zip(words) {
            special |= is_special(*bits);
            *word = ordered(*bits);
        }
        special
    }
}

/// Values that are looked at to guess the unit.
const SAMPLED: usize = 16;

/// Units that are tried where dividing by a power of ten does not do: the commoner ones first.
const UNCOMMON: [Unit; 10] = [
    Unit(TWICE + 3),
    Unit(TWICE),
    Unit(TWICE + 6),
    Unit(TWICE + 9),
    Unit(TWICE + 2),
    Unit(TWICE + 1),
    Unit(TWICE + 4),
    Unit(TWICE + 5),
    Unit(TWICE + 7),
    Unit(TWICE + 8),
];

/// A few of many values, for guesses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampled {
    bits: [u64; SAMPLED],
    count: usize,
}

impl Sampled {
    pub fn of(values: impl ExactSizeIterator<Item = u64>) -> Sampled {
        let (mut bits, mut count) = ([0; SAMPLED], 0);
        // Odd, so that values of a period of two are not all of one kind.
        let step = (values.len() / SAMPLED) | 1;
        for value in values.step_by(step).filter(|b| !is_special(*b)).take(SAMPLED) {
            bits[count] = value;
            count += 1;
        }
        Sampled { bits, count }
    }

    fn bits(&self) -> &[u64] {
        &self.bits[..self.count]
    }

    /// The power of ten, from that of `least` on, whose integers fit nearly all values looked at; none
    /// where a quarter of them fits none.
    pub fn power(&self, least: Unit) -> Option<Unit> {
        let (mut unit, mut misses) = (least, 0);
        for &bits in self.bits() {
            match (unit.0..TWICE).map(Unit).find(|u| to_integer(bits, *u).is_some()) {
                Some(found) => unit = found,
                None => misses += 1,
            }
            if misses * 4 > self.count {
                return None;
            }
        }
        Some(unit)
    }

    /// The first other unit whose integers fit all values looked at.
    pub fn uncommon(&self) -> Option<Unit> {
        UNCOMMON.into_iter().find(|unit| self.bits().iter().all(|b| to_integer(*b, *unit).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], expect: Option<u8>) {
        let sampled = Sampled::of(values.iter().map(|v| v.to_bits()));
        assert_eq!(sampled.power(Unit::ONE).map(Unit::code), expect);
    }

    #[test]
    fn exponents_are_found() {
        check(&[1.0, 2.0, 0.0], Some(0));
        check(&[0.25, 1.5, -3.125], Some(3));
        check(&[1e-9, 12.000_000_001], Some(9));
        check(&[std::f64::consts::PI, 1.0 / 3.0], None);
        check(&[], Some(0));
    }

    #[test]
    fn order_is_that_of_floats() {
        let ascending = [f64::NEG_INFINITY, -2.0, -1e-310, -0.0, 0.0, 1e-310, 2.0, f64::INFINITY];
        let words: Vec<i64> = ascending.iter().map(|v| ordered(v.to_bits()) as i64).collect();
        assert!(words.is_sorted());
        assert!(ascending.iter().all(|v| ordered(ordered(v.to_bits())) == v.to_bits()));
    }

    #[test]
    fn what_is_no_decimal_is_told() {
        for value in [-0.0, f64::NAN, f64::INFINITY, 5e-324, 4_503_599_627_370_496.0, 1e300] {
            assert_eq!(to_integer(value.to_bits(), Unit::ONE), None, "{value}");
        }
        assert_eq!(to_integer((-12.34f64).to_bits(), Unit(2)), Some((-1234i64) as u64));
    }

    #[test]
    fn seconds_of_exporters_are_told_apart() {
        let made = |make: &dyn Fn(f64) -> f64| {
            Sampled::of(
                (1..60).map(|i| make(f64::from(i) * 7_654_321.0).to_bits()).collect::<Vec<_>>().into_iter(),
            )
        };
        assert_eq!(made(&|i| i * 0.001).uncommon(), Some(Unit(TWICE + 3)));
        assert_eq!(made(&|i| i / 1000.0 / 1000.0).uncommon(), Some(Unit(TWICE)));
        assert_eq!(made(&|i| i * 1e-9).uncommon(), Some(Unit(TWICE + 9)));
        assert_eq!(made(&|i| i / 1000.0).power(Unit::ONE), Some(Unit(3)));
    }
}

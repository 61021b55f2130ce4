//! Sealed chunks of floats, exact to the last bit whatever they are: NaN payloads, -0.0 and subnormals
//! come back as they were. `layout` has the bytes.

use super::CodecError;
use super::column::{Opened, room};
use super::cursor::zigzag_bytes;
use super::decimal::{self, Sampled, Unit};
use super::layout::{CHUNK_SAMPLES_MAX, Header, Kind, Predictor};
use super::predict::Meaning;
use super::search::{DECIMAL, Domain, Effort, ORDERED, Search};
use crate::arch::Level;
use std::cell::RefCell;

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

/// Appends a chunk of these values.
///
/// # Panics
/// Where there are none, or more than [`CHUNK_SAMPLES_MAX`].
pub fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    ENCODER.with_borrow_mut(|encoder| encoder.encode(bytemuck::must_cast_slice(values), effort, out));
}

/// Appends the values of the chunk that `bytes` begin with, and returns how many bytes it has. What
/// follows the chunk may be anything. On an error `out` is as it was; it never grows by more than
/// [`CHUNK_SAMPLES_MAX`].
pub fn decode(bytes: &[u8], out: &mut Vec<f64>) -> Result<usize, CodecError> {
    decode_on(Level::WIDEST, bytes, out)
}

/// [`decode`] with vectors no wider than the limit: the same values, bit for bit.
pub fn decode_on(limit: Level, bytes: &[u8], out: &mut Vec<f64>) -> Result<usize, CodecError> {
    let chunk = Opened::new(bytes)?;
    let (start, count) = (out.len(), chunk.header.count);
    // A copy of zeros is quicker than the filling of so small a room.
    out.extend_from_slice(&ZEROS[..room(count)]);
    let read = chunk.read(limit, Meaning::Float, bytemuck::must_cast_slice_mut(&mut out[start..]));
    out.truncate(start + if read.is_ok() { count } else { 0 });
    read
}

static ZEROS: [f64; room(CHUNK_SAMPLES_MAX)] = [0.0; room(CHUNK_SAMPLES_MAX)];

/// How many values the chunk has that `bytes` begin with.
pub fn count(bytes: &[u8]) -> Result<usize, CodecError> {
    Ok(Opened::new(bytes)?.header.count)
}

/// More specials than one in so many values: the domain does not suit them.
const SPECIALS_SHARE: usize = 8;

/// Digits behind the point that exporters do print or divide to.
const DIGITS: u8 = 9;

/// How often the power of ten is guessed anew from the values that it did not fit.
const GUESSES: usize = 2;

/// Decimal chunks that cost more bits a value than this may be dearer than the order of floats.
const DEAR_BITS: usize = 24;

struct Encoder {
    search: Search,
    check: Vec<u64>,
}

impl Encoder {
    fn new() -> Self {
        Encoder { search: Search::new(), check: vec![0; room(CHUNK_SAMPLES_MAX)] }
    }

    fn encode(&mut self, bits: &[u64], effort: Effort, out: &mut Vec<u8>) {
        assert!((1..=CHUNK_SAMPLES_MAX).contains(&bits.len()), "a chunk of {} values", bits.len());
        if bits.iter().all(|b| *b == bits[0]) {
            constant(bits[0], bits.len()).write(out);
            return;
        }
        let start = out.len();
        self.search.begin(bits.len());
        let decimal = self.decimals(bits);
        if !decimal || self.search.cost_bytes() * 8 > bits.len() * DEAR_BITS {
            self.ordered(bits);
            self.search.xor(bits);
        }
        if !self.search.write(bits, effort, out) || !self.comes_back(&out[start..], bits) {
            out.truncate(start);
            raw(bits, out);
        }
    }

    /// Whether the chunk says what it shall.
    fn comes_back(&mut self, chunk: &[u8], bits: &[u64]) -> bool {
        let read = Opened::new(chunk).and_then(|opened| {
            opened.read(Level::WIDEST, Meaning::Float, &mut self.check[..room(bits.len())])
        });
        let same = read == Ok(chunk.len()) && self.check[..bits.len()] == *bits;
        debug_assert!(same, "a chunk of values does not come back: {read:?}");
        same
    }

    /// Tries the values as decimal integers; false where they are none.
    fn decimals(&mut self, bits: &[u64]) -> bool {
        let sampled = Sampled::of(bits.iter().copied());
        let mut misses = usize::MAX;
        let mut unit = sampled.power(Unit::ONE);
        if let Some(unit) = &mut unit {
            misses = self.convert(bits, *unit);
            for _ in 0..GUESSES {
                let missed =
                    self.search.specials[DECIMAL].positions().iter().map(|at| bits[usize::from(*at)]);
                match Sampled::of(missed).power(*unit) {
                    Some(better) if better != *unit => *unit = better,
                    _ => break,
                }
                misses = self.convert(bits, *unit);
            }
        }
        let strange = |at: &u16| !decimal::is_special(bits[usize::from(*at)]);
        let many_digits = unit.is_none_or(|unit| unit.code() > DIGITS);
        if (many_digits || self.search.specials[DECIMAL].positions().iter().any(strange))
            && let Some(uncommon) = sampled.uncommon()
        {
            // Perhaps the exporter multiplied where this divides.
            let before = misses;
            misses = self.convert(bits, uncommon);
            match unit {
                Some(unit) if misses > before || misses == before && !many_digits => {
                    misses = self.convert(bits, unit);
                }
                _ => unit = Some(uncommon),
            }
        }
        let Some(unit) = unit else { return false };
        if misses * SPECIALS_SHARE > bits.len().max(SPECIALS_SHARE) {
            return false;
        }
        self.search.count_specials(DECIMAL, bits);
        self.search.integers(bits.len(), Domain { decimal: true, unit, any_factor: true, specials: DECIMAL });
        true
    }

    /// Turns values into integers; what is none repeats the one before, and is special. Returns how many
    /// those are.
    fn convert(&mut self, bits: &[u64], unit: Unit) -> usize {
        let Search { words, specials, .. } = &mut self.search;
        let specials = &mut specials[DECIMAL];
        specials.clear();
        let mut misses = [0u8; CHUNK_SAMPLES_MAX / 8];
        decimal::to_integers(bits, unit, &mut words[..bits.len()], &mut misses);
        for (granule, &missed) in misses.iter().enumerate().filter(|(_, missed)| **missed != 0) {
            for bit in (0..8).filter(|bit| missed >> bit & 1 != 0) {
                specials.push(granule * 8 + bit);
            }
        }
        let good = (0..bits.len()).find(|at| misses[at / 8] >> (at % 8) & 1 == 0);
        for &at in specials.positions() {
            let at = usize::from(at);
            words[at] = if at == 0 { good.map_or(0, |good| words[good]) } else { words[at - 1] };
        }
        specials.positions().len()
    }

    /// Tries the values as places in the order of floats.
    fn ordered(&mut self, bits: &[u64]) {
        self.search.make_room_for_words();
        let Search { words, specials, .. } = &mut self.search;
        let specials = &mut specials[ORDERED];
        if decimal::to_ordered(bits, &mut words[..bits.len()]) {
            let plain = bits.iter().find(|b| !decimal::is_special(**b));
            let mut last = decimal::ordered(*plain.unwrap_or(&bits[0]));
            for (at, (word, &bits)) in words.iter_mut().zip(bits).enumerate() {
                if decimal::is_special(bits) {
                    specials.push(at);
                    *word = last;
                }
                last = *word;
            }
        }
        self.search.count_specials(ORDERED, bits);
        self.search.integers(
            bits.len(),
            Domain { decimal: false, unit: Unit::ONE, any_factor: false, specials: ORDERED },
        );
    }
}

/// The smallest header of a constant.
fn constant(bits: u64, count: usize) -> Header<'static> {
    let mut header = Header::new(Kind::of(Predictor::Constant), count);
    header.first = bits;
    let unit = Sampled::of([bits].into_iter()).power(Unit::ONE).unwrap_or(Unit::ONE);
    if let Some(word) = decimal::to_integer(bits, unit).filter(|word| zigzag_bytes(*word as i64) < 7) {
        header.kind.decimal = true;
        header.unit = unit;
        header.first = word;
    }
    header
}

fn raw(bits: &[u64], out: &mut Vec<u8>) {
    Header::new(Kind::of(Predictor::Raw), bits.len()).write(out);
    for bits in bits {
        out.extend_from_slice(&bits.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;

//! The search for a chunk's smallest form: each candidate's residuals are made, their exact cost is
//! counted, and the cheapest is kept. A candidate that cannot win is left as soon as that is known.

use super::cursor::zigzag;
use super::decimal::Unit;
use super::granule::{self, GRANULE, allowed_width};
use super::layout::{CHUNK_SAMPLES_MAX, GRANULES_MAX, Header, Kind, Predictor, Scale};
use super::sparse::{self, Masks};
use super::special::Specials;
use super::widths::Table;

/// The cheapest form so far.
struct Plan {
    header: Header<'static>,
    table: Table,
    masks: Option<Masks>,
    /// Bytes of a line's breaks.
    breaks: Vec<u8>,
    /// Which list of specials goes with it.
    specials: usize,
    cost_bytes: usize,
}

/// Lists of specials: none, those of the order of floats, those of the decimal integers.
pub(super) const NONE: usize = 0;
pub(super) const ORDERED: usize = 1;
pub(super) const DECIMAL: usize = 2;

/// What belongs to the words that candidates are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    pub decimal: bool,
    pub unit: Unit,
    /// Whether a common factor may be other than a power of two.
    pub any_factor: bool,
    pub specials: usize,
}

/// Buffers of an encoder, used again for every chunk.
pub(super) struct Search {
    /// The words of the domain at hand, and then divided by their factor.
    pub words: Vec<u64>,
    deltas: Vec<u64>,
    trial: Vec<u64>,
    packed: Vec<u64>,
    residuals: Vec<u64>,
    pub specials: [Specials; 3],
    specials_bytes: [usize; 3],
    plan: Option<Plan>,
    limit_bytes: usize,
}

/// The widths that the granules of these words need.
#[inline(always)]
fn needs(words: &[u64], needs: &mut [u8; GRANULES_MAX]) -> usize {
    for (need, granule) in needs.iter_mut().zip(words.chunks(GRANULE)) {
        let all = granule.iter().fold(0, |all, word| all | word);
        *need = allowed_width(64 - all.leading_zeros());
    }
    words.len().div_ceil(GRANULE)
}

/// The value that more than half of the words have, where one does; else any.
fn majority(words: &[u64]) -> u64 {
    let (mut leader, mut votes) = (0, 0u32);
    for &word in words {
        if votes == 0 {
            leader = word;
        }
        votes = if word == leader { votes + 1 } else { votes - 1 };
    }
    leader
}

fn signed_min(words: &[u64]) -> u64 {
    words.iter().map(|w| *w as i64).min().unwrap_or(0) as u64
}

impl Search {
    pub fn new() -> Self {
        let buffer = || vec![0u64; CHUNK_SAMPLES_MAX];
        Search {
            words: buffer(),
            deltas: buffer(),
            trial: buffer(),
            packed: buffer(),
            residuals: buffer(),
            specials: [Specials::new(), Specials::new(), Specials::new()],
            specials_bytes: [0; 3],
            plan: None,
            limit_bytes: 0,
        }
    }

    /// Begins a chunk of so many samples, which costs no more than its raw form.
    pub fn begin(&mut self, count: usize) {
        self.plan = None;
        self.limit_bytes = 8 * count + 3;
        self.specials.iter_mut().for_each(Specials::clear);
        self.specials_bytes = [0; 3];
    }

    pub fn count_specials(&mut self, list: usize, bits: &[u64]) {
        self.specials_bytes[list] = self.specials[list].bytes(bits);
    }

    /// Bytes of the cheapest form so far.
    pub fn cost_bytes(&self) -> usize {
        self.plan.as_ref().map_or(self.limit_bytes, |plan| plan.cost_bytes)
    }

    /// Tries every predictor of integers on the first `count` of `self.words`.
    pub fn integers(&mut self, count: usize, domain: Domain) {
        let mut header = Header::new(Kind::of(Predictor::Delta), count);
        header.kind.decimal = domain.decimal;
        header.kind.specials = !self.specials[domain.specials].positions().is_empty();
        header.unit = domain.unit;
        self.differ(count);
        if let Some(scale) = self.common_scale(count, domain.any_factor) {
            header.kind.scaled = true;
            header.scale = scale;
            self.divide(count, scale);
        }
        self.try_deltas(count, &header, domain.specials);
        self.try_frames(count, &header, domain.specials);
    }

    /// Distances between words; the first is the second again, so that it stands out nowhere.
    fn differ(&mut self, count: usize) {
        let words = &self.words[..count];
        for (delta, pair) in self.deltas[1..].iter_mut().zip(words.windows(2)) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        self.deltas[0] = if count > 1 { self.deltas[1] } else { 0 };
    }

    /// A factor of all distances that is worth its bytes.
    fn common_scale(&self, count: usize, any: bool) -> Option<Scale> {
        let deltas = &self.deltas[..count];
        if deltas.iter().all(|d| *d == deltas[0]) {
            return None;
        }
        let shift = deltas.iter().fold(0, |all, d| all | d).trailing_zeros();
        let mut factor = 0u64;
        // Distances that wrapped are divisible by powers of two alone.
        let near = |word: &u64| (*word as i64).unsigned_abs() < 1 << 62;
        if any && self.words[..count].iter().all(near) {
            for delta in deltas {
                let delta = (*delta as i64).unsigned_abs();
                if factor == 0 || !delta.is_multiple_of(factor) {
                    factor = greatest_divisor(factor, delta);
                    if factor == 1 {
                        break;
                    }
                }
            }
        } else {
            factor = 1 << shift.min(62);
        }
        if !(2..=1 << 62).contains(&factor) {
            return None;
        }
        Some(Scale { factor, remainder: (self.words[0] as i64).rem_euclid(factor as i64) as u64 })
    }

    fn divide(&mut self, count: usize, scale: Scale) {
        let divide = |word: u64| (word as i64 / scale.factor as i64) as u64;
        for word in &mut self.words[..count] {
            *word = divide(word.wrapping_sub(scale.remainder));
        }
        for delta in &mut self.deltas[..count] {
            *delta = divide(*delta);
        }
    }

    fn try_deltas(&mut self, count: usize, header: &Header<'static>, specials: usize) {
        let mut header = header.clone();
        header.first = self.words[0];
        let least = signed_min(&self.deltas[..count]);
        header.step = least;
        self.subtract(count, least, false, true);
        self.consider(&header, specials);
        header.kind.signed = true;
        // Zigzag of what is never negative is the same but for a bit.
        if least != 0 {
            header.step = 0;
            self.subtract(count, 0, true, true);
            self.consider(&header, specials);
        }
        let leader = majority(&self.deltas[..count]);
        if leader != 0 && leader != least {
            header.step = leader;
            self.subtract(count, leader, true, true);
            self.consider(&header, specials);
        }
        header.kind.predictor = Predictor::Change;
        header.step = self.deltas[0];
        self.trial[0] = 0;
        for (residual, pair) in self.trial[1..count].iter_mut().zip(self.deltas.windows(2)) {
            *residual = zigzag(pair[1].wrapping_sub(pair[0]));
        }
        self.consider(&header, specials);
    }

    fn try_frames(&mut self, count: usize, header: &Header<'static>, specials: usize) {
        let mut header = header.clone();
        header.kind.predictor = Predictor::Frame;
        let least = signed_min(&self.words[..count]);
        header.first = least;
        self.subtract(count, least, false, false);
        self.consider(&header, specials);
        let leader = majority(&self.words[..count]);
        if leader != least {
            header.kind.signed = true;
            header.first = leader;
            self.subtract(count, leader, true, false);
            self.consider(&header, specials);
        }
    }

    /// Residuals of words or of distances against a base.
    fn subtract(&mut self, count: usize, base: u64, signed: bool, of_deltas: bool) {
        let source = if of_deltas { &self.deltas } else { &self.words };
        let pairs = self.trial[..count].iter_mut().zip(source);
        if signed {
            pairs.for_each(|(residual, word)| *residual = zigzag(word.wrapping_sub(base)));
        } else {
            pairs.for_each(|(residual, word)| *residual = word.wrapping_sub(base));
        }
        if of_deltas {
            self.trial[0] = 0;
        }
    }

    /// Tries XOR on the bits of floats.
    pub fn xor(&mut self, bits: &[u64]) {
        let mut header = Header::new(Kind::of(Predictor::Xor), bits.len());
        header.first = bits[0];
        self.trial[0] = 0;
        let mut all = 0;
        for (residual, pair) in self.trial[1..].iter_mut().zip(bits.windows(2)) {
            *residual = pair[0] ^ pair[1];
            all |= *residual;
        }
        let shift = all.trailing_zeros();
        if (1..64).contains(&shift) {
            header.kind.scaled = true;
            header.shift = shift as u8;
            self.trial[..bits.len()].iter_mut().for_each(|residual| *residual >>= shift);
        }
        self.consider(&header, NONE);
    }

    /// Keeps the trial's residuals if they are the cheapest so far.
    fn consider(&mut self, header: &Header<'static>, specials: usize) {
        self.consider_with(header, specials, Vec::new());
    }

    fn consider_with(&mut self, header: &Header<'static>, specials: usize, breaks: Vec<u8>) {
        let count = header.count;
        let fixed = header.bytes() + breaks.len() + self.specials_bytes[specials];
        let mut widths = [0u8; GRANULES_MAX];
        let granules = needs(&self.trial[..count], &mut widths);
        let widths = &widths[..granules];
        let mut best = self.cost_bytes();
        let mut found = None;
        if fixed + 1 + granule::run_bytes(widths, count) < best {
            let table = Table::choose(widths);
            let cost = fixed + table.run_bytes(widths, count);
            if cost < best {
                best = cost;
                found = Some((table, None, cost));
            }
        }
        let masks = Masks::of(&self.trial[..count]);
        if masks.count() > 0 && masks.count() * 4 < count * 3 && fixed + masks.count() / 8 < best {
            let packed = sparse::compress(&self.trial[..count], &mut self.packed);
            let mut widths = [0u8; GRANULES_MAX];
            let granules = needs(&self.packed[..packed], &mut widths);
            let widths = &widths[..granules];
            let fixed = fixed + masks.bytes();
            if fixed + 1 + granule::run_bytes(widths, packed) < best {
                let table = Table::choose(widths);
                let cost = fixed + table.run_bytes(widths, packed);
                if cost < best {
                    found = Some((table, Some(masks), cost));
                }
            }
        }
        if let Some((table, masks, cost_bytes)) = found {
            let mut header = header.clone();
            header.kind.sparse = masks.is_some();
            header.entries = table.entries().len();
            std::mem::swap(&mut self.trial, &mut self.residuals);
            self.plan = Some(Plan { header, table, masks, breaks, specials, cost_bytes });
        }
    }

    /// Appends the cheapest form; false where none is cheaper than the raw one. `bits` are the values
    /// that specials are taken from.
    pub fn write(&mut self, bits: &[u64], out: &mut Vec<u8>) -> bool {
        let Some(plan) = &self.plan else { return false };
        let start = out.len();
        plan.header.write(out);
        out.extend_from_slice(&plan.breaks);
        out.extend_from_slice(plan.table.entries());
        let mut residuals = &self.residuals[..plan.header.count];
        if let Some(masks) = &plan.masks {
            masks.write(out);
            let packed = sparse::compress(residuals, &mut self.packed);
            residuals = &self.packed[..packed];
        }
        if plan.header.kind.specials {
            self.specials[plan.specials].write(bits, out);
        }
        let mut widths = [0u8; GRANULES_MAX];
        let granules = needs(residuals, &mut widths);
        plan.table.write_codes(&mut widths[..granules], out);
        for (granule, width) in residuals.chunks(GRANULE).zip(widths) {
            granule::pack(granule, width, out);
        }
        debug_assert_eq!(out.len() - start, plan.cost_bytes, "the cost of a form is what it takes");
        true
    }
}

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Lines, for times.
mod line;

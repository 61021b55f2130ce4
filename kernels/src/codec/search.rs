//! The search for a chunk's smallest form: each candidate's residuals are made, their exact cost is
//! counted, and the cheapest is kept. A candidate that cannot win is left as soon as that is known.

mod line;
mod scan;

use super::coded::Coding;
use super::decimal::Unit;
use super::granule::GRANULE;
use super::layout::{CHUNK_SAMPLES_MAX, Header, Kind, Predictor, Scale};
use super::sparse::Masks;
use super::special::Specials;
use super::vectors::{Scalar, Vectors};
use super::widths::{Needs, Table};
use scan::Residuals;

/// The cheapest form so far.
struct Plan {
    header: Header<'static>,
    /// What its residuals are made of, while that is there; then they were written down.
    candidate: Option<Candidate>,
    table: Table,
    needs: Needs,
    /// In sparse form, whose packed residuals are at hand.
    masks: Option<Masks>,
    /// Bytes of a line's breaks.
    breaks: Vec<u8>,
    /// Which list of specials goes with it.
    specials: usize,
    cost_bytes: usize,
}

/// How small a chunk shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Written and read at full speed.
    Fast,
    /// Residuals are coded where that saves a thirty-second part; such are read at a third of the speed.
    Small,
}

/// Coded residuals have to save one in so many bytes.
const CODED_SAVES: usize = 32;

/// Shorter chunks are what is left at the end of a series, and not worth the time.
const CODED_SAMPLES: usize = 128;

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
    /// Residuals in sparse form: of the candidate at hand, of the cheapest form.
    packed: Vec<u64>,
    cheapest_packed: Vec<u64>,
    /// Residuals of the cheapest form, once what they were made of has to make room.
    residuals: Vec<u64>,
    pub specials: [Specials; 3],
    specials_bytes: [usize; 3],
    plan: Option<Plan>,
    limit_bytes: usize,
}

/// Words that residuals are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Words,
    Deltas,
    /// Made for one candidate alone.
    Trial,
}

/// A candidate's residuals: of what, against what, and whether as zigzag.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: Source,
    base: u64,
    signed: bool,
}

/// Words that are looked at to find the commonest.
const SAMPLED: usize = 32;

/// A word that others are near, and whether it is likely a common one, so that residuals against it are
/// sparse; else it is the median.
fn middle(words: &[u64]) -> (u64, bool) {
    let (mut sampled, mut count) = ([0; SAMPLED], 0);
    for &word in words.iter().step_by((words.len() / SAMPLED) | 1).take(SAMPLED) {
        sampled[count] = word as i64;
        count += 1;
    }
    let sampled = &mut sampled[..count];
    sampled.sort_unstable();
    let longest = sampled.chunk_by(|a, b| a == b).max_by_key(|run| run.len());
    let common = longest.filter(|run| run.len() * 4 >= count).map(|run| run[0]);
    (common.unwrap_or(sampled[count / 2]) as u64, common.is_some())
}

impl Search {
    pub fn new() -> Self {
        let buffer = || vec![0u64; CHUNK_SAMPLES_MAX + GRANULE];
        Search {
            words: buffer(),
            deltas: buffer(),
            trial: buffer(),
            packed: buffer(),
            cheapest_packed: buffer(),
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
        scan::differ(&self.words[..count], &mut self.deltas[..count]);
        let (mut least, most, all) = scan::extent(&self.deltas[..count]);
        let steady = least == most;
        if !steady && let Some(scale) = self.common_scale(count, all, domain.any_factor) {
            header.kind.scaled = true;
            header.scale = scale;
            scan::divide(&mut self.words[..count], scale);
            scan::divide(&mut self.deltas[..count], Scale { remainder: 0, ..scale });
            least /= scale.factor as i64;
        }
        self.try_deltas(count, &header, domain.specials, least);
        // Against its start a counter is never smaller than against its last value.
        let framed = least < 0 && self.try_frames(count, &header, domain.specials);
        // Where distances say less than the words do, their changes say even less.
        if !framed && !steady {
            header.kind.predictor = Predictor::Change;
            self.try_changes(count, &header, domain.specials);
        }
    }

    fn source(&mut self, count: usize, candidate: Candidate) -> Residuals<'_> {
        let words = match candidate.source {
            Source::Words => &self.words,
            Source::Deltas => {
                // There is none before the first.
                self.deltas[0] = candidate.base;
                &self.deltas
            }
            Source::Trial => &self.trial,
        };
        Residuals { words: &words[..count], base: candidate.base, signed: candidate.signed }
    }

    /// Whether the cheapest form's residuals are still to be made of this.
    fn needs_source(&self, source: Source) -> bool {
        let candidate = self.plan.as_ref().and_then(|plan| plan.candidate);
        candidate.is_some_and(|candidate| candidate.source == source)
    }

    /// Writes the residuals down that the cheapest form has, before what they are made of makes room.
    fn make_room(&mut self, source: Source) {
        if !self.needs_source(source) {
            return;
        }
        let Some(plan) = &mut self.plan else { return };
        let (sparse, count) = (plan.masks.is_some(), plan.header.count);
        if let Some(candidate) = plan.candidate.take()
            && !sparse
        {
            let mut out = std::mem::take(&mut self.residuals);
            self.source(count, candidate).write(&mut out[..count]);
            self.residuals = out;
        }
    }

    /// Makes room for words of another domain.
    pub fn make_room_for_words(&mut self) {
        self.make_room(Source::Words);
        self.make_room(Source::Deltas);
    }

    /// A factor of all distances that is worth its bytes; `all` are their bits together.
    fn common_scale(&self, count: usize, all: u64, any: bool) -> Option<Scale> {
        let deltas = &self.deltas[..count];
        let shift = all.trailing_zeros().min(61);
        let mut factor = 1 << shift;
        // Most have no other factor, and a few distances tell. Distances that wrapped have none.
        let few = || deltas.iter().step_by((count / SAMPLED) | 1);
        if any && common_divisor(few(), shift) != 1 && self.words_are_near(count) {
            factor = common_divisor(deltas.iter(), shift) << shift;
        }
        if !(2..=1 << 62).contains(&factor) {
            return None;
        }
        Some(Scale { factor, remainder: (self.words[0] as i64).rem_euclid(factor as i64) as u64 })
    }

    fn words_are_near(&self, count: usize) -> bool {
        let (least, most, _) = scan::extent(&self.words[..count]);
        least > -(1 << 62) && most < 1 << 62
    }

    fn try_deltas(&mut self, count: usize, header: &Header<'static>, specials: usize, least: i64) {
        let mut header = header.clone();
        header.first = self.words[0];
        let (leader, common) = middle(&self.deltas[..count]);
        let leader = (common && leader != least as u64).then_some(leader);
        // Zigzag of what is never negative is the same but for a bit.
        let zero = (least < 0 && leader != Some(0)).then_some(0);
        let bases =
            [Some((least as u64, false)), zero.map(|base| (base, true)), leader.map(|base| (base, true))];
        for (base, signed) in bases.into_iter().flatten() {
            header.step = base;
            header.kind.signed = signed;
            self.consider(&header, specials, Candidate { source: Source::Deltas, base, signed });
        }
    }

    fn try_changes(&mut self, count: usize, header: &Header<'static>, specials: usize) {
        let mut header = header.clone();
        header.kind.signed = true;
        header.first = self.words[0];
        self.deltas[0] = if count > 1 { self.deltas[1] } else { 0 };
        header.step = self.deltas[0];
        self.make_room(Source::Trial);
        scan::differ(&self.deltas[..count], &mut self.trial[..count]);
        self.trial[0] = 0;
        self.consider(&header, specials, Candidate { source: Source::Trial, base: 0, signed: true });
    }

    /// Whether one of them is the cheapest so far.
    fn try_frames(&mut self, count: usize, header: &Header<'static>, specials: usize) -> bool {
        let mut header = header.clone();
        header.kind.predictor = Predictor::Frame;
        let (least, _, _) = scan::extent(&self.words[..count]);
        header.first = least as u64;
        let plain = Candidate { source: Source::Words, base: least as u64, signed: false };
        let kept = self.consider(&header, specials, plain);
        let (leader, common) = middle(&self.words[..count]);
        if leader == least as u64 || !(common || kept) {
            return kept;
        }
        header.first = leader;
        header.kind.signed = true;
        let around = Candidate { source: Source::Words, base: leader, signed: true };
        self.consider(&header, specials, around) || kept
    }

    /// Tries XOR on the bits of floats.
    pub fn xor(&mut self, bits: &[u64]) {
        let mut header = Header::new(Kind::of(Predictor::Xor), bits.len());
        header.first = bits[0];
        self.make_room(Source::Trial);
        let all = scan::xor(bits, &mut self.trial[..bits.len()]);
        let shift = all.trailing_zeros();
        if (1..64).contains(&shift) {
            header.kind.scaled = true;
            header.shift = shift as u8;
            self.trial[..bits.len()].iter_mut().for_each(|residual| *residual >>= shift);
        }
        self.consider(&header, NONE, Candidate { source: Source::Trial, base: 0, signed: false });
    }

    /// Makes it the plan if it is the cheapest so far, and tells whether it is.
    fn consider(&mut self, header: &Header<'static>, specials: usize, candidate: Candidate) -> bool {
        self.consider_with(header, specials, candidate, Vec::new())
    }

    fn consider_with(
        &mut self,
        header: &Header<'static>,
        specials: usize,
        candidate: Candidate,
        breaks: Vec<u8>,
    ) -> bool {
        let count = header.count;
        let fixed = header.bytes() + breaks.len() + self.specials_bytes[specials];
        let all = scan::weigh(self.source(count, candidate));
        let mut best = self.cost_bytes();
        let mut found = None;
        if let Some((table, cost)) = cheaper(&all.needs, count, fixed, best) {
            best = cost;
            found = Some((table, all.needs, None, cost));
        }
        if all.count > 0 && all.count * 4 < count * 3 && fixed + all.count / 8 < best {
            let masks = Masks::new(all.masks, count, all.count);
            let mut packed = std::mem::take(&mut self.packed);
            let length = scan::compress(self.source(count, candidate), &mut packed);
            let some = scan::weigh(Residuals { words: &packed[..length], base: 0, signed: false });
            self.packed = packed;
            if let Some((table, cost)) = cheaper(&some.needs, length, fixed + masks.bytes(), best) {
                found = Some((table, some.needs, Some(masks), cost));
                std::mem::swap(&mut self.packed, &mut self.cheapest_packed);
            }
        }
        let Some((table, needs, masks, cost_bytes)) = found else { return false };
        let mut header = header.clone();
        header.kind.sparse = masks.is_some();
        header.entries = table.entries().len();
        let candidate = Some(candidate);
        self.plan = Some(Plan { header, candidate, table, needs, masks, breaks, specials, cost_bytes });
        true
    }

    /// Appends the cheapest form; false where none is cheaper than the raw one. `bits` are the values
    /// that specials are taken from.
    pub fn write(&mut self, bits: &[u64], effort: Effort, out: &mut Vec<u8>) -> bool {
        let Some(mut plan) = self.plan.take() else { return false };
        if effort == Effort::Small && self.write_coded(&plan, bits, out) {
            return true;
        }
        let start = out.len();
        plan.header.write(out);
        out.extend_from_slice(&plan.breaks);
        out.extend_from_slice(plan.table.entries());
        if let Some(masks) = &plan.masks {
            masks.write(out);
        }
        if plan.header.kind.specials {
            self.specials[plan.specials].write(bits, out);
        }
        let widths = &mut plan.needs.widths[..plan.needs.granules];
        plan.table.write_codes(widths, out);
        let written = |words| Residuals { words, base: 0, signed: false };
        let residuals = match (&plan.masks, plan.candidate) {
            (Some(masks), _) => written(&self.cheapest_packed[..masks.count()]),
            (None, Some(candidate)) => self.source(plan.header.count, candidate),
            (None, None) => written(&self.residuals[..plan.header.count]),
        };
        scan::pack(residuals, widths, out);
        debug_assert_eq!(out.len() - start, plan.cost_bytes, "the cost of a form is what it takes");
        true
    }

    /// Appends the plan's residuals coded, where that saves enough; else nothing.
    fn write_coded(&mut self, plan: &Plan, bits: &[u64], out: &mut Vec<u8>) -> bool {
        let count = plan.header.count;
        if count < CODED_SAMPLES {
            return false;
        }
        let mut residuals = std::mem::take(&mut self.residuals);
        match (&plan.masks, plan.candidate) {
            (Some(masks), _) => {
                let (packed, end) =
                    (&self.cheapest_packed[..masks.count()], masks.granules().len() * GRANULE);
                residuals[end - packed.len()..end].copy_from_slice(packed);
                Scalar.spread(masks, &mut residuals);
            }
            (None, Some(candidate)) => self.source(count, candidate).write(&mut residuals[..count]),
            (None, None) => {}
        }
        let most = plan.cost_bytes - plan.cost_bytes / CODED_SAVES;
        let (mut header, start) = (plan.header.clone(), out.len());
        if let Some(coding) = Coding::choose(&residuals[..count], most) {
            (header.kind.sparse, header.coded) = (false, Some(coding.kept()));
            header.write(out);
            out.extend_from_slice(&plan.breaks);
            if header.kind.specials {
                self.specials[plan.specials].write(bits, out);
            }
            coding.write(&residuals[..count], out);
            if out.len() - start > most {
                out.truncate(start);
            }
        }
        self.residuals = residuals;
        out.len() > start
    }
}

/// The best table for a run of so many words and its cost with the fixed bytes, where that is below the
/// best so far.
fn cheaper(needs: &Needs, words: usize, fixed: usize, best: usize) -> Option<(Table, usize)> {
    if fixed + needs.least_bytes(words) >= best {
        return None;
    }
    let (table, bytes) = Table::choose(needs, words);
    (fixed + bytes < best).then_some((table, fixed + bytes))
}

/// The greatest divisor of all these distances, less so many zeros at their ends.
fn common_divisor<'a>(deltas: impl Iterator<Item = &'a u64>, shift: u32) -> u64 {
    let mut divisor = 0;
    for delta in deltas {
        divisor = greatest_divisor(divisor, (*delta as i64 >> shift).unsigned_abs());
        if divisor == 1 {
            break;
        }
    }
    divisor
}

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

//! Residuals coded by how often they occur: what chunks that are kept long end with where granules waste
//! bits. Eight neighbours of a granule all take the bits of the largest; here each takes what its like
//! costs, to a fraction of a bit.
//!
//! 1. A residual is a token and a tail: the token says how long it is and its highest bits, the tail the
//!    bits below, as they are.
//! 2. Tokens are coded by tabled asymmetric numeral systems (J. Duda, 2013, arXiv:1311.2540): a state picks
//!    a slot of a table, the slot says the token, and with a few bits which state is next. The commoner a
//!    token, the more slots it has and the fewer bits follow.
//!
//! Two states take turns, since a value has to wait for what the one before it of the same state left. Still
//! this is read at a third of the speed of granules: a store writes it where it saves enough.
//!
//! ```text
//! first    varint  the smallest token
//! tokens   u8      how many follow from that on, less one; up to 128
//! weights          four bits for each, the lower half of a byte first; the last half that none has is 0
//! stream           bits, from the lowest of each byte on: two states, eight bits each; then for each
//!                  residual its tail and the bits that lead to the next state; behind the last ones both are 0
//! ```
//!
//! With *kept* bits k (of the chunk's shape): a residual r of n + 1 bits has a tail of s = max(0, n - k) bits
//! and the token s * 2^k + (r >> s). Weights are 0, 1, 2, 3, 4, 6, 8, 12, …, 128, 192. Of 256 slots a token
//! gets its part by weight, rounded down but at least one where the weight is not 0; the commonest (of several
//! the first) gets what is left; as long as there are too many, it gives one away. The slots go round the
//! table in steps of 163, token by token. The j-th slot (from 0) of a token that has f stands for x = f + j:
//! it is followed by b = 8 - floor(log2 x) bits, and the next state is x * 2^b - 256 and these. The first
//! state, and those after it, are of the residuals 0, 2, 4, …, the second of those between.

use super::cursor::{Cursor, push_varint};
use super::{CHUNK_SAMPLES_MAX, CodecError};

/// With twice as many, recorded values need 0.07 % less, and readers a quarter more time.
const SLOTS_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOTS_BITS;

/// Odd, so that it comes to every slot; neighbours of a token end up far apart.
const STEP: usize = SLOTS / 2 + SLOTS / 8 + 3;

const TOKENS_MAX: usize = 128;

/// Bits below the highest that a token may keep: 0 to this.
pub(super) const KEPT_MAX: u8 = 3;

/// A longer tail and a state's bits would not lie within one load.
const TAIL_MAX: u32 = 46;

/// Of the first token, how many follow, and both states.
const HEAD_BITS: f64 = 8.0 + 8.0 + 2.0 * SLOTS_BITS as f64;

/// Tokens that there are when the most bits are kept.
const FINEST: usize = (TAIL_MAX as usize + 2) << KEPT_MAX;

static WEIGHTS: [u32; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];

const WEIGHT_MAX: u32 = WEIGHTS[15];

/// A residual's token and the length of its tail.
#[inline(always)]
fn token(residual: u64, kept: u32) -> (usize, u32) {
    let tail = (63 - (residual | 1).leading_zeros()).saturating_sub(kept);
    (((tail as usize) << kept) + (residual >> tail) as usize, tail)
}

fn tail_of(token: usize, kept: u32) -> u32 {
    ((token >> kept) as u32).saturating_sub(1)
}

/// The smallest residual of a token.
fn base_of(token: usize, kept: u32) -> u64 {
    let tail = tail_of(token, kept);
    ((token - ((tail as usize) << kept)) as u64) << tail
}

#[inline(always)]
fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// How many slots each token of a run of neighbours has.
struct Slots {
    first: usize,
    tokens: usize,
    /// Places in [`WEIGHTS`].
    weights: [u8; TOKENS_MAX],
    counts: [u16; TOKENS_MAX],
}

impl Slots {
    /// Deals the slots out; None where there is no token.
    fn of(first: usize, tokens: usize, weights: [u8; TOKENS_MAX]) -> Option<Slots> {
        let mut counts = [0u16; TOKENS_MAX];
        let heavy = |weight: &u8| WEIGHTS[usize::from(*weight & 15)];
        let all: u32 = weights[..tokens].iter().map(heavy).sum();
        if all == 0 {
            return None;
        }
        let mut left = SLOTS as i32;
        for (count, weight) in counts.iter_mut().zip(&weights[..tokens]) {
            let weight = heavy(weight);
            if weight > 0 {
                *count = (weight * SLOTS as u32 / all).max(1) as u16;
                left -= i32::from(*count);
            }
        }
        let most = |counts: &[u16; TOKENS_MAX]| {
            (1..tokens).fold(0, |most, at| if counts[at] > counts[most] { at } else { most })
        };
        while left < 0 {
            counts[most(&counts)] -= 1;
            left += 1;
        }
        counts[most(&counts)] += left as u16;
        Some(Slots { first, tokens, weights, counts })
    }

    /// The slots that fit so many of each token, counted from token 0 on; None where they are too far apart.
    fn fitting(counts: &[u32]) -> Option<Slots> {
        let first = counts.iter().position(|count| *count > 0)?;
        let last = counts.iter().rposition(|count| *count > 0)?;
        let tokens = last - first + 1;
        if tokens > TOKENS_MAX {
            return None;
        }
        let most = counts.iter().max().copied().unwrap_or(1);
        let mut weights = [0; TOKENS_MAX];
        for (weight, &count) in weights.iter_mut().zip(&counts[first..=last]).filter(|(_, count)| **count > 0)
        {
            // The nearest by ratio: squares are compared, as 2 * 3 lies between 2 and 3.
            let near = |at: &usize| {
                (u64::from(count) * u64::from(WEIGHT_MAX)).pow(2)
                    < u64::from(WEIGHTS[*at] * WEIGHTS[*at + 1]) * u64::from(most).pow(2)
            };
            *weight = (1..15).find(near).unwrap_or(15) as u8;
        }
        Slots::of(first, tokens, weights)
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Slots, CodecError> {
        let first = cursor.count(FINEST - 1)?;
        let tokens = usize::from(cursor.byte()?) + 1;
        if tokens > TOKENS_MAX {
            return Err(CodecError::BadCount);
        }
        let mut weights = [0; TOKENS_MAX];
        for (weights, byte) in weights.chunks_mut(2).zip(cursor.take(tokens.div_ceil(2))?) {
            weights.copy_from_slice(&[byte & 15, byte >> 4]);
        }
        if weights[tokens..].iter().any(|weight| *weight != 0) {
            return Err(CodecError::BadCount);
        }
        Slots::of(first, tokens, weights).ok_or(CodecError::BadCount)
    }

    fn write(&self, out: &mut Vec<u8>) {
        push_varint(self.first as u64, out);
        out.push(self.tokens as u8 - 1);
        let weights = self.weights[..self.tokens.next_multiple_of(2)].as_chunks::<2>().0;
        out.extend(weights.iter().map(|two| two[0] | two[1] << 4));
    }

    /// Of each slot its token, counted from the first.
    fn spread(&self) -> [u8; SLOTS] {
        let (mut spread, mut at) = ([0; SLOTS], 0);
        for (token, count) in self.counts[..self.tokens].iter().enumerate() {
            for _ in 0..*count {
                spread[at] = token as u8;
                at = (at + STEP) % SLOTS;
            }
        }
        spread
    }
}

/// Bits that follow a slot which stands for x.
#[inline(always)]
fn bits_after(x: u16) -> u32 {
    SLOTS_BITS - (15 - x.leading_zeros())
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(4))]
struct Slot {
    /// The next state but for its bits.
    next: u8,
    token: u8,
    tail: u8,
    bits: u8,
}

/// A reader's tables.
pub(super) struct Coded {
    slots: [Slot; SLOTS],
    bases: [u64; TOKENS_MAX],
}

impl Coded {
    /// Reads what stands before the stream; `kept` is at most [`KEPT_MAX`].
    pub fn read(cursor: &mut Cursor<'_>, kept: u8) -> Result<Coded, CodecError> {
        let (counted, kept) = (Slots::read(cursor)?, u32::from(kept));
        let last = counted.first + counted.tokens - 1;
        if tail_of(last, kept) > TAIL_MAX {
            return Err(CodecError::BadWidth);
        }
        let (mut tails, mut bases) = ([0; TOKENS_MAX], [0; TOKENS_MAX]);
        for (at, token) in (counted.first..=last).enumerate() {
            (tails[at], bases[at]) = (tail_of(token, kept) as u8, base_of(token, kept));
        }
        let (mut slots, mut next) = ([Slot::default(); SLOTS], counted.counts);
        for (slot, token) in slots.iter_mut().zip(counted.spread()) {
            let at = usize::from(token) % TOKENS_MAX;
            let (x, bits) = (next[at], bits_after(next[at]));
            next[at] += 1;
            let next = ((x << bits) - SLOTS as u16) as u8;
            *slot = Slot { next, token, tail: tails[at], bits: bits as u8 };
        }
        Ok(Coded { slots, bases })
    }

    /// Fills `words` with the residuals that the payload begins with; returns how many bytes these take.
    /// On an error the words are anything.
    #[inline(always)]
    pub fn unpack(&self, payload: &[u8], words: &mut [u64]) -> Result<usize, CodecError> {
        let mut reader = Reader { payload, at_bits: 2 * SLOTS_BITS as usize };
        let first = load(payload, 0);
        let (mut even, mut odd) = (first & mask(SLOTS_BITS), first >> SLOTS_BITS & mask(SLOTS_BITS));
        let (pairs, rest) = words.as_chunks_mut::<2>();
        for pair in pairs {
            reader.step(self, &mut even, &mut pair[0]);
            reader.step(self, &mut odd, &mut pair[1]);
        }
        for word in rest {
            reader.step(self, &mut even, word);
        }
        let bytes = reader.at_bits.div_ceil(8);
        match (even, odd) {
            _ if bytes > payload.len() => Err(CodecError::Truncated),
            (0, 0) => Ok(bytes),
            _ => Err(CodecError::BadNumber),
        }
    }
}

struct Reader<'a> {
    payload: &'a [u8],
    at_bits: usize,
}

impl Reader<'_> {
    /// Reads one residual, and the state that follows.
    #[inline(always)]
    fn step(&mut self, coded: &Coded, state: &mut u64, word: &mut u64) {
        let slot = coded.slots[*state as usize % SLOTS];
        let bits = load(self.payload, self.at_bits);
        *word = coded.bases[usize::from(slot.token) % TOKENS_MAX] + (bits & mask(slot.tail.into()));
        *state = u64::from(slot.next) + (bits >> slot.tail & mask(slot.bits.into()));
        self.at_bits += usize::from(slot.tail) + usize::from(slot.bits);
    }
}

/// 57 bits and more from a place on; behind the end they are zeros.
#[inline(always)]
fn load(bytes: &[u8], at_bits: usize) -> u64 {
    let (at, shift) = (at_bits / 8, at_bits % 8);
    let window = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
    u64::from_le_bytes(window.unwrap_or_else(|| end(bytes, at))) >> shift
}

#[cold]
fn end(bytes: &[u8], at: usize) -> [u8; 8] {
    let (rest, mut window) = (bytes.get(at..).unwrap_or_default(), [0; 8]);
    window[..rest.len()].copy_from_slice(rest);
    window
}

/// How some residuals are coded.
pub(super) struct Coding {
    kept: u32,
    slots: Slots,
}

impl Coding {
    /// The cheapest way as estimated; None where that is above `most` bytes, or a tail is too long.
    pub fn choose(residuals: &[u64], most: usize) -> Option<Coding> {
        let mut counts = [0u32; FINEST];
        let mut tails_bits = 0;
        for &residual in residuals {
            let (token, tail) = token(residual, KEPT_MAX.into());
            *counts.get_mut(token)? += 1;
            tails_bits += tail as usize;
        }
        let (mut best, mut least) = (None, 8.0 * most as f64);
        for kept in (0..=u32::from(KEPT_MAX)).rev() {
            if let Some(slots) = Slots::fitting(&counts) {
                let bits = bits_of(&slots, &counts) + tails_bits as f64;
                if bits < least && tail_of(slots.first + slots.tokens - 1, kept) <= TAIL_MAX {
                    (best, least) = (Some(Coding { kept, slots }), bits);
                }
            }
            if kept == 0 {
                break;
            }
            // With a bit less in tokens, all but the small ones pair up, and their tails are a bit longer.
            let small = 1 << kept;
            for token in small..FINEST {
                let count = std::mem::take(&mut counts[token]);
                tails_bits += count as usize;
                counts[token / 2 + small / 2] += count;
            }
        }
        best
    }

    pub fn kept(&self) -> u8 {
        self.kept as u8
    }

    /// Appends the residuals that this was chosen for.
    pub fn write(&self, residuals: &[u64], out: &mut Vec<u8>) {
        self.slots.write(out);
        Encoder::new(&self.slots).write(residuals, self.slots.first, self.kept, out);
    }
}

/// About the bits that these tokens take, with all that stands before them.
fn bits_of(slots: &Slots, counts: &[u32]) -> f64 {
    let used = counts[slots.first..].iter().zip(&slots.counts[..slots.tokens]);
    let each = |(count, slots): (&u32, &u16)| match slots {
        0 => 0.0,
        _ => f64::from(*count) * (f64::from(SLOTS_BITS) - f64::from(*slots).log2()),
    };
    used.map(each).sum::<f64>() + 4.0 * slots.tokens as f64 + HEAD_BITS
}

/// A writer's tables.
struct Encoder {
    counts: [u16; TOKENS_MAX],
    /// Where each token's slots begin in `places`.
    starts: [u16; TOKENS_MAX],
    /// The slots token by token, ascending.
    places: [u16; SLOTS],
}

impl Encoder {
    fn new(slots: &Slots) -> Encoder {
        let (mut starts, mut start) = ([0; TOKENS_MAX], 0);
        for (at, count) in slots.counts.iter().enumerate() {
            starts[at] = start;
            start += count;
        }
        let (mut places, mut next) = ([0; SLOTS], starts);
        for (slot, token) in slots.spread().into_iter().enumerate() {
            let next = &mut next[usize::from(token)];
            places[usize::from(*next)] = slot as u16;
            *next += 1;
        }
        Encoder { counts: slots.counts, starts, places }
    }

    /// The slot of a token from which so many bits lead to the state, and these.
    fn step(&self, token: usize, state: u16) -> (u16, u32, u16) {
        let (count, x) = (self.counts[token], state + SLOTS as u16);
        let bits = bits_after(count);
        let bits = if x >> bits < count { bits - 1 } else { bits };
        let place = self.starts[token] + (x >> bits) - count;
        (self.places[usize::from(place)], bits, x & ((1 << bits) - 1))
    }

    fn write(&self, residuals: &[u64], first: usize, kept: u32, out: &mut Vec<u8>) {
        // Backwards, as each state leads to the one behind it.
        let mut steps = [(0, 0); CHUNK_SAMPLES_MAX];
        let mut states = [0; 2];
        for (number, (step, residual)) in steps.iter_mut().zip(residuals).enumerate().rev() {
            let (at, state) = (token(*residual, kept).0 - first, &mut states[number % 2]);
            let (slot, bits, value) = self.step(at, *state);
            (*step, *state) = ((bits, value), slot);
        }
        let mut stream = Stream { bytes: [0; STREAM_BYTES], pending: 0, at_bits: 0 };
        states.iter().for_each(|state| stream.push((*state).into(), SLOTS_BITS));
        for (residual, (bits, value)) in residuals.iter().zip(steps) {
            let tail = token(*residual, kept).1;
            stream.push(residual & mask(tail) | u64::from(value) << tail, tail + bits);
        }
        out.extend_from_slice(&stream.bytes[..stream.at_bits.div_ceil(8)]);
    }
}

/// What the longest stream takes, and a word more.
const STREAM_BYTES: usize =
    (2 * SLOTS_BITS as usize + CHUNK_SAMPLES_MAX * (TAIL_MAX + SLOTS_BITS) as usize) / 8 + 9;

/// Bits from the lowest of each byte on.
struct Stream {
    bytes: [u8; STREAM_BYTES],
    /// Those of the byte that is not full.
    pending: u64,
    at_bits: usize,
}

impl Stream {
    /// Up to 57 bits.
    #[inline(always)]
    fn push(&mut self, value: u64, bits: u32) {
        let used = self.at_bits % 8;
        self.pending |= value << used;
        if let Some(window) = self.bytes.get_mut(self.at_bits / 8..).and_then(|rest| rest.first_chunk_mut()) {
            *window = self.pending.to_le_bytes();
        }
        let filled = (used + bits as usize) / 8 * 8;
        // All of a word may be full.
        self.pending = self.pending.checked_shr(filled as u32).unwrap_or(0);
        self.at_bits += bits as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that these residuals take; None where they cannot be coded.
    fn check(residuals: &[u64]) -> Option<usize> {
        let coding = Coding::choose(residuals, usize::MAX >> 8)?;
        let mut bytes = Vec::new();
        coding.write(residuals, &mut bytes);
        for tail in [0, 40] {
            let (mut read, length) = (vec![7; residuals.len()], bytes.len());
            let mut bytes = bytes.clone();
            bytes.resize(length + tail, 0xff);
            let mut cursor = Cursor::new(&bytes);
            let coded = Coded::read(&mut cursor, coding.kept()).expect("tables are read");
            assert_eq!(coded.unpack(cursor.rest(), &mut read), Ok(length - cursor.position()));
            assert_eq!(read, residuals);
        }
        Some(bytes.len())
    }

    #[test]
    fn residuals_cost_what_their_like_cost() {
        // Two tables, two states, and next to nothing for what is certain.
        assert_eq!(check(&[5; 1000]), Some(5));
        let one_in_four: Vec<u64> = (0..1000).map(|at| u64::from(at % 4 == 0)).collect();
        assert!(matches!(check(&one_in_four), Some(..115)));
        // Each of a range of three quarters of its bits, where granules take all of the tenth.
        let range: Vec<u64> = (0..1000).map(|at| at * 7919 % 768).collect();
        assert!(matches!(check(&range), Some(1200..1220)));
        assert!(check(&[1, 1 << 47, 3]).is_some());
        assert!(check(&[1, 1 << 50, 3]).is_none(), "a tail of 47 bits");
    }

    #[test]
    fn tokens_say_the_length_and_the_highest_bits() {
        let tokens = |kept: u32| [0, 1, 2, 3, 4, 5, 6, 7, 8, 1000].map(|residual| token(residual, kept));
        assert_eq!(
            tokens(0),
            [(0, 0), (1, 0), (2, 1), (2, 1), (3, 2), (3, 2), (3, 2), (3, 2), (4, 3), (10, 9)]
        );
        assert_eq!(
            tokens(1),
            [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (4, 1), (5, 1), (5, 1), (6, 2), (19, 8)]
        );
        for kept in 0..=u32::from(KEPT_MAX) {
            for residual in (0..200).chain([1 << 40, (1 << 49) - 1]) {
                let (token, tail) = token(residual, kept);
                assert_eq!(tail_of(token, kept), tail);
                assert_eq!(base_of(token, kept) + (residual & mask(tail)), residual);
            }
        }
    }

    proptest! {
        #[test]
        fn residuals_come_back(
            residuals in prop::collection::vec((any::<u64>(), 14u32..64), 1..400), least in 14u32..64,
        ) {
            let residuals: Vec<u64> = residuals.iter().map(|(word, shift)| word >> shift.max(&least)).collect();
            let short = |kept| residuals.iter().all(|residual| token(*residual, kept).1 <= TAIL_MAX);
            let coded = check(&residuals).is_some();
            prop_assert!(coded || !short(0));
            prop_assert!(!coded || short(KEPT_MAX.into()));
        }

        #[test]
        fn changed_bytes_are_read_or_refused(
            residuals in prop::collection::vec(0u64..300, 1..400), at in any::<prop::sample::Index>(), xor in 1u8..,
        ) {
            let coding = Coding::choose(&residuals, usize::MAX >> 8).expect("short tails");
            let mut bytes = Vec::new();
            coding.write(&residuals, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            let mut cursor = Cursor::new(&bytes);
            if let Ok(coded) = Coded::read(&mut cursor, coding.kept()) {
                let read = coded.unpack(cursor.rest(), &mut vec![0; residuals.len()]);
                prop_assert!(read.is_ok_and(|bytes| bytes <= cursor.rest().len()) || read.is_err());
            }
        }

        #[test]
        fn any_weights_have_their_slots(weights in prop::collection::vec(0u8..16, 1..=TOKENS_MAX)) {
            let mut all = [0; TOKENS_MAX];
            all[..weights.len()].copy_from_slice(&weights);
            match Slots::of(0, weights.len(), all) {
                None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
                Some(slots) => {
                    prop_assert_eq!(slots.counts.iter().map(|count| usize::from(*count)).sum::<usize>(), SLOTS);
                    prop_assert!(weights.iter().zip(slots.counts).all(|(weight, count)| (*weight > 0) == (count > 0)));
                    let mut dealt = [0; TOKENS_MAX];
                    slots.spread().iter().for_each(|token| dealt[usize::from(*token)] += 1);
                    prop_assert_eq!(dealt, slots.counts);
                }
            }
        }
    }
}

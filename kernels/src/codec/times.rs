//! Sealed chunks of timestamps, or of any other integers. Regular times cost a dozen bytes a chunk,
//! however many they are; jitter costs its own bits; missed scrapes cost a few bytes each.
//!
//! Series of one scrape share their times: a store writes such a chunk once and lets many series point to
//! it.

use super::CodecError;
use super::column::{Opened, room};
use super::decimal::Unit;
use super::layout::{CHUNK_SAMPLES_MAX, Header, Kind, Predictor};
use super::predict::Meaning;
use super::search::{Domain, Effort, NONE, Search};
use crate::arch::Level;
use std::cell::RefCell;

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

/// Appends a chunk of these times. They may be any; they are small where they ascend regularly.
///
/// # Panics
/// Where there are none, or more than [`CHUNK_SAMPLES_MAX`].
pub fn encode(times: &[i64], out: &mut Vec<u8>) {
    ENCODER.with_borrow_mut(|encoder| encoder.encode(bytemuck::must_cast_slice(times), out));
}

/// Appends the times of the chunk that `bytes` begin with, and returns how many bytes it has. What
/// follows the chunk may be anything. On an error `out` is as it was; it never grows by more than
/// [`CHUNK_SAMPLES_MAX`]. Whether they ascend is for the caller to check.
pub fn decode(bytes: &[u8], out: &mut Vec<i64>) -> Result<usize, CodecError> {
    decode_on(Level::WIDEST, bytes, out)
}

/// [`decode`] with vectors no wider than the limit: the same values, bit for bit.
pub fn decode_on(limit: Level, bytes: &[u8], out: &mut Vec<i64>) -> Result<usize, CodecError> {
    let chunk = Opened::new(bytes)?;
    let (start, count) = (out.len(), chunk.header.count);
    out.resize(start + room(count), 0);
    let read = chunk.read(limit, Meaning::Integer, bytemuck::must_cast_slice_mut(&mut out[start..]));
    out.truncate(start + if read.is_ok() { count } else { 0 });
    read
}

struct Encoder {
    search: Search,
    check: Vec<i64>,
}

impl Encoder {
    fn new() -> Self {
        Encoder { search: Search::new(), check: Vec::with_capacity(room(CHUNK_SAMPLES_MAX)) }
    }

    fn encode(&mut self, words: &[u64], out: &mut Vec<u8>) {
        let count = words.len();
        assert!((1..=CHUNK_SAMPLES_MAX).contains(&count), "a chunk of {count} times");
        if steady(words, out) {
            return;
        }
        let start = out.len();
        self.search.begin(count);
        self.search.words[..count].copy_from_slice(words);
        self.search.lines(count);
        self.search
            .integers(count, Domain { decimal: false, unit: Unit::ONE, any_factor: true, specials: NONE });
        if !self.search.write(words, Effort::Fast, out) || !self.comes_back(&out[start..], words) {
            out.truncate(start);
            Header::new(Kind::of(Predictor::Raw), count).write(out);
            for word in words {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
    }

    fn comes_back(&mut self, chunk: &[u8], words: &[u64]) -> bool {
        self.check.clear();
        let read = decode(chunk, &mut self.check);
        let same = read == Ok(chunk.len()) && bytemuck::must_cast_slice::<i64, u64>(&self.check) == words;
        debug_assert!(same, "a chunk of times does not come back: {read:?}");
        same
    }
}

/// Appends the chunk of times that are equally far apart, the commonest by far; false where they are not.
fn steady(words: &[u64], out: &mut Vec<u8>) -> bool {
    let Some((&first, &second)) = words.first().zip(words.get(1)) else { return false };
    let step = second.wrapping_sub(first);
    // All of them are looked at: a loop without a way out is compiled to vectors.
    let pairs = words.iter().zip(&words[1..]);
    if pairs.fold(0, |off, (before, after)| off | (after.wrapping_sub(*before) ^ step)) != 0 {
        return false;
    }
    let mut header = Header::new(Kind::of(Predictor::Delta), words.len());
    (header.first, header.step) = (first, step);
    if header.bytes() > 8 * words.len() {
        return false;
    }
    header.write(out);
    // A table of one width: no bits for any residual.
    out.push(0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(times: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(times, &mut bytes);
        let mut out = vec![5];
        assert_eq!(decode(&bytes, &mut out), Ok(bytes.len()));
        assert_eq!(&out[1..], times);
        for level in Level::ALL {
            let mut again = Vec::new();
            assert_eq!(decode_on(level, &bytes, &mut again), Ok(bytes.len()));
            assert_eq!(again, times, "{level:?}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], &mut Vec::new()).is_err(), "cut at {length}");
        }
        bytes.len()
    }

    #[track_caller]
    fn check_size(most: usize, times: impl IntoIterator<Item = i64>) {
        let times: Vec<i64> = times.into_iter().collect();
        let bytes = check(&times);
        assert!(bytes <= most, "{bytes} bytes for {}, expected at most {most}", times.len());
    }

    const START: i64 = 1_700_000_000_123;

    #[test]
    fn regular_times_are_nearly_free() {
        check_size(14, (0..1024).map(|i| START + i * 15_000));
        check_size(13, (0..120).map(|i| START + i * 15_000));
        check_size(10, [START]);
    }

    #[test]
    fn jitter_costs_its_bits() {
        let jitter = |i: i64, most: i64| (i * 7919 % 104_729) % most;
        // Two bits a sample and the header.
        check_size(256 + 16, (0..1024).map(|i| START + i * 15_000 + jitter(i, 4)));
        check_size(384 + 24, (0..1024).map(|i| START + i * 15_000 + jitter(i, 8)));
    }

    #[test]
    fn missed_scrapes_cost_a_few_bytes() {
        let missed = |i: i64| i % 200 == 17;
        check_size(13 + 5 * 5, (0..1000).filter(|i| !missed(*i)).map(|i| START + i * 15_000));
        // A restart in between: another phase.
        check_size(22, (0..1000).map(|i| START + i * 15_000 + if i < 400 { 0 } else { 47_231 }));
    }

    #[test]
    fn wild_times_survive() {
        check(&[i64::MIN, i64::MAX, 0, -1, 1, i64::MAX - 1, 1 << 40]);
        check(&[i64::MIN; 3]);
        check(&[i64::MAX, i64::MIN]);
        check(&[0, 1 << 62, i64::MIN, -(1 << 62)]);
    }

    proptest! {
        #[test]
        fn any_times_come_back(
            start in any::<i64>(),
            steps in prop::collection::vec(prop_oneof![8 => Just(15_000i64), 3 => 14_990i64..15_010, 1 => -600_000i64..600_000, 1 => any::<i64>()], 0..300),
        ) {
            let mut time = start;
            let times: Vec<i64> = std::iter::once(start).chain(steps.into_iter().map(|step| { time = time.wrapping_add(step); time })).collect();
            check(&times);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            match decode(&bytes, &mut out) {
                Ok(read) => prop_assert!(read <= bytes.len() && (1..=CHUNK_SAMPLES_MAX).contains(&out.len())),
                Err(_) => prop_assert!(out.is_empty()),
            }
        }
    }
}

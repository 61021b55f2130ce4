//! Random damage to seeds, replayable from a number: what the replay test does in place of libFuzzer's
//! guided mutations.

use fastrand::Rng;

/// Inputs grow to at most this: parsers' limits lie above, and short inputs find more faults a second.
const MAX_INPUT_BYTES: usize = 64 << 10;

/// Bytes and runs that parsers stumble over: edges of integers, lengths and depths.
const DICTIONARY: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x00",
    b"{",
    b"}",
    b"(((((((((((((((((",
    b"\"",
    b"\\",
    b"\n",
    b"\r\n",
    b"# EOF\n",
    b"NaN",
    b"-Inf",
    b"1e999",
    b"-0x1p-1074",
    b"9223372036854775808",
    b"\xed\xa0\x80",
    b"\xc3\x28",
];

/// A damaged copy of `seed`; `other` is a second seed to splice in.
pub fn mutate(rng: &mut Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.usize(1..6) {
        once(rng, &mut bytes, other);
    }
    bytes.truncate(MAX_INPUT_BYTES);
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(0..=16)).min(bytes.len());
    match rng.u8(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let word = DICTIONARY[rng.usize(0..DICTIONARY.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        5 => {
            let word = DICTIONARY[rng.usize(0..DICTIONARY.len())];
            bytes.splice(at..end, word.iter().copied());
        }
        6 => {
            let copies = bytes[at..end].repeat(rng.usize(1..64));
            bytes.splice(at..at, copies);
        }
        _ => {
            let from = rng.usize(0..=other.len());
            bytes.splice(at..end, other[from..].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_from_its_seed_and_stays_small() {
        let (mut one, mut two) = (Rng::with_seed(7), Rng::with_seed(7));
        let mut grown = vec![b'x'; 1000];
        for _ in 0..500 {
            let next = mutate(&mut one, &grown, b"other");
            assert_eq!(next, mutate(&mut two, &grown, b"other"));
            assert!(next.len() <= MAX_INPUT_BYTES);
            grown = if next.is_empty() { b"again".to_vec() } else { next };
        }
    }
}

//! A chunk: one series' samples as a bit stream, appended one at a time (Pelkonen et al., *Gorilla: A
//! Fast, Scalable, In-Memory Time Series Database*, VLDB 2015).
//!
//! 1. The first sample is stored whole: 64 bits of time, 64 bits of value.
//! 2. Each further time is stored as the change of its distance to the one before:
//!    `0` unchanged · `10` + 8 bits · `110` + 14 bits · `1110` + 20 bits (two's complement) ·
//!    `1111` + 64 bits.
//! 3. Each further value is XORed with the one before: `0` same bits · `10` + the bits within the window
//!    last declared · `11` + 6 bits leading zeros + 6 bits (window width - 1) + the window's bits.
//!
//! Every `f64` comes back bit for bit: NaN payloads, -0.0 and subnormals are bits like others.

use super::CodecError;
use super::bits::{BitReader, BitTail, READ_SLACK_BYTES, WordSink};

/// What the encoder remembers between two samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GorillaState {
    last_time: i64,
    last_delta: i64,
    last_bits: u64,
    /// The stream's open end, its two parts: as a whole it would take eight bytes more.
    tail_word: u64,
    tail_used: u8,
    leading: u8,
    /// Bits in the window; 0 while none was declared.
    width: u8,
    count: u16,
}

/// Bytes of a state that is kept elsewhere.
pub const STATE_BYTES: usize = 37;

impl GorillaState {
    #[inline(always)]
    fn tail(&self) -> BitTail {
        BitTail::new(self.tail_word, self.tail_used)
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    pub fn last_time(&self) -> i64 {
        self.last_time
    }

    pub fn last_bits(&self) -> u64 {
        self.last_bits
    }

    /// The state in bytes, from which [`GorillaState::from_bytes`] goes on:
    /// `last time i64 | last delta i64 | last bits u64 | pending word u64 | pending bits u8 | leading u8 | width
    /// u8 | count u16`, little endian.
    pub fn to_bytes(&self) -> [u8; STATE_BYTES] {
        let mut out = [0; STATE_BYTES];
        let (word, used) = (self.tail_word, self.tail_used);
        out[..8].copy_from_slice(&self.last_time.to_le_bytes());
        out[8..16].copy_from_slice(&self.last_delta.to_le_bytes());
        out[16..24].copy_from_slice(&self.last_bits.to_le_bytes());
        out[24..32].copy_from_slice(&word.to_le_bytes());
        out[32..35].copy_from_slice(&[used, self.leading, self.width]);
        out[35..].copy_from_slice(&self.count.to_le_bytes());
        out
    }

    /// The state that these bytes hold; `None` where no encoder can have come to it. Whether it belongs to a
    /// stream, [`GorillaState::ends`] tells.
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Option<Self> {
        let word = |at: usize| bytes[at..].first_chunk::<8>().map(|w| u64::from_le_bytes(*w));
        let [used, leading, width] = *bytes[32..].first_chunk()?;
        let tail_word = word(24)?;
        BitTail::from_parts(tail_word, used)?;
        let state = GorillaState {
            last_time: word(0)? as i64,
            last_delta: word(8)? as i64,
            last_bits: word(16)?,
            tail_word,
            tail_used: used,
            leading,
            width,
            count: u16::from_le_bytes(*bytes[35..].first_chunk()?),
        };
        (u32::from(leading) + u32::from(width) <= 64).then_some(state)
    }

    /// Whether this is the state behind these samples, which its stream was decoded to.
    pub fn ends(&self, times: &[i64], values: &[f64]) -> bool {
        let [.., value] = values else { return self.count == 0 };
        let delta = match times {
            [.., before, last] => last.wrapping_sub(*before),
            _ => 0,
        };
        usize::from(self.count) == times.len()
            && times.last() == Some(&self.last_time)
            && value.to_bits() == self.last_bits
            && delta == self.last_delta
    }

    /// Appends one sample. Times may be any; they are small where they ascend regularly.
    #[inline]
    pub fn push(&mut self, sink: &mut impl WordSink, time: i64, value: f64) {
        let bits = value.to_bits();
        let mut tail = self.tail();
        if self.count == 0 {
            tail.push(sink, time as u64, 64);
            tail.push(sink, bits, 64);
        } else {
            let delta = time.wrapping_sub(self.last_time);
            push_time(&mut tail, sink, delta.wrapping_sub(self.last_delta));
            self.last_delta = delta;
            self.push_value(&mut tail, sink, bits ^ self.last_bits);
        }
        (self.tail_word, self.tail_used) = tail.parts();
        self.last_time = time;
        self.last_bits = bits;
        self.count += 1;
    }

    #[inline(always)]
    fn push_value(&mut self, tail: &mut BitTail, sink: &mut impl WordSink, xor: u64) {
        if xor == 0 {
            tail.push(sink, 0, 1);
            return;
        }
        let (leading, trailing) = (xor.leading_zeros(), xor.trailing_zeros());
        let (window_leading, window_width) = (u32::from(self.leading), u32::from(self.width));
        let window_trailing = 64 - window_leading - window_width;
        if window_width != 0 && leading >= window_leading && trailing >= window_trailing {
            tail.push(sink, 0b10, 2);
            tail.push(sink, xor >> window_trailing, window_width);
            return;
        }
        let width = 64 - leading - trailing;
        tail.push(sink, 0b11 << 12 | u64::from(leading) << 6 | u64::from(width - 1), 14);
        tail.push(sink, xor >> trailing, width);
        self.leading = leading as u8;
        self.width = width as u8;
    }

    /// Closes the chunk: `bytes` then holds all of it.
    pub fn finish(&self, bytes: &mut Vec<u8>) {
        self.tail().finish(bytes);
    }

    /// The bits not in `bytes` yet, for who reads an open chunk.
    pub fn pending(&self) -> ([u8; 8], usize) {
        self.tail().pending()
    }
}

#[inline(always)]
fn push_time(tail: &mut BitTail, sink: &mut impl WordSink, change: i64) {
    match change {
        0 => tail.push(sink, 0, 1),
        -0x80..=0x7f => tail.push(sink, 0b10 << 8 | (change as u64 & 0xff), 10),
        -0x2000..=0x1fff => tail.push(sink, 0b110 << 14 | (change as u64 & 0x3fff), 17),
        -0x8_0000..=0x7_ffff => tail.push(sink, 0b1110 << 20 | (change as u64 & 0xf_ffff), 24),
        _ => {
            tail.push(sink, 0b1111, 4);
            tail.push(sink, change as u64, 64);
        }
    }
}

/// Decodes `count` samples and appends them to the columns. `stream` is the chunk's bytes (an open
/// chunk's followed by its pending ones) plus [`READ_SLACK_BYTES`] of slack. On an error the columns are
/// as they were.
pub fn decode(
    stream: &[u8],
    count: usize,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    if count == 0 {
        return Ok(());
    }
    // Two bits a sample is the least; this bounds the reservation by the input.
    if stream.len().saturating_sub(READ_SLACK_BYTES) * 8 < 128 + 2 * (count - 1) {
        return Err(CodecError::Truncated);
    }
    let before = times.len();
    let result = decode_all(stream, count, times, values);
    if result.is_err() {
        times.truncate(before);
        values.truncate(before);
    }
    result
}

fn decode_all(
    stream: &[u8],
    count: usize,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    times.reserve(count);
    values.reserve(count);
    let mut reader = BitReader::new(stream);
    let mut time = reader.take(64) as i64;
    let mut bits = reader.take(64);
    times.push(time);
    values.push(f64::from_bits(bits));
    let (mut delta, mut leading, mut width) = (0i64, 0u32, 0u32);
    for _ in 1..count {
        delta = delta.wrapping_add(take_time(&mut reader));
        time = time.wrapping_add(delta);
        let head = reader.peek();
        if head >> 63 == 0 {
            reader.skip(1);
        } else {
            if head >> 62 == 0b10 {
                reader.skip(2);
            } else {
                leading = (head >> 56) as u32 & 0x3f;
                width = ((head >> 50) as u32 & 0x3f) + 1;
                reader.skip(14);
            }
            if width == 0 || leading + width > 64 {
                return Err(CodecError::BadWindow);
            }
            bits ^= reader.take(width) << (64 - leading - width);
        }
        times.push(time);
        values.push(f64::from_bits(bits));
    }
    if reader.overran() { Err(CodecError::Truncated) } else { Ok(()) }
}

#[inline(always)]
fn take_time(reader: &mut BitReader<'_>) -> i64 {
    let head = reader.peek();
    let (prefix, width) = match head.leading_ones() {
        0 => {
            reader.skip(1);
            return 0;
        }
        1 => (2, 8),
        2 => (3, 14),
        3 => (4, 20),
        _ => {
            reader.skip(4);
            return reader.take(64) as i64;
        }
    };
    reader.skip(prefix + width);
    // Left-align the field, then shift back with its sign.
    ((head << prefix) as i64) >> (64 - width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
        let (mut bytes, mut state) = (Vec::new(), GorillaState::default());
        for &(time, value) in samples {
            state.push(&mut bytes, time, value);
        }
        state.finish(&mut bytes);
        bytes
    }

    fn decode_to(bytes: &[u8], count: usize) -> Result<Vec<(i64, u64)>, CodecError> {
        let mut stream = bytes.to_vec();
        stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        decode(&stream, count, &mut times, &mut values)?;
        Ok(times.into_iter().zip(values.iter().map(|v| v.to_bits())).collect())
    }

    #[track_caller]
    fn check(samples: &[(i64, f64)]) -> usize {
        let bytes = encode(samples);
        let expect: Vec<_> = samples.iter().map(|&(t, v)| (t, v.to_bits())).collect();
        assert_eq!(decode_to(&bytes, samples.len()), Ok(expect));
        bytes.len()
    }

    #[test]
    fn regular_constants_cost_two_bits() {
        let samples: Vec<_> = (0..128).map(|i| (1_700_000_000_000 + i * 15_000, 1.0)).collect();
        // The first distance is a change from 0 (24 bits), the rest are `0` `0`.
        assert!(check(&samples) <= 16 + 3 + 1 + 32);
    }

    #[test]
    fn special_values_and_wild_times_survive() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let specials =
            [0.0, -0.0, f64::NAN, stale, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 8.0];
        let times = [i64::MIN, i64::MAX, 0, -1, 1, i64::MAX - 1, 1 << 40];
        let samples: Vec<_> = times.into_iter().zip(specials).collect();
        check(&samples);
    }

    proptest! {
        #[test]
        fn an_encoder_goes_on_from_its_bytes(values in prop::collection::vec(prop_oneof![any::<u64>(), (0u64..9)], 1..100), cut in 0usize..100) {
            let (mut bytes, mut state) = (Vec::new(), GorillaState::default());
            for (at, bits) in values.iter().enumerate() {
                if at == cut {
                    state = GorillaState::from_bytes(&state.to_bytes()).expect("a state of ours");
                }
                state.push(&mut bytes, at as i64 * 15_000, f64::from_bits(*bits));
            }
            state.finish(&mut bytes);
            bytes.extend_from_slice(&[0; READ_SLACK_BYTES]);
            let (mut times, mut read) = (Vec::new(), Vec::new());
            decode(&bytes, values.len(), &mut times, &mut read).expect("decodes");
            prop_assert!(state.ends(&times, &read));
            prop_assert_eq!(read.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), values);
        }

        #[test]
        fn any_bytes_are_a_state_or_refused(bytes in prop::collection::vec(any::<u8>(), STATE_BYTES), time in any::<i64>(), value in any::<f64>()) {
            if let Some(mut state) = GorillaState::from_bytes(bytes.first_chunk().expect("as long as that")) {
                let mut out = Vec::new();
                if state.count() < u16::MAX {
                    state.push(&mut out, time, value);
                }
                state.finish(&mut out);
            }
        }

        #[test]
        fn any_samples_come_back_bit_for_bit(
            start in any::<i64>(),
            steps in prop::collection::vec((prop_oneof![Just(15_000i64), -200i64..200, -600_000i64..600_000, any::<i64>()],
                prop_oneof![any::<u64>(), Just(0u64), (0u64..1000).prop_map(|i| (i as f64).to_bits())]), 0..300),
        ) {
            let mut time = start;
            let samples: Vec<_> = steps.into_iter().map(|(step, bits)| {
                time = time.wrapping_add(step);
                (time, f64::from_bits(bits))
            }).collect();
            check(&samples);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..2000) {
            if let Ok(samples) = decode_to(&bytes, count) {
                prop_assert_eq!(samples.len(), count);
            }
        }
    }

    #[test]
    fn cut_bytes_are_refused() {
        let samples: Vec<_> = (0..50).map(|i| (i * 1_000 + i % 7, (i as f64).sqrt())).collect();
        let bytes = encode(&samples);
        for length in 0..bytes.len() {
            assert_eq!(decode_to(&bytes[..length], 50), Err(CodecError::Truncated), "cut at {length}");
        }
    }
}

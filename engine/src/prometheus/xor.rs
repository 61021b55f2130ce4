//! The XOR encoding: floats against the one before, times against what the step before lets expect.
//!
//! `samples u16 | time varint | value f64 | step uvarint | value xor | change of step, value xor | …`

use super::FormatError;
use super::bits::{BitReader, BitWriter};
use super::varbit::{XorValue, fits, signed};

/// Widths of a step's change, after one to three ones and a zero; four ones stand for 64 bits.
const WIDTHS: [u32; 4] = [14, 17, 20, 64];

const SHORT: FormatError = FormatError::Damaged("XOR chunk ends early");

/// Appends a chunk's samples; on an error the columns are as they were.
pub fn decode(data: &[u8], times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), FormatError> {
    let (before_times, before_values) = (times.len(), values.len());
    let read = read(data, times, values).ok_or(SHORT);
    if read.is_err() {
        times.truncate(before_times);
        values.truncate(before_values);
    }
    read
}

fn read(data: &[u8], times: &mut Vec<i64>, values: &mut Vec<f64>) -> Option<()> {
    let (count, stream) = data.split_first_chunk::<2>()?;
    let count = u16::from_be_bytes(*count);
    let mut reader = BitReader::new(stream);
    let (mut time, mut step) = (0i64, 0i64);
    let mut value = XorValue::new(0.0);
    for at in 0..count {
        match at {
            0 => {
                time = reader.zigzag()?;
                value = XorValue::new(f64::from_bits(reader.bits(64)?));
            }
            1 => {
                step = reader.varint()? as i64;
                time = time.wrapping_add(step);
                value.read(&mut reader)?;
            }
            _ => {
                let change = match reader.ones(4)? {
                    0 => 0,
                    ones => {
                        let width = WIDTHS[ones as usize - 1];
                        signed(reader.bits(width)?, width)
                    }
                };
                step = step.wrapping_add(change);
                time = time.wrapping_add(step);
                value.read(&mut reader)?;
            }
        }
        times.push(time);
        values.push(value.value);
    }
    Some(())
}

/// A chunk of samples: ascending, at most 65,535.
pub fn encode(times: &[i64], values: &[f64]) -> Vec<u8> {
    let count = times.len().min(values.len()).min(usize::from(u16::MAX));
    let mut writer = BitWriter::after((count as u16).to_be_bytes().to_vec());
    let (mut time, mut step) = (0i64, 0i64);
    let mut value = XorValue::new(0.0);
    for at in 0..count {
        match at {
            0 => {
                writer.zigzag(times[0]);
                writer.bits(values[0].to_bits(), 64);
                value = XorValue::new(values[0]);
            }
            1 => {
                step = times[1].wrapping_sub(time);
                writer.varint(step as u64);
                value.push(&mut writer, values[1]);
            }
            _ => {
                let next = times[at].wrapping_sub(time);
                push_change(&mut writer, next.wrapping_sub(step));
                step = next;
                value.push(&mut writer, values[at]);
            }
        }
        time = times[at];
    }
    writer.bytes
}

fn push_change(writer: &mut BitWriter, change: i64) {
    if change == 0 {
        return writer.bit(false);
    }
    match WIDTHS[..3].iter().position(|width| fits(change, *width)) {
        Some(at) => {
            writer.bits((2 << (at + 1)) - 2, at as u32 + 2);
            writer.bits(change as u64, WIDTHS[at]);
        }
        None => {
            writer.bits(0xf, 4);
            writer.bits(change as u64, 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![Just(15_000i64), 14_990i64..15_010, 1i64..100_000, 1i64..1 << 40]
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (0u64..1000).prop_map(|n| (n as f64).to_bits()),
            Just(0x7ff0_0000_0000_0002)
        ]
    }

    proptest! {
        #[test]
        fn samples_read_back(start in any::<i32>(), samples in prop::collection::vec((step(), value()), 0..300)) {
            let mut time = i64::from(start);
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for (step, bits) in samples {
                time += step;
                times.push(time);
                values.push(f64::from_bits(bits));
            }
            let (mut read_times, mut read_values) = (Vec::new(), Vec::new());
            prop_assert_eq!(decode(&encode(&times, &values), &mut read_times, &mut read_values), Ok(()));
            prop_assert_eq!(read_times, times);
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(read_values), bits(values));
        }

        #[test]
        fn any_bytes_are_samples_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut times, mut values) = (vec![7], vec![7.0]);
            if decode(&bytes, &mut times, &mut values).is_err() {
                prop_assert_eq!(times.len(), 1);
            }
            prop_assert_eq!(times.len(), values.len());
        }
    }
}

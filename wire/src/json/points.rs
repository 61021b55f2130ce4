//! Runs of points. The series of one result mostly have the same times, so the text of each is kept by its
//! place and copied; and a run is written into room that was made for all of it.

use super::write_time;
use hearth_model::Sample;
use hearth_model::number::{RESULT_BYTES, put_result, put_whole};

/// `,[`, a time, `,"`: all that stands before a value.
const TIME_BYTES: usize = 32;

/// A value with what stands around it.
const POINT_BYTES: usize = TIME_BYTES + RESULT_BYTES + 2;

/// Times that are kept, and one more for all beyond, which are written anew for each series. 96 KiB for each answer on
/// its way.
const KEPT: usize = 2_048;

#[derive(Debug, Clone, Copy)]
struct Time {
    timestamp_ms: i64,
    length: usize,
    text: [u8; TIME_BYTES],
}

impl Time {
    fn of(timestamp_ms: i64) -> Time {
        let mut text = [0; TIME_BYTES];
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            text[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        put(b",[");
        if timestamp_ms >= 0 && timestamp_ms % 1000 == 0 {
            let mut seconds = [0; RESULT_BYTES];
            let digits = put_whole(&mut seconds, timestamp_ms / 1000);
            put(&seconds[..digits]);
        } else {
            let mut seconds = Vec::with_capacity(TIME_BYTES);
            write_time(&mut seconds, timestamp_ms);
            put(&seconds);
        }
        put(b",\"");
        Time { timestamp_ms, length, text }
    }
}

/// The texts of times that were written before, by their place in a series.
#[derive(Debug, Default)]
pub struct Times {
    texts: Vec<Time>,
}

impl Times {
    #[inline]
    fn at(&mut self, place: usize, timestamp_ms: i64) -> &Time {
        let known = self.texts.get(place).is_some_and(|time| time.timestamp_ms == timestamp_ms);
        let place = if known { place } else { self.new_at(place, timestamp_ms) };
        &self.texts[place]
    }

    /// Returns where it is.
    #[cold]
    fn new_at(&mut self, place: usize, timestamp_ms: i64) -> usize {
        let time = Time::of(timestamp_ms);
        let place = place.min(KEPT);
        if place >= self.texts.len() {
            // Places before it may never have been asked for.
            self.texts.resize(place + 1, time);
        }
        self.texts[place] = time;
        place
    }
}

/// Points for which room is made at once.
const BLOCK: usize = 32;

/// `,[time,"value"]` for each.
pub(super) fn write(out: &mut Vec<u8>, times: &mut Times, from: usize, samples: &[Sample]) {
    // What is behind `at` is room, made clean once and then written over.
    let mut at = out.len();
    for (block, samples) in samples.chunks(BLOCK).enumerate() {
        let room = at + samples.len() * POINT_BYTES;
        if out.len() < room {
            out.resize(room, 0);
        }
        for (place, sample) in (from + block * BLOCK..).zip(samples) {
            let Some((point, _)) = out[at..].split_first_chunk_mut::<POINT_BYTES>() else { break };
            let time = times.at(place, sample.timestamp_ms);
            point[..TIME_BYTES].copy_from_slice(&time.text);
            let mut length = time.length;
            if let Some((value, _)) = point[length..].split_first_chunk_mut::<RESULT_BYTES>() {
                length += put_result(value, sample.value);
            }
            point[length..length + 2].copy_from_slice(b"\"]");
            at += length + 2;
        }
    }
    out.truncate(at);
}

#[cfg(test)]
mod tests {
    use super::super::write_point;
    use super::*;

    #[test]
    fn runs_are_written_as_points_are() {
        let values = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            -f64::MIN_POSITIVE,
            1.0 / 3.0,
            -1.234_567_890_123_456_7e-6,
            -9.876_543_210_987_654e20,
            9_007_199_254_740_993.0,
            1e-3,
        ];
        let times = [i64::MIN, -1, 0, 1, 999, 1_700_000_000_123, i64::MAX, 1_000];
        let mut known = Times::default();
        // Places are taken from times to times, ahead of what is kept, and beyond it.
        for (round, from) in [0, 0, 5, 3, 40, KEPT - 3, KEPT + 9].into_iter().enumerate() {
            let samples: Vec<Sample> = (0..values.len())
                .map(|i| Sample {
                    timestamp_ms: times[(i + round / 2) % times.len()],
                    value: values[(i * 5 + round) % values.len()],
                })
                .collect();
            let (mut got, mut expect) = (b"before".to_vec(), b"before".to_vec());
            write(&mut got, &mut known, from, &samples);
            for sample in &samples {
                expect.push(b',');
                write_point(&mut expect, sample.timestamp_ms, sample.value);
            }
            assert_eq!(String::from_utf8(got), String::from_utf8(expect), "round {round}");
            assert!(known.texts.len() <= KEPT + 1);
        }
    }
}

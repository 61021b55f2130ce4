//! The two encodings of native histograms: whole counts, and float counts.
//!
//! `samples u16 | flags u8 | zero threshold | schema | spans of both sides | bounds of custom buckets |` then the
//! samples: the first as it is, the others against the one before. All samples of a chunk have one layout,
//! and no counter is reset between two of them.

use super::FormatError;
use super::bits::{BitReader, BitWriter};
use super::varbit::{XorValue, push_int, push_uint, read_int, read_uint};
use crate::chunk::histogram::Timed;
use hearth_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use hearth_model::{CounterReset, Histogram, Span};
use std::sync::Arc;

/// Spans and bounds of all samples of a chunk together: a chunk with more is damage, not data. Each sample
/// gets its own copy.
const MAX_PARTS: usize = 1 << 22;
/// Whole counts up to here are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

const SHORT: FormatError = FormatError::Damaged("histogram chunk ends early or does not fit together");

/// What all samples of a chunk have in common.
struct Layout {
    empty: Histogram,
    positive: usize,
    negative: usize,
}

/// The zero threshold of powers of two: 2^-243 is 1, 2^10 is 254.
const THRESHOLD_BIAS: i32 = 244;

fn read_threshold(reader: &mut BitReader<'_>) -> Option<f64> {
    match reader.bits(8)? as i32 {
        0 => Some(0.0),
        255 => reader.bits(64).map(f64::from_bits),
        power => Some(2f64.powi(power - THRESHOLD_BIAS)),
    }
}

fn push_threshold(writer: &mut BitWriter, threshold: f64) {
    if threshold.to_bits() == 0 {
        return writer.bits(0, 8);
    }
    let exponent = ((threshold.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    if (-243..=10).contains(&exponent) && threshold == 2f64.powi(exponent) {
        return writer.bits((exponent + THRESHOLD_BIAS) as u64, 8);
    }
    writer.bits(255, 8);
    writer.bits(threshold.to_bits(), 64);
}

fn read_spans(reader: &mut BitReader<'_>) -> Option<(Vec<Span>, usize)> {
    // A span takes two bits at least, a bucket one: more than that is not there.
    let count = usize::try_from(read_uint(reader)?).ok().filter(|n| *n <= reader.left_bits() / 2)?;
    let (mut spans, mut buckets) = (Vec::new(), 0usize);
    for _ in 0..count {
        let length = u32::try_from(read_uint(reader)?).ok()?;
        let offset = i32::try_from(read_int(reader)?).ok()?;
        buckets = buckets.checked_add(length as usize).filter(|n| *n <= reader.left_bits())?;
        spans.push(Span { offset, length });
    }
    Some((spans, buckets))
}

fn push_spans(writer: &mut BitWriter, spans: &[Span]) {
    push_uint(writer, spans.len() as u64);
    for span in spans {
        push_uint(writer, u64::from(span.length));
        push_int(writer, i64::from(span.offset));
    }
}

/// Bounds are mostly short decimals: thousandths up to this many are written as whole numbers.
const MAX_THOUSANDTHS: f64 = 33_554_430.0;

fn read_bounds(reader: &mut BitReader<'_>) -> Option<Vec<f64>> {
    let count = usize::try_from(read_uint(reader)?).ok().filter(|n| *n <= reader.left_bits())?;
    let bound = |reader: &mut BitReader<'_>| match read_uint(reader)? {
        0 => reader.bits(64).map(f64::from_bits),
        n => Some((n - 1) as f64 / 1000.0),
    };
    let mut bounds = Vec::new();
    for _ in 0..count {
        bounds.push(bound(reader)?);
    }
    Some(bounds)
}

fn push_bounds(writer: &mut BitWriter, bounds: &[f64]) {
    push_uint(writer, bounds.len() as u64);
    for bound in bounds {
        let thousandths = bound * 1000.0;
        let whole = thousandths.round();
        let short =
            (0.0..=MAX_THOUSANDTHS).contains(&thousandths) && (whole / 1000.0).to_bits() == bound.to_bits();
        if short {
            push_uint(writer, whole as u64 + 1);
        } else {
            writer.bit(false);
            writer.bits(bound.to_bits(), 64);
        }
    }
}

impl Layout {
    fn read(reader: &mut BitReader<'_>, samples: usize, integer: bool) -> Option<Layout> {
        let zero_threshold = read_threshold(reader)?;
        let schema = i32::try_from(read_int(reader)?).ok()?;
        let (positive_spans, positive) = read_spans(reader)?;
        let (negative_spans, negative) = read_spans(reader)?;
        let custom_values = if schema == CUSTOM_BUCKETS_SCHEMA { read_bounds(reader)? } else { Vec::new() };
        let parts = positive_spans.len() + negative_spans.len() + custom_values.len();
        if parts.checked_mul(samples)? > MAX_PARTS {
            return None;
        }
        let empty = Histogram {
            schema,
            integer,
            zero_threshold,
            positive_spans,
            negative_spans,
            custom_values,
            ..Histogram::stale()
        };
        Some(Layout { empty, positive, negative })
    }

    fn push(writer: &mut BitWriter, like: &Histogram) {
        push_threshold(writer, like.zero_threshold);
        push_int(writer, i64::from(like.schema));
        push_spans(writer, &like.positive_spans);
        push_spans(writer, &like.negative_spans);
        if like.is_custom() {
            push_bounds(writer, &like.custom_values);
        }
    }

    /// The marker that ends a series has neither buckets nor layout.
    fn stale(&self, sum: f64, reset: CounterReset) -> Histogram {
        Histogram { integer: self.empty.integer, reset, sum, ..Histogram::stale() }
    }
}

/// What a reader may say of a sample: only the first may begin anew, and a chunk's flag speaks of it.
fn reset_of(flags: u8, at: u16) -> CounterReset {
    match (flags >> 6, at) {
        (0b11, _) => CounterReset::Gauge,
        (_, 1..) => CounterReset::NotReset,
        (0b10, _) => CounterReset::Reset,
        // That nothing was reset holds against a chunk that may not be the one before any more.
        _ => CounterReset::Unknown,
    }
}

fn flags_of(reset: CounterReset) -> u8 {
    match reset {
        CounterReset::Unknown => 0b00 << 6,
        CounterReset::NotReset => 0b01 << 6,
        CounterReset::Reset => 0b10 << 6,
        CounterReset::Gauge => 0b11 << 6,
    }
}

/// Appends a chunk's histograms; on an error `out` is as it was.
pub fn decode(data: &[u8], integer: bool, out: &mut Vec<Timed>) -> Result<(), FormatError> {
    let before = out.len();
    let read = if integer { read_whole(data, out) } else { read_floats(data, out) };
    if read.is_none() {
        out.truncate(before);
    }
    read.ok_or(SHORT)
}

/// Count of samples, flags, and the bits behind them.
fn head(data: &[u8]) -> Option<(u16, u8, BitReader<'_>)> {
    let (head, stream) = data.split_first_chunk::<3>()?;
    Some((u16::from_be_bytes([head[0], head[1]]), head[2], BitReader::new(stream)))
}

/// A number that is written as the change of its change.
#[derive(Debug, Clone, Copy, Default)]
struct Twice {
    value: i64,
    step: i64,
}

impl Twice {
    fn read(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        self.step = self.step.wrapping_add(read_int(reader)?);
        self.value = self.value.wrapping_add(self.step);
        Some(())
    }

    fn push(&mut self, writer: &mut BitWriter, value: i64) {
        let step = value.wrapping_sub(self.value);
        push_int(writer, step.wrapping_sub(self.step));
        (self.value, self.step) = (value, step);
    }

    fn start(value: i64) -> Twice {
        Twice { value, step: 0 }
    }
}

fn read_whole(data: &[u8], out: &mut Vec<Timed>) -> Option<()> {
    let (count, flags, mut reader) = head(data)?;
    if count == 0 {
        return Some(());
    }
    let layout = Layout::read(&mut reader, usize::from(count), true)?;
    let mut time = Twice::start(read_int(&mut reader)?);
    let mut total = Twice::start(read_uint(&mut reader)? as i64);
    let mut zero = Twice::start(read_uint(&mut reader)? as i64);
    let mut sum = XorValue::new(f64::from_bits(reader.bits(64)?));
    let mut buckets = Vec::new();
    for at in 0..count {
        if at > 0 {
            time.read(&mut reader)?;
            total.read(&mut reader)?;
            zero.read(&mut reader)?;
            sum.read(&mut reader)?;
        }
        let reset = reset_of(flags, at);
        if hearth_model::sample::is_stale(sum.value) {
            out.push((time.value, Arc::new(layout.stale(sum.value, reset))));
            continue;
        }
        if buckets.is_empty() {
            // The first sample that has any.
            buckets.resize(layout.positive + layout.negative, Twice::default());
            for bucket in &mut buckets {
                *bucket = Twice::start(read_int(&mut reader)?);
            }
        } else {
            for bucket in &mut buckets {
                bucket.read(&mut reader)?;
            }
        }
        let (positive, negative) = buckets.split_at(layout.positive);
        let histogram = Histogram {
            reset,
            zero_count: zero.value as u64 as f64,
            count: total.value as u64 as f64,
            sum: sum.value,
            positive_counts: absolute(positive),
            negative_counts: absolute(negative),
            ..layout.empty.clone()
        };
        out.push((time.value, Arc::new(histogram)));
    }
    Some(())
}

/// Buckets are written as differences to the bucket before.
fn absolute(buckets: &[Twice]) -> Vec<f64> {
    let mut count = 0i64;
    let add = |bucket: &Twice| {
        count = count.wrapping_add(bucket.value);
        count as f64
    };
    buckets.iter().map(add).collect()
}

fn read_floats(data: &[u8], out: &mut Vec<Timed>) -> Option<()> {
    let (count, flags, mut reader) = head(data)?;
    if count == 0 {
        return Some(());
    }
    let layout = Layout::read(&mut reader, usize::from(count), false)?;
    let first = |reader: &mut BitReader<'_>| reader.bits(64).map(|bits| XorValue::new(f64::from_bits(bits)));
    let mut time = Twice::start(read_int(&mut reader)?);
    let (mut total, mut zero) = (first(&mut reader)?, first(&mut reader)?);
    let mut sum = first(&mut reader)?;
    let mut buckets = Vec::new();
    for at in 0..count {
        if at > 0 {
            time.read(&mut reader)?;
            total.read(&mut reader)?;
            zero.read(&mut reader)?;
            sum.read(&mut reader)?;
        }
        let reset = reset_of(flags, at);
        if hearth_model::sample::is_stale(sum.value) {
            out.push((time.value, Arc::new(layout.stale(sum.value, reset))));
            continue;
        }
        if buckets.is_empty() {
            for _ in 0..layout.positive + layout.negative {
                buckets.push(first(&mut reader)?);
            }
        } else {
            for bucket in &mut buckets {
                bucket.read(&mut reader)?;
            }
        }
        let (positive, negative) = buckets.split_at(layout.positive);
        let counts = |buckets: &[XorValue]| buckets.iter().map(|bucket| bucket.value).collect();
        let histogram = Histogram {
            reset,
            zero_count: zero.value,
            count: total.value,
            sum: sum.value,
            positive_counts: counts(positive),
            negative_counts: counts(negative),
            ..layout.empty.clone()
        };
        out.push((time.value, Arc::new(histogram)));
    }
    Some(())
}

/// Whether every count is a whole number that is written as one.
pub fn is_whole(histogram: &Histogram) -> bool {
    let whole = |count: &f64| (0.0..EXACT).contains(count) && count.fract() == 0.0;
    let counts = histogram.positive_counts.iter().chain(&histogram.negative_counts);
    histogram.integer && counts.chain([&histogram.count, &histogram.zero_count]).all(whole)
}

/// How many of the histograms, from the first on and at most `most`, go into one chunk, and as whole counts or
/// not. There is at least one of them.
pub fn run(histograms: &[Timed], most: usize) -> (usize, bool) {
    let first = &histograms[0].1;
    let whole = is_whole(first);
    let pairs = histograms.windows(2).take(most - 1);
    let more = pairs.take_while(|pair| follows(&pair[0].1, &pair[1].1, whole)).count();
    (more + 1, whole)
}

/// Whether `next` may stand behind `before` in a chunk.
fn follows(before: &Histogram, next: &Histogram, whole: bool) -> bool {
    if is_whole(next) != whole {
        return false;
    }
    if before.is_stale() || next.is_stale() {
        // A marker has no layout: nothing but markers comes behind it.
        let gauge = |one: &Histogram| one.reset == CounterReset::Gauge;
        return next.is_stale() && gauge(before) == gauge(next);
    }
    let same_layout = before.schema == next.schema
        && before.zero_threshold.to_bits() == next.zero_threshold.to_bits()
        && before.positive_spans == next.positive_spans
        && before.negative_spans == next.negative_spans
        && before.custom_values == next.custom_values;
    if !same_layout {
        return false;
    }
    match (before.reset, next.reset) {
        (CounterReset::Gauge, CounterReset::Gauge) => true,
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge | CounterReset::Reset) => false,
        _ => !fell(before, next),
    }
}

/// Whether a count is smaller than before: the counter began anew.
fn fell(before: &Histogram, next: &Histogram) -> bool {
    let less = |(before, next): (&f64, &f64)| next < before;
    less((&before.count, &next.count))
        || less((&before.zero_count, &next.zero_count))
        || before.positive_counts.iter().zip(&next.positive_counts).any(less)
        || before.negative_counts.iter().zip(&next.negative_counts).any(less)
}

/// A chunk of histograms that [`run`] found to go together.
pub fn encode(histograms: &[Timed], whole: bool) -> Vec<u8> {
    let Some((start, first)) = histograms.first() else { return vec![0, 0, 0] };
    let count = histograms.len().min(usize::from(u16::MAX)) as u16;
    let [high, low] = count.to_be_bytes();
    let mut writer = BitWriter::after(vec![high, low, flags_of(first.reset)]);
    if first.is_stale() {
        Layout::push(&mut writer, &Histogram { zero_threshold: 0.0, ..Histogram::stale() });
    } else {
        Layout::push(&mut writer, first);
    }
    push_int(&mut writer, *start);
    let histograms = &histograms[..usize::from(count)];
    if whole {
        push_whole(&mut writer, histograms)
    } else {
        push_floats(&mut writer, histograms)
    }
    writer.bytes
}

/// Counts of a side against the bucket before.
fn differences(counts: &[f64]) -> impl Iterator<Item = i64> {
    let mut before = 0i64;
    counts.iter().map(move |count| {
        let difference = *count as i64 - before;
        before = *count as i64;
        difference
    })
}

fn push_whole(writer: &mut BitWriter, histograms: &[Timed]) {
    let (mut time, mut total, mut zero) = (Twice::start(histograms[0].0), Twice::default(), Twice::default());
    let (mut sum, mut buckets) = (XorValue::new(0.0), Vec::<Twice>::new());
    for (at, (timestamp, histogram)) in histograms.iter().enumerate() {
        let stale = histogram.is_stale();
        let (count, zeros) = (histogram.count as i64, histogram.zero_count as i64);
        if at == 0 {
            push_uint(writer, count as u64);
            push_uint(writer, zeros as u64);
            writer.bits(histogram.sum.to_bits(), 64);
            (total, zero, sum) = (Twice::start(count), Twice::start(zeros), XorValue::new(histogram.sum));
        } else {
            time.push(writer, *timestamp);
            if stale {
                // Nobody reads them, and nothing but markers comes behind.
                push_int(writer, 0);
                push_int(writer, 0);
            } else {
                total.push(writer, count);
                zero.push(writer, zeros);
            }
            sum.push(writer, histogram.sum);
        }
        if stale {
            continue;
        }
        let of_both = differences(&histogram.positive_counts).chain(differences(&histogram.negative_counts));
        for (bucket, count) in of_both.enumerate() {
            match buckets.get_mut(bucket) {
                Some(known) => known.push(writer, count),
                None => {
                    push_int(writer, count);
                    buckets.push(Twice::start(count));
                }
            }
        }
    }
}

fn push_floats(writer: &mut BitWriter, histograms: &[Timed]) {
    let mut time = Twice::start(histograms[0].0);
    let mut known = Vec::<XorValue>::new();
    for (at, (timestamp, histogram)) in histograms.iter().enumerate() {
        if at > 0 {
            time.push(writer, *timestamp);
        }
        let buckets = histogram.positive_counts.iter().chain(&histogram.negative_counts);
        let values = [histogram.count, histogram.zero_count, histogram.sum];
        for (place, value) in values.into_iter().chain(buckets.copied()).enumerate() {
            match known.get_mut(place) {
                Some(before) => before.push(writer, value),
                None => {
                    writer.bits(value.to_bits(), 64);
                    known.push(XorValue::new(value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(number: usize, whole: bool) -> impl Strategy<Value = Vec<f64>> {
        let one = (0u32..1000).prop_map(move |n| if whole { f64::from(n) } else { f64::from(n) / 8.0 });
        prop::collection::vec(one, number)
    }

    /// Histograms of one layout, in order of time; some of them markers.
    fn histograms() -> impl Strategy<Value = Vec<Timed>> {
        let threshold =
            prop_oneof![Just(0.0), Just(2f64.powi(-128)), Just(2f64.powi(10)), Just(0.001), any::<f64>()];
        let shape = (any::<bool>(), any::<bool>(), 0usize..5, 0usize..5, -4i32..9, threshold);
        shape.prop_flat_map(|(whole, custom, positive, negative, schema, threshold)| {
            let negative = if custom { 0 } else { negative };
            let sample = (1i64..100_000, counts(positive + negative + 2, whole), any::<u32>(), any::<bool>());
            prop::collection::vec(sample, 1..40).prop_map(move |samples| {
                let span = |length: usize| {
                    vec![Span { offset: 1, length: length as u32 }, Span { offset: 3, length: 0 }]
                };
                let mut time = -5i64;
                let samples = samples.into_iter().map(|(step, counts, sum, grows)| {
                    time += step;
                    let reset = if grows { CounterReset::Unknown } else { CounterReset::Reset };
                    let histogram = Histogram {
                        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { schema },
                        integer: whole,
                        reset,
                        zero_threshold: if custom { 0.0 } else { threshold },
                        zero_count: counts[0],
                        count: counts[1],
                        sum: f64::from(sum) / 3.0,
                        positive_spans: span(positive),
                        negative_spans: span(negative),
                        positive_counts: counts[2..2 + positive].to_vec(),
                        negative_counts: counts[2 + positive..].to_vec(),
                        custom_values: if custom {
                            vec![-1.5, 0.005, 1.0 / 3.0, 2.5, 33_554.43, 1e9]
                        } else {
                            Vec::new()
                        },
                    };
                    if sum % 7 == 0 {
                        (time, Arc::new(Histogram { integer: whole, ..Histogram::stale() }))
                    } else {
                        (time, Arc::new(histogram))
                    }
                });
                samples.collect()
            })
        })
    }

    proptest! {
        #[test]
        fn histograms_read_back(all in histograms()) {
            let (mut rest, mut read) = (&all[..], Vec::new());
            while !rest.is_empty() {
                let (count, whole) = run(rest, 120);
                decode(&encode(&rest[..count], whole), whole, &mut read).expect("it was written so");
                rest = &rest[count..];
            }
            prop_assert_eq!(read.len(), all.len());
            for ((time, read), (expect_time, expect)) in read.iter().zip(&all) {
                prop_assert_eq!(time, expect_time);
                // What is known of resets is known by the chunk; a marker's sum is no number.
                let normal = |one: &Histogram| format!("{:?} {:x}", Histogram { reset: CounterReset::Unknown, sum: 0.0, ..one.clone() }, one.sum.to_bits());
                prop_assert_eq!(normal(read), normal(expect));
                prop_assert!(expect.reset != CounterReset::Reset || expect.is_stale() || read.reset == CounterReset::Reset);
            }
        }

        #[test]
        fn any_bytes_are_histograms_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            let mut out = Vec::new();
            if decode(&bytes, whole, &mut out).is_err() {
                prop_assert!(out.is_empty());
            }
        }
    }
}

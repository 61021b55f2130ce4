//! Native histograms in bytes, one by one (in the log) and as a block's chunks.
//!
//! `schema zigzag | flags u8 (bit 0 integer, bits 1-2 reset) | zero threshold, zero count, count, sum f64 |
//! spans (count varint, then offset zigzag and length varint each), first positive, then negative |
//! bucket counts f64 of both | custom values (count varint, then f64)`
//!
//! A chunk of runs has a chunk of times, then runs of histograms that share their layout, column by column (see
//! [`codec::histograms`](hearth_kernels::codec::histograms)). Where one has more buckets than a run takes, the chunk
//! is one histogram after the other, each behind its time: a zigzag varint, the difference to the time before.

use super::{BadChunk, MAX_CHUNK_SAMPLES};
use crate::bytes::{Reader, push_f64, push_varint, unzigzag, zigzag};
use hearth_kernels::codec::histograms::{self, Layout, RUN_VALUES_MAX, Run, run_samples_max};
use hearth_kernels::codec::{Effort, times};
use hearth_model::{CounterReset, Histogram, Span};
use std::sync::Arc;

/// More buckets or spans than this in one histogram is damage.
const MAX_PARTS: usize = 1 << 20;

pub fn push(out: &mut Vec<u8>, histogram: &Histogram) {
    push_varint(out, zigzag(i64::from(histogram.schema)));
    out.push(u8::from(histogram.integer) | hint(histogram.reset) << 1);
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        push_f64(out, value);
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        push_varint(out, spans.len() as u64);
        for span in spans {
            push_varint(out, zigzag(i64::from(span.offset)));
            push_varint(out, u64::from(span.length));
        }
    }
    histogram.positive_counts.iter().chain(&histogram.negative_counts).for_each(|&c| push_f64(out, c));
    push_varint(out, histogram.custom_values.len() as u64);
    histogram.custom_values.iter().for_each(|&v| push_f64(out, v));
}

fn hint(reset: CounterReset) -> u8 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn reset_of(hint: u8) -> Option<CounterReset> {
    match hint {
        0 => Some(CounterReset::Unknown),
        1 => Some(CounterReset::Reset),
        2 => Some(CounterReset::NotReset),
        3 => Some(CounterReset::Gauge),
        _ => None,
    }
}

fn count(body: &mut Reader<'_>) -> Option<usize> {
    let count = usize::try_from(body.varint()?).ok()?;
    (count <= MAX_PARTS).then_some(count)
}

fn spans(body: &mut Reader<'_>) -> Option<(Vec<Span>, usize)> {
    let (mut spans, mut buckets) = (Vec::new(), 0usize);
    for _ in 0..count(body)? {
        let offset = unzigzag(body.varint()?).try_into().ok()?;
        let length = body.varint_u32()?;
        buckets = buckets.checked_add(length as usize).filter(|b| *b <= MAX_PARTS)?;
        spans.push(Span { offset, length });
    }
    Some((spans, buckets))
}

fn values(body: &mut Reader<'_>, count: usize) -> Option<Vec<f64>> {
    (0..count).map(|_| body.f64()).collect()
}

pub fn read(body: &mut Reader<'_>) -> Option<Histogram> {
    let schema = unzigzag(body.varint()?).try_into().ok()?;
    let flags = body.u8()?;
    let reset = reset_of(flags >> 1)?;
    let (zero_threshold, zero_count) = (body.f64()?, body.f64()?);
    let (count_sum, sum) = (body.f64()?, body.f64()?);
    let (positive_spans, positive) = spans(body)?;
    let (negative_spans, negative) = spans(body)?;
    let (positive_counts, negative_counts) = (values(body, positive)?, values(body, negative)?);
    let customs = count(body)?;
    let custom_values = values(body, customs)?;
    Some(Histogram {
        schema,
        integer: flags & 1 == 1,
        reset,
        zero_threshold,
        zero_count,
        count: count_sum,
        sum,
        positive_spans,
        negative_spans,
        positive_counts,
        negative_counts,
        custom_values,
    })
}

/// A histogram and its time.
pub type Timed = (i64, Arc<Histogram>);

fn buckets(histogram: &Histogram) -> usize {
    histogram.positive_counts.len() + histogram.negative_counts.len()
}

/// How many of these a chunk takes: at most `most`, and no more bucket counts than a run has at most, which bounds
/// what a few bytes can make a reader hold.
pub fn chunk_length(all: &[Timed], most: usize) -> usize {
    let mut room = RUN_VALUES_MAX;
    let fits = |(_, histogram): &&Timed| {
        let fits = buckets(histogram) <= room;
        room = room.saturating_sub(buckets(histogram));
        fits
    };
    all.iter().take(most).take_while(fits).count().max(1)
}

/// Appends the histograms' chunk to `out`: ascending, as many as [`chunk_length`] says. `false`, and nothing done,
/// where one has more buckets than a run takes.
pub fn encode_runs(all: &[Timed], effort: Effort, out: &mut Vec<u8>) -> bool {
    if all.iter().any(|(_, h)| run_samples_max(buckets(h)) == 0) {
        return false;
    }
    times::encode(&all.iter().map(|(time, _)| *time).collect::<Vec<_>>(), out);
    let mut rest = all;
    while let Some((_, first)) = rest.first() {
        let most = run_samples_max(buckets(first));
        let alike = rest.iter().take(most).take_while(|(_, h)| same_layout(first, h)).count();
        let (run, later) = rest.split_at(alike);
        histograms::encode(&run_of(first, run), effort, out);
        rest = later;
    }
    true
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    (a.schema, a.integer, a.zero_threshold.to_bits()) == (b.schema, b.integer, b.zero_threshold.to_bits())
        && (&a.positive_spans, &a.negative_spans) == (&b.positive_spans, &b.negative_spans)
        && bits(&a.custom_values) == bits(&b.custom_values)
}

fn run_of(first: &Histogram, all: &[Timed]) -> Run {
    let spans = |spans: &[Span]| spans.iter().map(|span| (span.offset, span.length)).collect();
    let column = |value: &dyn Fn(&Histogram) -> f64| all.iter().map(|(_, h)| value(h)).collect::<Vec<_>>();
    let mut counts = Vec::with_capacity(all.len() * buckets(first));
    for bucket in 0..first.positive_counts.len() {
        counts.extend(all.iter().map(|(_, h)| h.positive_counts[bucket]));
    }
    for bucket in 0..first.negative_counts.len() {
        counts.extend(all.iter().map(|(_, h)| h.negative_counts[bucket]));
    }
    Run {
        layout: Layout {
            schema: first.schema,
            integer: first.integer,
            zero_threshold: first.zero_threshold,
            positive_spans: spans(&first.positive_spans),
            negative_spans: spans(&first.negative_spans),
            custom_bounds: first.custom_values.clone(),
        },
        hints: all.iter().map(|(_, h)| hint(h.reset)).collect(),
        starts: Vec::new(),
        sum: column(&|h| h.sum),
        zero_count: column(&|h| h.zero_count),
        count: column(&|h| h.count),
        buckets: counts,
    }
}

/// Appends a chunk's histograms to `out`; on an error it is as it was.
pub fn decode_runs(bytes: &[u8], count: usize, out: &mut Vec<Timed>) -> Result<(), BadChunk> {
    let start = out.len();
    let read = append_runs(bytes, count, out);
    if read.is_err() {
        out.truncate(start);
    }
    read
}

fn append_runs(mut bytes: &[u8], count: usize, out: &mut Vec<Timed>) -> Result<(), BadChunk> {
    let (mut all_times, mut run) = (Vec::new(), Run::default());
    let read = times::decode(bytes, &mut all_times).map_err(|_| BadChunk)?;
    if count > MAX_CHUNK_SAMPLES || all_times.len() != count {
        return Err(BadChunk);
    }
    bytes = bytes.get(read..).ok_or(BadChunk)?;
    let (mut times, mut room) = (all_times.as_slice(), RUN_VALUES_MAX);
    while !times.is_empty() {
        let read = histograms::decode(bytes, &mut run).map_err(|_| BadChunk)?;
        room = room.checked_sub(run.buckets.len()).ok_or(BadChunk)?;
        bytes = bytes.get(read..).ok_or(BadChunk)?;
        let (of_run, later) = times.split_at_checked(run.samples()).ok_or(BadChunk)?;
        for (at, time) in of_run.iter().enumerate() {
            out.push((*time, Arc::new(histogram_of(&run, at).ok_or(BadChunk)?)));
        }
        times = later;
    }
    Ok(())
}

fn histogram_of(run: &Run, at: usize) -> Option<Histogram> {
    let spans = |spans: &[(i32, u32)]| {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect::<Vec<_>>()
    };
    let (layout, samples) = (&run.layout, run.samples());
    let mut counts = run.buckets.iter().skip(at).step_by(samples).copied();
    let positive: u64 = layout.positive_spans.iter().map(|(_, length)| u64::from(*length)).sum();
    let positive_counts = counts.by_ref().take(usize::try_from(positive).ok()?).collect();
    Some(Histogram {
        schema: layout.schema,
        integer: layout.integer,
        reset: reset_of(*run.hints.get(at)?)?,
        zero_threshold: layout.zero_threshold,
        zero_count: *run.zero_count.get(at)?,
        count: *run.count.get(at)?,
        sum: *run.sum.get(at)?,
        positive_spans: spans(&layout.positive_spans),
        negative_spans: spans(&layout.negative_spans),
        positive_counts,
        negative_counts: counts.collect(),
        custom_values: layout.custom_bounds.clone(),
    })
}

/// The same one by one, for any number of buckets.
pub fn encode(histograms: &[Timed], out: &mut Vec<u8>) {
    let mut before = 0i64;
    for (time, histogram) in histograms {
        push_varint(out, zigzag(time.wrapping_sub(before)));
        push(out, histogram);
        before = *time;
    }
}

/// Appends a chunk's histograms to `out`; on an error it is as it was.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<Timed>) -> Result<(), BadChunk> {
    if count > MAX_CHUNK_SAMPLES {
        return Err(BadChunk);
    }
    let (start, mut body, mut time) = (out.len(), Reader::new(bytes), 0i64);
    for _ in 0..count {
        let Some((delta, histogram)) = body.varint().and_then(|delta| Some((delta, read(&mut body)?))) else {
            out.truncate(start);
            return Err(BadChunk);
        };
        time = time.wrapping_add(unzigzag(delta));
        out.push((time, Arc::new(histogram)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(random: &mut fastrand::Rng, before: &[f64], buckets: usize) -> Vec<f64> {
        (0..buckets).map(|i| before.get(i).copied().unwrap_or(0.0) + f64::from(random.u8(0..3))).collect()
    }

    /// Another layout than before.
    fn change(random: &mut fastrand::Rng, next: &mut Histogram) {
        let span =
            |random: &mut fastrand::Rng| vec![Span { offset: random.i32(-9..9), length: random.u32(1..5) }];
        next.schema = if random.bool() { random.i32(-4..8) } else { -53 };
        next.integer = random.bool();
        next.zero_threshold = if random.bool() { 2f64.powi(-128) } else { random.f64() };
        next.positive_spans = span(random);
        next.negative_spans = if random.bool() { span(random) } else { Vec::new() };
        next.custom_values = if next.schema == -53 { vec![0.5, -0.0, 3.0] } else { Vec::new() };
    }

    /// Counts that grow, and now and then another layout, a stale marker, odd values.
    fn some(random: &mut fastrand::Rng, samples: usize) -> Vec<Timed> {
        let (mut last, mut out) = (Histogram::stale(), Vec::new());
        for i in 0..samples {
            let mut next = last.clone();
            if i == 0 || random.u8(0..20) == 0 {
                change(random, &mut next);
            }
            let length = |spans: &[Span]| spans.iter().map(|s| s.length as usize).sum();
            next.positive_counts = counts(random, &last.positive_counts, length(&next.positive_spans));
            next.negative_counts = counts(random, &last.negative_counts, length(&next.negative_spans));
            next.zero_count += f64::from(random.u8(0..2));
            next.count =
                next.positive_counts.iter().chain(&next.negative_counts).sum::<f64>() + next.zero_count;
            next.sum = random.f64() * 100.0;
            next.reset =
                [CounterReset::Unknown, CounterReset::NotReset, CounterReset::Gauge][random.usize(0..3)];
            if random.u8(0..30) == 0 {
                next = Histogram::stale();
            } else if random.u8(0..30) == 0 {
                next.count = f64::NAN;
            }
            out.push((i as i64 * 15_000 + random.i64(0..3), Arc::new(next.clone())));
            last = next;
        }
        out
    }

    fn text(all: &[Timed]) -> String {
        let mut out = Vec::new();
        encode(all, &mut out);
        format!("{out:?}")
    }

    #[test]
    fn runs_read_back_to_the_bit() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let samples = random.usize(1..150);
            let all = some(&mut random, samples);
            let (mut bytes, mut read) = (Vec::new(), Vec::new());
            assert_eq!(chunk_length(&all, 1_000), samples);
            assert!(encode_runs(&all, Effort::Small, &mut bytes));
            assert_eq!(decode_runs(&bytes, samples, &mut read), Ok(()), "seed {seed}");
            assert_eq!(text(&read), text(&all), "seed {seed}");
            assert!(decode_runs(&bytes, samples + 1, &mut read).is_err() && read.len() == samples);
            // Any damage is an error or other histograms, and nothing else.
            for _ in 0..50 {
                let mut damaged = bytes.clone();
                let at = random.usize(0..damaged.len());
                damaged[at] ^= 1 << random.u8(0..8);
                damaged.truncate(random.usize(at..damaged.len()) + 1);
                read.clear();
                if decode_runs(&damaged, samples, &mut read).is_err() {
                    assert!(read.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_is_too_wide_for_a_run_stays_by_itself() {
        let wide = |buckets: usize| {
            let spans = vec![Span { offset: 0, length: buckets as u32 }];
            let positive_counts = vec![1.0; buckets];
            (0, Arc::new(Histogram { positive_spans: spans, positive_counts, ..Histogram::stale() }))
        };
        let half = RUN_VALUES_MAX / 2;
        assert_eq!(chunk_length(&[wide(half), wide(half), wide(1)], 128), 2);
        let mut bytes = Vec::new();
        assert_eq!(chunk_length(&[wide(RUN_VALUES_MAX + 1), wide(1)], 128), 1);
        assert!(!encode_runs(&[wide(RUN_VALUES_MAX + 1)], Effort::Small, &mut bytes) && bytes.is_empty());
    }

    #[test]
    fn a_steady_histogram_takes_a_fraction() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut before = Histogram { schema: 3, integer: true, ..Histogram::stale() };
        before.positive_spans = vec![Span { offset: 0, length: 40 }];
        before.sum = 0.0;
        let all: Vec<Timed> = (0..120)
            .map(|i| {
                before.positive_counts = counts(&mut random, &before.positive_counts, 40);
                before.count = before.positive_counts.iter().sum();
                before.sum += 0.25;
                (i * 15_000, Arc::new(before.clone()))
            })
            .collect();
        let (mut runs, mut plain) = (Vec::new(), Vec::new());
        assert!(encode_runs(&all, Effort::Small, &mut runs));
        encode(&all, &mut plain);
        assert!(runs.len() * 20 < plain.len(), "{} bytes instead of {}", runs.len(), plain.len());
    }
}

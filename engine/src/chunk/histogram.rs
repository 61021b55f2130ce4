//! Native histograms in bytes, one by one (in the log) and as a block's chunk.
//!
//! `schema zigzag | flags u8 (bit 0 integer, bits 1-2 reset) | zero threshold, zero count, count, sum f64 |
//! spans (count varint, then offset zigzag and length varint each), first positive, then negative |
//! bucket counts f64 of both | custom values (count varint, then f64)`
//!
//! A chunk is one after the other, each behind its time: a zigzag varint, the difference to the time before.

use super::{BadChunk, MAX_CHUNK_SAMPLES};
use crate::bytes::{Reader, push_f64, push_varint, unzigzag, zigzag};
use hearth_model::{CounterReset, Histogram, Span};
use std::sync::Arc;

/// More buckets or spans than this in one histogram is damage.
const MAX_PARTS: usize = 1 << 20;

pub fn push(out: &mut Vec<u8>, histogram: &Histogram) {
    push_varint(out, zigzag(i64::from(histogram.schema)));
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    out.push(u8::from(histogram.integer) | reset << 1);
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
    let reset = match flags >> 1 {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return None,
    };
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

/// Appends the histograms' chunk to `out`: ascending, at most [`MAX_CHUNK_SAMPLES`].
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

//! Native histograms inside a write request, integer and float.

use super::v1::{Stop, Tally};
use crate::protobuf::{FIXED64, LENGTH, Malformed, Read, Reader, Tag, VARINT, unzigzag};
use hearth_model::{CounterReset, Histogram, Span};

/// Field numbers of the message.
pub(super) mod field {
    pub const COUNT_INT: u8 = 1;
    pub const COUNT_FLOAT: u8 = 2;
    pub const SUM: u8 = 3;
    pub const SCHEMA: u8 = 4;
    pub const ZERO_THRESHOLD: u8 = 5;
    pub const ZERO_COUNT_INT: u8 = 6;
    pub const ZERO_COUNT_FLOAT: u8 = 7;
    pub const NEGATIVE_SPANS: u8 = 8;
    pub const NEGATIVE_DELTAS: u8 = 9;
    pub const NEGATIVE_COUNTS: u8 = 10;
    pub const POSITIVE_SPANS: u8 = 11;
    pub const POSITIVE_DELTAS: u8 = 12;
    pub const POSITIVE_COUNTS: u8 = 13;
    pub const RESET_HINT: u8 = 14;
    pub const TIMESTAMP: u8 = 15;
    pub const CUSTOM_VALUES: u8 = 16;
}

/// Both forms as they come; which of them counts is known at the end only.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    /// Absolute counts. Sums wrap as they do at the sender; what becomes negative is refused by
    /// [`Histogram::validate`].
    fn absolute(&self) -> Vec<f64> {
        let mut sum = 0i64;
        self.deltas
            .iter()
            .map(|delta| {
                sum = sum.wrapping_add(*delta);
                sum as f64
            })
            .collect()
    }
}

/// Scalars of either form.
#[derive(Default)]
struct Scalars {
    float: bool,
    count_int: u64,
    count_float: f64,
    zero_int: u64,
    zero_float: f64,
}

/// Reads one histogram with its time; `tally` bounds what all histograms of a request may hold.
pub(super) fn read(mut message: Reader<'_>, tally: &mut Tally<'_>) -> Result<(i64, Histogram), Stop> {
    let mut h = Histogram { sum: 0.0, ..Histogram::stale() };
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut scalars = Scalars::default();
    let mut timestamp_ms = 0;
    while !message.is_empty() {
        let tag = message.tag()?;
        let Ok(number) = u8::try_from(tag.field) else {
            message.skip(tag)?;
            continue;
        };
        match number {
            field::COUNT_INT => (scalars.float, scalars.count_int) = (false, varint(&mut message, tag)?),
            field::COUNT_FLOAT => (scalars.float, scalars.count_float) = (true, double(&mut message, tag)?),
            field::SUM => h.sum = double(&mut message, tag)?,
            field::SCHEMA => h.schema = unzigzag(varint(&mut message, tag)?) as i32,
            field::ZERO_THRESHOLD => h.zero_threshold = double(&mut message, tag)?,
            field::ZERO_COUNT_INT => scalars.zero_int = varint(&mut message, tag)?,
            field::ZERO_COUNT_FLOAT => scalars.zero_float = double(&mut message, tag)?,
            field::NEGATIVE_SPANS => negative.spans.push(span(&mut message, tag, tally)?),
            field::NEGATIVE_DELTAS => deltas(&mut message, tag, tally, &mut negative.deltas)?,
            field::NEGATIVE_COUNTS => doubles(&mut message, tag, tally, &mut negative.counts)?,
            field::POSITIVE_SPANS => positive.spans.push(span(&mut message, tag, tally)?),
            field::POSITIVE_DELTAS => deltas(&mut message, tag, tally, &mut positive.deltas)?,
            field::POSITIVE_COUNTS => doubles(&mut message, tag, tally, &mut positive.counts)?,
            field::RESET_HINT => h.reset = reset(varint(&mut message, tag)?),
            field::TIMESTAMP => timestamp_ms = varint(&mut message, tag)? as i64,
            field::CUSTOM_VALUES => doubles(&mut message, tag, tally, &mut h.custom_values)?,
            _ => message.skip(tag)?,
        }
    }
    h.integer = !scalars.float;
    if scalars.float {
        (h.count, h.zero_count) = (scalars.count_float, scalars.zero_float);
        (h.positive_counts, h.negative_counts) = (positive.counts, negative.counts);
    } else {
        (h.count, h.zero_count) = (scalars.count_int as f64, scalars.zero_int as f64);
        (h.positive_counts, h.negative_counts) = (positive.absolute(), negative.absolute());
    }
    (h.positive_spans, h.negative_spans) = (positive.spans, negative.spans);
    Ok((timestamp_ms, h))
}

fn varint(message: &mut Reader<'_>, tag: Tag) -> Read<u64> {
    message.expect(tag, VARINT)?;
    message.varint()
}

fn double(message: &mut Reader<'_>, tag: Tag) -> Read<f64> {
    message.expect(tag, FIXED64)?;
    message.fixed64().map(f64::from_bits)
}

/// A hint we do not know is no hint.
fn reset(code: u64) -> CounterReset {
    match code {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

fn span(message: &mut Reader<'_>, tag: Tag, tally: &mut Tally<'_>) -> Result<Span, Stop> {
    message.expect(tag, LENGTH)?;
    tally.buckets(1, message.offset())?;
    let mut inner = message.message()?;
    let mut span = Span { offset: 0, length: 0 };
    while !inner.is_empty() {
        let tag = inner.tag()?;
        match tag.field {
            1 => span.offset = unzigzag(varint(&mut inner, tag)?) as i32,
            2 => span.length = varint(&mut inner, tag)? as u32,
            _ => inner.skip(tag)?,
        }
    }
    Ok(span)
}

/// Repeated scalars come packed into one field or one by one; readers must take both.
fn deltas(message: &mut Reader<'_>, tag: Tag, tally: &mut Tally<'_>, out: &mut Vec<i64>) -> Result<(), Stop> {
    if tag.wire == VARINT {
        tally.buckets(1, message.offset())?;
        out.push(unzigzag(message.varint()?));
        return Ok(());
    }
    message.expect(tag, LENGTH)?;
    let mut packed = message.message()?;
    // Every varint has exactly one byte below 0x80.
    let count = packed.rest().iter().filter(|&&b| b < 0x80).count();
    tally.buckets(count, packed.offset())?;
    out.reserve(count);
    while !packed.is_empty() {
        out.push(unzigzag(packed.varint()?));
    }
    Ok(())
}

fn doubles(
    message: &mut Reader<'_>,
    tag: Tag,
    tally: &mut Tally<'_>,
    out: &mut Vec<f64>,
) -> Result<(), Stop> {
    if tag.wire == FIXED64 {
        tally.buckets(1, message.offset())?;
        out.push(f64::from_bits(message.fixed64()?));
        return Ok(());
    }
    message.expect(tag, LENGTH)?;
    let packed = message.message()?;
    let (values, rest) = packed.rest().as_chunks::<8>();
    if !rest.is_empty() {
        let length = packed.rest().len();
        return Err(packed.fault(Malformed::PackedLength { length }).into());
    }
    tally.buckets(values.len(), packed.offset())?;
    out.extend(values.iter().map(|bits| f64::from_bits(u64::from_le_bytes(*bits))));
    Ok(())
}

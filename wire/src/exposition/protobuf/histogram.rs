//! The native part of a `Histogram` message. Whether it is one, and whether of integers or floats, is known
//! only at its end.

use super::error::{ProtobufError, ProtobufFault, Read};
use super::metric::{double, varint};
use crate::protobuf::{FIXED64, LENGTH, Malformed, Reader, Tag, VARINT, unzigzag};
use hearth_model::{CounterReset, Histogram, Span};

#[derive(Debug, Clone, Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn clear(&mut self) {
        self.spans.clear();
        self.deltas.clear();
        self.counts.clear();
    }

    /// Counts as they are meant. Sums wrap as they do at Prometheus; a negative one is refused later.
    fn absolute(&self, float: bool) -> Vec<f64> {
        if float {
            return self.counts.clone();
        }
        let mut sum = 0i64;
        let add = |delta: &i64| {
            sum = sum.wrapping_add(*delta);
            sum as f64
        };
        self.deltas.iter().map(add).collect()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Native {
    count: u64,
    count_float: f64,
    pub sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    positive: Side,
    negative: Side,
}

impl Native {
    pub fn clear(&mut self) {
        let (mut positive, mut negative) =
            (std::mem::take(&mut self.positive), std::mem::take(&mut self.negative));
        positive.clear();
        negative.clear();
        *self = Native { positive, negative, ..Native::default() };
    }

    /// What tells a native histogram from a classic one; one without observations has an empty span.
    pub fn is_native(&self) -> bool {
        let spans = !self.positive.spans.is_empty() || !self.negative.spans.is_empty();
        spans || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    pub fn classic_count(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// The histogram, without its empty buckets.
    pub fn take(&self, gauge: bool) -> Histogram {
        let float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let mut histogram = Histogram {
            schema: self.schema,
            integer: !float,
            reset: if gauge { CounterReset::Gauge } else { CounterReset::Unknown },
            zero_threshold: self.zero_threshold,
            zero_count: if float { self.zero_count_float } else { self.zero_count as f64 },
            count: if float { self.count_float } else { self.count as f64 },
            sum: self.sum,
            positive_spans: self.positive.spans.clone(),
            negative_spans: self.negative.spans.clone(),
            positive_counts: self.positive.absolute(float),
            negative_counts: self.negative.absolute(float),
            custom_values: Vec::new(),
        };
        histogram.compact(0);
        histogram
    }

    /// Reads one field of the message, or steps over one that nobody knows.
    pub fn field(&mut self, fields: &mut Reader<'_>, tag: Tag, limit: usize) -> Read<()> {
        match tag.field {
            1 => self.count = varint(fields, tag)?,
            2 => self.sum = double(fields, tag)?,
            4 => self.count_float = double(fields, tag)?,
            5 => self.schema = unzigzag(varint(fields, tag)?) as i32,
            6 => self.zero_threshold = double(fields, tag)?,
            7 => self.zero_count = varint(fields, tag)?,
            8 => self.zero_count_float = double(fields, tag)?,
            9 => self.negative.spans.push(span(fields, tag)?),
            10 => deltas(fields, tag, &mut self.negative.deltas)?,
            11 => doubles(fields, tag, &mut self.negative.counts)?,
            12 => self.positive.spans.push(span(fields, tag)?),
            13 => deltas(fields, tag, &mut self.positive.deltas)?,
            14 => doubles(fields, tag, &mut self.positive.counts)?,
            _ => return Ok(fields.skip(tag)?),
        }
        let held = |side: &Side| side.spans.len() + side.deltas.len() + side.counts.len();
        if held(&self.positive) + held(&self.negative) > limit {
            let what = ProtobufFault::Limit { name: "histogram buckets", limit };
            return Err(ProtobufError::at(fields.offset(), what));
        }
        Ok(())
    }
}

fn span(fields: &mut Reader<'_>, tag: Tag) -> Read<Span> {
    fields.expect(tag, LENGTH)?;
    let mut inner = fields.message()?;
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

/// Repeated numbers come packed into one field or one by one; readers must take both.
fn deltas(fields: &mut Reader<'_>, tag: Tag, out: &mut Vec<i64>) -> Read<()> {
    if tag.wire == VARINT {
        out.push(unzigzag(fields.varint()?));
        return Ok(());
    }
    fields.expect(tag, LENGTH)?;
    let mut packed = fields.message()?;
    while !packed.is_empty() {
        out.push(unzigzag(packed.varint()?));
    }
    Ok(())
}

fn doubles(fields: &mut Reader<'_>, tag: Tag, out: &mut Vec<f64>) -> Read<()> {
    if tag.wire == FIXED64 {
        out.push(f64::from_bits(fields.fixed64()?));
        return Ok(());
    }
    fields.expect(tag, LENGTH)?;
    let packed = fields.message()?;
    let (values, rest) = packed.rest().as_chunks::<8>();
    if !rest.is_empty() {
        return Err(packed.fault(Malformed::PackedLength { length: packed.rest().len() }).into());
    }
    out.extend(values.iter().map(|bits| f64::from_bits(u64::from_le_bytes(*bits))));
    Ok(())
}

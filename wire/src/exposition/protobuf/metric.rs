//! One `Metric` message, read into memory that the next one uses again. Of the value messages only the one
//! that the family's type names is read.

use super::error::{ProtobufError, ProtobufFault, Read};
use super::histogram::Native;
use super::{Histograms, Kind, Part};
use crate::config::Limits;
use crate::protobuf::{FIXED64, LENGTH, Reader, Tag, VARINT};
use hearth_model::Labels;
use hearth_model::batch::Exemplar;

/// A bucket (cumulative) or a quantile.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub bound: f64,
    pub value: f64,
    pub exemplar: Option<ExemplarMessage<'a>>,
}

#[derive(Debug, Clone)]
pub(super) struct ExemplarMessage<'a> {
    pub labels: Vec<(&'a str, &'a str)>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Metric<'a> {
    pub labels: Vec<(&'a str, &'a str)>,
    /// 0: not given.
    pub timestamp_ms: i64,
    pub created_ms: Option<i64>,
    /// Of a counter, gauge or untyped metric.
    pub value: f64,
    /// Of a counter (one at most) or a native histogram.
    pub exemplars: Vec<ExemplarMessage<'a>>,
    /// Of a summary or histogram, as the fields.
    pub count: f64,
    pub sum: f64,
    pub fields: Vec<Field<'a>>,
    pub native: Native,
}

/// Bounds on what one metric may hold.
struct Room {
    labels: usize,
    label_bytes: usize,
    exemplars: usize,
    buckets: usize,
}

fn over(offset: usize, name: &'static str, limit: usize) -> ProtobufError {
    ProtobufError::at(offset, ProtobufFault::Limit { name, limit })
}

/// Text of a length-delimited field.
pub(super) fn text<'a>(fields: &mut Reader<'a>, tag: Tag, what: &'static str) -> Read<&'a str> {
    fields.expect(tag, LENGTH)?;
    let offset = fields.offset();
    let range = fields.range()?;
    let bytes = &fields.whole()[range];
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::at(offset, ProtobufFault::NotUtf8(what)))
}

pub(super) fn double(fields: &mut Reader<'_>, tag: Tag) -> Read<f64> {
    fields.expect(tag, FIXED64)?;
    Ok(f64::from_bits(fields.fixed64()?))
}

pub(super) fn varint(fields: &mut Reader<'_>, tag: Tag) -> Read<u64> {
    fields.expect(tag, VARINT)?;
    Ok(fields.varint()?)
}

fn message<'a>(fields: &mut Reader<'a>, tag: Tag) -> Read<Reader<'a>> {
    fields.expect(tag, LENGTH)?;
    Ok(fields.message()?)
}

/// `google.protobuf.Timestamp`, cut to milliseconds; sums wrap as they do at Prometheus.
fn time_ms(mut fields: Reader<'_>) -> Read<i64> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    while !fields.is_empty() {
        let tag = fields.tag()?;
        match tag.field {
            1 => seconds = varint(&mut fields, tag)? as i64,
            2 => nanos = varint(&mut fields, tag)? as i32,
            _ => fields.skip(tag)?,
        }
    }
    Ok(seconds.wrapping_mul(1_000).wrapping_add(i64::from(nanos / 1_000_000)))
}

fn label<'a>(mut fields: Reader<'a>) -> Read<(&'a str, &'a str)> {
    let (mut name, mut value) = ("", "");
    while !fields.is_empty() {
        let tag = fields.tag()?;
        match tag.field {
            1 => name = text(&mut fields, tag, "label name")?,
            2 => value = text(&mut fields, tag, "label value")?,
            _ => fields.skip(tag)?,
        }
    }
    Ok((name, value))
}

fn exemplar<'a>(mut fields: Reader<'a>, room: &Room) -> Read<ExemplarMessage<'a>> {
    let mut out = ExemplarMessage { labels: Vec::new(), value: 0.0, timestamp_ms: None };
    while !fields.is_empty() {
        let tag = fields.tag()?;
        match tag.field {
            1 => {
                out.labels.push(label(message(&mut fields, tag)?)?);
                if out.labels.len() > room.labels {
                    return Err(over(fields.offset(), "labels of an exemplar", room.labels));
                }
            }
            2 => out.value = double(&mut fields, tag)?,
            3 => out.timestamp_ms = Some(time_ms(message(&mut fields, tag)?)?),
            _ => fields.skip(tag)?,
        }
    }
    Ok(out)
}

impl ExemplarMessage<'_> {
    /// With that time where it has none of its own.
    pub fn exemplar(&self, default_ms: i64) -> Exemplar {
        let labels = Labels::from_pairs(self.labels.iter().copied());
        Exemplar { timestamp_ms: self.timestamp_ms.unwrap_or(default_ms), value: self.value, labels }
    }
}

/// Field numbers of the value messages, which share most.
pub(super) fn value_field(kind: Kind) -> u32 {
    match kind {
        Kind::Gauge => 2,
        Kind::Counter => 3,
        Kind::Summary => 4,
        Kind::Untyped => 5,
        Kind::Histogram | Kind::GaugeHistogram => 7,
    }
}

impl<'a> Metric<'a> {
    fn clear(&mut self) {
        self.labels.clear();
        self.exemplars.clear();
        self.fields.clear();
        (self.timestamp_ms, self.created_ms) = (0, None);
        (self.value, self.count, self.sum) = (0.0, 0.0, 0.0);
        self.native.clear();
    }

    /// The time of its samples, where it has one.
    pub fn time_ms(&self) -> Option<i64> {
        (self.timestamp_ms != 0).then_some(self.timestamp_ms)
    }

    /// What comes out of it first.
    pub fn first_part(&self, kind: Kind, histograms: Histograms) -> Part {
        match kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped => Part::Value,
            Kind::Histogram | Kind::GaugeHistogram if histograms.native && self.native.is_native() => {
                Part::Native
            }
            Kind::Summary | Kind::Histogram | Kind::GaugeHistogram => Part::Count,
        }
    }

    pub fn part_after(&self, kind: Kind, part: Part, histograms: Histograms) -> Part {
        let fields = &self.fields;
        match part {
            Part::Native if histograms.always_classic && !fields.is_empty() => Part::Count,
            Part::Count => Part::Sum,
            // A histogram has a last bucket even where it was not written.
            Part::Sum if kind.is_histogram() || !fields.is_empty() => Part::Field(0),
            Part::Field(i) if kind.is_histogram() => match fields.get(i) {
                Some(field) if field.bound != f64::INFINITY => Part::Field(i + 1),
                _ => Part::End,
            },
            Part::Field(i) if i + 1 < fields.len() => Part::Field(i + 1),
            _ => Part::End,
        }
    }

    /// What that part says; not of a native histogram.
    pub fn value_of(&self, part: Part) -> (f64, Option<&ExemplarMessage<'a>>) {
        match part {
            Part::Count => (self.count, None),
            Part::Sum => (self.sum, None),
            Part::Field(i) => match self.fields.get(i) {
                Some(field) => (field.value, field.exemplar.as_ref()),
                None => (self.count, None),
            },
            _ => (self.value, self.exemplars.first()),
        }
    }

    /// Those of a native histogram: its own, or else those of its classic buckets; only with a time of their own can they
    /// be told from those of the last scrape.
    pub fn native_exemplars(&self) -> impl Iterator<Item = Exemplar> {
        let own = if self.exemplars.is_empty() { None } else { Some(self.exemplars.iter()) };
        let of_buckets = if own.is_some() { &[][..] } else { &self.fields };
        let of_buckets = of_buckets.iter().filter_map(|field| field.exemplar.as_ref());
        let chosen = own.into_iter().flatten().chain(of_buckets);
        chosen.filter(|exemplar| exemplar.timestamp_ms.is_some()).map(|exemplar| exemplar.exemplar(0))
    }

    /// Replaces what is here by the message.
    pub fn read(&mut self, mut fields: Reader<'a>, kind: Kind, limits: &Limits) -> Read<()> {
        self.clear();
        let room = Room {
            labels: limits.series_labels,
            label_bytes: limits.series_label_bytes,
            exemplars: limits.request_exemplars,
            buckets: limits.request_buckets,
        };
        let mut label_bytes = 0;
        while !fields.is_empty() {
            let tag = fields.tag()?;
            match tag.field {
                1 => {
                    let (name, value) = label(message(&mut fields, tag)?)?;
                    label_bytes += name.len() + value.len();
                    self.labels.push((name, value));
                    if self.labels.len() > room.labels {
                        return Err(over(fields.offset(), "labels of a series", room.labels));
                    }
                    if label_bytes > room.label_bytes {
                        return Err(over(fields.offset(), "bytes of a series' labels", room.label_bytes));
                    }
                }
                6 => self.timestamp_ms = varint(&mut fields, tag)? as i64,
                field if field == value_field(kind) => {
                    let value = message(&mut fields, tag)?;
                    match kind {
                        Kind::Summary => self.summary(value, &room)?,
                        Kind::Histogram | Kind::GaugeHistogram => self.histogram(value, &room)?,
                        _ => self.simple(value, &room)?,
                    }
                }
                _ => fields.skip(tag)?,
            }
        }
        Ok(())
    }

    /// Counter, gauge, untyped: gauges have no fields 2 and 3.
    fn simple(&mut self, mut fields: Reader<'a>, room: &Room) -> Read<()> {
        while !fields.is_empty() {
            let tag = fields.tag()?;
            match tag.field {
                1 => self.value = double(&mut fields, tag)?,
                2 => {
                    self.exemplars.clear();
                    self.exemplars.push(exemplar(message(&mut fields, tag)?, room)?);
                }
                3 => self.created_ms = Some(time_ms(message(&mut fields, tag)?)?),
                _ => fields.skip(tag)?,
            }
        }
        Ok(())
    }

    fn push_field(&mut self, field: Field<'a>, offset: usize, room: &Room) -> Read<()> {
        self.fields.push(field);
        if self.fields.len() > room.buckets {
            return Err(over(offset, "buckets or quantiles", room.buckets));
        }
        Ok(())
    }

    fn summary(&mut self, mut fields: Reader<'a>, room: &Room) -> Read<()> {
        while !fields.is_empty() {
            let tag = fields.tag()?;
            match tag.field {
                1 => self.count = varint(&mut fields, tag)? as f64,
                2 => self.sum = double(&mut fields, tag)?,
                3 => {
                    let mut inner = message(&mut fields, tag)?;
                    let mut quantile = Field { bound: 0.0, value: 0.0, exemplar: None };
                    while !inner.is_empty() {
                        let tag = inner.tag()?;
                        match tag.field {
                            1 => quantile.bound = double(&mut inner, tag)?,
                            2 => quantile.value = double(&mut inner, tag)?,
                            _ => inner.skip(tag)?,
                        }
                    }
                    self.push_field(quantile, fields.offset(), room)?;
                }
                4 => self.created_ms = Some(time_ms(message(&mut fields, tag)?)?),
                _ => fields.skip(tag)?,
            }
        }
        Ok(())
    }

    fn histogram(&mut self, mut fields: Reader<'a>, room: &Room) -> Read<()> {
        while !fields.is_empty() {
            let tag = fields.tag()?;
            match tag.field {
                3 => {
                    let bucket = bucket(message(&mut fields, tag)?, room)?;
                    self.push_field(bucket, fields.offset(), room)?;
                }
                15 => self.created_ms = Some(time_ms(message(&mut fields, tag)?)?),
                16 => {
                    self.exemplars.push(exemplar(message(&mut fields, tag)?, room)?);
                    if self.exemplars.len() > room.exemplars {
                        return Err(over(fields.offset(), "exemplars", room.exemplars));
                    }
                }
                _ => self.native.field(&mut fields, tag, room.buckets)?,
            }
        }
        self.count = self.native.classic_count();
        self.sum = self.native.sum;
        Ok(())
    }
}

/// A float count wins where it is not zero, as everywhere in this message.
fn bucket<'a>(mut fields: Reader<'a>, room: &Room) -> Read<Field<'a>> {
    let mut out = Field { bound: 0.0, value: 0.0, exemplar: None };
    let (mut whole, mut float) = (0u64, 0.0);
    while !fields.is_empty() {
        let tag = fields.tag()?;
        match tag.field {
            1 => whole = varint(&mut fields, tag)?,
            2 => out.bound = double(&mut fields, tag)?,
            3 => out.exemplar = Some(exemplar(message(&mut fields, tag)?, room)?),
            4 => float = double(&mut fields, tag)?,
            _ => fields.skip(tag)?,
        }
    }
    out.value = if float == 0.0 { whole as f64 } else { float };
    Ok(out)
}

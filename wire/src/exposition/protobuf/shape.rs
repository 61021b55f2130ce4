//! What stays the same from one protobuf page of a target to the next: families with their metadata, and the labels of
//! each metric. A page of the shape of the one before is read by comparing these bytes, and nothing of it is parsed but
//! its values.
//!
//! Only pages whose families are their own fields, then metrics, then at most fields that are no metrics each have a
//! shape, and only metrics whose labels come first: as all known libraries write them.

use super::metric::{Metric, value_field};
use super::{Entry, Histograms, Kind, Part, ProtobufParser, family_of};
use crate::config::Limits;
use crate::exposition::Readings;
use crate::protobuf::{LENGTH, Reader};
use hearth_model::Histogram;
use hearth_model::batch::Exemplar;
use std::ops::Range;

/// See the module's head. What [`ProtobufShape::read`] accepts, a [`ProtobufParser`] reads as the same samples.
#[derive(Debug, Default, PartialEq)]
pub struct ProtobufShape {
    histograms: Histograms,
    /// Of each family what stands before and behind its metrics, of each metric its labels.
    bytes: Vec<u8>,
    families: Vec<Family>,
    metrics: Vec<Fixed>,
    /// Bounds of buckets and quantiles.
    bounds: Vec<u64>,
    /// The series of the page, as [`ProtobufParser`] gives them out, one after the other, and where each ends.
    series: Vec<u8>,
    ends: Vec<u32>,
    /// Whether each has a time; empty where none has.
    timed: Vec<bool>,
}

#[derive(Debug, PartialEq)]
struct Family {
    kind: Kind,
    head: Range<u32>,
    tail: Range<u32>,
    metrics: u32,
}

/// What stays the same of a metric.
#[derive(Debug, PartialEq)]
struct Fixed {
    labels: Range<u32>,
    bounds: Range<u32>,
    native: bool,
    timed: bool,
}

/// What a page has beside floats, each with the number of its series.
#[derive(Debug, Default, PartialEq)]
pub struct Beside {
    pub histograms: Vec<(u32, i64, Histogram)>,
    pub exemplars: Vec<(u32, Exemplar)>,
}

/// A part of the bytes that go by numbers of 32 bits.
fn part<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    &bytes[range.start as usize..range.end as usize]
}

impl ProtobufShape {
    /// Of a page that parses; `None` where it has none. `each` gets every entry, in the order of the page, and may say
    /// that it does not want a shape of that.
    pub fn of(
        body: &[u8],
        histograms: Histograms,
        limits: &Limits,
        mut each: impl FnMut(&Entry<'_>) -> bool,
    ) -> Option<ProtobufShape> {
        let mut shape = ProtobufShape { histograms, ..ProtobufShape::default() };
        u32::try_from(body.len()).ok()?;
        let mut parser = ProtobufParser::new(body, histograms, limits);
        loop {
            let entry = parser.next().ok()?;
            if !each(&entry) {
                return None;
            }
            let (series, timed) = match entry {
                Entry::Eof => break,
                Entry::Sample(line) => (line.series, line.timestamp_ms.is_some()),
                Entry::Histogram(line) => (line.series, line.timestamp_ms.is_some()),
                _ => continue,
            };
            shape.series.extend_from_slice(series);
            shape.ends.push(u32::try_from(shape.series.len()).ok()?);
            shape.timed.push(timed);
        }
        if !shape.timed.contains(&true) {
            shape.timed = Vec::new();
        }
        let mut families = Reader::new(body);
        let mut entries = 0;
        while !families.is_empty() {
            entries += shape.add_family(families.message().ok()?, limits)?;
        }
        shape.shrink();
        (entries == shape.len()).then_some(shape)
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.families.shrink_to_fit();
        self.metrics.shrink_to_fit();
        self.bounds.shrink_to_fit();
        self.series.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.timed.shrink_to_fit();
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len() as u32
    }

    /// The number of its entries.
    fn add_family(&mut self, message: Reader<'_>, limits: &Limits) -> Option<usize> {
        let kind = family_of(message).ok()??.kind;
        let (mut fields, start) = (message, message.offset());
        let (mut head, mut behind, mut metrics, mut entries) = (None, start, 0, 0);
        while !fields.is_empty() {
            let at = fields.offset();
            let tag = fields.tag().ok()?;
            if tag.field != METRIC {
                fields.skip(tag).ok()?;
                continue;
            }
            // Nothing stands between two metrics.
            match head {
                None => head = Some(self.keep(&message.whole()[start..at])),
                Some(_) => (at == behind).then_some(())?,
            }
            entries += self.add_metric(fields.message().ok()?, kind, limits)?;
            (behind, metrics) = (fields.offset(), metrics + 1);
        }
        let tail = self.keep(&message.whole()[behind..]);
        self.families.push(Family { kind, head: head?, tail, metrics });
        Some(entries)
    }

    fn add_metric(&mut self, message: Reader<'_>, kind: Kind, limits: &Limits) -> Option<usize> {
        let (mut fields, mut values) = (message, message);
        while !fields.is_empty() && fields.tag().ok()?.field == LABEL {
            fields.message().ok()?;
            values = fields;
        }
        let labels = self.keep(&message.whole()[message.offset()..values.offset()]);
        let mut metric = Metric::default();
        metric.read(values, kind, limits).ok()?;
        metric.labels.is_empty().then_some(())?;
        let start = self.bounds.len() as u32;
        self.bounds.extend(metric.fields.iter().map(|field| field.bound.to_bits()));
        let (mut part, mut entries) = (metric.first_part(kind, self.histograms), 0);
        let native = part == Part::Native;
        while part != Part::End {
            entries += 1;
            part = metric.part_after(kind, part, self.histograms);
        }
        let bounds = start..self.bounds.len() as u32;
        self.metrics.push(Fixed { labels, bounds, native, timed: metric.time_ms().is_some() });
        Some(entries)
    }

    /// Samples and native histograms of a page.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn series_at(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.series[start..self.ends[number] as usize]
    }

    /// Whether that series has a time.
    pub fn has_time(&self, number: usize) -> bool {
        self.timed.get(number) == Some(&true)
    }

    /// Reads a page of this shape; a native histogram has any value. `None` where it has another one, or is not valid:
    /// what is read is then a part of it.
    pub fn read(&self, body: &[u8], limits: &Limits, into: &mut Readings<'_>) -> Option<Beside> {
        into.values.reserve(self.len());
        let (mut page, mut beside, mut metrics) = (Reader::new(body), Beside::default(), self.metrics.iter());
        let mut metric = Metric::default();
        for family in &self.families {
            let mut fields = page.message().ok()?;
            fields.rest().starts_with(part(&self.bytes, &family.head)).then_some(())?;
            fields.advance(part(&self.bytes, &family.head).len());
            for fixed in metrics.by_ref().take(family.metrics as usize) {
                let tag = fields.tag().ok()?;
                (tag.field == METRIC && tag.wire == LENGTH).then_some(())?;
                let mut message = fields.message().ok()?;
                let labels = part(&self.bytes, &fixed.labels);
                message.rest().starts_with(labels).then_some(())?;
                message.advance(labels.len());
                match simple_value(message.rest(), family.kind) {
                    Some(value) if !fixed.timed => into.push_value(!self.timed.is_empty(), value),
                    _ => {
                        metric.read(message, family.kind, limits).ok()?;
                        self.take(&metric, family.kind, fixed, into, &mut beside)?;
                    }
                }
            }
            (fields.rest() == part(&self.bytes, &family.tail)).then_some(())?;
        }
        page.is_empty().then_some(beside)
    }

    /// What a metric says that was read without its labels.
    fn take(
        &self,
        metric: &Metric<'_>,
        kind: Kind,
        fixed: &Fixed,
        into: &mut Readings<'_>,
        beside: &mut Beside,
    ) -> Option<()> {
        let bounds = &self.bounds[fixed.bounds.start as usize..fixed.bounds.end as usize];
        let same = metric.fields.iter().map(|field| field.bound.to_bits()).eq(bounds.iter().copied());
        let mut part = metric.first_part(kind, self.histograms);
        let shaped = metric.labels.is_empty()
            && same
            && (part == Part::Native) == fixed.native
            && metric.time_ms().is_some() == fixed.timed;
        shaped.then_some(())?;
        let time_ms = metric.time_ms().unwrap_or(into.at_ms);
        while part != Part::End {
            let number = into.values.len() as u32;
            let (value, exemplar) = metric.value_of(part);
            if part == Part::Native {
                beside.histograms.push((number, time_ms, metric.native.take(kind == Kind::GaugeHistogram)));
                beside.exemplars.extend(metric.native_exemplars().map(|exemplar| (number, exemplar)));
            } else if let Some(exemplar) = exemplar {
                beside.exemplars.push((number, exemplar.exemplar(time_ms)));
            }
            into.push_value_at(!self.timed.is_empty(), value, time_ms);
            part = metric.part_after(kind, part, self.histograms);
        }
        Some(())
    }
}

/// Field number of a family's metrics.
const METRIC: u32 = 4;
/// Field number of a metric's labels.
const LABEL: u32 = 1;

/// The value of a metric behind its labels, where it is nothing but one of a counter, gauge or untyped.
#[inline]
fn simple_value(bytes: &[u8], kind: Kind) -> Option<f64> {
    const DOUBLE: u8 = 1 << 3 | 1;
    if !matches!(kind, Kind::Counter | Kind::Gauge | Kind::Untyped) {
        return None;
    }
    let tag = (value_field(kind) as u8) << 3 | LENGTH;
    let (head, value) = bytes.split_first_chunk::<3>()?;
    let value: [u8; 8] = value.try_into().ok()?;
    (*head == [tag, 9, DOUBLE]).then(|| f64::from_le_bytes(value))
}

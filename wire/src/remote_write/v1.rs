//! The walk over a remote-write 1.0 message (`prometheus.WriteRequest`).
//!
//! 1. Of each series, hop over the labels, which senders put first and in one run: that run is the key.
//! 2. Take the samples that are written in full (18 bytes), which nearly all are.
//! 3. Whatever else there is, field by field, in any order; labels that do not lie in one run are
//!    remembered, and copied together behind the message once it has been walked.
//!
//! Never looks into a label, and never copies one that lies in its run.

use super::{Summary, histogram};
use crate::config::Limits;
use crate::metadata::{Metadata, MetricType};
use crate::protobuf::{FIXED64, Fault, LENGTH, Reader, Tag, VARINT};
use hearth_model::batch::{BatchSeries, Exemplar};
use hearth_model::{Labels, Sample, WriteBatch};
use std::ops::Range;

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Limit { offset: usize, name: &'static str, limit: usize },
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

#[derive(Debug)]
struct MetadataEntry {
    metric_type: MetricType,
    family: Range<usize>,
    help: Range<usize>,
    unit: Range<usize>,
}

/// Series whose labels lie in several places.
#[derive(Debug)]
struct Scattered {
    series: usize,
    pieces: Range<usize>,
}

/// Memory kept between walks.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    metadata: Vec<MetadataEntry>,
    scattered: Vec<Scattered>,
    pieces: Vec<Range<usize>>,
}

/// Entries each scratch list keeps room for, so that one strange request does not hold memory for good.
const KEPT_ENTRIES: usize = 4_096;

impl Scratch {
    pub fn clear(&mut self) {
        self.metadata.clear();
        self.metadata.shrink_to(KEPT_ENTRIES);
        self.scattered.clear();
        self.scattered.shrink_to(KEPT_ENTRIES);
        self.pieces.clear();
        self.pieces.shrink_to(KEPT_ENTRIES);
    }

    pub fn metadata<'a>(&'a self, keys: &'a [u8]) -> impl Iterator<Item = Metadata<'a>> {
        // Checked when it was decoded; a caller that hands in another batch gets nothing.
        let text = |range: &Range<usize>| std::str::from_utf8(keys.get(range.clone())?).ok();
        self.metadata.iter().filter_map(move |entry| {
            Some(Metadata {
                metric_type: entry.metric_type,
                family: text(&entry.family)?,
                help: text(&entry.help)?,
                unit: text(&entry.unit)?,
            })
        })
    }
}

/// Counts what grows in memory, against the limits.
pub(super) struct Tally<'l> {
    limits: &'l Limits,
    buckets: usize,
}

impl Tally<'_> {
    pub fn buckets(&mut self, more: usize, offset: usize) -> Result<(), Stop> {
        self.buckets += more;
        check(self.buckets, self.limits.request_buckets, "histogram buckets", offset)
    }
}

#[inline(always)]
fn check(count: usize, limit: usize, name: &'static str, offset: usize) -> Result<(), Stop> {
    if count > limit { Err(Stop::Limit { offset, name, limit }) } else { Ok(()) }
}

struct Walk<'a> {
    limits: &'a Limits,
    tally: Tally<'a>,
    scratch: &'a mut Scratch,
    batch: &'a mut WriteBatch,
    summary: Summary,
    places: Places,
}

/// Walks the message in `keys` and fills the batch's columns; appends scattered labels to `keys`.
pub(super) fn walk(
    keys: &mut Vec<u8>,
    limits: &Limits,
    scratch: &mut Scratch,
    batch: &mut WriteBatch,
) -> Result<Summary, Stop> {
    scratch.clear();
    let tally = Tally { limits, buckets: 0 };
    let mut walk =
        Walk { limits, tally, scratch, batch, summary: Summary::default(), places: Places::default() };
    let mut message = Reader::new(keys);
    while !message.is_empty() {
        let tag = message.tag()?;
        match tag.field {
            1 => {
                message.expect(tag, LENGTH)?;
                walk.series(message.message()?)?;
            }
            3 => {
                message.expect(tag, LENGTH)?;
                walk.metadata(message.message()?, keys)?;
            }
            _ => message.skip(tag)?,
        }
    }
    let mut summary = walk.summary;
    gather(keys, scratch, batch);
    summary.series = batch.series.len();
    summary.samples = batch.samples.len();
    summary.histograms = batch.histograms.len();
    summary.exemplars = batch.exemplars.len();
    summary.metadata = scratch.metadata.len();
    Ok(summary)
}

/// Copies scattered labels behind the message, so that each key is one range.
fn gather(keys: &mut Vec<u8>, scratch: &mut Scratch, batch: &mut WriteBatch) {
    for scattered in &scratch.scattered {
        let start = keys.len();
        for piece in &scratch.pieces[scattered.pieces.clone()] {
            keys.extend_from_within(piece.clone());
        }
        batch.series[scattered.series].key = start as u32..keys.len() as u32;
    }
}

/// The labels of one series, as far as they have been seen.
struct LabelRun {
    range: Range<usize>,
    /// Bytes in earlier runs.
    before_bytes: usize,
    /// Where this series' earlier runs start within [`Scratch::pieces`].
    pieces_start: usize,
}

impl LabelRun {
    /// Adds labels; `false` where they lie in more places than a series may have labels.
    #[inline(always)]
    fn extend(&mut self, labels: Range<usize>, pieces: &mut Vec<Range<usize>>, limits: &Limits) -> bool {
        if self.range.end != labels.start {
            if !self.range.is_empty() {
                self.before_bytes += self.range.len();
                pieces.push(self.range.clone());
            }
            self.range.start = labels.start;
        }
        self.range.end = labels.end;
        pieces.len() - self.pieces_start <= limits.series_labels
    }

    fn bytes(&self) -> usize {
        self.before_bytes + self.range.len()
    }
}

const LABEL_TAG: u8 = 1 << 3 | LENGTH;
const SAMPLE_TAG: u8 = 2 << 3 | LENGTH;

/// Labels whose places are remembered.
const PLACES: usize = 32;

/// Where the labels of the series before stood, and how long they were. Most series differ from the one before in
/// what labels say and not in their lengths: then all places can be looked at without waiting for one another, which
/// makes the whole walk a quarter shorter than going from length to length.
#[derive(Default)]
struct Places {
    /// For each label where it begins, and its tag and length as they stand there.
    labels: [(u16, u16); PLACES],
    count: usize,
    /// Where the last of them ends.
    end: usize,
}

impl Places {
    /// Bytes of the labels at the start of `bytes`, as far as each is shorter than 128 bytes. This is most of the walk.
    #[inline(always)]
    fn label_run(&mut self, bytes: &[u8]) -> usize {
        let (mut same, mut at) = (0, 0);
        if self.end <= bytes.len() {
            let head = |at: u16| bytes[usize::from(at)..].first_chunk().map(|head| u16::from_le_bytes(*head));
            same =
                self.labels[..self.count].iter().take_while(|label| head(label.0) == Some(label.1)).count();
            at = if same == self.count { self.end } else { self.labels[same].0.into() };
        }
        self.end = at;
        let (mut count, last) = (same, bytes.len().saturating_sub(1));
        while at < last {
            // One load, and one comparison for the tag and the length's top bit together.
            let head = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            if head & 0x80ff != LABEL_TAG as u16 {
                break;
            }
            if let (Some(label), Ok(at)) = (self.labels.get_mut(count), u16::try_from(at)) {
                *label = (at, head);
                count += 1;
                self.end = usize::from(at) + 2 + usize::from(head >> 8);
            }
            at += 2 + (head >> 8) as usize;
        }
        self.count = count;
        if at > bytes.len() {
            // A label that reaches past the end is left to the general way, which says what is wrong.
            *self = Places::default();
            return 0;
        }
        at
    }
}

/// Bytes of a sample message written in full: value, and a time between 1971 and 2109.
const FULL_SAMPLE_BYTES: usize = 18;

/// Such a sample at the start of `bytes`.
#[inline(always)]
fn full_sample(bytes: &[u8]) -> Option<Sample> {
    const CONTENT_BYTES: u8 = FULL_SAMPLE_BYTES as u8 - 2;
    const VALUE_TAG: u8 = 1 << 3 | FIXED64;
    const TIME_TAG: u8 = 2 << 3 | VARINT;
    let bytes = bytes.first_chunk::<FULL_SAMPLE_BYTES>()?;
    if bytes[..3] != [SAMPLE_TAG, CONTENT_BYTES, VALUE_TAG] || bytes[11] != TIME_TAG {
        return None;
    }
    let value = f64::from_bits(u64::from_le_bytes(*bytes[3..].first_chunk()?));
    // Six bytes of varint: the first five go on, the last one ends it.
    let raw = u64::from_le_bytes(*bytes[10..].first_chunk()?) >> 16;
    if raw & 0x8080_8080_8080 != 0x0080_8080_8080 {
        return None;
    }
    let raw = raw & 0x7f7f_7f7f_7f7f;
    let pairs = (raw & 0x007f_007f_007f) | ((raw & 0x7f00_7f00_7f00) >> 1);
    let time = (pairs & 0x3fff) | ((pairs >> 2) & (0x3fff << 14)) | ((pairs >> 4) & (0x3fff << 28));
    Some(Sample { timestamp_ms: time as i64, value })
}

impl Walk<'_> {
    #[inline(always)]
    fn series(&mut self, mut message: Reader<'_>) -> Result<(), Stop> {
        let (first_sample, first_histogram, first_exemplar) =
            (self.batch.samples.len(), self.batch.histograms.len(), self.batch.exemplars.len());
        let start = message.offset();
        let pieces_start = self.scratch.pieces.len();
        let mut labels = LabelRun { range: start..start, before_bytes: 0, pieces_start };
        while !message.is_empty() {
            let length = self.places.label_run(message.rest());
            if length > 0 {
                let from = message.offset();
                self.labels(&mut labels, from..from + length)?;
                message.advance(length);
            }
            while let Some(sample) = full_sample(message.rest()) {
                self.batch.samples.push(sample);
                message.advance(FULL_SAMPLE_BYTES);
            }
            if !message.is_empty() {
                self.series_field(&mut message, &mut labels)?;
            }
        }
        // The byte before the content belongs to the series' own length.
        let start = start - 1;
        // A label takes two bytes at least, so what is short need not be counted.
        if labels.bytes() / 2 > self.limits.series_labels {
            self.count_labels(&labels, message.whole(), start)?;
        }
        check(labels.bytes(), self.limits.series_label_bytes, "bytes of labels in one series", start)?;
        check(self.batch.samples.len(), self.limits.request_samples, "samples", start)?;
        let (samples, histograms, exemplars) =
            (self.batch.samples.len(), self.batch.histograms.len(), self.batch.exemplars.len());
        if (samples, histograms, exemplars) == (first_sample, first_histogram, first_exemplar) {
            self.scratch.pieces.truncate(labels.pieces_start);
            return Ok(());
        }
        if self.scratch.pieces.len() > labels.pieces_start {
            self.scatter(&labels);
        }
        self.batch.series.push(BatchSeries {
            key: labels.range.start as u32..labels.range.end as u32,
            samples: first_sample as u32..samples as u32,
            histograms: first_histogram as u32..histograms as u32,
            exemplars: first_exemplar as u32..exemplars as u32,
        });
        Ok(())
    }

    #[inline(always)]
    fn labels(&mut self, labels: &mut LabelRun, more: Range<usize>) -> Result<(), Stop> {
        let (start, limit) = (more.start, self.limits.series_labels);
        if labels.extend(more, &mut self.scratch.pieces, self.limits) {
            return Ok(());
        }
        Err(Stop::Limit { offset: start, name: "labels in one series", limit })
    }

    #[cold]
    fn count_labels(&self, labels: &LabelRun, body: &[u8], start: usize) -> Result<(), Stop> {
        let mut count = 0;
        for run in self.scratch.pieces[labels.pieces_start..].iter().chain([&labels.range]) {
            let mut run = Reader::new(&body[run.clone()]);
            while !run.is_empty() {
                let tag = run.tag()?;
                run.skip(tag)?;
                count += 1;
            }
        }
        check(count, self.limits.series_labels, "labels in one series", start)
    }

    #[cold]
    fn scatter(&mut self, labels: &LabelRun) {
        self.scratch.pieces.push(labels.range.clone());
        self.scratch.scattered.push(Scattered {
            series: self.batch.series.len(),
            pieces: labels.pieces_start..self.scratch.pieces.len(),
        });
    }

    /// Any field of a series, in its general form.
    #[inline(never)]
    fn series_field(&mut self, message: &mut Reader<'_>, labels: &mut LabelRun) -> Result<(), Stop> {
        let start = message.offset();
        let tag = message.tag()?;
        if !(1..=4).contains(&tag.field) {
            return Ok(message.skip(tag)?);
        }
        message.expect(tag, LENGTH)?;
        let inner = message.message()?;
        match tag.field {
            1 => self.labels(labels, start..message.offset())?,
            2 => {
                let sample = sample(inner)?;
                check(self.batch.samples.len() + 1, self.limits.request_samples, "samples", start)?;
                self.batch.samples.push(sample);
            }
            3 => {
                let exemplar = exemplar(inner, self.limits)?;
                let limit = self.limits.request_exemplars;
                check(self.batch.exemplars.len() + 1, limit, "exemplars", start)?;
                match exemplar {
                    Some(exemplar) => self.batch.exemplars.push(exemplar),
                    None => self.summary.exemplars_refused += 1,
                }
            }
            _ => {
                let limit = self.limits.request_histograms;
                check(self.batch.histograms.len() + 1, limit, "histograms", start)?;
                self.batch.histograms.push(histogram::read(inner, &mut self.tally)?);
            }
        }
        Ok(())
    }

    fn metadata(&mut self, mut message: Reader<'_>, body: &[u8]) -> Result<(), Stop> {
        let start = message.offset();
        let mut entry = MetadataEntry {
            metric_type: MetricType::Unknown,
            family: start..start,
            help: start..start,
            unit: start..start,
        };
        while !message.is_empty() {
            let tag = message.tag()?;
            let text = match tag.field {
                1 => {
                    message.expect(tag, VARINT)?;
                    entry.metric_type = metric_type(message.varint()?);
                    continue;
                }
                2 => &mut entry.family,
                4 => &mut entry.help,
                5 => &mut entry.unit,
                _ => {
                    message.skip(tag)?;
                    continue;
                }
            };
            message.expect(tag, LENGTH)?;
            *text = message.range()?;
        }
        check(self.scratch.metadata.len() + 1, self.limits.request_metadata, "metadata entries", start)?;
        let valid = |range: &Range<usize>| std::str::from_utf8(&body[range.clone()]).is_ok();
        if valid(&entry.family) && valid(&entry.help) && valid(&entry.unit) {
            self.scratch.metadata.push(entry);
        } else {
            self.summary.metadata_refused += 1;
        }
        Ok(())
    }
}

/// Types we do not know are unknown.
fn metric_type(code: u64) -> MetricType {
    match code {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

fn value(message: &mut Reader<'_>, tag: Tag) -> Result<f64, Stop> {
    message.expect(tag, FIXED64)?;
    Ok(f64::from_bits(message.fixed64()?))
}

fn time(message: &mut Reader<'_>, tag: Tag) -> Result<i64, Stop> {
    message.expect(tag, VARINT)?;
    Ok(message.varint()? as i64)
}

fn sample(mut message: Reader<'_>) -> Result<Sample, Stop> {
    let mut sample = Sample { timestamp_ms: 0, value: 0.0 };
    while !message.is_empty() {
        let tag = message.tag()?;
        match tag.field {
            1 => sample.value = value(&mut message, tag)?,
            2 => sample.timestamp_ms = time(&mut message, tag)?,
            _ => message.skip(tag)?,
        }
    }
    Ok(sample)
}

/// `None` where the labels are not valid: an exemplar is not worth losing samples over.
fn exemplar(mut message: Reader<'_>, limits: &Limits) -> Result<Option<Exemplar>, Stop> {
    let mut exemplar = Exemplar { timestamp_ms: 0, value: 0.0, labels: Labels::empty() };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let (mut valid, mut label_bytes) = (true, 0);
    while !message.is_empty() {
        let tag = message.tag()?;
        match tag.field {
            1 => {
                message.expect(tag, LENGTH)?;
                let inner = message.message()?;
                label_bytes += inner.rest().len();
                valid &= label_bytes <= limits.exemplar_label_bytes;
                match label(inner)? {
                    Some(pair) if valid && !pair.0.is_empty() => pairs.push(pair),
                    _ => valid = false,
                }
            }
            2 => exemplar.value = value(&mut message, tag)?,
            3 => exemplar.timestamp_ms = time(&mut message, tag)?,
            _ => message.skip(tag)?,
        }
    }
    exemplar.labels = Labels::from_pairs(pairs);
    Ok(valid.then_some(exemplar))
}

/// A label's name and value; `None` where one is not UTF-8.
fn label<'a>(mut message: Reader<'a>) -> Result<Option<(&'a str, &'a str)>, Stop> {
    let (mut name, mut value) = (Some(""), Some(""));
    while !message.is_empty() {
        let tag = message.tag()?;
        let part = match tag.field {
            1 => &mut name,
            2 => &mut value,
            _ => {
                message.skip(tag)?;
                continue;
            }
        };
        message.expect(tag, LENGTH)?;
        *part = std::str::from_utf8(message.message()?.rest()).ok();
    }
    Ok(name.zip(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever stood there before, the labels of a series are as long as to one who never saw another.
        #[test]
        fn places_of_other_series_change_nothing(
            series in prop::collection::vec((prop::collection::vec(0u8..4, 0..40), 0usize..6, any::<bool>()), 1..12),
        ) {
            let mut places = Places::default();
            for (labels, cut, sample) in series {
                let mut bytes = Vec::new();
                for length in labels {
                    let length = length * 50;
                    bytes.extend([LABEL_TAG, length]);
                    // Contents that look like labels.
                    bytes.extend([LABEL_TAG].into_iter().cycle().take(length.into()));
                }
                if sample {
                    bytes.extend([SAMPLE_TAG, 0]);
                }
                bytes.truncate(bytes.len() - cut.min(bytes.len()));
                prop_assert_eq!(places.label_run(&bytes), Places::default().label_run(&bytes));
            }
        }
    }
}

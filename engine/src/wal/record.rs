//! What a commit says, as records within a frame's payload:
//! ```text
//! kind u8 | body length u32 | body
//! ```
//! * kind 1, *series*: reference varint, then the series' key (to the body's end).
//! * kind 2, *samples*: entries to the body's end. An entry is a control byte, then what it announces:
//!   bits 0-3: how many leading bytes of the value's big-endian bits follow (0..=8, the rest is zero);
//!   bit 4: the time is the entry's before; else a zigzag varint, the difference to it;
//!   bit 5: the reference is the entry's before plus 1; else a zigzag varint, the difference to it.
//!   Order: reference, time, value. Before the first entry both are 0.
//! * kind 3, *histogram*: reference varint, zigzag time, then the histogram (see [`chunk::histogram`]).
//!
//! * kind 4, *deletion*: zigzag oldest and newest time, then to the body's end the references of the series,
//!   each a zigzag varint, the difference to the one before. It concerns what was written before it.
//!
//! * kind 9, *exemplar*: length of the series' key varint, the key, zigzag time, value f64, then the exemplar's
//!   labels, written as a key.
//!
//! * kind 11, *exemplar deletion*: zigzag oldest and newest time, then to the body's end the keys of the series, each
//!   behind its length varint. It concerns exemplars that were written before it.
//!
//! * kind 10, *metadata*: of a metric, its type u8 (by the order of [`MetricKind::ALL`]), then name, unit and help, each
//!   behind its length varint. What was said last counts.
//!
//! Only in a checkpoint:
//! * kind 5, *state*: next reference varint, number of the next frame varint, then the time of the newest
//!   sample zigzag varint, where there is one.
//! * kind 6, *strings*: length varint, then the text, one after the other: the strings of the rows that follow.
//! * kind 7, *row*: a series and its floats (see [`super::row`]).
//! * kind 8, *end*: number of rows varint. Without it a checkpoint is not whole.
//!
//! Each record can be read without those before it: what is lost costs itself, not its neighbours.

use super::row::Row;
use crate::bytes::{Reader, push_f64, push_varint, unzigzag, zigzag};
use crate::chunk;
use hearth_model::batch::Exemplar;
use hearth_model::metadata::{MetricKind, MetricMetadata};
use hearth_model::{Histogram, Labels, TimeRange, key};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const HISTOGRAM: u8 = 3;
const DELETION: u8 = 4;
const STATE: u8 = 5;
const STRINGS: u8 = 6;
const ROW: u8 = 7;
const END: u8 = 8;
const EXEMPLAR: u8 = 9;
const METADATA: u8 = 10;
const EXEMPLAR_DELETION: u8 = 11;
const RECORD_HEADER_BYTES: usize = 5;

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    out.len()
}

fn end(out: &mut [u8], body: usize) {
    let length = (out.len() - body) as u32;
    out[body - 4..body].copy_from_slice(&length.to_le_bytes());
}

pub fn push_series(out: &mut Vec<u8>, reference: u32, key: &[u8]) {
    let body = begin(out, SERIES);
    push_varint(out, u64::from(reference));
    out.extend_from_slice(key);
    end(out, body);
}

/// An open samples record.
#[derive(Debug, Default)]
pub struct SampleWriter {
    out: Vec<u8>,
    reference: u32,
    time: i64,
}

impl SampleWriter {
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub fn push(&mut self, reference: u32, time: i64, value: f64) {
        let bits = value.to_bits();
        let bytes = 8 - (bits.trailing_zeros() / 8).min(8) as usize;
        let next = reference == self.reference.wrapping_add(1);
        let same = time == self.time;
        let control = bytes as u8 | u8::from(same) << 4 | u8::from(next) << 5;
        if next && same {
            // The common entry, in one piece of a length that is known beforehand: what is too much is cut off.
            let mut entry = [0u8; 9];
            entry[0] = control;
            entry[1..].copy_from_slice(&bits.to_be_bytes());
            let length = self.out.len() + 1 + bytes;
            self.out.extend_from_slice(&entry);
            self.out.truncate(length);
        } else {
            self.out.push(control);
            if !next {
                push_varint(&mut self.out, zigzag(i64::from(reference) - i64::from(self.reference)));
            }
            if !same {
                push_varint(&mut self.out, zigzag(time.wrapping_sub(self.time)));
            }
            self.out.extend_from_slice(&bits.to_be_bytes()[..bytes]);
        }
        (self.reference, self.time) = (reference, time);
    }

    /// Appends the record to a payload and starts over.
    pub fn finish(&mut self, payload: &mut Vec<u8>) {
        if self.out.is_empty() {
            return;
        }
        let body = begin(payload, SAMPLES);
        payload.extend_from_slice(&self.out);
        end(payload, body);
        self.out.clear();
        (self.reference, self.time) = (0, 0);
    }
}

pub fn push_histogram(out: &mut Vec<u8>, reference: u32, time: i64, histogram: &Histogram) {
    let body = begin(out, HISTOGRAM);
    push_varint(out, u64::from(reference));
    push_varint(out, zigzag(time));
    chunk::histogram::push(out, histogram);
    end(out, body);
}

/// Says that the samples within the range are gone, of these series.
pub fn push_deletion(out: &mut Vec<u8>, range: TimeRange, references: impl IntoIterator<Item = u32>) {
    let body = begin(out, DELETION);
    push_varint(out, zigzag(range.min_ms));
    push_varint(out, zigzag(range.max_ms));
    let mut before = 0;
    for reference in references {
        push_varint(out, zigzag(i64::from(reference) - before));
        before = i64::from(reference);
    }
    end(out, body);
}

/// `key` is that of the series, in canonical order.
pub fn push_exemplar(out: &mut Vec<u8>, key: &[u8], exemplar: &Exemplar) {
    let body = begin(out, EXEMPLAR);
    push_varint(out, key.len() as u64);
    out.extend_from_slice(key);
    push_varint(out, zigzag(exemplar.timestamp_ms));
    push_f64(out, exemplar.value);
    key::push_key(out, &exemplar.labels);
    end(out, body);
}

fn exemplar<'a>(body: &mut Reader<'a>) -> Option<Record<'a>> {
    let length = usize::try_from(body.varint()?).ok()?;
    let key = body.bytes(length)?;
    let (timestamp_ms, value) = (unzigzag(body.varint()?), f64::from_bits(body.u64()?));
    let labels = Labels::from_pairs(key::key_pairs(body.rest()));
    Some(Record::Exemplar { key, exemplar: Exemplar { timestamp_ms, value, labels } })
}

/// Says that the exemplars within the range are gone, of the series with these keys.
pub fn push_exemplar_deletion(out: &mut Vec<u8>, range: TimeRange, keys: impl IntoIterator<Item = Vec<u8>>) {
    let body = begin(out, EXEMPLAR_DELETION);
    push_varint(out, zigzag(range.min_ms));
    push_varint(out, zigzag(range.max_ms));
    for key in keys {
        push_varint(out, key.len() as u64);
        out.extend_from_slice(&key);
    }
    end(out, body);
}

fn exemplar_deletion<'a>(body: &mut Reader<'a>) -> Option<Record<'a>> {
    let range = TimeRange::new(unzigzag(body.varint()?), unzigzag(body.varint()?));
    let mut keys = Vec::new();
    while !body.is_empty() {
        let length = usize::try_from(body.varint()?).ok()?;
        keys.push(body.bytes(length)?);
    }
    Some(Record::ExemplarDeletion { range, keys })
}

pub fn push_metadata(out: &mut Vec<u8>, metadata: &MetricMetadata) {
    let body = begin(out, METADATA);
    out.push(metadata.kind as u8);
    for text in [&metadata.name, &metadata.unit, &metadata.help] {
        push_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    end(out, body);
}

fn metadata<'a>(body: &mut Reader<'a>) -> Option<Record<'a>> {
    let kind = *MetricKind::ALL.get(usize::from(body.bytes(1)?[0]))?;
    let mut texts = StringReader { body: body.clone() };
    let (name, unit, help) = (texts.read()?, texts.read()?, texts.read()?);
    let (name, unit, help) = (name.into(), unit.into(), help.into());
    Some(Record::Metadata(MetricMetadata { name, kind, unit, help }))
}

/// What the log had come to when a checkpoint began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// No series of the checkpoint has this reference or a higher one.
    pub next_reference: u32,
    /// Of the first frame that the checkpoint does not stand for.
    pub next_frame: u64,
    /// Time of the newest sample that it stands for.
    pub max_ms: Option<i64>,
}

pub fn push_state(out: &mut Vec<u8>, state: State) {
    let body = begin(out, STATE);
    push_varint(out, u64::from(state.next_reference));
    push_varint(out, state.next_frame);
    if let Some(max_ms) = state.max_ms {
        push_varint(out, zigzag(max_ms));
    }
    end(out, body);
}

/// `strings`: each behind its length.
pub fn push_strings(out: &mut Vec<u8>, strings: &[u8]) {
    let body = begin(out, STRINGS);
    out.extend_from_slice(strings);
    end(out, body);
}

/// A row, which `fill` writes.
pub fn push_row(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let body = begin(out, ROW);
    fill(out);
    end(out, body);
}

pub fn push_end(out: &mut Vec<u8>, rows: u64) {
    let body = begin(out, END);
    push_varint(out, rows);
    end(out, body);
}

fn state(body: &mut Reader<'_>) -> Option<State> {
    let (next_reference, next_frame) = (body.varint_u32()?, body.varint()?);
    let max_ms = if body.is_empty() { None } else { Some(unzigzag(body.varint()?)) };
    Some(State { next_reference, next_frame, max_ms })
}

/// Reads the texts of a strings record.
#[derive(Debug, Clone, PartialEq)]
pub struct StringReader<'a> {
    body: Reader<'a>,
}

impl<'a> StringReader<'a> {
    fn read(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.body.varint()?).ok()?;
        std::str::from_utf8(self.body.bytes(length)?).ok()
    }
}

impl<'a> Iterator for StringReader<'a> {
    type Item = Result<&'a str, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let text = self.read().ok_or(BadRecord);
        if text.is_err() {
            self.body = Reader::new(&[]);
        }
        Some(text)
    }
}

/// What a payload holds, in order.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    Series { reference: u32, key: &'a [u8] },
    Samples(SampleReader<'a>),
    Histogram { reference: u32, time: i64, histogram: Histogram },
    Deletion { range: TimeRange, references: Vec<u32> },
    State(State),
    Strings(StringReader<'a>),
    Row(Row<'a>),
    End { rows: u64 },
    Exemplar { key: &'a [u8], exemplar: Exemplar },
    Metadata(MetricMetadata),
    ExemplarDeletion { range: TimeRange, keys: Vec<&'a [u8]> },
}

/// The payload is not what its checksum promised: written by a broken or later program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRecord;

/// Reads a payload's records.
#[derive(Debug)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
}

impl<'a> RecordReader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        RecordReader { rest: payload }
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let header = self.rest.get(..RECORD_HEADER_BYTES)?;
        let length = u32::from_le_bytes(header[1..].try_into().ok()?) as usize;
        let mut body = Reader::new(self.rest.get(RECORD_HEADER_BYTES..)?.get(..length)?);
        self.rest = &self.rest[RECORD_HEADER_BYTES + length..];
        match header[0] {
            SERIES => Some(Record::Series { reference: reference(&mut body)?, key: body.rest() }),
            SAMPLES => Some(Record::Samples(SampleReader { body, reference: 0, time: 0 })),
            HISTOGRAM => {
                let (reference, time) = (reference(&mut body)?, unzigzag(body.varint()?));
                Some(Record::Histogram { reference, time, histogram: chunk::histogram::read(&mut body)? })
            }
            DELETION => {
                let range = TimeRange::new(unzigzag(body.varint()?), unzigzag(body.varint()?));
                let (mut references, mut before) = (Vec::new(), 0i64);
                while !body.is_empty() {
                    before = before.checked_add(unzigzag(body.varint()?))?;
                    references.push(before.try_into().ok()?);
                }
                Some(Record::Deletion { range, references })
            }
            STATE => Some(Record::State(state(&mut body)?)),
            STRINGS => Some(Record::Strings(StringReader { body })),
            ROW => Some(Record::Row(Row::read(&mut body)?)),
            END => Some(Record::End { rows: body.varint()? }),
            EXEMPLAR => exemplar(&mut body),
            METADATA => metadata(&mut body),
            EXEMPLAR_DELETION => exemplar_deletion(&mut body),
            _ => None,
        }
    }
}

impl<'a> Iterator for RecordReader<'a> {
    type Item = Result<Record<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read().ok_or(BadRecord);
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn reference(body: &mut Reader<'_>) -> Option<u32> {
    body.varint()?.try_into().ok()
}

/// Reads the entries of a samples record.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleReader<'a> {
    body: Reader<'a>,
    reference: u32,
    time: i64,
}

impl SampleReader<'_> {
    fn read(&mut self) -> Option<(u32, i64, f64)> {
        let control = self.body.bytes(1)?[0];
        let bytes = usize::from(control & 0x0f);
        if bytes > 8 || control & 0xc0 != 0 {
            return None;
        }
        self.reference = if control & 0x20 != 0 {
            self.reference.wrapping_add(1)
        } else {
            i64::from(self.reference).wrapping_add(unzigzag(self.body.varint()?)).try_into().ok()?
        };
        if control & 0x10 == 0 {
            self.time = self.time.wrapping_add(unzigzag(self.body.varint()?));
        }
        let mut bits = [0u8; 8];
        bits[..bytes].copy_from_slice(self.body.bytes(bytes)?);
        Some((self.reference, self.time, f64::from_bits(u64::from_be_bytes(bits))))
    }
}

impl Iterator for SampleReader<'_> {
    type Item = Result<(u32, i64, f64), BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let entry = self.read().ok_or(BadRecord);
        if entry.is_err() {
            self.body = Reader::new(&[]);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::{CounterReset, Span};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_read_back_bit_for_bit(entries in prop::collection::vec(
            (prop_oneof![any::<u32>(), 0u32..10], prop_oneof![any::<i64>(), Just(5)], prop_oneof![any::<u64>(), (0u64..9).prop_map(|i| (i as f64).to_bits())]), 0..100)) {
            let (mut writer, mut payload) = (SampleWriter::default(), Vec::new());
            for &(reference, time, bits) in &entries {
                writer.push(reference, time, f64::from_bits(bits));
            }
            writer.finish(&mut payload);
            let mut read = Vec::new();
            for record in RecordReader::new(&payload) {
                let Ok(Record::Samples(samples)) = record else { panic!("{record:?}") };
                for sample in samples {
                    let (reference, time, value) = sample.expect("whole");
                    read.push((reference, time, value.to_bits()));
                }
            }
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_are_records_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for record in RecordReader::new(&bytes) {
                match record {
                    Ok(Record::Samples(samples)) => drop(samples.count()),
                    Ok(Record::Strings(strings)) => drop(strings.count()),
                    Ok(Record::Row(row)) => drop(row.pairs().count() + row.closed().count()),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn what_a_checkpoint_holds_reads_back() {
        let mut payload = Vec::new();
        let states = [
            State { next_reference: 9, next_frame: 1 << 40, max_ms: Some(-3) },
            State { next_reference: 1, next_frame: 1, max_ms: None },
        ];
        states.iter().for_each(|state| push_state(&mut payload, *state));
        push_strings(&mut payload, b"\x02up\x00\x03job");
        push_end(&mut payload, 5);
        let mut records = RecordReader::new(&payload).map(|record| record.expect("whole"));
        assert_eq!(records.next(), Some(Record::State(states[0])));
        assert_eq!(records.next(), Some(Record::State(states[1])));
        let Some(Record::Strings(strings)) = records.next() else { panic!("strings are next") };
        assert_eq!(strings.collect::<Result<Vec<_>, _>>(), Ok(vec!["up", "", "job"]));
        assert_eq!(records.next(), Some(Record::End { rows: 5 }));
        for bad in [&b"\x05up"[..], b"\x02\xff\xfe"] {
            let read: Vec<_> = StringReader { body: Reader::new(bad) }.collect();
            assert_eq!(read, [Err(BadRecord)]);
        }
    }

    #[test]
    fn series_and_what_belongs_to_them_read_back() {
        let histogram = Histogram {
            schema: 3,
            integer: true,
            reset: CounterReset::Gauge,
            count: 6.0,
            sum: -0.5,
            zero_threshold: 1e-128,
            positive_spans: vec![Span { offset: -3, length: 2 }],
            positive_counts: vec![1.0, 5.0],
            custom_values: vec![0.5],
            ..Histogram::stale()
        };
        let mut payload = Vec::new();
        push_series(&mut payload, 300, b"key");
        push_histogram(&mut payload, 7, -12, &histogram);
        let range = TimeRange::new(i64::MIN, i64::MAX);
        push_deletion(&mut payload, range, [u32::MAX, 0, 7]);
        let exemplar = Exemplar {
            timestamp_ms: -5,
            value: 1.5,
            labels: Labels::from_pairs([("trace", "x"), ("z", "1")]),
        };
        push_exemplar(&mut payload, b"key", &exemplar);
        let records: Vec<_> = RecordReader::new(&payload).collect();
        assert_eq!(records[0], Ok(Record::Series { reference: 300, key: b"key" }));
        assert_eq!(records[1], Ok(Record::Histogram { reference: 7, time: -12, histogram }));
        assert_eq!(records[2], Ok(Record::Deletion { range, references: vec![u32::MAX, 0, 7] }));
        assert_eq!(records[3], Ok(Record::Exemplar { key: b"key", exemplar }));
        for cut in 1..payload.len() {
            let whole = RecordReader::new(&payload[..cut]).filter(|r| r.is_ok()).count();
            assert!(whole < 4);
        }
    }
}

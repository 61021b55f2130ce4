//! What the records of a log say. The first byte tells the kind; numbers are big endian.
//!
//! Samples, exemplars and histograms name their series and time against those of the first, which stand in
//! front. A kind that is not known is left to the caller.

use super::FormatError;
use crate::bytes::Reader;
use hearth_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use hearth_model::{CounterReset, Histogram, Span};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const MARKERS: u8 = 5;
const METADATA: u8 = 6;
const HISTOGRAMS: u8 = 7;
const FLOAT_HISTOGRAMS: u8 = 8;
const CUSTOM_HISTOGRAMS: u8 = 9;
const CUSTOM_FLOAT_HISTOGRAMS: u8 = 10;

/// One thing that a record says.
#[derive(Debug, PartialEq)]
pub enum Entry<'a> {
    Series {
        reference: u64,
        labels: &'a [(&'a str, &'a str)],
    },
    Sample {
        reference: u64,
        time: i64,
        value: f64,
    },
    Histogram {
        reference: u64,
        time: i64,
        histogram: Histogram,
    },
    Tombstone {
        reference: u64,
        from: i64,
        to: i64,
    },
    Exemplar {
        reference: u64,
        time: i64,
        value: f64,
        labels: &'a [(&'a str, &'a str)],
    },
    /// Out-of-order samples of the series up to here are in a mapped chunk.
    Marker {
        reference: u64,
        chunk: u64,
    },
    /// Fields by name: `TYPE`, `UNIT`, `HELP`.
    Metadata {
        reference: u64,
        kind: u8,
        fields: &'a [(&'a str, &'a str)],
    },
}

/// Whether a record's kind speaks of series or of what was deleted of them.
pub fn is_about_series(record: &[u8]) -> bool {
    matches!(record.first(), Some(&SERIES | &TOMBSTONES))
}

/// Gives everything that a record says to `sink`. What came before an error is good.
pub fn read(record: &[u8], mut sink: impl FnMut(Entry<'_>)) -> Result<(), FormatError> {
    let Some((kind, body)) = record.split_first() else {
        return Err(FormatError::Damaged("record is empty"));
    };
    let input = Reader::new(body);
    let short = |read: Option<()>, what| read.ok_or(FormatError::Damaged(what));
    match *kind {
        SERIES => short(series(input, &mut sink), "series record ends early"),
        SAMPLES => short(samples(input, &mut sink), "samples record ends early"),
        TOMBSTONES => short(tombstones(input, &mut sink), "tombstones record ends early"),
        EXEMPLARS => short(exemplars(input, &mut sink), "exemplars record ends early"),
        MARKERS => short(markers(input, &mut sink), "markers record ends early"),
        METADATA => short(metadata(input, &mut sink), "metadata record ends early"),
        HISTOGRAMS | CUSTOM_HISTOGRAMS => {
            short(histograms(input, true, &mut sink), "histograms record ends early")
        }
        FLOAT_HISTOGRAMS | CUSTOM_FLOAT_HISTOGRAMS => {
            short(histograms(input, false, &mut sink), "float histograms record ends early")
        }
        other => Err(FormatError::Unknown("kind of a log record", u64::from(other))),
    }
}

/// Pairs of texts behind their number.
fn pairs<'a>(input: &mut Reader<'a>, out: &mut Vec<(&'a str, &'a str)>) -> Option<()> {
    out.clear();
    for _ in 0..input.count(2)? {
        out.push((input.text()?, input.text()?));
    }
    Some(())
}

fn series(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    let mut labels = Vec::new();
    while !input.is_empty() {
        let reference = input.u64_be()?;
        pairs(&mut input, &mut labels)?;
        sink(Entry::Series { reference, labels: &labels });
    }
    Some(())
}

/// Series and time of the first entry, which the others count from.
struct Base {
    reference: u64,
    time: i64,
}

impl Base {
    /// Nothing where there is no entry.
    fn read(input: &mut Reader<'_>) -> Option<Base> {
        Some(Base { reference: input.u64_be()?, time: input.u64_be()? as i64 })
    }

    fn next(&self, input: &mut Reader<'_>) -> Option<(u64, i64)> {
        let reference = self.reference.wrapping_add(input.zigzag()? as u64);
        Some((reference, self.time.wrapping_add(input.zigzag()?)))
    }
}

fn samples(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    if input.is_empty() {
        return Some(());
    }
    let base = Base::read(&mut input)?;
    while !input.is_empty() {
        let (reference, time) = base.next(&mut input)?;
        sink(Entry::Sample { reference, time, value: input.f64_be()? });
    }
    Some(())
}

fn tombstones(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    while !input.is_empty() {
        let reference = input.u64_be()?;
        sink(Entry::Tombstone { reference, from: input.zigzag()?, to: input.zigzag()? });
    }
    Some(())
}

fn exemplars(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    if input.is_empty() {
        return Some(());
    }
    let (base, mut labels) = (Base::read(&mut input)?, Vec::new());
    while !input.is_empty() {
        let (reference, time) = base.next(&mut input)?;
        let value = input.f64_be()?;
        pairs(&mut input, &mut labels)?;
        sink(Entry::Exemplar { reference, time, value, labels: &labels });
    }
    Some(())
}

fn markers(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    while !input.is_empty() {
        sink(Entry::Marker { reference: input.u64_be()?, chunk: input.u64_be()? });
    }
    Some(())
}

fn metadata(mut input: Reader<'_>, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    let mut fields = Vec::new();
    while !input.is_empty() {
        let (reference, kind) = (input.varint()?, input.u8()?);
        pairs(&mut input, &mut fields)?;
        sink(Entry::Metadata { reference, kind, fields: &fields });
    }
    Some(())
}

fn histograms(mut input: Reader<'_>, whole: bool, sink: &mut impl FnMut(Entry<'_>)) -> Option<()> {
    if input.is_empty() {
        return Some(());
    }
    let base = Base::read(&mut input)?;
    while !input.is_empty() {
        let (reference, time) = base.next(&mut input)?;
        let histogram = histogram(&mut input, whole)?;
        sink(Entry::Histogram { reference, time, histogram });
    }
    Some(())
}

fn spans(input: &mut Reader<'_>) -> Option<Vec<Span>> {
    let mut spans = Vec::new();
    for _ in 0..input.count(2)? {
        let offset = i32::try_from(input.zigzag()?).ok()?;
        spans.push(Span { offset, length: input.varint_u32()? });
    }
    Some(spans)
}

/// Counts of a side: whole ones as differences to the bucket before, floats as they are.
fn counts(input: &mut Reader<'_>, whole: bool) -> Option<Vec<f64>> {
    let number = input.count(if whole { 1 } else { 8 })?;
    let (mut counts, mut count) = (Vec::with_capacity(number), 0i64);
    for _ in 0..number {
        if whole {
            count = count.wrapping_add(input.zigzag()?);
            counts.push(count as f64);
        } else {
            counts.push(input.f64_be()?);
        }
    }
    Some(counts)
}

fn histogram(input: &mut Reader<'_>, whole: bool) -> Option<Histogram> {
    let reset = match input.u8()? {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    };
    let schema = i32::try_from(input.zigzag()?).ok()?;
    let zero_threshold = input.f64_be()?;
    let number =
        |input: &mut Reader<'_>| if whole { input.varint().map(|n| n as f64) } else { input.f64_be() };
    let (zero_count, count, sum) = (number(input)?, number(input)?, input.f64_be()?);
    let (positive_spans, negative_spans) = (spans(input)?, spans(input)?);
    let (positive_counts, negative_counts) = (counts(input, whole)?, counts(input, whole)?);
    let mut custom_values = Vec::new();
    if schema == CUSTOM_BUCKETS_SCHEMA {
        for _ in 0..input.count(8)? {
            custom_values.push(input.f64_be()?);
        }
    }
    Some(Histogram {
        schema,
        integer: whole,
        reset,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        negative_spans,
        positive_counts,
        negative_counts,
        custom_values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a record says, one line each.
    #[track_caller]
    fn check(record: &[u8], expect: &str) {
        let mut lines = Vec::new();
        let result = read(record, |entry| lines.push(format!("{entry:?}")));
        let mut text = lines.join("\n");
        if let Err(error) = result {
            text += &format!("\n{error}");
        }
        assert_eq!(text.trim(), expect.trim());
    }

    #[test]
    fn records_say_what_they_hold() {
        let eight = |n: u64| n.to_be_bytes().to_vec();
        let series = [vec![1], eight(7), b"\x01\x01a\x01b".to_vec()].concat();
        check(&series, "Series { reference: 7, labels: [(\"a\", \"b\")] }");
        let value = eight(1.5f64.to_bits());
        let samples =
            [vec![2], eight(7), eight(1000), vec![0, 0], value.clone(), vec![3, 4], value.clone()].concat();
        check(
            &samples,
            "Sample { reference: 7, time: 1000, value: 1.5 }\nSample { reference: 5, time: 1002, value: 1.5 }",
        );
        check(
            &samples[..samples.len() - 1],
            "Sample { reference: 7, time: 1000, value: 1.5 }\nsamples record ends early",
        );
        check(&[vec![3], eight(7), vec![9, 10]].concat(), "Tombstone { reference: 7, from: -5, to: 5 }");
        check(&[vec![5], eight(7), eight(8)].concat(), "Marker { reference: 7, chunk: 8 }");
        check(
            b"\x06\x07\x01\x01\x04TYPE\x01c",
            "Metadata { reference: 7, kind: 1, fields: [(\"TYPE\", \"c\")] }",
        );
        check(&[99], "kind of a log record 99 is not known to this program");
        check(&[], "record is empty");
        let exemplar = [vec![4], eight(7), eight(9), vec![0, 0], value, b"\x01\x01t\x01x".to_vec()].concat();
        check(&exemplar, "Exemplar { reference: 7, time: 9, value: 1.5, labels: [(\"t\", \"x\")] }");
    }

    #[test]
    fn histograms_have_either_kind_of_count() {
        let eight = |n: f64| n.to_bits().to_be_bytes().to_vec();
        let place = [7u64.to_be_bytes(), 9u64.to_be_bytes()].concat();
        let spans = vec![1, 0, 2, 0];
        let whole = [
            vec![9],
            place.clone(),
            vec![0, 0, 3, 105],
            eight(0.0),
            vec![0, 3],
            eight(2.5),
            spans.clone(),
            vec![2, 2, 2, 0, 1],
            eight(0.5),
        ]
        .concat();
        let mut found = Vec::new();
        assert_eq!(read(&whole, |entry| found.push(format!("{entry:?}"))), Ok(()));
        assert!(found[0].contains("schema: -53, integer: true, reset: Gauge"), "{found:?}");
        assert!(
            found[0].contains("positive_counts: [1.0, 2.0]") && found[0].contains("custom_values: [0.5]")
        );
        let floats = [
            vec![8],
            place,
            vec![0, 0, 2, 6],
            eight(0.001),
            eight(1.0),
            eight(3.5),
            eight(2.5),
            spans,
            vec![2],
            eight(1.0),
            eight(1.5),
            vec![0],
        ]
        .concat();
        found.clear();
        assert_eq!(read(&floats, |entry| found.push(format!("{entry:?}"))), Ok(()));
        assert!(found[0].contains("schema: 3, integer: false, reset: NotReset"), "{found:?}");
        assert!(found[0].contains("positive_counts: [1.0, 1.5]"));
    }
}

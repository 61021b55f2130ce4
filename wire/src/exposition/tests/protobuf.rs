//! Protobuf in, entries as text out; what comes out for each message is what Prometheus 3.5 makes of it.

use crate::config::Limits;
use crate::exposition::{Entry, Histograms, ProtobufParser, ProtobufShape, Readings, labels_of, pairs_of};
use crate::protobuf::{put_fixed64, put_message, put_text, put_varint, put_varint_field, zigzag};
use std::fmt::Write;

type Bytes = Vec<u8>;

/// A message from its fields.
fn message(fields: &[&dyn Fn(&mut Bytes)]) -> Bytes {
    let mut out = Vec::new();
    fields.iter().for_each(|field| field(&mut out));
    out
}

fn text(field: u8, value: &'static str) -> impl Fn(&mut Bytes) {
    move |out| put_text(out, field, value)
}

fn int(field: u8, value: u64) -> impl Fn(&mut Bytes) {
    move |out| put_varint_field(out, field, value)
}

fn float(field: u8, value: f64) -> impl Fn(&mut Bytes) {
    move |out| put_fixed64(out, field, value.to_bits())
}

fn inner(field: u8, message: Bytes) -> impl Fn(&mut Bytes) {
    move |out| put_message(out, field, |out| out.extend_from_slice(&message))
}

fn label(field: u8, name: &'static str, value: &'static str) -> impl Fn(&mut Bytes) {
    inner(field, message(&[&text(1, name), &text(2, value)]))
}

fn body(families: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    for family in families {
        put_varint(&mut out, family.len() as u64);
        out.extend_from_slice(family);
    }
    out
}

fn read(body: &[u8], histograms: Histograms) -> String {
    let mut out = String::new();
    let mut parser = ProtobufParser::new(body, histograms, &Limits::default());
    loop {
        match parser.next() {
            Ok(Entry::Eof) => return out,
            Ok(entry) => {
                out += &line(&entry);
                out.push('\n');
            }
            Err(error) => return out + &format!("error: {error}\n"),
        }
    }
}

fn line(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Type { family, metric_type } => format!("type {family} {metric_type}"),
        Entry::Help { family, help } => format!("help {family} {help:?}"),
        Entry::Unit { family, unit } => format!("unit {family} {unit:?}"),
        Entry::Sample(sample) => {
            let labels = labels_of(sample.series).map_or_else(|e| format!("<{e}>"), |l| l.to_string());
            let mut out =
                format!("{labels} {} {:?} {:?}", sample.value, sample.timestamp_ms, sample.created_ms);
            if let Some(exemplar) = sample.exemplar {
                let pairs: Vec<_> = pairs_of(exemplar.labels).map(|(n, v)| format!("{n}={v}")).collect();
                let _ = write!(out, " # {pairs:?} {} {:?}", exemplar.value, exemplar.timestamp_ms);
            }
            out
        }
        Entry::Histogram(line) => {
            let h = line.histogram;
            let spans: Vec<_> = h.positive_spans.iter().map(|s| (s.offset, s.length)).collect();
            format!(
                "{} schema {} count {} sum {} zero {} {spans:?} {:?} integer {} {:?} # {}",
                String::from_utf8_lossy(line.series),
                h.schema,
                h.count,
                h.sum,
                h.zero_count,
                h.positive_counts,
                h.integer,
                h.reset,
                line.exemplars
                    .iter()
                    .map(|e| format!("{} {}@{}", e.labels, e.value, e.timestamp_ms))
                    .collect::<String>(),
            )
        }
        Entry::Comment(_) | Entry::Eof => "?".to_owned(),
    }
}

#[test]
fn simple_metrics_and_summaries() {
    let time = message(&[&int(1, 3), &int(2, 500_000_000)]);
    let exemplar = message(&[&label(1, "trace", "x\"y"), &float(2, 0.5), &inner(3, time.clone())]);
    let counter = message(&[&float(1, 7.0), &inner(2, exemplar), &inner(3, time)]);
    let metric = message(&[&label(1, "a", "b"), &label(1, "l.x", "ü"), &inner(3, counter), &int(6, 9)]);
    let family = message(&[&inner(4, metric), &text(1, "c.d_s_total"), &text(2, "He\\lp"), &text(5, "s")]);
    let quantile = message(&[&float(1, 1.0), &float(2, 4.0)]);
    let summary = message(&[&int(1, 3), &float(2, 6.5), &inner(3, quantile)]);
    let metric = message(&[&inner(4, summary)]);
    let bare = message(&[]);
    let summaries = message(&[&text(1, "q"), &int(3, 2), &inner(4, metric), &inner(4, bare)]);
    let empty = message(&[&text(1, "nothing")]);
    let expect = "help c.d_s_total \"He\\\\lp\"
unit c.d_s_total \"s\"
type c.d_s_total counter
{__name__=\"c.d_s_total\", a=\"b\", \"l.x\"=\"ü\"} 7 Some(9) Some(3500) # [\"trace=x\\\"y\"] 0.5 Some(3500)
help q \"\"
type q summary
q_count 3 None None
q_sum 6.5 None None
q{quantile=\"1.0\"} 4 None None
q_count 0 None None
q_sum 0 None None
";
    assert_eq!(read(&body(&[family, empty, summaries]), Histograms::default()), expect);
}

fn histogram_family() -> Bytes {
    let time = message(&[&int(1, 3)]);
    let exemplar = message(&[&label(1, "t", "u"), &float(2, 0.5), &inner(3, time)]);
    let bucket = message(&[&int(1, 2), &float(2, 1.0), &inner(3, exemplar)]);
    let span = message(&[&int(1, zigzag(-1)), &int(2, 3)]);
    let deltas = |out: &mut Bytes| {
        put_message(out, 13, |out| [1i64, -1, 2].iter().for_each(|d| put_varint(out, zigzag(*d))));
    };
    let histogram = message(&[
        &int(1, 4),
        &float(2, 9.0),
        &inner(3, bucket),
        &int(5, zigzag(3)),
        &int(7, 1),
        &inner(12, span),
        &deltas,
    ]);
    let metric = message(&[&inner(7, histogram)]);
    message(&[&text(1, "h"), &int(3, 4), &inner(4, metric)])
}

#[test]
fn a_histogram_comes_out_in_the_forms_that_are_wanted() {
    let body = body(&[histogram_family()]);
    let head = "help h \"\"\ntype h histogram\n";
    let classic = "h_count 4 None None
h_sum 9 None None
h_bucket{le=\"1.0\"} 2 None None # [\"t=u\"] 0.5 Some(3000)
h_bucket{le=\"+Inf\"} 4 None None
";
    let native = "h schema 3 count 4 sum 9 zero 1 [(-1, 1), (1, 1)] [1.0, 2.0] integer true Unknown # {t=\"u\"} 0.5@3000\n";
    let check = |native: bool, always_classic: bool, expect: String| {
        assert_eq!(read(&body, Histograms { native, always_classic }), expect);
    };
    check(false, false, format!("{head}{classic}"));
    check(true, false, format!("{head}{native}"));
    check(true, true, format!("{head}{native}{classic}"));
}

#[test]
fn broken_bodies_are_refused() {
    let check = |family: Bytes, expect: &str| {
        let got = read(&body(&[family]), Histograms::default());
        assert!(got.ends_with(expect), "{got}");
    };
    let metric = || inner(4, message(&[]));
    check(message(&[&metric()]), "metric family without a name\n");
    check(message(&[&text(1, "a"), &int(3, 9), &metric()]), "unknown metric type 9\n");
    check(
        message(&[&text(1, "a_s"), &text(5, "m"), &metric()]),
        "unit \"m\" not a suffix of metric \"a_s\"\n",
    );
    check(
        message(&[&text(1, "a"), &|out: &mut Bytes| out.extend([0x12, 1, 0xff]), &metric()]),
        "help text is not valid UTF-8\n",
    );
    let got = read(&[5, 1], Histograms::default());
    assert_eq!(got, "error: protobuf at byte 0: length 5 reaches past the end of the message\n");
    let many = message(
        &(0..1_025)
            .map(|_| label(1, "a", "b"))
            .collect::<Vec<_>>()
            .iter()
            .map(|l| l as &dyn Fn(&mut Bytes))
            .collect::<Vec<_>>(),
    );
    check(message(&[&text(1, "a"), &inner(4, many)]), "more labels of a series than the limit of 1024\n");
}

/// A metric of that kind: counter, gauge, summary, untyped, histogram.
fn random_metric(random: &mut fastrand::Rng, kind: u64, number: u8, oddities: bool) -> Bytes {
    let odd = |random: &mut fastrand::Rng, of: u32| oddities && random.u32(0..of) == 0;
    let value = float(1, random.f64());
    let exemplar = message(&[&label(1, "t", "u"), &float(2, random.f64())]);
    let whole = match kind {
        0 | 1 | 3 => {
            let mut value = message(&[&value]);
            if kind == 0 && odd(random, 4) {
                put_message(&mut value, 2, |out| out.extend_from_slice(&exemplar));
            }
            inner([2, 3, 0, 5][[1, 0, 2, 3][kind as usize]], value)
        }
        2 => {
            let quantile = message(&[&float(1, 0.5), &value]);
            inner(4, message(&[&int(1, random.u64(..)), &float(2, random.f64()), &inner(3, quantile)]))
        }
        _ => {
            let count = random.u64(0..300);
            let more = if odd(random, 3) { exemplar } else { Vec::new() };
            let with = if more.is_empty() { Vec::new() } else { message(&[&inner(3, more)]) };
            let mut bucket = message(&[&int(1, count), &float(2, if odd(random, 20) { 2.0 } else { 1.0 })]);
            bucket.extend(with);
            let mut histogram = message(&[&int(1, count), &float(2, 9.0), &inner(3, bucket)]);
            if number == 0 {
                let span = message(&[&int(1, 0), &int(2, 1)]);
                put_message(&mut histogram, 12, |out| out.extend_from_slice(&span));
                put_message(&mut histogram, 13, |out| put_varint(out, zigzag(count as i64)));
            }
            inner(7, histogram)
        }
    };
    let name = ["0", "1", "2", "3"][usize::from(number) % 4];
    let mut out = message(&[&label(1, "number", name), &whole]);
    if kind == 1 || odd(random, 40) {
        int(6, random.u64(0..2_000))(&mut out);
    }
    if odd(random, 60) {
        label(1, "late", "x")(&mut out);
    }
    out
}

fn random_page(random: &mut fastrand::Rng, kinds: &[u64], oddities: bool) -> Bytes {
    let mut families = Vec::new();
    for kind in kinds {
        let mut family = message(&[&text(1, "f"), &text(2, "Help."), &int(3, *kind)]);
        for number in 0..4 {
            if oddities && random.u32(0..60) == 0 {
                continue;
            }
            inner(4, random_metric(random, *kind, number, oddities))(&mut family);
        }
        if *kind == 3 {
            // Nobody knows this field.
            int(9, 1)(&mut family);
        }
        families.push(family);
    }
    body(&families)
}

/// What a shape reads, in the words of [`read`] for the same page: name, value, time, exemplar.
fn read_by_shape(shape: &ProtobufShape, body: &[u8]) -> Option<Vec<String>> {
    let (mut values, mut times) = (Vec::new(), Vec::new());
    let mut into = Readings { values: &mut values, times: &mut times, at_ms: 0 };
    let beside = shape.read(body, &Limits::default(), &mut into)?;
    let mut lines: Vec<String> = (0..shape.len())
        .map(|number| {
            let series = String::from_utf8_lossy(shape.series_at(number));
            let time = if shape.has_time(number) { times[number] } else { 0 };
            format!("{series} {:x} {time}", values[number].to_bits())
        })
        .collect();
    for (number, time, histogram) in beside.histograms {
        let series = String::from_utf8_lossy(shape.series_at(number as usize));
        lines[number as usize] = format!("{series} {histogram:?} {time}");
    }
    for (number, exemplar) in beside.exemplars {
        lines[number as usize] += &format!(" # {} {}", exemplar.labels, exemplar.value);
    }
    Some(lines)
}

fn read_in_full(body: &[u8], histograms: Histograms) -> Vec<String> {
    let mut lines = Vec::new();
    let mut parser = ProtobufParser::new(body, histograms, &Limits::default());
    loop {
        match parser.next().expect("a page that a shape reads parses") {
            Entry::Eof => return lines,
            Entry::Sample(line) => {
                let (series, time) = (String::from_utf8_lossy(line.series), line.timestamp_ms.unwrap_or(0));
                let mut out = format!("{series} {:x} {time}", line.value.to_bits());
                if let Some(part) = line.exemplar {
                    let labels = hearth_model::Labels::from_pairs(pairs_of(part.labels));
                    let _ = write!(out, " # {labels} {}", part.value);
                }
                lines.push(out);
            }
            Entry::Histogram(line) => {
                let (series, time) = (String::from_utf8_lossy(line.series), line.timestamp_ms.unwrap_or(0));
                let mut out = format!("{series} {:?} {time}", line.histogram);
                line.exemplars.iter().for_each(|e| {
                    let _ = write!(out, " # {} {}", e.labels, e.value);
                });
                lines.push(out);
            }
            _ => {}
        }
    }
}

#[test]
fn a_page_of_a_shape_is_read_as_the_parser_reads_it() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut shaped, mut read, mut refused) = (0, 0, 0);
    for turn in 0..400 {
        let histograms = Histograms { native: turn % 2 == 0, always_classic: turn % 3 == 0 };
        let kinds: Vec<u64> = (0..random.usize(1..5)).map(|_| random.u64(0..5)).collect();
        let first = random_page(&mut random, &kinds, turn % 4 == 0);
        let shape = ProtobufShape::of(&first, histograms, &Limits::default(), |_| true);
        let Some(shape) = shape else { continue };
        shaped += 1;
        assert_eq!(read_by_shape(&shape, &first), Some(read_in_full(&first, histograms)), "seed {seed}");
        for _ in 0..8 {
            let oddities = random.bool();
            let mut next = random_page(&mut random, &kinds, oddities);
            if random.u32(0..3) == 0 {
                let at = random.usize(0..next.len());
                next[at] ^= 1 << random.u32(0..8);
            }
            match read_by_shape(&shape, &next) {
                Some(lines) => {
                    assert_eq!(lines, read_in_full(&next, histograms), "seed {seed}");
                    read += 1;
                }
                None => refused += 1,
            }
        }
        assert_eq!(read_by_shape(&shape, &first[..first.len() - 1]), None);
        assert_eq!(read_by_shape(&shape, &[&first[..], &first[..]].concat()), None);
    }
    println!("{shaped} shapes, {read} pages read by them, {refused} refused");
    assert!(shaped > 200 && read > 300 && refused > 200, "{shaped} {read} {refused}");
}

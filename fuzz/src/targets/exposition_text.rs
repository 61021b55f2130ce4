//! The Prometheus text format. Every entry must lie within the body, move on, and read the same when its
//! series is expected; labels that are valid must read back after they are printed. A page that has a shape reads by it
//! as it does without.

use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Entry, Format, Parser, Readings, SampleLine, Shape, labels_of, pairs_of, print, unescape_help,
};

pub fn run(data: &[u8]) {
    walk(Format::Text, data);
}

pub(super) fn walk(format: Format, data: &[u8]) {
    let limits = Limits { series_labels: 32, line_bytes: 4_096, ..Limits::default() };
    let mut parser = Parser::new(format, data, &limits);
    let (mut entries, mut samples, mut whole, mut plain) = (0, Vec::new(), true, true);
    loop {
        let before = parser.clone();
        match parser.next() {
            Ok(Entry::Eof) => break,
            Ok(Entry::Sample(sample)) => {
                samples.push(bits(&sample));
                plain &= sample.exemplar.is_none();
                check_sample(format, before, &sample);
            }
            Ok(Entry::Help { help, .. }) => assert!(unescape_help(help, format).len() <= help.len()),
            Ok(_) => {}
            Err(error) => {
                assert!(error.line <= 1 + data.iter().filter(|&&b| b == b'\n').count(), "{error}");
                whole = false;
                break;
            }
        }
        entries += 1;
        assert!(entries <= data.len(), "the parser does not move on");
    }
    assert_eq!(parser.next(), Ok(Entry::Eof), "the parser goes on after its end");
    let Some(shape) = Shape::of(format, data, &limits, |_| true) else { return };
    let (mut values, mut times) = (Vec::new(), Vec::new());
    let mut into = Readings { values: &mut values, times: &mut times, at_ms: NO_TIME };
    let reads = shape.read(data, &mut into);
    assert!(whole && reads == plain, "a page is not of its own shape");
    if reads {
        assert_eq!(read_bits(&shape, &values, &times), samples);
        let mut again = Readings { values: &mut Vec::new(), times: &mut Vec::new(), at_ms: NO_TIME };
        let cut = &data[..data.len().saturating_sub(1)];
        assert!(!shape.read(cut, &mut again) || data.last() != Some(&b'\n'));
    }
    without_a_line(format, data, &shape);
}

/// Of samples without one; no time of a page is it.
const NO_TIME: i64 = i64::MIN;

/// Value, time and exemplar's value of a sample.
type Bits = (u64, i64, Option<u64>);

fn bits(sample: &SampleLine<'_>) -> Bits {
    let exemplar = sample.exemplar.map(|exemplar| exemplar.value.to_bits());
    (sample.value.to_bits(), sample.timestamp_ms.unwrap_or(NO_TIME), exemplar)
}

fn read_bits(shape: &Shape, values: &[f64], times: &[i64]) -> Vec<Bits> {
    let expected = if shape.is_timed() { values.len() } else { 0 };
    assert_eq!((values.len(), times.len()), (shape.len(), expected));
    let time = |at: usize| times.get(at).map_or(NO_TIME, |time| *time);
    values.iter().enumerate().map(|(at, value)| (value.to_bits(), time(at), None)).collect()
}

/// The page without one of its lines: where that may be read around it, as the parser reads it.
fn without_a_line(format: Format, data: &[u8], shape: &Shape) {
    let Some(start) = data.iter().position(|b| *b == b'\n').map(|at| at + 1) else { return };
    let Some(length) = data[start..].iter().position(|b| *b == b'\n') else { return };
    let body = [&data[..start], &data[start + length + 1..]].concat();
    let series: Vec<_> = shape.series().collect();
    let find = |raw: &[u8]| series.iter().position(|series| *series == raw);
    let (mut values, mut times) = (Vec::new(), Vec::new());
    let mut into = Readings { values: &mut values, times: &mut times, at_ms: NO_TIME };
    let Some(found) = shape.read_around(format, &body, 4, find, &mut into) else { return };
    let mut read = read_bits(shape, &values, &times);
    for (number, noted) in &found.exemplars {
        let part = noted.part(&body).expect("an exemplar stands in the body");
        assert!(pairs_of(part.labels).count() <= 32, "{format:?}");
        read[*number as usize].2 = Some(part.value.to_bits());
    }
    let absent = |at: usize| found.absent.contains(&(at as u32));
    let kept = read.iter().enumerate().filter(|(at, _)| !absent(*at)).map(|(_, bits)| *bits);
    let strays = found.strays.iter().map(|stray| {
        let exemplar = stray.exemplar.as_ref().map(|noted| noted.value.to_bits());
        (stray.value.to_bits(), stray.timestamp_ms.unwrap_or(NO_TIME), exemplar)
    });
    let mut around: Vec<_> = kept.chain(strays).collect();
    let (mut parser, mut parsed) = (Parser::new(format, &body, &Limits::default()), Vec::new());
    loop {
        match parser.next().expect("what is read around parses") {
            Entry::Eof => break,
            Entry::Sample(sample) => parsed.push(bits(&sample)),
            _ => {}
        }
    }
    around.sort_unstable();
    parsed.sort_unstable();
    assert_eq!(around, parsed);
}

fn check_sample(format: Format, mut before: Parser<'_>, sample: &SampleLine<'_>) {
    let expected = before.next_expecting(sample.series);
    assert_eq!(format!("{expected:?}"), format!("{:?}", Ok::<_, ()>(Entry::Sample(*sample))));
    if let Some(exemplar) = sample.exemplar {
        assert!(pairs_of(exemplar.labels).count() <= 32, "{format:?}");
    }
    let Ok(labels) = labels_of(sample.series) else { return };
    let mut line = Vec::new();
    print::write_sample(&mut line, labels.metric_name(), &labels, sample.value, None);
    let mut again = Parser::new(Format::Text, &line, &Limits::default());
    let Ok(Entry::Sample(printed)) = again.next() else { panic!("printed {}", line.escape_ascii()) };
    assert_eq!(labels_of(printed.series), Ok(labels));
    assert!(printed.value.to_bits() == sample.value.to_bits() || sample.value.is_nan());
}

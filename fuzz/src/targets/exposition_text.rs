//! The Prometheus text format. Every entry must lie within the body, move on, and read the same when its
//! series is expected; labels that are valid must read back after they are printed. A page that has a shape reads by it
//! as it does without.

use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Entry, Format, Parser, SampleLine, Shape, labels_of, pairs_of, print, unescape_help,
};

pub fn run(data: &[u8]) {
    walk(Format::Text, data);
}

pub(super) fn walk(format: Format, data: &[u8]) {
    let limits = Limits { series_labels: 32, line_bytes: 4_096, ..Limits::default() };
    let mut parser = Parser::new(format, data, &limits);
    let (mut entries, mut values, mut whole) = (0, Vec::new(), true);
    loop {
        let before = parser.clone();
        match parser.next() {
            Ok(Entry::Eof) => break,
            Ok(Entry::Sample(sample)) => {
                values.push(sample.value.to_bits());
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
    let mut read = Vec::new();
    assert!(whole && shape.read(data, &mut read), "a page is not of its own shape");
    assert_eq!(read.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), values);
    assert!(!shape.read(&data[..data.len().saturating_sub(1)], &mut read) || data.last() != Some(&b'\n'));
    without_a_line(format, data, &shape);
}

/// The page without one of its lines: where that may be read around it, as the parser reads it.
fn without_a_line(format: Format, data: &[u8], shape: &Shape) {
    let Some(start) = data.iter().position(|b| *b == b'\n').map(|at| at + 1) else { return };
    let Some(length) = data[start..].iter().position(|b| *b == b'\n') else { return };
    let body = [&data[..start], &data[start + length + 1..]].concat();
    let series: Vec<_> = shape.series().collect();
    let (mut read, find) = (Vec::new(), |raw: &[u8]| series.iter().position(|series| *series == raw));
    let Some(found) = shape.read_around(format, &body, 4, find, &mut read) else { return };
    let absent = |at: usize| found.absent.contains(&(at as u32));
    let kept = read.iter().enumerate().filter(|(at, _)| !absent(*at)).map(|(_, value)| *value);
    let mut around: Vec<_> =
        kept.chain(found.strays.iter().map(|stray| stray.value)).map(f64::to_bits).collect();
    let (mut parser, mut parsed) = (Parser::new(format, &body, &Limits::default()), Vec::new());
    loop {
        match parser.next().expect("what is read around parses") {
            Entry::Eof => break,
            Entry::Sample(sample) => parsed.push(sample.value.to_bits()),
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

//! The protobuf exposition. Every series must read back as the text format spells it, every native
//! histogram must survive being checked, and the walk must end. A page that has a shape reads by it as it does without,
//! and so does what it is with one byte changed, where the shape reads that.

use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Entry, Format, Histograms, Parser, ProtobufParser, ProtobufShape, Readings, SampleLine, labels_of,
    pairs_of,
};

pub fn run(data: &[u8]) {
    let limits = Limits { series_labels: 32, request_buckets: 1_000, ..Limits::default() };
    for (native, always_classic) in [(false, false), (true, false), (true, true)] {
        let histograms = Histograms { native, always_classic };
        walk(data, histograms, &limits);
        if data.is_empty() {
            continue;
        }
        let Some(shape) = ProtobufShape::of(data, histograms, &limits, |_| true) else { continue };
        assert!(by_shape(&shape, data, histograms, &limits), "a page is not of its own shape");
        let mut changed = data.to_vec();
        let at =
            data.iter().fold(data.len(), |at, byte| at.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        changed[at % data.len()] ^= 1 << (at % 7);
        by_shape(&shape, &changed, histograms, &limits);
    }
}

/// Whether the shape reads the page; then it must do so as the parser does.
fn by_shape(shape: &ProtobufShape, data: &[u8], histograms: Histograms, limits: &Limits) -> bool {
    let (mut values, mut times) = (Vec::new(), Vec::new());
    let mut into = Readings { values: &mut values, times: &mut times, at_ms: 0 };
    let Some(beside) = shape.read(data, limits, &mut into) else { return false };
    assert_eq!(values.len(), shape.len());
    let (mut histograms_read, mut exemplars) = (beside.histograms.iter(), 0);
    let mut parser = ProtobufParser::new(data, histograms, limits);
    let mut number = 0;
    loop {
        let (series, time) = match parser.next().expect("what a shape reads parses") {
            Entry::Eof => break,
            Entry::Sample(line) => {
                assert_eq!(line.value.to_bits(), values[number].to_bits());
                exemplars += usize::from(line.exemplar.is_some());
                (line.series, line.timestamp_ms)
            }
            Entry::Histogram(line) => {
                let (at, _, histogram) = histograms_read.next().expect("as many");
                assert_eq!(*at as usize, number);
                assert_eq!(format!("{histogram:?}"), format!("{:?}", line.histogram));
                exemplars += line.exemplars.len();
                (line.series, line.timestamp_ms)
            }
            _ => continue,
        };
        assert_eq!(series, shape.series_at(number));
        assert_eq!(time.is_some(), shape.has_time(number));
        assert_eq!(times.get(number).map_or(0, |time| *time), time.unwrap_or(0));
        number += 1;
    }
    assert_eq!((number, exemplars), (shape.len(), beside.exemplars.len()));
    true
}

fn walk(data: &[u8], histograms: Histograms, limits: &Limits) {
    let mut parser = ProtobufParser::new(data, histograms, limits);
    let mut entries = 0;
    loop {
        match parser.next() {
            Ok(Entry::Eof) => break,
            Ok(Entry::Sample(sample)) => check_series(&sample),
            Ok(Entry::Histogram(line)) => {
                assert!(histograms.native);
                let mut histogram = line.histogram.clone();
                if histogram.validate().is_ok() {
                    histogram.reduce_resolution(histogram.schema.wrapping_sub(1));
                    assert_eq!(histogram.validate(), Ok(()));
                }
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= data.len(), "{error}");
                break;
            }
        }
        entries += 1;
        // A family has three entries, a histogram three parts besides its buckets; none is without a byte.
        assert!(entries <= 6 * data.len(), "the parser does not move on");
    }
    assert_eq!(parser.next(), Ok(Entry::Eof), "the parser goes on after its end");
}

fn check_series(sample: &SampleLine<'_>) {
    if let Some(exemplar) = sample.exemplar {
        assert!(pairs_of(exemplar.labels).count() <= 32);
    }
    let mut line = sample.series.to_vec();
    line.extend_from_slice(b" 1\n");
    let mut again = Parser::new(Format::Text, &line, &Limits::default());
    // A label may have the empty name, which text cannot say; its labels are refused later.
    if let Ok(Entry::Sample(read)) = again.next() {
        assert_eq!(read.series, sample.series);
        return;
    }
    assert!(labels_of(sample.series).is_err(), "unreadable: {}", line.escape_ascii());
}

//! The protobuf exposition. Every series must read back as the text format spells it, every native
//! histogram must survive being checked, and the walk must end.

use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Entry, Format, Histograms, Parser, ProtobufParser, SampleLine, labels_of, pairs_of,
};

pub fn run(data: &[u8]) {
    let limits = Limits { series_labels: 32, request_buckets: 1_000, ..Limits::default() };
    for (native, always_classic) in [(false, false), (true, false), (true, true)] {
        walk(data, Histograms { native, always_classic }, &limits);
    }
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

//! Text in, text out, for both formats; the verdicts are those of Prometheus 3.5.

mod bodies;
mod protobuf;

use super::*;
use crate::config::Limits;
use proptest::prelude::*;
use std::fmt::Write;

/// All entries of a body, one a line; the first error last.
fn read(format: Format, body: &[u8]) -> String {
    let mut out = String::new();
    let mut parser = Parser::new(format, body, &Limits::default());
    loop {
        match parser.next() {
            Ok(Entry::Eof) => return out,
            Ok(entry) => out += &line(format, &entry),
            Err(error) => return out + &format!("error: {error}\n"),
        }
    }
}

fn line(format: Format, entry: &Entry<'_>) -> String {
    match entry {
        Entry::Type { family, metric_type } => format!("type {family} {metric_type}\n"),
        Entry::Help { family, help } => format!("help {family} {:?}\n", unescape_help(help, format)),
        Entry::Unit { family, unit } => format!("unit {family} {unit:?}\n"),
        Entry::Comment(text) => format!("comment {:?}\n", String::from_utf8_lossy(text)),
        Entry::Eof | Entry::Histogram(_) => "eof\n".to_owned(),
        Entry::Sample(sample) => {
            let labels = labels_of(sample.series).map_or_else(|e| format!("<{e}>"), |l| l.to_string());
            let mut out = format!("{labels} {}", sample.value);
            if let Some(time) = sample.timestamp_ms {
                let _ = write!(out, " @{time}");
            }
            if let Some(exemplar) = sample.exemplar {
                let _ = write!(out, " #");
                for (name, value) in pairs_of(exemplar.labels) {
                    let _ = write!(out, " {name}={value}");
                }
                let _ = write!(out, " {} @{:?}", exemplar.value, exemplar.timestamp_ms);
            }
            out + "\n"
        }
    }
}

#[track_caller]
fn check_text(body: &str, expect: &str) {
    assert_eq!(read(Format::Text, body.as_bytes()), expect);
}

#[track_caller]
fn check_openmetrics(body: &str, expect: &str) {
    assert_eq!(read(Format::OpenMetrics, body.as_bytes()), expect);
}

#[test]
fn takes_and_refuses_what_prometheus_does() {
    let check = |format, bodies: &[&[u8]], taken: bool| {
        for body in bodies {
            let found = read(format, body);
            let shown = String::from_utf8_lossy(body);
            assert_eq!(!found.contains("error:"), taken, "{format:?} {shown:?}\n{found}");
        }
    };
    check(Format::Text, bodies::TEXT_TAKEN, true);
    check(Format::Text, bodies::TEXT_REFUSED, false);
    check(Format::OpenMetrics, bodies::OPENMETRICS_TAKEN, true);
    check(Format::OpenMetrics, bodies::OPENMETRICS_REFUSED, false);
}

#[test]
fn text_reads_line_by_line() {
    check_text(
        "# HELP a_total  Two \\\\ lines\\n\n# TYPE a_total counter\n# note\na_total{x=\"1\"} 5 1500\n\na_total 1e3",
        concat!(
            "help a_total \" Two \\\\ lines\\n\"\n",
            "type a_total counter\n",
            "comment \"# note\"\n",
            "a_total{x=\"1\"} 5 @1500\n",
            "a_total 1000\n"
        ),
    );
    check_text(" a { b = \"c\" , } 1 \n", "a{b=\"c\"} 1\n");
    check_text("{\"a.b\",\"c d\"=\"e\"} NaN\n", "{__name__=\"a.b\", \"c d\"=\"e\"} NaN\n");
    check_text("{x=\"y\",\"m\"} +Inf\n", "m{x=\"y\"} inf\n");
    check_text("a{b=\"x\\ty\\\"\\\\\\n\"} 1\n", "a{b=\"x\\\\ty\\\"\\\\\\n\"} 1\n");
    check_text("a{b=\"x\ny\"} 1\nb 2\n", "a{b=\"x\\ny\"} 1\nb 2\n");
    check_text("# TYPE \"a.b\" untyped\n", "type a.b unknown\n");
    check_text("a{b=\"\"} -0\n", "a -0\n");
    check_text("", "");
}

#[test]
fn openmetrics_reads_line_by_line() {
    check_openmetrics(
        concat!(
            "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Help.\n",
            "a_seconds_total{x=\"1\"} 5 1.5 # {trace_id=\"t\",\"s.p\"=\"u\"} 0.25 2.0005\n",
            "a_seconds_total 6 # {} 1\n# EOF\n"
        ),
        concat!(
            "type a_seconds counter\nunit a_seconds \"seconds\"\nhelp a_seconds \"Help.\"\n",
            "a_seconds_total{x=\"1\"} 5 @1500 # trace_id=t s.p=u 0.25 @Some(2000)\n",
            "a_seconds_total 6 # 1 @None\n"
        ),
    );
    check_openmetrics("a 1 -1.5\n# EOF", "a 1 @-1500\n");
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    check_text("a 1\nb{c=d} 1\n", "a 1\nerror: line 2: expected label value, found \"d} 1\\n\"\n");
    check_text("a{b=\"x\ny\"} z", "error: line 2: invalid float, found \"z\"\n");
    check_text("a", "error: line 1: expected value after metric, found the end\n");
    check_text("a 1e999", "error: line 1: float out of range, found \"1e999\"\n");
    check_text("{a=\"b\"} 1", "error: line 1: metric name not set, found \"{a=\\\"b\\\"}\"\n");
    check_text("{a} 1\n", "error: line 1: expected equal sign, found \"} 1\\n\"\n");
    check_text("# TYPE a wrong\n", "error: line 1: invalid metric type, found \"wrong\"\n");
    check_openmetrics("a 1\n", "a 1\nerror: line 2: expected # EOF at the end of the data, found the end\n");
    check_openmetrics(
        "# comment\n# EOF\n",
        "error: line 1: expected HELP, TYPE, UNIT or EOF after #, found \"# comment\\n\"\n",
    );
}

#[test]
fn labels_that_no_series_may_have_are_told() {
    check_text("a{b=\"1\",b=\"\"} 1", "<label name \"b\" is not unique> 1\n");
    check_text("a{__name__=\"b\"} 1", "<label name \"__name__\" is not unique> 1\n");
    check_text("a{\"\"=\"b\"} 1", "<label name is empty> 1\n");
    check_text("{\"\"} 1", "<missing metric name (__name__ label)> 1\n");
}

#[test]
fn limits_hold() {
    let limits = Limits { line_bytes: 20, series_labels: 2, ..Limits::default() };
    let check = |body: &str, expect: &str| {
        let error = Parser::new(Format::Text, body.as_bytes(), &limits).next().expect_err("refused");
        assert_eq!(error.to_string(), expect);
    };
    check(
        "a{b=\"1\",c=\"2\",d=\"3\"} 1",
        "line 1: series has more labels than the limit, found \"d=\\\"3\\\"\"",
    );
    check(
        "# a long comment, longer than all\n",
        "line 1: line is longer than the limit, found \"# a long comment, longer than all\\n\"",
    );
}

#[test]
fn an_expected_series_reads_the_same() {
    let bodies = bodies::TEXT_TAKEN.iter().map(|body| (Format::Text, *body));
    let bodies = bodies.chain(bodies::OPENMETRICS_TAKEN.iter().map(|body| (Format::OpenMetrics, *body)));
    for (format, body) in bodies {
        let mut known: Vec<Vec<u8>> = vec![b"foo".to_vec(), b"foo{a=\"b\"}".to_vec()];
        let mut plain = Parser::new(format, body, &Limits::default());
        while let Ok(Entry::Sample(sample)) = plain.clone().next() {
            known.push(sample.series.to_vec());
            // As words, because NaN equals nothing.
            let expect = format!("{:?}", plain.clone().next());
            for series in &known {
                let found = format!("{:?}", plain.clone().next_expecting(series));
                assert_eq!(found, expect, "{format:?} {series:?}");
            }
            let _ = plain.next();
        }
    }
    // Only what follows tells that this is another series.
    let mut parser = Parser::new(Format::Text, b"foo {a=\"b\"} 1", &Limits::default());
    let entry = parser.next_expecting(b"foo").expect("parses");
    assert_eq!(line(Format::Text, &entry), "foo{a=\"b\"} 1\n");
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let body = concat!(
        "# HELP \"a.b\" x\\n\n# TYPE a counter\n# UNIT a_s s\n{\"a.b\",c=\"d\\\"\"} 1.5 2\n",
        "a_s{b=\"c\",d=\"e\"} 1 # {f=\"g\"} 2 3\n# EOF\n"
    );
    for format in [Format::Text, Format::OpenMetrics] {
        for cut in 0..body.len() {
            read(format, &body.as_bytes()[..cut]);
            for flip in 1..=255u8 {
                let mut bad = body.as_bytes().to_vec();
                bad[cut] ^= flip;
                read(format, &bad);
            }
        }
    }
}

#[test]
fn what_we_print_we_read() {
    let mut out = Vec::new();
    print::write_help(&mut out, "a_total", "back\\slash\nnext \"q\"");
    print::write_type(&mut out, "a_total", MetricType::Counter);
    print::write_type(&mut out, "a.b", MetricType::Info);
    print::write_sample(&mut out, "a_total", [("__name__", "a_total"), ("x", "q\"\\\n")], 1e6, Some(-5));
    print::write_sample(&mut out, "a.b", [("c d", "e"), ("f", "")], f64::NEG_INFINITY, None);
    print::write_sample(&mut out, "up", [], 0.25, None);
    let expect = concat!(
        "# HELP a_total back\\\\slash\\nnext \"q\"\n",
        "# TYPE a_total counter\n",
        "# TYPE \"a.b\" untyped\n",
        "a_total{x=\"q\\\"\\\\\\n\"} 1e+06 -5\n",
        "{\"a.b\",\"c d\"=\"e\",f=\"\"} -Inf\n",
        "up 0.25\n"
    );
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expect);
}

proptest! {
    #[test]
    fn printed_samples_read_back(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,9}|.{1,9}",
        labels in prop::collection::btree_map("[a-z_]{1,5}|.{1,5}", ".{1,20}", 0..4),
        bits in any::<u64>(),
        time in prop::option::of(0..i64::MAX),
    ) {
        let value = f64::from_bits(bits);
        let mut body = Vec::new();
        let pairs = labels.iter().filter(|(n, _)| *n != "__name__").map(|(n, v)| (n.as_str(), v.as_str()));
        print::write_sample(&mut body, &name, pairs.clone(), value, time);
        let mut parser = Parser::new(Format::Text, &body, &Limits::default());
        let entry = parser.next().expect("parses");
        let Entry::Sample(sample) = entry else { panic!("{entry:?}") };
        let expect = hearth_model::Labels::from_pairs(pairs.chain([("__name__", name.as_str())]));
        prop_assert_eq!(labels_of(sample.series), Ok(expect));
        prop_assert!(sample.value.to_bits() == bits || value.is_nan());
        prop_assert_eq!(sample.timestamp_ms, time);
        prop_assert_eq!(parser.next(), Ok(Entry::Eof));
    }

    #[test]
    fn noise_is_survived(body in "[a{}\"\\\\=,#HELPTY 1.\n\té]{0,60}") {
        read(Format::Text, body.as_bytes());
        read(Format::OpenMetrics, body.as_bytes());
    }
}

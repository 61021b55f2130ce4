//! Each expectation was answered by Prometheus 3.5 for the same samples.

use super::*;
use hearth_model::Span;

#[track_caller]
fn check(write: impl FnOnce(&mut Vec<u8>), expect: &str) {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expect);
}

#[test]
fn label_values_escape_only_what_json_must() {
    let labels = Labels::from_pairs([("__name__", "s"), ("v", "a<b>&\"\\\n\r\t\u{1}\u{8}\u{c}\u{1f}\u{7f}")]);
    check(
        |out| write_vector_element(out, &labels, 1_795_351_917_531, 1.5),
        concat!(
            r#"{"metric":{"__name__":"s","v":"a<b>&\"\\\n\r\t\u0001\u0008\u000c\u001f"#,
            "\u{7f}",
            r#""},"value":[1795351917.531,"1.5"]}"#
        ),
    );
    check(|out| write_string(out, "\u{2028}é😀"), "\"\u{2028}é😀\"");
    check(|out| write_labels(out, &Labels::empty()), "{}");
}

#[test]
fn other_strings_escape_html_too() {
    check(|out| write_string_html(out, "a<b>&\"\\\n\u{1}"), r#""a\u003cb\u003e\u0026\"\\\n\u0001""#);
    check(|out| write_string_html(out, "\u{2028}\u{2029}é\u{2027}😀"), "\"\\u2028\\u2029é\u{2027}😀\"");
    check(|out| write_string_html(out, "x€\u{2028}"), "\"x€\\u2028\"");
}

#[test]
fn scalars_and_strings_go_the_general_way() {
    check(|out| write_scalar(out, 1_700_000_000_100, 1e-7), r#"[1700000000.1,"0.0000001"]"#);
    check(|out| write_scalar(out, -1_500, -0.0), r#"[-1.5,"-0"]"#);
    check(|out| write_scalar(out, 7, 1e21), r#"[0.007,"1000000000000000000000"]"#);
    check(
        |out| write_string_result(out, 1_795_351_917_534, "a<b\u{2028}"),
        r#"[1795351917.534,"a\u003cb\u2028"]"#,
    );
}

#[test]
fn times_have_three_decimals_or_none() {
    let times = [
        (0, "0"),
        (1, "0.001"),
        (1_000, "1"),
        (1_100, "1.100"),
        (-1, "-0.001"),
        (-1_500, "-1.500"),
        (-2_000, "-2"),
    ];
    for (time, expect) in times {
        check(|out| write_time(out, time), expect);
    }
    check(|out| write_time(out, i64::MIN), "-9223372036854775.808");
}

#[test]
fn a_matrix_series_has_values_then_histograms() {
    let labels = Labels::from_pairs([("__name__", "m")]);
    let h = Histogram { count: 1.0, sum: 2.5, ..Histogram::stale() };
    let points =
        [(1_000, 1.0), (2_000, f64::NAN)].map(|(timestamp_ms, value)| Sample { timestamp_ms, value });
    check(
        |out| write_matrix_series(out, &labels, points, []),
        r#"{"metric":{"__name__":"m"},"values":[[1,"1"],[2,"NaN"]]}"#,
    );
    check(
        |out| write_matrix_series(out, &labels, points, [(3_000, &h), (4_000, &h)]),
        concat!(
            r#"{"metric":{"__name__":"m"},"values":[[1,"1"],[2,"NaN"]],"#,
            r#""histograms":[[3,{"count":"1","sum":"2.5"}],[4,{"count":"1","sum":"2.5"}]]}"#
        ),
    );
    check(
        |out| write_matrix_series(out, &labels, [], [(3_000, &h)]),
        r#"{"metric":{"__name__":"m"},"histograms":[[3,{"count":"1","sum":"2.5"}]]}"#,
    );
}

#[test]
fn histograms_show_their_buckets() {
    let native = Histogram {
        count: 17.0,
        sum: 1e-7,
        zero_threshold: 0.75,
        zero_count: 2.0,
        negative_spans: vec![Span { offset: -1, length: 1 }, Span { offset: 1, length: 1 }],
        negative_counts: vec![4.0, 5.0],
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive_counts: vec![1.0, 2.0, 3.0],
        ..Histogram::stale()
    };
    check(
        |out| write_histogram(out, &native),
        concat!(
            r#"{"count":"17","sum":"1e-07","buckets":[[1,"-2","-1","5"],[1,"-0.5","-0.75","4"],"#,
            r#"[3,"-0.75","0.75","2"],[0,"0.75","1","1"],[0,"1","2","2"],[0,"4","8","3"]]}"#
        ),
    );
    let custom = Histogram {
        schema: -53,
        count: 4.0,
        sum: 1e22,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_counts: vec![1.0, 0.0, 3.0],
        custom_values: vec![0.5, 2.0],
        ..Histogram::stale()
    };
    check(
        |out| write_histogram(out, &custom),
        r#"{"count":"4","sum":"1e+22","buckets":[[3,"-Inf","0.5","1"],[0,"2","+Inf","3"]]}"#,
    );
    let float = Histogram {
        schema: 3,
        count: 3.5,
        sum: -0.0,
        positive_spans: vec![Span { offset: -3, length: 2 }],
        positive_counts: vec![1.5, 2.0],
        ..Histogram::stale()
    };
    check(
        |out| write_histogram(out, &float),
        concat!(
            r#"{"count":"3.5","sum":"-0","buckets":[[0,"0.7071067811865475","0.7711054127039704","1.5"],"#,
            r#"[0,"0.7711054127039704","0.8408964152537144","2"]]}"#
        ),
    );
}

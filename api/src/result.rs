//! A query's value as JSON, written in pieces of about 64 KiB while the client reads: a large result is
//! never one string. What fits into one piece is sent with its length.

use crate::config::PIECE_BYTES;
use crate::envelope::{Notes, json, write_json};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use hearth_promql::query::{MatrixSeries, Point, QueryStats, Value, VectorElement};
use hearth_wire::json as print;
use http::StatusCode;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Points written between two looks at how full the piece is.
const RUN: usize = 256;

/// Pieces of an answer in a row: some hundreds of microseconds.
const PIECES_AT_ONCE: usize = 4;

/// Writes `{"status":"success","data":{"resultType":…,"result":…,<tail>},<notes>}`. `tail` is a member with
/// its comma in front, or nothing.
pub fn stream(value: Value, tail: Vec<u8>, notes: &Notes) -> Response {
    let mut end = tail;
    end.push(b'}');
    end.extend_from_slice(&notes.close());
    let mut pieces = Pieces::new(value, end);
    let Some(first) = pieces.next() else { return json(StatusCode::OK, Body::empty()) };
    if pieces.done {
        return json(StatusCode::OK, Body::from(first));
    }
    json(StatusCode::OK, Body::from_stream(Paced { first: Some(first), pieces, since: 0 }))
}

/// Pieces one after the other; after some of them the thread's other requests have their turn.
struct Paced {
    first: Option<Bytes>,
    pieces: Pieces,
    /// Pieces since the last turn of the others.
    since: usize,
}

impl Stream for Paced {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.since == PIECES_AT_ONCE {
            self.since = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.since += 1;
        let next = self.first.take().or_else(|| self.pieces.next());
        Poll::Ready(next.map(Ok))
    }
}

/// What is left to write; each `next` is one piece.
struct Pieces {
    rest: Rest,
    /// Written already and not sent, at most one head of an envelope.
    head: Vec<u8>,
    end: Vec<u8>,
    first_item: bool,
    done: bool,
    times: print::Times,
}

enum Rest {
    Vector(std::vec::IntoIter<VectorElement>),
    Matrix { series: std::vec::IntoIter<MatrixSeries>, open: Option<Open> },
    Nothing,
}

/// The series that a piece ended in.
struct Open {
    series: MatrixSeries,
    print: print::MatrixSeries,
    floats: usize,
    histograms: usize,
}

impl Pieces {
    fn new(value: Value, end: Vec<u8>) -> Pieces {
        let kind = value.kind();
        let mut head =
            format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":").into_bytes();
        let mut close = Vec::new();
        let rest = match value {
            Value::Scalar(sample) => {
                print::write_scalar(&mut head, sample.timestamp_ms, sample.value);
                Rest::Nothing
            }
            Value::String { timestamp_ms, text } => {
                print::write_string_result(&mut head, timestamp_ms, &text);
                Rest::Nothing
            }
            Value::Vector(elements) => {
                head.push(b'[');
                close.push(b']');
                Rest::Vector(elements.into_iter())
            }
            Value::Matrix(series) => {
                head.push(b'[');
                close.push(b']');
                Rest::Matrix { series: series.into_iter(), open: None }
            }
        };
        close.extend_from_slice(&end);
        Pieces { rest, head, end: close, first_item: true, done: false, times: print::Times::default() }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut out = std::mem::take(&mut self.head);
        if let Rest::Matrix { series, open: Some(_) } = &self.rest
            && series.len() > 0
        {
            // In the middle of a large result: room for a whole piece, instead of growing to it.
            out.reserve(PIECE_BYTES + PIECE_BYTES / 4);
        }
        while out.len() < PIECE_BYTES {
            let more = match &mut self.rest {
                Rest::Nothing => false,
                Rest::Vector(elements) => write_element(&mut out, elements, &mut self.first_item),
                Rest::Matrix { series, open } => {
                    write_run(&mut out, series, open, &mut self.first_item, &mut self.times)
                }
            };
            if !more {
                out.append(&mut self.end);
                self.done = true;
                break;
            }
        }
        Some(Bytes::from(out))
    }
}

fn comma(out: &mut Vec<u8>, first_item: &mut bool) {
    if !std::mem::replace(first_item, false) {
        out.push(b',');
    }
}

/// One element of a vector; false at the end.
fn write_element(
    out: &mut Vec<u8>,
    elements: &mut std::vec::IntoIter<VectorElement>,
    first_item: &mut bool,
) -> bool {
    let Some(element) = elements.next() else { return false };
    comma(out, first_item);
    let VectorElement { labels, timestamp_ms, point } = element;
    match point {
        Point::Float(value) => print::write_vector_element(out, &labels, timestamp_ms, value),
        Point::Histogram(histogram) => {
            print::write_vector_histogram(out, &labels, timestamp_ms, &histogram);
        }
    }
    true
}

/// Some points of the current series of a matrix; false at the end of all.
fn write_run(
    out: &mut Vec<u8>,
    rest: &mut std::vec::IntoIter<MatrixSeries>,
    open: &mut Option<Open>,
    first_item: &mut bool,
    times: &mut print::Times,
) -> bool {
    let mut current = match open.take() {
        Some(current) => current,
        None => {
            let Some(series) = rest.next() else { return false };
            comma(out, first_item);
            let print = print::MatrixSeries::open(out, &series.labels);
            Open { series, print, floats: 0, histograms: 0 }
        }
    };
    let floats = &current.series.floats[current.floats..];
    let floats = &floats[..floats.len().min(RUN)];
    current.print.samples(out, times, current.floats, floats);
    current.floats += floats.len();
    if current.floats == current.series.floats.len() {
        let histograms = current.series.histograms.iter().skip(current.histograms).take(RUN / 16);
        for (timestamp_ms, histogram) in histograms.clone() {
            current.print.histogram(out, *timestamp_ms, histogram);
        }
        current.histograms += histograms.len();
    }
    let finished = current.floats == current.series.floats.len()
        && current.histograms == current.series.histograms.len();
    if finished {
        current.print.close(out);
    } else {
        *open = Some(current);
    }
    true
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    timings: Timings,
    samples: Samples,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    eval_total_time: f64,
    result_sort_time: f64,
    query_preparation_time: f64,
    inner_eval_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Samples {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_queryable_samples_per_step: Option<Vec<(f64, u64)>>,
    total_queryable_samples: u64,
    peak_samples: u64,
}

/// `,"stats":{…}`
pub fn stats_json(stats: &QueryStats, per_step: bool) -> Vec<u8> {
    let seconds = |d: Duration| d.as_secs_f64();
    let evaluated = stats.prepare_time + stats.eval_time + stats.sort_time;
    let steps = || stats.samples_per_step.iter().map(|(ms, n)| (*ms as f64 / 1_000.0, *n)).collect();
    let shown = Stats {
        timings: Timings {
            eval_total_time: seconds(evaluated),
            result_sort_time: seconds(stats.sort_time),
            query_preparation_time: seconds(stats.prepare_time),
            inner_eval_time: seconds(stats.eval_time),
            exec_queue_time: seconds(stats.queue_time),
            exec_total_time: seconds(stats.queue_time + evaluated),
        },
        samples: Samples {
            total_queryable_samples_per_step: per_step.then(steps),
            total_queryable_samples: stats.total_samples,
            peak_samples: stats.peak_samples,
        },
    };
    let mut out = b",\"stats\":".to_vec();
    write_json(&mut out, &shown);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::{Labels, Sample};

    fn text(value: Value, end: &[u8]) -> (String, usize) {
        let pieces: Vec<Bytes> = Pieces::new(value, end.to_vec()).collect();
        let longest = pieces.iter().map(Bytes::len).max().unwrap_or(0);
        (String::from_utf8(pieces.concat()).expect("text"), longest)
    }

    #[track_caller]
    fn check(value: Value, expect: &str) {
        assert_eq!(text(value, b"}}").0, format!("{{\"status\":\"success\",\"data\":{{{expect}}}}}"));
    }

    #[test]
    fn the_four_kinds() {
        let sample = Sample { timestamp_ms: 1_500, value: 2.0 };
        check(Value::Scalar(sample), r#""resultType":"scalar","result":[1.5,"2"]"#);
        let string = Value::String { timestamp_ms: 5_000, text: "<a>".to_owned() };
        check(string, r#""resultType":"string","result":[5,"\u003ca\u003e"]"#);
        check(Value::Vector(Vec::new()), r#""resultType":"vector","result":[]"#);
        check(Value::Matrix(Vec::new()), r#""resultType":"matrix","result":[]"#);
        let labels = Labels::from_pairs([("__name__", "up")]);
        let element =
            |value| VectorElement { labels: labels.clone(), timestamp_ms: 1_000, point: Point::Float(value) };
        check(
            Value::Vector(vec![element(1.0), element(f64::INFINITY)]),
            r#""resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1,"1"]},{"metric":{"__name__":"up"},"value":[1,"+Inf"]}]"#,
        );
    }

    #[test]
    fn a_long_series_is_cut_into_pieces_and_loses_nothing() {
        let floats: Vec<Sample> =
            (0..20_000).map(|i| Sample { timestamp_ms: i * 1_000, value: i as f64 }).collect();
        let series = MatrixSeries { labels: Labels::empty(), floats, histograms: Vec::new() };
        let (text, longest) = text(Value::Matrix(vec![series.clone(), series]), b"}}");
        assert!(longest < PIECE_BYTES + 16_384, "{longest}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for series in read["data"]["result"].as_array().expect("series") {
            let values = series["values"].as_array().expect("values");
            assert_eq!(values.len(), 20_000);
            assert_eq!(values[19_999], serde_json::json!([19_999, "19999"]));
        }
    }
}

//! Query results as JSON, byte for byte as Prometheus prints them. Functions append to a `Vec<u8>` and
//! can be called piece by piece, so that a caller streams a large result in small parts. Envelope,
//! errors, warnings and statistics are the API's business.

mod histogram;
mod points;
mod string;

pub use histogram::write_histogram;
pub use points::Times;
pub use string::{write_string, write_string_html};

use hearth_model::number::{write_fixed, write_result};
use hearth_model::{Histogram, Labels, Sample};

/// A sample value: a number within quotes.
#[inline]
pub fn write_value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    write_result(out, value);
    out.push(b'"');
}

/// A time in seconds; three decimals, and only where there is a part of a second.
#[inline]
pub fn write_time(out: &mut Vec<u8>, timestamp_ms: i64) {
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let size = timestamp_ms.unsigned_abs();
    let (seconds, part) = (size / 1000, size % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if part != 0 {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[b'.', digit(part / 100), digit(part / 10), digit(part)]);
    }
}

/// `{"name":"value",…}`
pub fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// `[time,"value"]`: a point of a matrix, and the value of a vector's element.
#[inline]
pub fn write_point(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    out.push(b'[');
    write_time(out, timestamp_ms);
    out.push(b',');
    write_value(out, value);
    out.push(b']');
}

/// `[time,{histogram}]`
pub fn write_histogram_point(out: &mut Vec<u8>, timestamp_ms: i64, histogram: &Histogram) {
    out.push(b'[');
    write_time(out, timestamp_ms);
    out.push(b',');
    write_histogram(out, histogram);
    out.push(b']');
}

/// The whole result of a scalar query: `[time,"value"]`. Prometheus sends scalars and strings through its
/// general encoder: the time is the shortest float, and the value has never an exponent.
pub fn write_scalar(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    out.push(b'[');
    write_fixed(out, timestamp_ms as f64 / 1000.0);
    out.extend_from_slice(b",\"");
    write_fixed(out, value);
    out.extend_from_slice(b"\"]");
}

/// The whole result of a string query: `[time,"text"]`.
pub fn write_string_result(out: &mut Vec<u8>, timestamp_ms: i64, text: &str) {
    out.push(b'[');
    write_fixed(out, timestamp_ms as f64 / 1000.0);
    out.push(b',');
    write_string_html(out, text);
    out.push(b']');
}

/// One element of a vector: `{"metric":{…},"value":[time,"value"]}`.
pub fn write_vector_element(out: &mut Vec<u8>, labels: &Labels, timestamp_ms: i64, value: f64) {
    open_metric(out, labels);
    out.extend_from_slice(b",\"value\":");
    write_point(out, timestamp_ms, value);
    out.push(b'}');
}

/// One element of a vector that is a histogram: `{"metric":{…},"histogram":[time,{…}]}`.
pub fn write_vector_histogram(out: &mut Vec<u8>, labels: &Labels, timestamp_ms: i64, histogram: &Histogram) {
    open_metric(out, labels);
    out.extend_from_slice(b",\"histogram\":");
    write_histogram_point(out, timestamp_ms, histogram);
    out.push(b'}');
}

fn open_metric(out: &mut Vec<u8>, labels: &Labels) {
    out.extend_from_slice(b"{\"metric\":");
    write_labels(out, labels);
}

/// One series of a matrix, whole. `values` is left out where there are only histograms, `histograms`
/// where there are none.
pub fn write_matrix_series<'h>(
    out: &mut Vec<u8>,
    labels: &Labels,
    samples: impl IntoIterator<Item = Sample>,
    histograms: impl IntoIterator<Item = (i64, &'h Histogram)>,
) {
    let mut series = MatrixSeries::open(out, labels);
    for sample in samples {
        series.sample(out, sample.timestamp_ms, sample.value);
    }
    for (timestamp_ms, histogram) in histograms {
        series.histogram(out, timestamp_ms, histogram);
    }
    series.close(out);
}

/// One series of a matrix, point by point: samples first, then histograms. Between any two calls the
/// caller may send off what is in the buffer and go on with an empty one.
#[derive(Debug)]
#[must_use = "a series must be closed"]
pub struct MatrixSeries {
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Labels,
    Samples,
    Histograms,
}

impl MatrixSeries {
    pub fn open(out: &mut Vec<u8>, labels: &Labels) -> Self {
        open_metric(out, labels);
        MatrixSeries { part: Part::Labels }
    }

    #[inline]
    pub fn sample(&mut self, out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
        assert!(self.part != Part::Histograms, "samples come before histograms");
        let first = self.part == Part::Labels;
        out.extend_from_slice(if first { b",\"values\":[".as_slice() } else { b",".as_slice() });
        self.part = Part::Samples;
        write_point(out, timestamp_ms, value);
    }

    /// Many at once; the first is the `from`-th of the series.
    pub fn samples(&mut self, out: &mut Vec<u8>, times: &mut Times, from: usize, samples: &[Sample]) {
        let Some((first, rest)) = samples.split_first() else { return };
        self.sample(out, first.timestamp_ms, first.value);
        points::write(out, times, from + 1, rest);
    }

    pub fn histogram(&mut self, out: &mut Vec<u8>, timestamp_ms: i64, histogram: &Histogram) {
        out.extend_from_slice(match self.part {
            Part::Labels => b",\"histograms\":[".as_slice(),
            Part::Samples => b"],\"histograms\":[".as_slice(),
            Part::Histograms => b",".as_slice(),
        });
        self.part = Part::Histograms;
        write_histogram_point(out, timestamp_ms, histogram);
    }

    pub fn close(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.part == Part::Labels { b"}" } else { b"]}" });
    }
}

#[cfg(test)]
mod tests;

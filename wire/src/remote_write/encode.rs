//! The way back: a batch as a remote-write 1.0 request. For the load generator, for tests, and for
//! sending to other servers.

use super::histogram::field;
use crate::metadata::{Metadata, MetricType};
use crate::protobuf::{
    LENGTH, put_fixed64, put_message, put_tag, put_text, put_varint, put_varint_field, zigzag,
};
use hearth_model::batch::Exemplar;
use hearth_model::{CounterReset, Histogram, Sample, Span, WriteBatch, key};

/// Encodes and compresses requests; keeps scratch memory between them.
#[derive(Debug)]
pub struct Encoder {
    snappy: snap::raw::Encoder,
    message: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { snappy: snap::raw::Encoder::new(), message: Vec::new() }
    }
}

impl Encoder {
    /// Replaces what is in `out` with the compressed request.
    pub fn encode(&mut self, batch: &WriteBatch, metadata: &[Metadata<'_>], out: &mut Vec<u8>) {
        self.message.clear();
        encode_request(batch, metadata, &mut self.message);
        out.resize(snap::raw::max_compress_len(self.message.len()), 0);
        let length = self.snappy.compress(&self.message, out).expect("`out` has the size snappy asks for");
        out.truncate(length);
    }
}

/// Appends the uncompressed message to `out`. Keys go out as they are: they are label encodings already.
pub fn encode_request(batch: &WriteBatch, metadata: &[Metadata<'_>], out: &mut Vec<u8>) {
    for series in &batch.series {
        put_message(out, 1, |out| {
            out.extend_from_slice(batch.key(series));
            for sample in batch.samples_of(series) {
                put_message(out, 2, |out| put_sample(out, sample));
            }
            for exemplar in &batch.exemplars[series.exemplars.start as usize..series.exemplars.end as usize] {
                put_message(out, 3, |out| put_exemplar(out, exemplar));
            }
            for (timestamp_ms, histogram) in batch.histograms_of(series) {
                put_message(out, 4, |out| put_histogram(out, *timestamp_ms, histogram));
            }
        });
    }
    for entry in metadata {
        put_message(out, 3, |out| put_metadata(out, entry));
    }
}

/// Zero, by its bits, is protobuf's default and left out; -0 is not zero here.
fn put_double(out: &mut Vec<u8>, number: u8, value: f64) {
    if value.to_bits() != 0 {
        put_fixed64(out, number, value.to_bits());
    }
}

fn put_integer(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        put_varint_field(out, number, value);
    }
}

fn put_sample(out: &mut Vec<u8>, sample: &Sample) {
    put_double(out, 1, sample.value);
    put_integer(out, 2, sample.timestamp_ms as u64);
}

fn put_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    key::push_key(out, &exemplar.labels);
    put_double(out, 2, exemplar.value);
    put_integer(out, 3, exemplar.timestamp_ms as u64);
}

fn put_spans(out: &mut Vec<u8>, number: u8, spans: &[Span]) {
    for span in spans {
        put_message(out, number, |out| {
            put_integer(out, 1, zigzag(i64::from(span.offset)));
            put_integer(out, 2, u64::from(span.length));
        });
    }
}

fn put_deltas(out: &mut Vec<u8>, number: u8, counts: &[f64]) {
    if counts.is_empty() {
        return;
    }
    put_message(out, number, |out| {
        let mut last = 0i64;
        for &count in counts {
            let count = count as i64;
            put_varint(out, zigzag(count.wrapping_sub(last)));
            last = count;
        }
    });
}

fn put_doubles(out: &mut Vec<u8>, number: u8, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    put_tag(out, number, LENGTH);
    put_varint(out, values.len() as u64 * 8);
    for value in values {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn put_histogram(out: &mut Vec<u8>, timestamp_ms: i64, h: &Histogram) {
    // The count and the zero count tell which kind it is, so they are written even where they are zero.
    if h.integer {
        put_varint_field(out, field::COUNT_INT, h.count as u64);
        put_varint_field(out, field::ZERO_COUNT_INT, h.zero_count as u64);
    } else {
        put_fixed64(out, field::COUNT_FLOAT, h.count.to_bits());
        put_fixed64(out, field::ZERO_COUNT_FLOAT, h.zero_count.to_bits());
    }
    put_double(out, field::SUM, h.sum);
    put_integer(out, field::SCHEMA, zigzag(i64::from(h.schema)));
    put_double(out, field::ZERO_THRESHOLD, h.zero_threshold);
    put_spans(out, field::NEGATIVE_SPANS, &h.negative_spans);
    put_spans(out, field::POSITIVE_SPANS, &h.positive_spans);
    if h.integer {
        put_deltas(out, field::NEGATIVE_DELTAS, &h.negative_counts);
        put_deltas(out, field::POSITIVE_DELTAS, &h.positive_counts);
    } else {
        put_doubles(out, field::NEGATIVE_COUNTS, &h.negative_counts);
        put_doubles(out, field::POSITIVE_COUNTS, &h.positive_counts);
    }
    let hint = match h.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    put_integer(out, field::RESET_HINT, hint);
    put_integer(out, field::TIMESTAMP, timestamp_ms as u64);
    put_doubles(out, field::CUSTOM_VALUES, &h.custom_values);
}

fn put_metadata(out: &mut Vec<u8>, entry: &Metadata<'_>) {
    let code = match entry.metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    };
    put_integer(out, 1, code);
    put_text(out, 2, entry.family);
    put_text(out, 4, entry.help);
    put_text(out, 5, entry.unit);
}

//! What foreign formats cost: remote-write requests in, exposition text in, result JSON out.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hearth_model::{Labels, Sample, WriteBatch};
use hearth_wire::config::Limits;
use hearth_wire::exposition::{Entry, Format, Parser};
use hearth_wire::json;
use hearth_wire::remote_write::{Decoder, Encoder, encode_request};
use std::hint::black_box;

const SERIES: usize = 2_000;

/// Eleven labels, as node_exporter behind a service discovery has them.
fn labels(i: usize) -> Labels {
    let cpu = (i % 64).to_string();
    let instance = format!("10.0.{}.{}:9100", i / 250, i % 250);
    let device = format!("/dev/mapper/volume-{:03}", i % 97);
    Labels::from_pairs([
        ("__name__", "node_cpu_seconds_total"),
        ("cpu", &cpu),
        ("mode", ["user", "system", "idle", "iowait"][i % 4]),
        ("instance", &instance),
        ("device", &device),
        ("job", "node-exporter"),
        ("namespace", "monitoring"),
        ("pod", "node-exporter-x7k2p"),
        ("cluster", "production-eu-1"),
        ("region", "eu-central-1"),
        ("service", "node"),
    ])
}

fn value(i: usize) -> f64 {
    [i as f64 * 1.01 + 0.37, i as f64, (i * 7919) as f64, 1.0 / (i + 1) as f64][i % 4]
}

fn batch() -> WriteBatch {
    let mut batch = WriteBatch::default();
    for i in 0..SERIES {
        let sample = Sample { timestamp_ms: 1_700_000_000_123 + (i / 500) as i64 * 37, value: value(i) };
        batch.push(&labels(i), &[sample]);
    }
    batch
}

fn remote_write(c: &mut Criterion) {
    let (batch, mut message, mut body) = (batch(), Vec::new(), Vec::new());
    encode_request(&batch, &[], &mut message);
    Encoder::default().encode(&batch, &[], &mut body);
    let mut group = c.benchmark_group("remote_write");
    // One element is one sample.
    group.throughput(Throughput::Elements(SERIES as u64));
    let (mut decoder, mut into) = (Decoder::default(), WriteBatch::default());
    group.bench_function("decode", |b| {
        b.iter(|| decoder.decode(black_box(&body), &mut into).expect("decodes"));
    });
    group.bench_function("decode into a cleared batch", |b| {
        b.iter(|| {
            into.clear();
            decoder.decode(black_box(&body), &mut into).expect("decodes")
        });
    });
    group.bench_function("decode without snappy", |b| {
        b.iter(|| decoder.decode_message(black_box(&message), &mut into).expect("decodes"));
    });
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    group.bench_function("encode", |b| b.iter(|| encoder.encode(black_box(&batch), &[], &mut out)));
    group.finish();
    println!("message {} bytes, compressed {} bytes, {SERIES} samples", message.len(), body.len());
}

fn body(format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..SERIES {
        let labels = labels(i);
        // What a target itself shows: its own labels only.
        let own = labels.filter(|name| ["__name__", "cpu", "mode", "device"].contains(&name));
        hearth_wire::exposition::print::write_sample(&mut out, labels.metric_name(), &own, value(i), None);
    }
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

fn exposition(c: &mut Criterion) {
    let limits = Limits::default();
    for (name, format) in [("text", Format::Text), ("openmetrics", Format::OpenMetrics)] {
        let body = body(format);
        let series: Vec<Vec<u8>> = {
            let mut parser = Parser::new(format, &body, &limits);
            std::iter::from_fn(|| match parser.next().expect("parses") {
                Entry::Sample(sample) => Some(sample.series.to_vec()),
                _ => None,
            })
            .collect()
        };
        assert_eq!(series.len(), SERIES);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::ElementsAndBytes { elements: SERIES as u64, bytes: body.len() as u64 });
        group.bench_function("parse", |b| {
            b.iter(|| {
                let mut parser = Parser::new(format, black_box(&body), &limits);
                let mut sum = 0.0;
                while let Entry::Sample(sample) = parser.next().expect("parses") {
                    sum += sample.value;
                }
                sum
            });
        });
        group.bench_function("parse expected series", |b| {
            b.iter(|| {
                let mut parser = Parser::new(format, black_box(&body), &limits);
                let mut sum = 0.0;
                for expected in &series {
                    if let Entry::Sample(sample) = parser.next_expecting(expected).expect("parses") {
                        sum += sample.value;
                    }
                }
                sum
            });
        });
        group.finish();
    }
}

fn result_json(c: &mut Criterion) {
    const POINTS: usize = 10_000;
    let labels = labels(7);
    type Value = fn(usize) -> f64;
    let kinds: [(&str, Value); 3] = [
        ("integers", |i| (i * 7919) as f64),
        ("three decimals", |i| (i * 7919) as f64 / 1000.0),
        ("full doubles", |i| 1.0 / (i + 1) as f64),
    ];
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Elements(POINTS as u64));
    for (name, value) in kinds {
        let sample =
            |i: usize| Sample { timestamp_ms: 1_700_000_000_000 + i as i64 * 15_000, value: value(i) };
        let points: Vec<Sample> = (0..POINTS).map(sample).collect();
        let mut out = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                json::write_matrix_series(&mut out, &labels, points.iter().copied(), []);
                out.len()
            });
        });
    }
    group.finish();
    let all: Vec<Labels> = (0..SERIES).map(self::labels).collect();
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("vector elements of eleven labels", |b| {
        b.iter_batched_ref(
            || Vec::with_capacity(1 << 20),
            |out| {
                for (i, labels) in all.iter().enumerate() {
                    json::write_vector_element(out, labels, 1_700_000_000_123, value(i));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, remote_write, exposition, result_json);
criterion_main!(benches);

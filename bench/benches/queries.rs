//! Whole queries over a real store, from the text to the values: index, decoding, executor, merge. Throughput is
//! in raw samples that lie within the query's reach. `HEARTH_BENCH_SERIES` sets how many series there are.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Options, open};
use hearth_model::{Ack, Append, Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::{Engine, EngineOptions, Query, RangeRequest, RequestOptions};
use std::hint::black_box;

const SAMPLES: i64 = 1_440;
const INTERVAL_MS: i64 = 15_000;
/// Ten metrics, of which three never change, four count, two are gauges and one is precise to the last bit.
const METRICS: [&str; 10] = [
    "limit_bytes",
    "info",
    "size_bytes",
    "requests_total",
    "response_bytes_total",
    "packets_total",
    "reads_total",
    "fill_percent",
    "temperature_celsius",
    "latency_mean_seconds",
];

fn series_count() -> usize {
    std::env::var("HEARTH_BENCH_SERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(4_000)
}

fn labels(i: usize) -> Labels {
    let (metric, dimension, instance) = (METRICS[i % 10], i / 10 % 40, i / 400);
    Labels::from_pairs([
        ("__name__", metric),
        ("cluster", ["eu-1", "us-1"][instance % 2]),
        // Tells the metrics apart once a function has dropped their names.
        ("collector", metric),
        ("device", &format!("dev{}", dimension / 4)),
        ("environment", "production"),
        ("instance", &format!("10.0.{}.{}:9100", instance / 250, instance % 250)),
        ("job", "node"),
        ("mode", ["read", "write", "sync", "idle"][dimension % 4]),
        ("namespace", &format!("team-{:02}", instance % 17)),
        ("node", &format!("node-{instance:05}")),
    ])
}

fn advance(batch: &mut WriteBatch, round: i64, random: &mut fastrand::Rng) {
    for (i, sample) in batch.samples.iter_mut().enumerate() {
        sample.timestamp_ms = round * INTERVAL_MS;
        match i % 10 {
            0..3 => {}
            3..7 => sample.value += f64::from(random.u32(0..200)),
            7 | 8 => {
                let moved = sample.value + (random.f64() - 0.5) * 4.0;
                sample.value = (moved.clamp(0.0, 100.0) * 100.0).round() / 100.0;
            }
            _ => sample.value = random.f64(),
        }
    }
}

fn store() -> (tempfile::TempDir, Handle) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let clock = || SAMPLES * INTERVAL_MS;
    let options = Options { shards: Some(2), io: IoChoice::Threads, clock, ..Options::new(directory.path()) };
    let handle = open(&options).expect("opens");
    let mut random = fastrand::Rng::with_seed(1);
    let mut batch = WriteBatch::default();
    for i in 0..series_count() {
        batch.push(&labels(i), &[Sample { timestamp_ms: 0, value: f64::from(random.u32(0..100_000)) }]);
    }
    for round in 1..=SAMPLES {
        advance(&mut batch, round, &mut random);
        batch = block_on(handle.append(batch, Ack::Memory)).expect("appends").batch.expect("comes back");
    }
    (directory, handle)
}

fn queries(criterion: &mut Criterion) {
    let (_directory, handle) = store();
    let engine = Engine::new(handle.clone(), EngineOptions::default());
    let mut group = criterion.benchmark_group("queries");
    group.throughput(Throughput::Elements(series_count() as u64 * SAMPLES as u64)).sample_size(10);
    for text in [
        r#"requests_total{device="dev1",instance="10.0.0.1:9100",mode="read"}"#,
        r#"sum by (mode) (rate({__name__=~".+_(total|percent|seconds)"}[5m]))"#,
        "sum by (node) (rate(requests_total[5m]))",
        "max by (namespace) (max_over_time(fill_percent[1h]))",
        "avg by (namespace) (quantile_over_time(0.9, latency_mean_seconds[30m]))",
        "rate(response_bytes_total[5m]) / ignoring (collector) rate(requests_total[5m])",
        "topk(10, rate(requests_total[5m]))",
        r#"count({__name__!=""})"#,
        "requests_total",
    ] {
        group.bench_function(text, |b| {
            b.iter(|| {
                let request = RangeRequest {
                    text: text.to_owned(),
                    start_ms: 0,
                    end_ms: SAMPLES * INTERVAL_MS,
                    step_ms: 60_000,
                    options: RequestOptions::new(QueryContext::unlimited()),
                };
                black_box(block_on(engine.range(request)).expect("answers"))
            })
        });
    }
    group.finish();
    handle.close();
}

criterion_group!(benches, queries);
criterion_main!(benches);

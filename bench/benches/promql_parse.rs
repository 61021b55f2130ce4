//! The query language's front: text to checked tree, and back to text.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hearth_promql::syntax::{ParseOptions, format, parse};
use std::hint::black_box;

/// From a selector to what a dashboard asks.
const QUERIES: [(&str, &str); 4] = [
    ("selector", "up{job=\"node\"}"),
    ("rate", "sum by (instance) (rate(http_requests_total{job=\"api\",code=~\"5..\"}[5m]))"),
    (
        "quantile",
        "histogram_quantile(0.99, sum by (le, namespace) (rate(request_duration_seconds_bucket{\
         cluster=\"eu-west-1\", namespace=~\"prod-.+\"}[$__interval:1m] offset 5m)))",
    ),
    (
        "ratio",
        "100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))) > bool on (instance) \
         group_left (pool) label_replace(node_info{a!=\"\"}, \"pool\", \"$1\", \"name\", \"(.*)-[0-9]+\") * 0 + 80",
    ),
];

fn parse_and_print(c: &mut Criterion) {
    let options = ParseOptions::default();
    for (name, query) in QUERIES {
        let query = query.replace("$__interval", "1h");
        let tree = parse(&query, &options).expect("the benchmark's queries are valid");
        let mut group = c.benchmark_group(format!("promql_parse/{name}"));
        group.throughput(Throughput::Bytes(query.len() as u64));
        group.bench_function("parse", |b| b.iter(|| parse(black_box(&query), &options)));
        group.bench_function("print", |b| b.iter(|| black_box(&tree).to_string()));
        group.bench_function("format", |b| b.iter(|| format(black_box(&tree))));
        group.finish();
    }
    let brackets = "(".repeat(100_000);
    c.bench_function("promql_parse/brackets_refused", |b| {
        b.iter(|| parse(black_box(&brackets), &options).is_err())
    });
}

criterion_group!(benches, parse_and_print);
criterion_main!(benches);

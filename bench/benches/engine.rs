//! The store: appends through the door and onto the log, and scans of what was stored.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Options, open};
use hearth_model::store::{Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{Ack, Append, Labels, QueryContext, Sample, Scatter, TimeRange, WriteBatch};
use std::hint::black_box;

const SERIES: usize = 2_000;

fn store(io: IoChoice) -> (tempfile::TempDir, Handle) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let options = Options { shards: Some(2), io, clock: || i64::MAX / 2, ..Options::new(directory.path()) };
    (directory, open(&options).expect("opens"))
}

fn series() -> Vec<Labels> {
    let labels = |i: usize| {
        let (instance, path) =
            (format!("10.0.{}.{}:9100", i / 250, i % 250), format!("/api/v1/resource/{i}"));
        Labels::from_pairs([
            ("__name__", "http_requests_total"),
            ("instance", instance.as_str()),
            ("job", "frontend"),
            ("path", path.as_str()),
            ("method", "GET"),
            ("status", "200"),
            ("region", "eu-central-1"),
            ("zone", "b"),
            ("cluster", "production"),
            ("namespace", "shop"),
            ("pod", "frontend-7d9f8c6b5-x2x4z"),
        ])
    };
    (0..SERIES).map(labels).collect()
}

fn batch(series: &[Labels]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for labels in series {
        batch.push(labels, &[Sample { timestamp_ms: 0, value: 0.0 }]);
    }
    batch
}

/// Moves a batch to the next scrape: times go on, a third of the values change.
fn advance(batch: &mut WriteBatch, round: i64) {
    for (i, sample) in batch.samples.iter_mut().enumerate() {
        sample.timestamp_ms = round * 15_000;
        if i % 3 == 0 {
            sample.value += (round % 7) as f64;
        }
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append 2,000 series x 1 sample");
    group.throughput(Throughput::Elements(SERIES as u64));
    for (name, ack) in [("memory", Ack::Memory), ("written", Ack::Written), ("synced", Ack::Synced)] {
        let (_directory, handle) = store(IoChoice::Auto);
        let mut next = Some(batch(&series()));
        let mut round = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                round += 1;
                let mut batch = next.take().expect("the batch comes back");
                advance(&mut batch, round);
                let written = block_on(handle.append(batch, ack)).expect("appends");
                assert!(written.outcome.refused.is_empty());
                next = written.batch;
            });
        });
        handle.close();
    }
    group.finish();
}

fn scan(criterion: &mut Criterion) {
    const ROUNDS: i64 = 480;
    let (_directory, handle) = store(IoChoice::Auto);
    let mut next = batch(&series());
    for round in 1..=ROUNDS {
        advance(&mut next, round);
        next = block_on(handle.append(next, Ack::Memory)).expect("appends").batch.expect("comes back");
    }
    let mut group = criterion.benchmark_group("scan 2,000 series x 480 samples");
    group.throughput(Throughput::Elements(SERIES as u64 * ROUNDS as u64));
    for (name, projection) in
        [("by series", Projection::All), ("by region", Projection::Only(vec!["region".into()]))]
    {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let projection = projection.clone();
                let sums = block_on(handle.scatter(QueryContext::unlimited(), move |view| {
                    let select =
                        Select { matchers: [].into(), range: TimeRange::ALL, projection: projection.clone() };
                    async move {
                        let mut cursor = view.select(select).await?;
                        let (mut columns, mut sum) = (Columns::default(), 0.0);
                        while cursor.next(&mut columns).await? {
                            sum += columns.values.iter().sum::<f64>();
                        }
                        Ok(sum)
                    }
                }));
                black_box(sums.expect("scans"));
            });
        });
    }
    group.finish();
    handle.close();
}

criterion_group!(benches, append, scan);
criterion_main!(benches);

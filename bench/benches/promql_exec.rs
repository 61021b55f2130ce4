//! The PromQL executor alone: a source that hands out ready columns, so that neither a codec nor an index
//! is measured. Throughput is in raw samples that lie within the query's reach.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;
use hearth_model::store::{Columns, Projection, Scatter, Select, SeriesCursor, ShardView, StoreError};
use hearth_model::{Labels, Matcher, QueryContext, TimeRange};
use hearth_promql::{Engine, EngineOptions, Query, RangeRequest, RequestOptions};
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const SERIES: usize = 2_000;
const SAMPLES: usize = 1_440;
const INTERVAL_MS: i64 = 15_000;
const GROUPS: usize = 8;

/// One shard of counters that share their times, as those of one scrape do.
#[derive(Clone)]
struct Source {
    times: Arc<Vec<i64>>,
    values: Arc<Vec<Vec<f64>>>,
    context: QueryContext,
}

impl Source {
    fn new() -> Source {
        let times = (0..SAMPLES as i64).map(|i| i * INTERVAL_MS).collect();
        let values = (0..SERIES).map(|s| (0..SAMPLES).map(|i| (i * (s % 17 + 1)) as f64).collect()).collect();
        Source { times: Arc::new(times), values: Arc::new(values), context: QueryContext::unlimited() }
    }
}

struct Cursor {
    source: Source,
    next: usize,
    projection: Projection,
}

impl Cursor {
    fn labels(&self, series: usize) -> Labels {
        let (job, instance) = (format!("job-{}", series % GROUPS), format!("10.0.0.{series}:9100"));
        Labels::from_pairs([("__name__", "requests_total"), ("job", &job), ("instance", &instance)])
    }
}

impl SeriesCursor for Cursor {
    fn series_count(&self) -> usize {
        SERIES
    }

    async fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        let Some(values) = self.source.values.get(self.next) else { return Ok(false) };
        out.clear();
        out.times.extend_from_slice(&self.source.times);
        out.values.extend_from_slice(values);
        out.times_id = 1;
        out.group = match self.projection {
            Projection::All => self.next,
            _ => self.next % GROUPS,
        } as u32;
        self.next += 1;
        Ok(true)
    }

    fn group_labels(&self, group: u32) -> Labels {
        self.projection.apply(&self.labels(group as usize))
    }

    fn visit_labels(&self, mut each: impl FnMut(&str, &str)) {
        self.labels(self.next.saturating_sub(1)).iter().for_each(|(name, value)| each(name, value));
    }
}

impl ShardView for Source {
    type Cursor = Cursor;

    fn context(&self) -> &QueryContext {
        &self.context
    }

    async fn select(&self, select: Select) -> Result<Cursor, StoreError> {
        Ok(Cursor { source: self.clone(), next: 0, projection: select.projection })
    }

    async fn series(&self, _: &[Arc<[Matcher]>], _: TimeRange, _: usize) -> Result<Vec<Labels>, StoreError> {
        Ok(Vec::new())
    }

    async fn label_names(&self, _: &[Arc<[Matcher]>], _: TimeRange) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn label_values(
        &self,
        _: &str,
        _: &[Arc<[Matcher]>],
        _: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn pause(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Scatter for Source {
    type View = Source;

    async fn scatter<T, J, F>(&self, _: QueryContext, job: J) -> Result<Vec<T>, StoreError>
    where
        J: Fn(Source) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
        T: Send + 'static,
    {
        // This source never makes a job wait, so one poll runs it to its end.
        let done = pin!(job(self.clone())).poll(&mut Context::from_waker(Waker::noop()));
        match done {
            Poll::Ready(result) => Ok(vec![result?]),
            Poll::Pending => unreachable!("nothing waits"),
        }
    }
}

fn queries(c: &mut Criterion) {
    let engine = Engine::new(Source::new(), EngineOptions::default());
    let mut group = c.benchmark_group("promql_exec");
    group.throughput(Throughput::Elements((SERIES * SAMPLES) as u64)).sample_size(20);
    for text in [
        "sum by (job) (rate(requests_total[5m]))",
        "sum by (job) (requests_total)",
        "max by (job) (max_over_time(requests_total[1h]))",
        "sum(avg_over_time(requests_total[5m]))",
        "quantile by (job) (0.9, rate(requests_total[5m]))",
        "topk(5, rate(requests_total[5m]))",
    ] {
        group.bench_function(text, |b| {
            b.iter(|| {
                let request = RangeRequest {
                    text: text.to_owned(),
                    start_ms: 0,
                    end_ms: SAMPLES as i64 * INTERVAL_MS,
                    step_ms: 60_000,
                    options: RequestOptions::new(QueryContext::unlimited()),
                };
                black_box(block_on(engine.range(request)).expect("answers"))
            })
        });
    }
    group.finish();
}

criterion_group!(benches, queries);
criterion_main!(benches);

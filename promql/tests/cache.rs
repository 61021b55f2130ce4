//! Kept results against fresh ones: random range queries with random writes between them must get the same
//! answer, to the last bit, from an engine with a cache and from one without.

use fastrand::Rng;
use hearth_model::matcher::Matcher;
use hearth_model::testing::MemStore;
use hearth_model::{
    CounterReset, Histogram, Labels, MatchOp, QueryContext, Sample, Span, TimeRange, WriteBatch,
};
use hearth_promql::cache::{Cache, CacheFigures};
use hearth_promql::syntax::ParseOptions;
use hearth_promql::{
    Answer, Engine, EngineOptions, MatrixSeries, Query, QueryAdmin, QueryError, RangeRequest, RequestOptions,
    Value,
};

const SECOND_MS: i64 = 1_000;
const SCRAPE_MS: i64 = 15 * SECOND_MS;

/// Every kind of node, and every way in which a step sees samples; some cannot be kept, and must be right
/// all the same.
const QUERIES: &[&str] = &[
    "m",
    "c",
    "sum(m)",
    "sum by (a) (m)",
    "avg without (a) (m)",
    "stddev(m) by (b)",
    "min(m) or max(c)",
    "rate(c[1m])",
    "increase(c[90s])",
    "sum by (a) (rate(c[1m]))",
    "sum(rate(c[1m]) / rate(m[1m]))",
    "sum(sum by (a) (m))",
    "sum(m or c)",
    "avg(label_replace(m, \"a\", \"x\", \"b\", \"1\"))",
    "m + on (a, b) c",
    "m / on (a) group_left sum by (a) (c)",
    "m unless c",
    "m > 3",
    "m == bool 2",
    "topk(2, m)",
    "bottomk(1, rate(c[1m]))",
    "topk(2, m + c)",
    "limitk(2, m)",
    "limit_ratio(0.5, m)",
    "quantile(0.7, m)",
    "quantile(1.5, m)",
    "quantile(scalar(sum(m)) / 20, m)",
    "count_values(\"v\", m)",
    "max_over_time(m[2m])",
    "quantile_over_time(0.3, m[2m])",
    "quantile_over_time(scalar(m{a=\"1\",b=\"1\"}) / 12, m[1m])",
    "last_over_time(m[45s] offset 30s)",
    "m offset 1m",
    "m offset -1m",
    "sum(m offset -20s) - sum(m)",
    "m @ 900",
    "m - m @ 900",
    "sum(m @ 1500)",
    "sum(m @ start())",
    "m @ end()",
    "max_over_time(m[3m:20s])",
    "rate(c[2m:10s] offset 30s)",
    "sum_over_time(sum(m)[2m:30s])",
    "avg_over_time(m[2m:30s] @ 1000)",
    "absent(m{a=\"7\"})",
    "absent_over_time(m{a=\"1\"}[30s])",
    "scalar(sum(m)) + time()",
    "vector(time()) * 2",
    "timestamp(m)",
    "hour(m)",
    "-m",
    "-{a=\"1\"}",
    "rate({a=\"1\"}[1m])",
    "{a=\"1\"}",
    "sum({b=\"2\"}) by (__name__)",
    "predict_linear(m[2m], 60)",
    "deriv(m[2m])",
    "holt_winters(m[2m], 0.5, 0.5)",
    "changes(m[2m])",
    "rate(m[1m])",
    "histogram_quantile(0.9, rate(h[1m]))",
    "histogram_count(h)",
    "sum(rate(h[1m]))",
    "h",
    "m + h",
    "sum(m) + sum(h)",
    "rate(c[step()])",
    "rate(c[range()])",
    "clamp_max(m, 3) ^ 2",
    "sort(m)",
    "label_join(m, \"z\", \"-\", \"a\", \"b\")",
    "info(m)",
    "rate(c[1m] smoothed)",
    "increase(c[1m] anchored)",
    "m and on (a) (c > 10)",
    "sum(m) and sum(c) > 30",
];

fn labels(name: &str, a: u32, b: u32) -> Labels {
    Labels::from_pairs([("__name__", name.to_owned()), ("a", a.to_string()), ("b", b.to_string())])
}

fn histogram(random: &mut Rng, base: f64) -> Histogram {
    let counts = vec![base, base + f64::from(random.u32(0..3))];
    Histogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: counts.iter().sum::<f64>() + 1.0,
        sum: base * 3.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_counts: counts,
        integer: true,
        reset: CounterReset::Unknown,
        negative_spans: Vec::new(),
        negative_counts: Vec::new(),
        custom_values: Vec::new(),
    }
}

/// A store that grows as time goes by, with gaps, resets, late series, deletions and old data dropped.
struct World {
    store: MemStore,
    random: Rng,
    now_ms: i64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world =
            World { store: MemStore::new(3), random: Rng::with_seed(seed), now_ms: 600 * SECOND_MS };
        for _ in 0..40 {
            world.scrape();
        }
        world
    }

    fn scrape(&mut self) {
        self.now_ms += SCRAPE_MS;
        let mut batch = WriteBatch::default();
        for (a, b) in [(1, 1), (1, 2), (2, 1), (3, 2)] {
            for name in ["m", "c", "h"] {
                if self.random.u32(0..8) == 0 {
                    continue;
                }
                // A sample comes some seconds after its time, each series with its own delay.
                let time = self.now_ms - i64::from(a * 700 + b * 400);
                let ages = time / SCRAPE_MS;
                let value = match name {
                    "m" => f64::from(self.random.u32(0..100)) / 7.0,
                    _ => (ages % 23) as f64 * 0.1 + 0.01 * f64::from(a),
                };
                let stale = self.random.u32(0..25) == 0;
                let value = if stale { hearth_model::stale_nan() } else { value };
                if name == "h" {
                    let histogram = histogram(&mut self.random, (ages % 23) as f64);
                    let first = batch.histograms.len() as u32;
                    batch.histograms.push((time, histogram));
                    batch.push(&labels(name, a, b), &[]);
                    batch.series.last_mut().expect("just pushed").histograms = first..first + 1;
                } else {
                    batch.push(&labels(name, a, b), &[Sample { timestamp_ms: time, value }]);
                }
            }
        }
        self.store.write(&batch);
    }

    /// A series that nobody saw before, with samples of the past.
    fn arrive_late(&mut self) {
        let (a, b) = (self.random.u32(1..4), self.random.u32(10..1_000));
        let start = self.now_ms - self.random.i64(30..900) * SECOND_MS;
        let count = self.random.i64(1..20);
        let samples: Vec<Sample> = (0..count)
            .map(|i| Sample { timestamp_ms: start + i * SCRAPE_MS, value: self.random.f64() * 10.0 })
            .filter(|sample| sample.timestamp_ms <= self.now_ms)
            .collect();
        let mut batch = WriteBatch::default();
        let name = if self.random.bool() { "m" } else { "c" };
        batch.push(&labels(name, a, b), &samples);
        self.store.write(&batch);
    }

    fn change(&mut self) {
        match self.random.u32(0..20) {
            0 => self.arrive_late(),
            1 => {
                let matcher = Matcher::new(MatchOp::Equal, "a", self.random.u32(1..4).to_string());
                let start = self.now_ms - self.random.i64(0..1_200) * SECOND_MS;
                let range = TimeRange::new(start, start + self.random.i64(0..300) * SECOND_MS);
                self.store.delete(&[matcher.expect("a matcher")], range);
            }
            2 => self.store.drop_before(self.now_ms - self.random.i64(900..3_000) * SECOND_MS),
            3..12 => self.scrape(),
            _ => {}
        }
    }

    fn request(&mut self, keep: bool) -> RangeRequest {
        let text = QUERIES[self.random.usize(0..QUERIES.len())];
        // The same few grids again and again, and now and then one of their own.
        let step_ms = [15, 30, 60][self.random.usize(0..3)] * SECOND_MS;
        let phase_ms = if self.random.u32(0..6) == 0 { self.random.i64(0..step_ms) } else { 0 };
        let end = self.now_ms - self.random.i64(-60..400) * SECOND_MS;
        let start = end - self.random.i64(0..2_400) * SECOND_MS;
        let start_ms = start.div_euclid(step_ms) * step_ms + phase_ms;
        let mut options = RequestOptions::new(QueryContext::unlimited());
        options.keep_until_ms = keep.then_some(self.now_ms - 20 * SECOND_MS);
        RangeRequest { text: text.to_owned(), start_ms, end_ms: end.max(start_ms), step_ms, options }
    }
}

fn ask(engine: &impl Query, request: &RangeRequest) -> Result<Answer, QueryError> {
    futures_executor::block_on(engine.range(request.clone()))
}

/// Everything that an answer says, values by their bits.
fn told(answer: &Result<Answer, QueryError>) -> String {
    let Ok(Answer { value: Value::Matrix(series), warnings, infos, .. }) = answer else {
        return format!("{answer:?}");
    };
    let one = |s: &MatrixSeries| {
        let floats: Vec<_> = s.floats.iter().map(|f| (f.timestamp_ms, f.value.to_bits())).collect();
        format!("{} {floats:?} {:?}\n", s.labels, s.histograms)
    };
    format!("{}{warnings:?} {infos:?}", series.iter().map(one).collect::<String>())
}

fn options() -> EngineOptions {
    EngineOptions { parse: ParseOptions::ALL, ..EngineOptions::default() }
}

fn compare(seed: u64, rounds: usize, cache_bytes: usize) -> CacheFigures {
    let mut world = World::new(seed);
    let cached = Engine::new(world.store.clone(), options()).with_cache(Cache::new(cache_bytes, None));
    let plain = Engine::new(world.store.clone(), options());
    for round in 0..rounds {
        world.change();
        let request = world.request(true);
        let (got, expect) = (ask(&cached, &request), ask(&plain, &request));
        // Again at once: now it is there.
        let again = ask(&cached, &request);
        for got in [got, again] {
            assert_eq!(
                told(&got),
                told(&expect),
                "seed {seed}, round {round}: {} from {} to {} by {}",
                request.text,
                request.start_ms,
                request.end_ms,
                request.step_ms
            );
        }
    }
    cached.cache().expect("there is one")
}

#[test]
fn random_queries_between_random_writes_get_the_same_answers() {
    let mut total = CacheFigures::default();
    for seed in 0..12 {
        let figures = compare(seed, 250, 64 << 20);
        total.hits += figures.hits;
        total.partial += figures.partial;
        assert_eq!(figures.evictions, 0);
    }
    assert!(total.hits > 500 && total.partial > 100, "{total:?}");
}

#[test]
fn a_small_cache_forgets_and_stays_right() {
    let figures = compare(99, 400, 200_000);
    assert!(figures.evictions > 0 && figures.bytes <= 200_000, "{figures:?}");
}

/// A dashboard that moves with time computes its new steps only.
#[test]
fn a_window_that_moves_is_computed_at_its_end() {
    let mut world = World::new(7);
    let cached = Engine::new(world.store.clone(), options()).with_cache(Cache::new(64 << 20, None));
    let mut samples = Vec::new();
    for _ in 0..10 {
        world.scrape();
        let mut options = RequestOptions::new(QueryContext::unlimited());
        options.keep_until_ms = Some(world.now_ms - 60 * SECOND_MS);
        let end_ms = world.now_ms / SCRAPE_MS * SCRAPE_MS;
        let text = "sum(m)".to_owned();
        let request =
            RangeRequest { text, start_ms: end_ms - 500 * SECOND_MS, end_ms, step_ms: SCRAPE_MS, options };
        samples.push(ask(&cached, &request).expect("answers").stats.total_samples);
    }
    assert!(samples[1..].iter().all(|&read| read < samples[0] / 3), "{samples:?}");
    let figures = cached.cache().expect("there is one");
    assert_eq!((figures.misses, figures.partial, figures.extents), (1, 9, 1));
}

/// Rules, alerts and whoever asks for it get everything fresh.
#[test]
fn nothing_is_kept_unasked() {
    let mut world = World::new(3);
    let cached = Engine::new(world.store.clone(), options()).with_cache(Cache::new(64 << 20, None));
    for _ in 0..5 {
        let request = world.request(false);
        let _ = ask(&cached, &request);
    }
    assert_eq!(cached.cache(), Some(CacheFigures { limit_bytes: 64 << 20, ..CacheFigures::default() }));
}

//! The same data in one shard and in several: the answers must not tell.

use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::query::{Value, VectorElement};
use hearth_promql::{Engine, EngineOptions, InstantRequest, Query, RequestOptions};

/// Series whose times differ, each pair of series sharing theirs.
fn answer(shards: usize, text: &str) -> String {
    let store = MemStore::new(shards);
    let mut batch = WriteBatch::default();
    for i in 0..20_i64 {
        let labels = Labels::from_pairs([("__name__", "m".to_owned()), ("i", i.to_string())]);
        let samples: Vec<Sample> = (0..i / 2 + 3)
            .map(|n| Sample { timestamp_ms: n * 7_000 + i / 2, value: (n * i) as f64 })
            .collect();
        batch.push(&labels, &samples);
    }
    assert!(store.write(&batch).refused.is_empty());
    let engine = Engine::new(store, EngineOptions::default());
    let options = RequestOptions::new(QueryContext::unlimited());
    let request = InstantRequest { text: text.to_owned(), time_ms: 99_000, options };
    let answer = futures_executor::block_on(engine.instant(request)).expect("answers");
    format!("{:?}", answer.value)
}

#[track_caller]
fn check_same(text: &str) {
    let one = answer(1, text);
    for shards in [2, 4, 8] {
        assert_eq!(answer(shards, text), one, "{shards} shards: {text}");
    }
}

/// Windows are found once for all series with the same times. Shards number their lists of times each for
/// itself; taken for one numbering, series of two shards got each other's windows: wrong values or a panic.
#[test]
fn series_of_two_shards_do_not_share_windows() {
    check_same("predict_linear(m[2m], time())");
    check_same("quantile_over_time(time() / 200, m[50s])");
    check_same("max_over_time(m[1m])");
    check_same("m[1m]");
}

/// Rates of several metrics, folded where the data is: the groups are as asked, and series that become equal
/// without their names are found on whatever shards they are.
#[test]
fn names_that_differ_are_lost_beside_the_data() {
    let answer = |shards: usize, twin: bool, text: &str| {
        let store = MemStore::new(shards);
        let mut batch = WriteBatch::default();
        for i in 0..40_i64 {
            let name = if i % 2 == 0 { "requests_total" } else { "errors_total" };
            let (i, job) = (i.to_string(), if i < 10 { "a" } else { "b" });
            let labels = Labels::from_pairs([("__name__", name), ("i", &i), ("job", job)]);
            let sample = |n: i64| Sample { timestamp_ms: n * 60_000, value: (n * 60) as f64 };
            batch.push(&labels, &(0..=10).map(sample).collect::<Vec<_>>());
        }
        if twin {
            let labels = Labels::from_pairs([("__name__", "errors_total"), ("i", "0"), ("job", "a")]);
            let sample = |n: i64| Sample { timestamp_ms: n * 60_000, value: 0.0 };
            batch.push(&labels, &(0..=10).map(sample).collect::<Vec<_>>());
        }
        assert!(store.write(&batch).refused.is_empty());
        let engine = Engine::new(store, EngineOptions::default());
        let options = RequestOptions::new(QueryContext::unlimited());
        let request = InstantRequest { text: text.to_owned(), time_ms: 600_000, options };
        match futures_executor::block_on(engine.instant(request)) {
            Ok(answer) => match answer.value {
                Value::Vector(found) => {
                    let show = |e: VectorElement| format!("{} {:?}; ", e.labels, e.point);
                    found.into_iter().map(show).collect::<String>()
                }
                other => panic!("{other:?}"),
            },
            Err(error) => error.to_string(),
        }
    };
    let by_job = r#"sum by (job) (rate({__name__=~".+_total"}[5m]))"#;
    let without = r#"max without (i) (rate({__name__=~".+_total"}[5m]))"#;
    for shards in [1, 2, 8] {
        assert_eq!(answer(shards, false, by_job), r#"{job="a"} Float(10.0); {job="b"} Float(30.0); "#);
        assert_eq!(answer(shards, false, without), r#"{job="a"} Float(1.0); {job="b"} Float(1.0); "#);
        let refused = "vector cannot contain metrics with the same labelset";
        assert_eq!(answer(shards, true, by_job), refused);
    }
}

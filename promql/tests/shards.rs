//! The same data in one shard and in several: the answers must not tell.

use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
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

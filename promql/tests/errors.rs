//! Which of several errors is told.

use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::{Engine, EngineOptions, InstantRequest, Query, RangeRequest, RequestOptions};

/// The error of a query over `a{x="1"}`, `b{x="1"}`, `c{x="1"}` and `c{x="2"}`.
fn error(text: &str) -> String {
    let store = MemStore::new(2);
    let mut batch = WriteBatch::default();
    for (name, x) in [("a", "1"), ("b", "1"), ("c", "1"), ("c", "2")] {
        let labels = Labels::from_pairs([("__name__", name), ("x", x)]);
        batch.push(&labels, &[Sample { timestamp_ms: 60_000, value: 1.0 }]);
    }
    assert!(store.write(&batch).refused.is_empty());
    let engine = Engine::new(store, EngineOptions::default());
    let options = RequestOptions::new(QueryContext::unlimited());
    let request = InstantRequest { text: text.to_owned(), time_ms: 60_000, options };
    futures_executor::block_on(engine.instant(request)).expect_err("fails").to_string()
}

#[test]
fn a_sign_does_not_unite_what_never_meets() {
    // `a` is there at 1 m, `d` at 2 m, and both become `{x="1"}`.
    let (store, mut batch) = (MemStore::new(2), WriteBatch::default());
    for (name, minute) in [("a", 1), ("d", 2)] {
        let labels = Labels::from_pairs([("__name__", name), ("x", "1")]);
        batch.push(&labels, &[Sample { timestamp_ms: minute * 60_000, value: 1.0 }]);
    }
    assert!(store.write(&batch).refused.is_empty());
    let options = EngineOptions { lookback_ms: 60_000, ..EngineOptions::default() };
    let engine = Engine::new(store, options);
    let ask = |text: &str| {
        let options = RequestOptions::new(QueryContext::unlimited());
        let text = text.to_owned();
        let request = RangeRequest { text, start_ms: 60_000, end_ms: 120_000, step_ms: 60_000, options };
        futures_executor::block_on(engine.range(request)).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(ask("-(a or d)"), Err("vector cannot contain metrics with the same labelset".to_owned()));
    assert_eq!(ask("abs(a or d)"), Ok(()));
}

#[test]
fn of_two_errors_the_one_on_the_left_is_told() {
    let lost = r#"count_over_time({__name__=~"a|b"}[1m])"#;
    let many = "found duplicate series for the match group {} on the right hand-side";
    let same = "vector cannot contain metrics with the same labelset";
    assert_eq!(error(lost), same);
    assert!(error("a - on() c").starts_with(many));
    assert!(error(&format!("(a - on() c) and on(x) {lost}")).starts_with(many));
    assert_eq!(error(&format!("{lost} and on(x) (a - on() c)")), same);
}

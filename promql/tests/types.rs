//! The labels for type and unit: gone with the name, and, where that is enabled, what tells counters.

use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::{Answer, Engine, EngineOptions, InstantRequest, Query, RequestOptions, Value};

fn ask(text: &str, type_and_unit_labels: bool) -> Answer {
    let store = MemStore::new(2);
    let mut batch = WriteBatch::default();
    for (kind, job) in [("counter", "a"), ("counter", "b"), ("gauge", "a"), ("", "b"), ("histogram", "a")] {
        let pairs = [("__name__", "m"), ("__type__", kind), ("__unit__", "s"), ("job", job), ("id", kind)];
        let labels = Labels::from_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        let samples = [0, 60_000].map(|timestamp_ms| Sample { timestamp_ms, value: timestamp_ms as f64 });
        batch.push(&labels, &samples);
    }
    assert!(store.write(&batch).refused.is_empty());
    let engine = Engine::new(store, EngineOptions { type_and_unit_labels, ..EngineOptions::default() });
    let options = RequestOptions::new(QueryContext::unlimited());
    let request = InstantRequest { text: text.to_owned(), time_ms: 60_000, options };
    futures_executor::block_on(engine.instant(request)).expect("answers")
}

fn labels(answer: &Answer) -> Vec<String> {
    let Value::Vector(elements) = &answer.value else { panic!("{:?}", answer.value) };
    elements.iter().map(|element| element.labels.to_string()).collect()
}

/// The label sets of an answer, with the feature and without.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    assert_eq!(labels(&ask(text, false)), expect);
    assert_eq!(labels(&ask(text, true)), expect);
}

/// What is remarked with the feature.
#[track_caller]
fn check_infos(text: &str, expect: &[&str]) {
    assert_eq!(ask(text, true).infos, expect);
}

#[test]
fn a_computed_value_has_neither_type_nor_unit() {
    check("sum by (job, __type__) (rate(m[2m]))", &[r#"{job="a"}"#, r#"{job="b"}"#]);
    check("sum without (id) (rate(m[2m]))", &[r#"{job="a"}"#, r#"{job="b"}"#]);
    check("sum without (id, __type__) (rate(m[2m]))", &[r#"{job="a"}"#, r#"{job="b"}"#]);
    check("sum by (job) (-m)", &[r#"{job="a"}"#, r#"{job="b"}"#]);
    check(
        "max by (__type__) (m) == 60000",
        &["{}", r#"{__type__="counter"}"#, r#"{__type__="gauge"}"#, r#"{__type__="histogram"}"#],
    );
}

#[test]
fn counters_are_told_by_their_type() {
    let text = |kind: &str, at: &str| {
        format!(
            "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind:?}: \"m\" ({at})"
        )
    };
    let (none, gauge) = (text("", "1:20"), text("gauge", "1:20"));
    check_infos("sum by (job) (rate(m[2m]))", &[&none, &gauge]);
    check_infos("sum without (j) (rate(m[2m]))", &[&text("", "1:23"), &text("gauge", "1:23")]);
    check_infos(r#"rate(m{__type__="counter"}[2m])"#, &[]);
    check_infos("increase(m[2m:1m])", &[&text("", "1:1"), &text("gauge", "1:1")]);
    let named = ask("sum(rate(m[2m]))", false).infos;
    assert_eq!(named.len(), 1);
    assert!(named[0].contains("name does not end in"), "{named:?}");
}

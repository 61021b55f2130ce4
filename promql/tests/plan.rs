//! What runs beside the data, and what is left for the finish.

use hearth_model::QueryContext;
use hearth_model::testing::MemStore;
use hearth_promql::explain::{Asked, NodeReport};
use hearth_promql::syntax::ParseOptions;
use hearth_promql::{Engine, EngineOptions, Query, RangeRequest, RequestOptions};

/// The fragments of a query, a line each, and whether the finish is nothing but the first of them.
#[track_caller]
fn check(text: &str, fragments: &[&str], all_on_shards: bool) {
    let (finish, found) = plan(text, EngineOptions::default());
    assert_eq!(found, fragments);
    assert_eq!(finish.operator == "result of fragment 0", all_on_shards, "{finish:?}");
}

/// The fragments of a query that needs experimental functions.
#[track_caller]
fn check_experimental(text: &str, fragments: &[&str]) {
    let options = EngineOptions { parse: ParseOptions::ALL, ..EngineOptions::default() };
    assert_eq!(plan(text, options).1, fragments);
}

/// The finish, and the fragments without their numbers.
#[track_caller]
fn plan(text: &str, options: EngineOptions) -> (NodeReport, Vec<String>) {
    let engine = Engine::new(MemStore::new(1), options);
    let request = RangeRequest {
        text: text.to_owned(),
        start_ms: 0,
        end_ms: 600_000,
        step_ms: 60_000,
        options: RequestOptions::new(QueryContext::unlimited()),
    };
    let explained = futures_executor::block_on(engine.explain(Asked::Range(request), false));
    let explained = explained.expect("plans");
    (explained.finish, explained.fragments.into_iter().map(|fragment| fragment.line).collect())
}

#[test]
fn an_aggregation_over_one_selector_runs_on_the_shards() {
    let rate = r#"sum by Only(["job"]) of Rate over 300000 ms of {__name__="m"} at 11 steps"#;
    check("sum by (job) (rate(m[5m]))", &[rate], true);
    let newest = r#"max by Without(["job", "__name__"]) of newest of {__name__="m"} at 11 steps"#;
    check("max without (job) (m)", &[newest], true);
    let negated = r#"count by Only([]) of Negate of newest of {__name__="m"} at 11 steps"#;
    check("count(-m)", &[negated], true);
}

/// Names that differ are dropped: the shards look for series that become equal.
#[test]
fn rates_of_several_metrics_are_folded_too() {
    let rate = r#"sum by Only([]) of Rate over 60000 ms of {__name__=~"a|b"} at 11 steps"#;
    check(r#"sum(rate({__name__=~"a|b"}[1m]))"#, &[rate], true);
    let by_name = r#"Rate over 60000 ms of {__name__=~"a|b"} at 11 steps"#;
    check(r#"sum by (__name__) (rate({__name__=~"a|b"}[1m]))"#, &[by_name], false);
}

#[test]
fn what_needs_whole_label_sets_is_left_for_the_finish() {
    let newest = r#"newest of {__name__=~"a|b"} at 11 steps"#;
    check(r#"sum(-{__name__=~"a|b"})"#, &[newest], false);
    check("topk(3, m)", &[r#"newest of {__name__="m"} at 11 steps"#], false);
}

#[test]
fn what_is_read_twice_or_does_not_change_is_read_once() {
    let newest = r#"sum by Only([]) of newest of {__name__="m"} at 11 steps"#;
    check("sum(m) / sum(m)", &[newest], false);
    check("sum(m @ 60)", &[r#"sum by Only([]) of newest of {__name__="m"} at 1 steps"#], false);
    check("1 + 2 * 3", &[], false);
}

#[test]
fn absence_is_one_bit_a_step() {
    let any = r#"group by Only([]) of Present over 60000 ms of {__name__="m"} at 11 steps"#;
    check("absent_over_time(m[1m])", &[any], false);
}

#[test]
fn info_series_are_narrowed_by_what_the_vector_says_of_them() {
    let rate = r#"Rate over 60000 ms of {job="j", instance!="", a="b", __name__="m"} at 11 steps"#;
    let info = r#"times of {__name__="target_info", os=~".+", job="j", instance!=""} at 11 steps"#;
    let text = r#"info(rate(m{job="j",instance!="",a="b"}[1m]), {os=~".+"})"#;
    check_experimental(text, &[rate, info]);
    let any = r#"sum by Only(["job"]) of newest of {job="j", __name__="m"} at 11 steps"#;
    let info = r#"times of {__name__="target_info"} at 11 steps"#;
    check_experimental(r#"info(sum by (job) (m{job="j"}))"#, &[any, info]);
    let pinned = r#"newest of {job="", __name__="m"} at 1 steps"#;
    let info = r#"times of {__name__="target_info"} at 1 steps"#;
    check_experimental(r#"info(m{job=""} @ 60)"#, &[pinned, info]);
}

//! What runs beside the data, and what is left for the finish.

use hearth_model::QueryContext;
use hearth_model::testing::MemStore;
use hearth_promql::{Engine, EngineOptions, RangeRequest, RequestOptions};

/// The fragments of a query, a line each, and whether the finish is nothing but the first of them.
#[track_caller]
fn check(text: &str, fragments: &[&str], all_on_shards: bool) {
    let engine = Engine::new(MemStore::new(1), EngineOptions::default());
    let request = RangeRequest {
        text: text.to_owned(),
        start_ms: 0,
        end_ms: 600_000,
        step_ms: 60_000,
        options: RequestOptions::new(QueryContext::unlimited()),
    };
    let plan = engine.explain(request).expect("plans");
    let lines: Vec<&str> = plan.lines().collect();
    let (finish, found) = lines.split_last().expect("a plan has a finish");
    let found: Vec<&str> = found.iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    assert_eq!(found, fragments, "{plan}");
    assert_eq!(*finish == "finish: Fragment(0)", all_on_shards, "{plan}");
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

#[test]
fn what_needs_whole_label_sets_is_left_for_the_finish() {
    let rate = r#"Rate over 60000 ms of {__name__=~"a|b"} at 11 steps"#;
    check(r#"sum(rate({__name__=~"a|b"}[1m]))"#, &[rate], false);
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

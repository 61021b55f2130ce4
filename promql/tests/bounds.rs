//! Queries that try to take more than they may: each is refused or answered within its bounds.

use hearth_model::context::{Budget, Stop};
use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::{
    Answer, Engine, EngineOptions, InstantRequest, Query, QueryAdmin, QueryError, RangeRequest,
    RequestOptions, Value,
};

fn engine(options: EngineOptions) -> Engine<MemStore> {
    let store = MemStore::new(2);
    let mut batch = WriteBatch::default();
    for i in 0..20 {
        let labels = Labels::from_pairs([("__name__", "m".to_owned()), ("i", i.to_string())]);
        let samples: Vec<Sample> =
            (0..100).map(|t| Sample { timestamp_ms: t * 1_000, value: t as f64 }).collect();
        batch.push(&labels, &samples);
    }
    assert!(store.write(&batch).refused.is_empty());
    Engine::new(store, options)
}

fn at(engine: &impl Query, text: &str, context: QueryContext) -> Result<Answer, QueryError> {
    let request =
        InstantRequest { text: text.to_owned(), time_ms: 99_000, options: RequestOptions::new(context) };
    futures_executor::block_on(engine.instant(request))
}

#[track_caller]
fn check_refused(result: Result<Answer, QueryError>, expect: &str) {
    let error = result.expect_err("refused").to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn the_deepest_tree_fits_a_thread_of_usual_size() {
    let chain = format!("m{}", " + m".repeat(240));
    let nested = format!("{}m{}", "abs(-".repeat(80), ")".repeat(80));
    let run = move || {
        for text in [chain, nested] {
            let answer = at(&engine(EngineOptions::default()), &text, QueryContext::unlimited());
            assert!(matches!(answer.expect("answers").value, Value::Vector(v) if v.len() == 20));
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("spawns");
    thread.join().expect("the stack suffices");
}

#[test]
fn samples_are_counted_while_they_are_held() {
    let few = engine(EngineOptions { max_samples: 150, ..EngineOptions::default() });
    let context = QueryContext::unlimited();
    assert!(at(&few, "sum(max_over_time(m[2m]))", context.clone()).is_ok());
    check_refused(at(&few, "m[2m]", context.clone()), "too many samples into memory in query execution");
    check_refused(at(&few, "max_over_time(vector(1)[100y:1ms])", context), "too many samples");
}

#[test]
fn memory_is_charged_and_given_back() {
    let budget = Budget::new("query", 4_000, None);
    let engine = engine(EngineOptions::default());
    check_refused(at(&engine, "m[2m]", QueryContext::new(budget.clone())), "memory limit of 4000 bytes");
    assert!(at(&engine, "count(m)", QueryContext::new(budget.clone())).is_ok());
    assert_eq!(budget.used_bytes(), 0);
    check_refused(
        at(&engine, "max_over_time(vector(1)[10m:10ms])", QueryContext::new(budget.clone())),
        "memory limit",
    );
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_stopped_query_says_why() {
    let engine = engine(EngineOptions::default());
    let stopped = |why| {
        let context = QueryContext::unlimited();
        context.cancel(why);
        at(&engine, "sum(m)", context)
    };
    assert_eq!(stopped(Stop::TimedOut), Err(QueryError::TimedOut("expression evaluation")));
    assert_eq!(stopped(Stop::Cancelled), Err(QueryError::Canceled("expression evaluation")));
}

#[test]
fn waiting_queries_get_their_turn_even_behind_one_that_left() {
    let engine = engine(EngineOptions { max_concurrency: 1, ..EngineOptions::default() });
    let request = |text: &str| RangeRequest {
        text: text.to_owned(),
        start_ms: 0,
        end_ms: 99_000,
        step_ms: 1_000,
        options: RequestOptions::new(QueryContext::unlimited()),
    };
    let mut queries: Vec<_> = (0..4).map(|_| engine.range(request("sum(m)"))).collect();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for query in &mut queries {
        let _ = query.as_mut().poll(&mut cx);
    }
    drop(queries.remove(1));
    for query in queries {
        assert!(futures_executor::block_on(query).is_ok());
    }
    assert_eq!(engine.queries(), 0);
}

#[test]
fn a_limit_on_series_cuts_the_answer_and_says_so() {
    let engine = engine(EngineOptions::default());
    let options = RequestOptions { limit: 3, ..RequestOptions::new(QueryContext::unlimited()) };
    let request = InstantRequest { text: "m".to_owned(), time_ms: 99_000, options };
    let answer = futures_executor::block_on(engine.instant(request)).expect("answers");
    assert!(matches!(&answer.value, Value::Vector(v) if v.len() == 3));
    assert_eq!(answer.warnings, ["results truncated due to limit"]);
}

/// Queries that are long, deep or wide are answered, or refused for the reason given.
#[track_caller]
fn check_answered(text: &str) {
    let shown: String = text.chars().take(60).collect();
    let answer = at(&engine(EngineOptions::default()), text, QueryContext::unlimited());
    assert!(answer.is_ok(), "{shown}: {answer:?}");
}

#[track_caller]
fn check_text_refused(text: &str, expect: &str) {
    let refused = at(&engine(EngineOptions::default()), text, QueryContext::unlimited());
    check_refused(refused, expect);
}

#[test]
fn a_hundred_operators_nested_or_chained_are_answered() {
    for op in ["+", "-", "*", "/", "^", "and", "or", "unless", "> bool", "== "] {
        check_answered(&format!("m{}", format!(" {op} m").repeat(100)));
        check_answered(&format!("{}m{}", format!("m {op} (").repeat(100), ")".repeat(100)));
    }
    check_answered(&format!("{}m{}", "sum by (i) (".repeat(100), ")".repeat(100)));
    check_answered(&format!("{}m{}", "last_over_time(".repeat(3), "[9s:1s])".repeat(3)));
    check_answered(&format!("{}m{}", "-".repeat(100), ""));
}

#[test]
fn brackets_without_end_are_refused() {
    let deep = "nested more than 250 levels deep";
    for open in ["(", "-(", "abs(", "sum(", "m + (", "max_over_time(("] {
        check_text_refused(&open.repeat(100_000 / open.len()), deep);
    }
    let balanced = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    check_text_refused(&balanced, deep);
    for open in ["[", "{", "m[", "m{a=", "m[(", "sum by ("] {
        let text = open.repeat(100_000);
        let refused = at(&engine(EngineOptions::default()), &text, QueryContext::unlimited());
        assert!(matches!(refused, Err(QueryError::BadData(_))), "{open}");
    }
    check_text_refused(&"m + ".repeat(300_000), "longer than the limit of 1048576");
    check_text_refused(&format!("m{}", " + m".repeat(100_000)), "chained more than 500 levels deep");
}

#[test]
fn regexes_of_a_mebibyte_are_compiled_or_refused() {
    let words: Vec<String> = (0..100_000).map(|i| format!("word{i}")).collect();
    check_answered(&format!("m{{i=~\"{}\"}}", words.join("|")));
    check_answered(&format!("m{{i=~\"{}\"}}", "x".repeat(1_000_000)));
    check_answered(&format!("m{{i=~\"{}\"}}", "(?:a|)".repeat(10)));
    for (part, times) in [("(", 900_000), ("(a*)*", 180_000), ("[a-z]{1,999}", 80_000), ("(a|b)+?.", 110_000)]
    {
        let text = format!("m{{i=~\"{}\"}}", part.repeat(times));
        let answer = at(&engine(EngineOptions::default()), &text, QueryContext::unlimited());
        assert!(matches!(answer, Ok(_) | Err(QueryError::BadData(_))), "{part}: {answer:?}");
    }
    check_text_refused("m{i=~\"(((((.{999}){999}){999}){999}){999})\"}", "invalid");
}

#[test]
fn subqueries_of_ten_thousand_steps_are_answered() {
    check_answered("max_over_time(m[10000s:1s])");
    check_answered("quantile_over_time(0.5, m[10000s:1s])");
    check_answered("max_over_time(max_over_time(m[10s:1s])[10000s:1s])");
    check_answered("sum(rate(sum(m)[10000s:1s]))");
    check_text_refused("max_over_time(max_over_time(m[100y:1s])[100y:1s])", "too many samples");
}

/// A range query that waits behind another, and the engine that both are with.
#[track_caller]
fn check_stopped_in_line(stop: impl Fn(&Engine<MemStore>, &QueryContext), expect: QueryError) {
    let engine = engine(EngineOptions { max_concurrency: 1, ..EngineOptions::default() });
    let request = |context: &QueryContext| RangeRequest {
        text: "sum(m)".to_owned(),
        start_ms: 0,
        end_ms: 99_000,
        step_ms: 1_000,
        options: RequestOptions::new(context.clone()),
    };
    let (first, second) = (QueryContext::unlimited(), QueryContext::unlimited());
    let (mut runs, mut waits) = (engine.range(request(&first)), engine.range(request(&second)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(runs.as_mut().poll(&mut cx).is_pending() && waits.as_mut().poll(&mut cx).is_pending());
    let active = engine.active();
    let shown: Vec<_> = active.iter().map(|q| (q.id, q.running, q.registration.steps)).collect();
    assert_eq!(shown, [(1, true, 100), (2, false, 100)]);
    stop(&engine, &second);
    assert_eq!(futures_executor::block_on(waits), Err(expect));
    assert!(futures_executor::block_on(runs).is_ok());
    assert!(engine.active().is_empty() && engine.queries() == 0);
}

#[test]
fn who_waits_in_line_can_be_killed_and_times_out() {
    check_stopped_in_line(|engine, _| assert!(engine.kill(2)), QueryError::Canceled("query queue"));
    check_stopped_in_line(|_, context| context.cancel(Stop::TimedOut), QueryError::TimedOut("query queue"));
}

#[test]
fn a_running_query_can_be_killed() {
    let engine = engine(EngineOptions::default());
    let request = InstantRequest {
        text: "sum(m)".to_owned(),
        time_ms: 99_000,
        options: RequestOptions::new(QueryContext::unlimited()),
    };
    let mut query = engine.instant(request);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(query.as_mut().poll(&mut cx).is_pending());
    assert!(!engine.kill(7) && engine.kill(1));
    assert!(engine.active()[0].stopping);
    assert_eq!(futures_executor::block_on(query), Err(QueryError::Canceled("expression evaluation")));
}

//! Queries that try to take more than they may: each is refused or answered within its bounds.

use hearth_model::context::{Budget, Stop};
use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, WriteBatch};
use hearth_promql::{
    Answer, Engine, EngineOptions, InstantRequest, Query, QueryError, RangeRequest, RequestOptions, Value,
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

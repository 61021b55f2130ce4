//! Two servers' series in one store, asked through a job.

use super::*;
use crate::context::Budget;
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::range::TimeRange;
use crate::sample::Sample;
use crate::store::{Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use crate::testing::MemStore;
use crate::{WriteBatch, key};
use std::sync::Arc;

fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
}

fn filled() -> Replicas<MemStore> {
    let store = MemStore::new(4);
    let mut batch = WriteBatch::default();
    for host in ["x", "y", "z"] {
        for (replica, from) in [("a", 0), ("b", 7)] {
            // The second server does not know of one host.
            if (host, replica) == ("z", "b") {
                continue;
            }
            let labels = labels(&format!("__name__=m host={host} replica={replica}"));
            let samples: Vec<_> = (0..4)
                .map(|n| Sample { timestamp_ms: 1000 * (from + 15 * n), value: f64::from(n as i32) })
                .collect();
            batch.push_keyed(&key::key_of(&labels), &samples);
        }
    }
    store.write(&batch);
    Replicas::new(store)
}

fn context(replicas: &[&str]) -> QueryContext {
    QueryContext::unlimited().with_replicas(replicas.iter().map(|label| (*label).to_owned()).collect())
}

fn all() -> Arc<[Matcher]> {
    [Matcher::equal("__name__", "m")].into()
}

/// A line for each series: its group, its labels and how many samples it has.
async fn lines<V: ShardView>(view: V, projection: Projection) -> Result<Vec<String>, StoreError> {
    let mut cursor = view.select(Select { matchers: all(), range: TimeRange::ALL, projection }).await?;
    let (mut columns, mut lines) = (Columns::default(), vec![format!("{} series", cursor.series_count())]);
    while cursor.next(&mut columns).await? {
        let mut visited = Vec::new();
        cursor.visit_labels(|name, value| visited.push(format!("{name}={value}")));
        let group = cursor.group_labels(columns.group);
        lines.push(format!("{} {group} {} x{}", columns.group, visited.join(" "), columns.times.len()));
    }
    view.pause().await?;
    Ok(lines)
}

fn ask(context: QueryContext, projection: Projection) -> Result<Vec<Vec<String>>, StoreError> {
    let store = filled();
    let work = store.scatter(context, move |view| lines(view, projection.clone()));
    futures_executor::block_on(work)
}

#[test]
fn replicas_are_one_series_for_who_asks() {
    let shown = ask(context(&["replica"]), Projection::All).expect("an answer");
    let expect = [
        "3 series",
        r#"0 m{host="x"} __name__=m host=x x4"#,
        r#"1 m{host="y"} __name__=m host=y x4"#,
        r#"2 m{host="z"} __name__=m host=z x4"#,
    ];
    assert_eq!(shown, [expect]);
    let groups = ask(context(&["replica"]), Projection::Without(vec!["host".into()])).expect("an answer");
    assert!(
        groups[0][1..]
            .iter()
            .all(|line| line.starts_with("0 m{} __name__=m host=") || line.starts_with("0 m __name__")),
        "{groups:?}"
    );
    for context in [context(&[]), context(&["other"])] {
        let shown: Vec<String> = ask(context, Projection::All).expect("an answer").concat();
        assert_eq!(shown.iter().filter(|line| line.contains("replica=")).count(), 5, "{shown:?}");
    }
}

#[test]
fn series_are_listed_without_their_replicas_and_values_with_them() {
    let store = filled();
    let (context, range) = (context(&["replica"]), TimeRange::ALL);
    let sets = vec![all()];
    let ask = store.series(context.clone(), sets.clone(), range, 2);
    let (series, cut) = futures_executor::block_on(ask).expect("an answer");
    assert_eq!((series, cut), (vec![labels("__name__=m host=x"), labels("__name__=m host=y")], true));
    let ask = store.label_values(context.clone(), "replica".into(), sets.clone(), range, 0);
    assert_eq!(futures_executor::block_on(ask).expect("an answer").0, ["a", "b"]);
    let ask = store.label_names(context.clone(), sets.clone(), range, 0);
    assert_eq!(futures_executor::block_on(ask).expect("an answer").0, ["__name__", "host", "replica"]);
    let latest = futures_executor::block_on(store.latest(context, sets, range)).expect("an answer");
    assert_eq!(latest.len(), 3);
}

#[test]
fn memory_a_stop_and_a_panic_end_the_query() {
    let labels: Arc<[String]> = ["replica".to_owned()].into();
    let small = QueryContext::new(Budget::new("query", 100, None)).with_replicas(labels.clone());
    assert!(matches!(ask(small, Projection::All), Err(StoreError::MemoryLimit { .. })));
    let stopped = context(&["replica"]);
    stopped.cancel(Stop::TimedOut);
    assert_eq!(ask(stopped, Projection::All), Err(StoreError::Stopped(Stop::TimedOut)));
    let store = filled();
    let work = store.scatter(context(&["replica"]), |_| async { panic!("on purpose") as Result<(), _> });
    let panicked = futures_executor::block_on(work);
    assert_eq!(panicked, Err(StoreError::Io("unexpected error: on purpose".into())));
}

#[test]
fn everything_that_a_query_held_is_given_back() {
    let budget = Budget::new("query", usize::MAX, None);
    let context = QueryContext::new(budget.clone()).with_replicas(["replica".to_owned()].into());
    ask(context, Projection::All).expect("an answer");
    assert!(budget.peak_bytes() > 0 && budget.used_bytes() == 0);
}

//! What goes wrong in a query, and what must not be mistaken for something else while it reads.

use futures_executor::block_on;
use hearth_engine::{Handle, Options, open};
use hearth_model::store::{Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{
    Ack, Append, Histogram, Labels, Matcher, QueryContext, Sample, Scatter, StoreError, TimeRange, WriteBatch,
};

fn one_shard(path: &std::path::Path) -> Handle {
    let options = Options { shards: Some(1), clock: || 1_000_000, ..Options::new(path) };
    open(&options).expect("opens")
}

fn labels(i: usize) -> Labels {
    Labels::from_pairs([("__name__", "metric"), ("instance", &format!("host-{i}"))])
}

fn samples(times: std::ops::Range<i64>) -> Vec<Sample> {
    times.map(|t| Sample { timestamp_ms: t * 1000, value: t as f64 }).collect()
}

#[test]
fn a_job_that_panics_costs_its_query_and_nothing_else() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = one_shard(directory.path());
    let run = |broken: bool| {
        block_on(handle.scatter(QueryContext::unlimited(), move |_view| async move {
            assert!(!broken, "an oversight");
            Ok(7)
        }))
    };
    assert_eq!(run(true), Err(StoreError::Io("unexpected error: an oversight".to_owned())));
    assert_eq!(run(false), Ok(vec![7]));
    handle.close();
}

/// Series whose samples lie before the range stand between those that are read: the times of a series are its
/// own whatever was passed over.
#[test]
fn times_are_never_those_of_a_series_before() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().expect("temporary directory");
        let handle = one_shard(directory.path());
        let mut batch = WriteBatch::default();
        let mut expect = Vec::new();
        for i in 0..random.usize(2..8) {
            let (mut floats, mut histograms) = (0, 0);
            match random.u8(0..3) {
                0 => batch.push(&labels(i), &samples(0..3)),
                1 => {
                    batch.push(&labels(i), &samples(0..10));
                    floats = 5;
                }
                _ => {
                    let key = hearth_model::key::key_of(&labels(i));
                    batch.push_histograms(&key, (6..9).map(|t| (t * 1000, Histogram::stale())));
                    histograms = 3;
                }
            }
            if floats + histograms > 0 {
                expect.push((labels(i), floats, floats, histograms));
            }
        }
        block_on(handle.append(batch, Ack::Memory)).expect("appends");
        let found = block_on(handle.scatter(QueryContext::unlimited(), |view| async move {
            let select = Select {
                matchers: vec![
                    Matcher::new(hearth_model::MatchOp::Equal, "__name__", "metric").expect("plain"),
                ]
                .into(),
                range: TimeRange::new(5_000, 20_000),
                projection: Projection::All,
            };
            let mut cursor = view.select(select).await?;
            let (mut columns, mut out) = (Columns::default(), Vec::new());
            while cursor.next(&mut columns).await? {
                let Columns { times, values, histograms, .. } = &columns;
                let labels = cursor.group_labels(columns.group);
                out.push((labels, times.len(), values.len(), histograms.len()));
            }
            Ok(out)
        }));
        let mut found = found.expect("reads").remove(0);
        found.sort();
        assert_eq!(found, expect, "seed {seed}");
        handle.close();
    }
}

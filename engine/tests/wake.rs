//! Ten thousand durable appends, one after the other. Each waits for several wake-ups that cross threads; an
//! executor that loses one (see `IoChoice::Glommio`) stops the test for ever.

use futures_executor::block_on;
use hearth_engine::{IoChoice, Options, open};
use hearth_model::{Ack, Append, Labels, Sample, WriteBatch};

#[test]
fn no_wake_up_is_lost() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        shards: Some(2),
        io: IoChoice::Auto,
        clock: || i64::MAX / 2,
        ..Options::new(directory.path())
    };
    let handle = open(&options).expect("opens");
    let labels: Vec<Labels> =
        (0..50).map(|i| Labels::from_pairs([("__name__", format!("metric_{i}").as_str())])).collect();
    for round in 0..10_000 {
        let mut batch = WriteBatch::default();
        for one in &labels {
            batch.push(one, &[Sample { timestamp_ms: round, value: 1.0 }]);
        }
        block_on(handle.append(batch, Ack::Synced)).expect("appends");
    }
    handle.close();
}

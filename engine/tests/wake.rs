//! Wake-ups that must not be lost, on either executor; one that is stops a test for ever.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, OpenError, Options, open};
use hearth_model::store::{Scatter, ShardView};
use hearth_model::{Ack, Append, Labels, QueryContext, Sample, WriteBatch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Runs `body` on a store on each executor that this kernel allows.
fn on_each_executor(body: impl Fn(&Handle)) {
    for io in [IoChoice::Auto, IoChoice::Threads, IoChoice::Uring] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let clock = || i64::MAX / 2;
        let options = Options { shards: Some(2), io, clock, ..Options::new(directory.path()) };
        let handle = match open(&options) {
            Err(OpenError::NoIoUring(why)) if io == IoChoice::Uring => {
                println!("not on glommio: {why}");
                continue;
            }
            opened => opened.expect("opens"),
        };
        println!("{}", handle.backend());
        body(&handle);
        handle.close();
    }
}

/// Ten thousand durable appends, one after the other: each waits for several wake-ups that cross threads.
#[test]
fn every_append_is_answered() {
    let labels: Vec<Labels> =
        (0..50).map(|i| Labels::from_pairs([("__name__", format!("metric_{i}").as_str())])).collect();
    on_each_executor(|handle| {
        for round in 0..10_000 {
            let mut batch = WriteBatch::default();
            for one in &labels {
                batch.push(one, &[Sample { timestamp_ms: round, value: 1.0 }]);
            }
            block_on(handle.append(batch, Ack::Synced)).expect("appends");
        }
    });
}

/// Jobs that give way all the time, while others fight for the cores: glommio left such jobs asleep, because
/// it takes a preemption timer that fires early for the end of all work. See `shard/runtime.rs`.
#[test]
fn a_job_goes_on_after_each_pause() {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // On a failure too: the scope waits for its threads.
        let _end = SetOnDrop(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        on_each_executor(|handle| {
            for _ in 0..20 {
                let job = |view| pausing(view);
                block_on(handle.scatter(QueryContext::unlimited(), job)).expect("every job ends");
            }
        });
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn pausing(view: impl ShardView) -> Result<(), hearth_model::StoreError> {
    for _ in 0..40 {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(1_100) {
            std::hint::spin_loop();
        }
        view.pause().await?;
    }
    Ok(())
}

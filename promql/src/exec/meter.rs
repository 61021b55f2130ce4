//! What a stretch of work takes: time on the clock, and time of this thread on a core. For `analyze`; plain
//! queries are not measured node by node.

use rustix::time::{ClockId, clock_gettime};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

/// See the module's head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub wall: Duration,
    pub cpu: Duration,
}

/// Since when somebody works.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    began: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { began: Instant::now(), cpu: thread_cpu() }
    }

    /// On the thread that started it.
    pub fn stop(self) -> Spent {
        Spent { wall: self.began.elapsed(), cpu: thread_cpu().saturating_sub(self.cpu) }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a future computes, and what its polls took: what others did on the thread meanwhile is not in it.
pub async fn measured<T>(work: impl Future<Output = T>) -> (T, Spent) {
    let mut work = pin!(work);
    let mut spent = Spent::default();
    let output = poll_fn(|task| {
        let meter = Meter::start();
        let polled = work.as_mut().poll(task);
        let more = meter.stop();
        spent.wall += more.wall;
        spent.cpu += more.cpu;
        polled
    });
    let output = output.await;
    (output, spent)
}

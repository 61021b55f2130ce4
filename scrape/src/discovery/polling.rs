//! Mechanisms that ask again and again: one loop with interval, jitter, retries and figures for all of
//! them.
//!
//! 1. Ask at once; then, after a success, once an interval.
//! 2. Until the first success, ask again soon, with pauses that double up to the interval; after it, a
//!    failure waits for the interval as a success does: the last good set is in use.
//! 3. Every pause is shortened by up to a tenth, so that servers and sections do not ask in step.

use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools};
use crate::config::{DISCOVERY_RETRY_MS, PromDuration};
use crate::counters::Refreshes;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A mechanism that is asked.
pub trait Poll: Send + 'static {
    /// As in the `mechanism` label of the figures.
    const MECHANISM: &'static str;

    fn interval(&self) -> PromDuration;

    /// All groups there are now. An error says what was asked and why it failed, without a secret.
    fn refresh(&mut self) -> impl Future<Output = Result<Vec<TargetGroup>, String>> + Send;
}

/// The loop around a [`Poll`].
pub struct Polling<P> {
    poll: P,
    refreshes: Arc<Refreshes>,
}

impl<P: Poll> Polling<P> {
    pub fn new(poll: P, tools: &Tools) -> Polling<P> {
        Polling { poll, refreshes: tools.counters.refreshes(P::MECHANISM, &tools.config) }
    }

    async fn once(&mut self, publisher: &Publisher) -> Result<(), String> {
        let start = Instant::now();
        let result = self.poll.refresh().await;
        self.refreshes.length.observe(start.elapsed().as_secs_f64());
        publisher.publish(result?.into_iter().map(Arc::new).collect())
    }
}

/// Step 3; `random` is at least 0 and below 1.
fn jittered(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(1.0 - random / 10.0)
}

impl<P: Poll> Discover for Polling<P> {
    async fn run(mut self, publisher: Publisher) {
        let mut retry_ms = DISCOVERY_RETRY_MS.0;
        let mut known = false;
        loop {
            let interval = self.poll.interval().std();
            let pause = match self.once(&publisher).await {
                Ok(()) => {
                    known = true;
                    interval
                }
                Err(error) => {
                    self.refreshes.failures.add(1);
                    publisher.failed(&error);
                    let soon = Duration::from_millis(retry_ms);
                    retry_ms = (retry_ms * 2).min(DISCOVERY_RETRY_MS.1);
                    if known { interval } else { soon.min(interval) }
                }
            };
            tokio::time::sleep(jittered(pause, fastrand::f64())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens_and_only_by_a_tenth() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0.0), second);
        assert_eq!(jittered(second, 0.5), Duration::from_millis(950));
        assert!(jittered(second, 0.999_999) >= Duration::from_millis(900));
    }
}

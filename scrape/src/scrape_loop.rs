//! One target's clock: when to scrape, with which timestamp, and how the loop ends.
//!
//! Timers are monotonic, so a jump of the wall clock moves timestamps but never stops scraping.

use crate::context::Context;
use crate::cycle::Cycle;
use crate::pool::{LoopPlan, TargetEntry};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::TIMESTAMP_TOLERANCE_MS;

/// What a loop is to do.
#[derive(Clone)]
pub enum Order {
    Run(LoopPlan),
    /// The target is gone: finish, and end its series unless it comes back soon.
    Leave,
    /// The server is going down: stop at once and write nothing.
    Quit,
}

/// Planned and true times.
struct Timing {
    interval_ms: i64,
    due: Instant,
    /// Wall-clock time of the turn that `due` stands for.
    planned_ms: i64,
    last: Option<Instant>,
}

impl Timing {
    fn new(context: &Context, plan: &LoopPlan) -> Timing {
        let now_ms = (context.clock)();
        let offset_ms = plan.target.offset_ms(now_ms, context.seed);
        Timing {
            interval_ms: plan.target.interval.ms,
            due: Instant::now() + Duration::from_millis(offset_ms),
            planned_ms: now_ms + offset_ms as i64,
            last: None,
        }
    }

    /// Moves to the next turn that is not over yet.
    fn advance(&mut self) {
        let interval = Duration::from_millis(self.interval_ms as u64);
        let now = Instant::now();
        while self.due <= now {
            self.due += interval;
        }
    }

    fn stamp(&mut self, now_ms: i64) -> i64 {
        stamp(&mut self.planned_ms, now_ms, self.interval_ms)
    }
}

/// The timestamp of a scrape that begins at `now_ms`: the planned time where that is within tolerance,
/// else `now_ms`. Turns that were missed are stepped over; a clock that was set back gives a new plan.
fn stamp(planned_ms: &mut i64, now_ms: i64, interval_ms: i64) -> i64 {
    let tolerance_ms = TIMESTAMP_TOLERANCE_MS.min(interval_ms / 100);
    let ahead_ms = now_ms - *planned_ms + tolerance_ms;
    if ahead_ms < 0 {
        *planned_ms = now_ms;
    } else {
        *planned_ms += ahead_ms / interval_ms * interval_ms;
    }
    if (now_ms - *planned_ms).abs() <= tolerance_ms { *planned_ms } else { now_ms }
}

/// Resolves once the loop is to stop at once.
async fn quit(orders: &mut watch::Receiver<Order>) {
    // An error means that nobody gives orders any more.
    let _closed = orders.wait_for(|order| matches!(order, Order::Quit)).await;
}

/// Runs until told to stop.
pub async fn run(
    context: Arc<Context>,
    entry: Arc<TargetEntry>,
    plan: LoopPlan,
    mut orders: watch::Receiver<Order>,
) {
    let mut timing = Timing::new(&context, &plan);
    let mut cycle = Cycle::new(Arc::clone(&context), entry, plan);
    loop {
        let order = orders.borrow_and_update().clone();
        match order {
            Order::Run(plan) => {
                if !plan.same(cycle.plan()) {
                    let retimed = plan.target.interval != cycle.plan().target.interval;
                    cycle.adopt(plan);
                    if retimed {
                        timing = Timing { last: timing.last, ..Timing::new(&context, cycle.plan()) };
                    }
                }
            }
            Order::Leave => return leave(&context, cycle, timing, orders).await,
            Order::Quit => return,
        }
        tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            () = sleep_until(timing.due) => {}
        }
        let start = Instant::now();
        if let Some(last) = timing.last.replace(start) {
            context.counters.interval(timing.interval_ms).observe((start - last).as_secs_f64());
        }
        let at_ms = timing.stamp((context.clock)());
        cycle.scrape(at_ms, quit(&mut orders)).await;
        timing.advance();
    }
}

/// Ends the series of a target that is gone, at the time of the scrape that did not happen any more. The
/// target may come back with the same labels, so this waits until a new loop would have scraped it: the
/// store then refuses the markers, which are older.
async fn leave(context: &Context, mut cycle: Cycle, mut timing: Timing, mut orders: watch::Receiver<Order>) {
    if timing.last.is_none() {
        return;
    }
    let interval = Duration::from_millis(timing.interval_ms as u64);
    tokio::select! {
        () = sleep_until(timing.due) => {}
        () = quit(&mut orders) => return,
    }
    let at_ms = timing.stamp((context.clock)());
    tokio::select! {
        () = sleep(interval + interval / 10) => {}
        () = quit(&mut orders) => return,
    }
    cycle.end(at_ms).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_to_the_plan_within_the_tolerance() {
        let check = |planned: i64, now: i64, expect: i64, next_plan: i64| {
            let mut plan = planned;
            assert_eq!((stamp(&mut plan, now, 1_000), plan), (expect, next_plan), "{planned} {now}");
        };
        check(5_000, 5_000, 5_000, 5_000);
        check(5_000, 6_002, 6_000, 6_000);
        check(5_000, 5_998, 6_000, 6_000);
        check(5_000, 5_997, 5_997, 5_000);
        check(5_000, 6_003, 6_003, 6_000);
        check(5_000, 9_001, 9_000, 9_000);
        // The clock was set back, and forward.
        check(5_000, 1_000, 1_000, 1_000);
        check(5_000, 99_500, 99_500, 99_000);
        let mut plan = 5_000;
        assert_eq!(stamp(&mut plan, 5_101, 100), 5_100);
    }
}

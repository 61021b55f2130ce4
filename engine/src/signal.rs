//! Waking a task on the same thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the one task that waits on this thread.
#[derive(Default)]
pub struct Signal {
    waker: Cell<Option<Waker>>,
}

impl Signal {
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once `condition` holds; looked at after each wake.
    pub async fn until(&self, mut condition: impl FnMut() -> bool) {
        poll_fn(|context| {
            if condition() {
                return Poll::Ready(());
            }
            self.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

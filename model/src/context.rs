//! What a query carries wherever it runs: whether it was cancelled, and how much memory it may hold.
//!
//! There is no clock in here: who owns a deadline (the HTTP layer) calls [`QueryContext::cancel`].

use crate::store::StoreError;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Why a query was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The client hung up, or somebody killed the query.
    Cancelled,
    TimedOut,
    /// The server is going down.
    Shutdown,
}

/// A memory account. A child charges its parent too, so one bound holds for all queries together.
#[derive(Debug)]
pub struct Budget {
    name: &'static str,
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    parent: Option<Arc<Budget>>,
}

impl Budget {
    pub fn new(name: &'static str, limit_bytes: usize, parent: Option<Arc<Budget>>) -> Arc<Budget> {
        Arc::new(Budget {
            name,
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            peak_bytes: AtomicUsize::new(0),
            parent,
        })
    }

    pub fn unlimited() -> Arc<Budget> {
        Budget::new("unlimited", usize::MAX, None)
    }

    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes.load(Ordering::Relaxed).max(self.used_bytes())
    }

    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) -> Result<(), StoreError> {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = before.saturating_add(bytes);
        if now > self.limit_bytes {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::MemoryLimit { account: self.name, limit_bytes: self.limit_bytes });
        }
        if let Some(parent) = &self.parent
            && let Err(error) = parent.charge(bytes)
        {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        Ok(())
    }

    /// What is held grows up to here, so a new peak is noted here and not at each charge.
    fn release(&self, bytes: usize) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.peak_bytes.fetch_max(before, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }
}

/// Memory taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    owed_bytes: usize,
}

/// Small amounts are charged together once they come to this: the accounts are shared by all threads.
const CHARGE_BYTES: usize = 4 << 10;

impl Reservation {
    /// Charges `bytes` more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        self.budget.charge(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The same for a few bytes at a time, which may be charged a little later.
    #[inline]
    pub fn grow_small(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.owed_bytes += bytes;
        if self.owed_bytes < CHARGE_BYTES {
            return Ok(());
        }
        let owed = std::mem::take(&mut self.owed_bytes);
        self.grow(owed)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

const RUNNING: u8 = 0;

/// The word to stop, and who sleeps until it comes; and whether a long stretch of work was announced.
#[derive(Debug)]
struct Signs {
    reason: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
    wants_room: AtomicBool,
}

impl Signs {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        // Every change of the list is complete at each step, so a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> Option<Stop> {
        match self.reason.load(Ordering::SeqCst) {
            RUNNING => None,
            1 => Some(Stop::Cancelled),
            2 => Some(Stop::TimedOut),
            _ => Some(Stop::Shutdown),
        }
    }
}

/// Shared by everything that works for one query.
#[derive(Debug, Clone)]
pub struct QueryContext {
    signs: Arc<Signs>,
    budget: Arc<Budget>,
    replicas: Option<Arc<[String]>>,
}

impl QueryContext {
    pub fn new(budget: Arc<Budget>) -> Self {
        let signs = Signs {
            reason: AtomicU8::new(RUNNING),
            waiting: Mutex::default(),
            wants_room: AtomicBool::new(false),
        };
        QueryContext { signs: Arc::new(signs), budget, replicas: None }
    }

    /// Series that differ in these labels alone are replicas, to be seen as one (see [`crate::replicas`]); none of
    /// them where there is no label.
    pub fn with_replicas(mut self, labels: Arc<[String]>) -> Self {
        self.replicas = Some(labels).filter(|labels| !labels.is_empty());
        self
    }

    pub fn replicas(&self) -> Option<&Arc<[String]>> {
        self.replicas.as_ref()
    }

    /// For tests and for the server's own small queries.
    pub fn unlimited() -> Self {
        QueryContext::new(Budget::unlimited())
    }

    /// Tells every part of the query to stop; the first reason stays.
    pub fn cancel(&self, why: Stop) {
        let code = match why {
            Stop::Cancelled => 1,
            Stop::TimedOut => 2,
            Stop::Shutdown => 3,
        };
        if self.signs.reason.compare_exchange(RUNNING, code, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            let waiting = std::mem::take(&mut *self.signs.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Sleeps until the query is told to stop: for whoever waits for something else meanwhile.
    pub async fn stopped(&self) -> Stop {
        poll_fn(|task| {
            let mut waiting = self.signs.waiting();
            // Looked at under the lock: a stop that comes later finds the waker.
            if let Some(why) = self.signs.reason() {
                return Poll::Ready(why);
            }
            if !waiting.iter().any(|waker| waker.will_wake(task.waker())) {
                waiting.push(task.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Cheap enough for every series: one relaxed load.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.signs.reason.load(Ordering::Relaxed) == RUNNING {
            return Ok(());
        }
        self.signs.reason().map_or(Ok(()), |why| Err(StoreError::Stopped(why)))
    }

    /// Announces a stretch of work without a pause that is too long for the thread of who asked, and pauses
    /// once, so that it can be taken elsewhere. Costs nothing the second time.
    pub async fn ask_for_room(&self) {
        if self.signs.wants_room.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut paused = false;
        poll_fn(|task| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Whether [`QueryContext::ask_for_room`] was called.
    pub fn wants_room(&self) -> bool {
        self.signs.wants_room.load(Ordering::Relaxed)
    }

    pub fn reserve(&self, bytes: usize) -> Result<Reservation, StoreError> {
        self.budget.charge(bytes)?;
        Ok(Reservation { budget: self.budget.clone(), bytes, owed_bytes: 0 })
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Cancels the query when dropped, unless it finished before: held by who waits for the answer.
    pub fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop { context: self.clone() }
    }
}

/// See [`QueryContext::cancel_on_drop`]. Cancelling a query that has finished does nothing.
pub struct CancelOnDrop {
    context: QueryContext,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.context.cancel(Stop::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_bounded_by_its_parent_and_gives_back() {
        let all = Budget::new("all queries", 100, None);
        let one = QueryContext::new(Budget::new("query", 80, Some(all.clone())));
        let mut held = one.reserve(70).expect("fits");
        assert!(matches!(held.grow(20), Err(StoreError::MemoryLimit { account: "query", .. })));
        let mut small = one.reserve(0).expect("fits");
        assert!((0..20).all(|_| small.grow_small(200).is_ok()) && small.bytes() == 0);
        assert!(small.grow_small(200).is_err() && small.bytes() == 0);
        let two = QueryContext::new(Budget::new("query", 80, Some(all.clone())));
        assert!(matches!(two.reserve(40), Err(StoreError::MemoryLimit { account: "all queries", .. })));
        drop(held);
        assert_eq!((all.used_bytes(), all.peak_bytes()), (0, 70));
        assert!(two.reserve(40).is_ok());
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let context = QueryContext::unlimited();
        assert_eq!(context.check(), Ok(()));
        let waiting = context.clone();
        let mut stopped = std::pin::pin!(waiting.stopped());
        let mut task = std::task::Context::from_waker(Waker::noop());
        assert_eq!(stopped.as_mut().poll(&mut task), Poll::Pending);
        context.cancel(Stop::TimedOut);
        assert_eq!(stopped.as_mut().poll(&mut task), Poll::Ready(Stop::TimedOut));
        drop(context.cancel_on_drop());
        assert_eq!(context.check(), Err(StoreError::Stopped(Stop::TimedOut)));
    }

    #[test]
    fn asking_for_room_pauses_once() {
        let context = QueryContext::unlimited();
        let mut task = std::task::Context::from_waker(Waker::noop());
        for pauses in [true, false] {
            assert_eq!(context.wants_room(), !pauses);
            let mut asking = std::pin::pin!(context.ask_for_room());
            assert_eq!(asking.as_mut().poll(&mut task).is_pending(), pauses);
            if pauses {
                assert_eq!(asking.as_mut().poll(&mut task), Poll::Ready(()));
            }
        }
    }
}

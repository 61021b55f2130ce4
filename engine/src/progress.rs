//! How far the taking over of another server's data is; whoever shows figures reads it.

use hearth_model::Missing;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Progress {
    pub blocks_pending: AtomicU64,
    pub blocks_converted: AtomicU64,
    /// Blocks of which some or all could not be read.
    pub blocks_damaged: AtomicU64,
    pub samples_converted: AtomicU64,
    /// The store goes down: no more work is begun.
    stop: AtomicBool,
    told: Mutex<Told>,
    /// Rings when the store goes down, and when all is taken over that was there at the start.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// What readers do not see yet, or never will.
    missing: Vec<Missing>,
    /// Whether what was there at the start is still being taken over.
    at_work: bool,
}

impl Progress {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn missing(&self) -> Vec<Missing> {
        self.told().missing.clone()
    }

    pub fn set_missing(&self, missing: Vec<Missing>) {
        self.told().missing = missing;
    }

    pub fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The store goes down.
    pub fn stop(&self) {
        let _told = self.told();
        self.stop.store(true, Ordering::Relaxed);
        self.bell.notify_all();
    }

    /// A thread begins to take over what is there.
    pub fn begin(&self) {
        self.told().at_work = true;
    }

    /// It came to the end of that, for good or not.
    pub fn end(&self) {
        self.told().at_work = false;
        self.bell.notify_all();
    }

    /// Waits for that.
    pub fn wait(&self) {
        let at_work = |told: &mut Told| told.at_work;
        drop(self.bell.wait_while(self.told(), at_work).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits so long, or until the store goes down; whether it does.
    pub fn rest(&self, time: Duration) -> bool {
        let goes_on = |_: &mut Told| !self.stops();
        drop(
            self.bell.wait_timeout_while(self.told(), time, goes_on).unwrap_or_else(PoisonError::into_inner),
        );
        self.stops()
    }
}

//! What every loop of a scraper shares: the store, the clock, counters, and buffers that are used again.

use crate::counters::ScrapeCounters;
use crate::scraper::{Clock, Features};
use hearth_model::{Ack, Append, WriteBatch};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// Buffers kept between scrapes; scrapes that run at the same time each need one.
const KEPT_BUFFERS: usize = 32;
/// Bytes beyond which a buffer is given back to the allocator: one huge target must not hold memory for
/// all times.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Bodies and batches for the next scrapes.
#[derive(Default)]
pub struct Buffers {
    bodies: Mutex<Vec<Vec<u8>>>,
    batches: Mutex<Vec<WriteBatch>>,
}

fn take<T: Default>(list: &Mutex<Vec<T>>) -> T {
    list.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn give<T>(list: &Mutex<Vec<T>>, buffer: T, bytes: usize) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    if list.len() < KEPT_BUFFERS && bytes <= KEPT_BUFFER_BYTES {
        list.push(buffer);
    }
}

impl Buffers {
    pub fn take_body(&self) -> Vec<u8> {
        take(&self.bodies)
    }

    pub fn give_body(&self, body: Vec<u8>) {
        let bytes = body.capacity();
        give(&self.bodies, body, bytes);
    }

    pub fn take_batch(&self) -> WriteBatch {
        take(&self.batches)
    }

    pub fn give_batch(&self, mut batch: WriteBatch) {
        batch.clear();
        let bytes = batch.keys.capacity() + 48 * batch.series.capacity() + 16 * batch.samples.capacity();
        let bytes = bytes + 256 * batch.histograms.capacity() + 32 * batch.exemplars.capacity();
        give(&self.batches, batch, bytes);
    }
}

/// Shared by all loops.
pub struct Context {
    pub append: Arc<dyn Append>,
    pub ack: Ack,
    pub clock: Clock,
    pub seed: u64,
    pub features: Features,
    pub counters: ScrapeCounters,
    pub buffers: Buffers,
    /// Where loops run; where the caller does, if there is none.
    pub lanes: Vec<tokio::runtime::Handle>,
}

impl Context {
    /// Starts a target's loop: always on the same lane, so that one thread does all of a scrape.
    pub fn spawn(&self, identity: u64, run: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match self.lanes.len() {
            0 => tokio::spawn(run),
            lanes => self.lanes[(identity % lanes as u64) as usize].spawn(run),
        }
    }
}

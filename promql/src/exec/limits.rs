//! What one query may hold, counted where it is held: samples against `--query.max-samples`, bytes
//! against the query's memory account. Both are given back when their holder is dropped.

use crate::query::QueryError;
use hearth_model::context::{Reservation, Stop};
use hearth_model::{QueryContext, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// During what a query stopped, in error texts.
pub const EXECUTION: &str = "expression evaluation";
pub const QUEUE: &str = "query queue";

impl QueryError {
    /// Names the part of the plan that asked for too much, unless one within it is named.
    pub fn at(self, part: impl FnOnce() -> String) -> QueryError {
        match self {
            QueryError::OutOfMemory { account, limit_bytes, node: None } => {
                QueryError::OutOfMemory { account, limit_bytes, node: Some(part()) }
            }
            other => other,
        }
    }

    /// The query was told to stop.
    pub fn stopped(why: Stop, during: &'static str) -> QueryError {
        match why {
            Stop::TimedOut => QueryError::TimedOut(during),
            Stop::Cancelled | Stop::Shutdown => QueryError::Canceled(during),
        }
    }
}

/// Shared by all parts of one query, on every shard.
#[derive(Debug)]
pub struct Limits {
    context: QueryContext,
    max_samples: u64,
    held_samples: AtomicU64,
    peak_samples: AtomicU64,
}

impl Limits {
    pub fn new(context: QueryContext, max_samples: u64) -> Arc<Limits> {
        Arc::new(Limits {
            context,
            max_samples,
            held_samples: AtomicU64::new(0),
            peak_samples: AtomicU64::new(0),
        })
    }

    pub fn context(&self) -> &QueryContext {
        &self.context
    }

    /// Fails when the query was told to stop.
    pub fn check(&self) -> Result<(), QueryError> {
        self.context.check().map_err(QueryError::from)
    }

    pub fn peak_samples(&self) -> u64 {
        self.peak_samples.load(Ordering::Relaxed)
    }

    /// Whether `samples` more could be held beside what is held now: for what passes through a scan.
    pub fn admits(&self, samples: u64) -> Result<(), QueryError> {
        let now = self.held_samples.load(Ordering::Relaxed).saturating_add(samples);
        self.peak_samples.fetch_max(now, Ordering::Relaxed);
        if now > self.max_samples { Err(too_many_samples()) } else { Ok(()) }
    }

    fn hold(&self, samples: u64) -> Result<(), QueryError> {
        if samples == 0 {
            return Ok(());
        }
        let now = self.held_samples.fetch_add(samples, Ordering::Relaxed).saturating_add(samples);
        if now > self.max_samples {
            self.held_samples.fetch_sub(samples, Ordering::Relaxed);
            return Err(too_many_samples());
        }
        self.peak_samples.fetch_max(now, Ordering::Relaxed);
        Ok(())
    }
}

fn too_many_samples() -> QueryError {
    let text = "query processing would load too many samples into memory in query execution";
    QueryError::Execution(text.to_owned())
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> QueryError {
        match error {
            StoreError::Stopped(why) => QueryError::stopped(why, EXECUTION),
            StoreError::MemoryLimit { account, limit_bytes } => {
                QueryError::OutOfMemory { account, limit_bytes, node: None }
            }
            other => QueryError::Storage(other),
        }
    }
}

/// Bytes and samples that somebody holds.
#[derive(Debug)]
pub struct Held {
    limits: Arc<Limits>,
    samples: u64,
    /// Taken when the first byte is, so that empty holders cost nothing.
    memory: Option<Reservation>,
}

impl Held {
    pub fn nothing(limits: &Arc<Limits>) -> Held {
        Held { limits: limits.clone(), samples: 0, memory: None }
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, Reservation::bytes)
    }

    /// The same for a few bytes at a time, which may be charged a little later.
    pub fn grow_small(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.limits.check()?;
        match &mut self.memory {
            Some(memory) => Ok(memory.grow_small(bytes)?),
            None => self.grow(bytes, 0),
        }
    }

    /// Fails where the query was told to stop, too: whatever takes memory in a long loop stops in it.
    pub fn grow(&mut self, bytes: usize, samples: u64) -> Result<(), QueryError> {
        self.limits.check()?;
        match &mut self.memory {
            Some(memory) => memory.grow(bytes)?,
            None => self.memory = Some(self.limits.context.reserve(bytes)?),
        }
        self.limits.hold(samples)?;
        self.samples += samples;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limits.held_samples.fetch_sub(self.samples, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::context::Budget;

    #[test]
    fn what_is_dropped_is_given_back() {
        let context = QueryContext::new(Budget::new("query", 100, None));
        let limits = Limits::new(context, 10);
        let mut a = Held::nothing(&limits);
        a.grow(60, 6).expect("fits");
        let mut b = Held::nothing(&limits);
        assert!(
            matches!(b.grow(10, 5), Err(QueryError::Execution(text)) if text.contains("too many samples"))
        );
        assert!(matches!(b.grow(50, 0), Err(QueryError::OutOfMemory { limit_bytes: 100, .. })));
        drop((a, b));
        assert_eq!(limits.context().budget().used_bytes(), 0);
        assert!(limits.admits(10).is_ok() && limits.admits(11).is_err());
        assert_eq!(limits.peak_samples(), 11);
    }
}

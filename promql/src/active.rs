//! The queries that wait for a turn or run, for who wants to see them or to stop one. It knows nothing of
//! what a query does.

use crate::query::Origin;
use hearth_model::QueryContext;
use hearth_model::context::Stop;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What kind of request a query came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    Instant,
    Range,
}

impl QueryKind {
    pub fn name(self) -> &'static str {
        match self {
            QueryKind::Instant => "instant",
            QueryKind::Range => "range",
        }
    }
}

/// A query as it is registered.
#[derive(Debug, Clone)]
pub struct Registration {
    pub text: String,
    pub kind: QueryKind,
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub steps: usize,
    pub origin: Origin,
}

/// A query that waits or runs, at the moment of asking.
#[derive(Debug, Clone)]
pub struct ActiveQuery {
    /// Unique in the life of the engine.
    pub id: u64,
    pub registration: Registration,
    /// Since its arrival.
    pub age: Duration,
    /// Waiting for a turn: until now, or until it got one.
    pub queued: Duration,
    pub running: bool,
    /// It was told to stop, and has not ended yet.
    pub stopping: bool,
    pub memory_bytes: usize,
    pub peak_memory_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    registration: Registration,
    arrived: Instant,
    began: Option<Instant>,
    context: QueryContext,
}

#[derive(Debug, Default)]
struct Registry {
    last_id: u64,
    entries: BTreeMap<u64, Entry>,
}

/// The register of one engine; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ActiveQueries(Arc<Mutex<Registry>>);

/// Keeps a query in the register until it is dropped.
#[derive(Debug)]
pub struct Registered {
    queries: ActiveQueries,
    id: u64,
}

impl ActiveQueries {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Every change below is complete at each step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn register(&self, registration: Registration, context: QueryContext) -> Registered {
        let mut registry = self.registry();
        registry.last_id += 1;
        let id = registry.last_id;
        let entry = Entry { registration, arrived: Instant::now(), began: None, context };
        registry.entries.insert(id, entry);
        Registered { queries: self.clone(), id }
    }

    /// Oldest first.
    pub fn list(&self) -> Vec<ActiveQuery> {
        let registry = self.registry();
        let now = Instant::now();
        let shown = registry.entries.iter().map(|(&id, entry)| ActiveQuery {
            id,
            registration: entry.registration.clone(),
            age: now - entry.arrived,
            queued: entry.began.unwrap_or(now) - entry.arrived,
            running: entry.began.is_some(),
            stopping: entry.context.check().is_err(),
            memory_bytes: entry.context.budget().used_bytes(),
            peak_memory_bytes: entry.context.budget().peak_bytes(),
        });
        shown.collect()
    }

    /// Tells a query to stop; `false` where there is none with that number.
    pub fn kill(&self, id: u64) -> bool {
        let registry = self.registry();
        let entry = registry.entries.get(&id);
        if let Some(entry) = entry {
            entry.context.cancel(Stop::Cancelled);
        }
        entry.is_some()
    }
}

impl Registered {
    /// The query got its turn.
    pub fn begins(&self) {
        if let Some(entry) = self.queries.registry().entries.get_mut(&self.id) {
            entry.began = Some(Instant::now());
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.queries.registry().entries.remove(&self.id);
    }
}

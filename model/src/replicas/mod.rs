//! Several servers that scrape the same targets, all of whose series are stored, seen as one: a store in front of a
//! store, for queries that ask for it ([`QueryContext::with_replicas`]). Other queries go past it untouched.
//!
//! Replicas of a series are in different shards, so a query that merges them cannot run beside the data. Its job runs
//! once, on a thread of its own, and sees one shard ([`view`]); a selection of it reads the replicas of all shards and
//! makes one series of each set ([`merge`]).
//!
//! Limits: what a selection reads is in memory as a whole, charged to the query, until the job has gone past it.

mod cursor;
mod merge;
mod view;

pub use cursor::ReplicaCursor;
pub use view::ReplicaView;

use crate::context::{QueryContext, Stop};
use crate::missing::Missing;
use crate::store::{Scatter, StoreError};
use crate::watermark::Watermarks;
use futures_channel::oneshot;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// See the module's head.
#[derive(Debug, Clone)]
pub struct Replicas<S> {
    store: S,
}

impl<S: Scatter> Replicas<S> {
    pub fn new(store: S) -> Replicas<S> {
        Replicas { store }
    }
}

/// Stops a job that nobody waits for any more.
struct StopOnDrop(Option<QueryContext>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.cancel(Stop::Cancelled);
        }
    }
}

/// A job that panics is a bug of ours, and costs its query alone.
fn unharmed<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(StoreError::Io(format!("unexpected error: {}", crate::panic::text(&*panic))))
    })
}

impl<S: Scatter> Scatter for Replicas<S> {
    type View = ReplicaView<S>;

    async fn scatter<T, J, F>(&self, context: QueryContext, job: J) -> Result<Vec<T>, StoreError>
    where
        J: Fn(Self::View) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
        T: Send + 'static,
    {
        let Some(labels) = context.replicas().cloned() else {
            return self.store.scatter(context, move |view| job(ReplicaView::plain(view))).await;
        };
        context.check()?;
        let mut guard = StopOnDrop(Some(context.clone()));
        let (reply, answer) = oneshot::channel();
        let store = self.store.clone();
        let work = move || {
            let view = ReplicaView::merged(store, context, labels);
            let result = unharmed(|| futures_executor::block_on(job(view)));
            // Where nobody waits any more, nobody misses it.
            let _unread = reply.send(result);
        };
        let thread = std::thread::Builder::new().name("replicas".to_owned()).spawn(work);
        thread.map_err(|error| StoreError::Io(format!("no thread for a query over replicas: {error}")))?;
        let result = answer.await.unwrap_or(Err(StoreError::Closed))?;
        guard.0 = None;
        Ok(vec![result])
    }

    fn watermarks(&self) -> Option<&Watermarks> {
        self.store.watermarks()
    }

    fn missing(&self) -> Vec<Missing> {
        self.store.missing()
    }
}

#[cfg(test)]
mod tests;

//! How long work gives way: a task that shares its thread with ingestion awaits this between two pieces.

use std::future::Future;

/// See the module's head.
pub trait Pace: Clone + 'static {
    /// Lets others run where this task ran for long enough.
    fn pause(&self) -> impl Future<Output = ()>;
}

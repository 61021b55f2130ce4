//! What a shard can be asked, over its mailbox.

use super::gather::Part;
use super::view::Place;
use crate::head::status::ShardStatus;
use futures_channel::oneshot;
use hearth_model::batch::Exemplar;
use hearth_model::metadata::MetricMetadata;
use hearth_model::store::{MatcherSets, StoreFigures};
use hearth_model::{Ack, StoreError, TimeRange, WriteBatch, WriteOutcome};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// A shard's figures: the store's, of one shard.
pub type ShardFigures = StoreFigures;

/// One series of a batch, and the hash of its key.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    pub series: u32,
    pub hash: u128,
}

/// A shard's part of a batch.
pub struct AppendRequest {
    pub batch: Arc<WriteBatch>,
    pub picks: Vec<Pick>,
    /// Later samples are out of bounds.
    pub latest_ms: i64,
    pub ack: Ack,
    pub reply: Part,
}

/// What a shard did with its part.
#[derive(Debug, Default)]
pub struct Appended {
    pub outcome: WriteOutcome,
    /// Series that belong to another shard once their labels are in order: nothing of them was taken.
    pub elsewhere: Vec<Elsewhere>,
}

/// See [`Appended::elsewhere`].
#[derive(Debug)]
pub struct Elsewhere {
    pub series: u32,
    pub key: Vec<u8>,
}

/// A block that was made for the shard: finished, synced, not yet named.
pub struct AdoptRequest {
    pub number: u64,
    pub unfinished: PathBuf,
    pub reply: oneshot::Sender<Result<(), StoreError>>,
}

/// What was taken once, by other shards or by another server, and stands beside samples.
#[derive(Default)]
pub struct Beside {
    /// Each with the key of its series, of which nothing else need be here.
    pub exemplars: Vec<(Vec<u8>, Exemplar)>,
    pub metadata: Vec<MetricMetadata>,
}

/// See [`Beside`].
pub struct RestoreRequest {
    pub beside: Beside,
    pub reply: oneshot::Sender<Result<(), StoreError>>,
}

/// A task that lives on the shard's thread.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;
/// Makes the task, once it is on the shard's thread.
pub type Job = Box<dyn FnOnce(Place) -> LocalTask + Send>;

/// What the keeper does when it is asked to, between its own steps.
pub enum Task {
    /// Take the samples within the range away from the series that match any of the sets.
    Delete { sets: MatcherSets, range: TimeRange },
    /// Write the blocks anew that something was deleted from.
    Clean,
    /// Make this shard's part of a snapshot.
    Snapshot { directory: PathBuf, with_head: bool },
}

/// A task, and who waits for it.
pub struct Errand {
    pub task: Task,
    pub reply: oneshot::Sender<Result<(), StoreError>>,
}

/// See the module's head.
pub enum Request {
    Append(AppendRequest),
    Job(Job),
    Figures(oneshot::Sender<ShardFigures>),
    HeadStatus(oneshot::Sender<ShardStatus>),
    /// Do at once what is due in the background; the answer tells whether all of it succeeded.
    Tend(oneshot::Sender<bool>),
    Errand(Errand),
    /// A number that no block of the shard had.
    TakeBlockNumber(oneshot::Sender<u64>),
    AdoptBlock(AdoptRequest),
    Restore(RestoreRequest),
    /// Write and sync everything, then end.
    Close,
}

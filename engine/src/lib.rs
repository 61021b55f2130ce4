//! The store: shards, one owner thread each, with a write-ahead log and a head in memory.
//!
//! The way of a write: [`handle`] splits a batch over the shards -> a shard's mailbox -> series found or
//! made in the [`head`] -> records in the [`wal`] (group commit) -> acknowledged as durably as asked.
//!
//! Architecture invariant: nothing here knows of PromQL, HTTP or tokio. A module uses only those to its
//! left: router, bytes, pace, signal, progress, settings, census, exemplars, harm, metadata, disk < chunk, index < wal, block, prometheus < head < compact <
//! shard < handle < moving. glommio and io_uring are named only in `disk` and
//! `shard`, unsafe code only in `disk`.

#![deny(unsafe_code)]

pub mod block;
pub mod bytes;
mod census;
pub mod chunk;
mod compact;
pub mod config;
#[allow(unsafe_code)] // raw I/O; every block says why it holds
pub mod disk;
mod exemplars;
pub mod handle;
mod harm;
mod head;
mod index;
mod metadata;
pub mod moving;
mod pace;
mod progress;
pub mod prometheus;
mod router;
mod settings;
mod shard;
mod signal;
pub mod wal;

pub use config::{IoChoice, Keeping, Limits, Options, Pinning};
pub use handle::{Handle, OpenError, open};

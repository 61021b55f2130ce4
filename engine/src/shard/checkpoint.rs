//! From head to checkpoint: what the log says so far, as the head has it, so that a start need not replay it.
//!
//! 1. At a *boundary* of the log all that came so far is made durable, and a new segment begins.
//! 2. The series that were there at the boundary are written, a few at a time, while the shard goes on: a
//!    sample of theirs that came meanwhile may be in the checkpoint and in the log, where the next start
//!    recognises it bit for bit. Series that came meanwhile are left to the log.
//! 3. All that may have got into the checkpoint is made durable in the log too: nothing is in a checkpoint
//!    alone.
//! 4. The file is brought to stable storage, read back and checked, and given its name.
//! 5. Only then may go what the checkpoint *before* it stands for. That one stays, and the log since then: where
//!    the medium spoils the new one, nothing is lost.
//!
//! A checkpoint is whole, not what changed since the one before: nearly every series of a head has a new sample by then,
//! and a start reads one file. Being due only for so much log, and for more of it the larger it gets, it bounds its own
//! cost: for each of 12 million samples of 100,000 series 10.4 bytes were written, 2.8 of them checkpoints, for less than
//! half a percent of the CPU; where all of a million series are new 50 and 22, for some two percent.
//!
//! Whatever goes wrong before step 4 is done leaves everything as it was.

use super::keeper::Keeper;
use crate::disk::{Disk, names};
use crate::head::Head;
use crate::head::rows::RowFrames;
use crate::pace::Pace;
use crate::wal::checkpoint::{CheckpointWriter, Unusable, Walk};
use crate::wal::commit::Boundary;
use crate::wal::frame::SegmentHeader;
use crate::wal::reader::FileReader;
use crate::wal::record::{self, State};
use futures_channel::oneshot;
use hearth_model::{Ack, StoreError, key};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

/// A checkpoint is written in frames of about this size: less than a millisecond's work.
const FRAME_BYTES: usize = 256 << 10;

impl<D: Disk, P: Pace> Keeper<D, P> {
    /// Writes a checkpoint and lets go what is not needed any more. See the module's head.
    pub(super) async fn checkpoint(&self) -> io::Result<()> {
        let started = Instant::now();
        let log_bytes = self.state.queue.figures().bytes;
        let (boundary, state) = self.boundary().await?;
        let path = names::checkpoint(&self.wal, boundary.segment);
        let unfinished = path.with_extension(names::UNFINISHED);
        let written = self.write(&unfinished, boundary, state).await;
        let (rows, len_bytes) = match written {
            Ok(written) => written,
            Err(error) => {
                // It may not even have been made.
                let _ = self.disk.remove(&unfinished);
                return Err(error);
            }
        };
        self.disk.rename(&unfinished, &path)?;
        let before = self.state.queue.checkpointed(boundary, len_bytes);
        self.state.count(|f| f.checkpoints += 1);
        let result = self.let_go(before, boundary.segment);
        tracing::info!(
            shard = self.state.number,
            checkpoint = boundary.segment,
            series = rows,
            bytes = len_bytes,
            log_bytes_before = log_bytes,
            log_bytes = self.state.queue.figures().bytes,
            duration_ms = started.elapsed().as_millis() as u64,
            "checkpoint written"
        );
        result
    }

    /// Step 1.
    async fn boundary(&self) -> io::Result<(Boundary, State)> {
        let seen = Rc::new(Cell::new((0, None)));
        let (head, note) = (self.state.clone(), seen.clone());
        let taken = move || {
            let head = head.head.borrow();
            note.set((head.next_reference(), head.figures.max_ms));
        };
        let boundary = self.state.queue.boundary(Box::new(taken)).await;
        let boundary = boundary.map_err(|_| io::Error::other("the log could not be written"))?;
        let (next_reference, max_ms) = seen.get();
        Ok((boundary, State { next_reference, next_frame: boundary.next_number, max_ms }))
    }

    /// Steps 2 to 4; returns the number of series, and the file's length.
    async fn write(&self, path: &Path, at: Boundary, state: State) -> io::Result<(u64, u64)> {
        let owner = self.state.owner;
        let header = SegmentHeader { shard: owner.shard, segment: at.segment, seed: owner.seed };
        let mut writer = CheckpointWriter::create(&self.disk, path, header, state)?;
        let mut frames = RowFrames::new(state.next_reference);
        let mut from = Some(0);
        while let Some(id) = from {
            let fill = |out: &mut Vec<u8>| from = frames.fill(&self.head(), id, FRAME_BYTES, out);
            writer.frame(fill).await?;
            self.pace.pause().await;
        }
        let mut from = Some(0);
        while let Some(number) = from {
            let fill = |out: &mut Vec<u8>| from = self.fill_exemplars(number, out);
            writer.frame(fill).await?;
            self.pace.pause().await;
        }
        let mut from = Some(0);
        while let Some(number) = from {
            let fill = |out: &mut Vec<u8>| from = self.fill_metadata(number, out);
            writer.frame(fill).await?;
            self.pace.pause().await;
        }
        self.all_durable().await?;
        let len_bytes = writer.finish(frames.rows()).await?;
        self.read_back(path, header).await?;
        Ok((frames.rows(), len_bytes))
    }

    /// Appends exemplars from this number on; the number with which to go on, until there are no more.
    fn fill_exemplars(&self, from: u64, out: &mut Vec<u8>) -> Option<u64> {
        let limit = out.len() + FRAME_BYTES;
        self.state.exemplars.borrow().each(from, |labels, exemplar| {
            record::push_exemplar(out, &key::key_of(labels), exemplar);
            out.len() < limit
        })
    }

    /// The same with metadata.
    fn fill_metadata(&self, from: u64, out: &mut Vec<u8>) -> Option<u64> {
        let limit = out.len() + FRAME_BYTES;
        self.state.metadata.borrow().each(from, |metadata| {
            record::push_metadata(out, metadata);
            out.len() < limit
        })
    }

    fn head(&self) -> std::cell::Ref<'_, Head> {
        self.state.head.borrow()
    }

    /// Step 3.
    async fn all_durable(&self) -> io::Result<()> {
        let (told, done) = oneshot::channel::<Result<(), StoreError>>();
        self.state.queue.submit(Ack::Synced, Box::new(move |result| drop(told.send(result))));
        match done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error.to_string())),
            Err(_) => Err(io::Error::other("the log is closed")),
        }
    }

    async fn read_back(&self, path: &Path, header: SegmentHeader) -> io::Result<()> {
        let bad = |why: Unusable| match why {
            Unusable::Io(error) => error,
            Unusable::Damaged | Unusable::Version(_) => {
                io::Error::other("a checkpoint does not read back as it was written")
            }
        };
        let mut file = FileReader::new(self.disk.map(path)?);
        let mut walk = Walk::begin(&mut file, header).map_err(bad)?;
        while walk.next(&mut file).map_err(bad)?.is_some() {
            self.pace.pause().await;
        }
        Ok(())
    }

    /// Step 5: the checkpoints `before` and `newest` stay, and the segments that `before` does not stand for.
    fn let_go(&self, before: u64, newest: u64) -> io::Result<()> {
        while let Some(segment) = self.state.queue.oldest_below(before) {
            match self.disk.remove(&names::segment(&self.wal, segment.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.state.queue.removed_oldest(),
            }
        }
        for name in self.disk.list(&self.wal)? {
            let number = names::number(&name, names::CHECKPOINT);
            if number.is_some_and(|n| n != before && n != newest) {
                self.disk.remove(&self.wal.join(name))?;
            }
        }
        Ok(())
    }
}

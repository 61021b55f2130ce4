//! One series' samples: closed chunks, and an open one that takes the next sample.
//!
//! The open chunk is a bit stream (its words are in [`super::streams`]), which grows sample by sample. When it closes it is sealed: recorded
//! values need 0.56 bytes a sample then, instead of 1.52, for some 7 ns a sample.

use super::labels::Place;
use super::streams::{Stream, Streams};
use crate::config::CHUNK_SAMPLES;
use hearth_kernels::arch::prefetch;
use hearth_kernels::codec::bits::READ_SLACK_BYTES;
use hearth_kernels::codec::gorilla::{self, GorillaState};
use hearth_kernels::codec::{CHUNK_SAMPLES_MAX, Effort, times, values};
use std::cell::RefCell;

const _: () = assert!(CHUNK_SAMPLES as usize <= CHUNK_SAMPLES_MAX);

/// A run of samples that takes no more.
#[derive(Debug)]
pub struct ClosedChunk {
    pub min_ms: i64,
    pub max_ms: i64,
    /// A sealed chunk of times, then one of values.
    pub bytes: Box<[u8]>,
}

impl ClosedChunk {
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + std::mem::size_of::<ClosedChunk>()
    }
}

/// The chunk that takes the next sample, as it stands.
#[derive(Debug, Clone, Copy)]
pub struct OpenChunk {
    pub min_ms: i64,
    pub max_ms: i64,
    pub count: usize,
    pub stream: Stream,
    /// Bits that do not fill a word yet, as bytes, and how many of those there are.
    pub pending: ([u8; 8], usize),
}

thread_local! {
    static SEALER: RefCell<Sealer> = RefCell::default();
}

/// Buffers of those who close chunks, used again for every chunk.
#[derive(Debug, Default)]
struct Sealer {
    stream: Vec<u8>,
    times: Vec<i64>,
    values: Vec<f64>,
    bytes: Vec<u8>,
}

impl Sealer {
    /// The sealed form of a closed bit stream of so many samples, at least one.
    fn seal(&mut self, count: usize) -> Box<[u8]> {
        self.stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
        self.times.clear();
        self.values.clear();
        let read = gorilla::decode(&self.stream, count, &mut self.times, &mut self.values);
        assert!(read.is_ok(), "what was written a moment ago does not decode: {read:?}");
        self.encode()
    }

    fn encode(&mut self) -> Box<[u8]> {
        self.bytes.clear();
        times::encode(&self.times, &mut self.bytes);
        values::encode(&self.values, Effort::Fast, &mut self.bytes);
        self.bytes.as_slice().into()
    }
}

/// A row of the series table: there are millions, so it is as small as it can be.
#[derive(Debug)]
pub struct Series {
    pub hash: u128,
    /// Its name in the log.
    pub reference: u32,
    /// The series that followed in the last batch; its own id is never a harmful guess.
    pub successor: u32,
    labels: Place,
    /// What the series has beside its floats: the bits below.
    beside: u8,
    /// Whether writes find it; one that ended waits for its row to be used again.
    pub living: bool,
    stream: Stream,
    open_min_ms: i64,
    state: GorillaState,
    closed: Option<Box<ClosedChunks>>,
}

/// Closed chunks, behind one word of a row: most rows of a short life have none.
#[derive(Debug, Default)]
struct ClosedChunks {
    chunks: Vec<ClosedChunk>,
}

/// Bits of [`Series::beside`].
const HISTOGRAMS: u8 = 1;
const LATE: u8 = 2;

const _: () = assert!(size_of::<Series>() <= 96);

impl Series {
    /// `labels` is where its labels are among the head's label sets.
    pub fn new(hash: u128, reference: u32, labels: Place) -> Self {
        Series {
            hash,
            reference,
            successor: u32::MAX,
            labels,
            beside: 0,
            living: true,
            stream: Stream::default(),
            open_min_ms: 0,
            state: GorillaState::default(),
            closed: None,
        }
    }

    /// Asks for the row, without waiting for it: it reaches into two lines of memory, with its largest field at one
    /// end and the smallest ones at the other.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(&self.hash);
        prefetch(&self.living);
    }

    pub fn has_histograms(&self) -> bool {
        self.beside & HISTOGRAMS != 0
    }

    pub fn set_has_histograms(&mut self, has: bool) {
        self.beside = (self.beside & !HISTOGRAMS) | (HISTOGRAMS * u8::from(has));
    }

    /// Whether it has samples that came out of order.
    pub fn has_late(&self) -> bool {
        self.beside & LATE != 0
    }

    pub fn set_has_late(&mut self, has: bool) {
        self.beside = (self.beside & !LATE) | (LATE * u8::from(has));
    }

    /// Where its labels are.
    #[inline]
    pub fn labels(&self) -> Place {
        self.labels
    }

    /// The same, to move them.
    pub fn labels_mut(&mut self) -> &mut Place {
        &mut self.labels
    }

    /// Time of the newest float.
    #[inline]
    pub fn last_time(&self) -> Option<i64> {
        (self.state.count() > 0).then(|| self.state.last_time())
    }

    /// Appends a sample newer than all before; returns by how many bytes memory grew, and whether this
    /// opened a chunk.
    #[inline]
    pub fn push(&mut self, streams: &mut Streams, time: i64, value: f64) -> (isize, bool) {
        let opens = self.state.count() == 0 || self.state.count() >= CHUNK_SAMPLES;
        let mut grown = 0;
        if opens {
            grown = self.close(streams);
            self.open_min_ms = time;
        }
        let before = self.stream.size_bytes();
        self.state.push(&mut streams.writer(&mut self.stream), time, value);
        (grown + (self.stream.size_bytes() - before) as isize, opens)
    }

    /// Closes the open chunk; returns by how many bytes memory grew.
    fn close(&mut self, streams: &mut Streams) -> isize {
        if self.state.count() == 0 {
            return 0;
        }
        let open_bytes = self.stream.size_bytes();
        let bytes = SEALER.with_borrow_mut(|sealer| {
            sealer.stream.clear();
            streams.read(self.stream, &mut sealer.stream);
            self.state.finish(&mut sealer.stream);
            sealer.seal(usize::from(self.state.count()))
        });
        streams.release(&mut self.stream);
        let chunk = ClosedChunk { min_ms: self.open_min_ms, max_ms: self.state.last_time(), bytes };
        let grown = chunk.size_bytes() as isize - open_bytes as isize;
        self.push_closed(chunk);
        self.state = GorillaState::default();
        grown
    }

    /// A closed chunk of these samples, if there are any.
    pub(super) fn closed_chunk(samples: &[(i64, f64)]) -> Option<ClosedChunk> {
        let (min_ms, max_ms) = (samples.first()?.0, samples.last()?.0);
        let bytes = SEALER.with_borrow_mut(|sealer| {
            sealer.times.clear();
            sealer.values.clear();
            sealer.times.extend(samples.iter().map(|(time, _)| *time));
            sealer.values.extend(samples.iter().map(|(_, value)| *value));
            sealer.encode()
        });
        Some(ClosedChunk { min_ms, max_ms, bytes })
    }

    pub(super) fn take_closed(&mut self) -> Vec<ClosedChunk> {
        self.closed.take().map_or_else(Vec::new, |closed| closed.chunks)
    }

    pub(super) fn put_closed(&mut self, chunks: Vec<ClosedChunk>) {
        self.closed = (!chunks.is_empty()).then(|| Box::new(ClosedChunks { chunks }));
    }

    /// Memory that its samples take.
    pub(super) fn size_bytes(&self) -> usize {
        self.stream.size_bytes() + self.closed().iter().map(|c| c.size_bytes()).sum::<usize>()
    }

    /// Where the open chunk's words are.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// What the open chunk's encoder remembers.
    pub fn state(&self) -> &GorillaState {
        &self.state
    }

    /// Puts a chunk behind the closed ones.
    pub fn push_closed(&mut self, chunk: ClosedChunk) {
        let chunks = &mut self.closed.get_or_insert_default().chunks;
        chunks.reserve_exact(1);
        chunks.push(chunk);
    }

    /// Sets the open chunk, where there is none, to one that comes out of a checkpoint; returns the bytes it
    /// takes.
    pub fn set_open(
        &mut self,
        streams: &mut Streams,
        min_ms: i64,
        state: GorillaState,
        bytes: &[u8],
    ) -> usize {
        (self.open_min_ms, self.state, self.stream) = (min_ms, state, streams.write(bytes));
        self.stream.size_bytes()
    }

    pub fn closed(&self) -> &[ClosedChunk] {
        self.closed.as_ref().map_or(&[], |closed| &closed.chunks)
    }

    pub fn chunk_count(&self) -> usize {
        self.closed().len() + usize::from(self.state.count() > 0)
    }

    pub fn open(&self) -> Option<OpenChunk> {
        let count = usize::from(self.state.count());
        (count > 0).then(|| OpenChunk {
            min_ms: self.open_min_ms,
            max_ms: self.state.last_time(),
            count,
            stream: self.stream,
            pending: self.state.pending(),
        })
    }

    /// Earliest and latest time of its floats.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let closed = self.closed();
        let first = closed.first().map(|c| c.min_ms).or_else(|| self.open().map(|o| o.min_ms))?;
        let last = self.last_time().or_else(|| closed.last().map(|c| c.max_ms))?;
        Some((first, last))
    }

    /// Drops chunks that end before the cutoff; returns the bytes that were freed and the chunks.
    pub fn drop_before(&mut self, streams: &mut Streams, cutoff_ms: i64) -> (usize, usize) {
        let (mut freed, mut dropped) = (0, 0);
        if let Some(closed) = &mut self.closed {
            let chunks = &mut closed.chunks;
            dropped = chunks.partition_point(|c| c.max_ms < cutoff_ms);
            freed = chunks.drain(..dropped).map(|c| c.size_bytes()).sum();
            chunks.shrink_to_fit();
            if chunks.is_empty() {
                self.closed = None;
            }
        }
        if self.closed.is_none() && self.last_time().is_some_and(|last| last < cutoff_ms) {
            freed += self.release(streams);
            dropped += 1;
        }
        (freed, dropped)
    }

    /// Forgets the open chunk; returns the bytes that were freed.
    pub fn release(&mut self, streams: &mut Streams) -> usize {
        let freed = self.stream.size_bytes();
        streams.release(&mut self.stream);
        self.state = GorillaState::default();
        freed
    }
}

//! One series' samples: closed chunks, and an open one that takes the next sample.
//!
//! The open chunk is a bit stream, which grows sample by sample. When it closes it is sealed: recorded
//! values need 0.56 bytes a sample then, instead of 1.52, for some 7 ns a sample.

use crate::config::CHUNK_SAMPLES;
use hearth_kernels::codec::bits::READ_SLACK_BYTES;
use hearth_kernels::codec::gorilla::{self, GorillaState};
use hearth_kernels::codec::{CHUNK_SAMPLES_MAX, times, values};
use std::cell::RefCell;
use std::ops::Range;

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
    fn size_bytes(&self) -> usize {
        self.bytes.len() + std::mem::size_of::<ClosedChunk>()
    }
}

/// The chunk that takes the next sample, as it stands.
pub struct OpenChunk<'a> {
    pub min_ms: i64,
    pub max_ms: i64,
    pub count: usize,
    pub bytes: &'a [u8],
    /// Bits that do not fill a word yet, as bytes, and how many of those there are.
    pub pending: ([u8; 8], usize),
}

thread_local! {
    static SEALER: RefCell<Sealer> = RefCell::default();
}

/// Buffers of those who close chunks, used again for every chunk.
#[derive(Debug, Default)]
struct Sealer {
    times: Vec<i64>,
    values: Vec<f64>,
    bytes: Vec<u8>,
}

impl Sealer {
    /// The sealed form of a closed bit stream of so many samples, at least one.
    fn seal(&mut self, mut stream: Vec<u8>, count: usize) -> Box<[u8]> {
        stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
        self.times.clear();
        self.values.clear();
        let read = gorilla::decode(&stream, count, &mut self.times, &mut self.values);
        assert!(read.is_ok(), "what was written a moment ago does not decode: {read:?}");
        self.encode()
    }

    fn encode(&mut self) -> Box<[u8]> {
        self.bytes.clear();
        times::encode(&self.times, &mut self.bytes);
        values::encode(&self.values, &mut self.bytes);
        self.bytes.as_slice().into()
    }
}

/// A row of the series table.
#[derive(Debug)]
pub struct Series {
    pub hash: u128,
    /// Its name in the log.
    pub reference: u32,
    /// Its labels within the head's symbol pairs.
    pub pairs: Range<u32>,
    /// The series that followed in the last batch; its own id is never a harmful guess.
    pub successor: u32,
    pub has_histograms: bool,
    /// Whether writes find it; one that ended waits for its row to be used again.
    pub living: bool,
    /// It has samples that came out of order.
    pub has_late: bool,
    open_min_ms: i64,
    state: GorillaState,
    open: Vec<u8>,
    closed: Vec<ClosedChunk>,
}

/// The open chunk's buffer grows by this much: what a few samples need, and what the allocator hands out.
const GROW_BYTES: usize = 32;

impl Series {
    pub fn new(hash: u128, reference: u32, pairs: Range<u32>) -> Self {
        Series {
            hash,
            reference,
            pairs,
            successor: u32::MAX,
            has_histograms: false,
            living: true,
            has_late: false,
            open_min_ms: 0,
            state: GorillaState::default(),
            open: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Time of the newest float.
    #[inline]
    pub fn last_time(&self) -> Option<i64> {
        (self.state.count() > 0).then(|| self.state.last_time())
    }

    /// Appends a sample newer than all before; returns by how many bytes memory grew, and whether this
    /// opened a chunk.
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) -> (isize, bool) {
        let opens = self.state.count() == 0 || self.state.count() >= CHUNK_SAMPLES;
        let mut grown = 0;
        if opens {
            grown = self.close();
            self.open_min_ms = time;
        }
        let before = self.open.capacity();
        if before - self.open.len() < 16 {
            self.open.reserve_exact(GROW_BYTES.max(self.open.len() / 4));
        }
        self.state.push(&mut self.open, time, value);
        (grown + (self.open.capacity() - before) as isize, opens)
    }

    /// Closes the open chunk; returns by how many bytes memory grew.
    fn close(&mut self) -> isize {
        if self.state.count() == 0 {
            return 0;
        }
        let open_bytes = self.open.capacity();
        self.state.finish(&mut self.open);
        let stream = std::mem::take(&mut self.open);
        let bytes = SEALER.with_borrow_mut(|sealer| sealer.seal(stream, usize::from(self.state.count())));
        let chunk = ClosedChunk { min_ms: self.open_min_ms, max_ms: self.state.last_time(), bytes };
        let grown = chunk.size_bytes() as isize - open_bytes as isize;
        self.closed.push(chunk);
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
        std::mem::take(&mut self.closed)
    }

    pub(super) fn put_closed(&mut self, chunks: Vec<ClosedChunk>) {
        self.closed = chunks;
    }

    pub(super) fn drop_open(&mut self) {
        self.open = Vec::new();
        self.state = GorillaState::default();
    }

    /// Memory that its samples take.
    pub(super) fn size_bytes(&self) -> usize {
        self.open.capacity() + self.closed.iter().map(|c| c.size_bytes()).sum::<usize>()
    }

    pub fn closed(&self) -> &[ClosedChunk] {
        &self.closed
    }

    pub fn chunk_count(&self) -> usize {
        self.closed.len() + usize::from(self.state.count() > 0)
    }

    pub fn open(&self) -> Option<OpenChunk<'_>> {
        let count = usize::from(self.state.count());
        (count > 0).then(|| OpenChunk {
            min_ms: self.open_min_ms,
            max_ms: self.state.last_time(),
            count,
            bytes: &self.open,
            pending: self.state.pending(),
        })
    }

    /// Earliest and latest time of its floats.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let first = self.closed.first().map(|c| c.min_ms).or_else(|| self.open().map(|o| o.min_ms))?;
        let last = self.last_time().or_else(|| self.closed.last().map(|c| c.max_ms))?;
        Some((first, last))
    }

    /// Drops chunks that end before the cutoff; returns the bytes that were freed and the chunks.
    pub fn drop_before(&mut self, cutoff_ms: i64) -> (usize, usize) {
        let cut = self.closed.partition_point(|c| c.max_ms < cutoff_ms);
        let mut freed = self.closed.drain(..cut).map(|c| c.size_bytes()).sum();
        let mut dropped = cut;
        if self.closed.is_empty() {
            self.closed = Vec::new();
            if self.last_time().is_some_and(|last| last < cutoff_ms) {
                freed += std::mem::take(&mut self.open).capacity();
                self.state = GorillaState::default();
                dropped += 1;
            }
        }
        (freed, dropped)
    }
}

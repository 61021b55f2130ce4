//! Open chunks' bit streams: words in blocks of one cache line each, out of an arena.
//!
//! A stream takes a block more when it needs one, so it never moves while it grows, an append touches the last
//! block alone, and the most that a stream wastes is a block. A block names the one before it: a stream is known
//! by its last. Blocks of a stream that ended are used again.

use hearth_kernels::arch::prefetch;
use hearth_kernels::codec::bits::WordSink;

/// Words in a block; behind them is the link: the number of the block before in its lower half, and a hint at the one
/// before that in its upper half.
const WORDS: usize = 7;
/// Blocks in a page: what the arena grows by.
const PAGE: usize = 1 << 10;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Block([u64; WORDS + 1]);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES);

/// A stream of whole words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stream {
    last: u32,
    words: u32,
}

impl Stream {
    fn blocks(self) -> usize {
        (self.words as usize).div_ceil(WORDS)
    }

    /// Memory that it takes.
    pub fn size_bytes(self) -> usize {
        self.blocks() * BLOCK_BYTES
    }

    pub fn len_bytes(self) -> usize {
        self.words as usize * 8
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Streams {
    pages: Vec<Box<[Block]>>,
    /// Blocks handed out so far, whether they are in use or free again.
    made: u32,
    /// The free blocks, linked as those of a stream are, and how many there are.
    free: u32,
    free_count: u32,
}

impl Streams {
    #[inline(always)]
    fn block(&mut self, number: u32) -> &mut [u64; WORDS + 1] {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE].0
    }

    #[inline]
    fn take(&mut self) -> u32 {
        if self.free_count > 0 {
            let number = self.free;
            self.free = self.block(number)[WORDS] as u32;
            self.free_count -= 1;
            return number;
        }
        let number = self.made;
        if number as usize == self.pages.len() * PAGE {
            self.pages.push(vec![Block([0; WORDS + 1]); PAGE].into());
        }
        self.made += 1;
        number
    }

    /// Where a stream's further words go.
    #[inline(always)]
    pub fn writer<'a>(&'a mut self, stream: &'a mut Stream) -> StreamWriter<'a> {
        StreamWriter { streams: self, stream }
    }

    /// Asks for the block that the stream's next word goes to, without waiting for it.
    #[inline]
    pub fn prefetch(&self, stream: Stream) {
        self.prefetch_block(stream.last);
    }

    #[inline]
    fn prefetch_block(&self, number: u32) {
        if let Some(page) = self.pages.get(number as usize / PAGE) {
            prefetch(&page[number as usize % PAGE]);
        }
    }

    /// Appends the stream's bytes to `out`.
    pub fn read(&self, stream: Stream, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + stream.len_bytes(), 0);
        let mut number = stream.last;
        for part in out[start..].chunks_mut(WORDS * 8).rev() {
            let block = &self.pages[number as usize / PAGE][number as usize % PAGE].0;
            self.prefetch_block((block[WORDS] >> 32) as u32);
            for (bytes, word) in part.chunks_exact_mut(8).zip(block) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
            number = block[WORDS] as u32;
        }
    }

    /// A stream of these bytes, whole words of them.
    pub fn write(&mut self, bytes: &[u8]) -> Stream {
        let mut stream = Stream::default();
        let mut writer = self.writer(&mut stream);
        for word in bytes.chunks_exact(8) {
            writer.push_word(u64::from_be_bytes(word.try_into().unwrap_or_default()));
        }
        stream
    }

    /// Gives a stream's blocks to others and leaves an empty one.
    pub fn release(&mut self, stream: &mut Stream) {
        let Stream { last, .. } = *stream;
        let count = stream.blocks();
        if count > 0 {
            let mut first = last;
            for _ in 1..count {
                first = self.block(first)[WORDS] as u32;
            }
            self.block(first)[WORDS] = u64::from(self.free);
            self.free = last;
            self.free_count += count as u32;
        }
        *stream = Stream::default();
    }

    /// Memory of the blocks that no stream has.
    pub fn spare_bytes(&self) -> usize {
        (self.pages.len() * PAGE - (self.made - self.free_count) as usize) * BLOCK_BYTES
    }
}

/// Appends words to a stream.
pub struct StreamWriter<'a> {
    streams: &'a mut Streams,
    stream: &'a mut Stream,
}

impl WordSink for StreamWriter<'_> {
    #[inline(always)]
    fn push_word(&mut self, word: u64) {
        let at = self.stream.words as usize % WORDS;
        if at == 0 {
            let (before, number) = (self.stream.last, self.streams.take());
            // Anything for a first block: hints are looked at by nobody but the processor.
            let hint = self.streams.pages[before as usize / PAGE][before as usize % PAGE].0[WORDS] as u32;
            self.streams.block(number)[WORDS] = u64::from(hint) << 32 | u64::from(before);
            self.stream.last = number;
        }
        self.streams.block(self.stream.last)[at] = word;
        self.stream.words += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_grow_side_by_side_and_end_in_any_order() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut streams = Streams::default();
        let mut all: Vec<(Stream, Vec<u8>)> = vec![Default::default(); 50];
        let mut made = 0;
        for round in 0..20_000 {
            let (stream, expect) = &mut all[random.usize(0..50)];
            if random.u32(0..100) == 0 {
                streams.release(stream);
                expect.clear();
                assert_eq!(stream.size_bytes(), 0);
            }
            for _ in 0..random.usize(0..20) {
                let word = random.u64(..);
                streams.writer(stream).push_word(word);
                expect.extend_from_slice(&word.to_be_bytes());
            }
            let mut read = vec![9];
            streams.read(*stream, &mut read);
            assert!(read[0] == 9 && read[1..] == expect[..], "round {round}");
            made = made.max(all.iter().map(|(stream, _)| stream.blocks()).sum());
        }
        assert_eq!(streams.made as usize, made, "blocks that ended are used again");
        let bytes: Vec<u8> = (0..200).collect();
        let (stream, mut read) = (streams.write(&bytes), Vec::new());
        streams.read(stream, &mut read);
        assert_eq!((stream.len_bytes(), read), (200, bytes));
    }
}

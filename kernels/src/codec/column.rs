//! A sealed chunk read: its header, its parts, and its words in place. `layout` says how they stand.

use super::CodecError;
use super::coded::Coded;
use super::cursor::Cursor;
use super::granule::{self, GRANULE};
use super::layout::{Header, Predictor};
use super::predict::{self, Meaning};
use super::sparse::Masks;
use super::special::Stored;
use super::vectors::{OnVectors, Vectors, dispatch};
use super::widths::Widths;
use crate::arch::Level;
use pulp::NullaryFnOnce;

/// What a reader wants of a chunk before it makes room: its kind is known, its count within bounds.
pub(super) struct Opened<'a> {
    pub header: Header<'a>,
    cursor: Cursor<'a>,
}

/// Words of room that [`Opened::read`] needs for so many samples: whole granules, and one more for those
/// that are spread.
pub(super) const fn room(count: usize) -> usize {
    count.next_multiple_of(GRANULE) + GRANULE
}

impl<'a> Opened<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new(bytes);
        let header = Header::read(&mut cursor)?;
        Ok(Opened { header, cursor })
    }

    /// Fills the first `count` of `words`, of which there are [`room`]; returns how many bytes the chunk
    /// has. Vectors wider than the limit are not used.
    pub fn read(mut self, limit: Level, meaning: Meaning, words: &mut [u64]) -> Result<usize, CodecError> {
        let (kind, count) = (self.header.kind, self.header.count);
        if meaning == Meaning::Integer && (kind.decimal || kind.specials || kind.predictor == Predictor::Xor)
        {
            return Err(CodecError::UnknownKind(kind.byte()));
        }
        match kind.predictor {
            Predictor::Raw => {
                let bytes = self.cursor.take(8 * count)?;
                for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
            }
            Predictor::Constant => {
                let first = predict::constant(&self.header);
                let specials = self.specials()?;
                words[..count].fill(first);
                specials.map_or(Ok(()), |s| s.apply(&mut words[..count]))?;
            }
            _ => self.read_residuals(limit, meaning, words)?,
        }
        Ok(self.cursor.position())
    }

    fn specials(&mut self) -> Result<Option<Stored<'a>>, CodecError> {
        let has = self.header.kind.specials;
        if has { Stored::read(&mut self.cursor, self.header.count).map(Some) } else { Ok(None) }
    }

    fn read_residuals(
        &mut self,
        limit: Level,
        meaning: Meaning,
        words: &mut [u64],
    ) -> Result<(), CodecError> {
        if let Some(kept) = self.header.coded {
            let (specials, coded) = (self.specials()?, Coded::read(&mut self.cursor, kept)?);
            return self.restore(limit, meaning, Packed::Coded(&coded), specials, words);
        }
        let (cursor, count) = (&mut self.cursor, self.header.count);
        let table = Widths::read_table(cursor, self.header.entries)?;
        let masks = if self.header.kind.sparse { Some(Masks::read(cursor, count)?) } else { None };
        let specials = self.specials()?;
        let residuals = masks.as_ref().map_or(count, Masks::count);
        let granules = residuals.div_ceil(GRANULE);
        let widths = Widths::read_codes(&mut self.cursor, table, granules)?;
        // Sparse residuals wait at the end, from where they are spread.
        let spread = count.next_multiple_of(GRANULE);
        let from = if masks.is_some() { spread - residuals } else { 0 };
        let (widths, masks) = (widths.granules(), masks.as_ref());
        let bytes = granule::run_bytes(widths, residuals);
        if self.cursor.rest().len() < bytes {
            return Err(CodecError::Truncated);
        }
        self.restore(limit, meaning, Packed::Granules { widths, bytes, masks, from }, specials, words)
    }

    fn restore(
        &mut self,
        limit: Level,
        meaning: Meaning,
        packed: Packed<'_>,
        specials: Option<Stored<'a>>,
        words: &mut [u64],
    ) -> Result<(), CodecError> {
        let (header, payload) = (&self.header, self.cursor.rest());
        let bytes = dispatch(limit, Restore { header, meaning, payload, packed, words: &mut *words })?;
        self.cursor.take(bytes)?;
        specials.map_or(Ok(()), |s| s.apply(&mut words[..self.header.count]))
    }
}

/// How residuals stand in the payload.
enum Packed<'a> {
    /// The payload, with what follows it, is not shorter than these bytes, which the widths ask for.
    Granules {
        widths: &'a [u8],
        bytes: usize,
        masks: Option<&'a Masks>,
        /// Where the residuals are put first.
        from: usize,
    },
    Coded(&'a Coded),
}

/// From a chunk's residuals to its values; how many bytes of the payload they were.
struct Restore<'a> {
    header: &'a Header<'a>,
    meaning: Meaning,
    payload: &'a [u8],
    packed: Packed<'a>,
    words: &'a mut [u64],
}

impl OnVectors for Restore<'_> {
    type Output = Result<usize, CodecError>;

    fn on<V: Vectors>(self, vectors: V) -> Self::Output {
        vectors.vectorize(RestoreOn { vectors, job: self })
    }
}

struct RestoreOn<'a, V> {
    vectors: V,
    job: Restore<'a>,
}

impl<V: Vectors> NullaryFnOnce for RestoreOn<'_, V> {
    type Output = Result<usize, CodecError>;

    // Always inlined, as are its callees: a body behind a call would not be compiled for the wide
    // instruction set.
    #[inline(always)]
    fn call(self) -> Self::Output {
        let RestoreOn { vectors, job } = self;
        let count = job.header.count;
        let read = match job.packed {
            Packed::Granules { widths, bytes, masks, from } => {
                granule::unpack_run(vectors, job.payload, widths, &mut job.words[from..]);
                if let Some(masks) = masks {
                    vectors.spread(masks, job.words);
                }
                bytes
            }
            Packed::Coded(coded) => coded.unpack(job.payload, &mut job.words[..count])?,
        };
        let whole = count.next_multiple_of(GRANULE);
        predict::restore(vectors, job.header, job.meaning, &mut job.words[..whole])?;
        Ok(read)
    }
}

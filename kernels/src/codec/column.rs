//! A sealed chunk read: its header, its parts, and its words in place. `layout` says how they stand.

use super::CodecError;
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
        let bytes = granule::run_bytes(widths.granules(), residuals);
        let payload = self.cursor.rest();
        self.cursor.take(bytes)?;
        let (header, widths, masks) = (&self.header, widths.granules(), masks.as_ref());
        dispatch(limit, Restore { header, meaning, payload, widths, masks, from, words })?;
        specials.map_or(Ok(()), |s| s.apply(&mut words[..count]))
    }
}

/// From a chunk's granules to its values. The payload, with what follows it, is not shorter than the
/// widths ask for.
struct Restore<'a> {
    header: &'a Header<'a>,
    meaning: Meaning,
    payload: &'a [u8],
    widths: &'a [u8],
    masks: Option<&'a Masks>,
    /// Where the residuals are put first.
    from: usize,
    words: &'a mut [u64],
}

impl OnVectors for Restore<'_> {
    type Output = Result<(), CodecError>;

    fn on<V: Vectors>(self, vectors: V) -> Self::Output {
        vectors.vectorize(RestoreOn { vectors, job: self })
    }
}

struct RestoreOn<'a, V> {
    vectors: V,
    job: Restore<'a>,
}

impl<V: Vectors> NullaryFnOnce for RestoreOn<'_, V> {
    type Output = Result<(), CodecError>;

    // Always inlined, as are its callees: a body behind a call would not be compiled for the wide
    // instruction set.
    #[inline(always)]
    fn call(self) -> Self::Output {
        let RestoreOn { vectors, job } = self;
        granule::unpack_run(vectors, job.payload, job.widths, &mut job.words[job.from..]);
        if let Some(masks) = job.masks {
            vectors.spread(masks, job.words);
        }
        let spread = job.header.count.next_multiple_of(GRANULE);
        predict::restore(vectors, job.header, job.meaning, &mut job.words[..spread])
    }
}

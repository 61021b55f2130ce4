//! A sealed chunk read: its header, its parts, and its words in place. `layout` says how they stand.

use super::CodecError;
use super::cursor::Cursor;
use super::granule::{self, GRANULE};
use super::layout::{Header, Predictor};
use super::predict::{self, Meaning};
use super::sparse::{self, Masks};
use super::special::Stored;
use super::widths::Widths;

/// What a reader wants of a chunk before it makes room: its kind is known, its count within bounds.
pub(super) struct Opened<'a> {
    pub header: Header<'a>,
    cursor: Cursor<'a>,
}

/// Words of room that [`Opened::read`] needs for so many samples: whole granules, and one more for those
/// that are spread.
pub(super) fn room(count: usize) -> usize {
    count.next_multiple_of(GRANULE) + GRANULE
}

impl<'a> Opened<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new(bytes);
        let header = Header::read(&mut cursor)?;
        Ok(Opened { header, cursor })
    }

    /// Fills the first `count` of `words`, of which there are [`room`]; returns how many bytes the chunk
    /// has.
    pub fn read(mut self, meaning: Meaning, words: &mut [u64]) -> Result<usize, CodecError> {
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
            _ => self.read_residuals(meaning, words)?,
        }
        Ok(self.cursor.position())
    }

    fn specials(&mut self) -> Result<Option<Stored<'a>>, CodecError> {
        let has = self.header.kind.specials;
        if has { Stored::read(&mut self.cursor, self.header.count).map(Some) } else { Ok(None) }
    }

    fn read_residuals(&mut self, meaning: Meaning, words: &mut [u64]) -> Result<(), CodecError> {
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
        let into = &mut words[from..from + granules * GRANULE];
        let bytes = granule::unpack_run(self.cursor.rest(), widths.granules(), residuals, into)?;
        self.cursor.take(bytes)?;
        if let Some(masks) = &masks {
            sparse::expand(masks, words);
        }
        predict::restore(&self.header, meaning, &mut words[..spread])?;
        specials.map_or(Ok(()), |s| s.apply(&mut words[..count]))
    }
}

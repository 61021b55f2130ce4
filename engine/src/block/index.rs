//! A block's index: strings by number and by text, series by label pair.

use super::file::{Damage, Section};
use super::{Block, first, postings};
use crate::index::symbols::Symbol;
use crate::index::{Lookup, exact_values};
use hearth_model::Matcher;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::ops::Range;

/// Bytes of a name's row (symbol, end of its values) and of a value's (symbol, offset of its postings).
const ENTRY_BYTES: u64 = 8;

fn word(bytes: &[u8], at: usize) -> Result<u32, Damage> {
    let word = bytes.get(at..at + 4).and_then(|b| b.first_chunk()).ok_or(Damage)?;
    Ok(u32::from_le_bytes(*word))
}

impl Block {
    fn entry(&self, section: Section, at: u64) -> Result<(u32, u32), Damage> {
        let bytes = self.file.slice(section, at * ENTRY_BYTES..(at + 1) * ENTRY_BYTES)?;
        Ok((word(bytes, 0)?, word(bytes, 4)?))
    }

    pub fn symbol_count(&self) -> u32 {
        (self.file.section_length(Section::SymbolEnds) / 4) as u32
    }

    pub fn text(&self, symbol: Symbol) -> Result<&str, Damage> {
        let at = u64::from(symbol) * 4;
        let end = word(self.file.slice(Section::SymbolEnds, at..at + 4)?, 0)?;
        let start = match at {
            0 => 0,
            at => word(self.file.slice(Section::SymbolEnds, at - 4..at)?, 0)?,
        };
        let bytes = self.file.slice(Section::SymbolText, u64::from(start)..u64::from(end))?;
        std::str::from_utf8(bytes).map_err(|_| Damage)
    }

    pub fn find(&self, text: &str) -> Result<Option<Symbol>, Damage> {
        let (mut low, mut high) = (0, self.symbol_count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.text(middle)?.cmp(text) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(middle)),
            }
        }
        Ok(None)
    }

    /// Position of the entry with this symbol, within a sorted run of entries.
    fn position(&self, section: Section, run: Range<u64>, symbol: Symbol) -> Result<Option<u64>, Damage> {
        let (mut low, mut high) = (run.start, run.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(section, middle)?.0.cmp(&symbol) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(middle)),
            }
        }
        Ok(None)
    }

    pub fn name_count(&self) -> u64 {
        self.file.section_length(Section::Names) / ENTRY_BYTES
    }

    /// The symbol of a label name, by its position among the names.
    pub fn name(&self, at: u64) -> Result<Symbol, Damage> {
        Ok(self.entry(Section::Names, at)?.0)
    }

    /// Positions of a name's values, ascending by text; empty where no series has the label.
    pub fn values(&self, name: &str) -> Result<Range<u64>, Damage> {
        let Some(symbol) = self.find(name)? else { return Ok(0..0) };
        let Some(at) = self.position(Section::Names, 0..self.name_count(), symbol)? else { return Ok(0..0) };
        let start = if at == 0 { 0 } else { self.entry(Section::Names, at - 1)?.1 };
        Ok(u64::from(start)..u64::from(self.entry(Section::Names, at)?.1))
    }

    /// The symbol of a value, by its position.
    pub fn value(&self, at: u64) -> Result<Symbol, Damage> {
        Ok(self.entry(Section::Values, at)?.0)
    }

    fn postings(&self, at: u64) -> Result<&[u8], Damage> {
        let start = u64::from(self.entry(Section::Values, at)?.1);
        let last = (at + 1) * ENTRY_BYTES >= self.file.section_length(Section::Values);
        let end = match last {
            true => self.file.section_length(Section::Postings),
            false => u64::from(self.entry(Section::Values, at + 1)?.1),
        };
        self.file.slice(Section::Postings, start..end)
    }

    /// Adds the series that have the value at this position.
    fn union_into(&self, at: u64, out: &mut RoaringBitmap) -> Result<(), Damage> {
        let ids = self.ids(at)?;
        if out.is_empty() {
            *out = ids;
        } else {
            *out |= ids;
        }
        Ok(())
    }

    /// The series that have the value at this position. Ids that no series of the block has are damage.
    fn ids(&self, at: u64) -> Result<RoaringBitmap, Damage> {
        let read = if self.layout.is_first() { first::postings } else { postings::read };
        let ids = read(self.postings(at)?).ok_or(Damage)?;
        if ids.max().is_some_and(|max| max >= self.series_count()) { Err(Damage) } else { Ok(ids) }
    }

    /// Whether any of `ids` has the value at this position.
    pub fn intersects(&self, at: u64, ids: &RoaringBitmap) -> Result<bool, Damage> {
        Ok(!self.ids(at)?.is_disjoint(ids))
    }
}

impl Lookup for Block {
    type Error = Damage;

    fn all(&self) -> RoaringBitmap {
        (0..self.series_count()).collect()
    }

    fn union(&self, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Damage> {
        let mut out = RoaringBitmap::new();
        let run = self.values(&matcher.name)?;
        if let Some(values) = exact_values(matcher, wanted) {
            for value in values {
                if let Some(symbol) = self.find(value)?
                    && let Some(at) = self.position(Section::Values, run.clone(), symbol)?
                {
                    self.union_into(at, &mut out)?;
                }
            }
            return Ok(out);
        }
        for at in run {
            if matcher.matches(self.text(self.value(at)?)?) == wanted {
                self.union_into(at, &mut out)?;
            }
        }
        Ok(out)
    }
}

//! Every byte of a sealed chunk. Numbers of several bytes are little endian; *varint* is LEB128, *zigzag*
//! maps signed numbers to unsigned ones (0, -1, 1, -2, …) before that.
//!
//! ```text
//! coded    u8      [coded] 7, before the kind
//! kind     u8      bits 0-2 predictor, 3 decimal, 4 signed, 5 scaled, 6 sparse, 7 specials
//! count    varint  samples less one; there are 1 to 1,024
//! shape    u8      bits 0-3 and, as the highest, 7: unit; bits 4-6: entries of the width table less one,
//!                  where coded the kept bits, 0 to 3; left out for RAW and for a CONSTANT that is not decimal
//! scale            [scaled] XOR: shift u8, 0 to 63; else factor varint, remainder varint
//! start            by predictor, see below
//! table    u8 each widths of granules: 0 to 57, 64; left out for RAW and CONSTANT, and where coded
//! zeros            [sparse] head varint: non-zero residuals * 4 + form;
//!                  form 0: gap varint each (positions between it and the one before)
//!                  form 1: a bit for each granule, then a byte of bits for each granule with residuals
//!                  form 2: a bit for each residual
//! specials         [specials] varint how many; gap varint each; then each: code u8 [bits u64 if 255]
//! codes            for each granule its place in the table: 0, 1, 2 or 3 bits, as the table needs
//! granules         the residuals, eight words each, width bytes each; the last one cut after its last word
//! ```
//!
//! Where the chunk is *coded*, what `coded` describes stands in place of codes and granules. That may be
//! with every predictor that has residuals, but not in sparse form.
//!
//! Every combination of bits and codes that is not listed is free for later versions; a reader refuses it.
//! What is listed keeps its meaning for ever.
//!
//! | predictor | start | word i from residual r(i); u(r) is r, or r from zigzag where *signed* is set |
//! |---|---|---|
//! | 0 CONSTANT | decimal: zigzag; else bits u64 | the start, always |
//! | 1 XOR | first bits u64 | w(i) = w(i-1) xor r << shift |
//! | 2 FRAME | base zigzag | w(i) = base + u(r) |
//! | 3 DELTA | first zigzag, step zigzag | w(i) = w(i-1) + step + u(r), w(0) = first |
//! | 4 CHANGE | first zigzag, step zigzag | d(i) = d(i-1) + u(r), w(i) = w(i-1) + d(i), d(0) = step |
//! | 5 RAW | | count times 8 bytes |
//! | 6 LINE | first zigzag, step zigzag, varint breaks, each: gap varint, shift zigzag | w(i) = first + i * step + shifts up to i + u(r) |
//!
//! Where *scaled* is set, w(i) then becomes w(i) * factor + remainder. A time is the word. A value is
//! made from the integer by its unit where *decimal* is set (below); else the float whose bits stand in that place when all
//! floats are ordered by sign and size (bits of a negative one are flipped but for the sign). XOR and RAW
//! words are the float's bits as they are. Arithmetic wraps at 64 bits. In sparse form a residual of zero
//! is left out and the others are stored less one. Specials replace the values at their positions:
//! 0 stale marker, 1 NaN of Go, 2 and 3 quiet NaN of either sign, 4 and 5 infinities, 6 -0.0, 255 any bits.
//!
//! Units, because exporters make seconds of milliseconds in several ways, and each rounds its own way:
//! 0-15 float(w) / 10^unit; 16 float(w) / 1000 / 1000; 17-28 float(w) * the float nearest to
//! 10^(16 - unit). Where *decimal* is not set the unit is 0.

use super::CodecError;
use super::coded::KEPT_MAX;
use super::cursor::{Cursor, push_varint, push_zigzag, varint_bytes, zigzag_bytes};
use super::decimal::Unit;

/// Samples that a chunk may have: enough to make headers vanish, few enough to stay in the first cache.
pub const CHUNK_SAMPLES_MAX: usize = 1024;

pub(super) const GRANULES_MAX: usize = CHUNK_SAMPLES_MAX / super::granule::GRANULE;

/// Entries of a width table.
pub(super) const TABLE_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    Constant,
    Xor,
    Frame,
    Delta,
    Change,
    Raw,
    Line,
}

const PREDICTORS: [Predictor; 7] = [
    Predictor::Constant,
    Predictor::Xor,
    Predictor::Frame,
    Predictor::Delta,
    Predictor::Change,
    Predictor::Raw,
    Predictor::Line,
];

/// Before the kind of a chunk whose residuals are coded: no kind, as there is no predictor 7.
const CODED: u8 = 7;

/// The first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub predictor: Predictor,
    pub decimal: bool,
    pub signed: bool,
    pub scaled: bool,
    pub sparse: bool,
    pub specials: bool,
}

impl Kind {
    pub fn of(predictor: Predictor) -> Kind {
        Kind { predictor, decimal: false, signed: false, scaled: false, sparse: false, specials: false }
    }

    pub fn byte(self) -> u8 {
        let bit = |set: bool, at: u8| u8::from(set) << at;
        self.predictor as u8
            | bit(self.decimal, 3)
            | bit(self.signed, 4)
            | bit(self.scaled, 5)
            | bit(self.sparse, 6)
            | bit(self.specials, 7)
    }

    pub fn parse(byte: u8) -> Result<Kind, CodecError> {
        let unknown = CodecError::UnknownKind(byte);
        let predictor = *PREDICTORS.get(usize::from(byte & 7)).ok_or(unknown)?;
        let kind = Kind {
            predictor,
            decimal: byte >> 3 & 1 != 0,
            signed: byte >> 4 & 1 != 0,
            scaled: byte >> 5 & 1 != 0,
            sparse: byte >> 6 & 1 != 0,
            specials: byte >> 7 != 0,
        };
        // What a predictor has no use for stays free for later versions.
        let fits = match predictor {
            Predictor::Raw => byte == Kind::of(predictor).byte(),
            Predictor::Constant => !(kind.signed || kind.scaled || kind.sparse),
            Predictor::Xor => !(kind.decimal || kind.signed),
            _ => true,
        };
        if fits { Ok(kind) } else { Err(unknown) }
    }

    pub fn has_shape(self) -> bool {
        self.has_residuals() || self.predictor == Predictor::Constant && self.decimal
    }

    pub fn has_residuals(self) -> bool {
        !matches!(self.predictor, Predictor::Raw | Predictor::Constant)
    }
}

/// What every word was divided by, and what was left: the same for all words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub factor: u64,
    pub remainder: u64,
}

impl Scale {
    pub const ONE: Scale = Scale { factor: 1, remainder: 0 };

    pub fn bytes(self) -> usize {
        if self == Scale::ONE { 0 } else { varint_bytes(self.factor) + varint_bytes(self.remainder) }
    }
}

/// All of a chunk before its table.
#[derive(Debug, Clone)]
pub(super) struct Header<'a> {
    pub kind: Kind,
    pub count: usize,
    pub unit: Unit,
    /// Entries of the width table.
    pub entries: usize,
    pub scale: Scale,
    /// Where the residuals are coded: the kept bits.
    pub coded: Option<u8>,
    /// XOR: zeros at the end of every residual.
    pub shift: u8,
    /// CONSTANT, XOR: bits, or the word where decimal. FRAME: the base.
    pub first: u64,
    pub step: u64,
    /// LINE: how many breaks, and where they stand.
    pub breaks: (usize, Cursor<'a>),
}

impl<'a> Header<'a> {
    pub fn new(kind: Kind, count: usize) -> Self {
        let breaks = (0, Cursor::new(&[]));
        Header {
            kind,
            count,
            unit: Unit::ONE,
            entries: 1,
            scale: Scale::ONE,
            coded: None,
            shift: 0,
            first: 0,
            step: 0,
            breaks,
        }
    }

    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, CodecError> {
        let mut first = cursor.byte()?;
        let coded = first == CODED;
        if coded {
            first = cursor.byte()?;
        }
        let kind = Kind::parse(first)?;
        if coded && (kind.sparse || !kind.has_residuals()) {
            return Err(CodecError::UnknownKind(CODED));
        }
        let count = cursor.count(CHUNK_SAMPLES_MAX - 1)? + 1;
        let mut header = Header::new(kind, count);
        if kind.has_shape() {
            let shape = cursor.byte()?;
            header.unit = Unit::of_code((shape & 15) | (shape >> 7) << 4).ok_or(CodecError::BadNumber)?;
            let packing = shape >> 4 & 7;
            if coded {
                header.coded = Some(packing).filter(|kept| *kept <= KEPT_MAX);
                header.coded.ok_or(CodecError::BadWidth)?;
            } else {
                header.entries = usize::from(packing) + 1;
            }
            if header.unit != Unit::ONE && !kind.decimal {
                return Err(CodecError::BadNumber);
            }
        }
        header.read_scale(cursor)?;
        header.read_start(cursor)?;
        Ok(header)
    }

    fn read_scale(&mut self, cursor: &mut Cursor<'a>) -> Result<(), CodecError> {
        if !self.kind.scaled {
            return Ok(());
        }
        if self.kind.predictor == Predictor::Xor {
            self.shift = cursor.byte()?;
            return if self.shift < 64 { Ok(()) } else { Err(CodecError::BadNumber) };
        }
        self.scale = Scale { factor: cursor.varint()?, remainder: cursor.varint()? };
        Ok(())
    }

    fn read_start(&mut self, cursor: &mut Cursor<'a>) -> Result<(), CodecError> {
        match self.kind.predictor {
            Predictor::Raw => {}
            Predictor::Constant if !self.kind.decimal => self.first = cursor.word()?,
            Predictor::Constant | Predictor::Frame => self.first = cursor.zigzag()? as u64,
            Predictor::Xor => self.first = cursor.word()?,
            Predictor::Delta | Predictor::Change => {
                (self.first, self.step) = (cursor.zigzag()? as u64, cursor.zigzag()? as u64);
            }
            Predictor::Line => {
                (self.first, self.step) = (cursor.zigzag()? as u64, cursor.zigzag()? as u64);
                let breaks = cursor.count(self.count)?;
                self.breaks = (breaks, cursor.clone());
                let mut next = 0;
                for _ in 0..breaks {
                    next = position(cursor, next, self.count)? + 1;
                    cursor.zigzag()?;
                }
            }
        }
        Ok(())
    }

    /// Appends all up to the start; a line's breaks follow it.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.coded.is_some() {
            out.push(CODED);
        }
        out.push(self.kind.byte());
        push_varint(self.count as u64 - 1, out);
        if self.kind.has_shape() {
            let (unit, packing) = (self.unit.code(), self.coded.unwrap_or(self.entries as u8 - 1));
            out.push((unit & 15) | packing << 4 | (unit >> 4) << 7);
        }
        if self.kind.scaled {
            if self.kind.predictor == Predictor::Xor {
                out.push(self.shift);
            } else {
                push_varint(self.scale.factor, out);
                push_varint(self.scale.remainder, out);
            }
        }
        match self.kind.predictor {
            Predictor::Raw => {}
            Predictor::Constant if !self.kind.decimal => out.extend_from_slice(&self.first.to_le_bytes()),
            Predictor::Xor => out.extend_from_slice(&self.first.to_le_bytes()),
            Predictor::Constant | Predictor::Frame => push_zigzag(self.first as i64, out),
            Predictor::Delta | Predictor::Change | Predictor::Line => {
                push_zigzag(self.first as i64, out);
                push_zigzag(self.step as i64, out);
            }
        }
    }

    /// Bytes that [`Header::write`] appends.
    pub fn bytes(&self) -> usize {
        let scale = match self.kind.predictor {
            _ if !self.kind.scaled => 0,
            Predictor::Xor => 1,
            _ => self.scale.bytes(),
        };
        let start = match self.kind.predictor {
            Predictor::Raw => 0,
            Predictor::Constant if !self.kind.decimal => 8,
            Predictor::Xor => 8,
            Predictor::Constant | Predictor::Frame => zigzag_bytes(self.first as i64),
            _ => zigzag_bytes(self.first as i64) + zigzag_bytes(self.step as i64),
        };
        let kind = 1 + usize::from(self.coded.is_some());
        kind + varint_bytes(self.count as u64 - 1) + usize::from(self.kind.has_shape()) + scale + start
    }
}

/// Reads a gap; the position so many places behind `next`.
pub(super) fn position(cursor: &mut Cursor<'_>, next: usize, count: usize) -> Result<usize, CodecError> {
    let gap = cursor.varint()?;
    if gap >= (count - next.min(count)) as u64 {
        Err(CodecError::BadPosition)
    } else {
        Ok(next + gap as usize)
    }
}

//! Sparse residuals: where they are mostly zero, only the others are stored, and where they stand.
//!
//! Three forms of saying where, for few, for bunches and for many; the encoder takes the smallest.

use super::CodecError;
use super::cursor::{Cursor, push_varint, varint_bytes};
use super::granule::GRANULE;
use super::layout::{GRANULES_MAX, position};

/// A byte for each granule: bit `i` says that its residual `i` is not zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks {
    masks: [u8; GRANULES_MAX],
    granules: usize,
    /// Residuals that are not zero.
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gaps,
    Bunches,
    Bitmap,
}

const FORMS: [Form; 3] = [Form::Gaps, Form::Bunches, Form::Bitmap];

impl Masks {
    pub fn new(masks: [u8; GRANULES_MAX], residuals: usize) -> Masks {
        let granules = residuals.div_ceil(GRANULE);
        let count = masks[..granules].iter().map(|mask| mask.count_ones() as usize).sum();
        Masks { masks, granules, count }
    }

    pub fn granules(&self) -> &[u8] {
        &self.masks[..self.granules]
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn positions(&self) -> impl Iterator<Item = usize> {
        self.granules().iter().enumerate().flat_map(|(granule, mask)| {
            let mut rest = *mask;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.wrapping_sub(1);
                (bit < GRANULE).then_some(granule * GRANULE + bit)
            })
        })
    }

    fn gaps(&self) -> impl Iterator<Item = u64> {
        let mut next = 0;
        self.positions().map(move |position| {
            let gap = position - next;
            next = position + 1;
            gap as u64
        })
    }

    fn form_bytes(&self, form: Form) -> usize {
        match form {
            // One byte each at the least: not worth counting where another form must be smaller.
            Form::Gaps if self.count > 2 * self.granules => usize::MAX,
            Form::Gaps => self.gaps().map(varint_bytes).sum(),
            Form::Bunches => self.granules.div_ceil(8) + self.granules().iter().filter(|m| **m != 0).count(),
            Form::Bitmap => self.granules,
        }
    }

    fn best(&self) -> (Form, usize) {
        let sized = FORMS.map(|form| (form, self.form_bytes(form)));
        sized.into_iter().min_by_key(|(_, bytes)| *bytes).unwrap_or((Form::Bitmap, self.granules))
    }

    fn head(&self, form: Form) -> u64 {
        (self.count as u64) << 2 | form as u64
    }

    /// Bytes that [`Masks::write`] appends.
    pub fn bytes(&self) -> usize {
        let (form, bytes) = self.best();
        bytes + varint_bytes(self.head(form))
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let (form, _) = self.best();
        push_varint(self.head(form), out);
        match form {
            Form::Gaps => self.gaps().for_each(|gap| push_varint(gap, out)),
            Form::Bunches => {
                for bunch in self.granules().chunks(8) {
                    let bits = bunch.iter().enumerate().map(|(i, mask)| u8::from(*mask != 0) << i);
                    out.push(bits.fold(0, |all, bit| all | bit));
                }
                out.extend(self.granules().iter().filter(|m| **m != 0));
            }
            Form::Bitmap => out.extend_from_slice(self.granules()),
        }
    }

    pub fn read(cursor: &mut Cursor<'_>, samples: usize) -> Result<Masks, CodecError> {
        let head = cursor.varint()?;
        let (count, granules) = ((head >> 2) as usize, samples.div_ceil(GRANULE));
        if count > samples {
            return Err(CodecError::BadCount);
        }
        let form = FORMS.get((head & 3) as usize).ok_or(CodecError::BadNumber)?;
        let mut masks = [0u8; GRANULES_MAX];
        match form {
            Form::Gaps => {
                let mut next = 0;
                for _ in 0..count {
                    let at = position(cursor, next, samples)?;
                    masks[at / GRANULE] |= 1 << (at % GRANULE);
                    next = at + 1;
                }
            }
            Form::Bunches => {
                let bunches = cursor.take(granules.div_ceil(8))?;
                for (i, mask) in masks[..granules].iter_mut().enumerate() {
                    if bunches[i / 8] >> (i % 8) & 1 != 0 {
                        *mask = cursor.byte()?;
                    }
                }
            }
            Form::Bitmap => masks[..granules].copy_from_slice(cursor.take(granules)?),
        }
        let beyond = !(u8::MAX >> ((GRANULE - samples % GRANULE) % GRANULE));
        let found: u32 = masks.iter().map(|m| m.count_ones()).sum();
        if masks[granules - 1] & beyond != 0 || found as usize != count {
            return Err(CodecError::BadPosition);
        }
        Ok(Masks { masks, granules, count })
    }
}

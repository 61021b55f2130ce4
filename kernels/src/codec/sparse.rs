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

/// What one byte of a varint holds; two hold any gap.
const VARINT_BYTE_MAX: usize = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gaps,
    Bunches,
    Bitmap,
}

const FORMS: [Form; 3] = [Form::Gaps, Form::Bunches, Form::Bitmap];

impl Masks {
    /// The masks of so many residuals, of which `count` are not zero.
    pub fn new(masks: [u8; GRANULES_MAX], residuals: usize, count: usize) -> Masks {
        Masks { masks, granules: residuals.div_ceil(GRANULE), count }
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

    /// Granules with residuals.
    fn bunches(&self) -> usize {
        // In bytes, as vectors do it best; there are no more than 128.
        usize::from(self.granules().iter().fold(0u8, |count, mask| count + u8::from(*mask != 0)))
    }

    /// Gaps that take two bytes, none of which is within a granule.
    fn wide_gaps(&self) -> usize {
        let (mut next, mut wide) = (0, 0);
        for (granule, mask) in self.granules().iter().enumerate().filter(|(_, mask)| **mask != 0) {
            let first = granule * GRANULE + mask.trailing_zeros() as usize;
            wide += usize::from(first - next > VARINT_BYTE_MAX);
            next = (granule + 1) * GRANULE - mask.leading_zeros() as usize;
        }
        wide
    }

    fn form_bytes(&self, form: Form) -> usize {
        match form {
            // One byte each at the least: not worth counting where another form must be smaller.
            Form::Gaps if self.count > 2 * self.granules => usize::MAX,
            Form::Gaps => self.count + self.wide_gaps(),
            Form::Bunches => self.granules.div_ceil(8) + self.bunches(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_come_back_and_cost_what_was_said(
            positions in prop::collection::btree_set(0usize..1024, 0..40), bunch in prop::collection::btree_set(0usize..1024, 0..400),
            few in any::<bool>(), more in 0usize..400,
        ) {
            let positions = if few { positions } else { bunch };
            let residuals = (positions.last().map_or(1, |last| last + 1) + more).min(1024);
            let mut bytes = [0; GRANULES_MAX];
            positions.iter().for_each(|at| bytes[at / GRANULE] |= 1 << (at % GRANULE));
            let masks = Masks::new(bytes, residuals, positions.len());
            prop_assert!(masks.positions().eq(positions.iter().copied()));
            let gaps: usize = masks.gaps().map(varint_bytes).sum();
            prop_assert!(positions.len() > 2 * masks.granules || masks.form_bytes(Form::Gaps) == gaps);
            let mut out = Vec::new();
            masks.write(&mut out);
            prop_assert_eq!(out.len(), masks.bytes());
            let mut cursor = Cursor::new(&out);
            let read = Masks::read(&mut cursor, residuals).unwrap();
            prop_assert_eq!((read.granules(), read.count()), (masks.granules(), masks.count()));
            prop_assert!(cursor.rest().is_empty());
        }
    }
}

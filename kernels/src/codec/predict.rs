//! Residuals to words to values: what each predictor of `layout` says, in place.

use super::CodecError;
use super::cursor::unzigzag;
use super::decimal::{Way, from_integer, ordered};
use super::granule::GRANULE;
use super::layout::{Header, Predictor, position};
use super::vectors::Vectors;

/// What the words of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Milliseconds, or any other integer.
    Integer,
    /// Bits of a float.
    Float,
}

/// Turns a chunk's residuals into its words, and these into values.
#[inline(always)]
pub(super) fn restore<V: Vectors>(
    vectors: V,
    header: &Header<'_>,
    meaning: Meaning,
    words: &mut [u64],
) -> Result<(), CodecError> {
    let (first, step) = (header.first, header.step);
    if header.kind.signed {
        words.iter_mut().for_each(|word| *word = unzigzag(*word));
    }
    match header.kind.predictor {
        Predictor::Constant | Predictor::Raw => {}
        Predictor::Xor => vectors.xor(words, first, header.shift),
        Predictor::Frame => words.iter_mut().for_each(|word| *word = word.wrapping_add(first)),
        Predictor::Delta => vectors.sum(words, first.wrapping_sub(step), step),
        Predictor::Change => {
            vectors.sum(words, step, 0);
            vectors.sum(words, first.wrapping_sub(step), 0);
        }
        Predictor::Line => add_line(header, words)?,
    }
    if header.kind.predictor != Predictor::Xor {
        finish(vectors, header, meaning, words);
    }
    Ok(())
}

/// Words as they were before they were divided, and what they mean.
#[inline(always)]
fn finish<V: Vectors>(vectors: V, header: &Header<'_>, meaning: Meaning, words: &mut [u64]) {
    let scale = header.scale;
    if header.kind.scaled {
        for word in words.iter_mut() {
            *word = word.wrapping_mul(scale.factor).wrapping_add(scale.remainder);
        }
    }
    match meaning {
        Meaning::Integer => {}
        Meaning::Float if header.kind.decimal => match header.unit.way() {
            Way::Same => floats(vectors, words, |integer| integer),
            Way::Divide(by) => floats(vectors, words, |integer| integer / by),
            Way::Twice => floats(vectors, words, |integer| Way::Twice.apply(integer)),
            Way::Multiply(by) => floats(vectors, words, |integer| integer * by),
        },
        Meaning::Float => words.iter_mut().for_each(|word| *word = ordered(*word)),
    }
}

#[inline(always)]
fn floats<V: Vectors>(vectors: V, words: &mut [u64], way: impl Fn(f64) -> f64) {
    for word in words {
        *word = way(vectors.float(*word)).to_bits();
    }
}

/// Adds the line, stretch by stretch between its breaks.
fn add_line(header: &Header<'_>, words: &mut [u64]) -> Result<(), CodecError> {
    let (breaks, mut cursor) = header.breaks.clone();
    let (mut from, mut next, mut first) = (0, 0, header.first);
    let mut add = |range: std::ops::Range<usize>, first: u64| {
        for at in range {
            words[at] = words[at].wrapping_add(first).wrapping_add(header.step.wrapping_mul(at as u64));
        }
    };
    for _ in 0..breaks {
        let at = position(&mut cursor, next, header.count)?;
        add(from..at, first);
        first = first.wrapping_add(cursor.zigzag()? as u64);
        (from, next) = (at, at + 1);
    }
    add(from..header.count.next_multiple_of(GRANULE), first);
    Ok(())
}

/// What every value of a CONSTANT is.
pub(super) fn constant(header: &Header<'_>) -> u64 {
    if header.kind.decimal { from_integer(header.first, header.unit) } else { header.first }
}

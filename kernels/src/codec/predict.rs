//! Residuals to words to values: what each predictor of `layout` says, in place.

use super::CodecError;
use super::cursor::unzigzag;
use super::decimal::{from_integer, ordered};
use super::granule::GRANULE;
use super::layout::{Header, Predictor, position};

/// What the words of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Milliseconds, or any other integer.
    Integer,
    /// Bits of a float.
    Float,
}

/// A chunk's rules, and how far they have come.
#[derive(Debug, Clone, Copy)]
struct State {
    word: u64,
    step: u64,
}

#[inline(always)]
fn run(words: &mut [u64], mut state: State, rule: impl Fn(&mut State, u64) -> u64) {
    for word in words {
        *word = rule(&mut state, *word);
    }
}

/// Turns a chunk's residuals into its words, and these into values: the specification.
pub(super) fn restore(header: &Header<'_>, meaning: Meaning, words: &mut [u64]) -> Result<(), CodecError> {
    let (first, step) = (header.first, header.step);
    if header.kind.signed {
        words.iter_mut().for_each(|word| *word = unzigzag(*word));
    }
    match header.kind.predictor {
        Predictor::Constant | Predictor::Raw => {}
        Predictor::Xor => run(words, State { word: first, step }, |state, residual| {
            state.word ^= residual << header.shift;
            state.word
        }),
        Predictor::Frame => words.iter_mut().for_each(|word| *word = word.wrapping_add(first)),
        Predictor::Delta => {
            let word = first.wrapping_sub(step);
            run(words, State { word, step }, |state, residual| {
                state.word = state.word.wrapping_add(state.step).wrapping_add(residual);
                state.word
            });
        }
        Predictor::Change => {
            let word = first.wrapping_sub(step);
            run(words, State { word, step }, |state, residual| {
                state.step = state.step.wrapping_add(residual);
                state.word = state.word.wrapping_add(state.step);
                state.word
            });
        }
        Predictor::Line => add_line(header, words)?,
    }
    if header.kind.predictor == Predictor::Xor {
        return Ok(());
    }
    finish(header, meaning, words);
    Ok(())
}

/// Words as they were before they were divided, and what they mean.
fn finish(header: &Header<'_>, meaning: Meaning, words: &mut [u64]) {
    let scale = header.scale;
    if header.kind.scaled {
        for word in words.iter_mut() {
            *word = word.wrapping_mul(scale.factor).wrapping_add(scale.remainder);
        }
    }
    match meaning {
        Meaning::Integer => {}
        Meaning::Float if header.kind.decimal => {
            words.iter_mut().for_each(|word| *word = from_integer(*word, header.unit));
        }
        Meaning::Float => words.iter_mut().for_each(|word| *word = ordered(*word)),
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

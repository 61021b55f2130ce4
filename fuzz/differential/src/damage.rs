//! Queries with something wrong in them: both servers must refuse the same ones, in the same words.

use fastrand::Rng;

/// What is put in: every sign of the language, and words that mean something.
const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "=",
    "=~",
    "!",
    "!=",
    "<",
    ">",
    "@",
    ":",
    "%",
    "^",
    "+",
    "-",
    "*",
    "/",
    " ",
    "#",
    "1",
    "0x",
    "5m",
    "1e",
    "by",
    "on",
    "offset",
    "bool",
    "group_left",
    "and",
    "sum",
    "rate",
    " @ start()",
    "Inf",
    "é",
    ";",
    "\\",
];

/// One to three edits: something left out, put in, or said twice.
pub fn damaged(random: &mut Rng, query: &str) -> String {
    let mut chars: Vec<char> = query.chars().collect();
    for _ in 0..random.usize(1..=3) {
        let at = random.usize(0..=chars.len());
        let end = (at + random.usize(1..5)).min(chars.len());
        match random.u32(0..3) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let again: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, again);
            }
            _ => {
                let piece = PIECES[random.usize(0..PIECES.len())];
                chars.splice(at..at, piece.chars());
            }
        }
    }
    chars.into_iter().collect()
}

//! Numbers as they appear in texts and labels of results.

use hearth_model::number::{write_fixed, write_short};

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    out.into_iter().map(char::from).collect()
}

/// Never with an exponent: what `count_values` writes into a label.
pub fn decimal(value: f64) -> String {
    text(|out| write_fixed(out, value))
}

/// Go's `%g`: what warnings show.
pub fn general(value: f64) -> String {
    text(|out| write_short(out, value))
}

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

/// As OpenMetrics writes bounds and quantiles into labels: whole numbers with `.0`.
pub fn open_metrics(value: f64) -> String {
    let text = general(value);
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') { text + ".0" } else { text }
}

/// Go's `%g`: what warnings show.
pub fn general(value: f64) -> String {
    text(|out| write_short(out, value))
}

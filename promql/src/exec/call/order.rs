//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: the order of an instant query's result.

use crate::exec::tile::{Row, Tile};
use crate::functions::SortKind;
use crate::query::QueryError;
use std::cmp::Ordering;

/// What is sorted by value has no histograms, whether or not its order is to be seen.
pub fn floats_only(tile: Tile) -> Result<Tile, QueryError> {
    if (0..tile.len()).all(|row| tile.row(row).histograms.is_empty()) {
        return Ok(tile);
    }
    let mut out = Tile::new(tile.steps(), tile.limits());
    for row in 0..tile.len() {
        let floats = Row { histograms: &[], ..tile.row(row) };
        if (0..tile.steps()).any(|step| floats.has_float(step)) {
            out.push(tile.labels(row).clone(), floats)?;
        }
    }
    Ok(out)
}

/// Brings the series of a one-step tile into order. By value, NaN comes last either way.
pub fn sort(kind: SortKind, tile: Tile, labels: &[String]) -> Result<Tile, QueryError> {
    let mut order: Vec<usize> = (0..tile.len()).collect();
    match kind {
        SortKind::Ascending | SortKind::Descending => {
            let value = |row: usize| tile.row(row).values[0];
            order.sort_by(|&a, &b| {
                by_value(value(a), value(b), kind == SortKind::Descending)
                    .then_with(|| tile.labels(a).labels.cmp(&tile.labels(b).labels))
            });
        }
        SortKind::ByLabel | SortKind::ByLabelDescending => {
            let compare = |a: usize, b: usize| {
                let (a, b) = (&tile.labels(a).labels, &tile.labels(b).labels);
                let differing = labels.iter().map(|name| natural(a.value(name), b.value(name)));
                differing.fold(Ordering::Equal, Ordering::then).then_with(|| a.cmp(b))
            };
            if kind == SortKind::ByLabel {
                order.sort_by(|&a, &b| compare(a, b));
            } else {
                order.sort_by(|&a, &b| compare(b, a));
            }
        }
    }
    tile.pick(&order)
}

/// NaN last.
pub fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// Runs of digits compare as numbers: `node2` before `node10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].is_ascii_digit() && b[j].is_ascii_digit() {
            let run = |text: &[u8], from: usize| {
                let zeros = text[from..].iter().take_while(|&&c| c == b'0').count();
                let digits = text[from + zeros..].iter().take_while(|c| c.is_ascii_digit()).count();
                (from + zeros, from + zeros + digits)
            };
            let ((a_from, a_to), (b_from, b_to)) = (run(a, i), run(b, j));
            let longer = (a_to - a_from).cmp(&(b_to - b_from));
            let order = longer.then_with(|| a[a_from..a_to].cmp(&b[b_from..b_to]));
            if order != Ordering::Equal {
                return order;
            }
            (i, j) = (a_to, b_to);
        } else if a[i] != b[j] {
            return a[i].cmp(&b[j]);
        } else {
            (i, j) = (i + 1, j + 1);
        }
    }
    (a.len() - i).cmp(&(b.len() - j))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_names_compare_as_numbers() {
        let check = |a, b, expect| assert_eq!(natural(a, b), expect, "{a} {b}");
        check("node2", "node10", Ordering::Less);
        check("node-10-a", "node-10-b", Ordering::Less);
        check("007", "7", Ordering::Equal);
        check("a", "", Ordering::Greater);
        check("1.10", "1.9", Ordering::Greater);
    }
}

//! Numbers as promtool prints them: lengths of time, sizes, tables.

use std::io::{self, Write};

/// Go's text for a length of time.
pub fn duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let (sign, all) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    if all < 1000 {
        return format!("{sign}{all}ms");
    }
    let (hours, minutes, rest) = (all / 3_600_000, all / 60_000 % 60, all % 60_000);
    let mut text = sign.to_owned();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    text += &(rest / 1000).to_string();
    if !fraction.is_empty() {
        text += &format!(".{fraction}");
    }
    text + "s"
}

/// A size in all its units, the largest first.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut text = String::new();
    for (power, unit) in UNITS.iter().enumerate().rev() {
        let count = bytes >> (10 * power) & 1023;
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() { "0B".to_owned() } else { text }
}

/// A table: every column but the last is as wide as its widest cell and two spaces, 13 at least.
pub fn table(rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        (widest.unwrap_or(0) + 2).max(13)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (column, cell) in row.iter().enumerate() {
            if column == last {
                writeln!(out, "{cell}")?;
            } else {
                write!(out, "{cell:<width$}", width = widths[column])?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_like_those_of_promtool() {
        let lengths = [
            (0, "0s"),
            (286_000, "4m46s"),
            (7_200_000, "2h0m0s"),
            (7_200_500, "2h0m0.5s"),
            (12, "12ms"),
            (-1500, "-1.5s"),
        ];
        for (ms, expect) in lengths {
            assert_eq!(duration(ms), expect);
        }
        for (bytes, expect) in [(0, "0B"), (1612, "1KiB588B"), (1 << 30, "1GiB"), ((1 << 20) + 5, "1MiB5B")] {
            assert_eq!(size(bytes), expect);
        }
        let rows = [["a", "NUM"], ["a longer cell", "5"]].map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        table(&rows, &mut out).expect("memory takes it");
        assert_eq!(String::from_utf8_lossy(&out), "a              NUM\na longer cell  5\n");
    }
}

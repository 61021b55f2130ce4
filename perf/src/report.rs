//! One table: a row a figure, a column a server, and how the first server compares with each other one.

use serde_json::{Value, json};
use std::fmt::Write;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

/// A row: a figure that each server has, or lacks.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub better: Better,
    /// One a column.
    pub values: Vec<Option<f64>>,
}

/// The table. Columns are named after the servers.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

impl Table {
    /// Adds one server's figures as a column. Every server has the same rows in the same order.
    pub fn column(&mut self, name: &str, figures: &[(String, Better, f64)]) {
        self.columns.push(name.to_string());
        for (at, (row, better, value)) in figures.iter().enumerate() {
            if at == self.rows.len() {
                self.rows.push(Row { name: row.clone(), better: *better, values: Vec::new() });
            }
            assert_eq!(self.rows[at].name, *row, "{name} has its figures in another order");
            self.rows[at].values.push(value.is_finite().then_some(*value));
        }
    }

    /// How many times better the first column's figure is than another's.
    pub fn ratio(row: &Row, column: usize) -> Option<f64> {
        let (first, other) = ((*row.values.first()?)?, (*row.values.get(column)?)?);
        let ratio = match row.better {
            Better::Less => other / first,
            Better::More => first / other,
        };
        ratio.is_finite().then_some(ratio)
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut heads = vec!["".to_string()];
        heads.extend(self.columns.iter().cloned());
        let first = self.columns.first().cloned().unwrap_or_default();
        heads.extend(self.columns.iter().skip(1).map(|other| format!("{first} vs {other}")));
        let mut lines = vec![heads];
        for row in &self.rows {
            let mut cells = vec![row.name.clone()];
            cells.extend(row.values.iter().map(|value| value.map_or("-".to_string(), number)));
            let ratios = (1..self.columns.len()).map(|column| Table::ratio(row, column));
            cells.extend(ratios.map(|ratio| ratio.map_or("-".to_string(), |ratio| format!("{ratio:.2}x"))));
            lines.push(cells);
        }
        aligned(&lines)
    }

    /// For a file that is kept.
    pub fn json(&self) -> Value {
        let rows: Vec<_> =
            self.rows.iter().map(|row| json!({ "figure": row.name, "values": row.values })).collect();
        json!({ "servers": self.columns, "figures": rows })
    }

    /// The median of each figure over several tables of the same servers.
    pub fn median(tables: &[Table]) -> Table {
        let mut middle = tables.first().cloned().unwrap_or_default();
        for (at, row) in middle.rows.iter_mut().enumerate() {
            for (column, value) in row.values.iter_mut().enumerate() {
                let mut all: Vec<f64> =
                    tables.iter().filter_map(|table| table.rows[at].values[column]).collect();
                all.sort_by(f64::total_cmp);
                *value = all.get(all.len() / 2).copied();
            }
        }
        middle
    }
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _infallible = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Four significant digits, with an SI prefix above ten thousand.
fn number(value: f64) -> String {
    for (unit, prefix) in [(1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if value.abs() >= unit {
            let unit = if prefix == "k" { 1e3 } else { unit };
            return format!("{:.1} {prefix}", value / unit);
        }
    }
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[f64]) -> Table {
        let mut table = Table::default();
        for (at, value) in values.iter().enumerate() {
            let figures =
                [("cpu".to_string(), Better::Less, *value), ("rate".to_string(), Better::More, *value)];
            table.column(["a", "b"][at], &figures);
        }
        table
    }

    #[test]
    fn ratios_say_how_much_better_the_first_is() {
        let table = table(&[2.0, 8.0]);
        assert_eq!(
            (Table::ratio(&table.rows[0], 1), Table::ratio(&table.rows[1], 1)),
            (Some(4.0), Some(0.25))
        );
        let text = table.markdown();
        assert!(text.contains("| cpu  | 2.00 | 8.00 | 4.00x  |"), "{text}");
    }

    #[test]
    fn a_missing_figure_is_a_dash() {
        let table = table(&[f64::NAN, 8.0]);
        assert!(table.markdown().contains("| -"), "{}", table.markdown());
        assert_eq!(Table::ratio(&table.rows[0], 1), None);
    }

    #[test]
    fn the_median_is_taken_cell_by_cell() {
        let middle = Table::median(&[table(&[1.0, 9.0]), table(&[3.0, 7.0]), table(&[2.0, 8.0])]);
        assert_eq!(middle.rows[0].values, [Some(2.0), Some(8.0)]);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.1234, 1.234, 12.34, 1234.0, 23_456.0, 2_345_678.0].map(number);
        assert_eq!(texts, ["0.123", "1.23", "12.3", "1234", "23.5 k", "2.3 M"]);
    }
}

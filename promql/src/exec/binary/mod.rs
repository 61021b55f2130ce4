//! Binary operators: between scalars, between a vector and a scalar, between two vectors.

pub mod matching;
pub mod scalar;
pub mod sets;

use super::histogram;
use super::labels::Uniter;
use super::notes::{Note, Notes};
use super::tile::{Cell, Row, StepColumn, Tile};
use crate::query::QueryError;
use crate::syntax::PositionRange;
use crate::syntax::ast::BinaryOp;
use hearth_model::Histogram;
use std::sync::Arc;

/// What an operator makes of two values.
#[derive(Debug, Clone)]
pub enum Outcome {
    Nothing,
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// The operator with what it needs for every pair.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub position: PositionRange,
    pub delayed_name_removal: bool,
}

impl Operator {
    /// The result is a new value, no longer what the metric's name says.
    pub fn drops_name(&self) -> bool {
        let trims = matches!(self.op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
        self.return_bool || !(self.op.is_comparison() || self.op.is_set() || trims)
    }

    /// Makes a number of any two numbers.
    pub fn is_arithmetic(&self) -> bool {
        use BinaryOp::*;
        matches!(self.op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
    }

    /// Of two floats. Comparisons keep the left value, or say 0 or 1 with `bool`.
    #[inline]
    pub fn floats(&self, left: f64, right: f64) -> Outcome {
        if !self.op.is_comparison() {
            return Outcome::Float(scalar::arithmetic(self.op, left, right));
        }
        match (scalar::compare(self.op, left, right), self.return_bool) {
            (holds, true) => Outcome::Float(f64::from(u8::from(holds))),
            (true, false) => Outcome::Float(left),
            (false, false) => Outcome::Nothing,
        }
    }

    pub fn cells(&self, left: Cell<'_>, right: Cell<'_>, notes: &mut Notes) -> Outcome {
        use BinaryOp::*;
        match (left, right) {
            (Cell::Nothing, _) | (_, Cell::Nothing) => Outcome::Nothing,
            (Cell::Float(_), Cell::Float(_)) if matches!(self.op, TrimUpper | TrimLower) => {
                self.incompatible("float", "float", notes)
            }
            (Cell::Float(left), Cell::Float(right)) => self.floats(left, right),
            (Cell::Float(factor), Cell::Histogram(h)) if self.op == Mul => {
                Outcome::Histogram(Arc::new(histogram::scaled(h, factor)))
            }
            (Cell::Float(_), Cell::Histogram(_)) => self.incompatible("float", "histogram", notes),
            (Cell::Histogram(h), Cell::Float(value)) => match self.op {
                Mul => Outcome::Histogram(Arc::new(histogram::scaled(h, value))),
                Div => Outcome::Histogram(Arc::new(histogram::divided(h, value))),
                TrimUpper => Outcome::Histogram(Arc::new(histogram::trim::upper(h, value))),
                TrimLower => Outcome::Histogram(Arc::new(histogram::trim::lower(h, value))),
                _ => self.incompatible("histogram", "float", notes),
            },
            (Cell::Histogram(left), Cell::Histogram(right)) => self.histograms(left, right, notes),
        }
    }

    fn histograms(&self, left: &Arc<Histogram>, right: &Arc<Histogram>, notes: &mut Notes) -> Outcome {
        match self.op {
            BinaryOp::Add | BinaryOp::Sub => {
                let subtract = self.op == BinaryOp::Sub;
                match histogram::combined(left, right, subtract) {
                    Ok(combined) => {
                        let operation = if subtract { "subtraction" } else { "addition" };
                        combined.note(operation, self.position, notes);
                        Outcome::Histogram(Arc::new(combined.histogram))
                    }
                    Err(_) => {
                        let note = Note::IncompatibleBucketLayout { operator: self.op.text() };
                        notes.add(self.position, note);
                        Outcome::Nothing
                    }
                }
            }
            BinaryOp::Eql | BinaryOp::Neq => {
                let holds = histogram::equal(left, right) == (self.op == BinaryOp::Eql);
                match (holds, self.return_bool) {
                    (_, true) => Outcome::Float(f64::from(u8::from(holds))),
                    (true, false) => Outcome::Histogram(left.clone()),
                    (false, false) => Outcome::Nothing,
                }
            }
            _ => self.incompatible("histogram", "histogram", notes),
        }
    }

    fn incompatible(&self, left: &'static str, right: &'static str, notes: &mut Notes) -> Outcome {
        let note = Note::IncompatibleTypes { left, operator: self.op.text(), right };
        notes.add(self.position, note);
        Outcome::Nothing
    }

    /// One cell of a result.
    pub fn write(&self, out: &mut StepColumn, step: usize, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Float(value) => out.set(step, value),
            Outcome::Histogram(histogram) => out.set_histogram(step, histogram),
        }
    }

    /// A vector and a scalar; `swapped` where the scalar stands on the left.
    pub fn with_scalar(
        &self,
        tile: &Tile,
        scalar: &[f64],
        swapped: bool,
        notes: &mut Notes,
    ) -> Result<Tile, QueryError> {
        let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
        let mut column = StepColumn::default();
        for row in 0..tile.len() {
            column.reset(tile.steps());
            let input = tile.row(row);
            if self.is_arithmetic() && input.histograms.is_empty() {
                column.present.words_mut().copy_from_slice(input.present);
                let (left, right) = if swapped { (scalar, input.values) } else { (input.values, scalar) };
                scalar::arithmetic_columns(self.op, left, right, &mut column);
            } else {
                for (step, &scalar) in scalar.iter().enumerate() {
                    let outcome = self.cell_and_scalar(input, step, scalar, swapped, notes);
                    self.write(&mut column, step, outcome);
                }
            }
            if column.any() {
                let labels = tile.labels(row);
                let labels = match self.drops_name() {
                    true => labels.dropping_name(self.delayed_name_removal),
                    false => labels.clone(),
                };
                out.add_or_fail(labels, column.view())?;
            }
        }
        Ok(out.finish())
    }

    fn cell_and_scalar(
        &self,
        input: Row<'_>,
        step: usize,
        scalar: f64,
        swapped: bool,
        notes: &mut Notes,
    ) -> Outcome {
        let cell = input.cell(step);
        if !swapped {
            return self.cells(cell, Cell::Float(scalar), notes);
        }
        match (self.cells(Cell::Float(scalar), cell, notes), cell) {
            // A comparison that filters lets the vector's value through, on whichever side it stands.
            (Outcome::Float(_), Cell::Float(value)) if self.op.is_comparison() && !self.return_bool => {
                Outcome::Float(value)
            }
            (outcome, _) => outcome,
        }
    }
}

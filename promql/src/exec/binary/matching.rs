//! Operators between two vectors: series are paired by the labels that `on` or `ignoring` leaves, once for
//! all steps; whether a pairing is allowed is decided step by step, as Prometheus does.

use super::Operator;
use super::scalar;
use crate::exec::labels::{Conflict, Uniter, braced, same_labelset, without_name};
use crate::exec::notes::Notes;
use crate::exec::tile::{Bits, Cell, RowLabels, StepColumn, Tile};
use crate::query::QueryError;
use crate::syntax::ast::{Cardinality, VectorMatching};
use hearth_model::label::METRIC_NAME;
use hearth_model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// Numbers for the label sets that series are matched by.
pub struct Signatures<'a> {
    matching: &'a VectorMatching,
    numbers: HashMap<Labels, usize, ahash::RandomState>,
}

/// The labels by which a series is matched.
pub fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|l| l == name);
    if matching.on {
        labels.filter(listed)
    } else {
        labels.filter(|name| name != METRIC_NAME && !listed(name))
    }
}

impl<'a> Signatures<'a> {
    pub fn new(matching: &'a VectorMatching) -> Self {
        Signatures { matching, numbers: HashMap::default() }
    }

    /// The number of each series' signature.
    pub fn of(&mut self, tile: &Tile) -> Vec<usize> {
        let mut numbers = Vec::with_capacity(tile.len());
        for row in tile.all_labels() {
            let next = self.numbers.len();
            numbers.push(*self.numbers.entry(signature(&row.labels, self.matching)).or_insert(next));
        }
        numbers
    }

    pub fn count(&self) -> usize {
        self.numbers.len()
    }
}

/// Rows by signature.
fn by_signature(signatures: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); count];
    for (row, &signature) in signatures.iter().enumerate() {
        rows[signature].push(row);
    }
    rows
}

/// Pairs the series of both sides and applies the operator to each pair.
pub fn combine(
    operator: &Operator,
    left: &Tile,
    right: &Tile,
    matching: &VectorMatching,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let one_is_left = matching.card == Cardinality::OneToMany;
    let (many, one) = if one_is_left { (right, left) } else { (left, right) };
    let mut signatures = Signatures::new(matching);
    let (many_signatures, one_signatures) = (signatures.of(many), signatures.of(one));
    let many_rows = by_signature(&many_signatures, signatures.count());
    let one_rows = by_signature(&one_signatures, signatures.count());
    refuse_many(many, one, &one_rows, matching)?;
    let mut pairing = Pairing {
        operator,
        matching,
        many,
        one,
        out: Uniter::new(Tile::with_room(left.steps(), many.len(), left.limits())),
        groups: Vec::new(),
        column: StepColumn::default(),
        matched: Bits::default(),
    };
    for (group, many_rows) in many_rows.iter().enumerate() {
        pairing.group(group, many_rows, &one_rows[group], notes)?;
        left.limits().check()?;
    }
    Ok(pairing.out.finish())
}

/// The "one" side may have one series a signature at each step (at which the other side has anything).
fn refuse_many(
    many: &Tile,
    one: &Tile,
    rows: &[Vec<usize>],
    matching: &VectorMatching,
) -> Result<(), QueryError> {
    let doubtful: Vec<&Vec<usize>> = rows.iter().filter(|rows| rows.len() > 1).collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    let steps = one.steps();
    let busy: Vec<bool> = (0..steps).map(|step| (0..many.len()).any(|r| many.row(r).has(step))).collect();
    for rows in doubtful {
        for step in (0..steps).filter(|&step| busy[step]) {
            let mut present = rows.iter().filter(|&&row| one.row(row).has(step));
            let (Some(&first), Some(&second)) = (present.next(), present.next()) else { continue };
            let side = if matching.card == Cardinality::OneToMany { "left" } else { "right" };
            let (first, second) = (&one.labels(first).labels, &one.labels(second).labels);
            let (first, second) = (first.min(second), first.max(second));
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                braced(&signature(second, matching)),
                braced(first),
                braced(second),
            )));
        }
    }
    Ok(())
}

fn several_matches() -> QueryError {
    let text = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
    QueryError::Execution(text.to_owned())
}

struct Pairing<'a> {
    operator: &'a Operator,
    matching: &'a VectorMatching,
    many: &'a Tile,
    one: &'a Tile,
    out: Uniter,
    /// For each series of the result, the signature it comes from.
    groups: Vec<usize>,
    column: StepColumn,
    /// Steps at which the current signature has a pair (one-to-one only).
    matched: Bits,
}

/// One partner of a pair: a series, or the value that stands in for a missing one.
#[derive(Clone, Copy)]
enum Side {
    Row(usize),
    Fill(f64),
}

impl Side {
    fn cell(self, tile: &Tile, step: usize) -> Cell<'_> {
        match self {
            Side::Row(row) => tile.row(row).cell(step),
            Side::Fill(value) => Cell::Float(value),
        }
    }
}

impl Pairing<'_> {
    fn group(
        &mut self,
        group: usize,
        many_rows: &[usize],
        one_rows: &[usize],
        notes: &mut Notes,
    ) -> Result<(), QueryError> {
        self.matched.reset(self.many.steps());
        let absent = |tile: &Tile, rows: &[usize], step: usize| !rows.iter().any(|&r| tile.row(r).has(step));
        let (one_tile, many_tile) = (self.one, self.many);
        let fill = self.matching.fill;
        // As Prometheus has it: `fill_left` stands in for the "many" side, also with `group_right`.
        let (fill_many, fill_one) = (fill.left, fill.right);
        for &many in many_rows {
            for &one in one_rows {
                self.pair(group, Side::Row(many), Side::Row(one), |_| true, notes)?;
            }
            if let Some(value) = fill_one {
                let missing = |step| absent(one_tile, one_rows, step);
                self.pair(group, Side::Row(many), Side::Fill(value), missing, notes)?;
            }
        }
        if let Some(value) = fill_many {
            for &one in one_rows {
                let missing = |step| absent(many_tile, many_rows, step);
                self.pair(group, Side::Fill(value), Side::Row(one), missing, notes)?;
            }
        }
        Ok(())
    }

    /// Adds one pair's results, at the steps that `at` lets through.
    fn pair(
        &mut self,
        group: usize,
        many: Side,
        one: Side,
        at: impl Fn(usize) -> bool,
        notes: &mut Notes,
    ) -> Result<(), QueryError> {
        match (many, one) {
            (Side::Row(many), Side::Row(one)) if self.is_plain(many, one) => self.compute_plain(many, one)?,
            _ => self.compute(many, one, at, notes)?,
        }
        if !self.column.any() {
            return Ok(());
        }
        let labels = self.labels(many, one);
        match self.out.add(labels, self.column.view())? {
            Ok((_, true)) => self.groups.push(group),
            Ok((_, false)) => {}
            Err(Conflict(row)) if self.groups[row] == group => {
                let text = "multiple matches for labels: grouping labels must ensure unique matches";
                return Err(QueryError::Execution(text.to_owned()));
            }
            Err(_) => return Err(same_labelset()),
        }
        Ok(())
    }

    /// Fills the column with one pair's results.
    /// Two series, as numbers to be computed with: they meet at every step that both have.
    fn is_plain(&self, many: usize, one: usize) -> bool {
        let no_histograms = |tile: &Tile, row| tile.row(row).histograms.is_empty();
        self.operator.is_arithmetic() && no_histograms(self.many, many) && no_histograms(self.one, one)
    }

    /// All their steps at once.
    fn compute_plain(&mut self, many: usize, one: usize) -> Result<(), QueryError> {
        let (many, one) = (self.many.row(many), self.one.row(one));
        self.column.reset(self.many.steps());
        let once = self.matching.card == Cardinality::OneToOne;
        let words = self.column.present.words_mut().iter_mut().zip(self.matched.words_mut());
        for ((out, matched), (many, one)) in words.zip(many.present.iter().zip(one.present)) {
            *out = many & one;
            if once && *matched & *out != 0 {
                return Err(several_matches());
            }
            *matched |= *out;
        }
        let swapped = self.matching.card == Cardinality::OneToMany;
        let (left, right) = if swapped { (one, many) } else { (many, one) };
        scalar::arithmetic_columns(self.operator.op, left.values, right.values, &mut self.column);
        Ok(())
    }

    fn compute(
        &mut self,
        many: Side,
        one: Side,
        at: impl Fn(usize) -> bool,
        notes: &mut Notes,
    ) -> Result<(), QueryError> {
        let steps = self.many.steps();
        let swapped = self.matching.card == Cardinality::OneToMany;
        self.column.reset(steps);
        for step in 0..steps {
            let (m, o) = (many.cell(self.many, step), one.cell(self.one, step));
            if matches!(m, Cell::Nothing) || matches!(o, Cell::Nothing) || !at(step) {
                continue;
            }
            if self.matching.card == Cardinality::OneToOne {
                if self.matched.get(step) {
                    return Err(several_matches());
                }
                self.matched.set(step);
            }
            let (left, right) = if swapped { (o, m) } else { (m, o) };
            let outcome = self.operator.cells(left, right, notes);
            self.operator.write(&mut self.column, step, outcome);
        }
        Ok(())
    }

    fn labels(&self, many: Side, one: Side) -> RowLabels {
        let one = match one {
            Side::Row(row) => self.one.labels(row).labels.clone(),
            Side::Fill(_) => Labels::empty(),
        };
        let many = match many {
            Side::Row(row) => self.many.labels(row).clone(),
            // A series that is not there has the labels by which it would match.
            Side::Fill(_) => RowLabels { labels: signature(&one, self.matching), drop_name: false },
        };
        let delayed = self.operator.delayed_name_removal;
        let mut labels = many.labels;
        let drops_name = !self.operator.op.is_comparison() || self.operator.return_bool;
        if drops_name && !delayed {
            labels = without_name(&labels);
        }
        if self.matching.card == Cardinality::OneToOne {
            let listed = |name: &str| self.matching.labels.iter().any(|l| l == name);
            labels =
                labels.filter(|name| listed(name) == self.matching.on || (delayed && name == METRIC_NAME));
        }
        if !self.matching.include.is_empty() {
            let mut builder = LabelsBuilder::from(&labels);
            for name in &self.matching.include {
                builder.set(name, one.value(name));
            }
            labels = builder.build();
        }
        RowLabels { labels, drop_name: delayed && (drops_name || many.drop_name) }
    }
}

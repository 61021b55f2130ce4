//! Evaluates what is left of a plan over the merged partials: whole tiles in, whole tiles out.

use super::aggregate::{Accumulator, FoldOp, ranked};
use super::binary::{Operator, matching, scalar, sets};
use super::call::{date, info, label, math, order, quantile};
use super::labels::{TYPE, Uniter, refuse_equal, relabelled, same_labelset};
use super::limits::Limits;
use super::merge::Merged;
use super::meter::Meter;
use super::notes::{Note, Notes};
use super::scan::{SampleSeries, note_result};
use super::subquery;
use super::tile::{RowLabels, StepColumn, Tile};
use super::window::part::reached;
use super::window::{Param, Scratch};
use crate::explain::{Cost, NodeCosts};
use crate::functions::{LabelKind, MathKind, SortKind, TimeKind};
use crate::plan::grid::Steps;
use crate::plan::{AggregateNode, BinaryNode, InfoNode, Node, Plan, RangeNode, RangeSource};
use crate::query::QueryError;
use crate::syntax::PositionRange;
use crate::syntax::ast::AggregateOp;
use hearth_model::label::METRIC_NAME;
use hearth_model::{Columns, Labels};
use std::sync::Arc;

/// What a node evaluates to, at all its steps.
#[derive(Debug)]
pub enum Operand {
    Scalar(Vec<f64>),
    Text(String),
    /// Boxed: operands lie on the stack of every level of the tree.
    Tile(Box<Tile>),
}

pub struct Finish<'a> {
    pub plan: &'a Plan,
    pub merged: Vec<Merged>,
    /// What there was to remark on each fragment.
    pub found: Vec<Notes>,
    /// How often each of them will still be asked for: the last one gets it, the others a copy.
    pub uses_left: Vec<usize>,
    pub limits: Arc<Limits>,
    pub notes: Notes,
    /// There when the query is measured.
    pub costs: Option<NodeCosts>,
}

impl Finish<'_> {
    fn delayed(&self) -> bool {
        self.plan.delayed_name_removal
    }

    pub fn eval(&mut self, node: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let outcome = match self.costs {
            None => self.operand(node, steps),
            Some(_) => self.measured(node, steps),
        };
        outcome.map_err(|error| error.at(|| node.describe()))
    }

    #[inline(never)]
    fn measured(&mut self, node: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let meter = Meter::start();
        let operand = self.operand(node, steps)?;
        let spent = meter.stop();
        let (series, memory_bytes) = match &operand {
            Operand::Tile(tile) => (tile.len(), tile.size_bytes()),
            Operand::Scalar(values) => (1, size_of_val(&values[..])),
            Operand::Text(text) => (1, text.len()),
        };
        let (series, memory_bytes) = (series as u64, memory_bytes as u64);
        let cost = Cost { series, memory_bytes, wall: spent.wall, cpu: spent.cpu, ..Cost::default() };
        if let Some(costs) = &mut self.costs {
            costs.add(node, &cost);
        }
        Ok(operand)
    }

    /// Every arm is one call, here and in [`Finish::vector`]: a tree as deep as may be runs on a thread of
    /// usual size only while the frames on the way down stay small.
    fn operand(&mut self, node: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        self.limits.check()?;
        // Scalars live too briefly to be charged each; that there would be room is checked.
        drop(self.limits.context().reserve(steps.count * size_of::<f64>())?);
        match node {
            Node::Number(value) => Ok(Operand::Scalar(vec![*value; steps.count])),
            Node::Text(text) => Ok(Operand::Text(text.clone())),
            Node::Time => Ok(Operand::Scalar(times(steps))),
            Node::Invariant(inner) => self.invariant(inner, steps),
            Node::Negate(inner) => self.negate(inner, steps),
            Node::Extreme { max, left, right } => self.extreme(*max, left, right, steps),
            Node::ToScalar(inner) => self.scalar_of(inner, steps),
            Node::Binary(binary) => self.binary(binary, steps),
            vector => self.vector(vector, steps),
        }
    }

    /// Nodes that always give a vector.
    fn vector(&mut self, node: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        match node {
            Node::Fragment(fragment) => self.fragment(*fragment),
            Node::Range(range) => self.range(range, steps),
            Node::Math { kind, vector, params, .. } => self.math(*kind, vector, params, steps),
            Node::DatePart { kind, vector } => self.date_part(*kind, vector.as_deref(), steps),
            Node::Timestamp(inner) => self.timestamp(inner, steps),
            Node::NoStarts(inner) => self.no_starts(inner, steps),
            Node::ToVector(inner) => self.vector_of_scalar(inner, steps),
            Node::Label { kind, vector, texts } => self.relabel(*kind, vector, texts, steps),
            Node::Sort { kind, vector, labels, position } => {
                self.sort(*kind, vector, labels, *position, steps)
            }
            Node::Histogram { .. } => self.histogram(node, steps),
            Node::Absent { vector, labels } => self.absent(vector, labels, steps),
            Node::Info(node) => self.info(node, steps),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, steps),
            other => unreachable!("{other:?} gives no vector"),
        }
    }

    fn negate(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        match self.eval(inner, steps)? {
            Operand::Scalar(values) => Ok(Operand::Scalar(values.into_iter().map(|v| -v).collect())),
            Operand::Tile(tile) => {
                // Series that become equal are never one here, though they may have no step in common.
                let mut out = Tile::new(tile.steps(), tile.limits());
                let mut column = StepColumn::default();
                for row in 0..tile.len() {
                    column.copy_from(tile.row(row));
                    math::negate(&mut column);
                    out.push(tile.labels(row).dropping_name(self.delayed()), column.view())?;
                }
                refuse_equal(&out)?;
                Ok(vector_of(out))
            }
            text @ Operand::Text(_) => Ok(text),
        }
    }

    fn extreme(
        &mut self,
        max: bool,
        left: &Node,
        right: &Node,
        steps: &Steps,
    ) -> Result<Operand, QueryError> {
        let (left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
        let choose = if max { math::max } else { math::min };
        Ok(Operand::Scalar(left.into_iter().zip(right).map(|(l, r)| choose(l, r)).collect()))
    }

    fn scalar_of(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        Ok(Operand::Scalar(to_scalar(&*self.tile(inner, steps)?)))
    }

    fn fragment(&mut self, fragment: usize) -> Result<Operand, QueryError> {
        // What was remarked on the way is remarked now: a note belongs to where it was given last.
        let source = &self.plan.fragments[fragment];
        let found = &self.found[fragment];
        self.notes.merge(
            match source.twins.get((self.plan.uses[fragment] - self.uses_left[fragment]).wrapping_sub(1)) {
                Some(twin) => found.moved(&source.positions(), twin),
                None => found.clone(),
            },
        );
        self.uses_left[fragment] -= 1;
        let last = self.uses_left[fragment] == 0;
        match &mut self.merged[fragment] {
            Merged::Tile(tile) if last => {
                let empty = Tile::new(tile.steps(), &self.limits);
                Ok(vector_of(std::mem::replace(tile, empty)))
            }
            Merged::Tile(tile) => Ok(vector_of(tile.share()?)),
            Merged::Samples { .. } => unreachable!("samples are only asked for by range functions"),
            Merged::SameLabelset => Err(same_labelset()),
        }
    }

    fn math(
        &mut self,
        kind: MathKind,
        vector: &Node,
        params: &[Node],
        steps: &Steps,
    ) -> Result<Operand, QueryError> {
        let tile = self.tile(vector, steps)?;
        let params = self.params(params, steps)?;
        self.map_rows(&tile, |column| math::column(kind, &params, column)).map(vector_of)
    }

    fn date_part(
        &mut self,
        kind: TimeKind,
        vector: Option<&Node>,
        steps: &Steps,
    ) -> Result<Operand, QueryError> {
        let tile = match vector {
            Some(vector) => self.tile(vector, steps)?,
            None => Box::new(self.one_row(Labels::empty(), &times(steps))?),
        };
        let part = |column: &mut StepColumn| {
            column.histograms.clear();
            column.values.iter_mut().for_each(|v| *v = date::part(kind, *v));
        };
        self.map_rows(&tile, part).map(vector_of)
    }

    fn timestamp(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let tile = self.tile(inner, steps)?;
        let stamp = |column: &mut StepColumn| {
            let histograms = std::mem::take(&mut column.histograms);
            for step in 0..steps.count {
                if column.present.get(step) || histograms.get(step).is_some_and(Option::is_some) {
                    column.set(step, steps.time_ms(step) as f64 / 1000.0);
                }
            }
        };
        self.map_rows(&tile, stamp).map(vector_of)
    }

    fn no_starts(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let tile = self.tile(inner, steps)?;
        Ok(vector_of(Tile::new(tile.steps(), &self.limits)))
    }

    fn vector_of_scalar(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let values = self.scalar(inner, steps)?;
        self.one_row(Labels::empty(), &values).map(vector_of)
    }

    fn relabel(
        &mut self,
        kind: LabelKind,
        vector: &Node,
        texts: &[String],
        steps: &Steps,
    ) -> Result<Operand, QueryError> {
        let tile = self.tile(vector, steps)?;
        label::evaluate(kind, *tile, texts).map(vector_of)
    }

    fn sort(
        &mut self,
        kind: SortKind,
        vector: &Node,
        labels: &[String],
        position: PositionRange,
        steps: &Steps,
    ) -> Result<Operand, QueryError> {
        let mut tile = *self.tile(vector, steps)?;
        if matches!(kind, SortKind::Ascending | SortKind::Descending) {
            tile = order::floats_only(tile)?;
        }
        if self.plan.instant && steps.count == 1 {
            return order::sort(kind, tile, labels).map(vector_of);
        }
        self.notes.add(position, Note::SortInRangeQuery);
        Ok(vector_of(tile))
    }

    fn histogram(&mut self, node: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        let Node::Histogram { kind, vector, params, label, positions } = node else {
            unreachable!("only called for histogram functions")
        };
        let tile = self.tile(vector, steps)?;
        let params = self.params(params, steps)?;
        let call = quantile::HistogramCall { kind: *kind, steps, params: &params, label, positions };
        quantile::evaluate(&call, &tile, self.delayed(), &mut self.notes).map(vector_of)
    }

    fn info(&mut self, node: &InfoNode, steps: &Steps) -> Result<Operand, QueryError> {
        let base = self.tile(&node.base, steps)?;
        let Operand::Tile(seen) = self.fragment(node.fragment)? else {
            unreachable!("a fragment gives a tile")
        };
        info::evaluate(node, &base, &seen).map(vector_of)
    }

    fn tile(&mut self, node: &Node, steps: &Steps) -> Result<Box<Tile>, QueryError> {
        match self.eval(node, steps)? {
            Operand::Tile(tile) => Ok(tile),
            other => unreachable!("the checker lets only vectors through, not {other:?}"),
        }
    }

    fn scalar(&mut self, node: &Node, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.eval(node, steps)? {
            Operand::Scalar(values) => Ok(values),
            other => unreachable!("the checker lets only scalars through, not {other:?}"),
        }
    }

    fn param(&mut self, node: &Node, steps: &Steps) -> Result<Param, QueryError> {
        match node {
            Node::Number(value) => Ok(Param::Constant(*value)),
            other => Ok(Param::PerStep(self.scalar(other, steps)?.into())),
        }
    }

    fn params(&mut self, nodes: &[Node], steps: &Steps) -> Result<Vec<Param>, QueryError> {
        nodes.iter().map(|node| self.param(node, steps)).collect()
    }

    /// Evaluates once and repeats the result.
    fn invariant(&mut self, inner: &Node, steps: &Steps) -> Result<Operand, QueryError> {
        Ok(match self.eval(inner, &Steps::once(steps.start_ms))? {
            Operand::Scalar(values) => Operand::Scalar(vec![values[0]; steps.count]),
            text @ Operand::Text(_) => text,
            Operand::Tile(tile) => {
                let mut out = Tile::new(steps.count, &self.limits);
                let mut column = StepColumn::default();
                for row in 0..tile.len() {
                    column.reset(steps.count);
                    let input = tile.row(row);
                    for step in 0..steps.count {
                        if input.has_float(0) {
                            column.set(step, input.values[0]);
                        } else if let Some(histogram) = input.histogram(0) {
                            column.set_histogram(step, histogram.clone());
                        }
                    }
                    out.push(tile.labels(row).clone(), column.view())?;
                }
                vector_of(out)
            }
        })
    }

    fn one_row(&self, labels: Labels, values: &[f64]) -> Result<Tile, QueryError> {
        let mut column = StepColumn::default();
        column.reset(values.len());
        values.iter().enumerate().for_each(|(step, &value)| column.set(step, value));
        let mut tile = Tile::new(values.len(), &self.limits);
        tile.push(RowLabels { labels, drop_name: false }, column.view())?;
        Ok(tile)
    }

    /// Changes every series' values; the results lose their name.
    fn map_rows(&self, tile: &Tile, mut f: impl FnMut(&mut StepColumn)) -> Result<Tile, QueryError> {
        let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
        let mut column = StepColumn::default();
        for row in 0..tile.len() {
            column.copy_from(tile.row(row));
            f(&mut column);
            if column.any() {
                out.add_or_fail(tile.labels(row).dropping_name(self.delayed()), column.view())?;
            }
        }
        Ok(out.finish())
    }

    fn absent(&mut self, vector: &Node, labels: &Labels, steps: &Steps) -> Result<Operand, QueryError> {
        let tile = self.tile(vector, steps)?;
        let mut column = StepColumn::default();
        column.reset(tile.steps());
        for step in 0..tile.steps() {
            if !(0..tile.len()).any(|row| tile.row(row).has(step)) {
                column.set(step, 1.0);
            }
        }
        let mut out = Tile::new(tile.steps(), tile.limits());
        if column.any() {
            out.push(RowLabels { labels: labels.clone(), drop_name: false }, column.view())?;
        }
        Ok(vector_of(out))
    }

    fn range(&mut self, node: &RangeNode, steps: &Steps) -> Result<Operand, QueryError> {
        let mut call = node.call.clone();
        call.params = self.params(&node.params, steps)?;
        let (mut scratch, mut column) = (Scratch::default(), StepColumn::default());
        let mut out = Tile::new(steps.count, &self.limits);
        let (mut some, mut result) = (Columns::default(), StepColumn::default());
        let (mut notes, limits) = (Notes::default(), self.limits.clone());
        let delayed = self.delayed();
        let mut one = |labels: &RowLabels, columns: &Columns| -> Result<(), QueryError> {
            let metric = labels.labels.value(METRIC_NAME);
            let at_once = call.steps_at_once(columns);
            limits.check()?;
            if at_once >= steps.count {
                scratch.evaluate(&call, columns, metric, &mut column, &mut notes)?;
            } else {
                column.reset(steps.count);
                for from in (0..steps.count).step_by(at_once) {
                    // Whoever asked may give up in the middle of a long series too.
                    limits.check()?;
                    let part = call.part(from, at_once.min(steps.count - from));
                    reached(&part.seen, columns, &mut some);
                    scratch.evaluate(&part, &some, metric, &mut result, &mut notes)?;
                    column.put(from, &result);
                }
            }
            note_result(&call, metric, labels.labels.value(TYPE), &column, &mut notes);
            if column.any() {
                let labels = if node.keeps_name { labels.clone() } else { labels.dropping_name(delayed) };
                out.push(labels, column.view())?;
            }
            Ok(())
        };
        match &node.source {
            RangeSource::Fragment(fragment) => {
                let Merged::Samples { series, .. } = &self.merged[*fragment] else {
                    unreachable!("a range function reads samples")
                };
                series.iter().try_for_each(|s| one(&s.labels, &s.columns))?;
            }
            RangeSource::Subquery(inner) => {
                let tile = self.tile(&inner.inner, &inner.steps)?;
                let mut columns = Columns::default();
                for row in 0..tile.len() {
                    subquery::columns(&tile, row, &inner.steps, &mut columns);
                    one(tile.labels(row), &columns)?;
                }
            }
        }
        self.notes.merge(notes);
        if !node.keeps_name && !delayed {
            refuse_equal(&out)?;
        }
        Ok(vector_of(out))
    }

    /// A range vector as the result of an instant query: the samples within the one window.
    pub fn samples(&mut self, source: &RangeSource) -> Result<Vec<SampleSeries>, QueryError> {
        let (windows, mut all) = match source {
            RangeSource::Fragment(fragment) => {
                let windows = *self.plan.fragments[*fragment].read.windows();
                let empty = Merged::Samples { series: Vec::new(), held: Vec::new() };
                match std::mem::replace(&mut self.merged[*fragment], empty) {
                    Merged::Samples { series, .. } => (windows, series),
                    Merged::Tile(_) | Merged::SameLabelset => {
                        unreachable!("a range vector is made of samples")
                    }
                }
            }
            RangeSource::Subquery(inner) => {
                let tile = self.tile(&inner.inner, &inner.steps)?;
                let mut all = Vec::with_capacity(tile.len());
                for row in 0..tile.len() {
                    let mut columns = Columns::default();
                    subquery::columns(&tile, row, &inner.steps, &mut columns);
                    all.push(SampleSeries { labels: tile.labels(row).clone(), columns });
                }
                (inner.windows, all)
            }
        };
        let range = windows.covers();
        for series in &mut all {
            let columns = &mut series.columns;
            let keep = |(t, v): &(&i64, &f64)| range.contains(**t) && !hearth_model::is_stale(**v);
            let kept = columns.times.iter().zip(&columns.values).filter(keep);
            (columns.times, columns.values) = kept.map(|(&t, &v)| (t, v)).unzip();
            columns.histograms.retain(|(t, h)| range.contains(*t) && !h.is_stale());
        }
        all.retain(|s| !s.columns.times.is_empty() || !s.columns.histograms.is_empty());
        Ok(all)
    }

    fn aggregate(&mut self, node: &AggregateNode, steps: &Steps) -> Result<Operand, QueryError> {
        let tile = self.tile(&node.input, steps)?;
        if let Some(op) = FoldOp::of(node.op) {
            let mut groups = ranked::Groups::of(&tile, node);
            groups.sort_rows(&tile);
            let mut accumulator = Accumulator::new(op, tile.steps(), &self.limits);
            accumulator.reach(groups.rows.len())?;
            for (group, rows) in groups.rows.iter().enumerate() {
                for &row in rows {
                    accumulator.add(group, tile.row(row))?;
                }
            }
            // Of all the series Prometheus names the one that is as far down the list as the group is.
            let metric = |group: usize| tile.labels(group).labels.value(METRIC_NAME).to_owned();
            let notes = &mut self.notes;
            return accumulator.finish(groups.labels, node.input_position, metric, notes).map(vector_of);
        }
        let Some(param) = &node.param else { unreachable!("{} has a parameter", node.op.name()) };
        if node.op == AggregateOp::CountValues {
            let Operand::Text(label) = self.eval(param, steps)? else {
                unreachable!("count_values has a label name")
            };
            return ranked::count_values(node, &tile, &label).map(vector_of);
        }
        let param = self.param(param, steps)?;
        let instant = self.plan.instant && steps.count == 1;
        ranked::evaluate(node, &tile, &param, instant, &mut self.notes).map(vector_of)
    }

    fn binary(&mut self, node: &BinaryNode, steps: &Steps) -> Result<Operand, QueryError> {
        let left = self.eval(&node.left, steps)?;
        let right = self.eval(&node.right, steps)?;
        self.apply(node, left, right)
    }

    fn apply(&mut self, node: &BinaryNode, left: Operand, right: Operand) -> Result<Operand, QueryError> {
        let operator = Operator {
            op: node.op,
            return_bool: node.return_bool,
            position: node.position,
            delayed_name_removal: self.delayed(),
        };
        match (left, right) {
            (Operand::Scalar(left), Operand::Scalar(right)) => {
                let pairs = left.iter().zip(&right);
                Ok(Operand::Scalar(pairs.map(|(l, r)| scalar::of_scalars(node.op, *l, *r)).collect()))
            }
            (Operand::Tile(tile), Operand::Scalar(scalar)) => {
                operator.with_scalar(&tile, &scalar, false, &mut self.notes).map(vector_of)
            }
            (Operand::Scalar(scalar), Operand::Tile(tile)) => {
                operator.with_scalar(&tile, &scalar, true, &mut self.notes).map(vector_of)
            }
            (Operand::Tile(left), Operand::Tile(right)) => {
                let Some(how) = &node.matching else { unreachable!("vectors come with a matching") };
                if node.op.is_set() {
                    sets::combine(node.op, &left, &right, how).map(vector_of)
                } else {
                    matching::combine(&operator, &left, &right, how, &mut self.notes).map(vector_of)
                }
            }
            (left, right) => unreachable!("the checker lets {left:?} {right:?} not through"),
        }
    }
}

fn vector_of(tile: Tile) -> Operand {
    Operand::Tile(Box::new(tile))
}

fn times(steps: &Steps) -> Vec<f64> {
    (0..steps.count).map(|step| steps.time_ms(step) as f64 / 1000.0).collect()
}

/// The value where there is exactly one float, NaN elsewhere.
fn to_scalar(tile: &Tile) -> Vec<f64> {
    let mut out = vec![f64::NAN; tile.steps()];
    let mut found = vec![false; tile.steps()];
    for row in 0..tile.len() {
        let row = tile.row(row);
        for step in (0..tile.steps()).filter(|&step| row.has_float(step)) {
            out[step] = if found[step] { f64::NAN } else { row.values[step] };
            found[step] = true;
        }
    }
    out
}

/// Takes away the names that were kept to the end.
pub fn without_delayed_names(tile: Tile) -> Result<Tile, QueryError> {
    if !tile.all_labels().iter().any(|row| row.drop_name) {
        return Ok(tile);
    }
    relabelled(tile, |row| Ok(if row.drop_name { row.dropping_name(false) } else { row.clone() }))
}

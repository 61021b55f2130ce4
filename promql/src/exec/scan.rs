//! What runs on each shard: select, decode one series at a time, evaluate all its steps at once, fold or
//! keep. The only place of the executor that awaits.

use super::aggregate::Accumulator;
use super::call::math;
use super::histogram::reset;
use super::labels::{Identity, Seen, result_labels};
use super::limits::{Held, Limits};
use super::meter::{Spent, measured};
use super::notes::{Note, Notes};
use super::number::general;
use super::tile::{RowLabels, StepColumn, Tile};
use super::window::part::reached;
use super::window::{self, Bounds, RangeCall, Scratch};
use crate::explain::Cost;
use crate::functions::RangeKind;
use crate::plan::grid::Steps;
use crate::plan::{Fragment, Read, RowOp};
use crate::query::QueryError;
use hearth_model::{Columns, Labels, Projection, Select, SeriesCursor, ShardView};
use std::sync::Arc;

/// All fragments of a query, for one shard after the other.
#[derive(Debug)]
pub struct Job {
    pub fragments: Arc<[Fragment]>,
    pub limits: Arc<Limits>,
    pub delayed_name_removal: bool,
    pub use_start_timestamps: bool,
    /// Measures what each fragment takes.
    pub measured: bool,
    /// Counts looks at samples for each of these steps.
    pub per_step: Option<Steps>,
}

/// A series with its samples, for what cannot be computed series by series.
#[derive(Debug)]
pub struct SampleSeries {
    pub labels: RowLabels,
    pub columns: Columns,
}

/// One fragment's result on one shard.
#[derive(Debug)]
pub enum Partial {
    Tile(Tile),
    Fold {
        accumulator: Accumulator,
        labels: Vec<RowLabels>,
        /// Where names were lost, what each series is without its name.
        nameless: Option<(Vec<Identity>, Held)>,
    },
    Samples {
        series: Vec<SampleSeries>,
        held: Held,
    },
}

impl Partial {
    /// About what its merge has to go through.
    fn size_bytes(&self) -> usize {
        match self {
            Partial::Tile(tile) => tile.size_bytes(),
            Partial::Fold { accumulator, nameless, .. } => {
                accumulator.size_bytes() + nameless.as_ref().map_or(0, |(_, held)| held.bytes())
            }
            Partial::Samples { held, .. } => held.bytes(),
        }
    }
}

impl ShardAnswer {
    pub fn size_bytes(&self) -> usize {
        self.partials.iter().map(Partial::size_bytes).sum()
    }
}

/// What a shard sends back through the door.
#[derive(Debug)]
pub struct ShardAnswer {
    pub partials: Vec<Partial>,
    /// By fragment, as the partials are.
    pub notes: Vec<Notes>,
    /// By fragment; the times only where the job is measured.
    pub costs: Vec<Cost>,
    /// Samples looked at by step of the query, where the job counts them.
    pub looks_per_step: Vec<u64>,
}

/// Runs every fragment on one shard.
pub async fn run<V: ShardView>(view: V, job: Arc<Job>) -> Result<ShardAnswer, QueryError> {
    let mut answer = ShardAnswer {
        partials: Vec::new(),
        notes: Vec::new(),
        costs: Vec::new(),
        looks_per_step: vec![0; job.per_step.map_or(0, |steps| steps.count)],
    };
    for fragment in job.fragments.iter() {
        let work = run_fragment(&view, fragment, &job, &mut answer);
        let (outcome, spent) = match job.measured {
            true => measured(work).await,
            false => (work.await, Spent::default()),
        };
        outcome.map_err(|error| error.at(|| fragment.to_string()))?;
        if let Some(cost) = answer.costs.last_mut() {
            (cost.wall, cost.cpu) = (spent.wall, spent.cpu);
        }
    }
    Ok(answer)
}

async fn run_fragment<V: ShardView>(
    view: &V,
    fragment: &Fragment,
    job: &Job,
    answer: &mut ShardAnswer,
) -> Result<(), QueryError> {
    let mut scan = Scan::new(fragment, job)?;
    scan.looks_per_step = std::mem::take(&mut answer.looks_per_step);
    let select = Select {
        matchers: fragment.matchers.clone(),
        range: fragment.read.windows().covers(),
        projection: match &fragment.fold {
            Some(fold) => fold.projection.clone(),
            None => Projection::All,
        },
    };
    let mut cursor = view.select(select).await?;
    scan.make_room(cursor.series_count());
    let mut columns = Columns::default();
    while cursor.next(&mut columns).await? {
        scan.prepare(&mut columns)?;
        scan.look(&cursor);
        for part in scan.parts(&columns) {
            // Never between two short series: the cursor gives way there by itself.
            if part.from > 0 {
                view.pause().await?;
            }
            scan.evaluate(&part, &mut columns)?;
        }
        scan.keep(&mut columns, |group| cursor.group_labels(group))?;
    }
    let partial = scan.finish(|group| cursor.group_labels(group), answer)?;
    answer.partials.push(partial);
    Ok(())
}

/// One fragment on its way through a shard's series. Synchronous.
struct Scan<'a> {
    fragment: &'a Fragment,
    job: &'a Job,
    scratch: Scratch,
    column: StepColumn,
    /// For series that are evaluated part by part: the samples and the result of one.
    reached: Columns,
    part: StepColumn,
    into: Into,
    /// Groups of a fold so far.
    groups: usize,
    /// Of folds that lose names.
    nameless: Option<Nameless>,
    seen: Seen,
    notes: Notes,
    read: u64,
    looks: u64,
    looks_per_step: Vec<u64>,
    /// For the buffers above: they grow with the steps, not with the series.
    _buffers: Held,
}

/// Some of a fragment's steps.
struct Part {
    from: usize,
    count: usize,
    all: usize,
}

/// Where names that differ are dropped: what each series is without its name.
struct Nameless {
    identities: Vec<Identity>,
    held: Held,
}

enum Into {
    Tile(Tile),
    Fold(Accumulator),
    Samples(Vec<SampleSeries>, Held),
}

/// What the buffers of a scan take for each step: values, presence, two bounds, extrapolation.
const BUFFER_BYTES_PER_STEP: usize = 64;

impl<'a> Scan<'a> {
    fn new(fragment: &'a Fragment, job: &'a Job) -> Result<Scan<'a>, QueryError> {
        let steps = fragment.read.windows().count;
        let mut buffers = Held::nothing(&job.limits);
        buffers.grow(steps * BUFFER_BYTES_PER_STEP, 0)?;
        let into = match (&fragment.read, &fragment.fold) {
            (Read::Samples { .. }, _) => Into::Samples(Vec::new(), Held::nothing(&job.limits)),
            (_, Some(fold)) => Into::Fold(Accumulator::new(fold.op, steps, &job.limits)),
            (_, None) => Into::Tile(Tile::new(steps, &job.limits)),
        };
        Ok(Scan {
            fragment,
            job,
            scratch: Scratch::default(),
            column: StepColumn::default(),
            reached: Columns::default(),
            part: StepColumn::default(),
            into,
            groups: 0,
            nameless: fragment
                .fold
                .as_ref()
                .filter(|fold| fold.loses_names)
                .map(|_| Nameless { identities: Vec::new(), held: Held::nothing(&job.limits) }),
            seen: Seen::default(),
            notes: Notes::default(),
            read: 0,
            looks: 0,
            looks_per_step: Vec::new(),
            _buffers: buffers,
        })
    }

    /// About so many series will come.
    fn make_room(&mut self, series: usize) {
        if let Into::Tile(tile) = &mut self.into {
            *tile = Tile::with_room(tile.steps(), series, &self.job.limits);
        }
    }

    fn prepare(&mut self, columns: &mut Columns) -> Result<(), QueryError> {
        if !self.job.use_start_timestamps {
            columns.starts.clear();
            columns.histogram_starts.clear();
        }
        if self.fragment.marks_resets {
            reset::mark(&mut columns.histograms, self.fragment.read.windows());
        }
        let histograms: u64 = columns.histograms.iter().map(|(_, h)| window::histogram_samples(h)).sum();
        self.read += (columns.times.len() + columns.histograms.len()) as u64;
        if self.job.per_step.is_some() {
            self.count_by_step(columns);
        }
        self.job.limits.admits(columns.times.len() as u64 + histograms)
    }

    /// The steps that are evaluated at once.
    fn parts(&self, columns: &Columns) -> impl Iterator<Item = Part> + use<> {
        let all = self.fragment.read.windows().count;
        let at_once = match &self.fragment.read {
            Read::Range(call) => call.steps_at_once(columns),
            Read::Instant { .. } | Read::Samples { .. } => all.max(1),
        };
        (0..all).step_by(at_once).map(move |from| Part { from, count: at_once.min(all - from), all })
    }

    /// Looks at the labels of the series at hand, where anything of them is asked.
    fn look(&mut self, cursor: &impl SeriesCursor) {
        let asks_name = match &self.fragment.read {
            Read::Range(call) => self.fragment.metric.is_none() || call.counter_by_type,
            Read::Instant { .. } | Read::Samples { .. } => false,
        };
        if asks_name || self.nameless.is_some() {
            self.seen.clear();
            cursor.visit_labels(|name, value| self.seen.add(name, value));
        }
    }

    fn evaluate(&mut self, part: &Part, columns: &mut Columns) -> Result<(), QueryError> {
        match &self.fragment.read {
            Read::Samples { .. } => {}
            Read::Instant { windows, value } => {
                let found = window::latest(&mut self.scratch, windows, columns, *value, &mut self.column);
                self.looks += found;
            }
            Read::Range(call) => {
                let metric = self.fragment.metric.as_deref().unwrap_or(&self.seen.metric);
                if part.count == part.all {
                    self.looks +=
                        self.scratch.evaluate(call, columns, metric, &mut self.column, &mut self.notes)?;
                } else {
                    if part.from == 0 {
                        self.column.reset(part.all);
                    }
                    let call = call.part(part.from, part.count);
                    reached(&call.seen, columns, &mut self.reached);
                    let (column, notes) = (&mut self.part, &mut self.notes);
                    self.looks += self.scratch.evaluate(&call, &self.reached, metric, column, notes)?;
                    self.column.put(part.from, column);
                    if part.from + part.count < part.all {
                        return Ok(());
                    }
                }
                note_result(call, metric, &self.seen.kind, &self.column, &mut self.notes);
            }
        }
        Ok(())
    }

    /// Folds or keeps what was evaluated.
    fn keep(&mut self, columns: &mut Columns, labels: impl Fn(u32) -> Labels) -> Result<(), QueryError> {
        if let Read::Samples { .. } = &self.fragment.read {
            return self.keep_samples(columns, labels);
        }
        if !self.column.any() {
            return Ok(());
        }
        for op in &self.fragment.then {
            match op {
                RowOp::Math { kind, params } => math::column(*kind, params, &mut self.column),
                RowOp::Negate => math::negate(&mut self.column),
            }
        }
        match &mut self.into {
            Into::Fold(accumulator) => {
                if let Some(nameless) = &mut self.nameless {
                    nameless.held.grow_small(size_of::<Identity>())?;
                    nameless.identities.push(self.seen.identity());
                }
                let group = columns.group as usize;
                self.groups = self.groups.max(group + 1);
                accumulator.reach(self.groups)?;
                accumulator.add(group, self.column.view())
            }
            Into::Tile(tile) if self.column.any() => {
                let labels = labels(columns.group);
                // Names that differ are dropped only behind the merge, which brings series into order by them.
                let later = self.job.delayed_name_removal || self.fragment.metric.is_none();
                let labels = result_labels(labels, self.fragment.drops_name, later);
                tile.push(labels, self.column.view())
            }
            Into::Tile(_) | Into::Samples(..) => Ok(()),
        }
    }

    /// Looks at samples, by the step of the query that they are for: those of a subquery's steps count for
    /// the first step that sees them, those of a pinned window for the first step.
    fn count_by_step(&mut self, columns: &Columns) {
        let (Some(steps), windows) = (self.job.per_step, self.fragment.read.windows()) else { return };
        let instant = matches!(self.fragment.read, Read::Instant { .. });
        let mut bounds = Bounds::default();
        bounds.fill(windows, columns.times.len(), |i| columns.times[i]);
        let mut histograms = Bounds::default();
        histograms.fill(windows, columns.histograms.len(), |i| columns.histograms[i].0);
        for step in 0..windows.count {
            let live = |i: &usize| !hearth_model::is_stale(columns.values[*i]);
            let (floats, of_histograms) = (bounds.window(step), histograms.window(step));
            let weight = |i: usize| window::histogram_samples(&columns.histograms[i].1);
            let looks = match instant {
                false => floats.filter(live).count() as u64 + of_histograms.map(weight).sum::<u64>(),
                true => {
                    let float = floats.last().map(|i| (columns.times[i], u64::from(live(&i))));
                    let histogram = of_histograms.last().map(|i| (columns.histograms[i].0, weight(i)));
                    float.max(histogram).map_or(0, |(_, looks)| looks)
                }
            };
            let place = match windows.count == steps.count {
                true => step,
                false => steps.first_at_or_after(windows.end_ms(step)),
            };
            if let Some(count) = self.looks_per_step.get_mut(place) {
                *count += looks;
            }
        }
    }

    fn keep_samples(
        &mut self,
        columns: &mut Columns,
        labels: impl Fn(u32) -> Labels,
    ) -> Result<(), QueryError> {
        let Into::Samples(series, held) = &mut self.into else { return Ok(()) };
        let histograms: usize = columns.histograms.iter().map(|(_, h)| h.size_bytes()).sum();
        let samples = columns.times.len() + columns.histograms.len();
        held.grow(columns.times.len() * 16 + histograms + size_of::<SampleSeries>(), samples as u64)?;
        self.looks += samples as u64;
        let labels = RowLabels { labels: labels(columns.group), drop_name: false };
        // Each shard counts its lists of times by itself, and the finish sees the series of all shards.
        let columns = Columns { times_id: 0, ..std::mem::take(columns) };
        series.push(SampleSeries { labels, columns });
        Ok(())
    }

    fn finish(self, labels: impl Fn(u32) -> Labels, answer: &mut ShardAnswer) -> Result<Partial, QueryError> {
        answer.notes.push(self.notes);
        answer.looks_per_step = self.looks_per_step;
        let (series, memory_bytes) = match &self.into {
            Into::Tile(tile) => (tile.len(), tile.size_bytes()),
            Into::Samples(series, held) => (series.len(), held.bytes()),
            Into::Fold(accumulator) => (accumulator.groups(), accumulator.size_bytes()),
        };
        answer.costs.push(Cost {
            series: series as u64,
            samples_read: self.read,
            samples_looked_at: self.looks,
            memory_bytes: memory_bytes as u64,
            ..Cost::default()
        });
        Ok(match self.into {
            Into::Tile(tile) => Partial::Tile(tile),
            Into::Samples(series, held) => Partial::Samples { series, held },
            Into::Fold(accumulator) => {
                let labels = (0..self.groups).map(|group| labels(group as u32));
                let labels = labels.map(|labels| RowLabels { labels, drop_name: false }).collect();
                let nameless = self.nameless.map(|nameless| (nameless.identities, nameless.held));
                Partial::Fold { accumulator, labels, nameless }
            }
        })
    }
}

/// What the result of a range function gives reason to remark.
pub fn note_result(call: &RangeCall, metric: &str, kind: &str, out: &StepColumn, notes: &mut Notes) {
    if call.wants_counter() && !metric.is_empty() && out.present.any() {
        let named = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
        let metric = || metric.to_owned();
        if call.counter_by_type && !matches!(kind, "counter" | "histogram") {
            let note = Note::PossibleNonCounterLabel { metric: metric(), kind: kind.to_owned() };
            notes.add(call.position, note);
        } else if !call.counter_by_type && !named {
            notes.add(call.position, Note::PossibleNonCounter { metric: metric() });
        }
    }
    if call.kind == RangeKind::Quantile {
        for step in (0..call.windows.count).filter(|&step| out.present.get(step)) {
            let q = call.params[0].at(step);
            if !(0.0..=1.0).contains(&q) {
                notes.add(call.param_positions[0], Note::InvalidQuantile(general(q)));
            }
        }
    }
}

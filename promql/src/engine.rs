//! The engine: [`Query`] over a store. Takes a request through its stations (a turn, parse, plan, scatter,
//! merge, finish) and keeps the figures that `/metrics` shows.

mod cached;
mod explained;

use crate::active::{ActiveQueries, ActiveQuery, QueryKind, Registration};
use crate::cache::{Cache, CacheFigures};
use crate::exec::finish::{Finish, Operand, without_delayed_names};
use crate::exec::labels::same_labelset;
use crate::exec::limits::{Limits, QUEUE};
use crate::exec::merge::{Merged, merge};
use crate::exec::notes::Notes;
use crate::exec::scan::{self, Job, SampleSeries, ShardAnswer};
use crate::exec::tile::{Cell, Tile};
use crate::explain::{Asked, Cost, Explained, NodeCosts};
use crate::gate::Gate;
use crate::missing;
use crate::plan::grid::Steps;
use crate::plan::lower::{Surroundings, orders_result};
use crate::plan::{Node, Plan, split};
use crate::query::{
    Answer, InstantRequest, MatrixSeries, Point, Query, QueryAdmin, QueryError, QueryStats, RangeRequest,
    RequestOptions, Value, VectorElement,
};
use crate::syntax::ast::ValueType;
use crate::syntax::{self, Expr, ParseOptions, QueryTimes};
use cached::Run;
use hearth_model::store::BoxFuture;
use hearth_model::{Sample, Scatter};
use std::sync::Arc;
use std::time::Instant;

/// Work beyond these asks for room before it begins: the text to parse, the values that its parts may compute (each at
/// each step), and what the shards send or the cache keeps.
const LONG_TEXT_BYTES: usize = 16 << 10;
const MANY_VALUES: usize = 1 << 18;
const LARGE_ANSWER_BYTES: usize = 512 << 10;

/// Whether a query computes little beside what the shards compute for it.
fn is_short(expr: &Expr, steps: usize) -> bool {
    let (mut parts, mut rest) = (0, vec![expr]);
    while let Some(expr) = rest.pop() {
        // Its steps are its own, and may be many more.
        if matches!(expr, Expr::Subquery(_)) {
            return false;
        }
        parts += 1;
        rest.extend(expr.children());
    }
    parts * steps <= MANY_VALUES
}

/// What an operator can set. Defaults are Prometheus'.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// `--query.lookback-delta`
    pub lookback_ms: i64,
    /// `--query.max-samples`
    pub max_samples: u64,
    /// `--query.max-concurrency`
    pub max_concurrency: usize,
    /// The step of subqueries that name none: the global evaluation interval.
    pub default_subquery_step_ms: i64,
    /// Which parts of the language are enabled.
    pub parse: ParseOptions,
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `type-and-unit-labels`: whether something is a counter is told by its `__type__` label, not its name.
    pub type_and_unit_labels: bool,
    /// `use-start-timestamps`: what a store knows of when counts began tells resets. Of no effect over a
    /// store that does not keep it.
    pub use_start_timestamps: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_ms: 5 * 60 * 1000,
            max_samples: 50_000_000,
            max_concurrency: 20,
            default_subquery_step_ms: 60_000,
            parse: ParseOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
        }
    }
}

/// Answers queries from a store.
#[derive(Debug)]
pub struct Engine<S> {
    store: S,
    options: EngineOptions,
    gate: Gate,
    active: ActiveQueries,
    cache: Option<Cache>,
}

/// A request's expression.
struct Parsed {
    expr: Expr,
    /// The result stays in the order that the expression gives it.
    ordered: bool,
}

/// A request, whichever kind.
struct Request {
    text: String,
    steps: Steps,
    times: QueryTimes,
    instant: bool,
    options: RequestOptions,
}

impl Request {
    fn of_range(request: RangeRequest) -> Result<Request, QueryError> {
        let RangeRequest { text, start_ms, end_ms, step_ms, options } = request;
        if step_ms <= 0 {
            let text = "zero or negative query resolution step widths are not accepted";
            return Err(QueryError::BadData(text.to_owned()));
        }
        let steps = Steps::range(start_ms, end_ms, step_ms);
        let times = QueryTimes { start_ms, end_ms, step_ms };
        Ok(Request { text, steps, times, instant: false, options })
    }

    fn registration(&self) -> Registration {
        Registration {
            text: self.text.clone(),
            kind: if self.instant { QueryKind::Instant } else { QueryKind::Range },
            start_ms: self.times.start_ms,
            end_ms: self.times.end_ms,
            step_ms: self.times.step_ms,
            steps: self.steps.count,
            origin: self.options.origin.clone(),
        }
    }
}

impl<S: Scatter> Engine<S> {
    pub fn new(store: S, options: EngineOptions) -> Engine<S> {
        let gate = Gate::new(options.max_concurrency);
        Engine { store, options, gate, active: ActiveQueries::default(), cache: None }
    }

    /// Keeps results of range queries there.
    pub fn with_cache(self, cache: Cache) -> Engine<S> {
        Engine { cache: Some(cache), ..self }
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Running and waiting queries.
    pub fn queries(&self) -> usize {
        self.gate.inside()
    }

    /// The tree of a request, checked, its durations known.
    fn parse(&self, request: &Request) -> Result<Parsed, QueryError> {
        let bad = |error: &dyn std::fmt::Display| QueryError::BadData(error.to_string());
        let mut expr: Expr = syntax::parse(&request.text, &self.options.parse).map_err(|e| bad(&e))?;
        let kind = expr.value_type();
        if !request.instant && !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let text = format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.documented()
            );
            return Err(QueryError::BadData(text));
        }
        syntax::resolve_durations(&mut expr, request.times).map_err(|e| bad(&e))?;
        let ordered = request.instant && orders_result(&expr);
        Ok(Parsed { expr, ordered })
    }

    /// The plan for some of a request's steps.
    fn plan(&self, request: &Request, parsed: &Parsed, steps: Steps) -> Result<Plan, QueryError> {
        let around = Surroundings {
            start_ms: request.times.start_ms,
            end_ms: request.times.end_ms,
            step_ms: request.times.step_ms,
            lookback_ms: request.options.lookback_ms.unwrap_or(self.options.lookback_ms),
            default_subquery_step_ms: self.options.default_subquery_step_ms,
            counter_by_type: self.options.type_and_unit_labels,
            max_steps: self.options.max_samples,
        };
        split::plan(&parsed.expr, steps, request.instant, around, self.options.delayed_name_removal)
    }

    async fn run(&self, request: Request) -> Result<Answer, QueryError> {
        let mut stats = QueryStats::default();
        // First of all: who made a mistake need not wait to be told.
        let context = &request.options.context;
        if request.text.len() > LONG_TEXT_BYTES {
            context.ask_for_room().await;
        }
        let began = Instant::now();
        let parsed = self.parse(&request)?;
        if !is_short(&parsed.expr, request.steps.count) {
            context.ask_for_room().await;
        }
        stats.prepare_time = began.elapsed();
        let arrived = Instant::now();
        let registered = self.active.register(request.registration(), request.options.context.clone());
        let turn = self.gate.enter(&request.options.context).await;
        let _turn = turn.map_err(|why| QueryError::stopped(why, QUEUE))?;
        registered.begins();
        stats.queue_time = arrived.elapsed();
        request.options.context.check()?;
        let limits = Limits::new(request.options.context.clone(), self.options.max_samples);
        let run = Run { request: &request, parsed: &parsed };
        // Before anything is read: what is missing now may be there when the query ends.
        let mut missing = self.store.missing();
        let (mut value, notes) = match self.cacheable(&request, &parsed, true) {
            Some(cacheable) => self.run_cached(cacheable, &run, &limits, &mut stats).await?,
            None => self.evaluate(&run, request.steps, &limits, &mut stats).await?,
        };
        stats.peak_samples = limits.peak_samples();
        let mut warnings = Vec::new();
        // And what was found missing on the way.
        missing.extend(self.store.missing());
        if !missing.is_empty() {
            let plan = self.plan(&request, &parsed, request.steps)?;
            warnings.extend(missing::of_plan(&missing, &plan));
        }
        let (notes, infos) = notes.texts(&request.text);
        warnings.extend(notes);
        if truncate(&mut value, request.options.limit) {
            warnings.push("results truncated due to limit".to_owned());
        }
        Ok(Answer { value, warnings, infos, stats })
    }

    /// Plans and computes some of a request's steps.
    async fn evaluate(
        &self,
        run: &Run<'_>,
        steps: Steps,
        limits: &Arc<Limits>,
        stats: &mut QueryStats,
    ) -> Result<(Value, Notes), QueryError> {
        let began = Instant::now();
        let plan = self.plan(run.request, run.parsed, steps)?;
        stats.prepare_time += began.elapsed();
        self.run_plan(run, &plan, limits, stats, None).await
    }

    /// Computes a plan and brings the result into order.
    async fn run_plan(
        &self,
        run: &Run<'_>,
        plan: &Plan,
        limits: &Arc<Limits>,
        stats: &mut QueryStats,
        mut costs: Option<&mut Costs>,
    ) -> Result<(Value, Notes), QueryError> {
        let began = Instant::now();
        let per_step = run.request.options.stats_per_step;
        let job = Job {
            fragments: plan.fragments.clone(),
            limits: limits.clone(),
            delayed_name_removal: plan.delayed_name_removal,
            use_start_timestamps: self.options.use_start_timestamps,
            measured: costs.is_some(),
            per_step: per_step.then_some(plan.steps),
        };
        let answers = self.scan(job).await?;
        if answers.iter().map(ShardAnswer::size_bytes).sum::<usize>() > LARGE_ANSWER_BYTES {
            limits.context().ask_for_room().await;
        }
        count(&answers, &plan.steps, per_step, stats, costs.as_deref_mut());
        let (merged, found) = merged(plan, answers, limits)?;
        let mut finish = Finish {
            plan,
            merged,
            found,
            uses_left: plan.uses.clone(),
            limits: limits.clone(),
            notes: Notes::default(),
            costs: costs.as_mut().map(|costs| std::mem::take(&mut costs.nodes)),
        };
        let value = finished(plan, &mut finish)?;
        if let (Some(costs), Some(nodes)) = (costs, finish.costs) {
            costs.nodes = nodes;
        }
        stats.eval_time += began.elapsed();
        let began = Instant::now();
        let value = if run.parsed.ordered { value } else { sorted(value) };
        stats.sort_time += began.elapsed();
        Ok((value, finish.notes))
    }

    async fn scan(&self, job: Job) -> Result<Vec<ShardAnswer>, QueryError> {
        if job.fragments.is_empty() {
            return Ok(Vec::new());
        }
        let (context, job) = (job.limits.context().clone(), Arc::new(job));
        let scattered = self.store.scatter(context, move |view| {
            let job = job.clone();
            async move { Ok(scan::run(view, job).await) }
        });
        scattered.await?.into_iter().collect()
    }
}

/// What the parts of a plan cost.
struct Costs {
    fragments: Vec<Cost>,
    nodes: NodeCosts,
}

impl Costs {
    fn of(plan: &Plan) -> Costs {
        Costs { fragments: vec![Cost::default(); plan.fragments.len()], nodes: NodeCosts::default() }
    }
}

/// Adds up what the shards tell of their work.
fn count(
    answers: &[ShardAnswer],
    steps: &Steps,
    per_step: bool,
    stats: &mut QueryStats,
    mut costs: Option<&mut Costs>,
) {
    if per_step && stats.samples_per_step.is_empty() {
        stats.samples_per_step = (0..steps.count).map(|step| (steps.time_ms(step), 0)).collect();
    }
    for answer in answers {
        for (fragment, cost) in answer.costs.iter().enumerate() {
            stats.total_samples += cost.samples_looked_at;
            stats.samples_read += cost.samples_read;
            if let Some(costs) = &mut costs {
                costs.fragments[fragment].add(cost);
            }
        }
        for ((_, total), looks) in stats.samples_per_step.iter_mut().zip(&answer.looks_per_step) {
            *total += looks;
        }
    }
}

/// Every fragment's result over all shards, and what there is to remark on it.
fn merged(
    plan: &Plan,
    answers: Vec<ShardAnswer>,
    limits: &Arc<Limits>,
) -> Result<(Vec<Merged>, Vec<Notes>), QueryError> {
    let mut partials: Vec<(Vec<_>, Notes)> = plan.fragments.iter().map(|_| Default::default()).collect();
    for answer in answers {
        for ((of_fragment, notes), found) in
            partials.iter_mut().zip(answer.partials.into_iter().zip(answer.notes))
        {
            of_fragment.push(found.0);
            notes.merge(found.1);
        }
    }
    let (mut merged, mut found) = (Vec::with_capacity(partials.len()), Vec::new());
    for (fragment, (partials, mut notes)) in plan.fragments.iter().zip(partials) {
        let one = merge(fragment, partials, plan.delayed_name_removal, limits, &mut notes);
        merged.push(match one {
            Err(error) if error == same_labelset() => Merged::SameLabelset,
            one => one.map_err(|error| error.at(|| format!("the merge of {fragment}")))?,
        });
        found.push(notes);
    }
    Ok((merged, found))
}

fn finished(plan: &Plan, finish: &mut Finish<'_>) -> Result<Value, QueryError> {
    if let Node::Samples(source) = &plan.finish {
        return Ok(Value::Matrix(finish.samples(source)?.into_iter().map(matrix_of_samples).collect()));
    }
    let at = plan.steps.start_ms;
    Ok(match finish.eval(&plan.finish, &plan.steps)? {
        Operand::Text(text) => Value::String { timestamp_ms: at, text },
        Operand::Scalar(values) if plan.instant => {
            Value::Scalar(Sample { timestamp_ms: at, value: values[0] })
        }
        Operand::Scalar(values) => {
            let sample = |(step, &value)| Sample { timestamp_ms: plan.steps.time_ms(step), value };
            let floats = values.iter().enumerate().map(sample).collect();
            Value::Matrix(vec![MatrixSeries { floats, ..MatrixSeries::default() }])
        }
        Operand::Tile(tile) => {
            let tile = without_delayed_names(*tile)?;
            if plan.instant { vector_of(&tile, at) } else { matrix_of(&tile, &plan.steps) }
        }
    })
}

fn matrix_of_samples(series: SampleSeries) -> MatrixSeries {
    let columns = series.columns;
    let floats = columns.times.iter().zip(&columns.values);
    MatrixSeries {
        labels: series.labels.labels,
        floats: floats.map(|(&timestamp_ms, &value)| Sample { timestamp_ms, value }).collect(),
        histograms: columns.histograms,
    }
}

fn vector_of(tile: &Tile, timestamp_ms: i64) -> Value {
    let mut out = Vec::with_capacity(tile.len());
    for row in 0..tile.len() {
        let point = match tile.row(row).cell(0) {
            Cell::Nothing => continue,
            Cell::Float(value) => Point::Float(value),
            Cell::Histogram(histogram) => Point::Histogram(histogram.clone()),
        };
        out.push(VectorElement { labels: tile.labels(row).labels.clone(), timestamp_ms, point });
    }
    Value::Vector(out)
}

fn matrix_of(tile: &Tile, steps: &Steps) -> Value {
    let mut out = Vec::with_capacity(tile.len());
    for row in 0..tile.len() {
        let cells = tile.row(row);
        let mut series = MatrixSeries { labels: tile.labels(row).labels.clone(), ..MatrixSeries::default() };
        series.floats.reserve_exact(cells.present.iter().map(|word| word.count_ones() as usize).sum());
        // Values mostly stand in runs.
        let mut step = 0;
        while step < cells.values.len() {
            let run = cells.run(step);
            let values = cells.values[step..step + run].iter().enumerate();
            let time = |i| steps.time_ms(step + i);
            series.floats.extend(values.map(|(i, &value)| Sample { timestamp_ms: time(i), value }));
            step += run.max(1);
        }
        for (step, histogram) in cells.histograms.iter().enumerate() {
            if let Some(histogram) = histogram {
                series.histograms.push((steps.time_ms(step), histogram.clone()));
            }
        }
        if !series.floats.is_empty() || !series.histograms.is_empty() {
            out.push(series);
        }
    }
    Value::Matrix(out)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Vector(mut elements) => {
            elements.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Vector(elements)
        }
        Value::Matrix(mut series) => {
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Matrix(series)
        }
        other => other,
    }
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let length = match value {
        Value::Vector(elements) => elements.len(),
        Value::Matrix(series) => series.len(),
        _ => 0,
    };
    let cut = limit > 0 && length > limit;
    match value {
        Value::Vector(elements) if cut => elements.truncate(limit),
        Value::Matrix(series) if cut => series.truncate(limit),
        _ => {}
    }
    cut
}

impl<S: Scatter> Query for Engine<S> {
    fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        Box::pin(self.run(Request::of_instant(request)))
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        Box::pin(async move { self.run(Request::of_range(request)?).await })
    }

    fn explain(&self, asked: Asked, run: bool) -> BoxFuture<'_, Result<Explained, QueryError>> {
        Box::pin(self.explain_request(asked, run))
    }
}

impl<S: Scatter> QueryAdmin for Engine<S> {
    fn active(&self) -> Vec<ActiveQuery> {
        self.active.list()
    }

    fn kill(&self, id: u64) -> bool {
        self.active.kill(id)
    }

    fn cache(&self) -> Option<CacheFigures> {
        self.cache.as_ref().map(Cache::figures)
    }

    fn forget(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }
}

//! The engine: [`Query`] over a store. Takes a request through its stations (a turn, parse, plan, scatter,
//! merge, finish) and keeps the figures that `/metrics` shows.

mod cached;

use crate::active::{ActiveQueries, ActiveQuery, QueryKind, Registration};
use crate::cache::{Cache, CacheFigures};
use crate::exec::finish::{Finish, Operand, without_delayed_names};
use crate::exec::limits::{Limits, QUEUE};
use crate::exec::merge::merge;
use crate::exec::notes::Notes;
use crate::exec::scan::{self, Job, SampleSeries, ShardAnswer};
use crate::exec::tile::{Cell, Tile};
use crate::gate::Gate;
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

    /// What a range query would do, in words, without doing it.
    pub fn explain(&self, request: RangeRequest) -> Result<String, QueryError> {
        let request = Request::of_range(request)?;
        Ok(self.plan(&request, &self.parse(&request)?, request.steps)?.to_string())
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
        let arrived = Instant::now();
        let registered = self.active.register(request.registration(), request.options.context.clone());
        let turn = self.gate.enter(&request.options.context).await;
        let _turn = turn.map_err(|why| QueryError::stopped(why, QUEUE))?;
        registered.begins();
        stats.queue_time = arrived.elapsed();
        request.options.context.check()?;
        let began = Instant::now();
        let parsed = self.parse(&request)?;
        stats.prepare_time = began.elapsed();
        let limits = Limits::new(request.options.context.clone(), self.options.max_samples);
        let run = Run { request: &request, parsed: &parsed, limits: &limits };
        let (mut value, notes) = match self.cacheable(&request, &parsed) {
            Some(cacheable) => self.run_cached(cacheable, &run, &mut stats).await?,
            None => self.evaluate(&run, request.steps, &mut stats).await?,
        };
        stats.peak_samples = limits.peak_samples();
        let (mut warnings, infos) = notes.texts(&request.text);
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
        stats: &mut QueryStats,
    ) -> Result<(Value, Notes), QueryError> {
        let began = Instant::now();
        let plan = self.plan(run.request, run.parsed, steps)?;
        stats.prepare_time += began.elapsed();
        let began = Instant::now();
        let mut notes = Notes::default();
        let value = self.execute(&plan, run.limits, &mut notes, stats).await?;
        stats.eval_time += began.elapsed();
        let began = Instant::now();
        let value = if run.parsed.ordered { value } else { sorted(value) };
        stats.sort_time += began.elapsed();
        Ok((value, notes))
    }

    async fn execute(
        &self,
        plan: &Plan,
        limits: &Arc<Limits>,
        notes: &mut Notes,
        stats: &mut QueryStats,
    ) -> Result<Value, QueryError> {
        let mut answers: Vec<ShardAnswer> = Vec::new();
        if !plan.fragments.is_empty() {
            let job = Arc::new(Job {
                fragments: plan.fragments.clone(),
                limits: limits.clone(),
                delayed_name_removal: plan.delayed_name_removal,
                use_start_timestamps: self.options.use_start_timestamps,
            });
            let context = limits.context().clone();
            let scattered = self.store.scatter(context, move |view| {
                let job = job.clone();
                async move { Ok(scan::run(view, job).await) }
            });
            for answer in scattered.await? {
                answers.push(answer?);
            }
        }
        let mut partials: Vec<(Vec<_>, Notes)> = plan.fragments.iter().map(|_| Default::default()).collect();
        for answer in answers {
            stats.total_samples += answer.looks;
            for ((of_fragment, notes), found) in
                partials.iter_mut().zip(answer.partials.into_iter().zip(answer.notes))
            {
                of_fragment.push(found.0);
                notes.merge(found.1);
            }
        }
        let (mut merged, mut found) = (Vec::with_capacity(partials.len()), Vec::new());
        for (fragment, (partials, mut notes)) in plan.fragments.iter().zip(partials) {
            merged.push(merge(fragment, partials, plan.delayed_name_removal, limits, &mut notes)?);
            found.push(notes);
        }
        let mut finish = Finish {
            plan,
            merged,
            found,
            uses_left: plan.uses.clone(),
            limits: limits.clone(),
            notes: std::mem::take(notes),
        };
        let value = finished(plan, &mut finish);
        *notes = finish.notes;
        value
    }
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
        let mut series = MatrixSeries { labels: tile.labels(row).labels.clone(), ..MatrixSeries::default() };
        let cells = tile.row(row);
        for step in 0..steps.count {
            let timestamp_ms = steps.time_ms(step);
            match cells.cell(step) {
                Cell::Nothing => {}
                Cell::Float(value) => series.floats.push(Sample { timestamp_ms, value }),
                Cell::Histogram(histogram) => series.histograms.push((timestamp_ms, histogram.clone())),
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
        let at = request.time_ms;
        Box::pin(self.run(Request {
            text: request.text,
            steps: Steps::once(at),
            times: QueryTimes { start_ms: at, end_ms: at, step_ms: 0 },
            instant: true,
            options: request.options,
        }))
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        Box::pin(async move { self.run(Request::of_range(request)?).await })
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

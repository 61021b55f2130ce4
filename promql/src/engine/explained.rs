//! `explain` and `analyze`: the plan of a request with what the index says of its selectors, and, for
//! `analyze`, what each part cost when it ran.

use super::cached::Run;
use super::{Costs, Engine, Request};
use crate::exec::limits::{Limits, QUEUE};
use crate::explain::{self, Asked, CacheState, Explained, Totals};
use crate::plan::Plan;
use crate::plan::grid::Steps;
use crate::query::{QueryError, QueryStats, Value};
use crate::syntax::QueryTimes;
use hearth_model::{Projection, QueryContext, Scatter, Select, SeriesCursor, ShardView};
use std::time::Instant;

impl<S: Scatter> Engine<S> {
    pub(super) async fn explain_request(&self, asked: Asked, run: bool) -> Result<Explained, QueryError> {
        let request = match asked {
            Asked::Range(request) => Request::of_range(request)?,
            Asked::Instant(request) => Request::of_instant(request),
        };
        let began = Instant::now();
        let parsed = self.parse(&request)?;
        let plan = self.plan(&request, &parsed, request.steps)?;
        let prepare = began.elapsed();
        let cache = self.cache_state(&request, &parsed);
        let context = &request.options.context;
        let index = self.index_counts(&plan, context).await?;
        let mut costs = Costs::of(&plan);
        let totals = if run {
            let run = Run { request: &request, parsed: &parsed };
            let mut totals = self.analyze(&run, &plan, &mut costs).await?;
            totals.prepare = prepare;
            Some(totals)
        } else {
            None
        };
        let fragments = plan.fragments.iter().enumerate().map(|(number, fragment)| {
            let by_shard = index.iter().map(|counts| counts[number]).collect();
            let cost = run.then(|| costs.fragments[number]);
            explain::fragment(fragment, plan.uses[number], by_shard, cost)
        });
        Ok(Explained {
            query: parsed.expr.to_string(),
            start_ms: request.times.start_ms,
            end_ms: request.times.end_ms,
            step_ms: request.times.step_ms,
            steps: request.steps.count,
            shards: index.len(),
            cache,
            fragments: fragments.collect(),
            finish: explain::finish(&plan, run.then_some(&costs.nodes)),
            totals,
        })
    }

    /// How many series the index of each shard has for each fragment.
    async fn index_counts(&self, plan: &Plan, context: &QueryContext) -> Result<Vec<Vec<u64>>, QueryError> {
        let fragments = plan.fragments.clone();
        let counted = self.store.scatter(context.clone(), move |view| {
            let fragments = fragments.clone();
            async move {
                let mut counts = Vec::with_capacity(fragments.len());
                for fragment in fragments.iter() {
                    let select = Select {
                        matchers: fragment.matchers.clone(),
                        range: fragment.read.windows().covers(),
                        projection: Projection::Only(Vec::new()),
                    };
                    counts.push(view.select(select).await?.series_count() as u64);
                }
                Ok(counts)
            }
        });
        Ok(counted.await?)
    }

    async fn analyze(&self, run: &Run<'_>, plan: &Plan, costs: &mut Costs) -> Result<Totals, QueryError> {
        let request = run.request;
        let context = &request.options.context;
        let arrived = Instant::now();
        let registered = self.active.register(request.registration(), context.clone());
        let turn = self.gate.enter(context).await;
        let _turn = turn.map_err(|why| QueryError::stopped(why, QUEUE))?;
        registered.begins();
        let queue = arrived.elapsed();
        let limits = Limits::new(context.clone(), self.options.max_samples);
        let mut stats = QueryStats::default();
        let (value, _) = self.run_plan(run, plan, &limits, &mut stats, Some(costs)).await?;
        Ok(Totals {
            result_series: match &value {
                Value::Vector(elements) => elements.len() as u64,
                Value::Matrix(series) => series.len() as u64,
                Value::Scalar(_) | Value::String { .. } => 1,
            },
            queue,
            prepare: stats.prepare_time,
            evaluate: stats.eval_time,
            sort: stats.sort_time,
            samples_read: stats.samples_read,
            samples_looked_at: stats.total_samples,
            peak_samples: limits.peak_samples(),
            peak_memory_bytes: context.budget().peak_bytes() as u64,
        })
    }

    /// What the cache has; asking changes nothing but the order of use.
    fn cache_state(&self, request: &Request, parsed: &super::Parsed) -> CacheState {
        if self.cache.is_none()
            || request.options.keep_until_ms.is_none()
            || self.store.watermarks().is_none()
        {
            return CacheState::Off;
        }
        match self.cacheable(request, parsed, false) {
            Some(cacheable) => CacheState::Kept { steps: cacheable.kept_steps(request) },
            None => CacheState::Uncacheable,
        }
    }
}

impl Request {
    pub(super) fn of_instant(request: crate::query::InstantRequest) -> Request {
        let at = request.time_ms;
        Request {
            text: request.text,
            steps: Steps::once(at),
            times: QueryTimes { start_ms: at, end_ms: at, step_ms: 0 },
            instant: true,
            options: request.options,
        }
    }
}

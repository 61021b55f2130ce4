//! `explain_query` and `analyze_query`: the plan of a query as JSON, or with `format=text` as text for a
//! terminal. Nothing in here computes or words a plan; the query engine does.

use crate::envelope::success;
use crate::error::ApiError;
use crate::guard::From;
use crate::params::Params;
use crate::query::{asked, stoppable};
use crate::state::{Backend, State};
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use hearth_promql::explain::{CacheState, Cost, Explained, FragmentReport, NodeReport, Totals};
use hearth_promql::query::Origin;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub async fn explain(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    From(origin): From,
    params: Params,
) -> Result<Response, ApiError> {
    report(&state, &backend, origin, &params, false).await
}

pub async fn analyze(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    From(origin): From,
    params: Params,
) -> Result<Response, ApiError> {
    report(&state, &backend, origin, &params, true).await
}

async fn report(
    state: &State,
    backend: &Backend,
    origin: Origin,
    params: &Params,
    run: bool,
) -> Result<Response, ApiError> {
    let (asked, context, timeout) = asked(state, params, origin)?;
    let explained = stoppable(context, timeout, backend.query.explain(asked, run)).await?;
    if params.get("format") == "text" {
        let text = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((StatusCode::OK, text, explained.to_string()).into_response());
    }
    Ok(success(&shown(&explained)))
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn shown(explained: &Explained) -> Value {
    let cache = match explained.cache {
        CacheState::Off => json!({"state": "off"}),
        CacheState::Uncacheable => json!({"state": "uncacheable"}),
        CacheState::Kept { steps } => json!({"state": "cacheable", "keptSteps": steps}),
    };
    let mut out = json!({
        "query": explained.query,
        "start": seconds(explained.start_ms),
        "end": seconds(explained.end_ms),
        "step": seconds(explained.step_ms),
        "steps": explained.steps,
        "shards": explained.shards,
        "cache": cache,
        "fragments": explained.fragments.iter().map(fragment).collect::<Vec<_>>(),
        "finish": node(&explained.finish),
    });
    if let Some(of) = &explained.totals {
        out["totals"] = totals(of);
    }
    out
}

fn totals(totals: &Totals) -> Value {
    let time = |duration: Duration| json!(duration.as_secs_f64());
    json!({
        "resultSeries": totals.result_series,
        "queueSeconds": time(totals.queue),
        "prepareSeconds": time(totals.prepare),
        "evaluateSeconds": time(totals.evaluate),
        "sortSeconds": time(totals.sort),
        "samplesRead": totals.samples_read,
        "samplesLookedAt": totals.samples_looked_at,
        "peakSamples": totals.peak_samples,
        "peakMemoryBytes": totals.peak_memory_bytes,
    })
}

fn cost(of: &Cost, samples: bool) -> Value {
    let mut out = json!({
        "series": of.series,
        "wallSeconds": of.wall.as_secs_f64(),
        "cpuSeconds": of.cpu.as_secs_f64(),
        "memoryBytes": of.memory_bytes,
    });
    if samples {
        out["samplesRead"] = json!(of.samples_read);
        out["samplesLookedAt"] = json!(of.samples_looked_at);
    }
    out
}

fn fragment(report: &FragmentReport) -> Value {
    let mut out = json!({
        "selector": report.selector,
        "read": report.read,
        "pushedDown": report.pushed_down,
        "minTime": seconds(report.min_ms),
        "maxTime": seconds(report.max_ms),
        "steps": report.steps,
        "uses": report.uses,
        "indexSeries": report.series_by_shard.iter().sum::<u64>(),
        "indexSeriesByShard": report.series_by_shard,
    });
    if let Some(of) = &report.cost {
        out["cost"] = cost(of, true);
    }
    out
}

fn node(report: &NodeReport) -> Value {
    let mut out = json!({
        "operator": report.operator,
        "steps": report.steps,
        "children": report.children.iter().map(node).collect::<Vec<_>>(),
    });
    if let Some(fragment) = report.fragment {
        out["fragment"] = json!(fragment);
    }
    if let Some(of) = &report.cost {
        out["cost"] = cost(of, false);
    }
    out
}

//! `status/active_queries`: the queries that wait or run, and the call that stops one. Nothing in here
//! keeps a list of its own: the query engine is asked.

use crate::envelope::success;
use crate::error::ApiError;
use crate::state::{Backend, State};
use axum::extract::{Path, State as Held};
use axum::response::Response;
use hearth_promql::active::ActiveQuery;
use hearth_promql::query::Origin;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    max_concurrency: usize,
    running: usize,
    queued: usize,
    queries: Vec<Shown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: u64,
    query: String,
    /// `instant` or `range`.
    kind: &'static str,
    /// `queued`, `running`, or `stopping`: told to stop, not ended yet.
    state: &'static str,
    client: String,
    /// When it came, and how long ago.
    started: String,
    duration_seconds: f64,
    queued_seconds: f64,
    /// The times asked about, seconds.
    start: f64,
    end: f64,
    step: f64,
    steps: usize,
    memory_bytes: usize,
    peak_memory_bytes: usize,
}

fn shown(query: ActiveQuery) -> Shown {
    let state = match (query.stopping, query.running) {
        (true, _) => "stopping",
        (false, true) => "running",
        (false, false) => "queued",
    };
    let registration = query.registration;
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let age = jiff::SignedDuration::try_from(query.age).unwrap_or(jiff::SignedDuration::MAX);
    let started = jiff::Timestamp::now().checked_sub(age).unwrap_or(jiff::Timestamp::MIN);
    Shown {
        id: query.id,
        query: registration.text,
        kind: registration.kind.name(),
        state,
        client: client(&registration.origin),
        started: format!("{started:.3}"),
        duration_seconds: query.age.as_secs_f64(),
        queued_seconds: query.queued.as_secs_f64(),
        start: seconds(registration.start_ms),
        end: seconds(registration.end_ms),
        step: seconds(registration.step_ms),
        steps: registration.steps,
        memory_bytes: query.memory_bytes,
        peak_memory_bytes: query.peak_memory_bytes,
    }
}

fn client(origin: &Origin) -> String {
    match origin {
        Origin::Internal => "internal".to_owned(),
        Origin::Http { client, .. } => client.clone(),
        Origin::Rules { file, group } => format!("rules {file};{group}"),
    }
}

pub async fn list(Held(state): Held<Arc<State>>, backend: Backend) -> Response {
    let queries = backend.queries.active();
    let running = queries.iter().filter(|query| query.running).count();
    success(&Listing {
        max_concurrency: state.options.max_concurrent_queries,
        running,
        queued: queries.len() - running,
        queries: queries.into_iter().map(shown).collect(),
    })
}

#[derive(Serialize)]
struct Killed {
    killed: u64,
}

pub async fn kill(backend: Backend, Path(id): Path<String>) -> Result<Response, ApiError> {
    let known = id.parse::<u64>().ok().filter(|&id| backend.queries.kill(id));
    match known {
        Some(killed) => Ok(success(&Killed { killed })),
        None => Err(ApiError::not_found(format!("no active query has the id {id:?}"))),
    }
}

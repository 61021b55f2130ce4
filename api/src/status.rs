//! `status/*`: what the server is, how it was started and configured, and what its head holds.

use crate::config::{TSDB_STATUS_LIMIT, TSDB_STATUS_MAX_LIMIT};
use crate::envelope::{json, success};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::{Backend, State};
use crate::targets::NEVER;
use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use hearth_model::store::Counted;
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

pub async fn build_info(Held(state): Held<Arc<State>>) -> Response {
    success(&state.options.build)
}

/// `/version`: the same, outside the envelope.
pub async fn version(Held(state): Held<Arc<State>>) -> Response {
    match serde_json::to_vec(&state.options.build) {
        Ok(body) => json(StatusCode::OK, Body::from(body)),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub async fn config(Held(state): Held<Arc<State>>) -> Response {
    success(&BTreeMap::from([("yaml", &state.live.load().yaml)]))
}

pub async fn flags(Held(state): Held<Arc<State>>) -> Response {
    success(&state.options.flags)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo<'a> {
    start_time: String,
    #[serde(rename = "CWD")]
    working_directory: &'a str,
    hostname: &'a str,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    /// The fields of Go's runtime: threads stand in for goroutines, the rest has no meaning here.
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    max_procs: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    gc_percent: &'a str,
    #[serde(rename = "GODEBUG")]
    debug: &'a str,
    storage_retention: &'a str,
}

pub async fn runtime_info(Held(state): Held<Arc<State>>, backend: Backend) -> Result<Response, ApiError> {
    let options = &state.options;
    let reload = state.reload.load();
    let figures = backend.admin.figures().await?;
    let last_success =
        reload.last_success.map(|t| t.as_second()).and_then(|s| jiff::Timestamp::from_second(s).ok());
    let threads = crate::metrics::process::threads();
    Ok(success(&RuntimeInfo {
        start_time: options.started.to_string(),
        working_directory: &options.working_directory,
        hostname: &options.hostname,
        server_time: jiff::Timestamp::now().to_string(),
        reload_config_success: reload.successful,
        last_config_time: last_success.map_or(NEVER.to_owned(), |t| t.to_string()),
        corruption_count: figures.wal_corruptions,
        goroutine_count: threads,
        max_procs: std::thread::available_parallelism().map_or(1, usize::from),
        memory_limit: i64::MAX,
        gc_percent: "",
        debug: "",
        storage_retention: &state.live.load().retention,
    }))
}

#[derive(Serialize)]
struct Stat<'a> {
    name: &'a str,
    value: u64,
}

fn stats(counted: &[Counted]) -> Vec<Stat<'_>> {
    counted.iter().map(|(name, value)| Stat { name, value: *value }).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TsdbStatus<'a> {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Stat<'a>>,
    label_value_count_by_label_name: Vec<Stat<'a>>,
    memory_in_bytes_by_label_name: Vec<Stat<'a>>,
    series_count_by_label_value_pair: Vec<Stat<'a>>,
    /// Beyond Prometheus: the series that came into being within the last hour.
    new_series_in_last_hour: u64,
    new_series_count_by_metric_name: Vec<Stat<'a>>,
    new_series_count_by_label_name: Vec<Stat<'a>>,
    new_series_count_by_label_value_pair: Vec<Stat<'a>>,
}

pub async fn tsdb(backend: Backend, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => TSDB_STATUS_LIMIT,
        text => match text.parse::<usize>() {
            Ok(0) | Err(_) => return Err(ApiError::bad_data("limit must be a positive number")),
            Ok(limit) if limit > TSDB_STATUS_MAX_LIMIT => {
                return Err(ApiError::bad_data(format!("limit must not exceed {TSDB_STATUS_MAX_LIMIT}")));
            }
            Ok(limit) => limit,
        },
    };
    let head = backend.admin.head_status(limit).await?;
    Ok(success(&TsdbStatus {
        head_stats: HeadStats {
            num_series: head.series,
            num_label_pairs: head.label_pairs,
            chunk_count: head.chunks,
            min_time: head.min_ms,
            max_time: head.max_ms,
        },
        series_count_by_metric_name: stats(&head.series_by_metric_name),
        label_value_count_by_label_name: stats(&head.values_by_label_name),
        memory_in_bytes_by_label_name: stats(&head.memory_by_label_name),
        series_count_by_label_value_pair: stats(&head.series_by_label_pair),
        new_series_in_last_hour: head.new_series,
        new_series_count_by_metric_name: stats(&head.new_by_metric_name),
        new_series_count_by_label_name: stats(&head.new_by_label_name),
        new_series_count_by_label_value_pair: stats(&head.new_by_label_pair),
    }))
}

#[derive(Serialize)]
struct Replay {
    min: u64,
    max: u64,
    current: u64,
}

/// Never held back: a client asks this one to learn how far recovery is. Recovery reports no segments, so
/// the numbers are those of a log that is read, or is not read yet.
pub async fn wal_replay() -> Response {
    success(&Replay { min: 0, max: 0, current: 0 })
}

/// There are no notifications yet.
pub async fn notifications() -> Response {
    success(&[(); 0])
}

//! `query` and `query_range`: parameters in, a streamed result out. The engine computes; this file owns the
//! deadline, and stops the query when the client hangs up.

use crate::config::{MAX_POINTS, MAX_REPLICA_LABELS, STOP_GRACE_MS};
use crate::envelope::Notes;
use crate::error::ApiError;
use crate::guard::From;
use crate::params::{Params, parse_seconds_or_duration_ms};
use crate::result;
use crate::state::{Backend, State};
use axum::extract::State as Held;
use axum::response::Response;
use hearth_model::QueryContext;
use hearth_model::context::{Budget, Stop};
use hearth_promql::exec::limits::EXECUTION;
use hearth_promql::explain::Asked;
use hearth_promql::query::{Answer, InstantRequest, Origin, QueryError, RangeRequest, RequestOptions};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What `stats` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stats {
    None,
    Totals,
    PerStep,
}

pub async fn instant(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    From(origin): From,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let time_ms = params.time_ms_or("time", jiff::Timestamp::now().as_millisecond())?;
    let timeout = timeout(&state, &params)?;
    let (options, stats) = options(&state, &params, limit, origin)?;
    let context = options.context.clone();
    let request = InstantRequest { text: params.get("query").to_owned(), time_ms, options };
    let answer = run(&state, context, timeout, backend.query.instant(request)).await?;
    Ok(respond(answer, stats))
}

pub async fn range(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    From(origin): From,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let times = range_times(&params)?;
    let timeout = timeout(&state, &params)?;
    let (options, stats) = options(&state, &params, limit, origin)?;
    let context = options.context.clone();
    let request = range_request(&params, times, options);
    let answer = run(&state, context, timeout, backend.query.range(request)).await?;
    Ok(respond(answer, stats))
}

/// Start, end and step of a range query, checked.
fn range_times(params: &Params) -> Result<(i64, i64, i64), ApiError> {
    let start_ms = params.time_ms("start")?;
    let end_ms = params.time_ms("end")?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.duration_ms("step")?;
    // A step below a millisecond asks for more points than any range of a second may have.
    let step_is_tiny = step_ms == 0 && params.get("step").parse::<f64>().is_ok_and(|seconds| seconds > 0.0);
    if step_ms <= 0 && !step_is_tiny {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", why));
    }
    if step_is_tiny || end_ms.saturating_sub(start_ms) / step_ms > MAX_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok((start_ms, end_ms, step_ms))
}

fn range_request(params: &Params, times: (i64, i64, i64), options: RequestOptions) -> RangeRequest {
    let (start_ms, end_ms, step_ms) = times;
    RangeRequest { text: params.get("query").to_owned(), start_ms, end_ms, step_ms, options }
}

/// The query of an `explain_query`: over a range where a start is given, else at one time.
pub fn asked(
    state: &State,
    params: &Params,
    origin: Origin,
) -> Result<(Asked, QueryContext, Duration), ApiError> {
    let timeout = timeout(state, params)?;
    let (options, _) = options(state, params, params.limit()?, origin)?;
    let context = options.context.clone();
    if !params.get("start").is_empty() {
        let request = range_request(params, range_times(params)?, options);
        return Ok((Asked::Range(request), context, timeout));
    }
    let time_ms = params.time_ms_or("time", jiff::Timestamp::now().as_millisecond())?;
    let request = InstantRequest { text: params.get("query").to_owned(), time_ms, options };
    Ok((Asked::Instant(request), context, timeout))
}

/// The deadline: what the request asks for, never more than the server allows.
fn timeout(state: &State, params: &Params) -> Result<Duration, ApiError> {
    let longest = state.options.query_timeout;
    if params.get("timeout").is_empty() {
        return Ok(longest);
    }
    let asked = Duration::from_millis(params.duration_ms("timeout")?.max(0).unsigned_abs());
    Ok(asked.min(longest))
}

fn options(
    state: &State,
    params: &Params,
    limit: usize,
    origin: Origin,
) -> Result<(RequestOptions, Stats), ApiError> {
    let lookback_ms = match params.get("lookback_delta") {
        "" => None,
        text => Some(
            parse_seconds_or_duration_ms(text)
                .map_err(|why| ApiError::bad_data(format!("error parsing lookback delta duration: {why}")))?,
        )
        .filter(|&ms| ms > 0),
    };
    let stats = match params.get("stats") {
        "" => Stats::None,
        "all" if state.options.per_step_stats => Stats::PerStep,
        _ => Stats::Totals,
    };
    let memory = Budget::new("query", state.options.query_memory_bytes, Some(state.query_memory.clone()));
    let replicas = replica_labels(&state.options.replica_labels, params)?;
    // Which replica is seen when depends on where a range begins, so that nothing of it is kept.
    let merges = !replicas.is_empty();
    let context = QueryContext::new(memory).with_replicas(replicas);
    let stats_per_step = stats == Stats::PerStep;
    // As Prometheus' frontends and VictoriaMetrics have it.
    let nocache = matches!(params.get("nocache"), "1" | "true");
    let recent_ms = i64::try_from(state.options.query_cache_recent.as_millis()).unwrap_or(i64::MAX);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let keep_until_ms = (!nocache && !merges).then(|| now_ms.saturating_sub(recent_ms));
    Ok((RequestOptions { lookback_ms, limit, stats_per_step, origin, keep_until_ms, context }, stats))
}

/// The labels that tell replicas apart: those that the request names, else the server's; none where the request does
/// not want replicas to be one. The parameters are those of Thanos.
pub fn replica_labels(served: &Arc<[String]>, params: &Params) -> Result<Arc<[String]>, ApiError> {
    let (wish, name) = (params.get("dedup"), "replicaLabels[]");
    let named: Arc<[String]> =
        params.all(name).filter(|label| !label.is_empty()).map(str::to_owned).collect();
    if named.len() > MAX_REPLICA_LABELS {
        return Err(ApiError::parameter(name, format_args!("more than {MAX_REPLICA_LABELS} labels")));
    }
    let wanted = wish.is_empty() || params.switch("dedup")?;
    Ok(match (wanted, named.is_empty()) {
        (false, _) => Arc::new([]),
        (true, true) => served.clone(),
        (true, false) => named,
    })
}

/// Runs a query to its end and counts it.
async fn run(
    state: &State,
    context: QueryContext,
    timeout: Duration,
    query: impl Future<Output = Result<Answer, QueryError>>,
) -> Result<Answer, ApiError> {
    let _running = state.metrics.queries.running.raise();
    let result = stoppable(context, timeout, query).await;
    if let Ok(answer) = &result {
        state.metrics.queries.observe(&answer.stats);
    }
    Ok(result?)
}

/// Waits for a query's end, its deadline, the moment it is killed, or the moment the client hangs up (then
/// this future is dropped, and with it the guard that cancels).
pub async fn stoppable<T>(
    context: QueryContext,
    timeout: Duration,
    query: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    let _cancel = context.cancel_on_drop();
    let mut query = std::pin::pin!(query);
    let stopped = async {
        match tokio::time::timeout(timeout, context.stopped()).await {
            Ok(why) => why,
            Err(_) => {
                context.cancel(Stop::TimedOut);
                Stop::TimedOut
            }
        }
    };
    tokio::select! {
        result = &mut query => result,
        why = stopped => {
            let grace = Duration::from_millis(STOP_GRACE_MS);
            let answered = tokio::time::timeout(grace, query).await;
            answered.unwrap_or(Err(QueryError::stopped(why, EXECUTION)))
        }
    }
}

fn respond(answer: Answer, stats: Stats) -> Response {
    let notes = Notes { warnings: answer.warnings, infos: answer.infos };
    let tail = match stats {
        Stats::None => Vec::new(),
        Stats::Totals | Stats::PerStep => result::stats_json(&answer.stats, stats == Stats::PerStep),
    };
    result::stream(answer.value, tail, &notes)
}

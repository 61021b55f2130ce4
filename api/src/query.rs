//! `query` and `query_range`: parameters in, a streamed result out. The engine computes; this file owns the
//! deadline, and stops the query when the client hangs up.

use crate::config::{MAX_POINTS, STOP_GRACE_MS};
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
    let timeout = timeout(&state, &params)?;
    let (options, stats) = options(&state, &params, limit, origin)?;
    let context = options.context.clone();
    let text = params.get("query").to_owned();
    let request = RangeRequest { text, start_ms, end_ms, step_ms, options };
    let answer = run(&state, context, timeout, backend.query.range(request)).await?;
    Ok(respond(answer, stats))
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
    let context = QueryContext::new(memory);
    let stats_per_step = stats == Stats::PerStep;
    let keep_until_ms = None;
    Ok((RequestOptions { lookback_ms, limit, stats_per_step, origin, keep_until_ms, context }, stats))
}

/// Runs a query to its end, its deadline, the moment it is killed, or the moment the client hangs up (then
/// this future is dropped, and with it the guard that cancels).
async fn run(
    state: &State,
    context: QueryContext,
    timeout: Duration,
    query: impl Future<Output = Result<Answer, QueryError>>,
) -> Result<Answer, ApiError> {
    let _cancel = context.cancel_on_drop();
    let _running = state.metrics.queries_running.raise();
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
    let result = tokio::select! {
        result = &mut query => result,
        why = stopped => {
            let grace = Duration::from_millis(STOP_GRACE_MS);
            let answered = tokio::time::timeout(grace, query).await;
            answered.unwrap_or(Err(QueryError::stopped(why, EXECUTION)))
        }
    };
    if let Ok(answer) = &result {
        state.metrics.observe_query(&answer.stats);
    }
    Ok(result?)
}

fn respond(answer: Answer, stats: Stats) -> Response {
    let notes = Notes { warnings: answer.warnings, infos: answer.infos };
    let tail = match stats {
        Stats::None => Vec::new(),
        Stats::Totals | Stats::PerStep => result::stats_json(&answer.stats, stats == Stats::PerStep),
    };
    result::stream(answer.value, tail, &notes)
}

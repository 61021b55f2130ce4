//! `admin/tsdb/*`: what changes the stored data. Every handler asks first whether that is allowed.

use crate::envelope::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::{Backend, State};
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::Arc;

fn check(state: &State) -> Result<(), ApiError> {
    if state.options.enable_admin { Ok(()) } else { Err(ApiError::unavailable("admin APIs disabled")) }
}

pub async fn delete_series(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    check(&state)?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = params.range()?;
    let mut sets = params.any_matcher_sets()?;
    // A selector without any matcher selects nothing here, as in Prometheus: everything has to be asked for.
    sets.retain(|matchers| !matchers.is_empty());
    tracing::info!(
        component = "web",
        matchers = ?params.all("match[]").collect::<Vec<_>>(),
        from_ms = range.min_ms,
        to_ms = range.max_ms,
        "Deleting series"
    );
    backend.admin.delete_series(sets, range).await.map_err(ApiError::internal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn clean_tombstones(Held(state): Held<Arc<State>>, backend: Backend) -> Result<Response, ApiError> {
    check(&state)?;
    backend.admin.clean_tombstones().await.map_err(ApiError::internal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Name of a snapshot: when it was made, and something that two made in one second do not share.
fn snapshot_name(now: jiff::Timestamp, random: u64) -> String {
    format!("{}-{random:016x}", now.strftime("%Y%m%dT%H%M%SZ"))
}

pub async fn snapshot(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    check(&state)?;
    let with_head = !params.switch("skip_head")?;
    let now = jiff::Timestamp::now();
    let name = snapshot_name(now, now.as_nanosecond() as u64 & (u64::MAX >> 1));
    tracing::info!(component = "web", name, with_head, "Making a snapshot");
    let made = backend.admin.snapshot(name.clone(), with_head).await;
    made.map_err(|error| ApiError::internal(format_args!("create snapshot: {error}")))?;
    Ok(success(&BTreeMap::from([("name", name)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_name_is_its_time() {
        let time = jiff::Timestamp::from_second(1_512_940_344).expect("in range");
        assert_eq!(snapshot_name(time, 0x1a2b), "20171210T211224Z-0000000000001a2b");
    }
}

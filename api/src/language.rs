//! `format_query`, `parse_query` and `query_exemplars`: the language without data.

use crate::envelope::{JSON, Notes, success};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::State;
use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use hearth_promql::syntax::{self, Expr, json};
use http::header::CONTENT_TYPE;
use std::sync::Arc;

fn parsed(state: &State, params: &Params) -> Result<Expr, ApiError> {
    syntax::parse(params.get("query"), &state.options.parse_options)
        .map_err(|error| ApiError::parameter("query", error))
}

pub async fn format(Held(state): Held<Arc<State>>, params: Params) -> Result<Response, ApiError> {
    Ok(success(&syntax::format(&parsed(&state, &params)?)))
}

pub async fn parse(Held(state): Held<Arc<State>>, params: Params) -> Result<Response, ApiError> {
    let mut body = br#"{"status":"success","data":"#.to_vec();
    body.extend_from_slice(json::to_json(&parsed(&state, &params)?).as_bytes());
    body.extend_from_slice(&Notes::default().close());
    Ok(([(CONTENT_TYPE, JSON)], Body::from(body)).into_response())
}

/// Exemplars are not kept: what is asked for is checked, and there is none.
pub async fn exemplars(Held(state): Held<Arc<State>>, params: Params) -> Result<Response, ApiError> {
    let range = params.range()?;
    if range.is_empty() {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    parsed(&state, &params)?;
    Ok(success(&[(); 0]))
}

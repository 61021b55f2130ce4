//! `format_query` and `parse_query`: the language without data; `query_exemplars`: what its selectors select.

use crate::envelope::{JSON, LabelObject, Notes, success};
use crate::error::ApiError;
use crate::metadata::bounded;
use crate::params::Params;
use crate::query::replica_labels;
use crate::state::{Backend, State};
use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use hearth_model::batch::Exemplar;
use hearth_model::store::{MatcherSets, SeriesExemplars};
use hearth_promql::syntax::{self, Expr, json};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::value::RawValue;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfSeries<'a> {
    series_labels: LabelObject<'a>,
    exemplars: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    labels: LabelObject<'a>,
    value: String,
    timestamp: Box<RawValue>,
}

/// Milliseconds as a number of seconds, with a fraction only where there is one.
fn seconds(ms: i64) -> Box<RawValue> {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
    let text = if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:03}") };
    RawValue::from_string(text).unwrap_or_default()
}

fn of_series(found: &SeriesExemplars) -> OfSeries<'_> {
    let exemplars = found.exemplars.iter().map(|Exemplar { timestamp_ms, value, labels }| One {
        labels: LabelObject(labels),
        value: value_text(*value),
        timestamp: seconds(*timestamp_ms),
    });
    OfSeries { series_labels: LabelObject(&found.labels), exemplars: exemplars.collect() }
}

fn value_text(value: f64) -> String {
    let mut text = Vec::new();
    hearth_model::number::write_result(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

/// The exemplars of every series that a selector of the query selects.
pub async fn exemplars(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    let range = params.range()?;
    if range.is_empty() {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parsed(&state, &params)?;
    let selectors = syntax::selectors_of(&expr);
    if selectors.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let sets: MatcherSets = selectors.iter().map(|s| Arc::from(s.matchers.clone())).collect();
    let replicas = replica_labels(&state.options.replica_labels, &params)?;
    let found =
        bounded(&state, |context| backend.catalogue.exemplars(context.with_replicas(replicas), sets, range))
            .await?;
    let data: Vec<OfSeries<'_>> = found.iter().map(of_series).collect();
    Ok(success(&data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_fraction_where_there_is_one() {
        for (ms, expect) in
            [(0, "0"), (5_000, "5"), (1_600_096_945_479, "1600096945.479"), (-1_005, "-1.005")]
        {
            assert_eq!(seconds(ms).get(), expect);
        }
    }
}

//! `series`, `labels` and `label/<name>/values`: what there is, without samples.

use crate::envelope::{LabelObject, Notes, TRUNCATED, success_with};
use crate::error::ApiError;
use crate::params::Params;
use crate::query::replica_labels;
use crate::state::{Backend, State};
use axum::extract::{OriginalUri, State as Held};
use axum::response::Response;
use hearth_model::context::{Budget, Stop};
use hearth_model::{Missing, QueryContext, StoreError, TimeRange};
use hearth_promql::missing;
use hearth_wire::exposition::unescape_values;
use std::future::Future;
use std::sync::Arc;

pub async fn series(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit()?;
    let range = params.range()?;
    let sets = params.matcher_sets()?;
    let replicas = replica_labels(&state.options.replica_labels, &params)?;
    let missing = backend.catalogue.missing();
    let (found, cut) = bounded(&state, |context| {
        backend.catalogue.series(context.with_replicas(replicas), sets, range, limit)
    })
    .await?;
    let objects: Vec<_> = found.iter().map(LabelObject).collect();
    Ok(success_with(&objects, &notes(&backend, missing, range, cut)))
}

pub async fn labels(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let range = params.range()?;
    let sets = params.matcher_sets()?;
    let missing = backend.catalogue.missing();
    let (names, cut) =
        bounded(&state, |context| backend.catalogue.label_names(context, sets, range, limit)).await?;
    Ok(success_with(&names, &notes(&backend, missing, range, cut)))
}

pub async fn label_values(
    Held(state): Held<Arc<State>>,
    OriginalUri(uri): OriginalUri,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    let name = label_name(uri.path())?;
    let limit = params.limit()?;
    let range = params.range()?;
    let sets = params.matcher_sets()?;
    let missing = backend.catalogue.missing();
    let (values, cut) =
        bounded(&state, |context| backend.catalogue.label_values(context, name, sets, range, limit)).await?;
    Ok(success_with(&values, &notes(&backend, missing, range, cut)))
}

/// What there is to say of a look-up: what the store lacked of the range when it began, what was found lacking since,
/// and whether a limit cut something off.
fn notes(backend: &Backend, mut missing: Vec<Missing>, range: TimeRange, cut: bool) -> Notes {
    missing.extend(backend.catalogue.missing());
    let mut notes = Notes { warnings: missing::of_range(&missing, range), infos: Vec::new() };
    notes.warnings.extend(cut.then(|| TRUNCATED.to_owned()));
    notes
}

/// Runs a look-up under the server's query deadline and memory bound.
pub async fn bounded<T, F>(state: &State, start: impl FnOnce(QueryContext) -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let memory = Budget::new("query", state.options.query_memory_bytes, Some(state.query_memory.clone()));
    let context = QueryContext::new(memory);
    let _cancel = context.cancel_on_drop();
    match tokio::time::timeout(state.options.query_timeout, start(context.clone())).await {
        Ok(result) => Ok(result?),
        Err(_) => {
            context.cancel(Stop::TimedOut);
            Err(StoreError::Stopped(Stop::TimedOut).into())
        }
    }
}

/// The `<name>` of `…/label/<name>/values`, percent-decoded; `U__…` is the escaped form of any name.
fn label_name(path: &str) -> Result<String, ApiError> {
    let inner = path.strip_suffix("/values").and_then(|p| p.rsplit_once('/')).map_or("", |(_, name)| name);
    let bytes = percent_decode(inner);
    let invalid = |shown: String| ApiError::bad_data(format!("invalid label name: \"{shown}\""));
    let name = String::from_utf8(bytes).map_err(|error| invalid(go_quoted(error.as_bytes())))?;
    let name = unescape_values(&name).into_owned();
    if name.is_empty() { Err(invalid(name)) } else { Ok(name) }
}

/// Bytes of which some are no UTF-8, as Go's `%q` shows them.
fn go_quoted(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().escape_debug().to_string());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |b: u8| (b as char).to_digit(16);
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push((hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0)) as u8);
                rest = tail;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expect: &str) {
        let name = label_name(&format!("/api/v1/label/{path}/values"));
        assert_eq!(name.unwrap_or_else(|error| error.text), expect);
    }

    #[test]
    fn names_of_labels_in_paths() {
        check("job", "job");
        check("a%20b", "a b");
        check("%ff", "invalid label name: \"\\xff\"");
        check("U__a_2e_b", "a.b");
        check("U__a__b", "a_b");
        check("U__a_zz_b", "U__a_zz_b");
        check("%", "%");
        check("", "invalid label name: \"\"");
    }
}

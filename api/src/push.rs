//! The push gateway's interface, under the paths of Pushgateway: `PUT`, `POST` and `DELETE` below
//! `/metrics/job/…`, `/api/v1/metrics`, `/api/v1/admin/wipe`; and `/push/metrics`, the page that another
//! server scrapes.

use crate::config::PUSH_BODY_LIMIT_BYTES;
use crate::envelope::success;
use crate::error::plain;
use crate::state::{Backend, State};
use axum::extract::{OriginalUri, Request, State as Held};
use axum::response::{IntoResponse, Response};
use hearth_scrape::push::{Encoding, Gateway, Mode, Push, PushError, exposition, groups_json};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use std::sync::Arc;

const NOT_ENABLED: &str = "the push gateway needs to be enabled with --push.enable";

/// Why a request is not served.
pub struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(why: impl ToString) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, why.to_string())
    }
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Refusal {
        match error {
            PushError::Path(_) | PushError::Body(_) => Refusal::bad(error),
            PushError::Full(_) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        plain(self.0, &self.1)
    }
}

fn gateway(backend: &Backend) -> Result<Arc<Gateway>, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, NOT_ENABLED.to_owned());
    backend.scraper.gateway().cloned().ok_or_else(missing)
}

/// What stands behind `…/metrics/` in the path, still escaped.
fn group_path(path: &str) -> &str {
    path.split_once("/metrics/").map_or("", |(_, rest)| rest)
}

/// `ttl=…` of the query, in milliseconds.
fn ttl_ms(query: &str) -> Result<Option<i64>, String> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, text)) = pairs.into_iter().find(|(name, _)| name == "ttl") else { return Ok(None) };
    match hearth_model::parse_duration_ms(&text) {
        Ok(ms) if ms > 0 => Ok(Some(ms)),
        Ok(_) => Err("ttl must be more than 0".into()),
        Err(error) => Err(format!("ttl: {error}")),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `PUT`, `POST`, `DELETE /metrics/job/…`.
pub async fn push(
    Held(state): Held<Arc<State>>,
    OriginalUri(uri): OriginalUri,
    backend: Backend,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let gateway = gateway(&backend)?;
    let group = gateway.group_of(group_path(uri.path()))?;
    let mode = match *request.method() {
        Method::PUT => Mode::Replace,
        Method::POST => Mode::Update,
        _ => {
            gateway.delete(&group);
            return Ok(StatusCode::ACCEPTED);
        }
    };
    let ttl_ms = ttl_ms(uri.query().unwrap_or_default()).map_err(Refusal::bad)?;
    let headers = request.headers().clone();
    let encoding = Encoding::named(text(&headers, CONTENT_ENCODING))
        .ok_or_else(|| Refusal::bad("the body's encoding must be gzip, snappy or none"))?;
    let reading = axum::body::to_bytes(request.into_body(), PUSH_BODY_LIMIT_BYTES);
    let body = match tokio::time::timeout(state.options.read_timeout, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let why = format!("reading the body: {error}; at most {PUSH_BODY_LIMIT_BYTES} bytes are read");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        Err(_) => {
            return Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".into()));
        }
    };
    let checks = gateway.options().check;
    // Parsing a large body takes a while, and compressed ones unfold.
    let outcome = tokio::task::spawn_blocking(move || {
        let content_type = text(&headers, CONTENT_TYPE);
        gateway.push(&Push { group, mode, body: &body, content_type, encoding, ttl_ms })
    });
    match outcome.await {
        Ok(Ok(())) => Ok(if checks { StatusCode::OK } else { StatusCode::ACCEPTED }),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// `GET /api/v1/metrics`.
pub async fn groups(backend: Backend) -> Result<Response, Refusal> {
    Ok(success(&groups_json(&gateway(&backend)?.groups())))
}

/// `PUT /api/v1/admin/wipe`.
pub async fn wipe(Held(state): Held<Arc<State>>, backend: Backend) -> Result<StatusCode, Refusal> {
    let gateway = gateway(&backend)?;
    if !state.options.enable_push_admin {
        let why = "the push gateway's admin API is disabled: --push.enable-admin-api enables it";
        return Err(Refusal(StatusCode::FORBIDDEN, why.to_owned()));
    }
    gateway.wipe();
    Ok(StatusCode::ACCEPTED)
}

/// `GET /push/metrics`.
pub async fn page(backend: Backend) -> Result<Response, Refusal> {
    let page = exposition(&gateway(&backend)?.groups());
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response())
}

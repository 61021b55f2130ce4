//! What holds for every request whatever its endpoint: readiness, CORS, wrong paths and methods, and the
//! counting of requests. No handler repeats any of it.

use crate::error::plain;
use crate::lifecycle::unavailable;
use crate::state::{Backend, Peer, Phase, State};
use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, Request, State as Held};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hearth_promql::query::Origin;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

/// A handler that asks for the backend runs only while the server is ready.
impl FromRequestParts<Arc<State>> for Backend {
    type Rejection = Response;

    async fn from_request_parts(_: &mut Parts, state: &Arc<State>) -> Result<Backend, Response> {
        match (state.phase(), state.backend()) {
            (Phase::Ready, Some(backend)) => Ok(backend.clone()),
            (phase, _) => Err(unavailable(phase)),
        }
    }
}

/// What the query engine is told of whoever sent a request.
pub struct From(pub Origin);

impl FromRequestParts<Arc<State>> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<From, Infallible> {
        let peer = parts.extensions.get::<Peer>();
        // Without it, what is nested sees the end of its path only.
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
        Ok(From(Origin::Http {
            client: peer.map_or_else(String::new, |Peer(address)| address.ip().to_canonical().to_string()),
            method: parts.method.to_string(),
            path: uri.path().to_owned(),
        }))
    }
}

/// Middleware of `/api/v1` for the endpoints that need a ready server without using the backend.
pub async fn require_ready(Held(state): Held<Arc<State>>, request: Request, next: Next) -> Response {
    match state.phase() {
        Phase::Ready => next.run(request).await,
        phase => unavailable(phase),
    }
}

/// Middleware of `/api/v1`: which pages of other origins may read the answers.
pub async fn cors(Held(state): Held<Arc<State>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED || response.status() == StatusCode::NOT_FOUND {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    if origin.to_str().is_ok_and(|text| state.options.cors_origin.is_match(text)) {
        for (name, value) in CORS_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

const CORS_HEADERS: [(HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
];

pub async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found")
}

/// The answer to a method that an endpoint does not have.
pub fn wrong_method(allow: &'static str) -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Counts every request under its route (never under its path, which a client chooses).
pub async fn measure(Held(state): Held<Arc<State>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let handler = request.extensions().get::<MatchedPath>().map(|path| {
        let route = path.as_str();
        handler_name(route.strip_prefix(&*state.options.route_prefix).unwrap_or(route))
    });
    let response = next.run(request).await;
    match handler {
        Some(handler) => state.metrics.requests.follow(handler, started, response),
        None => response,
    }
}

/// `/label/{name}/values` -> `/label/:name/values`, the form that dashboards know.
fn handler_name(route: &str) -> String {
    route.replace('{', ":").replace('}', "")
}

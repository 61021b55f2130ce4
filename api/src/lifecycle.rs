//! Is it alive, is it ready, reload, quit; and the page at `/`.

use crate::error::plain;
use crate::state::{Phase, State};
use axum::extract::State as Held;
use axum::response::{Html, IntoResponse, Response};
use http::{Method, StatusCode};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The name under which probes and scripts know this answer.
const APPLICATION: &str = "Prometheus Server";

pub async fn healthy() -> String {
    format!("{APPLICATION} is Healthy.\n")
}

pub async fn ready(Held(state): Held<Arc<State>>) -> Response {
    match state.phase() {
        Phase::Ready => format!("{APPLICATION} is Ready.\n").into_response(),
        phase => unavailable(phase),
    }
}

/// What every request gets that came too early or too late.
pub fn unavailable(phase: Phase) -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    let stopping = if phase == Phase::Stopping { "true" } else { "false" };
    response.headers_mut().insert("x-prometheus-stopping", http::HeaderValue::from_static(stopping));
    response
}

/// What keeps a lifecycle request from being done: the wrong method, or no permission.
fn refusal(state: &State, method: &Method) -> Option<Response> {
    if method != Method::POST && method != Method::PUT {
        let text = "Only POST or PUT requests allowed";
        return Some((StatusCode::METHOD_NOT_ALLOWED, text).into_response());
    }
    (!state.options.enable_lifecycle)
        .then(|| (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response())
}

pub async fn reload(Held(state): Held<Arc<State>>, method: Method) -> Response {
    if let Some(refusal) = refusal(&state, &method) {
        return refusal;
    }
    let failed =
        |why: &str| plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("failed to reload config: {why}"));
    let (answer, outcome) = oneshot::channel();
    if state.reload_requests.send(answer).await.is_err() {
        return failed("the server is shutting down");
    }
    match outcome.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(why)) => failed(&why),
        Err(_) => failed("the server is shutting down"),
    }
}

pub async fn quit(Held(state): Held<Arc<State>>, method: Method) -> Response {
    if let Some(refusal) = refusal(&state, &method) {
        return refusal;
    }
    state.quit.notify_one();
    "Requesting termination... Goodbye!".into_response()
}

/// What runs here and where to go, until the user interface is there.
pub async fn index(Held(state): Held<Arc<State>>) -> Html<String> {
    let prefix = &state.options.route_prefix;
    let mut rows = String::new();
    for (path, what) in LINKS {
        rows.push_str(&format!("<li><a href=\"{prefix}{path}\">{path}</a> {what}</li>\n"));
    }
    let version = &state.options.build.application_version;
    let title = escape(&state.options.page_title);
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>Hearth {version}</h1>\n\
         <p>A Prometheus-compatible monitoring server. The user interface is not there yet; point Grafana \
         (data source type Prometheus) or promtool at this address.</p>\n<ul>\n{rows}</ul></body></html>\n"
    ))
}

const LINKS: &[(&str, &str)] = &[
    ("/api/v1/query?query=up", "which targets are up"),
    ("/api/v1/targets", "what is scraped"),
    ("/api/v1/rules", "the rules"),
    ("/api/v1/status/tsdb", "what the store holds"),
    ("/api/v1/status/config", "the configuration"),
    ("/api/v1/status/flags", "the flags"),
    ("/api/v1/status/buildinfo", "the version"),
    ("/metrics", "this server's own metrics"),
    ("/-/healthy", "whether it lives"),
    ("/-/ready", "whether it serves"),
];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

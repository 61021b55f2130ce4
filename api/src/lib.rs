//! HTTP: every URL of the server. [`router`] names them all; one file serves each family; [`error`] is
//! the one table of failures; [`guard`] holds what is the same for all.
//!
//! Architecture invariant: nothing here computes, stores or scrapes; handlers turn requests into calls of
//! the traits in [`state`] and answers into bytes.
#![forbid(unsafe_code)]

mod active;
mod admin;
pub mod config;
pub mod envelope;
pub mod error;
mod explain;
mod federate;
mod guard;
mod language;
mod lifecycle;
mod metadata;
pub mod metrics;
mod params;
mod push;
mod query;
mod replicas;
mod result;
mod rules;
pub mod state;
mod status;
mod targets;
mod write;

pub use replicas::ReplicaOptions;
pub use result::stats_json;
pub use state::{Backend, BuildInfo, LiveConfig, Options, Peer, Phase, ReloadRequest, ReloadState, State};
pub use write::{V1 as WRITE_V1, V2 as WRITE_V2};

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, any, get, on};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;

type Held = Arc<State>;

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PUT: MethodFilter = MethodFilter::PUT;
const PUSH: MethodFilter = PUT.or(POST).or(MethodFilter::DELETE);

/// A route with one handler for some methods; all others get Prometheus' answer.
fn route<H: Handler<T, Held>, T: 'static>(
    methods: MethodFilter,
    allow: &'static str,
    handler: H,
) -> MethodRouter<Held> {
    on(methods, handler).fallback(move || async move { guard::wrong_method(allow) })
}

fn read<H: Handler<T, Held>, T: 'static>(handler: H) -> MethodRouter<Held> {
    route(GET, "GET, OPTIONS", handler)
}

fn form<H: Handler<T, Held>, T: 'static>(handler: H) -> MethodRouter<Held> {
    route(GET.or(POST), "GET, OPTIONS, POST", handler)
}

fn change<H: Handler<T, Held>, T: 'static>(handler: H) -> MethodRouter<Held> {
    route(POST.or(MethodFilter::PUT), "OPTIONS, POST, PUT", handler)
}

/// Everything below `/api/v1`.
fn api(state: &Held) -> Router<Held> {
    let gated = Router::new()
        .route("/query", form(query::instant))
        .route("/query_range", form(query::range))
        .route("/format_query", form(language::format))
        .route("/parse_query", form(language::parse))
        .route("/explain_query", form(explain::explain))
        .route("/analyze_query", form(explain::analyze))
        .route("/query_exemplars", form(language::exemplars))
        .route("/series", form(metadata::series))
        .route("/labels", form(metadata::labels))
        .route("/label/{name}/values", read(metadata::label_values))
        .route("/metadata", read(targets::metadata))
        .route("/targets", read(targets::targets))
        .route("/targets/metadata", read(targets::targets_metadata))
        .route("/targets/relabel_steps", read(targets::relabel_steps))
        .route("/scrape_pools", read(targets::scrape_pools))
        .route("/scrape_pools/config", read(targets::pool_config))
        .route("/rules", read(rules::rules))
        .route("/alerts", read(rules::alerts))
        .route("/alertmanagers", read(rules::alertmanagers))
        .route("/status/config", read(status::config))
        .route("/status/runtimeinfo", read(status::runtime_info))
        .route("/status/buildinfo", read(status::build_info))
        .route("/status/flags", read(status::flags))
        .route("/status/tsdb", read(status::tsdb))
        .route("/status/active_queries", read(active::list))
        .route("/status/active_queries/{id}/kill", route(POST, "OPTIONS, POST", active::kill))
        .route("/metrics", read(push::groups))
        .route("/admin/wipe", route(PUT, "OPTIONS, PUT", push::wipe))
        .route("/write", route(POST, "OPTIONS, POST", write::write))
        .route("/admin/tsdb/delete_series", change(admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", change(admin::clean_tombstones))
        .route("/admin/tsdb/snapshot", change(admin::snapshot))
        .layer(from_fn_with_state(state.clone(), guard::require_ready));
    Router::new()
        .route("/status/walreplay", read(status::wal_replay))
        .route("/notifications", read(status::notifications))
        .merge(gated)
        .layer(from_fn_with_state(state.clone(), guard::cors))
        .layer(CompressionLayer::new().gzip(true).deflate(true))
}

/// Every URL of the server.
pub fn router(state: Held) -> Router {
    let routes = Router::new()
        .nest("/api/v1", api(&state))
        .route("/", read(lifecycle::index))
        // Where alerts and old bookmarks point; the page says what there is instead.
        .route("/graph", read(lifecycle::index))
        .route("/query", read(lifecycle::index))
        .route("/version", read(status::version))
        .route("/federate", read(federate::show).layer(CompressionLayer::new().gzip(true).deflate(true)))
        .route("/metrics/{*group}", route(PUSH, "DELETE, OPTIONS, POST, PUT", push::push))
        .route("/push/metrics", read(push::page).layer(CompressionLayer::new().gzip(true)))
        .route("/metrics", read(metrics::show).layer(CompressionLayer::new().gzip(true)))
        .route("/-/healthy", route(GET, "GET, HEAD, OPTIONS", lifecycle::healthy))
        .route("/-/ready", route(GET, "GET, HEAD, OPTIONS", lifecycle::ready))
        .route("/-/reload", any(lifecycle::reload))
        .route("/-/quit", any(lifecycle::quit));
    let routes = match state.options.route_prefix.as_str() {
        "" => routes,
        prefix => {
            let home = format!("{prefix}/");
            let to = home.clone();
            let redirect = move || async move { axum::response::Redirect::to(&to) };
            let home = Router::new().route(&home, read(lifecycle::index));
            Router::new().nest(prefix, routes).merge(home).route("/", get(redirect))
        }
    };
    routes
        .fallback(guard::not_found)
        .layer(from_fn_with_state(state.clone(), guard::measure))
        .with_state(state)
}

//! Requests in, answers out, over the in-memory store: statuses, headers and bodies, byte for byte as
//! Prometheus answers them.

use axum::body::Body;
use hearth_api::{Backend, BuildInfo, LiveConfig, Options, Peer, Phase, State, router};
use hearth_model::histogram::Span;
use hearth_model::matcher::regex::Regex;
use hearth_model::missing::{Missing, Why};
use hearth_model::replicas::Replicas;
use hearth_model::store::BoxFuture;
use hearth_model::testing::MemStore;
use hearth_model::{Ack, Histogram, Labels, Sample, StoreError, TimeRange, WriteBatch, stale_nan};
use hearth_promql::active::{ActiveQueries, ActiveQuery, QueryKind, Registration};
use hearth_promql::explain::{Asked, Explained};
use hearth_promql::syntax::ParseOptions;
use hearth_promql::{
    Answer, Engine, EngineOptions, InstantRequest, Query, QueryAdmin, QueryError, RangeRequest,
    RequestOptions,
};
use hearth_scrape::Scraper;
use hearth_scrape::push::{Gateway, GatewayOptions};
use hearth_wire::remote_write::Encoder;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tower::ServiceExt;

struct Server {
    state: Arc<State>,
    store: MemStore,
    reloads: mpsc::Receiver<hearth_api::ReloadRequest>,
}

fn options() -> Options {
    let build = BuildInfo {
        version: "3.14.0".into(),
        revision: "r".into(),
        branch: "b".into(),
        build_user: String::new(),
        build_date: String::new(),
        go_version: String::new(),
        application: "Hearth".into(),
        application_version: "0.1.0".into(),
    };
    Options {
        page_title: "T<".into(),
        external_url: "http://vm:9090".into(),
        route_prefix: String::new(),
        cors_origin: Regex::anchored("https?://good").expect("regex"),
        enable_lifecycle: false,
        enable_admin: false,
        enable_remote_write: true,
        enable_push_admin: false,
        replicas: None,
        replica_labels: Arc::new([]),
        accepted_messages: vec![hearth_api::WRITE_V1.into()],
        ack: Ack::Memory,
        query_timeout: Duration::from_secs(10),
        lookback: Duration::from_secs(300),
        max_concurrent_queries: 20,
        query_memory_bytes: 1 << 28,
        all_queries_memory_bytes: 1 << 29,
        query_cache_recent: Duration::from_secs(120),
        per_step_stats: false,
        parse_options: ParseOptions::default(),
        read_timeout: Duration::from_secs(5),
        flags: [("log.level".to_owned(), "info".to_owned())].into(),
        build,
        started: jiff::Timestamp::UNIX_EPOCH,
        working_directory: "/w".into(),
        hostname: "vm".into(),
    }
}

fn gateway() -> Arc<Gateway> {
    Arc::new(Gateway::new(GatewayOptions {
        clock: Arc::new(|| 7_000),
        job: "pushgateway".into(),
        ttl_ms: None,
        check: true,
        utf8_names: false,
    }))
}

impl Server {
    /// A server that is not ready yet.
    fn starting(change: impl FnOnce(&mut Options)) -> Server {
        let mut options = options();
        change(&mut options);
        let (requests, reloads) = mpsc::channel(1);
        Server { state: State::new(options, requests), store: MemStore::new(2), reloads }
    }

    /// A ready one, with two series of `up`.
    fn ready(change: impl FnOnce(&mut Options)) -> Server {
        let engine =
            |store: &MemStore| Arc::new(Engine::new(Replicas::new(store.clone()), EngineOptions::default()));
        Server::ready_with(change, engine)
    }

    /// The same with another query engine.
    fn ready_with<E: Query + QueryAdmin + 'static>(
        change: impl FnOnce(&mut Options),
        engine: impl FnOnce(&MemStore) -> Arc<E>,
    ) -> Server {
        let server = Server::starting(change);
        let store = &server.store;
        let mut batch = WriteBatch::default();
        for (job, value) in [("a", 1.0), ("b<", 0.0)] {
            let labels = Labels::from_pairs([("__name__", "up"), ("job", job)]);
            let at = |ms: i64| Sample { timestamp_ms: ms, value };
            batch.push(&labels, &[at(1_000_000), at(1_015_000), at(1_030_500)]);
        }
        assert_eq!(store.write(&batch).refused, []);
        let scraper = Scraper::start(hearth_scrape::Options {
            append: Arc::new(store.clone()),
            ack: Ack::Memory,
            clock: Arc::new(|| 0),
            seed: 0,
            features: hearth_scrape::Features::default(),
            gateway: server.state.options.enable_push_admin.then(gateway),
            user_agent: "test".into(),
            kept_targets: None,
            lanes: Vec::new(),
        });
        let engine = engine(store);
        server.state.set_ready(Backend {
            query: engine.clone(),
            queries: engine,
            append: Arc::new(store.clone()),
            catalogue: Arc::new(Replicas::new(store.clone())),
            admin: Arc::new(store.clone()),
            scraper,
        });
        server
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        match router(self.state.clone()).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn text(&self, request: Request<Body>) -> (u16, String) {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[track_caller]
    fn check(&self, request: Request<Body>, status: u16, expect: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let what = format!("{} {} at {caller}", request.method(), request.uri());
            let got = self.text(request).await;
            assert_eq!(got, (status, expect.to_owned()), "{what}");
        }
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("request")
}

fn post_form(path: &str, form: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Body::from(form.to_owned()))
        .expect("request")
}

fn bad_data(text: &str) -> String {
    let text = serde_json::to_string(text).expect("prints");
    format!("{{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":{text}}}")
}

#[tokio::test]
async fn instant_queries() {
    let server = Server::ready(|_| {});
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1030.500,"1"]},{"metric":{"__name__":"up","job":"b<"},"value":[1030.500,"0"]}]}}"#;
    server.check(get("/api/v1/query?query=up&time=1030.5"), 200, vector).await;
    server.check(post_form("/api/v1/query", "query=up&time=1030.5"), 200, vector).await;
    server.check(post_form("/api/v1/query?time=1030.5", "query=up"), 200, vector).await;
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[5,"1"]}}"#;
    server.check(get("/api/v1/query?query=1&time=5"), 200, scalar).await;
    let one = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1030.500,"1"]}]},"warnings":["results truncated due to limit"]}"#;
    server.check(get("/api/v1/query?query=up&time=1030.5&limit=1"), 200, one).await;
    let (_, text) = server.text(get("/api/v1/query?query=up&time=1030.5&stats=all")).await;
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read["data"]["stats"]["samples"]["totalQueryableSamples"], 2);
}

#[tokio::test]
async fn range_queries() {
    let server = Server::ready(|_| {});
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a"},"values":[[1000,"1"],[1015,"1"]]}]}}"#;
    let path = "/api/v1/query_range?query=sum%20by(job)(up%7Bjob%3D%22a%22%7D)&start=1000&end=1020&step=15s";
    server.check(get(path), 200, matrix).await;
    let refusals = [
        ("start=1&end=0&step=1", r#"invalid parameter "end": end timestamp must not be before start time"#),
        ("start=a&end=0&step=1", r#"invalid parameter "start": cannot parse "a" to a valid timestamp"#),
        ("start=1&end=b&step=1", r#"invalid parameter "end": cannot parse "b" to a valid timestamp"#),
        (
            "start=1&end=2&step=0",
            r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        ("start=1&end=2", r#"invalid parameter "step": cannot parse "" to a valid duration"#),
        (
            "start=1&end=20000&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
    ];
    for (query, text) in refusals {
        server.check(get(&format!("/api/v1/query_range?query=up&{query}")), 400, &bad_data(text)).await;
    }
}

/// Two jobs with the same metric: replicas for who calls `job` their label.
#[tokio::test]
async fn replicas_are_one_series_for_who_asks() {
    let value =
        |labels: &str, value: &str| format!(r#"{{"metric":{{{labels}}},"value":[1030.500,"{value}"]}}"#);
    let vector = |series: &[String]| {
        let series = series.join(",");
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
    };
    let merged = vector(&[value(r#""__name__":"up""#, "1")]);
    let apart =
        vector(&[value(r#""__name__":"up","job":"a""#, "1"), value(r#""__name__":"up","job":"b<""#, "0")]);
    let labels: Arc<[String]> = ["job".to_owned()].into();
    for (served, asked, expect) in [
        (false, "", &apart),
        (false, "&dedup=true", &apart),
        (false, "&replicaLabels[]=job", &merged),
        (false, "&replicaLabels[]=other&dedup=1", &apart),
        (true, "", &merged),
        (true, "&dedup=false", &apart),
        (true, "&dedup=true", &merged),
        (true, "&replicaLabels[]=other", &apart),
    ] {
        let labels = labels.clone();
        let server = Server::ready(|options| {
            if served {
                options.replica_labels = labels;
            }
        });
        server.check(get(&format!("/api/v1/query?query=up&time=1030.5{asked}")), 200, expect).await;
        let series = match expect == &merged {
            true => r#"{"status":"success","data":[{"__name__":"up"}]}"#,
            false => {
                r#"{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b<"}]}"#
            }
        };
        server.check(get(&format!("/api/v1/series?match[]=up{asked}")), 200, series).await;
    }
    let server = Server::ready(|_| {});
    let text = r#"invalid parameter "dedup": unable to parse boolean: strconv.ParseBool: parsing "x": invalid syntax"#;
    server.check(get("/api/v1/query?query=up&dedup=x"), 400, &bad_data(text)).await;
    let many = "&replicaLabels[]=a".repeat(17);
    let text = r#"invalid parameter "replicaLabels[]": more than 16 labels"#;
    server.check(get(&format!("/api/v1/query?query=up{many}")), 400, &bad_data(text)).await;
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let server = Server::ready(|_| {});
    let cases = [
        (
            "query",
            r#"invalid parameter "query": unknown position: parse error: no expression found in input"#,
        ),
        ("query?query=up(", r#"invalid parameter "query": 1:4: parse error: unclosed left parenthesis"#),
        (
            "query?query=up&time=foo",
            r#"invalid parameter "time": invalid time value for 'time': cannot parse "foo" to a valid timestamp"#,
        ),
        (
            "query?query=up&timeout=foo",
            r#"invalid parameter "timeout": cannot parse "foo" to a valid duration"#,
        ),
        (
            "query?query=up&limit=foo",
            r#"invalid parameter "limit": strconv.Atoi: parsing "foo": invalid syntax"#,
        ),
        (
            "query?query=up&lookback_delta=foo",
            r#"error parsing lookback delta duration: cannot parse "foo" to a valid duration"#,
        ),
        ("series", "no match[] parameter provided"),
        (
            "series?match[]=%7Ba=~%22.*%22%7D",
            r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
        ),
        (
            "series?match[]=up&start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        ("label/%ff/values", r#"invalid label name: "\xff""#),
        ("metadata?limit=x", "limit must be a number"),
        ("status/tsdb?limit=0", "limit must be a positive number"),
        ("rules?type=x", r#"invalid parameter "type": not supported value "x""#),
        (
            "rules?group_next_token=x",
            r#"invalid parameter "group_next_token": group_limit needs to be present in order to paginate over the groups"#,
        ),
        (
            "format_query?query=sum(",
            r#"invalid parameter "query": 1:5: parse error: unclosed left parenthesis"#,
        ),
    ];
    for (path, text) in cases {
        server.check(get(&format!("/api/v1/{path}")), 400, &bad_data(text)).await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_brackets_are_a_client_error() {
    let server = Server::ready(|_| {});
    for text in ["(".repeat(100_000), "-".repeat(100_000), "1+".repeat(100_000) + "1"] {
        let (status, body) =
            server.text(post_form("/api/v1/query", &format!("query={}", text.replace('+', "%2B")))).await;
        assert!(status == 400 || status == 422, "{status} {}", &body[..body.len().min(200)]);
        assert!(body.len() < 1_000);
    }
}

#[tokio::test]
async fn names_values_and_series() {
    let server = Server::ready(|_| {});
    let cases = [
        ("labels", r#"["__name__","job"]"#),
        ("labels?match[]=nosuch", "[]"),
        ("label/job/values", r#"["a","b\u003c"]"#),
        ("label/nosuch/values", "[]"),
        ("series?match[]=up", r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b<"}]"#),
        ("series?match[]=up&start=5&end=1", "[]"),
        ("status/config", r#"{"yaml":""}"#),
        ("status/flags", r#"{"log.level":"info"}"#),
        ("status/walreplay", r#"{"min":0,"max":0,"current":0}"#),
        ("scrape_pools", r#"{"scrapePools":[]}"#),
        ("targets", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
        ("targets?state=active", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}"#),
        ("metadata", "{}"),
        ("rules", r#"{"groups":[]}"#),
        ("alerts", r#"{"alerts":[]}"#),
        ("alertmanagers", r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#),
        ("format_query?query=sum(up)%2B1", r#""sum(up) + 1""#),
    ];
    for (path, data) in cases {
        let expect = format!("{{\"status\":\"success\",\"data\":{data}}}");
        server.check(get(&format!("/api/v1/{path}")), 200, &expect).await;
    }
    let cut = r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#;
    server.check(post_form("/api/v1/labels", "limit=1"), 200, cut).await;
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let server = Server::ready(|_| {});
    server.store.set_missing(vec![Missing { range: TimeRange::new(900_000, 999_999), why: Why::Awaited }]);
    let warned = concat!(
        r#""warnings":["samples from 1970-01-01T00:15:00Z to 1970-01-01T00:16:39Z "#,
        r#"are still being taken over, some may be missing here""#
    );
    let cases = [
        ("query?query=up&time=1100", true),
        ("query?query=up&time=1500", false),
        ("query?query=1&time=1100", false),
        ("query_range?query=up&start=600&end=1200&step=60", true),
        ("query_range?query=up&start=1300&end=1500&step=60", false),
        ("labels", true),
        ("labels?start=1000&end=1200", false),
        ("labels?start=100&end=950", true),
        ("label/job/values", true),
        ("label/job/values?start=1000", false),
        ("series?match[]=up", true),
        ("series?match[]=up&start=1000&end=1200", false),
    ];
    for (path, told) in cases {
        let (status, body) = server.text(get(&format!("/api/v1/{path}"))).await;
        assert_eq!((status, body.contains(warned)), (200, told), "{path}: {body}");
        assert_eq!(body.contains("warnings"), told, "{path}: {body}");
    }
    let (_, body) = server.text(post_form("/api/v1/labels", "limit=1")).await;
    assert!(body.ends_with(&format!("{warned},\"results truncated due to limit\"]}}")), "{body}");
}

#[tokio::test]
async fn rules_are_listed_unevaluated() {
    let server = Server::ready(|_| {});
    let text = "groups:\n- name: g\n  rules:\n  - {record: r, expr: up, labels: {x: <y>}}\n\
                \x20 - {alert: A, expr: up == 0, for: 5m, annotations: {s: t}}\n- name: h\n  rules: [{record: q, expr: up}]\n";
    let file = hearth_alerting::parse("r.yml", text, &ParseOptions::default()).expect("valid");
    server.state.live.store(Arc::new(LiveConfig {
        rules: vec![file],
        evaluation_interval_ms: 15_000,
        ..LiveConfig::default()
    }));
    let unknown = r#""health":"unknown","evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z""#;
    let alert = format!(
        r#"{{"status":"success","data":{{"groups":[{{"name":"g","file":"r.yml","rules":[{{"state":"unknown","name":"A","query":"up == 0","duration":300,"keepFiringFor":0,"labels":{{}},"annotations":{{"s":"t"}},"alerts":[],{unknown},"type":"alerting"}}],"interval":15,"limit":0,"evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z"}}]}}}}"#
    );
    server.check(get("/api/v1/rules?type=alert"), 200, &alert).await;
    let (_, page) = server.text(get("/api/v1/rules?group_limit=1")).await;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let token = page["data"]["groupNextToken"].as_str().expect("token");
    let (_, rest) = server.text(get(&format!("/api/v1/rules?group_limit=1&group_next_token={token}"))).await;
    let rest: serde_json::Value = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(rest["data"]["groups"][0]["name"], "h");
    assert_eq!(rest["data"]["groupNextToken"], serde_json::Value::Null);
}

#[tokio::test]
async fn nothing_is_served_before_recovery_or_after_the_end() {
    let server = Server::starting(|_| {});
    for path in ["/api/v1/query?query=1", "/api/v1/labels", "/api/v1/status/config", "/-/ready"] {
        let response = server.send(get(path)).await;
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(response.headers()["x-prometheus-stopping"], "false");
    }
    server.check(get("/-/healthy"), 200, "Prometheus Server is Healthy.\n").await;
    assert_eq!(server.send(get("/metrics")).await.status(), 200);
    assert_eq!(server.send(get("/api/v1/status/walreplay")).await.status(), 200);
    let server = Server::ready(|_| {});
    server.check(get("/-/ready"), 200, "Prometheus Server is Ready.\n").await;
    server.state.set_stopping();
    assert_eq!(server.state.phase(), Phase::Stopping);
    assert_eq!(server.send(get("/-/ready")).await.headers()["x-prometheus-stopping"], "true");
}

#[tokio::test]
async fn wrong_paths_and_methods() {
    let server = Server::ready(|_| {});
    server.check(get("/nosuch"), 404, "404 page not found\n").await;
    server.check(get("/api/v1/nosuch"), 404, "404 page not found\n").await;
    let put = Request::put("/api/v1/query").body(Body::empty()).expect("request");
    let response = server.send(put).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET, OPTIONS, POST".parse().expect("value"))
    );
    let options = Request::options("/api/v1/query").body(Body::empty()).expect("request");
    let response = server.send(options).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["vary"]),
        (204, &"Origin".parse().expect("value"))
    );
    server.check(get("/-/reload"), 405, "Only POST or PUT requests allowed").await;
    server.check(post_form("/-/reload", ""), 403, "Lifecycle API is not enabled.").await;
}

#[tokio::test]
async fn other_origins_may_read_where_allowed() {
    let server = Server::ready(|_| {});
    for (origin, allowed) in [("http://good", true), ("http://good.evil", false)] {
        let mut request = get("/api/v1/query?query=1");
        request.headers_mut().insert("origin", origin.parse().expect("value"));
        let response = server.send(request).await;
        let found = response.headers().get("access-control-allow-origin").map(|v| v.to_str().expect("text"));
        assert_eq!(found, allowed.then_some(origin));
    }
}

#[tokio::test]
async fn answers_are_compressed_on_request() {
    let server = Server::ready(|_| {});
    let mut request = get("/api/v1/query?query=up&time=1030");
    request.headers_mut().insert("accept-encoding", "gzip".parse().expect("value"));
    assert_eq!(server.send(request).await.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn reload_passes_on_what_went_wrong() {
    let mut server = Server::ready(|options| options.enable_lifecycle = true);
    let state = server.state.clone();
    let asked =
        tokio::spawn(async move { router(state).oneshot(post_form("/-/reload", "")).await.expect("served") });
    let request = server.reloads.recv().await.expect("asked");
    request.send(Err("p.yml:1:1: wrong".to_owned())).expect("waiting");
    let response = asked.await.expect("answered");
    assert_eq!(response.status(), 500);
    let body = response.into_body().collect().await.expect("body").to_bytes();
    assert_eq!(body, "failed to reload config: p.yml:1:1: wrong\n");
}

#[tokio::test]
async fn a_route_prefix_moves_everything() {
    let server = Server::ready(|options| options.route_prefix = "/prom".into());
    assert_eq!(server.send(get("/prom/-/healthy")).await.status(), 200);
    assert_eq!(server.send(get("/prom/api/v1/labels")).await.status(), 200);
    assert_eq!(server.send(get("/")).await.headers()["location"], "/prom/");
    for home in ["/prom", "/prom/"] {
        assert_eq!(server.send(get(home)).await.status(), 200, "{home}");
    }
    assert_eq!(server.send(get("/api/v1/labels")).await.status(), 404);
}

#[tokio::test]
async fn the_page_and_the_metrics_name_the_server() {
    let server = Server::ready(|_| {});
    let (status, page) = server.text(get("/")).await;
    assert!(status == 200 && page.contains("Hearth 0.1.0") && page.contains("T&lt;"), "{page}");
    server.send(get("/api/v1/label/job/values")).await.into_body().collect().await.expect("body");
    let (_, metrics) = server.text(get("/metrics")).await;
    for line in [
        "prometheus_build_info{branch=\"b\",goarch=",
        "prometheus_http_requests_total{code=\"200\",handler=\"/api/v1/label/:name/values\"} 1\n",
        "prometheus_tsdb_head_series 2\n",
        "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 6\n",
        "prometheus_engine_queries 0\n",
        "prometheus_ready 1\n",
        "hearth_shards 2\n",
        "prometheus_tsdb_retention_limit_seconds 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

fn write_request(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut batch = WriteBatch::default();
    let samples: Vec<_> =
        samples.iter().map(|&(timestamp_ms, value)| Sample { timestamp_ms, value }).collect();
    batch.push(&Labels::from_pairs([("__name__", "w")]), &samples);
    let mut body = Vec::new();
    Encoder::default().encode(&batch, &[], &mut body);
    body
}

fn post_write(body: Vec<u8>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post("/api/v1/write").body(Body::from(body)).expect("request");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("name");
        request.headers_mut().insert(name, value.parse().expect("value"));
    }
    request
}

const SNAPPY: &[(&str, &str)] = &[("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];

#[tokio::test]
async fn remote_write_stores_and_counts() {
    let server = Server::ready(|_| {});
    let response = server.send(post_write(write_request(&[(1_000, 1.0), (2_000, 2.0)]), SNAPPY)).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["x-prometheus-remote-write-samples-written"], "2");
    // Sent again after a lost answer: known bit for bit, and fine.
    server.check(post_write(write_request(&[(1_000, 1.0), (2_000, 2.0)]), &[]), 204, "").await;
    let mixed = write_request(&[(2_000, 5.0), (3_000, 3.0)]);
    let text = "duplicate sample for timestamp: 1 samples, first of w; 1 samples are stored\n";
    server.check(post_write(mixed, SNAPPY), 400, text).await;
    let stored = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"w"},"value":[3,"3"]}]}}"#;
    server.check(get("/api/v1/query?query=w&time=3"), 200, stored).await;
}

#[tokio::test]
async fn one_of_several_replicas_is_stored() {
    let server = Server::ready(|options| {
        options.replicas = Some(hearth_api::ReplicaOptions {
            cluster_label: "cluster".into(),
            replica_label: "__replica__".into(),
            failover: std::time::Duration::from_secs(3_600),
        });
    });
    let write = |replica: &str, value: f64| {
        let labels = [("__name__", "w"), ("__replica__", replica), ("cluster", "c")];
        let (mut batch, mut body) = (WriteBatch::default(), Vec::new());
        batch.push(&Labels::from_pairs(labels), &[Sample { timestamp_ms: 1_000, value }]);
        Encoder::default().encode(&batch, &[], &mut body);
        post_write(body, SNAPPY)
    };
    server.check(write("a", 1.0), 204, "").await;
    server.check(write("b", 2.0), 202, "").await;
    let stored = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"w","cluster":"c"},"value":[1,"1"]}]}}"#;
    server.check(get("/api/v1/query?query=w&time=1"), 200, stored).await;
    let (_, page) = server.text(get("/metrics")).await;
    assert!(page.contains("hearth_replicas_dropped_samples_total 1\n"), "{page}");
}

#[tokio::test]
async fn remote_write_refuses_what_it_cannot_read() {
    let server = Server::ready(|_| {});
    let body = write_request(&[(1_000, 1.0)]);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let text = "expected application/x-protobuf as the first (media) part, got application/x-www-form-urlencoded content-type\n";
    server.check(post_write(body.clone(), &form), 415, text).await;
    let other = [("content-type", "application/x-protobuf;proto=foo")];
    let text = "got application/x-protobuf;proto=foo content type; unknown remote write protobuf message foo, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request\n";
    server.check(post_write(body.clone(), &other), 415, text).await;
    let two = [("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")];
    let text = "io.prometheus.write.v2.Request protobuf message is not accepted by this server; only accepts prometheus.WriteRequest\n";
    server.check(post_write(body.clone(), &two), 415, text).await;
    let gzip = [("content-encoding", "gzip")];
    let text = "gzip encoding (compression) is not accepted by this server; only snappy is acceptable\n";
    server.check(post_write(body.clone(), &gzip), 415, text).await;
    for broken in [
        b"garbage".to_vec(),
        Vec::new(),
        vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0],
        body[..body.len() - 1].to_vec(),
    ] {
        let (status, text) = server.text(post_write(broken, SNAPPY)).await;
        assert_eq!(status, 400, "{text}");
    }
    let (status, _) = server.text(post_write(vec![0; (32 << 20) + 1], SNAPPY)).await;
    assert_eq!(status, 413);
    let get = get("/api/v1/write");
    assert_eq!(server.send(get).await.status(), 405);
    let disabled = Server::ready(|options| options.enable_remote_write = false);
    let text = "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n";
    disabled.check(post_write(body, SNAPPY), 404, text).await;
}

#[tokio::test]
async fn pushes() {
    let server = Server::ready(|options| options.enable_push_admin = true);
    let send = |method: &str, path: &str, body: &str| {
        Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).expect("request")
    };
    server.check(send("PUT", "/metrics/job/a", "x 1\n"), 200, "").await;
    server.check(send("POST", "/metrics/job@base64/Yi9j/l/%2F?ttl=1m", "x 2\n"), 200, "").await;
    server
        .check(send("PUT", "/metrics/job/a", "x 1 5\n"), 400, "pushed metrics must not have timestamps\n")
        .await;
    server
        .check(send("PUT", "/metrics/job/a?ttl=x", ""), 400, "ttl: not a valid duration string: \"x\"\n")
        .await;
    server.check(send("PUT", "/metrics/x/a", ""), 400, "the path must begin with job\n").await;
    let bad = Request::put("/metrics/job/a").header("content-encoding", "br").body(Body::empty());
    let text = "the body's encoding must be gzip, snappy or none\n";
    server.check(bad.expect("request"), 400, text).await;
    assert_eq!(server.send(get("/metrics/job/a")).await.status(), 405);
    let (status, page) = server.text(get("/push/metrics")).await;
    let series = "x{job=\"a\",instance=\"\"} 1\nx{job=\"b/c\",l=\"/\",instance=\"\"} 2\n";
    assert!(status == 200 && page.contains(series), "{page}");
    let (_, json) = server.text(get("/api/v1/metrics")).await;
    assert!(
        json.contains(r#""labels":{"job":"b/c","l":"/"}"#) && json.contains("1970-01-01T00:01:07Z"),
        "{json}"
    );
    server.check(send("DELETE", "/metrics/job/a", ""), 202, "").await;
    server.check(send("PUT", "/api/v1/admin/wipe", ""), 202, "").await;
    server.check(get("/api/v1/metrics"), 200, r#"{"status":"success","data":[]}"#).await;
    let without = Server::ready(|_| {});
    let text = "the push gateway needs to be enabled with --push.enable\n";
    without.check(send("PUT", "/metrics/job/a", "x 1\n"), 404, text).await;
    without.check(get("/push/metrics"), 404, text).await;
}

#[tokio::test]
async fn relabelling_is_explained() {
    let server = Server::ready(|_| {});
    let yaml = "job_name: j\nrelabel_configs:\n- {source_labels: [a], target_label: b}\n- {source_labels: [b], regex: x, action: keep}\n- {target_label: c, replacement: d}\n";
    let mut configs = vec![serde_yaml::from_str(yaml).expect("YAML")];
    let mut global = hearth_scrape::config::GlobalConfig::default();
    hearth_scrape::config::resolve(&mut global, &mut configs, std::path::Path::new("/")).expect("valid");
    let backend = server.state.backend().expect("ready");
    backend.scraper.apply(backend.scraper.prepare(configs).expect("plan")).await;
    let steps = r#"{"status":"success","data":{"steps":[{"rule":{"source_labels":["a"],"separator":";","target_label":"b","replacement":"$1","action":"replace"},"output":{"a":"y","b":"y"},"keep":true},{"rule":{"source_labels":["b"],"separator":";","regex":"x","replacement":"$1","action":"keep"},"output":{},"keep":false},{"rule":{"separator":";","target_label":"c","replacement":"d","action":"replace"},"output":{},"keep":false}]}}"#;
    let path = "/api/v1/targets/relabel_steps?scrapePool=j&labels=%7B%22a%22:%22y%22%7D";
    server.check(get(path), 200, steps).await;
    let path = "/api/v1/targets/relabel_steps?labels=%7B%7D";
    server.check(get(path), 400, &bad_data("no scrapePool parameter provided")).await;
    let (status, text) = server.text(get("/api/v1/scrape_pools/config?scrapePool=j")).await;
    assert!(status == 200 && text.contains("job_name: j\\nhonor_timestamps: true"), "{text}");
    assert_eq!(server.text(get("/api/v1/scrape_pools/config?scrapePool=k")).await.0, 404);
}

#[tokio::test]
async fn what_may_work_later_is_never_the_senders_fault() {
    let server = Server::ready(|_| {});
    for error in
        [StoreError::Overloaded, StoreError::ReadOnly("disk full".into()), StoreError::Io("EIO".into())]
    {
        server.store.fail_appends(Some(error));
        let response = server.send(post_write(write_request(&[(1_000, 1.0)]), SNAPPY)).await;
        assert_eq!(response.status(), 503);
        let seconds: u64 =
            response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((5..=15).contains(&seconds));
    }
}

/// What a real Prometheus 3.5 answers: external labels behind the series' own, `instance=""` where there is
/// none, families by name, nothing that ended, escaping as asked.
#[tokio::test]
async fn federation() {
    let server = Server::ready(|_| {});
    let external = [("region".to_owned(), "eu".to_owned()), ("job".to_owned(), "unused".to_owned())];
    let live = LiveConfig { external_labels: external.into(), ..LiveConfig::default() };
    server.state.live.store(Arc::new(live));
    let now = jiff::Timestamp::now().as_millisecond();
    let mut batch = WriteBatch::default();
    let mut push = |pairs: &[(&str, &str)], samples: &[(i64, f64)]| {
        let sample = |(age, value): &(i64, f64)| Sample { timestamp_ms: now - age, value: *value };
        let samples: Vec<_> = samples.iter().map(sample).collect();
        batch.push(&Labels::from_pairs(pairs.iter().copied()), &samples);
    };
    push(&[("__name__", "up"), ("job", "a")], &[(2_000, 1.0), (1_000, 1e-7)]);
    push(&[("__name__", "up"), ("job", "b"), ("instance", "i")], &[(1_000, f64::INFINITY)]);
    push(&[("__name__", "up"), ("job", "ended")], &[(2_000, 1.0), (1_000, stale_nan())]);
    push(&[("__name__", "up"), ("job", "old")], &[(400_000, 1.0)]);
    push(&[("__name__", "go.threads"), ("my.label", "\"")], &[(1_000, 8.0)]);
    assert_eq!(server.store.write(&batch).refused, []);
    let at = now - 1_000;
    let url = "/federate?match[]=up&match[]=%7B__name__=~%22go.*%22%7D&match[]=%7Bjob=~%22a%22%7D";
    let expect = format!(
        "# TYPE go_threads untyped\ngo_threads{{my_label=\"\\\"\",instance=\"\",job=\"unused\",region=\"eu\"}} 8 {at}\n\
         # TYPE up untyped\nup{{instance=\"i\",job=\"b\",region=\"eu\"}} +Inf {at}\n\
         up{{job=\"a\",instance=\"\",region=\"eu\"}} 1e-07 {at}\n"
    );
    server.check(get(url), 200, &expect).await;

    let mut request = get("/federate?match[]=%7B__name__=~%22go.*%22%7D");
    let accept = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2".parse().expect("header");
    request.headers_mut().insert("accept", accept);
    let response = server.send(request).await;
    let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";
    assert_eq!(response.headers()["content-type"], kind);
    let body = response.into_body().collect().await.expect("body").to_bytes();
    let expect = format!(
        "# TYPE \"go.threads\" untyped\n{{\"go.threads\",\"my.label\"=\"\\\"\",instance=\"\",job=\"unused\",region=\"eu\"}} 8 {at}\n"
    );
    assert_eq!(String::from_utf8_lossy(&body), expect);

    server.check(get("/federate"), 200, "").await;
    let wrong = "1:4: parse error: unexpected end of input inside braces\n";
    server.check(get("/federate?match[]=%7Ba="), 400, wrong).await;
    assert_eq!(server.text(post_form("/federate", "")).await.0, 405);
}

/// Histograms with listed bounds go out as classic ones; exponential ones have no place in the text format.
#[tokio::test]
async fn federation_of_histograms() {
    let server = Server::ready(|_| {});
    let now = jiff::Timestamp::now().as_millisecond() - 10;
    let custom = Histogram {
        schema: -53,
        count: 6.0,
        sum: 7.5,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_counts: vec![1.0, 2.0, 3.0],
        custom_values: vec![0.5, 1.0],
        ..Histogram::stale()
    };
    let exponential = Histogram { count: 0.0, sum: 0.0, ..Histogram::stale() };
    let mut batch = WriteBatch::default();
    for (name, histogram) in [("listed", custom), ("exponential", exponential)] {
        batch.push(&Labels::from_pairs([("__name__", name)]), &[]);
        batch.histograms.push((now, histogram));
        let end = batch.histograms.len() as u32;
        batch.series.last_mut().expect("a series").histograms = end - 1..end;
    }
    assert_eq!(server.store.write(&batch).refused, []);
    let expect = format!(
        "# TYPE listed histogram\nlisted_bucket{{instance=\"\",le=\"0.5\"}} 1 {now}\n\
         listed_bucket{{instance=\"\",le=\"1\"}} 3 {now}\nlisted_bucket{{instance=\"\",le=\"+Inf\"}} 6 {now}\n\
         listed_sum{{instance=\"\"}} 7.5 {now}\nlisted_count{{instance=\"\"}} 6 {now}\n"
    );
    server.check(get("/federate?match[]=%7B__name__=~%22.%2Bed%7Cexpo.*%22%7D"), 200, &expect).await;
}

/// A query engine whose queries end only when they are told to stop.
struct Endless(hearth_promql::active::ActiveQueries);

impl Endless {
    fn run(&self, text: String, options: RequestOptions) -> BoxFuture<'_, Result<Answer, QueryError>> {
        let registration = Registration {
            text,
            kind: QueryKind::Instant,
            start_ms: 5_000,
            end_ms: 5_000,
            step_ms: 0,
            steps: 1,
            origin: options.origin,
        };
        let registered = self.0.register(registration, options.context.clone());
        Box::pin(async move {
            registered.begins();
            let why = options.context.stopped().await;
            Err(QueryError::stopped(why, "expression evaluation"))
        })
    }
}

impl Query for Endless {
    fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        self.run(request.text, request.options)
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        self.run(request.text, request.options)
    }

    fn explain(&self, _: Asked, _: bool) -> BoxFuture<'_, Result<Explained, QueryError>> {
        Box::pin(async { Err(QueryError::BadData("nothing to explain".to_owned())) })
    }
}

impl QueryAdmin for Endless {
    fn active(&self) -> Vec<ActiveQuery> {
        self.0.list()
    }

    fn kill(&self, id: u64) -> bool {
        self.0.kill(id)
    }
}

/// Polls once, which takes a request up to where it waits for its query.
fn starts<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn active_queries_are_shown_and_can_be_killed() {
    let server = Server::ready_with(|_| {}, |_| Arc::new(Endless(ActiveQueries::default())));
    let listed = async || {
        let (status, text) = server.text(get("/api/v1/status/active_queries")).await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["data"].take()
    };
    assert_eq!(
        listed().await,
        serde_json::json!({"maxConcurrency": 20, "running": 0, "queued": 0, "queries": []})
    );
    let mut request = get("/api/v1/query?query=sleep&time=5");
    request.extensions_mut().insert(Peer("[::ffff:10.1.2.3]:4".parse().expect("an address")));
    let mut query = std::pin::pin!(server.text(request));
    assert!(starts(query.as_mut()).is_pending());
    let data = listed().await;
    let shown = &data["queries"][0];
    for (field, expect) in
        [("query", "sleep"), ("kind", "instant"), ("state", "running"), ("client", "10.1.2.3")]
    {
        assert_eq!(shown[field], expect, "{data}");
    }
    assert_eq!((&shown["start"], &shown["steps"], &data["running"]), (&5.into(), &1.into(), &1.into()));
    let unknown = r#"{"status":"error","errorType":"not_found","error":"no active query has the id \"99\""}"#;
    server.check(post_form("/api/v1/status/active_queries/99/kill", ""), 404, unknown).await;
    let killed = r#"{"status":"success","data":{"killed":1}}"#;
    server.check(post_form("/api/v1/status/active_queries/1/kill", ""), 200, killed).await;
    let canceled =
        r#"{"status":"error","errorType":"canceled","error":"query was canceled in expression evaluation"}"#;
    assert_eq!(query.await, (499, canceled.to_owned()));
    assert_eq!(listed().await["queries"], serde_json::json!([]));
}

#[tokio::test]
async fn a_client_that_hangs_up_or_waits_too_long_ends_its_query() {
    let server = Server::ready_with(|_| {}, |_| Arc::new(Endless(ActiveQueries::default())));
    let admin = server.state.backend().expect("ready").queries.clone();
    {
        let mut query = std::pin::pin!(server.text(get("/api/v1/query?query=sleep")));
        assert!(starts(query.as_mut()).is_pending());
        assert_eq!(admin.active().len(), 1);
    }
    assert!(admin.active().is_empty());
    let timed_out =
        r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    server.check(get("/api/v1/query?query=sleep&timeout=1ms"), 503, timed_out).await;
}

#[tokio::test]
async fn a_plan_is_explained_and_analyzed() {
    let server = Server::ready(|_| {});
    let range = "query=sum%20by(job)(rate(up[1m]))%20/%20scalar(sum(up))&start=1000&end=1030&step=15";
    let (status, text) = server.text(get(&format!("/api/v1/explain_query?{range}"))).await;
    assert_eq!(status, 200, "{text}");
    let data = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["data"].take();
    assert_eq!(data["steps"], 3);
    assert_eq!(data["shards"], 2);
    assert_eq!(data["finish"]["operator"], "operator /");
    let fragment = &data["fragments"][0];
    assert_eq!((&fragment["indexSeries"], &fragment["uses"]), (&2.into(), &1.into()), "{data}");
    assert_eq!(fragment["pushedDown"], serde_json::json!(["sum by (job)"]));
    assert!(data.get("totals").is_none() && fragment.get("cost").is_none());
    let (_, text) = server.text(get(&format!("/api/v1/analyze_query?{range}"))).await;
    let data = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["data"].take();
    assert_eq!(data["totals"]["resultSeries"], 2, "{data}");
    assert_eq!(data["fragments"][0]["cost"]["samplesRead"], 4, "{data}");
    assert!(data["finish"]["cost"]["wallSeconds"].is_f64());
    let (_, text) = server.text(get(&format!("/api/v1/analyze_query?{range}&format=text"))).await;
    assert!(text.contains("index: 2 series") && text.contains("result: 2 series"), "{text}");
    server
        .check(
            get("/api/v1/explain_query?query=up{"),
            400,
            &bad_data("invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces"),
        )
        .await;
}

#[tokio::test]
async fn samples_are_counted_by_step_where_that_is_on() {
    let server = Server::ready(|options| options.per_step_stats = true);
    let path = "/api/v1/query_range?query=count_over_time(up[16s])&start=1000&end=1030&step=15&stats=all";
    let (_, text) = server.text(get(path)).await;
    let samples =
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["data"]["stats"]["samples"].take();
    let steps = serde_json::json!([[1000, 2], [1015, 4], [1030, 2]]);
    assert_eq!(samples["totalQueryableSamplesPerStep"], steps);
    assert_eq!(samples["totalQueryableSamples"], 8);
}

#[tokio::test]
async fn series_are_deleted_where_that_is_allowed() {
    let server = Server::ready(|_| {});
    let disabled = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
    for action in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        server.check(post_form(&format!("/api/v1/admin/tsdb/{action}"), ""), 500, disabled).await;
    }
    let server = Server::ready(|options| options.enable_admin = true);
    let delete = "/api/v1/admin/tsdb/delete_series";
    server.check(post_form(delete, ""), 400, &bad_data("no match[] parameter provided")).await;
    server.check(post_form(delete, r#"match[]=up{job="a"}&start=1010&end=1020"#), 204, "").await;
    let form = Request::put(delete)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(r#"match[]={job="b<"}"#))
        .expect("request");
    server.check(form, 204, "").await;
    let left = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1031,"2"]}]}}"#;
    server.check(get("/api/v1/query?query=count_over_time(up[2m])&time=1031"), 200, left).await;
    server.check(post_form("/api/v1/admin/tsdb/clean_tombstones", ""), 204, "").await;
    let switch = "invalid parameter \"skip_head\": unable to parse boolean: strconv.ParseBool: parsing \"x\": invalid syntax";
    server.check(post_form("/api/v1/admin/tsdb/snapshot?skip_head=x", ""), 400, &bad_data(switch)).await;
    let (status, text) = server.text(post_form("/api/v1/admin/tsdb/snapshot", "")).await;
    assert!(status == 500 && text.contains("create snapshot: storage I/O failed"), "{text}");
    assert_eq!(server.send(get(delete)).await.status(), 405);
}

//! Single scrapes: a job's YAML and a target's answers in, what is stored and shown out.

mod following;

use super::*;
use crate::context::{Buffers, Context};
use crate::counters::ScrapeCounters;
use crate::discovery::static_list;
use crate::scraper::Features;
use crate::target::{self, Found};
use crate::testing::{Answer, Recorder, config, recorder, target as serve};
use flate2::Compression;
use flate2::write::GzEncoder;
use hearth_model::{Ack, StoreError};
use std::io::Write;
use tokio::sync::mpsc::UnboundedReceiver;

struct Rig {
    cycle: Cycle,
    context: Arc<Context>,
    entry: Arc<TargetEntry>,
    store: Arc<Recorder>,
    batches: UnboundedReceiver<String>,
    address: String,
    requests: Arc<std::sync::Mutex<Vec<String>>>,
    at_ms: i64,
}

fn plan(yaml: &str, address: &str) -> LoopPlan {
    let job = Arc::new(Job::new(config(yaml, address), "Hearth/test", None, None).expect("job"));
    let entry = crate::config::StaticConfig { targets: vec![address.to_owned()], ..Default::default() };
    let group = static_list::group("0".into(), &entry, &[]);
    let found = target::find(&job.config, &job.target_rules, &group.targets[0], &group).expect("target");
    let Found::Active(target) = found else { panic!("dropped") };
    LoopPlan { job, target: Arc::new(target), forced_error: None }
}

async fn rig(yaml: &str, answers: Vec<Answer>) -> Rig {
    rig_with(yaml, Features::default(), answers).await
}

async fn rig_with(yaml: &str, features: Features, answers: Vec<Answer>) -> Rig {
    let (address, requests) = serve(answers).await;
    let (store, batches) = recorder();
    let context = Arc::new(Context {
        append: Arc::clone(&store) as _,
        ack: Ack::Written,
        clock: Arc::new(|| 1_000_000),
        seed: 0,
        features,
        counters: ScrapeCounters::default(),
        buffers: Buffers::default(),
        lanes: Vec::new(),
    });
    let entry = Arc::new(TargetEntry::default());
    let cycle = Cycle::new(Arc::clone(&context), Arc::clone(&entry), plan(yaml, &address));
    Rig { cycle, context, entry, store, batches, address, requests, at_ms: 0 }
}

impl Rig {
    /// One scrape; what was stored, without `job` and `instance`.
    async fn scrape(&mut self) -> String {
        self.at_ms += 1_000;
        self.cycle.scrape(self.at_ms, std::future::pending()).await;
        self.stored()
    }

    fn stored(&mut self) -> String {
        let text = self.batches.try_recv().expect("a batch for each scrape");
        let own = format!("instance=\"{}\", job=\"j\"", self.address);
        text.replace(&format!("{own}, "), "")
            .replace(&format!(", {own}"), "")
            .replace(&format!("{{{own}}}"), "")
            .replace(&own, "")
    }

    fn last_error(&self) -> String {
        self.entry.state().last_error.replace(&self.address, "ADDRESS")
    }
}

/// `up`, scraped, kept, added.
fn report(figures: [i64; 4], at: i64) -> String {
    let names =
        ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
    let lines: Vec<String> =
        names.iter().zip(figures).map(|(name, value)| format!("{name} {value}@{at}")).collect();
    lines.join("\n")
}

/// Samples under a roster are counted behind the others.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Bodies in; for each, the stored samples and the four figures.
#[track_caller]
fn check(yaml: &str, steps: &[(&str, &str, [i64; 4])]) -> impl Future<Output = Rig> {
    let (yaml, steps): (String, Vec<(String, String, [i64; 4])>) =
        (yaml.into(), steps.iter().map(|(a, b, c)| ((*a).into(), (*b).into(), *c)).collect());
    async move {
        let mut rig = rig(&yaml, steps.iter().map(|(body, ..)| Answer::text(body)).collect()).await;
        for (body, expect, figures) in steps {
            let may_follow = rig.cycle.trail.is_laid();
            let got = rig.scrape().await;
            let separator = if expect.is_empty() { "" } else { "\n" };
            let expect = format!("{expect}{separator}{}", report(figures, rig.at_ms));
            match may_follow {
                true => assert_eq!(sorted(&got), sorted(&expect), "{body}"),
                false => assert_eq!(got, expect, "{body}"),
            }
        }
        rig
    }
}

#[tokio::test]
async fn samples_are_stored_and_vanished_series_end() {
    let rig = check(
        "",
        &[
            ("a 1\nb{x=\"y\"} 2\n", "a 1@1000\nb{x=\"y\"} 2@1000", [1, 2, 2, 2]),
            ("a 3\n", "a 3@2000\nb{x=\"y\"} stale@2000", [1, 1, 1, 0]),
            ("a 4\nb{x=\"y\"} 5\n", "a 4@3000\nb{x=\"y\"} 5@3000", [1, 2, 2, 1]),
            ("a 4\nb{x=\"y\" 5\n", "a stale@4000\nb{x=\"y\"} stale@4000", [0, 1, 1, 0]),
            ("a 4\n", "a 4@5000", [1, 1, 1, 0]),
        ],
    )
    .await;
    let head = rig.requests.lock().expect("lock")[0].to_lowercase();
    for expect in [
        "get /metrics http/1.1\r\n",
        "accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
        "accept-encoding: gzip\r\n",
        "user-agent: hearth/test\r\n",
        "x-prometheus-scrape-timeout-seconds: 10\r\n",
    ] {
        assert!(head.contains(expect), "{expect} in {head}");
    }
}

#[tokio::test]
async fn explicit_timestamps_are_kept_and_not_ended() {
    check("", &[("a 1 500\nb 2\n", "a 1@500\nb 2@1000", [1, 2, 2, 2]), ("b 2\n", "b 2@2000", [1, 1, 1, 0])])
        .await;
    check(
        "track_timestamps_staleness: true",
        &[("a 1 500\n", "a 1@500", [1, 1, 1, 1]), ("", "a stale@2000", [1, 0, 0, 0])],
    )
    .await;
    check("honor_timestamps: false", &[("a 1 500\n", "a 1@1000", [1, 1, 1, 1])]).await;
    let rig = check("", &[("a 1 99999999999\n", "", [1, 1, 1, 0])]).await;
    assert_eq!(rig.context.counters.out_of_bounds.get(), 1);
}

#[tokio::test]
async fn relabelling_drops_and_joins_series() {
    check(
        "metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: 'go_.*'},
          {action: labeldrop, regex: x}]",
        &[
            ("go_a 1\nb{x=\"1\"} 2\nb{x=\"2\"} 2\n", "b 2@1000\nb 2@1000", [1, 3, 2, 2]),
            ("go_a 1\nb{x=\"2\"} 2\n", "b 2@2000", [1, 2, 1, 0]),
        ],
    )
    .await;
}

#[tokio::test]
async fn bounds_are_spelled_as_openmetrics_does() {
    let body = "q{quantile=\"1\"} 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n# TYPE s summary\ns{quantile=\"0\"} 3\n";
    let expect = "q{quantile=\"1\"} 1@1000\nh_bucket{le=\"1.0\"} 2@1000\ns{quantile=\"0.0\"} 3@1000";
    check("", &[(body, expect, [1, 3, 3, 3])]).await;
}

#[tokio::test]
async fn limits_fail_the_whole_scrape() {
    let rig = check(
        "sample_limit: 1",
        &[("a 1\n", "a 1@1000", [1, 1, 1, 1]), ("a 1\nb 2\n", "a stale@2000", [0, 2, 2, 0])],
    )
    .await;
    assert_eq!(rig.last_error(), "sample limit exceeded");
    assert_eq!(rig.context.counters.sample_limit.get(), 1);
    let rig = check("label_limit: 3", &[("a 1\nb{x=\"1\",y=\"2\"} 2\n", "", [0, 2, 1, 1])]).await;
    assert_eq!(rig.last_error(), "label_limit exceeded (metric: b, number of labels: 5, limit: 3)");
    assert_eq!(rig.context.counters.label_limits.get(), 1);
}

#[tokio::test]
async fn repeats_within_a_scrape_are_counted() {
    let rig = check("", &[("a 1\na 2\n", "a 1@1000", [1, 2, 2, 1])]).await;
    assert_eq!(rig.context.counters.duplicate.get(), 1);
}

/// One answer; no sample of its own may be stored, and the error contains `expect`.
async fn check_bad(yaml: &str, answer: Answer, expect: &str) -> Rig {
    let mut rig = rig(yaml, vec![Answer::text("before 1\n"), answer]).await;
    rig.scrape().await;
    let stored = rig.scrape().await;
    assert!(stored.starts_with("before stale@2000\nup 0@2000\n"), "{expect}: {stored}");
    let error = rig.last_error();
    assert!(error.contains(expect), "got {error}, want {expect}");
    assert_eq!(rig.entry.state().health, Health::Down);
    rig
}

fn gzip(body: &[u8]) -> Answer {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("compress");
    gzipped(encoder.finish().expect("compress"))
}

fn gzipped(bytes: Vec<u8>) -> Answer {
    Answer::Whole("200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip".into(), bytes)
}

#[tokio::test]
async fn bad_answers_are_told_clearly() {
    check_bad("", Answer::Whole("404 Not Found".into(), vec![]), "server returned HTTP status 404 Not Found")
        .await;
    check_bad("", Answer::Whole("200 OK".into(), b"a 1\n".to_vec()), "blank Content-Type").await;
    check_bad("", Answer::typed("text/html", b"<p>"), "received unsupported Content-Type \"text/html\"")
        .await;
    check_bad("", Answer::text("a 1\nb }{ 2\n"), "line 2").await;
    check_bad("", Answer::text(&format!("a{{b=\"{}\"}} 1\n", "x".repeat(10 << 20))), "line is longer").await;
    check_bad("", Answer::typed("application/openmetrics-text", b"a 1\n"), "").await;
    check_bad("", gzipped(b"not gzip at all".to_vec()), "gzip").await;
    check_bad(
        "follow_redirects: false",
        Answer::Whole("302 Found\r\nLocation: /x".into(), vec![]),
        "302 Found",
    )
    .await;
    let label = format!("a{{{}}} 1\n", "x".repeat(2_000_000));
    check_bad("", Answer::text(&label), "line").await;
}

#[tokio::test]
async fn bodies_without_end_and_bombs_are_cut_at_the_limit() {
    let limit = "body_size_limit: 1MB";
    let rig = check_bad(limit, Answer::Endless(b"a 1\n".repeat(10_000)), "body size limit exceeded").await;
    assert_eq!(rig.context.counters.body_limit.get(), 1);
    check_bad(limit, gzip(&b"a 1\n".repeat(8 << 20)), "body size limit exceeded").await;
    let silent = "scrape_interval: 100ms\nscrape_timeout: 50ms";
    check_bad(silent, Answer::Silence, "Get \"http://ADDRESS/metrics\": context deadline exceeded").await;
}

#[tokio::test]
async fn gzip_fallback_and_extra_metrics_work() {
    let mut rig = rig(
        "fallback_scrape_protocol: PrometheusText0.0.4\nextra_scrape_metrics: true\nsample_limit: 9",
        vec![gzip(b"a 1\n"), Answer::Whole("200 OK".into(), b"a 2\n".to_vec())],
    )
    .await;
    let extra = |at| {
        format!("scrape_timeout_seconds 10@{at}\nscrape_sample_limit 9@{at}\nscrape_body_size_bytes 4@{at}")
    };
    assert_eq!(rig.scrape().await, format!("a 1@1000\n{}\n{}", report([1, 1, 1, 1], 1000), extra(1000)));
    let expect = format!("{}\n{}\na 2@2000", report([1, 1, 1, 0], 2000), extra(2000));
    assert_eq!(rig.scrape().await, expect);
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let (elsewhere, strangers) = serve(vec![Answer::text("a 1\n")]).await;
    let elsewhere = elsewhere.replace("127.0.0.1", "localhost");
    let yaml = "authorization: {credentials: tok}\nhttp_headers: {X-Key: {secrets: [sesame]}}";
    let away = Answer::Whole(format!("302 Found\r\nLocation: http://{elsewhere}/m"), vec![]);
    let near = Answer::Whole("307 Temporary Redirect\r\nLocation: /near".into(), vec![]);
    let mut rig = rig(yaml, vec![near, away]).await;
    assert!(rig.scrape().await.starts_with("a 1@1000\nup 1@1000"), "{}", rig.last_error());
    let own = rig.requests.lock().expect("lock").join("").to_lowercase();
    assert_eq!(own.matches("authorization: bearer tok").count(), 2, "{own}");
    assert!(own.contains("get /near") && own.contains("x-key: sesame"), "{own}");
    let other = strangers.lock().expect("lock").join("").to_lowercase();
    assert!(other.contains("get /m") && !other.contains("tok") && !other.contains("sesame"), "{other}");
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_does_not_stop_scraping() {
    let mut rig = rig("", vec![Answer::text("a 1\n")]).await;
    rig.store.fail(Some(StoreError::ReadOnly("disk full".into())));
    rig.scrape().await;
    assert_eq!(rig.last_error(), "the samples were not stored: storage is read-only: disk full");
    assert_eq!((rig.entry.state().health, rig.context.counters.append_failures.get()), (Health::Up, 1));
    rig.store.fail(None);
    rig.scrape().await;
    assert_eq!(rig.last_error(), "");
}

#[tokio::test]
async fn refusals_of_the_store_are_counted() {
    let mut rig =
        rig("", vec![Answer::text("a 1 500\n"), Answer::text("a 1 400\n"), Answer::text("a 2 500\n")]).await;
    for _ in 0..3 {
        rig.scrape().await;
    }
    let counters = &rig.context.counters;
    assert_eq!((counters.out_of_order.get(), counters.duplicate.get()), (1, 1));
}

#[tokio::test]
async fn another_list_of_targets_costs_no_series_anew() {
    let mut rig = rig("", vec![Answer::text("a{x=\"1\"} 1\n")]).await;
    rig.scrape().await;
    rig.cycle.adopt(plan("static_configs: [{targets: ['b:1']}]", &rig.address));
    let expect = format!("a{{x=\"1\"}} 1@2000\n{}", report([1, 1, 1, 0], 2000));
    assert_eq!(rig.scrape().await, expect);
    rig.cycle.adopt(plan("sample_limit: 5", &rig.address));
    let expect = format!("a{{x=\"1\"}} 1@3000\n{}", report([1, 1, 1, 1], 3000));
    assert_eq!(rig.scrape().await, expect);
}

#[tokio::test]
async fn new_rules_take_effect_and_a_leaving_target_ends_everything() {
    let mut rig = rig("", vec![Answer::text("a{x=\"1\"} 1\n")]).await;
    rig.scrape().await;
    let rule = "metric_relabel_configs: [{action: labeldrop, regex: x}]";
    rig.cycle.adopt(plan(rule, &rig.address));
    let expect = format!("a 1@2000\na{{x=\"1\"}} stale@2000\n{}", report([1, 1, 1, 1], 2000));
    assert_eq!(rig.scrape().await, expect);
    rig.cycle.end(9_000).await;
    let names = [
        "a",
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ];
    assert_eq!(rig.stored(), names.map(|name| format!("{name} stale@9000")).join("\n"));
}

#[tokio::test]
async fn metadata_is_kept() {
    let rig = check("", &[("# HELP a The \\\\ a.\n# TYPE a counter\na 1\n", "a 1@1000", [1, 1, 1, 1])]).await;
    let metadata = rig.entry.metadata().read(Some("a"));
    assert_eq!((metadata[0].1.kind.name(), &*metadata[0].1.help), ("counter", "The \\ a."));
}

/// A page in OpenMetrics; what is stored of it, the report left out.
async fn check_openmetrics(yaml: &str, features: Features, body: &str, expect: &str) -> Rig {
    let answer = Answer::typed("application/openmetrics-text; version=1.0.0", body.as_bytes());
    let mut rig = rig_with(yaml, features, vec![answer]).await;
    let stored = rig.scrape().await;
    let own = stored.split("\nup ").next().unwrap_or_default();
    assert_eq!(own, expect, "{}", rig.last_error());
    rig
}

const HISTOGRAM: &str = "# TYPE h histogram
h_bucket{le=\"1\"} 2 # {trace=\"a\"} 0.5 3
h_bucket{le=\"+Inf\"} 3 # {trace=\"b\"} 7
h_count 3
h_sum 8.5
h_created 0.25
# TYPE c_s counter
# UNIT c_s s
c_s_total 5 # {trace=\"c\"} 1
c_s_created 0.5
# EOF
";

#[tokio::test]
async fn exemplars_go_with_their_samples() {
    check_openmetrics(
        "",
        Features::default(),
        HISTOGRAM,
        "h_bucket{le=\"1.0\"} 2@1000 # {trace=\"a\"} 0.5@3000
h_bucket{le=\"+Inf\"} 3@1000 # {trace=\"b\"} 7@1000
h_count 3@1000
h_sum 8.5@1000
h_created 0.25@1000
c_s_total 5@1000 # {trace=\"c\"} 1@1000
c_s_created 0.5@1000",
    )
    .await;
    let long = format!("# TYPE c counter\nc_total 1 # {{trace=\"{}\"}} 1\n# EOF\n", "x".repeat(124));
    check_openmetrics("", Features::default(), &long, "c_total 1@1000").await;
}

#[tokio::test]
async fn counters_begin_with_zero_where_it_is_told_when() {
    let features = Features { created_zeros: true, ..Features::default() };
    let expect = "h_bucket{le=\"1.0\"} 0@250\nh_bucket{le=\"1.0\"} 2@1000 # {trace=\"a\"} 0.5@3000
h_bucket{le=\"+Inf\"} 0@250\nh_bucket{le=\"+Inf\"} 3@1000 # {trace=\"b\"} 7@1000
h_count 0@250\nh_count 3@1000
h_sum 0@250\nh_sum 8.5@1000
c_s_total 0@500\nc_s_total 5@1000 # {trace=\"c\"} 1@1000";
    let mut rig = check_openmetrics("", features, HISTOGRAM, expect).await;
    let again = rig.scrape().await;
    assert!(again.contains("c_s_total 5@2000") && !again.contains("@500"), "{again}");
}

#[tokio::test]
async fn types_and_units_become_labels() {
    let features = Features { type_and_unit_labels: true, ..Features::default() };
    let body = "# TYPE c_s counter\n# UNIT c_s s\nc_s_total{__type__=\"x\"} 5\nother 1\n# EOF\n";
    let expect = "c_s_total{__type__=\"counter\", __unit__=\"s\"} 5@1000\nother{__type__=\"counter\", __unit__=\"s\"} 1@1000";
    check_openmetrics("", features, body, expect).await;
}

#[tokio::test]
async fn classic_histograms_are_converted() {
    let body = HISTOGRAM.replace("h_created 0.25\n", "");
    let native = "h custom [1] 3 8.5 [2.0, 1.0]@1000 # {trace=\"a\"} 0.5@3000";
    let counter = "c_s_total 5@1000 # {trace=\"c\"} 1@1000\nc_s_created 0.5@1000";
    let yaml = "convert_classic_histograms_to_nhcb: true";
    check_openmetrics(yaml, Features::default(), &body, &format!("{native}\n{counter}")).await;
    let classic = "h_bucket{le=\"1.0\"} 2@1000 # {trace=\"a\"} 0.5@3000
h_bucket{le=\"+Inf\"} 3@1000 # {trace=\"b\"} 7@1000\nh_count 3@1000\nh_sum 8.5@1000";
    let both = format!("{yaml}\nalways_scrape_classic_histograms: true");
    check_openmetrics(&both, Features::default(), &body, &format!("{classic}\n{native}\n{counter}")).await;
    // A target's own labels say more than the job.
    let own = |yaml: &str, name: &str, value: &str| {
        format!("{yaml}\nrelabel_configs: [{{target_label: __{name}__, replacement: '{value}'}}]")
    };
    let yaml = own(yaml, "always_scrape_classic_histograms", "true");
    check_openmetrics(&yaml, Features::default(), &body, &format!("{classic}\n{native}\n{counter}")).await;
    let yaml = own("", "convert_classic_histograms_to_nhcb", "1");
    check_openmetrics(&yaml, Features::default(), &body, &format!("{native}\n{counter}")).await;
    let yaml = own("convert_classic_histograms_to_nhcb: true", "convert_classic_histograms_to_nhcb", "false");
    check_openmetrics(&yaml, Features::default(), &body, &format!("{classic}\n{counter}")).await;
}

/// A field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// A metric of a family of histograms: schema 0, buckets 1 and 2 with 1 and 2 observations, and `count`.
fn native_metric(count: u8) -> Vec<u8> {
    field(7, &[0x08, count, 0x62, 0x04, 0x08, 0x02, 0x10, 0x02, 0x6a, 0x02, 0x02, 0x02])
}

/// Families by name, kind and metrics.
fn protobuf_page(families: &[(&str, u8, Vec<Vec<u8>>)]) -> Answer {
    let mut body = Vec::new();
    for (name, kind, metrics) in families {
        let mut family = [&field(1, name.as_bytes())[..], &[3 << 3, *kind]].concat();
        metrics.iter().for_each(|metric| family.extend(field(4, metric)));
        // A length of two bytes: longer than it need be, as some write it.
        body.extend([family.len() as u8 | 0x80, (family.len() >> 7) as u8]);
        body.extend(family);
    }
    Answer::typed(
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        &body,
    )
}

/// A family `h` with one native histogram.
fn native_page(count: u8) -> Answer {
    protobuf_page(&[("h", 4, vec![native_metric(count)])])
}

#[tokio::test]
async fn native_histograms_are_scraped_and_bounded() {
    let check = async |yaml: &str, count: u8, expect: &str, error: &str| {
        let yaml = format!("scrape_native_histograms: true\n{yaml}");
        let mut rig = rig(&yaml, vec![native_page(count)]).await;
        let stored = rig.scrape().await;
        assert!(stored.starts_with(expect), "{stored}");
        assert!(rig.last_error().contains(error) && rig.last_error().is_empty() == error.is_empty());
        rig
    };
    let mut rig = check("", 3, "h schema 0 3 0 [1.0, 2.0]@1000\nup 1@1000", "").await;
    assert!(rig.requests.lock().expect("lock")[0].contains("accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"));
    rig.cycle.end(9_000).await;
    assert!(rig.stored().starts_with("h stale@9000\nup stale@9000"));
    let refused = "relabel_configs: [{target_label: __scrape_native_histograms__, replacement: 'false'}]";
    check(refused, 3, "h_count 3@1000\nh_sum 0@1000\nh_bucket{le=\"+Inf\"} 3@1000\nup 1@1000", "").await;
    check("native_histogram_bucket_limit: 1", 3, "h schema -1 3 0 [3.0]@1000", "").await;
    check("native_histogram_min_bucket_factor: 4", 3, "h schema -1 3 0 [3.0]@1000", "").await;
    check("", 4, "up 0@1000", "3 observations found in buckets, but the Count field is 4").await;
    let limits = "native_histogram_bucket_limit: 1\nnative_histogram_min_bucket_factor: 4";
    check(limits, 3, "h schema -1 3 0 [3.0]@1000", "").await;
}

#[tokio::test]
async fn a_target_that_has_native_histograms_is_asked_for_protobuf() {
    let own = |value: &str| {
        format!("relabel_configs: [{{target_label: __scrape_native_histograms__, replacement: '{value}'}}]")
    };
    let named = "scrape_protocols: [PrometheusText0.0.4]";
    for (yaml, protobuf_first, stored) in [
        (own("true"), true, "h schema 0 3 0 [1.0, 2.0]@1000\n"),
        (format!("scrape_native_histograms: true\n{}", own("false")), false, "h_count 3@1000\n"),
        (
            format!("scrape_native_histograms: true\n{}", own("true")),
            true,
            "h schema 0 3 0 [1.0, 2.0]@1000\n",
        ),
        (format!("{named}\n{}", own("true")), false, "h schema 0 3 0 [1.0, 2.0]@1000\n"),
        (String::new(), false, "h_count 3@1000\n"),
    ] {
        let mut rig = rig(&yaml, vec![native_page(3)]).await;
        let found = rig.scrape().await;
        assert!(found.starts_with(stored), "{yaml}: {found}");
        let asked =
            rig.requests.lock().expect("lock")[0].contains("accept: application/vnd.google.protobuf;");
        assert_eq!(asked, protobuf_first, "{yaml}");
    }
}

#[tokio::test]
async fn pushed_groups_are_scraped_without_a_network() {
    use crate::push::{Encoding, Gateway, GatewayOptions, Mode, Push};
    let options = GatewayOptions {
        clock: Arc::new(|| 1_000_000),
        job: "j".into(),
        ttl_ms: None,
        check: true,
        utf8_names: false,
    };
    let gateway = Arc::new(Gateway::new(options));
    let push = |path: &str, body: &str| {
        let group = gateway.group_of(path).expect("path");
        let (content_type, encoding) = ("", Encoding::Plain);
        let (mode, body) = (Mode::Replace, body.as_bytes());
        gateway.push(&Push { group, mode, body, content_type, encoding, ttl_ms: None }).expect("push");
    };
    let mut rig = rig("honor_labels: true", vec![Answer::Silence]).await;
    let job = config("honor_labels: true", &rig.address);
    let job = Arc::new(Job::new(job, "Hearth/test", None, Some(&gateway)).expect("job"));
    rig.cycle.adopt(LoopPlan { job, ..rig.cycle.plan().clone() });
    push("job/a", "# HELP x X.\n# TYPE x counter\nx 1\n");
    push("job/b/instance/i", "# TYPE h histogram\nh_bucket{le=\"1\"} 2\n");
    let times = |job: &str, at| {
        format!("push_time_seconds{{{job}}} 1000@{at}\npush_failure_time_seconds{{{job}}} 0@{at}")
    };
    let (a, b) = ("job=\"a\"", "instance=\"i\", job=\"b\"");
    let expect = format!(
        "h_bucket{{instance=\"i\", job=\"b\", le=\"1.0\"}} 2@1000\n{}\nx{{{a}}} 1@1000\n{}\n{}",
        times(b, 1000),
        times(a, 1000),
        report([1, 6, 6, 6], 1000)
    );
    assert_eq!(rig.scrape().await, expect);
    assert_eq!(rig.entry.metadata().read(Some("x"))[0].1.kind.name(), "counter");
    gateway.delete(&gateway.group_of("job/a").expect("path"));
    let stored = rig.scrape().await;
    assert!(stored.contains("x{job=\"a\"} stale@2000") && stored.contains("up 1@2000"), "{stored}");
}

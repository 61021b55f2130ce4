//! `/metrics`: gathers all families and prints them as text.

use super::instrument::{Histogram, Summary};
use super::{process, queries, store};
use crate::state::{Phase, State};
use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use hearth_model::number::write_short;
use hearth_wire::MetricType;
use hearth_wire::exposition::print;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::borrow::Cow;
use std::sync::Arc;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

type Labels = Vec<(&'static str, String)>;

/// One metric family.
pub struct Family {
    name: Cow<'static, str>,
    kind: MetricType,
    help: Cow<'static, str>,
    points: Vec<(&'static str, Labels, f64)>,
}

impl Family {
    pub(super) fn new(name: &'static str, kind: MetricType, help: &'static str) -> Family {
        Family { name: name.into(), kind, help: help.into(), points: Vec::new() }
    }

    pub(super) fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
        let mut family = Family::new(name, MetricType::Gauge, help);
        family.point("", &[], value);
        family
    }

    pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
        Family::counter_f64(name, help, value as f64)
    }

    pub(super) fn counter_f64(name: &'static str, help: &'static str, value: f64) -> Family {
        let mut family = Family::new(name, MetricType::Counter, help);
        family.point("", &[], value);
        family
    }

    pub(super) fn counters(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[(&str, u64)],
    ) -> Family {
        let mut family = Family::new(name, MetricType::Counter, help);
        for (text, value) in values {
            family.point("", &[(label, text)], *value as f64);
        }
        family
    }

    pub(super) fn point(&mut self, suffix: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        self.points.push((suffix, labels, value));
    }

    pub(super) fn summary(&mut self, labels: &[(&'static str, &str)], summary: &Summary) {
        let shown = summary.shown();
        for (quantile, value) in shown.quantiles {
            let all: Vec<_> = labels.iter().copied().chain([("quantile", quantile)]).collect();
            self.point("", &all, value);
        }
        self.point("_sum", labels, shown.sum);
        self.point("_count", labels, shown.count as f64);
    }

    pub(super) fn histogram(&mut self, labels: &[(&'static str, &str)], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            let bound = number(bound);
            let all: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.point("_bucket", &all, count as f64);
        }
        self.point("_sum", labels, histogram.sum());
        self.point("_count", labels, histogram.count() as f64);
    }

    fn print(&self, out: &mut Vec<u8>) {
        print::write_help(out, &self.name, &self.help);
        print::write_type(out, &self.name, self.kind);
        for (suffix, labels, value) in &self.points {
            let labels = labels.iter().map(|(label, text)| (*label, text.as_str()));
            print::write_sample(out, &format!("{}{suffix}", self.name), labels, *value, None);
        }
    }
}

fn number(value: f64) -> String {
    let mut out = Vec::new();
    write_short(&mut out, value);
    String::from_utf8(out).expect("digits")
}

pub async fn show(Held(state): Held<Arc<State>>) -> Response {
    let _running = state.metrics.page_requests_running.raise();
    state.metrics.page_requests.add(1);
    let mut families = server(&state);
    families.extend(state.metrics.families());
    families.extend(state.receiver.replicas.iter().flat_map(super::of_replicas));
    families.extend(state.metrics.queries.families(state.options.max_concurrent_queries));
    families.extend(queries::memory(&state.query_memory));
    families.extend(state.metrics.requests.families());
    families.extend(process::families(state.options.started.as_millisecond() as f64 / 1_000.0));
    if let Some(backend) = state.backend() {
        families.extend(backend.queries.cache().iter().flat_map(queries::cache));
        families.extend(backend.scraper.metrics().iter().map(scraped));
        match backend.admin.figures().await {
            Ok(figures) => families.extend(store::families(&figures)),
            // The store is closing; what else there is to say is still said.
            Err(error) => tracing::debug!(component = "web", err = %error, "no figures from the store"),
        }
    }
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Vec::with_capacity(64 << 10);
    families.iter().for_each(|family| family.print(&mut out));
    (StatusCode::OK, [(CONTENT_TYPE, TEXT)], Body::from(out)).into_response()
}

/// What the scraper tells, in this page's form.
fn scraped(family: &hearth_scrape::status::Family) -> Family {
    use hearth_scrape::status::FamilyKind;
    let kind = match family.kind {
        FamilyKind::Counter => MetricType::Counter,
        FamilyKind::Gauge => MetricType::Gauge,
        FamilyKind::Summary => MetricType::Summary,
    };
    let mut out = Family::new(family.name, kind, family.help);
    out.points = family.points.iter().map(|p| (p.suffix, p.labels.clone(), p.value)).collect();
    out
}

/// What this server is and how its configuration fares.
fn server(state: &State) -> Vec<Family> {
    let build = &state.options.build;
    let mut info = Family::new(
        "prometheus_build_info",
        MetricType::Gauge,
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which prometheus was built, and the goos and goarch for the build.",
    );
    info.point(
        "",
        &[
            ("branch", &build.branch),
            ("goarch", if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }),
            ("goos", std::env::consts::OS),
            ("goversion", &build.go_version),
            ("revision", &build.revision),
            ("tags", "unknown"),
            ("version", &build.version),
        ],
        1.0,
    );
    let mut own = Family::new("hearth_build_info", MetricType::Gauge, "Version of this server.");
    own.point("", &[("version", &build.application_version), ("revision", &build.revision)], 1.0);
    let reload = state.reload.load();
    let last_success = reload.last_success.map_or(0.0, |t| t.as_millisecond() as f64 / 1_000.0);
    let flag = |on: bool| f64::from(u8::from(on));
    vec![
        info,
        own,
        Family::gauge(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
            flag(reload.successful),
        ),
        Family::gauge(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
            last_success,
        ),
        Family::gauge(
            "prometheus_ready",
            "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
            flag(state.phase() == Phase::Ready),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_text_format() {
        let mut family = Family::new("a_total", MetricType::Counter, "Line\nbreak \\ \"quote\"");
        family.point("", &[("x", "1\"\n"), ("y", "é")], 1e9);
        family.point("", &[], f64::NAN);
        let mut out = Vec::new();
        family.print(&mut out);
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "# HELP a_total Line\\nbreak \\\\ \"quote\"\n# TYPE a_total counter\n\
             a_total{x=\"1\\\"\\n\",y=\"é\"} 1e+09\na_total NaN\n"
        );
    }
}

//! `/federate`: the newest sample of each series that matches, as text, with its own timestamp and the
//! external labels of this server. Another Prometheus scrapes it.

use crate::config::PIECE_BYTES;
use crate::error::ApiError;
use crate::metadata::bounded;
use crate::params::Params;
use crate::state::{Backend, State};
use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hearth_model::label::METRIC_NAME;
use hearth_model::number::write_short;
use hearth_model::store::{Latest, LatestValue};
use hearth_model::{Histogram, TimeRange, is_stale};
use hearth_wire::MetricType;
use hearth_wire::exposition::{Escaping, print};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// As Prometheus, this answers in plain words where `/api/v1` answers with an envelope.
pub async fn show(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    headers: HeaderMap,
    params: Params,
) -> Response {
    match federate(&state, backend, &headers, params).await {
        Ok(response) => response,
        Err(error) => (error.kind.status(), format!("{}\n", error.text)).into_response(),
    }
}

async fn federate(
    state: &State,
    backend: Backend,
    headers: &HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let mut sets = Vec::new();
    for text in params.all("match[]") {
        let matchers = hearth_promql::syntax::parse_metric_selector(text);
        sets.push(Arc::from(matchers.map_err(|error| ApiError::bad_data(error.to_string()))?));
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let lookback_ms = i64::try_from(state.options.lookback.as_millis()).unwrap_or(i64::MAX);
    // Unlike a query's, this window has both its ends.
    let range = TimeRange::new(now_ms.saturating_sub(lookback_ms), now_ms);
    let mut found = match sets.is_empty() {
        true => Vec::new(),
        false => bounded(state, |context| backend.catalogue.latest(context, sets, range)).await?,
    };
    // Series without a name have no place in the format.
    found.retain(|latest| !is_over(latest) && !latest.labels.metric_name().is_empty());
    found.sort_by(|a, b| a.labels.metric_name().cmp(b.labels.metric_name()));

    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let escaping = Escaping::accepted(accept);
    let mut external = state.live.load().external_labels.clone();
    external.entry("instance".to_owned()).or_default();
    let content_type = format!("text/plain; version=0.0.4; charset=utf-8; escaping={}", escaping.name());
    let page = Page {
        found: found.into_iter(),
        escaping,
        external: Arc::new(external),
        family: String::new(),
        classic: false,
    };
    let body = Body::from_stream(stream::iter(page.map(Ok::<_, Infallible>)));
    Ok((StatusCode::OK, [(CONTENT_TYPE, content_type)], body).into_response())
}

fn is_over(latest: &Latest) -> bool {
    match &latest.value {
        LatestValue::Float(value) => is_stale(*value),
        LatestValue::Histogram(histogram) => histogram.is_stale(),
    }
}

/// What is left to write; each `next` is one piece.
struct Page {
    found: std::vec::IntoIter<Latest>,
    escaping: Escaping,
    external: Arc<BTreeMap<String, String>>,
    /// The metric whose `# TYPE` was written last, and whether as a classic histogram.
    family: String,
    classic: bool,
}

impl Iterator for Page {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES {
            let Some(latest) = self.found.next() else { break };
            self.write(&mut out, &latest);
        }
        (!out.is_empty()).then_some(out)
    }
}

impl Page {
    fn write(&mut self, out: &mut Vec<u8>, latest: &Latest) {
        let name = self.escaping.escape(latest.labels.metric_name()).into_owned();
        let external = self.external.clone();
        let labels: Vec<(Cow<str>, &str)> = {
            let own = latest.labels.iter().filter(|(label, _)| *label != METRIC_NAME);
            let external = external.iter().map(|(label, value)| (label.as_str(), value.as_str()));
            let missing = external.filter(|(label, _)| latest.labels.get(label).is_none());
            own.chain(missing).map(|(label, value)| (self.escaping.escape(label), value)).collect()
        };
        let labels: Vec<_> = labels.iter().map(|(label, value)| (label.as_ref(), *value)).collect();
        let time = Some(latest.timestamp_ms);
        match &latest.value {
            LatestValue::Float(value) => {
                self.announce(out, &name, false);
                print::write_sample(out, &name, labels, *value, time);
            }
            LatestValue::Histogram(histogram) if histogram.is_custom() => {
                self.announce(out, &name, true);
                write_classic(out, &name, &labels, histogram, time);
            }
            // Text has no form for exponential buckets.
            LatestValue::Histogram(_) => {}
        }
    }

    fn announce(&mut self, out: &mut Vec<u8>, name: &str, classic: bool) {
        if self.family == name && self.classic == classic {
            return;
        }
        print::write_type(out, name, if classic { MetricType::Histogram } else { MetricType::Unknown });
        (self.family, self.classic) = (name.to_owned(), classic);
    }
}

/// A histogram of listed bounds, as the text format knows histograms.
fn write_classic(
    out: &mut Vec<u8>,
    name: &str,
    labels: &[(&str, &str)],
    histogram: &Histogram,
    time: Option<i64>,
) {
    let series = format!("{name}_bucket");
    let mut write_bucket = |bound: &str, held: f64| {
        let labels = labels.iter().copied().chain([("le", bound)]);
        print::write_sample(out, &series, labels, held, time);
    };
    let mut held = 0.0;
    let mut buckets = histogram.positive_buckets().peekable();
    for bound in &histogram.custom_values {
        while let Some(bucket) = buckets.next_if(|bucket| bucket.upper <= *bound) {
            held += bucket.count;
        }
        let mut text = Vec::new();
        write_short(&mut text, *bound);
        write_bucket(&String::from_utf8_lossy(&text), held);
    }
    write_bucket("+Inf", histogram.count);
    print::write_sample(out, &format!("{name}_sum"), labels.iter().copied(), histogram.sum, time);
    print::write_sample(out, &format!("{name}_count"), labels.iter().copied(), histogram.count, time);
}

//! HTTP requests by route: how many with which status, how long, how large. Routes are few and fixed, so
//! a client cannot make this grow.

use super::instrument::Histogram;
use super::page::Family;
use axum::body::Body;
use axum::response::Response;
use hearth_wire::MetricType;
use http_body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

const DURATION_BOUNDS_S: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];
const SIZE_BOUNDS_BYTES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

#[derive(Debug)]
struct Route {
    by_code: BTreeMap<u16, u64>,
    duration_s: Histogram,
    size_bytes: Histogram,
}

impl Default for Route {
    fn default() -> Self {
        Route {
            by_code: BTreeMap::from([(200, 0)]),
            duration_s: Histogram::new(DURATION_BOUNDS_S),
            size_bytes: Histogram::new(SIZE_BOUNDS_BYTES),
        }
    }
}

/// Shared with the bodies that are still being sent.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<String, Route>>>);

impl Requests {
    /// Counts the response once its body is sent or given up.
    pub fn follow(&self, handler: String, started: Instant, response: Response) -> Response {
        let code = response.status().as_u16();
        let (parts, inner) = response.into_parts();
        let sent = Sent { requests: self.clone(), handler, started, code, bytes: 0 };
        Response::from_parts(parts, Body::new(Followed { inner, sent }))
    }

    fn observe(&self, sent: &Sent) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry(sent.handler.clone()).or_default();
        *route.by_code.entry(sent.code).or_default() += 1;
        route.duration_s.observe(sent.started.elapsed().as_secs_f64());
        route.size_bytes.observe(sent.bytes as f64);
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut durations = Family::new(
            "prometheus_http_request_duration_seconds",
            MetricType::Histogram,
            "Histogram of latencies for HTTP requests.",
        );
        let mut counts =
            Family::new("prometheus_http_requests_total", MetricType::Counter, "Counter of HTTP requests.");
        let mut sizes = Family::new(
            "prometheus_http_response_size_bytes",
            MetricType::Histogram,
            "Histogram of response size for HTTP requests.",
        );
        for (handler, route) in routes.iter() {
            durations.histogram(&[("handler", handler)], &route.duration_s);
            sizes.histogram(&[("handler", handler)], &route.size_bytes);
            for (code, count) in &route.by_code {
                counts.point("", &[("code", &code.to_string()), ("handler", handler)], *count as f64);
            }
        }
        vec![durations, counts, sizes]
    }
}

/// Observes itself when it goes.
struct Sent {
    requests: Requests,
    handler: String,
    started: Instant,
    code: u16,
    bytes: u64,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.requests.observe(self);
    }
}

/// A body that counts its bytes.
struct Followed {
    inner: Body,
    sent: Sent,
}

impl http_body::Body for Followed {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.bytes += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

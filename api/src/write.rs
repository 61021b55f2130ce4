//! `write`: the remote-write 1.0 receiver. Checks what the sender says it sends, reads the body within
//! limits, decodes it, appends it, and answers so that a sender repeats exactly what is worth repeating:
//!
//! * 204: everything is stored, as durably as `--storage.wal.ack` says;
//! * 202: another replica of the sender's cluster is believed, nothing is stored and nothing need be repeated;
//! * 400: some samples can never be stored, all others are; the text counts them by reason;
//! * 413, 415: not a request that this server takes;
//! * 503 with `Retry-After`: not now, nothing is acknowledged, send it again. Never a 4xx for that: a
//!   sender drops what it gets one for.

use crate::config::{WRITE_BODY_LIMIT_BYTES, WRITE_DECODED_LIMIT_BYTES};
use crate::error::plain;
use crate::replicas::{ReplicaOptions, Replicas, Verdict};
use crate::state::{Backend, State};
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State as Held};
use axum::response::{IntoResponse, Response};
use hearth_model::context::{Budget, Reservation};
use hearth_model::key::decode_key;
use hearth_model::metadata::MetricMetadata;
use hearth_model::{Refusal, StoreError, WriteBatch, WriteOutcome};
use hearth_wire::remote_write::{DecodeError, Decoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const V1: &str = "prometheus.WriteRequest";
pub const V2: &str = "io.prometheus.write.v2.Request";

/// Decoders and batches kept for the next request, and the size up to which one is kept.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 8 << 20;

/// What requests share: scratch memory, the memory account of bodies in flight, the spread of retries.
pub struct Receiver {
    spare: Mutex<Vec<(Decoder, WriteBatch)>>,
    memory: Arc<Budget>,
    refused: AtomicU64,
    logged: Mutex<Option<Instant>>,
    /// Where one of several replicas is believed.
    pub replicas: Option<Replicas>,
}

/// Memory for a body that is taken before the body is there.
const EXPECTED_BYTES: u64 = 256 << 10;

/// Time between two log lines about refused samples: a sender that is wrong is wrong with every request.
const LOG_PAUSE: Duration = Duration::from_secs(60);

impl Receiver {
    pub fn new(memory_bytes: usize, replicas: Option<ReplicaOptions>) -> Receiver {
        let memory = Budget::new("remote write", memory_bytes, None);
        Receiver {
            spare: Mutex::default(),
            memory,
            refused: AtomicU64::new(0),
            logged: Mutex::default(),
            replicas: replicas.map(Replicas::new),
        }
    }

    fn take(&self) -> (Decoder, WriteBatch) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, decoder: Decoder, batch: WriteBatch) {
        let held_bytes = batch.keys.capacity() + batch.samples.capacity() * 16;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < KEPT && held_bytes <= KEPT_BYTES {
            spare.push((decoder, batch));
        }
    }

    /// Whether refusals may be logged again.
    fn log_turn(&self) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let due = logged.is_none_or(|at| at.elapsed() >= LOG_PAUSE);
        if due {
            *logged = Some(Instant::now());
        }
        due
    }

    /// Seconds after which to try again: 5 to 15, so that senders refused together do not return together.
    fn retry_after_s(&self) -> u64 {
        5 + self.refused.fetch_add(7, Ordering::Relaxed) % 11
    }
}

/// Why a request is not taken; one row each in [`Failure::respond`].
enum Failure {
    NotEnabled,
    Unsupported(String),
    TooLarge,
    Bad(String),
    TooSlow,
    Later(String),
}

impl Failure {
    fn respond(&self, receiver: &Receiver) -> Response {
        match self {
            Failure::NotEnabled => plain(
                StatusCode::NOT_FOUND,
                "remote write receiver needs to be enabled with --web.enable-remote-write-receiver",
            ),
            Failure::Unsupported(why) => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, why),
            Failure::TooLarge => plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("request body too large: the limit is {WRITE_BODY_LIMIT_BYTES} bytes"),
            ),
            Failure::Bad(why) => plain(StatusCode::BAD_REQUEST, why),
            Failure::TooSlow => plain(StatusCode::REQUEST_TIMEOUT, "request body did not arrive in time"),
            Failure::Later(why) => {
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, why);
                let seconds = HeaderValue::from(receiver.retry_after_s());
                response.headers_mut().insert(RETRY_AFTER, seconds);
                response
            }
        }
    }
}

pub async fn write(Held(state): Held<Arc<State>>, backend: Backend, request: Request) -> Response {
    match receive(&state, &backend, request).await {
        Ok(response) => response,
        Err(failure) => failure.respond(&state.receiver),
    }
}

async fn receive(state: &State, backend: &Backend, request: Request) -> Result<Response, Failure> {
    if !state.options.enable_remote_write {
        return Err(Failure::NotEnabled);
    }
    check_headers(request.headers(), &state.options.accepted_messages)?;
    let (mut held, body) = read(state, request).await?;
    let claimed_bytes = snappy_length(&body).min(WRITE_DECODED_LIMIT_BYTES);
    held.grow(claimed_bytes).map_err(later)?;
    let (mut decoder, mut batch) = state.receiver.take();
    if let Err(error) = decoder.decode(&body, &mut batch) {
        state.receiver.put(decoder, batch);
        return Err(refused_request(&error));
    }
    drop(body);
    let said: Vec<MetricMetadata> = decoder.metadata(&batch).map(metadata_of).collect();
    batch.metadata = said;
    if let Some(replicas) = &state.receiver.replicas {
        match replicas.judge(&mut batch, Instant::now()) {
            Verdict::Store => {}
            Verdict::Drop(_) => {
                state.receiver.put(decoder, batch);
                return Ok(StatusCode::ACCEPTED.into_response());
            }
            Verdict::Refuse(why) => {
                state.receiver.put(decoder, batch);
                return Err(Failure::Bad(why));
            }
        }
    }
    let written = backend.append.append(batch, state.options.ack).await.map_err(later)?;
    let batch = written.batch.unwrap_or_default();
    let response = answer(state, &written.outcome, &batch);
    state.receiver.put(decoder, batch);
    Ok(response)
}

fn metadata_of(said: hearth_wire::metadata::Metadata<'_>) -> MetricMetadata {
    MetricMetadata {
        name: said.family.into(),
        kind: said.metric_type,
        unit: said.unit.into(),
        help: said.help.into(),
    }
}

fn later(error: StoreError) -> Failure {
    Failure::Later(error.to_string())
}

fn refused_request(error: &DecodeError) -> Failure {
    Failure::Bad(error.to_string())
}

/// The length that a snappy block claims, 0 where it cannot be read (decoding then says why).
fn snappy_length(body: &[u8]) -> usize {
    let mut length = 0usize;
    for (index, &byte) in body.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return length;
        }
    }
    0
}

/// Reads the body, charging memory as it arrives.
async fn read(state: &State, request: Request) -> Result<(Reservation, Vec<u8>), Failure> {
    let mut held =
        hearth_model::QueryContext::new(state.receiver.memory.clone()).reserve(0).map_err(later)?;
    // What a sender says beforehand saves growing; it is not believed beyond the first piece.
    let expected_bytes = request.body().size_hint().exact().map_or(0, |bytes| bytes.min(EXPECTED_BYTES));
    let reading = collect(request.into_body(), expected_bytes as usize, &mut held);
    let body = match tokio::time::timeout(state.options.read_timeout, reading).await {
        Ok(body) => body?,
        Err(_) => return Err(Failure::TooSlow),
    };
    Ok((held, body))
}

async fn collect(mut body: Body, expected_bytes: usize, held: &mut Reservation) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(expected_bytes);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::Bad(format!("reading the request body failed: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if out.len() + data.len() > WRITE_BODY_LIMIT_BYTES {
            return Err(Failure::TooLarge);
        }
        held.grow(data.len()).map_err(later)?;
        out.extend_from_slice(&data);
    }
    Ok(out)
}

/// Content type and encoding, with the words of Prometheus.
fn check_headers(headers: &HeaderMap, accepted: &[String]) -> Result<(), Failure> {
    let text = |name| headers.get(name).map_or("", |v: &HeaderValue| v.to_str().unwrap_or("invalid"));
    if let Some(length) = headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok())
        && length.parse::<usize>().is_ok_and(|length| length > WRITE_BODY_LIMIT_BYTES)
    {
        return Err(Failure::TooLarge);
    }
    let content_type = text(CONTENT_TYPE);
    let message = message_of(content_type).map_err(Failure::Unsupported)?;
    if ![V1, V2].contains(&message) {
        return Err(Failure::Unsupported(format!(
            "got {content_type} content type; unknown remote write protobuf message {message}, supported: {V1}, {V2}"
        )));
    }
    if message != V1 || !accepted.iter().any(|a| a == message) {
        return Err(Failure::Unsupported(format!(
            "{message} protobuf message is not accepted by this server; only accepts {}",
            accepted.iter().filter(|a| *a == V1).cloned().collect::<Vec<_>>().join(", ")
        )));
    }
    match text(CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => Err(Failure::Unsupported(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy is acceptable"
        ))),
    }
}

/// The protobuf message that a content type names; none at all means version 1.
fn message_of(content_type: &str) -> Result<&str, String> {
    if content_type.is_empty() {
        return Ok(V1);
    }
    let mut parts = content_type.split(';').map(str::trim);
    if parts.next() != Some("application/x-protobuf") {
        return Err(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        match part.split_once('=') {
            Some(("proto", value)) => return Ok(value),
            Some(_) => {}
            None => {
                return Err(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be \
                     key-values, got {part} in {content_type} content-type"
                ));
            }
        }
    }
    Ok(V1)
}

/// What the sender is told of its samples. Invalid labels alone are no error, as in Prometheus: the sender
/// cannot mend them, so they are dropped and counted.
fn answer(state: &State, outcome: &WriteOutcome, batch: &WriteBatch) -> Response {
    let invalid = outcome.refused_for(Refusal::InvalidLabels) as u64;
    state.metrics.invalid_label_samples.add(invalid);
    let mut response = if outcome.refused.len() as u64 == invalid {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let text = refusals(outcome, batch);
        if state.receiver.log_turn() {
            tracing::warn!(component = "web", refused = outcome.refused.len(), err = %text, "Error on ingesting remote write");
        }
        plain(StatusCode::BAD_REQUEST, &text)
    };
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", outcome.samples),
        ("x-prometheus-remote-write-histograms-written", outcome.histograms),
        ("x-prometheus-remote-write-exemplars-written", outcome.exemplars),
    ] {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}

/// `out of order sample: 3 samples, first of up{job="a"}; …; 7 samples are stored`
fn refusals(outcome: &WriteOutcome, batch: &WriteBatch) -> String {
    let mut parts = Vec::new();
    for reason in Refusal::ALL {
        let mut refused = outcome.refused.iter().filter(|r| r.reason == reason);
        let Some(first) = refused.next() else { continue };
        let series = batch.series.get(first.series as usize).and_then(|s| decode_key(batch.key(s)).ok());
        let named = series.map_or(String::new(), |s| format!(", first of {}", s.labels()));
        parts.push(format!("{}: {} samples{named}", reason.text(), 1 + refused.count()));
    }
    parts.push(format!("{} samples are stored", outcome.samples + outcome.histograms));
    parts.join("; ")
}

//! The query log: a line for every query that was run, in Prometheus' JSON form, in the file that
//! `global.query_log_file` names; and a warning in the server's own log for every query that took long.
//!
//! Lines are written by a thread of their own, so that a slow disk keeps no query: what it cannot take is
//! counted as a failure. A reload opens the file anew, which is how logs are rotated.

use hearth_api::State;
use hearth_model::store::BoxFuture;
use hearth_promql::explain::{self, Explained};
use hearth_promql::query::{Answer, InstantRequest, Origin, QueryError, QueryStats, RangeRequest};
use hearth_promql::{Query, RequestOptions};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines that wait for the disk: some seconds of a busy server.
const WAITING_LINES: usize = 4_096;

enum Message {
    Line(String),
    /// From now on there, or nowhere.
    Into(Option<File>),
}

struct Inner {
    state: Arc<State>,
    enabled: AtomicBool,
    /// A query that takes this long is told of in the server's log; zero tells of none.
    slow: Duration,
    lines: Mutex<Option<SyncSender<Message>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// See the module's head. Clones share the log.
#[derive(Clone)]
pub struct QueryLog(Arc<Inner>);

impl QueryLog {
    pub fn start(state: Arc<State>, slow: Duration) -> std::io::Result<QueryLog> {
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let of_writer = state.clone();
        let writer = std::thread::Builder::new()
            .name("query-log".to_owned())
            .spawn(move || write(&waiting, &of_writer))?;
        Ok(QueryLog(Arc::new(Inner {
            state,
            enabled: AtomicBool::new(false),
            slow,
            lines: Mutex::new(Some(lines)),
            writer: Mutex::new(Some(writer)),
        })))
    }

    /// Opens a file for [`QueryLog::switch`]; an empty path means none.
    pub fn open(path: &str) -> Result<Option<File>, String> {
        if path.is_empty() {
            return Ok(None);
        }
        let file = File::options().create(true).append(true).open(Path::new(path));
        file.map(Some).map_err(|error| format!("query log file {path}: {error}"))
    }

    /// From now on lines go there.
    pub fn switch(&self, file: Option<File>) {
        let enabled = file.is_some();
        self.send(Message::Into(file));
        self.0.enabled.store(enabled, Ordering::Relaxed);
        self.0.state.metrics.queries.log_enabled.set(i64::from(enabled));
    }

    fn send(&self, message: Message) {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match (lines.as_ref(), message) {
            (Some(lines), line @ Message::Line(_)) => lines.try_send(line).is_ok(),
            // Rare, and must not be lost.
            (Some(lines), into) => lines.send(into).is_ok(),
            (None, _) => false,
        };
        if !sent {
            self.0.state.metrics.queries.log_failures.add(1);
        }
    }

    /// Writes what waits, and ends. Blocks.
    pub fn close(&self) {
        drop(self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(component = "query log", "The query log's thread had panicked");
        }
    }
}

fn write(waiting: &Receiver<Message>, state: &State) {
    let mut file: Option<File> = None;
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Into(next) => file = next,
            Message::Line(line) => {
                let Some(file) = &mut file else { continue };
                if let Err(error) = file.write_all(line.as_bytes()) {
                    state.metrics.queries.log_failures.add(1);
                    tracing::error!(component = "query log", err = %error, "can't log query");
                }
            }
        }
    }
}

/// One query, from its arrival on; told of when it ends, however that is.
struct Entry {
    log: QueryLog,
    asked: Asked,
    options: RequestOptions,
    arrived: Instant,
    told: bool,
}

/// What a line says of a query's request.
struct Asked {
    text: String,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
}

impl Entry {
    fn tell(&mut self, outcome: Result<&Answer, &QueryError>) {
        self.told = true;
        if matches!(outcome, Err(QueryError::BadData(_))) {
            // It was never run.
            return;
        }
        let took = self.arrived.elapsed();
        let stats = match outcome {
            Ok(answer) => answer.stats.clone(),
            Err(_) => QueryStats { eval_time: took, ..QueryStats::default() },
        };
        let error = outcome.err().map(ToString::to_string);
        let slow = self.log.0.slow;
        if !slow.is_zero() && took >= slow {
            self.warn(took, &stats, error.as_deref());
        }
        if self.log.0.enabled.load(Ordering::Relaxed) {
            let now = jiff::Timestamp::now();
            let line = self.asked.line(now, &self.options.origin, &stats, error.as_deref());
            self.log.send(Message::Line(line));
        }
    }

    fn warn(&self, took: Duration, stats: &QueryStats, error: Option<&str>) {
        tracing::warn!(
            component = "query engine",
            query = %self.asked.text,
            start_ms = self.asked.start_ms,
            end_ms = self.asked.end_ms,
            step_ms = self.asked.step_ms,
            origin = %describe(&self.options.origin),
            duration_seconds = took.as_secs_f64(),
            queue_seconds = stats.queue_time.as_secs_f64(),
            samples = stats.total_samples,
            peak_memory_bytes = self.options.context.budget().peak_bytes() as u64,
            err = error.unwrap_or(""),
            "Slow query"
        );
    }
}

impl Asked {
    /// One line of the query log, with its end.
    fn line(&self, now: jiff::Timestamp, origin: &Origin, stats: &QueryStats, error: Option<&str>) -> String {
        let time = |ms: i64| {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
            json!(format!("{time:.3}"))
        };
        let step = match self.step_ms {
            ms if ms % 1_000 == 0 => json!(ms / 1_000),
            ms => json!(ms as f64 / 1_000.0),
        };
        let params = format!(
            "{{\"end\":{},\"query\":{},\"start\":{},\"step\":{step}}}",
            time(self.end_ms),
            json!(self.text),
            time(self.start_ms)
        );
        let error = error.map_or(String::new(), |error| format!(",\"error\":{}", json!(error)));
        let stats = hearth_api::stats_json(stats, !stats.samples_per_step.is_empty());
        let stats = String::from_utf8(stats).unwrap_or_default();
        let origin = match origin {
            Origin::Internal => String::new(),
            Origin::Http { client, method, path } => format!(
                ",\"httpRequest\":{{\"clientIP\":{},\"method\":{},\"path\":{}}}",
                json!(client),
                json!(method),
                json!(path)
            ),
            Origin::Rules { file, group } => {
                format!(",\"ruleGroup\":{{\"file\":{},\"name\":{}}}", json!(file), json!(group))
            }
        };
        let source = concat!("query_log.rs:", line!());
        format!(
            "{{\"time\":\"{now:.9}\",\"level\":\"INFO\",\"source\":\"{source}\",\"msg\":\"promql query logged\",\
             \"params\":{params}{error}{stats},\"spanID\":\"0000000000000000\"{origin}}}\n"
        )
    }
}

fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Internal => "internal".to_owned(),
        Origin::Http { client, path, .. } => format!("{client} {path}"),
        Origin::Rules { file, group } => format!("{file};{group}"),
    }
}

impl Drop for Entry {
    /// Nobody waits for the answer any more: the client hung up, or the query did not stop when it should.
    fn drop(&mut self) {
        if !self.told {
            let why = self.options.context.check().err().map(QueryError::from);
            self.tell(Err(&why.unwrap_or(QueryError::Canceled("expression evaluation"))));
        }
    }
}

/// Tells of every query that `inner` answers.
pub struct Logged<T> {
    inner: Arc<T>,
    log: QueryLog,
}

impl<T: Query> Logged<T> {
    pub fn new(inner: Arc<T>, log: QueryLog) -> Logged<T> {
        Logged { inner, log }
    }

    fn entry(&self, text: &str, times: (i64, i64, i64), options: &RequestOptions) -> Entry {
        let (start_ms, end_ms, step_ms) = times;
        Entry {
            log: self.log.clone(),
            asked: Asked { text: text.to_owned(), start_ms, end_ms, step_ms },
            options: options.clone(),
            arrived: Instant::now(),
            told: false,
        }
    }
}

async fn told(
    mut entry: Entry,
    query: BoxFuture<'_, Result<Answer, QueryError>>,
) -> Result<Answer, QueryError> {
    let outcome = query.await;
    entry.tell(outcome.as_ref());
    outcome
}

impl<T: Query> Query for Logged<T> {
    fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        let entry = self.entry(&request.text, (request.time_ms, request.time_ms, 0), &request.options);
        Box::pin(told(entry, self.inner.instant(request)))
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        let times = (request.start_ms, request.end_ms, request.step_ms);
        let entry = self.entry(&request.text, times, &request.options);
        Box::pin(told(entry, self.inner.range(request)))
    }

    /// Whoever looks into a query is no load to be told of.
    fn explain(&self, asked: explain::Asked, run: bool) -> BoxFuture<'_, Result<Explained, QueryError>> {
        self.inner.explain(asked, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The members in the order in which Prometheus 3.5 writes them, and those that differ from run to run
    /// left out.
    #[track_caller]
    fn check(step_ms: i64, origin: &Origin, error: Option<&str>, before: &str, after: &str) {
        let asked = Asked { text: "a \"b\"".to_owned(), start_ms: 1_500, end_ms: 61_500, step_ms };
        let now = "2026-11-22T15:46:10.982920312Z".parse().expect("time");
        let line = asked.line(now, origin, &QueryStats::default(), error);
        let line = line.strip_suffix('\n').expect("a line has an end");
        serde_json::from_str::<Value>(line).expect("JSON");
        let (head, tail) = line.split_once(",\"stats\":").expect("stats");
        let (_, params) = head.split_once(",\"params\":").expect("params");
        assert_eq!(params, before);
        assert_eq!(tail.split_once(",\"spanID\":\"0000000000000000\"").expect("span").1, after);
        assert!(head.starts_with(r#"{"time":"2026-11-22T15:46:10.982920312Z","level":"INFO","source":"#));
    }

    #[test]
    fn lines_look_like_those_of_prometheus() {
        let http = Origin::Http {
            client: "127.0.0.1".to_owned(),
            method: "GET".to_owned(),
            path: "/api/v1/query".to_owned(),
        };
        check(
            15_000,
            &http,
            None,
            r#"{"end":"1970-01-01T00:01:01.500Z","query":"a \"b\"","start":"1970-01-01T00:00:01.500Z","step":15}"#,
            r#","httpRequest":{"clientIP":"127.0.0.1","method":"GET","path":"/api/v1/query"}}"#,
        );
        let rules = Origin::Rules { file: "rules.yml".to_owned(), group: "g1".to_owned() };
        check(
            500,
            &rules,
            Some("too \"much\""),
            r#"{"end":"1970-01-01T00:01:01.500Z","query":"a \"b\"","start":"1970-01-01T00:00:01.500Z","step":0.5},"error":"too \"much\"""#,
            r#","ruleGroup":{"file":"rules.yml","name":"g1"}}"#,
        );
    }
}

//! Scaffolding of this crate's tests: a target that answers from a script, and a store that writes down what
//! it gets.

use crate::config::{GlobalConfig, ScrapeConfig, resolve};
use crate::discovery::{Discovery, Tools};
use hearth_model::store::{BoxFuture, Written};
use hearth_model::testing::MemStore;
use hearth_model::{Ack, Append, StoreError, WriteBatch, is_stale, key};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What mechanisms work with.
pub fn tools() -> Tools {
    Tools { counters: Arc::default(), user_agent: Arc::from("Hearth/test"), config: Arc::from("j") }
}

pub fn discovery(directory: Option<PathBuf>) -> Discovery {
    Discovery::new(tools(), directory)
}

/// One answer of a [`target`].
#[derive(Clone)]
pub enum Answer {
    /// Status line and headers, then the body.
    Whole(String, Vec<u8>),
    /// These bytes again and again, as one body without an end.
    Endless(Vec<u8>),
    /// Nothing, with the connection open.
    Silence,
}

impl Answer {
    pub fn text(body: &str) -> Answer {
        Answer::typed("text/plain; version=0.0.4", body.as_bytes())
    }

    pub fn openmetrics(body: &str) -> Answer {
        Answer::typed("application/openmetrics-text; version=1.0.0", body.as_bytes())
    }

    pub fn json(body: &str) -> Answer {
        Answer::typed("application/json", body.as_bytes())
    }

    pub fn typed(content_type: &str, body: &[u8]) -> Answer {
        Answer::Whole(format!("200 OK\r\nContent-Type: {content_type}"), body.to_vec())
    }
}

/// A target on a free port that gives each request the next answer (the last one for ever), and the
/// requests it got.
pub async fn target(answers: Vec<Answer>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut script: VecDeque<Answer> = answers.into();
        while let Ok((mut socket, _)) = listener.accept().await {
            let request = request(&mut socket).await;
            seen.lock().expect("lock").push(request);
            let answer = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
            tokio::spawn(give(socket, answer.expect("a script has an answer")));
        }
    });
    (address, requests)
}

/// A fake API on a free port: `answer` gets each whole request, head and body, and says what comes back.
/// `BASE` in an answer stands for the API's own address.
pub async fn api(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let (answer, base) = (Arc::new(answer), address.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (answer, base) = (Arc::clone(&answer), base.clone());
            tokio::spawn(async move {
                let request = request(&mut socket).await;
                let answer = match answer(&request) {
                    Answer::Whole(head, body) => {
                        let text = String::from_utf8_lossy(&body).replace("BASE", &base);
                        Answer::Whole(head.replace("BASE", &base), text.into_bytes())
                    }
                    other => other,
                };
                give(socket, answer).await;
            });
        }
    });
    address
}

/// One request, its body by its Content-Length.
async fn request(socket: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut piece = [0; 4096];
        match socket.read(&mut piece).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return text,
        }
    }
}

/// Answers by the first words of a request: `("GET /path", body)`; everything else is not there.
pub async fn pages(pages: &'static [(&'static str, &'static str)]) -> String {
    api(move |request| match pages.iter().find(|(start, _)| request.starts_with(start)) {
        Some((_, body)) => Answer::json(body),
        None => Answer::Whole("404 Not Found".into(), request.as_bytes().to_vec()),
    })
    .await
}

/// One discovery section from YAML, checked.
pub fn section(mechanism: &str, yaml: &str) -> crate::config::SdConfig {
    let mut config = config(&format!("{mechanism}_sd_configs: [{yaml}]"), "");
    config.discovery.entries.remove(0)
}

/// What one discovery section finds, a line a target: its labels with those of its group.
pub async fn found(mechanism: &str, yaml: &str) -> Vec<String> {
    let discovery = discovery(None);
    let listener = discovery.listen("j", [crate::discovery::Wanted::Sd(section(mechanism, yaml))]);
    tokio::time::timeout(std::time::Duration::from_secs(30), listener.changed()).await.expect("an answer");
    lines(&listener.watchers[0].groups().expect("groups"))
}

/// What a mechanism finds when it is asked once, as [`found`] prints it.
pub async fn polled(mut poll: impl crate::discovery::polling::Poll) -> Vec<String> {
    let groups = poll.refresh().await.expect("an answer");
    lines(&groups.into_iter().map(Arc::new).collect::<Vec<_>>())
}

pub fn lines(groups: &[Arc<crate::discovery::TargetGroup>]) -> Vec<String> {
    let line = |group: &crate::discovery::TargetGroup, target: &hearth_model::Labels| {
        let all = group.labels.iter().chain(target.iter());
        hearth_model::Labels::from_pairs(all).to_string()
    };
    groups.iter().flat_map(|group| group.targets.iter().map(|target| line(group, target))).collect()
}

async fn give(mut socket: tokio::net::TcpStream, answer: Answer) {
    match answer {
        Answer::Whole(head, body) => {
            let head =
                format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _gone = socket.write_all(&[head.into_bytes(), body].concat()).await;
            let _gone = socket.shutdown().await;
        }
        Answer::Endless(piece) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
            let mut open = socket.write_all(head.as_bytes()).await.is_ok();
            while open {
                open = socket.write_all(&piece).await.is_ok();
            }
        }
        Answer::Silence => {
            let _held = socket.read(&mut [0; 1]).await;
        }
    }
}

/// Writes down every batch as text and passes it on.
pub struct Recorder {
    store: MemStore,
    batches: mpsc::UnboundedSender<String>,
}

/// A store, and the batches it gets: one line a sample, the wall-clock duration left out.
pub fn recorder() -> (Arc<Recorder>, mpsc::UnboundedReceiver<String>) {
    let (batches, receiver) = mpsc::unbounded_channel();
    (Arc::new(Recorder { store: MemStore::new(1), batches }), receiver)
}

fn print(batch: &WriteBatch) -> String {
    let mut lines = Vec::new();
    for series in &batch.series {
        let labels = key::decode_key(batch.key(series)).expect("key").labels();
        if labels.metric_name() == "scrape_duration_seconds" && !is_stale(batch.samples_of(series)[0].value) {
            continue;
        }
        for sample in batch.samples_of(series) {
            let value = if is_stale(sample.value) { "stale".to_owned() } else { sample.value.to_string() };
            lines.push(format!("{labels} {value}@{}", sample.timestamp_ms));
        }
        for (timestamp_ms, h) in batch.histograms_of(series) {
            let form = match h.is_custom() {
                true => {
                    format!("custom {:?}", h.custom_values.iter().map(f64::to_string).collect::<Vec<_>>())
                        .replace('"', "")
                }
                false => format!("schema {}", h.schema),
            };
            lines.push(format!(
                "{labels} {form} {} {} {:?}@{timestamp_ms}",
                h.count, h.sum, h.positive_counts
            ));
        }
    }
    // That of a series which is in the column stands before it.
    for series in batch.series.iter().filter(|series| !series.exemplars.is_empty()) {
        let start = format!("{} ", key::decode_key(batch.key(series)).expect("key").labels());
        let line = lines.iter_mut().rfind(|line| line.starts_with(&start)).expect("an exemplar has a sample");
        for exemplar in batch.exemplars_of(series) {
            let text = format!(" # {} {}@{}", exemplar.labels, exemplar.value, exemplar.timestamp_ms);
            line.push_str(&text);
        }
    }
    lines.join("\n")
}

impl Append for Recorder {
    fn append(&self, mut batch: WriteBatch, ack: Ack) -> BoxFuture<'_, Result<Written, StoreError>> {
        batch.spell_out();
        let text = print(&batch);
        Box::pin(async move {
            let written = self.store.append(batch, ack).await;
            let _gone = self.batches.send(text);
            written
        })
    }
}

impl Recorder {
    pub fn fail(&self, error: Option<StoreError>) {
        self.store.fail_appends(error);
    }
}

/// A job from YAML; `ADDRESS` in it stands for the target's address.
pub fn config(yaml: &str, address: &str) -> ScrapeConfig {
    let yaml = format!("job_name: j\n{}", yaml.replace("ADDRESS", address));
    let mut configs = vec![serde_yaml::from_str(&yaml).expect(&yaml)];
    resolve(&mut GlobalConfig::default(), &mut configs, std::path::Path::new("/")).expect(&yaml);
    configs.remove(0)
}

//! Follows all objects of one kind in one namespace: list, then watch from where the list ended.
//!
//! 1. List page by page; a continuation that expired starts the list again.
//! 2. Watch with bookmarks; every event moves the version from which the next watch starts.
//! 3. A watch that ends is begun anew from there; where the version is too old (410 in the stream or as a
//!    status), or a line cannot be read, begin again at 1.
//! 4. A failure waits: as long as the server says, else with growing, jittered pauses.

use super::objects::{Event, Page, event};
use super::world::{Kept, World};
use crate::config::{
    DISCOVERY_RETRY_MS, KUBERNETES_PAGE_OBJECTS, KUBERNETES_WATCH_SECONDS, MAX_DISCOVERY_PAGES,
    MAX_WATCH_LINE_BYTES,
};
use crate::counters::{DiscoveryCounters, Tally};
use crate::discovery::client::{Call, Client, read, with_query};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A change of the world, from a reflector.
pub type Change = Box<dyn FnOnce(&mut World) + Send>;

/// What reflectors tell.
pub enum News {
    Change(Change),
    /// The API did not answer as it should.
    Failed(String),
}

/// Where and what a reflector reads.
pub struct Reflector {
    pub client: Arc<Client>,
    /// Without a slash at its end.
    pub server: String,
    /// Empty: all.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
    pub counters: Arc<DiscoveryCounters>,
    pub news: mpsc::Sender<News>,
}

/// Why a list or a watch ended.
enum End {
    /// Begin with a list.
    Expired,
    /// What is followed is no longer wanted.
    Unwanted,
    Failed {
        error: String,
        wait: Option<Duration>,
    },
}

impl Reflector {
    fn url<T: Kept>(&self, query: &[(&str, &str)]) -> String {
        let (server, api, plural) = (&self.server, T::API, T::PLURAL);
        let base = match self.namespace.as_str() {
            namespace if T::NAMESPACED && !namespace.is_empty() => {
                format!("{server}/{api}/namespaces/{namespace}/{plural}")
            }
            _ => format!("{server}/{api}/{plural}"),
        };
        let selectors = [("labelSelector", &*self.label_selector), ("fieldSelector", &*self.field_selector)];
        with_query(&base, selectors.into_iter().chain(query.iter().copied()))
    }

    /// Follows until nobody listens.
    pub async fn run<T: Kept>(self) {
        let (mut first, mut pause_ms) = (true, DISCOVERY_RETRY_MS.0);
        let mut version: Option<String> = None;
        loop {
            let end = match version.take() {
                None => match self.list::<T>(first).await {
                    Ok(from) => {
                        first = false;
                        version = Some(from);
                        continue;
                    }
                    Err(end) => end,
                },
                Some(mut from) => {
                    let begun = Instant::now();
                    let end = self.watch::<T>(&mut from).await;
                    // A watch that lasted is no failure that repeats.
                    if begun.elapsed() > Duration::from_millis(pause_ms) {
                        pause_ms = DISCOVERY_RETRY_MS.0;
                    }
                    if !matches!(end, Some(End::Expired)) {
                        version = Some(from);
                    }
                    match end {
                        Some(end) => end,
                        None => {
                            pause_ms = DISCOVERY_RETRY_MS.0;
                            continue;
                        }
                    }
                }
            };
            match end {
                End::Expired => {}
                End::Unwanted => return,
                End::Failed { error, wait } => {
                    self.counters.tally(Tally::KubernetesFailures).add(1);
                    if self.news.send(News::Failed(format!("{}: {error}", T::PLURAL))).await.is_err() {
                        return;
                    }
                    let pause = Duration::from_millis(pause_ms).mul_f64(0.5 + fastrand::f64() / 2.0);
                    tokio::time::sleep(wait.unwrap_or(pause)).await;
                    pause_ms = (pause_ms * 2).min(DISCOVERY_RETRY_MS.1);
                }
            }
        }
    }

    /// Step 1; returns the version that the list shows.
    async fn list<T: Kept>(&self, first: bool) -> Result<String, End> {
        let limit = KUBERNETES_PAGE_OBJECTS.to_string();
        let (mut items, mut from) = (Vec::new(), String::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let call = Call::get(self.url::<T>(&[("limit", &limit), ("continue", &from)]));
            let answer = self.client.ask(call.header("accept", "application/json")).await;
            let answer = answer.map_err(|error| End::Failed { error, wait: None })?;
            if answer.status == 410 && !from.is_empty() {
                return Err(End::Expired);
            }
            let wait = retry_after(answer.header("retry-after"));
            let failed = |error| End::Failed { error, wait };
            let page: Page<T> = answer.success().and_then(|answer| answer.json()).map_err(failed)?;
            items.extend(page.items);
            if page.metadata.r#continue.is_empty() {
                let namespace = if T::NAMESPACED { self.namespace.clone() } else { String::new() };
                self.tell(move |world| world.replace(&namespace, items, first)).await?;
                return Ok(page.metadata.resource_version);
            }
            from = page.metadata.r#continue;
        }
        Err(End::Failed { error: format!("a list of more than {MAX_DISCOVERY_PAGES} pages"), wait: None })
    }

    async fn tell(&self, change: impl FnOnce(&mut World) + Send + 'static) -> Result<(), End> {
        self.news.send(News::Change(Box::new(change))).await.map_err(|_| End::Unwanted)
    }

    /// Step 2; none where the server ended the stream as agreed.
    async fn watch<T: Kept>(&self, version: &mut String) -> Option<End> {
        let failed = |error: String| Some(End::Failed { error, wait: None });
        // Spread, so that watches do not all begin anew in one moment.
        let seconds = KUBERNETES_WATCH_SECONDS + fastrand::u64(0..KUBERNETES_WATCH_SECONDS);
        let url = self.url::<T>(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds.to_string()),
        ]);
        let patience = Duration::from_secs(seconds + 30);
        let call = Call::get(url).header("accept", "application/json");
        let mut response = match tokio::time::timeout(patience, self.client.send(&call)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failed(error),
            Err(_) => return failed("the watch did not begin".into()),
        };
        let status = response.status();
        if !status.is_success() {
            if status.as_u16() == 410 {
                return Some(End::Expired);
            }
            let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let wait = wait.and_then(retry_after);
            let text = read(response).await.unwrap_or_default();
            let start: String = String::from_utf8_lossy(&text).chars().take(200).collect();
            return Some(End::Failed { error: format!("the watch got {status}: {start}"), wait });
        }
        let mut lines = Lines::default();
        loop {
            let piece = match tokio::time::timeout(patience, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return None,
                // Connections break; what was missed is asked for from the version that was seen.
                Ok(Err(error)) => {
                    tracing::debug!(%error, resource = T::PLURAL, "a watch broke");
                    return failed("the watch broke".into());
                }
                Err(_) => return failed("the watch was silent for too long".into()),
            };
            if let Err(error) = lines.push(&piece) {
                self.say(error).await;
                return Some(End::Expired);
            }
            while let Some(line) = lines.next() {
                if let Some(end) = self.take::<T>(&line, version).await {
                    return Some(end);
                }
            }
        }
    }

    /// A fault that a new list repairs.
    async fn say(&self, error: String) {
        self.counters.tally(Tally::KubernetesFailures).add(1);
        // Nobody listens: the next change will notice.
        let _ = self.news.send(News::Failed(error)).await;
    }

    async fn take<T: Kept>(&self, line: &[u8], version: &mut String) -> Option<End> {
        let (told, next) = match event::<T>(line) {
            Ok(Event::Set(object, next)) => (self.tell(|world| world.set(object)).await, next),
            Ok(Event::Gone(object, next)) => {
                let key = object.meta().key();
                (self.tell(move |world| world.remove::<T>(&key)).await, next)
            }
            Ok(Event::Bookmark(next)) => (Ok(()), next),
            Ok(Event::Unknown) => return None,
            Ok(Event::Expired) => return Some(End::Expired),
            Ok(Event::Failed(error)) => return Some(End::Failed { error, wait: None }),
            Err(error) => {
                self.say(error).await;
                return Some(End::Expired);
            }
        };
        if !next.is_empty() {
            *version = next;
        }
        told.err()
    }
}

/// Seconds, as servers say them; at most the longest pause.
fn retry_after(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_millis((seconds * 1_000).clamp(DISCOVERY_RETRY_MS.0, DISCOVERY_RETRY_MS.1)))
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    done: usize,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        self.bytes.drain(..self.done);
        self.done = 0;
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > MAX_WATCH_LINE_BYTES {
            return Err(format!("a watch event of more than {MAX_WATCH_LINE_BYTES} bytes"));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = &self.bytes[self.done..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = rest[..end].to_vec();
            self.done += end + 1;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_cut_into_lines() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for piece in ["{\"a\":", "1}\n\n{\"b\"", ":2}\n{", "}\n"] {
            lines.push(piece.as_bytes()).expect("short");
            while let Some(line) = lines.next() {
                out.push(String::from_utf8(line).expect("text"));
            }
        }
        assert_eq!(out, ["{\"a\":1}", "{\"b\":2}", "{}"]);
        assert!(lines.push(&vec![b'x'; MAX_WATCH_LINE_BYTES + 1]).is_err());
    }
}

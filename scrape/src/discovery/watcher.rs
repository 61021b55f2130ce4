//! Running mechanisms and who listens to them. Sections that are the same in several jobs, or before and
//! after a reload, are one [`Watcher`]: the world is asked once. A watcher ends when nobody holds it.
//!
//! Invariant: what a watcher shows is a whole, successful answer, or what the last run knew; a failure or
//! an answer beyond the limits never replaces it.

use super::kept::{Kept, KeptSet};
use super::{Groups, TargetGroup, Tools, Wanted, work};
use crate::config::{KEPT_TARGETS_WAIT_MS, MAX_DISCOVERED_LABEL_BYTES, MAX_DISCOVERED_TARGETS};
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is known of one section, and who wants to hear of changes.
struct Board {
    mechanism: &'static str,
    /// None until the first answer.
    groups: ArcSwapOption<Vec<Arc<TargetGroup>>>,
    listeners: Mutex<Vec<Weak<Notify>>>,
    kept: Option<KeptSet>,
    tools: Tools,
}

impl Board {
    fn show(&self, groups: Groups) {
        self.groups.store(Some(groups));
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| match listener.upgrade() {
            Some(notify) => {
                notify.notify_one();
                true
            }
            None => false,
        });
    }

    /// Shows what the last run knew, where nothing newer is known.
    fn fall_back(&self, why: &str) {
        if self.groups.load().is_some() {
            return;
        }
        let Some(groups) = self.kept.as_ref().and_then(KeptSet::take) else { return };
        self.tools.counters.kept_used.add(1);
        let (mechanism, count) = (self.mechanism, groups.len());
        tracing::warn!(
            component = "discovery manager scrape",
            discovery = mechanism,
            groups = count,
            why,
            "using the target groups that the last run knew"
        );
        self.show(Arc::new(groups));
    }
}

/// Where a mechanism hands over what it knows.
#[derive(Clone)]
pub struct Publisher {
    board: Arc<Board>,
}

impl Publisher {
    /// Replaces all groups. Refuses a set beyond the limits.
    pub fn publish(&self, groups: Vec<Arc<TargetGroup>>) -> Result<(), String> {
        check_limits(&groups).inspect_err(|_| self.board.tools.counters.refused.add(1))?;
        if self.board.groups.load().as_deref() == Some(&groups) {
            return Ok(());
        }
        let groups = Arc::new(groups);
        if let Some(kept) = &self.board.kept {
            kept.put(Arc::clone(&groups));
        }
        self.board.show(groups);
        Ok(())
    }

    /// Notes that the world did not answer; what is known stays.
    pub fn failed(&self, error: &str) {
        tracing::error!(
            component = "discovery manager scrape",
            discovery = self.board.mechanism,
            err = error,
            "Unable to refresh target groups"
        );
        self.board.fall_back("the discovery failed");
    }
}

fn check_limits(groups: &[Arc<TargetGroup>]) -> Result<(), String> {
    let targets: usize = groups.iter().map(|group| group.targets.len()).sum();
    if targets > MAX_DISCOVERED_TARGETS {
        return Err(format!("{targets} targets, the limit is {MAX_DISCOVERED_TARGETS}"));
    }
    let labels = groups.iter().flat_map(|group| group.targets.iter().chain([&group.labels]));
    let bytes: usize = labels.map(|labels| labels.size_bytes()).sum();
    if bytes > MAX_DISCOVERED_LABEL_BYTES {
        return Err(format!("{bytes} bytes of labels, the limit is {MAX_DISCOVERED_LABEL_BYTES}"));
    }
    Ok(())
}

/// A running section.
pub struct Watcher {
    wanted: Wanted,
    /// What its kept set goes by.
    identity: Option<String>,
    board: Arc<Board>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watcher {
    /// What is known; none until the first answer.
    pub fn groups(&self) -> Option<Groups> {
        self.board.groups.load_full()
    }
}

/// Wakes its owner when one of its watchers knows something new.
#[derive(Default)]
pub struct Listener {
    notify: Arc<Notify>,
    pub watchers: Vec<Arc<Watcher>>,
}

impl Listener {
    fn listen(&mut self, watcher: Arc<Watcher>) {
        let mut listeners = watcher.board.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::downgrade(&self.notify));
        drop(listeners);
        self.watchers.push(watcher);
    }

    /// Returns after a change since the last call.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

/// All watchers of one scraper.
pub struct Discovery {
    pub tools: Tools,
    kept: Option<Arc<Kept>>,
    running: Mutex<Vec<Weak<Watcher>>>,
}

impl Discovery {
    /// What is known is kept in `directory`, where there is one.
    pub fn new(tools: Tools, directory: Option<PathBuf>) -> Discovery {
        Discovery { tools, kept: directory.map(|path| Arc::new(Kept::new(path))), running: Mutex::default() }
    }

    /// A listener to all of these sections of a job. Must be called within a tokio runtime.
    pub fn listen(&self, job: &str, wanted: impl IntoIterator<Item = Wanted>) -> Listener {
        let mut listener = Listener::default();
        let mut alike: HashMap<String, usize> = HashMap::new();
        for section in wanted {
            // Sections may differ in nothing but a secret, which is in no identity: two accounts of a vendor.
            let identity = section.identity().map(|shown| {
                let before = alike.entry(shown.clone()).or_default();
                *before += 1;
                format!("{job} {before} {shown}")
            });
            listener.listen(self.watch(job, section, identity));
        }
        listener
    }

    fn watch(&self, job: &str, wanted: Wanted, identity: Option<String>) -> Arc<Watcher> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|watcher| watcher.strong_count() > 0);
        let same = running.iter().filter_map(Weak::upgrade).find(|watcher| watcher.wanted == wanted);
        if let Some(watcher) = same {
            return watcher;
        }
        let tools = Tools { config: Arc::from(job), ..self.tools.clone() };
        let kept = self.kept.as_ref().zip(identity.as_ref()).map(|(kept, identity)| kept.set(identity));
        let board = Arc::new(Board {
            mechanism: wanted.mechanism(),
            groups: ArcSwapOption::empty(),
            listeners: Mutex::default(),
            kept,
            tools: tools.clone(),
        });
        let publisher = Publisher { board: Arc::clone(&board) };
        let mut tasks = vec![tokio::spawn(work(&wanted, &tools, publisher))];
        if board.kept.is_some() {
            let board = Arc::clone(&board);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(KEPT_TARGETS_WAIT_MS)).await;
                board.fall_back("the discovery has not answered yet");
            }));
        }
        let watcher = Arc::new(Watcher { wanted, identity, board, tasks });
        running.push(Arc::downgrade(&watcher));
        watcher
    }

    /// Deletes what is kept of sections that no watcher has any more.
    pub fn tidy(&self) {
        let Some(kept) = &self.kept else { return };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = running.iter().filter_map(Weak::upgrade);
        let identities: Vec<String> = wanted.filter_map(|watcher| watcher.identity.clone()).collect();
        drop(running);
        let kept = Arc::clone(kept);
        tokio::task::spawn_blocking(move || kept.tidy(&identities));
    }

    /// Writes what is not written yet.
    pub fn flush(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in running.iter().filter_map(Weak::upgrade) {
            if let Some(kept) = &watcher.board.kept {
                kept.flush();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counter;
    use crate::testing::{Answer, api, lines, pages, section, tools};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn http(address: &str) -> Wanted {
        Wanted::Sd(section("http", &format!("{{url: 'http://{address}/', refresh_interval: 50ms}}")))
    }

    #[tokio::test]
    async fn the_same_section_is_asked_for_once() {
        let asked = Arc::new(Counter::default());
        let seen = Arc::clone(&asked);
        let address = api(move |_| {
            seen.add(1);
            Answer::json(r#"[{"targets": ["a:1"]}]"#)
        })
        .await;
        let wanted = Wanted::Sd(section("http", &format!("{{url: 'http://{address}/'}}")));
        let discovery = Discovery::new(tools(), None);
        let one = discovery.listen("j", [wanted.clone()]);
        one.changed().await;
        let two = discovery.listen("j", [wanted.clone(), wanted]);
        assert!(two.watchers.iter().all(|watcher| Arc::ptr_eq(watcher, &one.watchers[0])));
        assert_eq!(lines(&two.watchers[1].groups().expect("known"))[0].split('"').nth(1), Some("a:1"));
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn failures_keep_what_is_known_and_a_start_takes_it_over() {
        let directory = tempfile::tempdir().expect("directory");
        let kept = Some(directory.path().to_owned());
        let turn = AtomicUsize::new(0);
        let address = api(move |_| match turn.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::json(r#"[{"targets": ["a:1"]}]"#),
            n if n < 4 => Answer::Whole("500 Internal Server Error".into(), Vec::new()),
            n if n < 6 => Answer::json("[{"),
            6 => Answer::json(r#"[{"targets": ["b:2"]}]"#),
            _ => Answer::Silence,
        })
        .await;
        let address_of = |listener: &Listener| {
            let groups = listener.watchers[0].groups().expect("known");
            groups[0].targets[0].value("__address__").to_owned()
        };
        let first = Discovery::new(tools(), kept.clone());
        let listener = first.listen("j", [http(&address)]);
        listener.changed().await;
        assert_eq!(address_of(&listener), "a:1");
        listener.changed().await;
        assert_eq!(address_of(&listener), "b:2", "nothing between the two good answers changes anything");
        assert_eq!(first.tools.counters.refreshes("http", &Arc::from("j")).failures.get(), 5);
        first.flush();
        drop(listener);

        // The API is silent now; its port would refuse another server too.
        let second = Discovery::new(tools(), kept);
        let listener = second.listen("j", [http(&address)]);
        tokio::time::timeout(Duration::from_secs(30), listener.changed()).await.expect("the kept set");
        assert_eq!(address_of(&listener), "b:2");
        assert_eq!(second.tools.counters.kept_used.get(), 1);
    }

    /// Sections that differ only in a secret, one of whose accounts is refused, were given the other's set.
    #[tokio::test]
    async fn who_has_another_secret_takes_over_nothing() {
        let directory = tempfile::tempdir().expect("directory");
        let address = api(|request| match request.contains("Bearer mine") {
            true => Answer::json(r#"[{"targets": ["a:1"]}]"#),
            false => Answer::Whole("401 Unauthorized".into(), Vec::new()),
        })
        .await;
        let of = |token: &str| {
            let yaml = format!(
                "{{url: 'http://{address}/', refresh_interval: 50ms, authorization: {{credentials: {token}}}}}"
            );
            Wanted::Sd(section("http", &yaml))
        };
        let discovery = Discovery::new(tools(), Some(directory.path().to_owned()));
        let (mine, both) = (discovery.listen("a", [of("mine")]), [of("mine"), of("theirs")]);
        mine.changed().await;
        discovery.flush();
        let (other, same) = (discovery.listen("b", [of("theirs")]), discovery.listen("c", both));
        let refused = Arc::clone(&discovery.tools.counters);
        while refused.refreshes("http", &Arc::from("b")).failures.get() < 6 {
            tokio::task::yield_now().await;
        }
        assert!(other.watchers[0].groups().is_none() && same.watchers[1].groups().is_none());
        assert!(same.watchers[0].groups().is_some());
        let kept = std::fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!(kept, 1, "what was refused is not kept");
    }

    #[tokio::test]
    async fn a_set_beyond_the_limits_is_refused() {
        let address = pages(&[]).await;
        let discovery = Discovery::new(tools(), None);
        let listener = discovery.listen("j", [http(&address)]);
        let publisher = Publisher { board: Arc::clone(&listener.watchers[0].board) };
        let target = hearth_model::Labels::from_pairs([("__address__", "a:1")]);
        let group = |count| {
            vec![Arc::new(TargetGroup { targets: vec![target.clone(); count], ..TargetGroup::default() })]
        };
        let error = publisher.publish(group(MAX_DISCOVERED_TARGETS + 1)).expect_err("too many");
        assert!(error.contains("the limit is 1000000"), "{error}");
        assert_eq!(discovery.tools.counters.refused.get(), 1);
        assert_eq!(publisher.publish(group(1)), Ok(()));
    }
}

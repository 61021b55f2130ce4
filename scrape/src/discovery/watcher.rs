//! Running mechanisms and who listens to them. Sections that are the same in several jobs, or before and
//! after a reload, are one [`Watcher`]: the world is asked once. A watcher ends when nobody holds it.
//!
//! Invariant: what a watcher shows is a whole, successful answer, or what the last run knew; a failure or
//! an answer beyond the limits never replaces it.

use super::kept::{Kept, KeptSet};
use super::{Groups, TargetGroup, Tools, Wanted, work};
use crate::config::{KEPT_TARGETS_WAIT_MS, MAX_DISCOVERED_LABEL_BYTES, MAX_DISCOVERED_TARGETS};
use arc_swap::ArcSwapOption;
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

    /// A listener to all of these sections. Must be called within a tokio runtime.
    pub fn listen(&self, wanted: impl IntoIterator<Item = Wanted>) -> Listener {
        let mut listener = Listener::default();
        for section in wanted {
            listener.listen(self.watch(section));
        }
        listener
    }

    fn watch(&self, wanted: Wanted) -> Arc<Watcher> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|watcher| watcher.strong_count() > 0);
        let same = running.iter().filter_map(Weak::upgrade).find(|watcher| watcher.wanted == wanted);
        if let Some(watcher) = same {
            return watcher;
        }
        let kept = self.kept.as_ref().zip(wanted.identity()).map(|(kept, id)| kept.set(&id));
        let board = Arc::new(Board {
            mechanism: wanted.mechanism(),
            groups: ArcSwapOption::empty(),
            listeners: Mutex::default(),
            kept,
            tools: self.tools.clone(),
        });
        let publisher = Publisher { board: Arc::clone(&board) };
        let mut tasks = vec![tokio::spawn(work(&wanted, &self.tools, publisher))];
        if board.kept.is_some() {
            let board = Arc::clone(&board);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(KEPT_TARGETS_WAIT_MS)).await;
                board.fall_back("the discovery has not answered yet");
            }));
        }
        let watcher = Arc::new(Watcher { wanted, board, tasks });
        running.push(Arc::downgrade(&watcher));
        watcher
    }

    /// Deletes what is kept of sections that no watcher has any more.
    pub fn tidy(&self) {
        let Some(kept) = &self.kept else { return };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = running.iter().filter_map(Weak::upgrade);
        let identities: Vec<String> = wanted.filter_map(|watcher| watcher.wanted.identity()).collect();
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

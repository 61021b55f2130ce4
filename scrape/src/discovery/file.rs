//! `file_sd_configs`: target groups in JSON and YAML files, read again when the file system reports a
//! change and at every refresh interval. A file that cannot be read or parsed keeps the groups it had;
//! a file that is gone loses them.

use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools, static_list};
use crate::config::{FILE_SETTLE_MS, FileSdConfig, MAX_TARGET_FILE_BYTES, StaticConfig};
use crate::counters::DiscoveryCounters;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The files of one section and what they said when last read.
pub struct Files {
    section: FileSdConfig,
    counters: Arc<DiscoveryCounters>,
    read: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

impl Files {
    pub fn new(section: FileSdConfig, tools: &Tools) -> Files {
        Files { section, counters: Arc::clone(&tools.counters), read: BTreeMap::new() }
    }

    async fn follow(mut self, publisher: Publisher) {
        let changed = Arc::new(Notify::new());
        let mut watcher = self.watcher(&changed);
        loop {
            watcher = watcher.and_then(|w| self.watch_directories(w));
            let Ok(files) = tokio::task::spawn_blocking(move || {
                self.refresh();
                self
            })
            .await
            else {
                return;
            };
            self = files;
            let groups = self.read.values().flatten().cloned().map(Arc::new).collect();
            if let Err(error) = publisher.publish(groups) {
                publisher.failed(&error);
            }
            let interval = self.section.refresh_interval.std();
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                // Writers often touch a file several times; one reading after the last touch will do.
                () = changed.notified() => tokio::time::sleep(Duration::from_millis(FILE_SETTLE_MS)).await,
            }
        }
    }

    fn watcher(&self, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
        let (changed, counters) = (Arc::clone(changed), Arc::clone(&self.counters));
        let on_event = move |event: notify::Result<notify::Event>| match event {
            Ok(event) if !concerns_content(&event.kind) => {}
            Ok(_) => changed.notify_one(),
            Err(error) => {
                counters.file_watcher_errors.add(1);
                tracing::warn!(%error, "watching target files failed");
            }
        };
        notify::recommended_watcher(on_event).map_err(|error| self.watch_failed("-", &error)).ok()
    }

    fn watch_failed(&self, directory: &str, error: &notify::Error) {
        self.counters.file_watcher_errors.add(1);
        tracing::warn!(directory, %error, "cannot watch target files, reading them at intervals only");
    }

    /// Watches the directory of every path (a file may come into being later). Repeating it renews the
    /// watch of a directory that was replaced.
    fn watch_directories(&self, mut watcher: RecommendedWatcher) -> Option<RecommendedWatcher> {
        let directories: BTreeSet<&Path> =
            self.section.files.iter().filter_map(|file| Path::new(file).parent()).collect();
        for directory in directories {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                self.watch_failed(&directory.to_string_lossy(), &error);
            }
        }
        Some(watcher)
    }

    /// Brings `read` up to date with the files.
    pub fn refresh(&mut self) {
        let start = Instant::now();
        let paths = self.paths();
        self.read.retain(|path, _| paths.contains(path));
        for path in paths {
            match read_groups(&path) {
                Ok(groups) => drop(self.read.insert(path, groups)),
                Err(error) => {
                    self.counters.file_read_errors.add(1);
                    tracing::error!(path = %path.display(), error, "cannot read target file");
                }
            }
        }
        self.counters.file_scan.observe(start.elapsed().as_secs_f64());
    }

    fn paths(&self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for pattern in &self.section.files {
            match glob::glob(pattern) {
                Ok(found) => paths.extend(found.filter_map(Result::ok)),
                Err(error) => {
                    self.counters.file_read_errors.add(1);
                    tracing::error!(pattern, %error, "cannot expand the path of target files");
                }
            }
        }
        paths
    }
}

impl Discover for Files {
    async fn run(self, publisher: Publisher) {
        self.follow(publisher).await;
    }
}

/// Reading a file reports events of its own; only those that can mean new content count.
fn concerns_content(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

fn read_groups(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_TARGET_FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_TARGET_FILE_BYTES {
        return Err(format!("more than {MAX_TARGET_FILE_BYTES} bytes"));
    }
    let name = path.to_string_lossy();
    let entries = parse(&text, name.to_lowercase().ends_with(".json"))?;
    Ok(entries
        .iter()
        .enumerate()
        .map(|(i, entry)| static_list::group(format!("{name}:{i}"), entry, &[("__meta_filepath", &name)]))
        .collect())
}

/// The text of one file, as its entries.
pub fn parse(text: &str, json: bool) -> Result<Vec<StaticConfig>, String> {
    let entries: Vec<StaticConfig> = if json {
        serde_json::from_str(text).map_err(|e| e.to_string())?
    } else {
        serde_yaml::from_str::<Option<_>>(text).map_err(|e| e.to_string())?.unwrap_or_default()
    };
    entries.iter().try_for_each(StaticConfig::check_labels)?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pattern: String) -> Files {
        let section =
            FileSdConfig { files: vec![pattern], refresh_interval: crate::config::DEFAULT_FILE_REFRESH };
        Files::new(section, &crate::testing::tools())
    }

    fn addresses<'a>(groups: impl IntoIterator<Item = &'a TargetGroup>) -> Vec<String> {
        let targets = groups.into_iter().flat_map(|g| &g.targets);
        targets.map(|t| t.value("__address__").to_owned()).collect()
    }

    #[test]
    fn files_are_read_and_the_last_good_groups_stay() {
        let directory = tempfile::tempdir().expect("directory");
        let (a, b) = (directory.path().join("a.json"), directory.path().join("b.yml"));
        std::fs::write(&a, r#"[{"targets": ["x:1"], "labels": {"l": "v"}}]"#).expect("write");
        std::fs::write(&b, "- targets: [y:2]\n").expect("write");
        let mut files = files(directory.path().join("*").to_string_lossy().into_owned() + ".*");
        files.refresh();
        assert_eq!(addresses(files.read.values().flatten()), ["x:1", "y:2"]);
        let group = &files.read[&a][0];
        assert_eq!(group.labels.value("l"), "v");
        assert_eq!(group.labels.value("__meta_filepath"), a.to_string_lossy());
        std::fs::write(&a, "[{").expect("write");
        std::fs::remove_file(&b).expect("remove");
        files.refresh();
        assert_eq!(addresses(files.read.values().flatten()), ["x:1"]);
        assert_eq!(files.counters.file_read_errors.get(), 1);
    }

    #[test]
    fn entries_are_strict() {
        let bad = |text: &str, json: bool, expect: &str| {
            let got = parse(text, json).expect_err(text);
            assert!(got.contains(expect), "{got}");
        };
        bad("[{\"tragets\": []}]", true, "unknown field `tragets`");
        bad("- {targets: [], labels: {'': x}}", false, "is not a valid label name");
        bad("[null]", true, "invalid type: null");
        bad(&"[".repeat(100_000), true, "");
        bad(&"[".repeat(100_000), false, "");
        assert_eq!(parse("", false), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_change_is_noticed_without_waiting_for_the_refresh() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.yml");
        let section = files(path.to_string_lossy().into_owned()).section;
        let discovery = crate::testing::discovery(None);
        let listener = discovery.listen("j", [crate::discovery::Wanted::File(section)]);
        listener.changed().await;
        let groups = || listener.watchers[0].groups().expect("groups");
        assert!(groups().is_empty());
        std::fs::write(&path, "- targets: [z:9]\n").expect("write");
        listener.changed().await;
        assert_eq!(addresses(groups().iter().map(|group| &**group)), ["z:9"]);
    }
}

//! The last good set of every section, on disk, so that a server that starts while a discovery is down
//! scrapes what it scraped before. One file a section, named by a hash of its first job, its number among those that look
//! alike there, and the section without its secrets:
//!
//! ```text
//! hearth-targets 1 HASH\n{"section":"…","groups":[{"source":…,"labels":{…},"targets":[{…}]}]}
//! ```
//!
//! HASH is over what follows the line. A file that does not fit is ignored. Files of sections that are gone
//! are deleted; nothing here ever fails a discovery.

use super::{Groups, TargetGroup};
use crate::config::{KEPT_TARGETS_WRITE_MS, MAX_KEPT_TARGETS_BYTES};
use hearth_model::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const MAGIC: &str = "hearth-targets 1";
const EXTENSION: &str = "targets";
const UNFINISHED: &str = "unfinished";

#[derive(Serialize, Deserialize)]
struct File<'a> {
    section: std::borrow::Cow<'a, str>,
    groups: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
struct Group {
    source: String,
    labels: BTreeMap<String, String>,
    targets: Vec<BTreeMap<String, String>>,
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The bytes of one file.
pub fn encode(section: &str, groups: &[Arc<TargetGroup>]) -> Vec<u8> {
    let group = |group: &Arc<TargetGroup>| Group {
        source: group.source.clone(),
        labels: map(&group.labels),
        targets: group.targets.iter().map(map).collect(),
    };
    let file = File { section: section.into(), groups: groups.iter().map(group).collect() };
    // Maps of texts are always JSON.
    let json = serde_json::to_vec(&file).unwrap_or_default();
    let mut out = format!("{MAGIC} {:016x}\n", xxh3_64(&json)).into_bytes();
    out.extend_from_slice(&json);
    out
}

/// The groups in a file, where it is whole and of this section.
pub fn decode(section: &str, bytes: &[u8]) -> Option<Vec<Arc<TargetGroup>>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, json) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let hash = u64::from_str_radix(line.strip_prefix(MAGIC)?.strip_prefix(' ')?, 16).ok()?;
    if hash != xxh3_64(json) {
        return None;
    }
    let file: File<'_> = serde_json::from_slice(json).ok()?;
    (file.section == section).then(|| {
        let group = |group: Group| TargetGroup {
            source: group.source,
            labels: Labels::from_pairs(group.labels),
            targets: group.targets.into_iter().map(Labels::from_pairs).collect(),
        };
        file.groups.into_iter().map(group).map(Arc::new).collect()
    })
}

/// The directory of all sets.
pub struct Kept {
    directory: PathBuf,
}

fn file_name(section: &str) -> String {
    format!("{:032x}.{EXTENSION}", xxh3_128(section.as_bytes()))
}

impl Kept {
    pub fn new(directory: PathBuf) -> Kept {
        Kept { directory }
    }

    pub fn set(&self, section: &str) -> KeptSet {
        KeptSet {
            inner: Arc::new(Inner {
                path: self.directory.join(file_name(section)),
                section: section.to_owned(),
                state: Mutex::default(),
            }),
        }
    }

    /// Deletes the files of all other sections. Only files of this kind are touched.
    pub fn tidy(&self, sections: &[String]) {
        let wanted: Vec<String> = sections.iter().map(|section| file_name(section)).collect();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(EXTENSION) && !wanted.contains(&name) {
                // What cannot be deleted is deleted another time.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[derive(Default)]
struct State {
    /// Not written yet.
    waiting: Option<Groups>,
    scheduled: bool,
    written: Option<Instant>,
}

struct Inner {
    path: PathBuf,
    section: String,
    state: Mutex<State>,
}

/// The set of one section.
#[derive(Clone)]
pub struct KeptSet {
    inner: Arc<Inner>,
}

impl KeptSet {
    /// What the last run knew.
    pub fn take(&self) -> Option<Vec<Arc<TargetGroup>>> {
        let mut bytes = Vec::new();
        let limit = MAX_KEPT_TARGETS_BYTES as u64 + 1;
        std::fs::File::open(&self.inner.path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        if bytes.len() > MAX_KEPT_TARGETS_BYTES {
            return None;
        }
        decode(&self.inner.section, &bytes)
    }

    /// Keeps these groups from now on; they are on disk some time later.
    pub fn put(&self, groups: Groups) {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = Some(groups);
        if state.scheduled {
            return;
        }
        state.scheduled = true;
        let pause = Duration::from_millis(KEPT_TARGETS_WRITE_MS);
        let wait = state.written.map_or(Duration::ZERO, |at| pause.saturating_sub(at.elapsed()));
        let set = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // The runtime goes down: the next run has the set before this one.
            let _ = tokio::task::spawn_blocking(move || set.flush()).await;
        });
    }

    /// Writes what waits.
    pub fn flush(&self) {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.scheduled = false;
        let Some(groups) = state.waiting.take() else { return };
        state.written = Some(Instant::now());
        let bytes = encode(&self.inner.section, &groups);
        let result = if bytes.len() > MAX_KEPT_TARGETS_BYTES {
            Err(std::io::Error::other(format!(
                "{} bytes, the limit is {MAX_KEPT_TARGETS_BYTES}",
                bytes.len()
            )))
        } else {
            write(&self.inner.path, &bytes)
        };
        if let Err(error) = result {
            let path = self.inner.path.display();
            tracing::warn!(%path, %error, "cannot keep discovered targets for the next run");
        }
    }
}

/// All or nothing, readable by the owner alone: labels may tell what is not for everyone.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let unfinished = path.with_extension(UNFINISHED);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Vec<Arc<TargetGroup>> {
        vec![Arc::new(TargetGroup {
            source: "s".into(),
            labels: Labels::from_pairs([("a", "1")]),
            targets: vec![Labels::from_pairs([("__address__", "h:1"), ("é\n", "\"")])],
        })]
    }

    #[test]
    fn files_read_back_and_nothing_else_is_read() {
        let bytes = encode("x {}", &groups());
        assert_eq!(decode("x {}", &bytes), Some(groups()));
        assert_eq!(decode("y {}", &bytes), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode("x {}", &damaged), None, "byte {at}");
            assert_eq!(decode("x {}", &bytes[..at]), None);
        }
    }

    #[tokio::test]
    async fn sets_outlive_the_run_and_go_with_their_section() {
        let directory = tempfile::tempdir().expect("directory");
        let kept = Kept::new(directory.path().join("discovery"));
        let set = kept.set("x");
        assert_eq!(set.take(), None);
        set.put(Arc::new(groups()));
        set.flush();
        assert_eq!(kept.set("x").take(), Some(groups()));
        kept.tidy(&["x".to_owned()]);
        assert_eq!(kept.set("x").take(), Some(groups()));
        kept.tidy(&["y".to_owned()]);
        assert_eq!(kept.set("x").take(), None);
    }
}

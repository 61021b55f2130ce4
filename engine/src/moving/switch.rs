//! A directory that was built aside takes the place of what was there.
//!
//! 1. The new one is built under [`STAGING`] within the data directory. A crash leaves it without a mark: the
//!    next start removes it and begins anew.
//! 2. When it is on stable storage, the mark is written: from now on the change is made, however often it is
//!    interrupted.
//! 3. *Aside*: what was there goes, name by name, into a directory of its own. It is only renamed.
//! 4. *Up*: the mark says so, and what was built goes up, name by name, what tells the directory's kind last.
//! 5. The staging directory is removed.

use super::MovingError;
use crate::disk::blocking::BlockingDisk;
use crate::disk::{Disk, names, sync_directory};
use crate::prometheus::directory;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the new directory is built.
pub const STAGING: &str = "hearth.moving";
/// Where Prometheus' files go: they stay a data directory of Prometheus'.
pub const PROMETHEUS_ASIDE: &str = "prometheus";
/// Where the shards go that there were before.
pub const SHARDS_ASIDE: &str = "before-reshard";
/// The mark within the staging directory.
const MARK: &str = "hearth.mark";

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Takeover,
    Reshard,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Change::Takeover => "takeover",
            Change::Reshard => "reshard",
        }
    }

    pub fn aside(self) -> &'static str {
        match self {
            Change::Takeover => PROMETHEUS_ASIDE,
            Change::Reshard => SHARDS_ASIDE,
        }
    }

    /// Whether a name in the data directory goes aside.
    fn replaces(self, name: &str) -> bool {
        match self {
            Change::Takeover => directory::is_ours(name),
            Change::Reshard => {
                name.starts_with("shard-") || [names::IDENTITY, names::IDENTITY_COPY].contains(&name)
            }
        }
    }
}

pub fn staging(data: &Path) -> PathBuf {
    data.join(STAGING)
}

/// Removes what an interrupted build left, and makes room for a new one.
pub fn prepare(data: &Path) -> Result<PathBuf, MovingError> {
    let staging = staging(data);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(MovingError::io(&staging)(error));
        }
        _ => {}
    }
    BlockingDisk.make_directory(&staging).map_err(MovingError::io(&staging))?;
    Ok(staging)
}

/// The new directory is whole and on stable storage: makes the change.
pub fn commit(data: &Path, change: Change) -> Result<(), MovingError> {
    set_mark(data, change, "aside")?;
    resume(data).map(|_| ())
}

fn set_mark(data: &Path, change: Change, step: &str) -> Result<(), MovingError> {
    let mark = staging(data).join(MARK);
    let text = format!("{} {step}\n", change.name());
    BlockingDisk.write_whole(&mark, text.as_bytes()).map_err(MovingError::io(&mark))
}

/// Goes on with a change that was interrupted, if one was; which one.
pub fn resume(data: &Path) -> Result<Option<Change>, MovingError> {
    let staging = staging(data);
    let mark = staging.join(MARK);
    let text = match fs::read_to_string(&mark) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(MovingError::io(&mark)(error)),
    };
    let mut words = text.split_whitespace();
    let change = match words.next() {
        Some("takeover") => Change::Takeover,
        Some("reshard") => Change::Reshard,
        _ => return Err(MovingError::Refused(format!("{}: says {text:?}", mark.display()))),
    };
    if words.next() == Some("aside") {
        let aside = data.join(change.aside());
        BlockingDisk.make_directory(&aside).map_err(MovingError::io(&aside))?;
        rename_all(data, &aside, |name| change.replaces(name))?;
        set_mark(data, change, "up")?;
    }
    // What tells the directory's kind goes last: until then nobody takes it for whole.
    let is_identity = |name: &str| name.starts_with(names::IDENTITY);
    rename_all(&staging, data, |name| ![MARK, names::LOCK].contains(&name) && !is_identity(name))?;
    rename_all(&staging, data, is_identity)?;
    fs::remove_dir_all(&staging).map_err(MovingError::io(&staging))?;
    sync_directory(data).map_err(MovingError::io(data))?;
    Ok(Some(change))
}

fn rename_all(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), MovingError> {
    for name in directory::names(from)?.iter().filter(|name| wanted(name)) {
        let (old, new) = (from.join(name), to.join(name));
        if new.exists() {
            return Err(MovingError::Refused(format!(
                "{} is in the way of {}: move it elsewhere",
                new.display(),
                old.display()
            )));
        }
        fs::rename(&old, &new).map_err(MovingError::io(&old))?;
    }
    let sync = |path: &Path| sync_directory(path).map_err(MovingError::io(path));
    sync(to)?;
    sync(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn tree(at: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in directory::names(at).expect("lists") {
            let path = at.join(&name);
            if path.is_dir() {
                found.extend(tree(&path).into_iter().map(|inner| format!("{name}/{inner}")));
            } else {
                found.insert(name);
            }
        }
        found
    }

    fn put(at: &Path, names: &[&str]) {
        for name in names {
            let path = at.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
            fs::write(path, b"x").expect("writes");
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_change_is_made_from_every_step_on() {
        let old = ["wal/00000000", "lock", "01BKGTZQ1SYQJTR4PB43C8PD98/index"];
        let new = ["hearth.identity", "hearth.identity-copy", "shard-0000/wal/1", "hearth.lock"];
        let expect = set(&[
            "prometheus/wal/00000000",
            "prometheus/lock",
            "prometheus/01BKGTZQ1SYQJTR4PB43C8PD98/index",
            "hearth.identity",
            "hearth.identity-copy",
            "shard-0000/wal/1",
            "other/file",
        ]);
        // Each of these is a state in which a crash can leave it.
        for crash in 0..6 {
            let folder = tempfile::tempdir().expect("a folder");
            let data = folder.path();
            put(data, &old);
            put(data, &["other/file"]);
            let staging = prepare(data).expect("prepares");
            put(&staging, &new);
            if crash == 0 {
                assert_eq!(resume(data).expect("nothing to do"), None);
                assert_eq!(tree(&prepare(data).expect("prepares")), set(&[]));
                put(&staging, &new);
            }
            set_mark(data, Change::Takeover, "aside").expect("marks");
            if crash >= 2 {
                fs::create_dir(data.join("prometheus")).expect("makes");
                fs::rename(data.join("lock"), data.join("prometheus/lock")).expect("moves");
            }
            if crash >= 3 {
                for name in ["wal", "01BKGTZQ1SYQJTR4PB43C8PD98"] {
                    fs::rename(data.join(name), data.join("prometheus").join(name)).expect("moves");
                }
                set_mark(data, Change::Takeover, "up").expect("marks");
            }
            if crash >= 4 {
                fs::rename(staging.join("shard-0000"), data.join("shard-0000")).expect("moves");
            }
            if crash >= 5 {
                fs::rename(staging.join("hearth.identity"), data.join("hearth.identity")).expect("moves");
            }
            assert_eq!(resume(data).expect("goes on"), Some(Change::Takeover), "{crash}");
            assert_eq!(tree(data), expect, "{crash}");
            assert_eq!(resume(data).expect("nothing to do"), None);
        }
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), &["shard-0000/wal/1", "before-reshard/shard-0000/wal/1"]);
        put(&prepare(folder.path()).expect("prepares"), &["shard-0000/wal/1"]);
        let error = commit(folder.path(), Change::Reshard).expect_err("in the way").to_string();
        assert!(error.contains("before-reshard/shard-0000 is in the way"), "{error}");
    }
}

//! Blocks of Prometheus' that come while a server runs: put into the folder of those that were taken over, or, as
//! `promtool tsdb create-blocks-from` does it for Prometheus, into the data directory itself.
//!
//! 1. A block counts once nothing of it has changed since the look before: until then it may still be on its way.
//! 2. One in the data directory goes, by renaming alone, to the others.
//! 3. It is converted, unless it does not say what it holds, is replaced by another or past its retention: the log says
//!    which, and why.
//!
//! One that was refused, or could not be converted, is looked at again when something of it has changed.

use super::MovingError;
use super::switch::PROMETHEUS_ASIDE;
use crate::prometheus::directory::{self, BlockEntry, Directory, names};
use crate::prometheus::ulid::Ulid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells that a block has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    files: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

/// See the module's head.
pub struct Arrivals {
    path: PathBuf,
    /// Blocks of the last look, by where they are.
    seen: BTreeMap<PathBuf, Mark>,
    /// What was already handed out, or refused, as it was then.
    judged: BTreeMap<Ulid, Mark>,
    /// Of these, what was past the retention, and when it ends: the retention may become longer.
    past: BTreeMap<Ulid, i64>,
    /// Blocks that stay in the data directory, and why, as the log was told.
    staying: BTreeMap<PathBuf, &'static str>,
}

impl Arrivals {
    /// Of a data directory; what is with the others by now is no arrival.
    pub fn new(path: &Path) -> Result<Arrivals, MovingError> {
        let (seen, judged, past) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut arrivals = Arrivals { path: path.to_owned(), seen, judged, past, staying: BTreeMap::new() };
        let aside = arrivals.aside();
        for (ulid, block) in blocks_in(&aside)? {
            if let Some(mark) = mark(&block) {
                arrivals.judged.insert(ulid, mark);
            }
        }
        Ok(arrivals)
    }

    fn aside(&self) -> PathBuf {
        self.path.join(PROMETHEUS_ASIDE)
    }

    /// The blocks that are to be converted now, the newest first. What ends before `oldest_ms` is past its retention,
    /// `done` are the names of those that were converted.
    pub fn look(&mut self, oldest_ms: i64, done: &BTreeSet<String>) -> Result<Vec<BlockEntry>, MovingError> {
        let before = std::mem::take(&mut self.seen);
        let judged = &mut self.judged;
        self.past.retain(|ulid, max_ms| {
            let is_past = *max_ms <= oldest_ms;
            if !is_past {
                judged.remove(ulid);
            }
            is_past
        });
        let settled = |seen: &mut BTreeMap<PathBuf, Mark>, block: &Path| {
            let mark = mark(block)?;
            seen.insert(block.to_owned(), mark);
            (before.get(block) == Some(&mark)).then_some(mark)
        };
        let mut fresh = BTreeMap::new();
        for (ulid, block) in blocks_in(&self.path)? {
            let Some(mark) = settled(&mut self.seen, &block) else { continue };
            let Some(why) = self.bring(ulid, &block)? else {
                fresh.insert(ulid, mark);
                continue;
            };
            // It is tried each time, and told once.
            if self.staying.insert(block, why) != Some(why) {
                tracing::error!(block = %ulid, "block is not taken over, {why}");
            }
        }
        self.staying.retain(|block, _| self.seen.contains_key(block));
        for (ulid, block) in blocks_in(&self.aside())? {
            if fresh.contains_key(&ulid) || done.contains(&ulid.to_string()) {
                continue;
            }
            if let Some(mark) = settled(&mut self.seen, &block)
                && self.judged.get(&ulid) != Some(&mark)
            {
                fresh.insert(ulid, mark);
            }
        }
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        self.judged.extend(&fresh);
        self.judge(oldest_ms, &fresh)
    }

    /// Those of the fresh ones that are taken.
    fn judge(
        &mut self,
        oldest_ms: i64,
        fresh: &BTreeMap<Ulid, Mark>,
    ) -> Result<Vec<BlockEntry>, MovingError> {
        let Directory { mut blocks, superseded, unreadable, .. } = Directory::read(&self.aside())?;
        for (ulid, error) in unreadable.iter().filter(|(ulid, _)| fresh.contains_key(ulid)) {
            tracing::error!(block = %ulid, %error, "block is not taken over, it does not say what it holds");
        }
        for block in superseded.iter().filter(|block| fresh.contains_key(&block.ulid)) {
            tracing::warn!(block = %block.ulid, "block is not taken over, another stands for it");
        }
        blocks.retain(|block| fresh.contains_key(&block.ulid));
        blocks.retain(|block| {
            let (min_ms, max_ms) = (block.meta.min_time, block.meta.max_time);
            let young = max_ms > oldest_ms;
            self.past.remove(&block.ulid);
            if young {
                tracing::info!(block = %block.ulid, min_ms, max_ms, "a block came, it is taken over");
            } else {
                self.past.insert(block.ulid, max_ms);
                tracing::warn!(block = %block.ulid, min_ms, max_ms, "block is not taken over, it is past the retention");
            }
            young
        });
        blocks.sort_by_key(|block| std::cmp::Reverse((block.meta.max_time, block.ulid)));
        Ok(blocks)
    }

    /// Moves a block of the data directory to the others; or why it stays.
    fn bring(&self, ulid: Ulid, block: &Path) -> Result<Option<&'static str>, MovingError> {
        if prometheus_runs(&self.path)? {
            return Ok(Some("a Prometheus runs on this data directory"));
        }
        let aside = self.aside();
        std::fs::create_dir_all(&aside).map_err(MovingError::io(&aside))?;
        let to = aside.join(ulid.to_string());
        if to.exists() {
            return Ok(Some("one of its name was before"));
        }
        std::fs::rename(block, &to).map_err(MovingError::io(block))?;
        for changed in [&aside, &self.path] {
            File::open(changed).and_then(|folder| folder.sync_all()).map_err(MovingError::io(changed))?;
        }
        Ok(None)
    }
}

/// Whether somebody holds the lock of Prometheus.
fn prometheus_runs(path: &Path) -> Result<bool, MovingError> {
    let lock = path.join(directory::LOCK);
    match File::options().write(true).open(&lock) {
        Ok(file) => Ok(matches!(file.try_lock(), Err(TryLockError::WouldBlock))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(MovingError::io(&lock)(error)),
    }
}

/// Folders with a block's name.
fn blocks_in(path: &Path) -> Result<Vec<(Ulid, PathBuf)>, MovingError> {
    let found = names(path)?.into_iter().filter_map(|name| {
        let block = path.join(&name);
        name.parse().ok().filter(|_| block.is_dir()).map(|ulid| (ulid, block))
    });
    Ok(found.collect())
}

/// None where the block cannot be looked through: it may be going away.
fn mark(block: &Path) -> Option<Mark> {
    let mut mark = Mark { files: 0, bytes: 0, changed: None };
    let mut add = |metadata: Metadata| {
        mark.files += 1;
        mark.bytes += metadata.len();
        mark.changed = mark.changed.max(metadata.modified().ok());
    };
    for folder in [block.to_owned(), block.join(directory::CHUNKS)] {
        for entry in std::fs::read_dir(&folder).ok()? {
            add(entry.ok()?.metadata().ok()?);
        }
    }
    Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(path: &Path, ulid: Ulid, (min, max): (i64, i64)) -> PathBuf {
        let block = path.join(ulid.to_string());
        std::fs::create_dir_all(block.join(directory::CHUNKS)).expect("makes");
        let meta =
            format!(r#"{{"ulid":"{ulid}","minTime":{min},"maxTime":{max},"version":1,"compaction":{{}}}}"#);
        std::fs::write(block.join(directory::META), meta).expect("writes");
        std::fs::write(block.join(directory::INDEX), "i").expect("writes");
        block
    }

    fn look(arrivals: &mut Arrivals, done: &[Ulid]) -> Vec<u128> {
        look_from(100, arrivals, done)
    }

    fn look_from(oldest_ms: i64, arrivals: &mut Arrivals, done: &[Ulid]) -> Vec<u128> {
        let done = done.iter().map(Ulid::to_string).collect();
        arrivals.look(oldest_ms, &done).expect("looks").iter().map(|block| block.ulid.0).collect()
    }

    #[test]
    fn a_block_counts_once_it_has_come_to_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let aside = folder.path().join(PROMETHEUS_ASIDE);
        block(&aside, Ulid(1), (200, 300));
        let mut arrivals = Arrivals::new(folder.path()).expect("begins");
        assert_eq!((look(&mut arrivals, &[]), look(&mut arrivals, &[])), (vec![], vec![]), "it was there");

        let second = block(folder.path(), Ulid(2), (200, 300));
        block(&aside, Ulid(3), (300, 400));
        assert_eq!(look(&mut arrivals, &[]), [], "seen for the first time");
        std::fs::write(second.join(directory::CHUNKS).join("000001"), "c").expect("writes");
        assert_eq!(look(&mut arrivals, &[]), [3], "the other still grows");
        assert!(second.exists());
        assert_eq!(look(&mut arrivals, &[Ulid(3)]), [2]);
        assert!(!second.exists() && aside.join(Ulid(2).to_string()).exists());
        assert_eq!((look(&mut arrivals, &[Ulid(3)]), look(&mut arrivals, &[Ulid(3)])), (vec![], vec![]));

        // One that could not be converted is repaired.
        std::fs::write(aside.join(Ulid(2).to_string()).join(directory::INDEX), "index").expect("writes");
        assert_eq!((look(&mut arrivals, &[]), look(&mut arrivals, &[])), (vec![], vec![2]));
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arrivals = Arrivals::new(folder.path()).expect("begins");
        block(folder.path(), Ulid(1), (50, 100));
        block(folder.path(), Ulid(3), (900, 1_001));
        block(folder.path(), Ulid(4), (100, 101));
        let nonsense = block(folder.path(), Ulid(5), (100, 101));
        std::fs::write(nonsense.join(directory::META), "{").expect("writes");
        std::fs::create_dir(folder.path().join("shard-0000")).expect("makes");
        assert_eq!(look(&mut arrivals, &[]), []);
        assert_eq!(look(&mut arrivals, &[]), [3, 4]);
        // Another block of a name that was there before stays where it is.
        let again = block(folder.path(), Ulid(3), (300, 400));
        assert_eq!((look(&mut arrivals, &[Ulid(3)]), look(&mut arrivals, &[Ulid(3)])), (vec![], vec![]));
        assert!(again.exists());
    }

    #[test]
    fn what_was_past_the_retention_comes_when_that_is_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arrivals = Arrivals::new(folder.path()).expect("begins");
        block(folder.path(), Ulid(1), (50, 90));
        block(folder.path(), Ulid(2), (20, 60));
        for oldest_ms in [100, 100, 100, 95] {
            assert_eq!(look_from(oldest_ms, &mut arrivals, &[]), []);
        }
        assert_eq!(look_from(70, &mut arrivals, &[]), [1]);
        assert_eq!(look_from(70, &mut arrivals, &[Ulid(1)]), []);
        // One that is gone by then does not come.
        std::fs::remove_dir_all(folder.path().join(PROMETHEUS_ASIDE).join(Ulid(2).to_string()))
            .expect("removes");
        assert_eq!(look_from(0, &mut arrivals, &[Ulid(1)]), []);
    }

    #[test]
    fn nothing_is_taken_from_under_a_running_prometheus() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arrivals = Arrivals::new(folder.path()).expect("begins");
        let file = File::create(folder.path().join(directory::LOCK)).expect("makes");
        file.lock().expect("locks");
        let one = block(folder.path(), Ulid(1), (200, 300));
        assert_eq!((look(&mut arrivals, &[]), look(&mut arrivals, &[])), (vec![], vec![]));
        assert!(one.exists());
        drop(file);
        assert_eq!(look(&mut arrivals, &[]), [1]);
    }
}

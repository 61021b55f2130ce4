//! A disk in memory that behaves as badly as a disk may: it forgets what was not synced (whole, torn or
//! in part), and fails the call it is told to. All chance comes from a seed.
//!
//! Faults: a crash keeps, of each file, all synced bytes and of the unsynced ones a random prefix, the
//! rest of a random part of which may turn up as zeros (a file's length can reach the medium before its
//! data); names are durable at once, as every caller syncs the directory. A call told to fail leaves a
//! random prefix of its bytes behind, one for which there is no room what fits.

use super::mapped::Mapped;
use super::{Disk, Log};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Debug, Clone, Default)]
struct SimulatedFile {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug)]
struct Medium {
    files: BTreeMap<PathBuf, SimulatedFile>,
    random: u64,
    calls: u64,
    fail_at: Option<u64>,
    /// Bytes that all files together may have.
    capacity: usize,
    /// Sleeps until the disk has room again.
    full_for: u32,
    /// Most files at once of which nothing is synced, seen while the disk was full.
    most_unsynced: usize,
    /// Where set, sleeps end when it is moved far enough; else they end at once.
    now: Option<Duration>,
    sleepers: Vec<Waker>,
}

impl Medium {
    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % (bound as u64 + 1)) as usize
    }

    /// Time passes on a full disk, until somebody makes room.
    fn slept(&mut self) {
        if self.full_for > 0 {
            let unsynced = self.files.values().filter(|f| f.synced == 0).count();
            self.most_unsynced = self.most_unsynced.max(unsynced);
            self.full_for -= 1;
            if self.full_for == 0 {
                self.capacity = usize::MAX;
            }
        }
    }

    /// Counts a call; `true` when it is the one that fails.
    fn fails(&mut self) -> bool {
        self.calls += 1;
        self.fail_at == Some(self.calls)
    }

    /// Bytes that still fit.
    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.files.values().map(|f| f.bytes.len()).sum())
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut SimulatedFile> {
        self.files.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Handles of one medium; clones share it.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    medium: Rc<RefCell<Medium>>,
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl SimulatedDisk {
    pub fn new(seed: u64) -> SimulatedDisk {
        let medium = Medium {
            files: BTreeMap::new(),
            random: seed,
            calls: 0,
            fail_at: None,
            capacity: usize::MAX,
            full_for: 0,
            most_unsynced: 0,
            now: None,
            sleepers: Vec::new(),
        };
        SimulatedDisk { medium: Rc::new(RefCell::new(medium)) }
    }

    /// Another disk with the same files.
    pub fn copy(&self) -> SimulatedDisk {
        let medium = self.medium.borrow();
        let copy = SimulatedDisk::new(medium.random);
        copy.medium.borrow_mut().files = medium.files.clone();
        copy
    }

    /// The `n`th call from now fails.
    pub fn fail_after(&self, n: u64) {
        let mut medium = self.medium.borrow_mut();
        medium.fail_at = Some(medium.calls + n);
    }

    /// Only `bytes` more fit, until somebody has slept `sleeps` times; what does not fit fails in part.
    pub fn fill(&self, bytes: usize, sleeps: u32) {
        let mut medium = self.medium.borrow_mut();
        medium.capacity = medium.files.values().map(|f| f.bytes.len()).sum::<usize>() + bytes;
        medium.full_for = sleeps;
    }

    /// Moves the disk's own time forward; from the first call on, sleeps take as long as they say.
    pub fn pass(&self, time: Duration) {
        let mut medium = self.medium.borrow_mut();
        medium.now = Some(medium.now.unwrap_or_default() + time);
        medium.sleepers.drain(..).for_each(Waker::wake);
    }

    /// Bytes in all files, and how many of them a crash cannot take.
    pub fn written_and_synced(&self) -> (usize, usize) {
        let medium = self.medium.borrow();
        medium.files.values().fold((0, 0), |(w, s), f| (w + f.bytes.len(), s + f.synced))
    }

    pub fn is_full(&self) -> bool {
        self.medium.borrow().full_for > 0
    }

    /// Most files at once of which nothing was synced while the disk was full.
    pub fn most_unsynced(&self) -> usize {
        self.medium.borrow().most_unsynced
    }

    pub fn calls(&self) -> u64 {
        self.medium.borrow().calls
    }

    /// Power is cut: what is not synced is lost, wholly or in part.
    pub fn crash(&self) {
        let mut medium = self.medium.borrow_mut();
        let paths: Vec<PathBuf> = medium.files.keys().cloned().collect();
        for path in paths {
            let (length, synced) = medium.files.get(&path).map_or((0, 0), |f| (f.bytes.len(), f.synced));
            let kept = synced + medium.below(length - synced);
            let stretched = kept + medium.below(length - kept);
            if let Ok(file) = medium.file(&path) {
                file.bytes.truncate(kept);
                file.bytes.resize(stretched, 0);
                file.synced = stretched;
            }
        }
        medium.fail_at = None;
    }

    /// Changes one byte of a file, as a bad medium does.
    pub fn corrupt(&self, path: &Path, at: usize) {
        if let Ok(file) = self.medium.borrow_mut().file(path)
            && let Some(byte) = file.bytes.get_mut(at)
        {
            *byte ^= 0x41;
        }
    }

    fn call<T>(&self, work: impl FnOnce(&mut Medium) -> io::Result<T>) -> io::Result<T> {
        let mut medium = self.medium.borrow_mut();
        if medium.fails() { Err(injected()) } else { work(&mut medium) }
    }
}

impl Disk for SimulatedDisk {
    type Log = SimulatedLog;

    fn create_log(&self, path: &Path) -> io::Result<SimulatedLog> {
        self.call(|medium| {
            if medium.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            medium.files.insert(path.to_owned(), SimulatedFile::default());
            Ok(SimulatedLog { disk: self.clone(), path: path.to_owned() })
        })
    }

    /// Where nobody moves time ([`SimulatedDisk::pass`]), none passes: others run first, then it is over.
    async fn sleep(&self, time: Duration) {
        self.medium.borrow_mut().slept();
        let until = self.medium.borrow().now.map(|now| now + time);
        let mut waited = false;
        std::future::poll_fn(|context| {
            if let Some(until) = until {
                let mut medium = self.medium.borrow_mut();
                if medium.now.is_none_or(|now| now >= until) {
                    return Poll::Ready(());
                }
                medium.sleepers.push(context.waker().clone());
                return Poll::Pending;
            }
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.call(|medium| {
            let inside = medium.files.keys().filter(|p| p.parent() == Some(directory));
            Ok(inside.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect())
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call(|medium| Ok(medium.file(path)?.bytes.clone()))
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        self.call(|medium| Ok(Mapped::memory(&medium.file(path)?.bytes)))
    }

    fn make_directory(&self, _: &Path) -> io::Result<()> {
        self.call(|_| Ok(()))
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(|medium| {
            let file = SimulatedFile { bytes: bytes.to_vec(), synced: bytes.len() };
            medium.files.insert(path.to_owned(), file);
            Ok(())
        })
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.call(|medium| {
            let file = medium.file(path)?;
            file.bytes.truncate(length as usize);
            file.synced = file.bytes.len();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|medium| {
            let file = medium.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            medium.files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn total_bytes(&self, _: &Path) -> io::Result<u64> {
        self.call(|medium| Ok(medium.capacity as u64))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|medium| {
            let file = medium.file(from)?.clone();
            medium.files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|medium| medium.files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

/// A file of the simulated disk.
pub struct SimulatedLog {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl SimulatedLog {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut medium = self.disk.medium.borrow_mut();
        let fails = medium.fails();
        let length = if fails { medium.below(bytes.len()) } else { bytes.len() }.min(medium.room());
        medium.file(&self.path)?.bytes.extend_from_slice(&bytes[..length]);
        match length == bytes.len() {
            _ if fails => Err(injected()),
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Log for SimulatedLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let result = match self.write(&bytes) {
            Ok(()) if sync => self.sync().await,
            result => result,
        };
        (result, bytes)
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.disk.call(|medium| {
            let file = medium.file(&self.path)?;
            file.synced = file.bytes.len();
            Ok(())
        })
    }
}

//! A disk in memory that behaves as badly as a disk may: it forgets what was not synced (whole, torn or
//! in part), and fails the call it is told to. All chance comes from a seed.
//!
//! Faults: a crash keeps, of each file, all synced bytes and of the unsynced ones a random prefix; of a random part
//! of the rest each sector is there or is zeros (sectors reach the medium in any order, and a file's length before its
//! data); behind the end of a log there may be zeros, room that it had ahead. What a failed sync should have brought
//! there is lost by any part, even when a later sync of the same file succeeds: the kernel forgets such pages. Names are
//! durable at once, as every caller syncs the directory. A call told to fail leaves a random prefix of its bytes behind,
//! one for which there is no room what fits. A part of a file may be unreadable, and syncs may take their time.

use super::mapped::Mapped;
use super::{Disk, Log};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Debug, Clone, Default)]
struct SimulatedFile {
    bytes: Vec<u8>,
    synced: usize,
    /// What a failed sync did not bring to the medium, though a later one may have said so.
    forgotten: Vec<Range<usize>>,
    /// What the medium does not give back.
    unreadable: Range<usize>,
    /// A log's: where it was closed, a crash may bring back what was cut off behind its end.
    may_have_room: bool,
}

/// Most room behind a log's end.
const ROOM_BYTES: usize = 300;

/// Files here are small, and so are their sectors.
const SECTOR_BYTES: usize = 64;

#[derive(Debug)]
struct Medium {
    files: BTreeMap<PathBuf, SimulatedFile>,
    random: u64,
    calls: u64,
    fail_at: Option<u64>,
    /// From this call on nothing is done any more.
    dead_from: Option<u64>,
    sync_takes: Duration,
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

    /// Counts a call; `true` when it is one that fails.
    fn fails(&mut self) -> bool {
        self.calls += 1;
        self.fail_at == Some(self.calls) || self.is_dead()
    }

    fn is_dead(&self) -> bool {
        self.dead_from.is_some_and(|from| self.calls >= from)
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
            dead_from: None,
            sync_takes: Duration::ZERO,
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

    /// The `n`th call from now is the last one, done in part: the power goes with it.
    pub fn die_at(&self, n: u64) {
        let mut medium = self.medium.borrow_mut();
        medium.dead_from = Some(medium.calls + n);
    }

    /// So long takes each sync from now on, of the disk's own time ([`SimulatedDisk::pass`]).
    pub fn slow_down(&self, sync_takes: Duration) {
        self.medium.borrow_mut().sync_takes = sync_takes;
    }

    /// These bytes of a file cannot be read any more.
    pub fn make_unreadable(&self, path: &Path, bytes: Range<usize>) {
        if let Ok(file) = self.medium.borrow_mut().file(path) {
            file.unreadable = bytes;
        }
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
            let forgotten = medium.file(&path).map(|f| std::mem::take(&mut f.forgotten)).unwrap_or_default();
            let unsure = forgotten.into_iter().chain(std::iter::once(kept..stretched));
            let sectors = unsure.flat_map(|r| r.clone().step_by(SECTOR_BYTES).map(move |at| (at, r.end)));
            let lost: Vec<_> = sectors.filter(|_| medium.random() & 1 == 0).collect();
            let room = if medium.random() & 1 == 0 { medium.below(ROOM_BYTES) } else { 0 };
            if let Ok(file) = medium.file(&path) {
                file.bytes.truncate(stretched);
                for (at, end) in lost {
                    let end = end.min(at + SECTOR_BYTES).min(stretched);
                    file.bytes[at.min(end)..end].fill(0);
                }
                if std::mem::take(&mut file.may_have_room) {
                    file.bytes.resize(stretched + room, 0);
                }
                file.synced = file.bytes.len();
            }
        }
        (medium.fail_at, medium.dead_from) = (None, None);
    }

    /// Changes one byte of a file, as a bad medium does.
    pub fn corrupt(&self, path: &Path, at: usize) {
        if let Ok(file) = self.medium.borrow_mut().file(path)
            && let Some(byte) = file.bytes.get_mut(at)
        {
            *byte ^= 0x41;
        }
    }

    fn create(&self, path: &Path, may_have_room: bool) -> io::Result<SimulatedLog> {
        self.call(|medium| {
            if medium.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            medium.files.insert(path.to_owned(), SimulatedFile { may_have_room, ..SimulatedFile::default() });
            Ok(SimulatedLog { disk: self.clone(), path: path.to_owned() })
        })
    }

    fn call<T>(&self, work: impl FnOnce(&mut Medium) -> io::Result<T>) -> io::Result<T> {
        let mut medium = self.medium.borrow_mut();
        if medium.fails() { Err(injected()) } else { work(&mut medium) }
    }
}

impl Disk for SimulatedDisk {
    type Log = SimulatedLog;

    fn create_log(&self, path: &Path) -> io::Result<SimulatedLog> {
        self.create(path, true)
    }

    fn create_file(&self, path: &Path) -> io::Result<SimulatedLog> {
        self.create(path, false)
    }

    /// Where nobody moves time ([`SimulatedDisk::pass`]), none passes: others run first, then it is over.
    async fn sleep(&self, time: Duration) {
        if self.medium.borrow().is_dead() {
            // Nobody wakes up again.
            std::future::pending::<()>().await;
        }
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
        self.call(|medium| match medium.file(path)? {
            file if file.unreadable.is_empty() => Ok(file.bytes.clone()),
            _ => Err(rustix::io::Errno::IO.into()),
        })
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        self.call(|medium| {
            let file = medium.file(path)?;
            Ok(Mapped::memory_with_hole(&file.bytes, file.unreadable.clone()))
        })
    }

    fn make_directory(&self, _: &Path) -> io::Result<()> {
        self.call(|_| Ok(()))
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(|medium| {
            let file =
                SimulatedFile { bytes: bytes.to_vec(), synced: bytes.len(), ..SimulatedFile::default() };
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
        let dead = medium.is_dead();
        let fails = medium.fails();
        if dead {
            return Err(injected());
        }
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
        let takes = self.disk.medium.borrow().sync_takes;
        if !takes.is_zero() {
            self.disk.sleep(takes).await;
        }
        let mut medium = self.disk.medium.borrow_mut();
        let fails = medium.fails();
        let file = medium.file(&self.path)?;
        if fails && file.synced < file.bytes.len() {
            file.forgotten.push(file.synced..file.bytes.len());
        }
        // Whoever syncs again is told that all is well.
        file.synced = file.bytes.len();
        if fails { Err(injected()) } else { Ok(()) }
    }
}

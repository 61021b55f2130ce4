//! A log's writes: on the shard's own thread for as long as the medium answers at once, on a helper thread
//! beyond.
//!
//! Handing a commit to another thread and waking up for its result costs more than the commit itself where
//! the medium is quick: a write goes into the page cache, and a small sync takes a tenth of a
//! millisecond. So the shard does both itself, and measures the medium ([`Stopwatch`]). Once one took longer than
//! [`config::LOG_PATIENCE`] the next [`config::LOG_WARY_COMMITS`] go to the helper thread, which waits for the
//! medium so that the shard does not; and a sync of much data always does.
//!
//! A log whose commits are synced one by one has room ahead ([`super::reserve`]), which the helper thread writes
//! before it is needed, piece by piece; so the room is never much more than what the log has taken so far. A commit
//! overwrites room where all before it is durable; else, and where there is none, the file grows.

use super::Log;
use super::blocking::PlainWriter;
use super::reserve::{BLOCK_BYTES, Image, LogFile, PAGE_BYTES};
use super::stopwatch::Stopwatch;
use crate::config;
use futures_channel::oneshot;
use hearth_kernels::arch::Turns;
use std::io;
use std::sync::Arc;

/// How bytes get behind a log's end where that has no room.
pub trait Writer: 'static {
    /// All of `bytes` at offset `at`, and with `sync` brings the file to stable storage.
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()>;
}

/// Makes a helper's writer, on the helper's thread.
pub type MakeWriter = fn(Arc<LogFile>) -> io::Result<Box<dyn Writer>>;

/// What is to be done with a file.
enum Work {
    Append { at: u64, bytes: Vec<u8>, sync: bool },
    Overwrite(Image),
    Reserve { from: u64, length: usize },
}

impl Work {
    /// `writer` is only asked for where the file grows.
    fn run<'w>(
        &self,
        file: &LogFile,
        writer: impl FnOnce() -> io::Result<&'w mut dyn Writer>,
    ) -> io::Result<()> {
        match self {
            Work::Append { at, bytes, sync } => writer()?.write(*at, bytes, *sync),
            Work::Overwrite(image) => file.overwrite(image),
            Work::Reserve { from, length } => file.reserve(*from, *length),
        }
    }
}

/// What came of it.
struct Done {
    result: io::Result<()>,
    /// Whether the medium took longer than [`config::LOG_PATIENCE`].
    slow: bool,
    /// Its memory, where that is not lost with the helper.
    work: Option<Work>,
}

impl Done {
    fn failed(error: io::Error, work: Option<Work>) -> Done {
        Done { result: Err(error), slow: false, work }
    }
}

struct Order {
    work: Work,
    reply: oneshot::Sender<Done>,
}

/// Orders on their way to the helper: one commit, one piece of room.
const ORDERS: usize = 2;

/// A log file. Its helper thread is started when it is first needed, and ends with the log.
pub struct WriterLog {
    file: Arc<LogFile>,
    length: u64,
    /// Bytes that no sync was asked for yet.
    unsynced_bytes: u64,
    /// Commits that the helper is to do before the shard tries again.
    wary: u32,
    room: Room,
    here: PlainWriter,
    watch: Stopwatch,
    make: MakeWriter,
    helper: Option<flume::Sender<Order>>,
}

/// Room that is written ahead.
#[derive(Default)]
struct Room {
    /// Where it ends.
    until: u64,
    coming: Option<oneshot::Receiver<Done>>,
    /// It cannot be had.
    is_denied: bool,
    /// The log's last block, as far as it is written.
    tail: Vec<u8>,
    /// Memory for the next commit.
    image: Option<Image>,
}

impl WriterLog {
    pub fn new(file: LogFile, make: MakeWriter) -> WriterLog {
        let room = Room { is_denied: !file.can_have_room(), ..Room::default() };
        let file = Arc::new(file);
        let here = PlainWriter { file: file.clone() };
        let watch = Stopwatch::new();
        WriterLog { file, length: 0, unsynced_bytes: 0, wary: 0, room, here, watch, make, helper: None }
    }

    fn helper(&mut self) -> io::Result<flume::Sender<Order>> {
        match &self.helper {
            Some(helper) => Ok(helper.clone()),
            None => Ok(self.helper.insert(start(self.file.clone(), self.make)?).clone()),
        }
    }

    async fn by_helper(&mut self, work: Work) -> Done {
        let helper = match self.helper() {
            Ok(helper) => helper,
            Err(error) => return Done::failed(error, Some(work)),
        };
        let (reply, answer) = oneshot::channel();
        match helper.send_async(Order { work, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Done::failed(gone(), None)),
            Err(flume::SendError(order)) => Done::failed(gone(), Some(order.work)),
        }
    }

    /// Here and now where the medium may be waited for, else by the helper.
    async fn carry_out(&mut self, work: Work, small: bool) -> Done {
        let done = if small && self.wary == 0 {
            let here: &mut dyn Writer = &mut self.here;
            let (result, slow) = self.watch.time(config::LOG_PATIENCE, || work.run(&self.file, || Ok(here)));
            Done { result, slow, work: Some(work) }
        } else {
            self.by_helper(work).await
        };
        if small {
            self.wary = if done.slow { config::LOG_WARY_COMMITS } else { self.wary.saturating_sub(1) };
        }
        done
    }

    /// Takes the room that has come. Where a write up to `end` would lie where zeros are being written, waits for them.
    async fn settle_room(&mut self, end: u64) -> io::Result<()> {
        let Some(mut coming) = self.room.coming.take() else { return Ok(()) };
        let fits = end.next_multiple_of(BLOCK_BYTES as u64) <= self.room.until;
        let come = match coming.try_recv() {
            Ok(None) if fits => {
                self.room.coming = Some(coming);
                return Ok(());
            }
            Ok(None) => coming.await.map_err(|_| gone())?,
            Ok(Some(done)) => done,
            Err(_) => return Err(gone()),
        };
        let Done { result, work: Some(Work::Reserve { from, length }), .. } = come else { return Ok(()) };
        match result {
            // Meanwhile it may have turned out to be of no use.
            Ok(()) if self.room.is_denied => {}
            Ok(()) => self.room.until = from + length as u64,
            Err(error) if denies(&error) => {
                self.room.is_denied = true;
                self.file.give_up(from);
            }
            // What the medium says of zeros it might have said of what is ours.
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Has more room written while there still is some.
    fn order_room(&mut self) {
        let piece = self.length.clamp(config::LOG_ROOM_MIN_BYTES, config::LOG_ROOM_MAX_BYTES);
        let left = self.room.until.saturating_sub(self.length);
        if self.room.is_denied || self.room.coming.is_some() || left >= piece {
            return;
        }
        let from = self.room.until.max(self.length).next_multiple_of(BLOCK_BYTES as u64);
        let until = (from + piece).next_multiple_of(PAGE_BYTES as u64);
        let length = (until - from) as usize;
        let Ok(helper) = self.helper() else {
            // A commit that needs the helper is told.
            self.room.is_denied = true;
            return;
        };
        let (reply, answer) = oneshot::channel();
        if helper.try_send(Order { work: Work::Reserve { from, length }, reply }).is_ok() {
            self.room.coming = Some(answer);
        }
    }

    /// These bytes with those before them in their block, where they may overwrite room.
    fn image(&mut self, bytes: &[u8]) -> Option<Image> {
        let quick_bytes = config::LOG_QUICK_SYNC_BYTES as usize;
        let end = (self.length + bytes.len() as u64).next_multiple_of(BLOCK_BYTES as u64);
        if bytes.len() > quick_bytes || end > self.room.until {
            return None;
        }
        let mut image = self.room.image.take().unwrap_or_else(|| Image::new(quick_bytes));
        image.fill(self.length, &self.room.tail, bytes);
        Some(image)
    }

    /// The log is longer by these bytes.
    fn advance(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.file.ends_at(self.length);
        let (tail, in_block) = (&mut self.room.tail, (self.length % BLOCK_BYTES as u64) as usize);
        match bytes.len().checked_sub(in_block) {
            Some(before) => {
                tail.clear();
                tail.extend_from_slice(&bytes[before..]);
            }
            None => tail.extend_from_slice(bytes),
        }
    }
}

/// Whether there is just no room to be had, which is no fault of the medium.
fn denies(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    is_unknown(error) || matches!(error.kind(), QuotaExceeded | StorageFull)
}

/// Whether the file system does not know of such writes: a few take them when a file is opened and not when it is written.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

fn start(file: Arc<LogFile>, make: MakeWriter) -> io::Result<flume::Sender<Order>> {
    let (orders, inbox) = flume::bounded::<Order>(ORDERS);
    let work = move || {
        // Before the writer is made: the kernel's own threads that work for a ring inherit these turns. Where they are
        // refused it only runs later, which was told when the cores asked for theirs.
        let _ = Turns::Short.ask();
        let (mut writer, watch) = (None, Stopwatch::new());
        for Order { work, reply } in inbox.iter() {
            let (result, slow) = watch.time(config::LOG_PATIENCE, || {
                work.run(&file, || match writer.get_or_insert_with(|| make(file.clone())) {
                    Ok(writer) => Ok(&mut **writer),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                })
            });
            // The one who asked may be gone; the bytes are written all the same.
            let _ = reply.send(Done { result, slow, work: Some(work) });
        }
    };
    std::thread::Builder::new().name("hearth-log".into()).spawn(work)?;
    Ok(orders)
}

fn gone() -> io::Error {
    io::Error::other("the log's helper thread is gone")
}

impl Log for WriterLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let length = bytes.len() as u64;
        let pending_bytes = self.unsynced_bytes + length;
        if pending_bytes == 0 {
            return (Ok(()), bytes);
        }
        if let Err(error) = self.settle_room(self.length + length).await {
            return (Err(error), bytes);
        }
        let small = !sync || pending_bytes <= config::LOG_QUICK_SYNC_BYTES;
        let alone = sync && pending_bytes == length;
        let image = if alone { self.image(&bytes) } else { None };
        let (work, mut kept) = match image {
            Some(image) => (Work::Overwrite(image), bytes),
            None => (Work::Append { at: self.length, bytes, sync }, Vec::new()),
        };
        let mut done = self.carry_out(work, small).await;
        if matches!(&done, Done { result: Err(error), work: Some(Work::Overwrite(_)), .. } if is_unknown(error))
        {
            // Nothing was written. Room is of no use here.
            self.room = Room { is_denied: true, coming: self.room.coming.take(), ..Room::default() };
            done = self.carry_out(Work::Append { at: self.length, bytes: kept, sync }, small).await;
            kept = Vec::new();
        }
        let Done { result, work, .. } = done;
        let bytes = match work {
            Some(Work::Append { bytes, .. }) => bytes,
            Some(Work::Overwrite(image)) => {
                self.room.image = Some(image);
                kept
            }
            _ => kept,
        };
        if result.is_ok() {
            self.advance(&bytes);
            self.unsynced_bytes = if sync { 0 } else { pending_bytes };
            if alone {
                self.order_room();
            }
        }
        (result, bytes)
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.append(Vec::new(), true).await.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::Disk;
    use super::super::blocking::BlockingDisk;
    use super::super::ring::RingDisk;
    use super::*;
    use futures_executor::block_on;
    use std::path::Path;

    /// Appends of all sizes, synced or not, by the shard or its helper: what stands in the file, and what is left of it.
    fn check<D: Disk<Log = WriterLog>>(disk: D, path: &Path, seed: u64, synced_of_8: u64, wary: bool) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut log = disk.create_log(path).expect("creates");
        let (mut expect, mut overwritten) = (Vec::new(), 0);
        for commit in 0..300u64 {
            let length = match random.u64(0..10) {
                0 => 0,
                1 => random.u64(1..600_000),
                2 => 4096 * random.u64(1..10),
                _ => random.u64(1..20_000),
            };
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + commit) as u8).collect();
            expect.extend_from_slice(&bytes);
            log.wary = if wary { 8 } else { 0 };
            let before = log.room.until;
            let (result, back) = block_on(log.append(bytes, random.u64(0..8) < synced_of_8));
            result.expect("appends");
            assert_eq!(back.len() as u64, length);
            overwritten += u64::from(log.length <= before);
            let (end, room) = (log.length, log.room.until.saturating_sub(log.length));
            assert_eq!(end, expect.len() as u64);
            assert!(room < end + config::LOG_ROOM_MAX_BYTES + config::LOG_ROOM_MIN_BYTES + PAGE_BYTES as u64);
            assert!(log.room.until.is_multiple_of(PAGE_BYTES as u64), "{}", log.room.until);
            if commit % 50 == 0 {
                let file = std::fs::read(path).expect("reads");
                assert!(
                    file.starts_with(&expect) && file[expect.len()..].iter().all(|b| *b == 0),
                    "seed {seed}"
                );
            }
        }
        println!("{overwritten} of 300 commits overwrote room");
        if synced_of_8 == 8 && !log.room.is_denied {
            assert!(overwritten > 100, "{overwritten}");
        }
        let helper = log.helper.clone();
        drop(log);
        // Its thread ends once nobody can ask it any more, and then the room goes.
        drop(helper);
        while std::fs::metadata(path).expect("is there").len() != expect.len() as u64 {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read(path).expect("reads"), expect, "seed {seed}");
    }

    #[test]
    fn commits_stand_where_they_belong_however_they_were_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut number = 0;
        for synced_of_8 in [0, 4, 8] {
            for wary in [false, true] {
                let path = |number: u64| directory.path().join(number.to_string());
                check(BlockingDisk, &path(number), number, synced_of_8, wary);
                check(RingDisk, &path(number + 1), number + 1, synced_of_8, wary);
                number += 2;
            }
        }
    }

    #[test]
    fn where_room_cannot_be_overwritten_the_file_grows() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let mut log = BlockingDisk.create_log(&path).expect("creates");
        let (mut expect, mut denied) = (Vec::new(), false);
        for commit in 0..200u8 {
            // An offset within a sector, which goes past no page cache.
            log.room.tail.clear();
            let bytes = vec![commit; 1001];
            expect.extend_from_slice(&bytes);
            let (result, back) = block_on(log.append(bytes, true));
            assert_eq!((result.map_err(|error| error.kind()), back.len()), (Ok(()), 1001), "commit {commit}");
            assert!(log.room.is_denied || !denied);
            denied |= log.room.is_denied;
        }
        assert!(denied, "room was overwritten within a sector");
        assert!(std::fs::read(&path).expect("reads").starts_with(&expect));
    }

    /// What becomes of a log whose room could not be written.
    fn after(kind: io::ErrorKind) -> (io::Result<()>, bool) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut log = BlockingDisk.create_log(&directory.path().join("log")).expect("creates");
        let (reply, coming) = oneshot::channel();
        let work = Work::Reserve { from: 4096, length: 8192 };
        assert!(reply.send(Done::failed(kind.into(), Some(work))).is_ok());
        log.room = Room { coming: Some(coming), ..Room::default() };
        let (result, _) = block_on(log.append(vec![1; 10], true));
        (result, log.room.is_denied)
    }

    #[test]
    fn a_full_disk_denies_room_and_a_bad_one_ends_the_log() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::InvalidInput] {
            assert!(matches!(after(kind), (Ok(()), true)), "{kind}");
        }
        assert!(matches!(after(io::ErrorKind::Other), (Err(_), false)));
    }
}

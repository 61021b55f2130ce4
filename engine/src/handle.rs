//! The door between the two worlds: from any thread, on any runtime, to the shards and back. Requests go
//! over bounded mailboxes, replies come over one-shot channels; no type of the data plane crosses.

mod admin;
mod adopt;
mod answers;

use crate::census::Census;
use crate::config::{self, IoChoice, Keeping, Options};
use crate::disk::blocking::BlockingDisk;
use crate::disk::ring::RingDisk;
use crate::disk::{Disk, cores, faults, names, probe};
use crate::harm::Harm;
use crate::progress::Progress;
use crate::router::Router;
use crate::settings::{Settings, millis};
use crate::shard::gather::gather;
use crate::shard::keeper::Keeper;
use crate::shard::members::Placed;
use crate::shard::request::{AppendRequest, Appended, Job, Pick, Request};
use crate::shard::runtime::{self, Runtime};
use crate::shard::view::View;
use crate::shard::{self, Store};
use crate::wal::commit::CommitOptions;
use crate::wal::replay::ReplayError;
pub(crate) use adopt::stored_identity;
use answers::Answers;
use flume::{Receiver, Sender};
use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use hearth_model::context::Stop;
use hearth_model::store::{BoxFuture, Written};
use hearth_model::watermark::Watermarks;
use hearth_model::{Ack, Append, Missing, QueryContext, Scatter, StoreError, WriteBatch};
use std::fmt;
use std::fs::{File, TryLockError};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Why a store did not open. Each names what and where.
#[derive(Debug)]
pub enum OpenError {
    Io { path: PathBuf, error: std::io::Error },
    Locked { path: PathBuf },
    Identity { path: PathBuf, what: String },
    LaterVersion { path: String, version: u32 },
    NoIoUring(String),
    Shards(usize),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            OpenError::Locked { path } => {
                write!(f, "{}: another server uses this data directory", path.display())
            }
            OpenError::Identity { path, what } => write!(f, "{}: {what}", path.display()),
            OpenError::LaterVersion { path, version } => {
                write!(f, "{path}: format version {version} is newer than this program")
            }
            OpenError::NoIoUring(why) => write!(f, "io_uring was asked for and cannot be used: {why}"),
            OpenError::Shards(n) => {
                write!(f, "{n} shards: must be a power of two, {} at most", config::MAX_SHARDS)
            }
        }
    }
}

impl std::error::Error for OpenError {}

struct Inner {
    mailboxes: Vec<Sender<Request>>,
    router: Router,
    max_ahead_ms: i64,
    clock: fn() -> i64,
    backend: &'static str,
    watermarks: Arc<Watermarks>,
    harm: Arc<Harm>,
    settings: Arc<Settings>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Core threads that panicked.
    losses: Receiver<usize>,
    path: PathBuf,
    identity: Identity,
    progress: Arc<Progress>,
    /// Who makes blocks for the shards out of what another server left.
    worker: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the store is open.
    lock: File,
    /// Whoever had the directory before has closed it.
    clean_start: bool,
}

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

/// What a data directory says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub shards: usize,
    pub seed: u64,
}

impl Identity {
    fn print(self) -> String {
        let body = format!("hearth data 1\nshards {}\nseed {:016x}\n", self.shards, self.seed);
        format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()))
    }

    fn parse(text: &str) -> Result<Identity, String> {
        let (body, crc) = text.split_at(text.find("crc32c ").ok_or("has no checksum")?);
        if crc.trim_end() != format!("crc32c {:08x}", crc32c::crc32c(body.as_bytes())) {
            return Err("checksum does not match".into());
        }
        let mut lines = body.lines();
        match lines.next() {
            Some("hearth data 1") => {}
            other => return Err(format!("format {other:?} is not known to this program")),
        }
        let mut field = |name: &str| lines.next().and_then(|l| l.strip_prefix(name)).map(str::trim);
        let shards = field("shards").and_then(|v| v.parse().ok()).ok_or("has no shards")?;
        let seed = field("seed").and_then(|v| u64::from_str_radix(v, 16).ok()).ok_or("has no seed")?;
        check_shards(shards).map_err(|e| e.to_string())?;
        Ok(Identity { shards, seed })
    }
}

fn check_shards(shards: usize) -> Result<(), OpenError> {
    if shards.is_power_of_two() && shards <= config::MAX_SHARDS {
        Ok(())
    } else {
        Err(OpenError::Shards(shards))
    }
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path: path.clone(), error }
}

pub(crate) fn lock(data: &Path) -> Result<File, OpenError> {
    let path = data.join(names::LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

/// What the lock says while a store is open.
const OPEN: &[u8] = b"open\n";

/// Marks the directory as one that is open; whether it was closed before. Where nothing can be written, as on a full disk,
/// the next start takes this one for closed well: better than none.
fn mark_open(lock: &File) -> bool {
    let clean = lock.metadata().is_ok_and(|lock| lock.len() == 0);
    if let Err(error) = lock.write_all_at(OPEN, 0) {
        tracing::debug!(%error, "the lock does not say that the directory is open");
    }
    clean
}

/// The identity in a file, if the file is there.
pub(crate) fn read_identity(path: &Path) -> Result<Option<Identity>, OpenError> {
    match std::fs::read(path) {
        Ok(bytes) => Identity::parse(&String::from_utf8_lossy(&bytes))
            .map(Some)
            .map_err(|what| OpenError::Identity { path: path.to_owned(), what }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Io { path: path.to_owned(), error }),
    }
}

fn new_identity(options: &Options) -> Result<Identity, OpenError> {
    let shards = options.shards.unwrap_or_else(|| cores().next_power_of_two().min(config::MAX_SHARDS));
    check_shards(shards)?;
    let seed = ahash::RandomState::new().hash_one((options.clock)());
    Ok(Identity { shards, seed })
}

/// Reads the directory's identity, or gives it one. There are two copies: without any, nothing in the
/// directory could be read again.
fn identify(options: &Options) -> Result<Identity, OpenError> {
    let paths = [names::IDENTITY, names::IDENTITY_COPY].map(|name| options.path.join(name));
    let read = [read_identity(&paths[0]), read_identity(&paths[1])];
    let whole = read.iter().find_map(|one| one.as_ref().ok().copied().flatten());
    let identity = match whole {
        Some(identity) => identity,
        None if read.iter().all(Result::is_ok) => new_identity(options)?,
        None => {
            let [first, second] = read;
            return Err(first.err().or(second.err()).unwrap_or(OpenError::Shards(0)));
        }
    };
    for (path, found) in paths.iter().zip(read) {
        match found {
            Ok(Some(found)) if found == identity => continue,
            Ok(None) => {}
            Ok(Some(_)) => {
                tracing::warn!(file = %path.display(), "the copies of the identity differ, the first counts")
            }
            Err(error) => {
                tracing::warn!(%error, "a copy of the identity is not readable and is written again")
            }
        }
        BlockingDisk.write_whole(path, identity.print().as_bytes()).map_err(at(path))?;
    }
    if let Some(asked) = options.shards.filter(|n| *n != identity.shards) {
        tracing::warn!(
            asked,
            stored = identity.shards,
            "the data directory keeps the number of shards it was made with"
        );
    }
    Ok(identity)
}

/// What every shard knows of its store.
pub(crate) fn shared(options: &Options, identity: Identity) -> Store {
    Store {
        router: Router::new(identity.seed, identity.shards),
        census: Arc::new(Census::new(options.limits)),
        settings: Arc::new(Settings::new(options.keeping)),
        head_limit_bytes: options.head_limit_bytes,
        checkpoint_bytes: options.checkpoint_bytes,
        block_range_ms: millis(options.block_range).max(1),
        clock: options.clock,
        watermarks: Arc::new(Watermarks::new(identity.shards)),
        harm: Arc::new(Harm::new(identity.shards)),
    }
}

/// Opens a store: makes or reads the data directory, starts the core threads, recovers every shard.
/// Blocks until the store can serve.
pub fn open(options: &Options) -> Result<Handle, OpenError> {
    BlockingDisk.make_directory(&options.path).map_err(at(&options.path))?;
    let lock = lock(&options.path)?;
    let identity = identify(options)?;
    let backend = choose_io(options.io)?;
    let store = shared(options, identity);
    let cores = cores();
    let threads = identity.shards.min(cores.next_power_of_two());
    let pin = options.pinning.is_on(cores, threads);
    tracing::info!(
        backend = backend.name(), shards = identity.shards, threads, pinned = pin, simd = hearth_kernels::arch::detected(),
        path = %options.path.display(), "opening store"
    );
    let mut hosted: Vec<Vec<(usize, Receiver<Request>)>> = (0..threads).map(|_| Vec::new()).collect();
    let mut mailboxes = Vec::new();
    for number in 0..identity.shards {
        let (sender, mailbox) = flume::bounded(config::MAILBOX_REQUESTS);
        mailboxes.push(sender);
        hosted[number % threads].push((number, mailbox));
    }
    let (ready, opened) = flume::unbounded();
    let (lost, losses) = flume::bounded(1);
    let mut handles = Vec::new();
    for (thread, shards) in hosted.into_iter().enumerate() {
        let core = CoreThread {
            shards,
            store: store.clone(),
            seed: identity.seed,
            options: options.clone(),
            ready: ready.clone(),
            core: pin.then_some(thread % cores),
            _watch: Watch { thread, lost: lost.clone() },
        };
        let spawned = std::thread::Builder::new()
            .name(format!("hearth-core-{thread}"))
            .spawn(move || core.run(backend))
            .map_err(at(&options.path))?;
        handles.push(spawned);
    }
    drop(ready);
    for _ in 0..identity.shards {
        opened.recv().unwrap_or_else(|_| {
            let error = std::io::Error::other("a core thread ended during recovery");
            Err(OpenError::Io { path: options.path.clone(), error })
        })?;
    }
    Ok(Handle {
        inner: Arc::new(Inner {
            mailboxes,
            router: store.router,
            progress: Arc::default(),
            worker: Mutex::default(),
            max_ahead_ms: millis(options.max_ahead),
            clock: options.clock,
            backend: backend.name(),
            watermarks: store.watermarks,
            harm: store.harm,
            settings: store.settings,
            threads: Mutex::new(handles),
            losses,
            path: options.path.clone(),
            identity,
            clean_start: mark_open(&lock),
            lock,
        }),
    })
}

/// How a store writes, and on which executor its shards run.
#[derive(Debug, Clone, Copy)]
enum Backend {
    /// Plain calls, plain executors.
    Plain,
    /// io_uring for the logs, plain executors for the shards: what costs least. A glommio executor that goes to
    /// sleep and wakes up makes a dozen system calls and interrupts the other cores, a plain one two; with a
    /// remote write waking each shard once, that was a quarter of all CPU.
    Ring,
    /// io_uring for both.
    Glommio,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Backend::Plain => "threads",
            Backend::Ring => "io_uring",
            Backend::Glommio => "glommio",
        }
    }
}

fn choose_io(choice: IoChoice) -> Result<Backend, OpenError> {
    match (choice, probe::io_uring()) {
        (IoChoice::Threads, _) => Ok(Backend::Plain),
        (IoChoice::Auto, Ok(())) => Ok(Backend::Ring),
        (IoChoice::Uring, Ok(())) => Ok(Backend::Glommio),
        (IoChoice::Uring, Err(why)) => Err(OpenError::NoIoUring(why)),
        (IoChoice::Auto, Err(why)) => {
            tracing::warn!(
                reason = why,
                "io_uring cannot be used here, the log is written with plain calls instead"
            );
            Ok(Backend::Plain)
        }
    }
}

/// Tells of a core thread that ends in a panic.
struct Watch {
    thread: usize,
    lost: Sender<usize>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // One loss is told of, and is enough.
            let _ = self.lost.try_send(self.thread);
        }
    }
}

/// One thread and the shards it owns.
struct CoreThread {
    shards: Vec<(usize, Receiver<Request>)>,
    store: Store,
    seed: u64,
    options: Options,
    ready: Sender<Result<(), OpenError>>,
    core: Option<usize>,
    _watch: Watch,
}

impl CoreThread {
    fn run(self, backend: Backend) {
        // Queries run here and give way by themselves, and who gives way loses the rest of its turn.
        if let Err(error) = hearth_kernels::arch::Turns::Short.ask() {
            tracing::debug!(%error, "the system grants no turns");
        }
        if let (Backend::Plain | Backend::Ring, Some(core)) = (backend, self.core) {
            runtime::pin(core);
        }
        match backend {
            Backend::Plain => runtime::run_threads(|runtime| self.serve(BlockingDisk, runtime)),
            Backend::Ring => runtime::run_threads(|runtime| self.serve(RingDisk, runtime)),
            Backend::Glommio => {
                let (path, ready, core) = (self.options.path.clone(), self.ready.clone(), self.core);
                if let Err(error) = runtime::run_glommio(core, |runtime| self.serve(RingDisk, runtime)) {
                    // The one who opens hears of it; when nobody listens any more there is nobody to tell.
                    let _ = ready.send(Err(OpenError::Io { path, error }));
                }
            }
        }
    }

    async fn serve<D: Disk>(self, disk: D, runtime: Runtime) {
        let mut running = Vec::new();
        for (number, mailbox) in self.shards {
            let options = CommitOptions {
                directory: names::shard_directory(&self.options.path, number).join(names::WAL),
                shard: number as u32,
                seed: self.seed,
                segment_size_bytes: self.options.segment_size_bytes,
                group_commit_delay: self.options.group_commit_delay,
                flush_interval: self.options.flush_interval,
                commit_buffer_bytes: config::COMMIT_BUFFER_BYTES,
            };
            let opened = open_shard(number, self.store.clone(), disk.clone(), options);
            let failed = opened.is_err();
            let result = match opened {
                Ok((state, committer)) => {
                    let (done, ended) = oneshot::channel();
                    let keeper = Keeper::new(state.clone(), disk.clone(), runtime.clone());
                    runtime.spawn(keeper.run());
                    runtime.spawn(async move {
                        committer.run().await;
                        // Who waits for it is the end of this function.
                        let _ = done.send(());
                    });
                    runtime.spawn(shard::serve(state, runtime.clone(), mailbox));
                    running.push(ended);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            let _ = self.ready.send(result);
            if failed {
                return;
            }
        }
        drop(self.ready);
        // A committer ends after its mailbox, when all is on stable storage.
        join_all(running).await;
    }
}

type OpenShard<D> = (std::rc::Rc<shard::ShardState>, crate::wal::commit::Committer<D>);

fn open_shard<D: Disk>(
    number: usize,
    store: Store,
    disk: D,
    options: CommitOptions,
) -> Result<OpenShard<D>, OpenError> {
    disk.make_directory(&options.directory).map_err(at(&options.directory))?;
    let (state, committer) = shard::open(number, store, disk, options).map_err(|error| match error {
        ReplayError::Io { path, error } => OpenError::Io { path: path.into(), error },
        ReplayError::LaterVersion { path, version } => OpenError::LaterVersion { path, version },
    })?;
    let recovery = &state.recovery;
    tracing::info!(
        shard = number,
        series = recovery.series,
        samples = recovery.samples,
        checkpoint = recovery.replayed.position.checkpoint,
        checkpoint_series = recovery.rows,
        bad_chunks = recovery.bad_chunks,
        segments = recovery.replayed.segments,
        frames = recovery.replayed.frames,
        torn_bytes = recovery.replayed.torn_bytes,
        damages = recovery.replayed.damages,
        lost_frames = recovery.replayed.lost_frames,
        orphans = recovery.orphans,
        flushed = recovery.flushed,
        blocks = state.blocks.list().len(),
        refused = recovery.refused,
        duration_ms = recovery.time.as_millis() as u64,
        "shard recovered"
    );
    Ok((state, committer))
}

impl Handle {
    /// How the log is written, for people.
    pub fn backend(&self) -> &'static str {
        self.inner.backend
    }

    pub fn shards(&self) -> usize {
        self.inner.mailboxes.len()
    }

    /// Writes and syncs everything, then ends the core threads. Blocks; later requests fail with
    /// [`StoreError::Closed`].
    pub fn close(&self) {
        self.stop_takeover();
        for mailbox in &self.inner.mailboxes {
            // A shard that is gone is closed already.
            let _ = mailbox.send(Request::Close);
        }
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(|e| e.into_inner()));
        let mut well = !threads.is_empty();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a core thread had panicked");
                well = false;
            }
        }
        if well && let Err(error) = self.inner.lock.set_len(0) {
            tracing::debug!(%error, "the lock says that the directory is open");
        }
    }

    /// Waits until a core thread has panicked, and tells which: its shards answer nothing any more. What they
    /// acknowledged is in their logs, and there again after a start.
    pub async fn lost_core(&self) -> usize {
        match self.inner.losses.recv_async().await {
            Ok(thread) => thread,
            // All ended well.
            Err(_) => std::future::pending().await,
        }
    }

    /// Changes what may change while the store is open; the next write and the next round of upkeep see it.
    pub fn keep(&self, keeping: Keeping) {
        self.inner.settings.change(keeping);
    }

    /// Does at once what is due in the background: blocks to write, to bring together, to delete. `false`
    /// when some of it failed; it is tried again later.
    pub async fn tend(&self) -> Result<bool, StoreError> {
        Ok(self.ask_all(Request::Tend).await?.into_iter().all(|done| done))
    }

    async fn send(&self, shard: usize, request: Request) -> Result<(), StoreError> {
        self.inner.mailboxes[shard].send_async(request).await.map_err(|_| StoreError::Closed)
    }

    /// Asks every shard the same; answers in shard order.
    async fn ask_all<T>(
        &self,
        request: impl Fn(oneshot::Sender<T>) -> Request,
    ) -> Result<Vec<T>, StoreError> {
        let mut answers = Vec::with_capacity(self.shards());
        for shard in 0..self.shards() {
            let (reply, answer) = oneshot::channel();
            self.send(shard, request(reply)).await?;
            answers.push(answer);
        }
        try_join_all(answers).await.map_err(|_| StoreError::Closed)
    }

    fn split(&self, batch: &WriteBatch) -> Vec<Vec<Pick>> {
        let shards = self.shards();
        let mut parts: Vec<Vec<Pick>> =
            (0..shards).map(|_| Vec::with_capacity(batch.series.len() / shards + 16)).collect();
        for (at, series) in batch.series.iter().enumerate() {
            let hash = self.inner.router.hash(batch.key(series));
            parts[self.inner.router.shard(hash)].push(Pick { series: at as u32, hash });
        }
        parts
    }

    /// For each shard whether the batch says something of one of its metrics.
    fn shards_of_metadata(&self, batch: &WriteBatch) -> Vec<bool> {
        let mut said = vec![false; if batch.metadata.is_empty() { 0 } else { self.shards() }];
        for metadata in &batch.metadata {
            said[self.inner.router.shard(self.inner.router.hash(metadata.name.as_bytes()))] = true;
        }
        said
    }

    /// Sends a batch's parts and waits for all of them.
    async fn append_parts(&self, batch: &Arc<WriteBatch>, ack: Ack) -> Result<Appended, StoreError> {
        let latest_ms = (self.inner.clock)().saturating_add(self.inner.max_ahead_ms);
        let parts = self.split(batch);
        let said = self.shards_of_metadata(batch);
        let placed = batch.column.roster.as_ref().and_then(|roster| Placed::of(roster, &self.inner.router));
        let has_members = |shard| placed.is_some_and(|placed| !placed.shard(shard).is_empty());
        let is_concerned = |shard: usize, picks: &[Pick]| {
            !picks.is_empty() || has_members(shard) || said.get(shard) == Some(&true)
        };
        let concerned = parts.iter().enumerate().filter(|(shard, picks)| is_concerned(*shard, picks)).count();
        if concerned == 0 {
            return Ok(Appended::default());
        }
        let (mut replies, answer) = gather(concerned);
        for (shard, picks) in parts.into_iter().enumerate() {
            if !is_concerned(shard, &picks) {
                continue;
            }
            let Some(reply) = replies.pop() else { break };
            let request = AppendRequest { batch: batch.clone(), picks, latest_ms, ack, reply };
            // Where a shard is closed, its part says so.
            let _ = self.send(shard, Request::Append(request)).await;
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn append_batch(&self, mut batch: WriteBatch, ack: Ack) -> Result<Written, StoreError> {
        // A roster that another store has put its mark on.
        if batch.column.roster.as_ref().is_some_and(|r| Placed::of(r, &self.inner.router).is_none()) {
            batch.spell_out();
        }
        let batch = Arc::new(batch);
        let mut done = self.append_parts(&batch, ack).await?;
        if !done.elsewhere.is_empty() {
            let (second, numbers) = misplaced(&batch, &done);
            let again = self.append_parts(&Arc::new(second), ack).await?;
            let mut outcome = again.outcome;
            outcome.refused.iter_mut().for_each(|r| r.series = numbers[r.series as usize]);
            done.outcome.merge(outcome);
        }
        Ok(Written { outcome: done.outcome, batch: Arc::into_inner(batch) })
    }
}

/// The series that went to a wrong shard, under their canonical keys, and their numbers in the batch they
/// came in.
fn misplaced(batch: &WriteBatch, done: &Appended) -> (WriteBatch, Vec<u32>) {
    let mut second = WriteBatch { histograms: Vec::new(), ..WriteBatch::default() };
    let mut numbers = Vec::new();
    for elsewhere in &done.elsewhere {
        let at = elsewhere.series as usize;
        numbers.push(elsewhere.series);
        let Some(series) = batch.series.get(at) else {
            let sample = batch.column.sample(at - batch.series.len());
            second.push_keyed(&elsewhere.key, sample.as_slice());
            continue;
        };
        let first = second.histograms.len() as u32;
        second.push_keyed(&elsewhere.key, batch.samples_of(series));
        second.histograms.extend_from_slice(batch.histograms_of(series));
        if let Some(last) = second.series.last_mut() {
            last.histograms = first..second.histograms.len() as u32;
        }
    }
    (second, numbers)
}

impl Append for Handle {
    fn append(&self, batch: WriteBatch, ack: Ack) -> BoxFuture<'_, Result<Written, StoreError>> {
        Box::pin(self.append_batch(batch, ack))
    }
}

/// Tells the shards to stop when the one who waits for them goes away.
struct StopOnDrop(Option<QueryContext>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.cancel(Stop::Cancelled);
        }
    }
}

/// A job that panics is a bug of ours, and costs its query and not the shard.
async fn unharmed<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = hearth_model::panic::text(&*panic);
        tracing::error!(component = "tsdb", err = %text, "A query panicked on its shard");
        Err(StoreError::Io(format!("unexpected error: {text}")))
    })
}

/// The work's result, unless a page that it may have read went bad meanwhile: then it may have read zeros instead. The
/// next one to ask finds the page marked.
async fn undisturbed<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let before = faults::count();
    let result = work.await;
    if faults::count() == before {
        return result;
    }
    let why = "a page of a block went bad while it was read: ask again for what can be read still";
    tracing::error!("{why}");
    Err(StoreError::Io(why.to_owned()))
}

impl Scatter for Handle {
    type View = View;

    async fn scatter<T, J, F>(&self, context: QueryContext, job: J) -> Result<Vec<T>, StoreError>
    where
        J: Fn(View) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
        T: Send + 'static,
    {
        context.check()?;
        let mut guard = StopOnDrop(Some(context.clone()));
        let answers = Answers::of(self.shards());
        for shard in 0..self.shards() {
            let reply = answers.reply(shard);
            let (job, context) = (job.clone(), context.clone());
            let task: Job = Box::new(move |place| {
                let state = place.state.clone();
                let work = async move { job(View::new(place, context)).await };
                Box::pin(async move {
                    let result = undisturbed(unharmed(work)).await;
                    state.note_harm();
                    reply.send(result);
                })
            });
            self.send(shard, Request::Job(task)).await?;
        }
        let results = answers.all().await?;
        guard.0 = None;
        Ok(results)
    }

    fn watermarks(&self) -> Option<&Watermarks> {
        Some(&self.inner.watermarks)
    }

    fn missing(&self) -> Vec<Missing> {
        let mut missing = self.inner.progress.missing();
        // What is past the retention by now nobody misses.
        let oldest_ms = self.oldest_ms();
        missing.retain_mut(|one| {
            one.range.min_ms = one.range.min_ms.max(oldest_ms);
            !one.range.is_empty()
        });
        missing.extend(self.inner.harm.missing());
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_thread_that_panics_is_told() {
        let (lost, losses) = flume::bounded(1);
        for thread in [3, 4] {
            let watch = Watch { thread, lost: lost.clone() };
            let work = move || {
                let _watch = watch;
                assert_ne!(thread, 4, "a panic on purpose");
            };
            assert_eq!(std::thread::spawn(work).join().is_err(), thread == 4);
        }
        assert_eq!(losses.try_iter().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn an_identity_reads_back_and_damage_is_told() {
        let identity = Identity { shards: 4, seed: 0xfeed };
        assert_eq!(Identity::parse(&identity.print()), Ok(identity));
        let check = |text: String, what: &str| {
            let error = Identity::parse(&text).expect_err("damaged");
            assert!(error.contains(what), "{error}");
        };
        check(identity.print().replace("shards 4", "shards 8"), "checksum");
        check(String::new(), "no checksum");
        check(Identity { shards: 3, seed: 1 }.print(), "power of two");
    }
}

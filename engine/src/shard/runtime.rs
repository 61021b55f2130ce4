//! What a shard's thread runs on: a glommio executor (io_uring), or a plain single-threaded one where
//! io_uring is forbidden. All that a shard knows of either is [`Runtime`].

use crate::config;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::LocalSpawnExt;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// Tasks on the thread at hand.
#[derive(Debug, Clone)]
pub enum Runtime {
    /// glommio.
    Uring,
    Threads(ThreadRuntime),
}

/// The plain executor, and when the task at hand began its slice.
#[derive(Debug, Clone)]
pub struct ThreadRuntime {
    spawner: LocalSpawner,
    slice_start: Rc<Cell<Instant>>,
}

impl Runtime {
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        match self {
            Runtime::Uring => drop(glommio::spawn_local(task).detach()),
            // Fails only when the pool is gone, and then so is the shard.
            Runtime::Threads(threads) => drop(threads.spawner.spawn_local(task)),
        }
    }

    /// Lets other tasks run where this one ran for [`config::PREEMPT`].
    pub async fn yield_if_needed(&self) {
        match self {
            Runtime::Uring => glommio::yield_if_needed().await,
            Runtime::Threads(threads) => threads.yield_if_needed().await,
        }
    }
}

impl ThreadRuntime {
    async fn yield_if_needed(&self) {
        if self.slice_start.get().elapsed() < config::PREEMPT {
            return;
        }
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.slice_start.set(Instant::now());
    }
}

/// Blocks of the executor's own I/O buffers: the log has its own, so this stays small.
const IO_MEMORY_BYTES: usize = 64 << 10;
const RING_DEPTH: usize = 128;

/// Runs `main` to its end on a glommio executor on this thread.
pub fn run_uring<F: Future<Output = ()>>(
    core: Option<usize>,
    main: impl FnOnce(Runtime) -> F,
) -> io::Result<()> {
    let placement = core.map_or(glommio::Placement::Unbound, glommio::Placement::Fixed);
    let executor = glommio::LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(config::PREEMPT)
        .make()
        .map_err(|e| io::Error::other(e.to_string()))?;
    executor.run(async { main(Runtime::Uring).await });
    Ok(())
}

/// Runs `main` to its end on a plain executor on this thread.
pub fn run_threads<F: Future<Output = ()>>(main: impl FnOnce(Runtime) -> F) {
    let mut pool = LocalPool::new();
    let slice_start = Rc::new(Cell::new(Instant::now()));
    let runtime = Runtime::Threads(ThreadRuntime { spawner: pool.spawner(), slice_start });
    pool.run_until(main(runtime));
}

/// Keeps this thread on one core, where the kernel lets it.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "thread could not be pinned");
    }
}

//! What a shard's thread runs on: a plain single-threaded executor, or (where asked for) a glommio one. All
//! that a shard knows of either is [`Runtime`].

use crate::config;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::LocalSpawnExt;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// Tasks on the thread at hand, and when the one that runs now began its slice.
#[derive(Debug, Clone)]
pub struct Runtime {
    executor: Executor,
    slice_start: Rc<Cell<Instant>>,
}

#[derive(Debug, Clone)]
enum Executor {
    Glommio,
    Plain(LocalSpawner),
}

impl Runtime {
    fn new(executor: Executor) -> Runtime {
        Runtime { executor, slice_start: Rc::new(Cell::new(Instant::now())) }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        match &self.executor {
            Executor::Glommio => drop(glommio::spawn_local(task).detach()),
            // Fails only when the pool is gone, and then so is the shard.
            Executor::Plain(spawner) => drop(spawner.spawn_local(task)),
        }
    }

    /// Lets other tasks run where this one ran for [`config::PREEMPT`].
    pub async fn yield_if_needed(&self) {
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
pub fn run_glommio<F: Future<Output = ()>>(
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
    executor.run(async { main(Runtime::new(Executor::Glommio)).await });
    Ok(())
}

/// Runs `main` to its end on a plain executor on this thread.
pub fn run_threads<F: Future<Output = ()>>(main: impl FnOnce(Runtime) -> F) {
    let mut pool = LocalPool::new();
    let runtime = Runtime::new(Executor::Plain(pool.spawner()));
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

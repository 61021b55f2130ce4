//! What a shard's thread runs on: a plain single-threaded executor, or a glommio one where that was asked for.
//! All that a shard knows of either is [`Runtime`].
//!
//! glommio may go to sleep while tasks are ready to run. Its loop (0.9.0, and the fork glommio-ng 0.12.0)
//! arms the preemption timer, then runs the queues of tasks; when the timer has fired by the time it looks
//! at the first queue, because the thread lost its core for that long, `run_task_queues` reports that
//! nothing ran, which the loop takes for "nothing is ready", and parks until a message from another
//! thread. With a timer of [`config::PREEMPT`] on busy cores that happened to a query within seconds. A
//! parked executor still wakes for its own timers, and then finds what is ready: so there is always one,
//! [`heartbeat`].

use crate::config;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::select_all;
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
    /// Whether a task asked for anything since the last heartbeat.
    stirred: Rc<Cell<bool>>,
}

#[derive(Debug, Clone)]
enum Executor {
    Glommio,
    Plain(LocalSpawner),
}

impl Runtime {
    fn new(executor: Executor) -> Runtime {
        let slice_start = Rc::new(Cell::new(Instant::now()));
        Runtime { executor, slice_start, stirred: Rc::default() }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.stirred.set(true);
        match &self.executor {
            Executor::Glommio => drop(glommio::spawn_local(task).detach()),
            // Fails only when the pool is gone, and then so is the shard.
            Executor::Plain(spawner) => drop(spawner.spawn_local(task)),
        }
    }

    /// Lets other tasks run where this one ran for [`config::SLICE`], and before them other threads that wait for this
    /// processor: for work at length, such as queries.
    ///
    /// Linux looks at who should run when somebody wakes and at its ticks, some milliseconds apart: a thread that woke at
    /// the wrong moment (to send a request's answer, to sync the log) would wait out a tick beside a query. Giving way
    /// costs a microsecond where nobody waits.
    pub async fn give_way_if_needed(&self) {
        if self.slice_start.get().elapsed() >= config::SLICE {
            std::thread::yield_now();
        }
        self.yield_if_needed().await;
    }

    /// Lets other tasks run where this one ran for [`config::SLICE`].
    pub async fn yield_if_needed(&self) {
        self.stirred.set(true);
        if self.slice_start.get().elapsed() < config::SLICE {
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
    executor.run(async {
        let runtime = Runtime::new(Executor::Glommio);
        let heartbeat = glommio::spawn_local(heartbeat(runtime.stirred.clone()));
        main(runtime).await;
        heartbeat.cancel().await;
    });
    Ok(())
}

/// Bounds how long glommio sleeps beside tasks that are ready; see the head of this file. A ladder of timers:
/// this task may itself be among those that glommio overlooks when its first timer has fired, and then
/// the next one must still be pending.
async fn heartbeat(stirred: Rc<Cell<bool>>) {
    loop {
        let first = if stirred.replace(false) { config::HEARTBEAT_BUSY } else { config::HEARTBEAT_IDLE };
        let rungs =
            (0..config::HEARTBEAT_RUNGS).map(|rung| Box::pin(glommio::timer::sleep(first * (1 << rung))));
        select_all(rungs).await;
    }
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

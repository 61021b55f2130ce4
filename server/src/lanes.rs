//! Threads with a runtime of their own each, so that a piece of work stays on one thread from its first event to its
//! last. What runs on a lane never blocks, and gives way every few hundred microseconds: nobody takes over what waits
//! behind it.

use hearth_kernels::arch::Turns;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};

/// Cores for one scraping lane: it takes in millions of samples a second, and the store needs the others.
const CORES_PER_SCRAPE_LANE: usize = 4;
/// More scraping lanes would have nothing to do.
const MOST_SCRAPE_LANES: usize = 8;
/// The same of those that serve.
const MOST_SERVING_LANES: usize = 32;

/// Lanes of one kind.
pub struct Lanes(Vec<Runtime>);

impl Lanes {
    /// A scrape is done from its timer to its write without waking another thread.
    pub fn scraping() -> io::Result<Lanes> {
        Lanes::start("scrape", cores().div_ceil(CORES_PER_SCRAPE_LANE).min(MOST_SCRAPE_LANES))
    }

    /// A connection is served where it was accepted to, from the first byte of a request to the last of its answer.
    pub fn serving() -> io::Result<Lanes> {
        Lanes::start("serve", cores().min(MOST_SERVING_LANES))
    }

    fn start(name: &str, count: usize) -> io::Result<Lanes> {
        let lane = |_| {
            let mut lane = Builder::new_multi_thread();
            lane.worker_threads(1).thread_name(name).on_thread_start(be_prompt).enable_all().build()
        };
        (0..count).map(lane).collect::<io::Result<_>>().map(Lanes)
    }

    pub fn handles(&self) -> Vec<Handle> {
        self.0.iter().map(|lane| lane.handle().clone()).collect()
    }

    /// Ends them; a loop that still runs ends where it waits.
    pub fn stop(self) {
        self.0.into_iter().for_each(Runtime::shutdown_background);
    }
}

/// What comes in and what is to be answered does not wait for the turn of a long query to end.
fn be_prompt() {
    ask_for(Turns::Short);
}

/// Asks for turns for the calling thread, if the system grants any: without them the server works, and waits longer
/// beside long queries.
pub fn ask_for(turns: Turns) {
    if let Err(error) = turns.ask() {
        tracing::debug!(err = %error, "The system grants no turns");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Gives each piece of work to the lane that has the fewest. Each lane's token is held by all of its work.
pub struct Sharing(Vec<(Handle, Arc<()>)>);

impl Sharing {
    pub fn new(lanes: Vec<Handle>) -> Sharing {
        Sharing(lanes.into_iter().map(|lane| (lane, Arc::new(()))).collect())
    }

    /// The lane, and what its work holds as long as it runs; nothing where there is no lane.
    pub fn least(&self) -> Option<(&Handle, Arc<()>)> {
        let (lane, token) = self.0.iter().min_by_key(|(_, token)| Arc::strong_count(token))?;
        Some((lane, token.clone()))
    }
}

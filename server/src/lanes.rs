//! The threads that scrape: a runtime of one thread each, so that a scrape is done from its timer to its write
//! without waking another thread. What a lane does never blocks; a huge page gives way every few thousand lines.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// Cores for one lane: it takes in millions of samples a second, and the store needs the others.
const CORES_PER_LANE: usize = 4;
/// More lanes would have nothing to do.
const MOST_LANES: usize = 8;

/// All lanes of a server.
pub struct Lanes(Vec<Runtime>);

impl Lanes {
    pub fn start() -> io::Result<Lanes> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lane =
            |_| Builder::new_multi_thread().worker_threads(1).thread_name("scrape").enable_all().build();
        (0..cores.div_ceil(CORES_PER_LANE).min(MOST_LANES)).map(lane).collect::<io::Result<_>>().map(Lanes)
    }

    pub fn handles(&self) -> Vec<Handle> {
        self.0.iter().map(|lane| lane.handle().clone()).collect()
    }

    /// Ends them; a loop that still runs ends where it waits.
    pub fn stop(self) {
        self.0.into_iter().for_each(Runtime::shutdown_background);
    }
}

//! Where targets come from. Each mechanism is a file here; each turns its section of the configuration
//! into target groups and hands the whole of what it knows to its job's pool whenever that changes.
//! Nothing here relabels or scrapes.

pub mod file;
pub mod static_list;

use crate::config::ScrapeConfig;
use crate::counters::DiscoveryCounters;
use hearth_model::Labels;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Targets that share labels, from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// Names the place: an index of `static_configs`, or a file and an index within it.
    pub source: String,
    /// Each has at least `__address__`.
    pub targets: Vec<Labels>,
    pub labels: Labels,
}

/// All groups that one provider (an entry of a job's discovery sections) knows now.
pub struct Update {
    pub provider: usize,
    pub groups: Arc<Vec<TargetGroup>>,
}

/// Updates a pool may lag behind before its providers wait.
const UPDATE_QUEUE: usize = 16;

/// The running providers of one job; dropping it stops them.
pub struct Providers {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Providers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts all providers of a job. What is known at once is in the first returned list; the rest arrives
/// on the channel.
pub fn start(
    config: &ScrapeConfig,
    counters: &Arc<DiscoveryCounters>,
) -> (Vec<Arc<Vec<TargetGroup>>>, mpsc::Receiver<Update>, Providers) {
    let (sender, receiver) = mpsc::channel(UPDATE_QUEUE);
    let mut known = vec![Arc::new(static_list::groups(&config.static_configs))];
    let mut tasks = Vec::new();
    for section in &config.file_sd_configs {
        let provider = known.len();
        known.push(Arc::new(Vec::new()));
        let files = file::Files::new(section.clone(), config.job_name.clone(), Arc::clone(counters));
        tasks.push(tokio::spawn(files.run(provider, sender.clone())));
    }
    (known, receiver, Providers { tasks })
}

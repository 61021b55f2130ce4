//! One job's targets and their loops. A single task owns them: it takes what discovery finds and what a
//! reload brings, and starts, changes and ends loops accordingly. Readers look at a published snapshot
//! and never wait for it.

use crate::config::{DISCOVERY_PAUSE_MS, RELOAD_PATIENCE_MS};
use crate::context::Context;
use crate::counters::PoolCounters;
use crate::discovery::{Discovery, Groups, Listener, Wanted, static_list};
use crate::job::Job;
use crate::metadata::MetadataCache;
use crate::scrape_loop::{self, Order};
use crate::status::{ActiveTarget, DroppedTarget, Health, PoolStatus, TargetMetadata};
use crate::target::{self, Found, Target};
use arc_swap::ArcSwap;
use hearth_model::Labels;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a loop works by.
#[derive(Clone)]
pub struct LoopPlan {
    pub job: Arc<Job>,
    pub target: Arc<Target>,
    /// Fails every scrape without asking the target: a limit of the pool is broken.
    pub forced_error: Option<Arc<str>>,
}

impl LoopPlan {
    pub fn same(&self, other: &LoopPlan) -> bool {
        Arc::ptr_eq(&self.job, &other.job)
            && self.target == other.target
            && self.forced_error == other.forced_error
    }
}

/// What is shown of one target.
#[derive(Default)]
pub struct TargetState {
    pub target: Option<Arc<Target>>,
    pub health: Health,
    pub last_error: String,
    pub last_scrape_ms: Option<i64>,
    pub last_scrape_duration_seconds: f64,
}

/// One active target: written by its loop and its pool, read by everyone.
#[derive(Default)]
pub struct TargetEntry {
    state: Mutex<TargetState>,
    pub metadata: Mutex<MetadataCache>,
}

impl TargetEntry {
    pub fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn metadata(&self) -> MutexGuard<'_, MetadataCache> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The targets of a pool at one moment.
#[derive(Default)]
struct Snapshot {
    active: Vec<Arc<TargetEntry>>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    discovered: usize,
    target_limit: u64,
}

/// What others see of a pool.
pub struct PoolView {
    pub name: Arc<str>,
    pub counters: PoolCounters,
    snapshot: ArcSwap<Snapshot>,
}

impl PoolView {
    pub fn status(&self) -> PoolStatus {
        let snapshot = self.snapshot.load();
        let mut active: Vec<ActiveTarget> = snapshot.active.iter().filter_map(|e| self.active(e)).collect();
        active.sort_by(|a, b| a.labels.cmp(&b.labels).then_with(|| a.scrape_url.cmp(&b.scrape_url)));
        let dropped = |labels: &Labels| DroppedTarget {
            discovered_labels: labels.clone(),
            scrape_pool: Arc::clone(&self.name),
        };
        PoolStatus {
            name: Arc::clone(&self.name),
            active,
            dropped: snapshot.dropped.iter().map(dropped).collect(),
            dropped_count: snapshot.dropped_count,
        }
    }

    fn active(&self, entry: &TargetEntry) -> Option<ActiveTarget> {
        let state = entry.state();
        let target = state.target.as_ref()?;
        Some(ActiveTarget {
            discovered_labels: target.discovered.clone(),
            labels: target.labels.clone(),
            scrape_pool: Arc::clone(&self.name),
            scrape_url: target.url.clone(),
            last_error: state.last_error.clone(),
            last_scrape_ms: state.last_scrape_ms,
            last_scrape_duration_seconds: state.last_scrape_duration_seconds,
            health: state.health,
            scrape_interval: target.interval,
            scrape_timeout: target.timeout,
        })
    }

    pub fn metadata(&self, metric: Option<&str>) -> Vec<TargetMetadata> {
        let of = |entry: &Arc<TargetEntry>| {
            let labels = entry.state().target.as_ref()?.labels.clone();
            let metrics = entry.metadata().read(metric);
            (!metrics.is_empty()).then_some(TargetMetadata { labels, metrics })
        };
        self.snapshot.load().active.iter().filter_map(of).collect()
    }

    /// Metrics with metadata and their bytes, over all targets.
    pub fn metadata_size(&self) -> (usize, usize) {
        let sizes = self.snapshot.load().active.iter().map(|e| e.metadata().size()).collect::<Vec<_>>();
        sizes.iter().fold((0, 0), |(n, bytes), (more, more_bytes)| (n + more, bytes + more_bytes))
    }

    pub fn active_count(&self) -> usize {
        self.snapshot.load().active.len()
    }

    pub fn discovered_count(&self) -> usize {
        self.snapshot.load().discovered
    }

    pub fn target_limit(&self) -> u64 {
        self.snapshot.load().target_limit
    }
}

enum Command {
    Reload {
        job: Arc<Job>,
        done: oneshot::Sender<()>,
    },
    /// The job is gone: every target leaves.
    Retire,
    /// The server goes down.
    Quit,
}

/// A handle to a pool's task.
pub struct Pool {
    pub view: Arc<PoolView>,
    pub job: Arc<Job>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl Pool {
    pub fn start(context: &Arc<Context>, discovery: &Arc<Discovery>, job: Arc<Job>) -> Pool {
        let view = Arc::new(PoolView {
            name: Arc::clone(&job.name),
            counters: PoolCounters::default(),
            snapshot: ArcSwap::default(),
        });
        let (commands, receiver) = mpsc::unbounded_channel();
        let keeper = Keeper {
            context: Arc::clone(context),
            discovery: Arc::clone(discovery),
            view: Arc::clone(&view),
            sources: Sources::start(&job, discovery),
            job: Arc::clone(&job),
            loops: HashMap::new(),
            leaving: Vec::new(),
            due: None,
            last_update: None,
            patient_until: None,
        };
        Pool { view, job, commands, task: tokio::spawn(keeper.run(receiver)) }
    }

    /// Returns when the targets known so far run by the new job.
    pub async fn reload(&mut self, job: Arc<Job>) {
        self.job = Arc::clone(&job);
        let (done, answer) = oneshot::channel();
        // The task listens until it is told to end, which only retire and quit do; both consume the pool.
        let _listening = self.commands.send(Command::Reload { job, done });
        let _done = answer.await;
    }

    /// Lets every target leave; the handle stays good for [`Pool::quit`].
    pub fn retire(&self) {
        let _ended = self.commands.send(Command::Retire);
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends all loops and waits for them.
    pub async fn quit(self) {
        let _ended = self.commands.send(Command::Quit);
        if let Err(error) = self.task.await {
            tracing::error!(job = &*self.job.name, %error, "a scrape pool ended badly");
        }
    }
}

/// What is known of a job's targets, and where news of them arrive.
struct Sources {
    fixed: Groups,
    listener: Listener,
    /// Watchers that have not said anything yet.
    silent: BTreeSet<usize>,
}

impl Sources {
    fn start(job: &Job, discovery: &Discovery) -> Sources {
        let files = job.config.file_sd_configs.iter().cloned().map(Wanted::File);
        let others = job.config.discovery.entries.iter().cloned().map(Wanted::Sd);
        let listener = discovery.listen(&job.name, files.chain(others));
        let fixed = Arc::new(static_list::groups(&job.config.static_configs));
        let silent = (0..listener.watchers.len()).collect();
        let mut sources = Sources { fixed, listener, silent };
        sources.hear();
        sources
    }

    /// Whether somebody spoke for the first time.
    fn hear(&mut self) -> bool {
        let before = self.silent.len();
        let watchers = &self.listener.watchers;
        self.silent.retain(|index| watchers[*index].groups().is_none());
        self.silent.len() < before
    }

    fn groups(&self) -> Vec<Groups> {
        let watched = self.listener.watchers.iter().filter_map(|watcher| watcher.groups());
        std::iter::once(Arc::clone(&self.fixed)).chain(watched).collect()
    }
}

struct Running {
    orders: watch::Sender<Order>,
    plan: LoopPlan,
    entry: Arc<TargetEntry>,
    task: JoinHandle<()>,
}

/// The task's state.
struct Keeper {
    context: Arc<Context>,
    discovery: Arc<Discovery>,
    view: Arc<PoolView>,
    job: Arc<Job>,
    sources: Sources,
    loops: HashMap<u64, Running>,
    /// Loops of targets that are gone, which still have to end their series.
    leaving: Vec<Running>,
    /// When news that wait are acted on.
    due: Option<Instant>,
    last_update: Option<Instant>,
    /// Until then a target that nobody knows stays while some have not spoken.
    patient_until: Option<Instant>,
}

/// Returns at that moment, or never where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// All that one look at the groups found.
#[derive(Default)]
struct Findings {
    active: Vec<Target>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    discovered: usize,
}

impl Keeper {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        self.sync();
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Reload { job, done }) => {
                        self.reload(job);
                        let _nobody_waits = done.send(());
                    }
                    Some(Command::Retire) => break,
                    Some(Command::Quit) | None => return self.quit().await,
                },
                () = until(self.due) => self.update(),
                () = self.sources.listener.changed() => self.news(),
            }
        }
        for (_, running) in std::mem::take(&mut self.loops) {
            self.leave(running);
        }
        self.view.snapshot.store(Arc::default());
        self.drain(commands).await;
    }

    /// Waits until the last leaving loop is done, or quits.
    async fn drain(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(running) = self.leaving.last_mut() {
            tokio::select! {
                biased;
                command = commands.recv() => if matches!(command, Some(Command::Quit) | None) {
                    return self.quit().await;
                },
                _ended = &mut running.task => drop(self.leaving.pop()),
            }
        }
    }

    async fn quit(&mut self) {
        let all: Vec<Running> = self.loops.drain().map(|(_, r)| r).chain(self.leaving.drain(..)).collect();
        for running in &all {
            running.orders.send_replace(Order::Quit);
        }
        for running in all {
            if let Err(error) = running.task.await {
                tracing::error!(job = &*self.job.name, %error, "a scrape loop ended badly");
            }
        }
    }

    /// A watcher knows something new. What is heard for the first time is acted on at once, later news
    /// at most once in a while: a busy cluster changes all the time.
    fn news(&mut self) {
        let counters = &self.discovery.tools.counters;
        counters.updates_received.add(1);
        let first = self.sources.hear();
        let pause = Duration::from_millis(DISCOVERY_PAUSE_MS);
        let now = Instant::now();
        match self.last_update.map(|at| at + pause).filter(|due| *due > now && !first) {
            Some(due) => {
                if self.due.replace(due).is_none() {
                    counters.updates_delayed.add(1);
                }
            }
            None => self.update(),
        }
    }

    fn update(&mut self) {
        self.due = None;
        self.last_update = Some(Instant::now());
        self.discovery.tools.counters.updates_applied.add(1);
        self.sync();
    }

    /// Takes over a new configuration. Sections that stay keep their watchers; where one is new, targets
    /// that perhaps only it knows do not vanish before it has answered, for some time.
    fn reload(&mut self, job: Arc<Job>) {
        self.sources = Sources::start(&job, &self.discovery);
        self.job = job;
        self.context.counters.pool_reloads.add(1);
        let patience = Instant::now() + Duration::from_millis(RELOAD_PATIENCE_MS);
        self.patient_until = (!self.sources.silent.is_empty()).then_some(patience);
        self.due = self.patient_until;
        self.sync();
    }

    fn look(&self) -> Findings {
        let mut found = Findings::default();
        let keep = match self.job.config.keep_dropped_targets {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let known = self.sources.groups();
        for group in known.iter().flat_map(|groups| groups.iter()) {
            for labels in &group.targets {
                found.discovered += 1;
                match target::find(&self.job.config, &self.job.target_rules, labels, group) {
                    Ok(Found::Active(target)) => found.active.push(target),
                    Ok(Found::Dropped { discovered }) => {
                        found.dropped_count += 1;
                        if found.dropped.len() < keep {
                            found.dropped.push(discovered);
                        }
                    }
                    Err(error) => {
                        self.view.counters.sync_failures.add(1);
                        let (job, source) = (&*self.job.name, &group.source);
                        tracing::error!(job, source, target = %labels, error, "a target cannot be scraped");
                    }
                }
            }
        }
        found
    }

    /// Brings the loops in line with what is known.
    fn sync(&mut self) {
        let start = Instant::now();
        let patient =
            !self.sources.silent.is_empty() && self.patient_until.is_some_and(|until| start < until);
        let found = self.look();
        let mut plans: HashMap<u64, LoopPlan> = HashMap::with_capacity(found.active.len());
        for target in found.active {
            let (identity, job) = (target.identity, Arc::clone(&self.job));
            // Of targets that are the same once they are relabelled the last one says where they come from.
            plans.insert(identity, LoopPlan { job, target: Arc::new(target), forced_error: None });
        }
        self.limit(&mut plans);
        self.leaving.retain(|running| !running.task.is_finished());
        let gone: Vec<u64> = self.loops.keys().filter(|id| !plans.contains_key(id)).copied().collect();
        for identity in gone {
            if patient {
                self.readopt(identity);
            } else if let Some(running) = self.loops.remove(&identity) {
                self.leave(running);
            }
        }
        for (identity, plan) in plans {
            self.run_target(identity, plan);
        }
        self.view.snapshot.store(Arc::new(Snapshot {
            active: self.loops.values().map(|running| Arc::clone(&running.entry)).collect(),
            dropped: found.dropped,
            dropped_count: found.dropped_count,
            discovered: found.discovered,
            target_limit: self.job.config.target_limit,
        }));
        self.view.counters.syncs.add(1);
        self.view.counters.sync_length.observe(start.elapsed().as_secs_f64());
    }

    /// Too many targets fail all of them.
    fn limit(&self, plans: &mut HashMap<u64, LoopPlan>) {
        let (count, limit) = (plans.len(), self.job.config.target_limit);
        if limit == 0 || count as u64 <= limit {
            return;
        }
        self.context.counters.target_limit.add(1);
        let error: Arc<str> =
            Arc::from(format!("target_limit exceeded (number of targets: {count}, limit: {limit})"));
        for plan in plans.values_mut() {
            plan.forced_error = Some(Arc::clone(&error));
        }
    }

    fn run_target(&mut self, identity: u64, plan: LoopPlan) {
        if let Some(running) = self.loops.get_mut(&identity) {
            if !running.plan.same(&plan) {
                running.entry.state().target = Some(Arc::clone(&plan.target));
                running.plan = plan.clone();
                running.orders.send_replace(Order::Run(plan));
            }
            return;
        }
        let entry = Arc::new(TargetEntry::default());
        entry.state().target = Some(Arc::clone(&plan.target));
        let (orders, receiver) = watch::channel(Order::Run(plan.clone()));
        let body = scrape_loop::run(Arc::clone(&self.context), Arc::clone(&entry), plan.clone(), receiver);
        let task = self.context.spawn(identity, body);
        self.loops.insert(identity, Running { orders, plan, entry, task });
    }

    /// Lets a target go on by the new job although nobody knows it at the moment.
    fn readopt(&mut self, identity: u64) {
        let Some(running) = self.loops.get_mut(&identity) else { return };
        if !Arc::ptr_eq(&running.plan.job, &self.job) {
            running.plan = LoopPlan { job: Arc::clone(&self.job), ..running.plan.clone() };
            running.orders.send_replace(Order::Run(running.plan.clone()));
        }
    }

    fn leave(&mut self, running: Running) {
        running.orders.send_replace(Order::Leave);
        self.leaving.push(running);
    }
}

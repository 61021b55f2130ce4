//! The front of the crate: one [`Scraper`] holds the pools of all jobs. Configuration comes in two steps,
//! so that a server can apply all of its parts or none: [`Scraper::prepare`] may fail and changes
//! nothing, [`Scraper::apply`] cannot fail.

use crate::config::{ConfigError, ScrapeConfig};
use crate::context::{Buffers, Context};
use crate::counters::ScrapeCounters;
use crate::discovery::{Discovery, Tools};
use crate::failure_log::FailureLog;
use crate::families;
use crate::job::Job;
use crate::pool::{Pool, PoolView};
use crate::push::Gateway;
use crate::status::{Family, PoolStatus, TargetMetadata};
use arc_swap::ArcSwap;
use hearth_model::{Ack, Append};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Behaviour that Prometheus has behind `--enable-feature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// A counter or histogram that tells when it began gets a zero sample at that time.
    pub created_zeros: bool,
    /// Every series gets its type and unit as the labels `__type__` and `__unit__`.
    pub type_and_unit_labels: bool,
}

/// What a scraper works with.
pub struct Options {
    pub append: Arc<dyn Append>,
    /// How durable a scrape's samples are before the next step; a target awaits no answer, so
    /// [`Ack::Written`] is the usual choice.
    pub ack: Ack,
    pub clock: Clock,
    /// Shifts every target's offset within its interval: two replicas with different seeds scrape at
    /// different times.
    pub seed: u64,
    pub features: Features,
    /// What one of the jobs scrapes, in the place of its target.
    pub gateway: Option<Arc<Gateway>>,
    /// The `User-Agent` of every scrape.
    pub user_agent: String,
    /// Where discovered targets are kept for the next run; nowhere where there is none.
    pub kept_targets: Option<PathBuf>,
    /// Runtimes that scrape, best with one thread each: work that does not wander needs nobody to be woken up for
    /// it. Without one the caller's runtime scrapes.
    pub lanes: Vec<tokio::runtime::Handle>,
}

/// A checked configuration, ready to be applied.
pub struct Plan {
    jobs: Vec<Arc<Job>>,
}

/// Scrapes all jobs. Cheap to clone; every clone is the same scraper.
#[derive(Clone)]
pub struct Scraper {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<Context>,
    discovery: Arc<Discovery>,
    user_agent: String,
    gateway: Option<Arc<Gateway>>,
    pools: Mutex<Pools>,
    views: ArcSwap<BTreeMap<Arc<str>, Arc<PoolView>>>,
}

/// Changed by one reload at a time.
#[derive(Default)]
struct Pools {
    running: BTreeMap<Arc<str>, Pool>,
    /// Pools of jobs that are gone, whose targets still have to end their series.
    retired: Vec<Pool>,
    closed: bool,
}

impl Scraper {
    /// Begins with no job.
    pub fn start(options: Options) -> Scraper {
        let context = Context {
            append: options.append,
            ack: options.ack,
            clock: options.clock,
            seed: options.seed,
            features: options.features,
            counters: ScrapeCounters::default(),
            buffers: Buffers::default(),
            lanes: options.lanes,
        };
        let user_agent = Arc::from(options.user_agent.as_str());
        let tools = Tools { counters: Arc::default(), user_agent, config: Arc::default() };
        Scraper {
            inner: Arc::new(Inner {
                context: Arc::new(context),
                discovery: Arc::new(Discovery::new(tools, options.kept_targets)),
                user_agent: options.user_agent,
                gateway: options.gateway,
                pools: Mutex::default(),
                views: ArcSwap::default(),
            }),
        }
    }

    /// Compiles rules, clients and logs from resolved configurations (see [`crate::config::resolve`]).
    pub fn prepare(&self, configs: Vec<ScrapeConfig>) -> Result<Plan, ConfigError> {
        let mut logs: Vec<Arc<FailureLog>> = Vec::new();
        let mut jobs = Vec::with_capacity(configs.len());
        for (index, config) in configs.into_iter().enumerate() {
            let at = |message| ConfigError { scrape_config: Some(index), message };
            let path = config.scrape_failure_log_file.as_str();
            let log = match logs.iter().find(|log| log.path() == path) {
                _ if path.is_empty() => None,
                Some(log) => Some(Arc::clone(log)),
                None => {
                    let log = Arc::new(FailureLog::open(path).map_err(at)?);
                    logs.push(Arc::clone(&log));
                    Some(log)
                }
            };
            jobs.push(Arc::new(
                Job::new(config, &self.inner.user_agent, log, self.inner.gateway.as_ref()).map_err(at)?,
            ));
        }
        Ok(Plan { jobs })
    }

    /// Makes the plan the running one. Loops of targets that stay go on undisturbed; jobs that did not
    /// change are not touched at all, except that their failure log is opened anew. Must be called within
    /// a tokio runtime. Does nothing after [`Scraper::shutdown`].
    pub async fn apply(&self, plan: Plan) {
        let inner = &self.inner;
        let start = Instant::now();
        let mut pools = inner.pools.lock().await;
        if pools.closed {
            return;
        }
        pools.retired.retain(|pool| !pool.is_finished());
        let gone: Vec<Arc<str>> =
            pools.running.keys().filter(|n| !plan.jobs.iter().any(|job| job.name == **n)).cloned().collect();
        for name in gone {
            if let Some(pool) = pools.running.remove(&name) {
                pool.retire();
                pools.retired.push(pool);
            }
        }
        for job in plan.jobs {
            match pools.running.get_mut(&job.name) {
                Some(pool) if pool.job.config == job.config && job.failure_log.is_none() => {}
                Some(pool) => pool.reload(job).await,
                None => {
                    inner.context.counters.pools.add(1);
                    let pool = Pool::start(&inner.context, &inner.discovery, Arc::clone(&job));
                    pools.running.insert(Arc::clone(&job.name), pool);
                }
            }
        }
        let views = pools.running.iter().map(|(name, pool)| (Arc::clone(name), Arc::clone(&pool.view)));
        inner.views.store(Arc::new(views.collect()));
        inner.discovery.tidy();
        inner.context.counters.reload.observe(start.elapsed().as_secs_f64());
    }

    /// The push gateway, where there is one.
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        self.inner.gateway.as_ref()
    }

    /// The configuration that a pool runs by.
    pub async fn config(&self, pool: &str) -> Option<ScrapeConfig> {
        let pools = self.inner.pools.lock().await;
        pools.running.get(pool).map(|pool| pool.job.config.clone())
    }

    /// Every pool by name, with its targets.
    pub fn status(&self) -> Vec<PoolStatus> {
        self.inner.views.load().values().map(|view| view.status()).collect()
    }

    /// The metadata of every active target, of one metric or of all.
    pub fn metadata(&self, metric: Option<&str>) -> Vec<TargetMetadata> {
        self.inner.views.load().values().flat_map(|view| view.metadata(metric)).collect()
    }

    /// `prometheus_target_*` and `prometheus_sd_*`.
    pub fn metrics(&self) -> Vec<Family> {
        let views = self.inner.views.load();
        let mut all =
            families::all(&self.inner.context.counters, &self.inner.discovery.tools.counters, &views);
        all.extend(self.inner.gateway.iter().flat_map(|gateway| gateway.metrics()));
        all
    }

    /// Ends every loop; returns when none writes any more. As with Prometheus, no series is ended: the
    /// server is expected back.
    pub async fn shutdown(&self) {
        let mut pools = self.inner.pools.lock().await;
        pools.closed = true;
        self.inner.discovery.flush();
        let all = std::mem::take(&mut *pools);
        pools.closed = true;
        for pool in all.running.into_values().chain(all.retired) {
            pool.quit().await;
        }
    }
}

#[cfg(test)]
mod tests;

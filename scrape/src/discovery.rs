//! Where targets come from. Each mechanism is a file here; each turns its section of the configuration
//! into target groups and hands the whole of what it knows to whoever listens, whenever that changes.
//! Nothing here relabels or scrapes.
//!
//! A mechanism is a [`Discover`]; most only [`polling::Poll`]. [`Discovery`] runs one `Watcher` for each
//! different section, however many jobs have it. What a watcher learns stays until it learns something
//! else: a failure takes no target away, and `kept` carries the last good set over a restart.

pub mod aws;
pub mod azure;
mod client;
pub mod consul;
pub mod digitalocean;
mod dns;
pub mod docker;
pub mod dockerswarm;
pub mod eureka;
pub mod file;
pub mod gce;
mod google;
pub mod hetzner;
pub mod http;
pub mod ionos;
mod kept;
pub mod kubernetes;
pub mod kuma;
pub mod linode;
pub mod marathon;
mod meta;
pub mod nomad;
mod nulls;
pub mod oci;
pub mod openstack;
pub mod outscale;
pub mod ovhcloud;
mod passphrase;
pub mod payload;
pub mod polling;
pub mod puppetdb;
pub mod scaleway;
mod signature;
pub mod stackit;
pub mod static_list;
pub mod triton;
pub mod uyuni;
pub mod vultr;
mod watcher;
pub mod xml;
pub mod zookeeper;

pub use watcher::{Discovery, Listener};

use crate::config::{FileSdConfig, SdConfig};
use crate::counters::DiscoveryCounters;
use hearth_model::Labels;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Targets that share labels, from one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetGroup {
    /// Names the place: an index of `static_configs`, a file and an index within it, an object.
    pub source: String,
    /// Each has at least `__address__`.
    pub targets: Vec<Labels>,
    pub labels: Labels,
}

/// All that one watcher knows.
pub type Groups = Arc<Vec<Arc<TargetGroup>>>;

/// A mechanism at work. Dropping the future ends it.
pub trait Discover: Send + 'static {
    /// Publishes until it is dropped; returns only where it has nothing more to say.
    fn run(self, publisher: watcher::Publisher) -> impl Future<Output = ()> + Send;
}

/// What every mechanism works with.
#[derive(Clone)]
pub struct Tools {
    pub counters: Arc<DiscoveryCounters>,
    /// The `User-Agent` of every request.
    pub user_agent: Arc<str>,
    /// The job that asks, for the figures.
    pub config: Arc<str>,
}

/// One section, whatever its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    File(FileSdConfig),
    Sd(SdConfig),
}

impl Wanted {
    pub fn mechanism(&self) -> &'static str {
        match self {
            Wanted::File(_) => "file",
            Wanted::Sd(config) => config.mechanism(),
        }
    }

    /// The section with its secrets hidden: what is kept over a restart goes by it, and by the job.
    fn identity(&self) -> Option<String> {
        match self {
            // The files themselves outlive a restart.
            Wanted::File(_) => None,
            Wanted::Sd(config) => {
                serde_json::to_string(config).ok().map(|text| format!("{} {text}", config.mechanism()))
            }
        }
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The work of one section.
fn work(wanted: &Wanted, tools: &Tools, publisher: watcher::Publisher) -> Work {
    fn run(discover: impl Discover, publisher: watcher::Publisher) -> Work {
        Box::pin(discover.run(publisher))
    }
    fn poll(poll: impl polling::Poll, tools: &Tools, publisher: watcher::Publisher) -> Work {
        run(polling::Polling::new(poll, tools), publisher)
    }
    match wanted {
        Wanted::File(section) => run(file::Files::new(section.clone(), tools), publisher),
        Wanted::Sd(SdConfig::DigitalOcean(c)) => {
            poll(digitalocean::DigitalOcean::new(c, tools), tools, publisher)
        }
        Wanted::Sd(SdConfig::Eureka(c)) => poll(eureka::Eureka::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Gce(c)) => poll(gce::Gce::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Hetzner(c)) => poll(hetzner::Hetzner::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Ionos(c)) => poll(ionos::Ionos::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Kuma(c)) => run(kuma::Kuma::new(c, tools), publisher),
        Wanted::Sd(SdConfig::Linode(c)) => poll(linode::Linode::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Marathon(c)) => poll(marathon::Marathon::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Nomad(c)) => poll(nomad::Nomad::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::PuppetDb(c)) => poll(puppetdb::PuppetDb::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Scaleway(c)) => poll(scaleway::Scaleway::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Vultr(c)) => poll(vultr::Vultr::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Azure(c)) => poll(azure::Azure::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Ovhcloud(c)) => poll(ovhcloud::Ovhcloud::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::OpenStack(c)) => poll(openstack::OpenStack::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Triton(c)) => poll(triton::Triton::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Aws(c)) => match c.own.role.as_str() {
            "ecs" => poll(aws::Ecs::new(&c.own, &c.http, tools), tools, publisher),
            "elasticache" => poll(aws::ElastiCache::new(&c.own, &c.http, tools), tools, publisher),
            "lightsail" => poll(aws::Lightsail::new(&c.own.lightsail(), &c.http, tools), tools, publisher),
            "msk" => poll(aws::Msk::new(&c.own, &c.http, tools), tools, publisher),
            "rds" => poll(aws::Rds::new(&c.own, &c.http, tools), tools, publisher),
            _ => poll(aws::Ec2::new(&c.own.ec2(), &c.http, tools), tools, publisher),
        },
        Wanted::Sd(SdConfig::Ec2(c)) => poll(aws::Ec2::new(&c.own, &c.http, tools), tools, publisher),
        Wanted::Sd(SdConfig::Lightsail(c)) => {
            poll(aws::Lightsail::new(&c.own, &c.http, tools), tools, publisher)
        }
        Wanted::Sd(SdConfig::Consul(c)) => run(consul::Consul::new(c, tools), publisher),
        Wanted::Sd(SdConfig::Dns(c)) => poll(dns::Dns::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Docker(c)) => poll(docker::Docker::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::DockerSwarm(c)) => {
            poll(dockerswarm::DockerSwarm::new(c, tools), tools, publisher)
        }
        Wanted::Sd(SdConfig::Kubernetes(c)) => run(kubernetes::Kubernetes::new(c, tools), publisher),
        Wanted::Sd(SdConfig::Nerve(c)) => {
            run(zookeeper::Zookeeper::new(c, "nerve", zookeeper::nerve, tools), publisher)
        }
        Wanted::Sd(SdConfig::Oci(c)) => poll(oci::Oci::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Outscale(c)) => poll(outscale::Outscale::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Serverset(c)) => {
            run(zookeeper::Zookeeper::new(c, "serverset", zookeeper::serverset, tools), publisher)
        }
        Wanted::Sd(SdConfig::Stackit(c)) => poll(stackit::Stackit::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Uyuni(c)) => poll(uyuni::Uyuni::new(c, tools), tools, publisher),
        Wanted::Sd(SdConfig::Http(c)) => poll(http::Http::new(c, tools), tools, publisher),
    }
}

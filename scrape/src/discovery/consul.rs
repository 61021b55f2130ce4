//! `consul_sd_configs`: services by blocking queries.
//!
//! 1. Ask the agent for its datacentre, where the section names none.
//! 2. Follow the catalogue's list of services, unless all wanted ones are named; follow the instances of
//!    each service that is wanted. A blocking query returns when something changed or its time is over.
//! 3. Between two changes of one thing lies at least the refresh interval. An index that went backwards
//!    begins again at 0: the servers were replaced.
//!
//! Nothing is published before each service of the first list has answered or failed.

use super::client::{Answer, Call, Client, escaped, with_query};
use super::meta::{Meta, enclosed, host_port};
use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools};
use crate::config::{BasicAuth, ConsulSdConfig, MAX_DISCOVERED_TARGETS, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use hearth_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// How long a query may wait for a change, and what an agent may add to it.
const WAIT: Duration = Duration::from_secs(120);
const WAIT_SLACK: Duration = Duration::from_secs(15);
/// Pause after a failure, Prometheus' number.
const RETRY: Duration = Duration::from_secs(15);
/// News that may wait before the queries do.
const NEWS_QUEUE: usize = 64;

/// One agent.
pub struct Consul {
    config: ConsulSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
}

/// What the queries tell.
enum News {
    Services(BTreeSet<String>),
    Instances { service: String, group: TargetGroup },
    Failed { service: Option<String>, error: String },
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Agent {
    config: AgentConfig,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct AgentConfig {
    datacenter: String,
}

/// An instance, as the health endpoint lists it.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub struct Entry {
    node: Node,
    service: Service,
    checks: Option<Vec<Check>>,
}

type Texts = BTreeMap<String, String>;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    node: String,
    address: String,
    tagged_addresses: Option<Texts>,
    meta: Option<Texts>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    tags: Option<Vec<String>>,
    address: String,
    port: u32,
    meta: Option<Texts>,
    namespace: String,
    partition: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    status: String,
}

/// The worst of all checks.
fn health(checks: &[Check]) -> &'static str {
    let maintenance =
        |check: &Check| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    if checks.iter().any(maintenance) {
        return "maintenance";
    }
    let any = |status: &str| checks.iter().any(|check| check.status == status);
    match () {
        () if any("critical") => "critical",
        () if any("warning") => "warning",
        () => "passing",
    }
}

/// The instances of one service, as a group.
pub fn group(service: &str, datacenter: &str, separator: &str, entries: Vec<Entry>) -> TargetGroup {
    let target = |entry: &Entry| {
        let host =
            if entry.service.address.is_empty() { &entry.node.address } else { &entry.service.address };
        let mut meta = Meta::new("__meta_consul_").address(&host_port(host, entry.service.port));
        meta.set("address", &entry.node.address).set("node", &entry.node.node);
        meta.set("namespace", &entry.service.namespace).set("partition", &entry.service.partition);
        meta.set("tags", enclosed(entry.service.tags.iter().flatten(), separator));
        meta.set("service_address", &entry.service.address).show("service_port", entry.service.port);
        meta.set("service_id", &entry.service.id);
        meta.set("health", health(entry.checks.as_deref().unwrap_or_default()));
        meta.each("metadata_", entry.node.meta.iter().flatten());
        meta.each("service_metadata_", entry.service.meta.iter().flatten());
        meta.each("tagged_address_", entry.node.tagged_addresses.iter().flatten());
        meta.labels()
    };
    let labels = [("__meta_consul_service", service), ("__meta_consul_dc", datacenter)];
    TargetGroup {
        source: service.to_owned(),
        targets: entries.iter().map(target).collect(),
        labels: Labels::from_pairs(labels),
    }
}

impl Consul {
    pub fn new(config: &WithHttp<ConsulSdConfig>, tools: &Tools) -> Consul {
        let mut http = config.http.clone();
        let own = config.own.clone();
        if !own.username.is_empty() || !own.password.is_empty() {
            http.basic_auth = Some(BasicAuth {
                username: own.username.clone(),
                password: own.password.clone(),
                ..BasicAuth::default()
            });
        }
        Consul { client: Client::new(&http, tools), config: own, counters: Arc::clone(&tools.counters) }
    }

    fn url(&self, path: &str) -> String {
        let (scheme, server) = (&self.config.scheme, self.config.server.trim());
        let prefix = self.config.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{scheme}://{server}{slash}{prefix}/v1/{path}")
    }

    async fn ask(&self, url: String, timeout: Duration) -> Result<Answer, String> {
        let mut call = Call::get(url).timeout(timeout);
        if !self.config.token.is_empty() {
            call = call.header("x-consul-token", self.config.token.reveal());
        }
        let start = Instant::now();
        let answer = self.client.ask(call).await.and_then(Answer::success);
        self.counters.consul_requests.observe(start.elapsed().as_secs_f64());
        answer.inspect_err(|_| self.counters.tally(Tally::ConsulFailures).add(1))
    }

    /// Step 1.
    async fn datacenter(&self) -> Result<String, String> {
        if !self.config.datacenter.is_empty() {
            return Ok(self.config.datacenter.clone());
        }
        let agent: Agent = self.ask(self.url("agent/self"), WAIT_SLACK).await?.json()?;
        Ok(agent.config.datacenter)
    }

    /// A blocking query; none where nothing changed.
    async fn changed<T: DeserializeOwned>(&self, url: &str, index: &mut u64) -> Result<Option<T>, String> {
        let (now, wait) = (index.to_string(), format!("{}s", WAIT.as_secs()));
        let mut url = with_query(
            url,
            [
                ("dc", &*self.config.datacenter),
                ("ns", &self.config.namespace),
                ("partition", &self.config.partition),
                ("index", if *index == 0 { "" } else { &now }),
                ("wait", &wait),
            ],
        );
        if self.config.allow_stale {
            url.push_str("&stale=");
        }
        let answer = self.ask(url, WAIT + WAIT_SLACK).await?;
        let new: u64 = answer.header("x-consul-index").parse().unwrap_or_default();
        let old = std::mem::replace(index, new);
        if new < old {
            *index = 0;
        }
        if new == old && old != 0 {
            return Ok(None);
        }
        answer.json().map(Some)
    }

    /// Follows one URL for ever; `tell` makes news of each change.
    async fn follow<T: DeserializeOwned>(
        &self,
        url: String,
        service: Option<String>,
        news: mpsc::Sender<News>,
        tell: impl Fn(T) -> News,
    ) {
        let mut index = 0;
        loop {
            let start = Instant::now();
            let (told, pause) = match self.changed::<T>(&url, &mut index).await {
                Ok(None) => (None, Duration::ZERO),
                Ok(Some(new)) => (Some(tell(new)), self.config.refresh_interval.std()),
                Err(error) => (Some(News::Failed { service: service.clone(), error }), RETRY),
            };
            if let Some(told) = told
                && news.send(told).await.is_err()
            {
                return;
            }
            // An agent that does not block must not be asked without a pause.
            let pause = pause.max(Duration::from_secs(1)).saturating_sub(start.elapsed());
            tokio::time::sleep(pause).await;
        }
    }

    async fn follow_catalogue(&self, news: mpsc::Sender<News>) {
        let meta = self.config.node_meta.iter().map(|(key, value)| format!("{key}:{value}"));
        let meta: Vec<String> = meta.collect();
        let pairs = meta.iter().map(|pair| ("node-meta", pair.as_str()));
        let url = with_query(&self.url("catalog/services"), pairs.chain([("filter", &*self.config.filter)]));
        let tell = |services: BTreeMap<String, Option<Vec<String>>>| {
            let wanted = services.into_iter().filter(|(name, tags)| self.wants(name, tags.as_deref()));
            News::Services(wanted.map(|(name, _)| name).collect())
        };
        self.follow(url, None, news, tell).await;
    }

    fn wants(&self, name: &str, tags: Option<&[String]>) -> bool {
        let named = self.config.services.is_empty() || self.config.services.iter().any(|s| s == name);
        let tags = tags.unwrap_or_default();
        named && self.config.tags.iter().all(|wanted| tags.contains(wanted))
    }

    async fn follow_service(
        self: Arc<Self>,
        service: String,
        datacenter: Arc<str>,
        news: mpsc::Sender<News>,
    ) {
        let tags = self.config.tags.iter().map(|tag| ("tag", tag.as_str()));
        let meta: Vec<String> =
            self.config.node_meta.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        let meta = meta.iter().map(|pair| ("node-meta", pair.as_str()));
        let filter = [("filter", &*self.config.health_filter)];
        let url = with_query(
            &self.url(&format!("health/service/{}", escaped(&service))),
            tags.chain(meta).chain(filter),
        );
        let tell = |entries: Vec<Entry>| News::Instances {
            group: group(&service, &datacenter, &self.config.tag_separator, entries),
            service: service.clone(),
        };
        self.follow(url, Some(service.clone()), news, tell).await;
    }
}

/// The services that are followed, and what they have.
struct Followed {
    consul: Arc<Consul>,
    datacenter: Arc<str>,
    news: mpsc::Sender<News>,
    tasks: BTreeMap<String, AbortHandle>,
    groups: BTreeMap<String, Arc<TargetGroup>>,
    /// Services that have not answered or failed yet; none before the first list.
    silent: Option<BTreeSet<String>>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Followed {
    /// Follows these services and no others.
    fn follow(&mut self, services: &BTreeSet<String>) {
        let gone: Vec<String> = self.tasks.keys().filter(|name| !services.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(task) = self.tasks.remove(&name) {
                task.abort();
            }
            self.groups.remove(&name);
        }
        let silent = self.silent.get_or_insert_with(|| services.clone());
        silent.retain(|name| services.contains(name));
        for name in services.iter().take(MAX_DISCOVERED_TARGETS) {
            if !self.tasks.contains_key(name) {
                let consul = Arc::clone(&self.consul);
                let datacenter = Arc::clone(&self.datacenter);
                let task = tokio::spawn(consul.follow_service(name.clone(), datacenter, self.news.clone()));
                self.tasks.insert(name.clone(), task.abort_handle());
            }
        }
    }

    fn take(&mut self, news: News, publisher: &Publisher) {
        match news {
            News::Services(services) => self.follow(&services),
            News::Instances { service, group } => {
                // One that was told before its service went.
                if !self.tasks.contains_key(&service) {
                    return;
                }
                self.heard(&service);
                self.groups.insert(service, Arc::new(group));
            }
            News::Failed { service, error } => {
                publisher.failed(&error);
                match service {
                    Some(service) => self.heard(&service),
                    None => return,
                }
            }
        }
        if self.silent.as_ref().is_some_and(BTreeSet::is_empty) {
            let groups = self.groups.values().cloned().collect();
            if let Err(error) = publisher.publish(groups) {
                publisher.failed(&error);
            }
        }
    }

    fn heard(&mut self, service: &str) {
        if let Some(silent) = &mut self.silent {
            silent.remove(service);
        }
    }
}

impl Discover for Consul {
    async fn run(self, publisher: Publisher) {
        let datacenter = loop {
            match self.datacenter().await {
                Ok(datacenter) => break Arc::from(datacenter),
                Err(error) => publisher.failed(&error),
            }
            tokio::time::sleep(RETRY).await;
        };
        let consul = Arc::new(self);
        let (news, mut receiver) = mpsc::channel(NEWS_QUEUE);
        let mut followed = Followed {
            consul: Arc::clone(&consul),
            datacenter,
            news: news.clone(),
            tasks: BTreeMap::new(),
            groups: BTreeMap::new(),
            silent: None,
        };
        let named = !consul.config.services.is_empty() && consul.config.tags.is_empty();
        if named {
            followed.follow(&consul.config.services.iter().cloned().collect());
        }
        let catalogue = async {
            if named {
                std::future::pending::<()>().await;
            }
            consul.follow_catalogue(news).await;
        };
        let listen = async {
            while let Some(news) = receiver.recv().await {
                followed.take(news, &publisher);
            }
        };
        tokio::join!(catalogue, listen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, api, discovery, found, lines, section};

    fn indexed(index: u64, body: &str) -> Answer {
        let head = format!("200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: {index}");
        Answer::Whole(head, body.as_bytes().to_vec())
    }

    const WEB: &str = r#"[{"Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "10.0.0.1", "wan": "1.1.1.1"}, "Meta": {"rack-id": "r1"}},
      "Service": {"ID": "web-1", "Service": "web", "Tags": ["a", "b"], "Address": "", "Port": 80, "Meta": {"v": "2"}},
      "Checks": [{"CheckID": "x", "Status": "passing"}, {"CheckID": "y", "Status": "warning"}]}]"#;

    #[tokio::test]
    async fn services_of_the_catalogue_become_groups() {
        let address = api(|request| {
            let line = request.lines().next().unwrap_or_default();
            assert!(request.to_lowercase().contains("x-consul-token: secret"), "{request}");
            match () {
                () if line.contains("&index=") => Answer::Silence,
                () if line.starts_with("GET /p/v1/agent/self ") => {
                    Answer::json(r#"{"Config": {"Datacenter": "dc1", "NodeName": "n"}, "Member": {}}"#)
                }
                () if line
                    .starts_with("GET /p/v1/catalog/services?filter=x%20%3D%3D%201&wait=120s&stale= ") =>
                {
                    indexed(5, r#"{"web": ["a", "b"], "db": [], "consul": null}"#)
                }
                () if line.starts_with("GET /p/v1/health/service/web?tag=a&wait=120s&stale= ") => {
                    indexed(7, WEB)
                }
                () => Answer::Whole("404 Not Found".into(), line.as_bytes().to_vec()),
            }
        })
        .await;
        let yaml =
            format!("{{server: '{address}', path_prefix: /p/, token: secret, tags: [a], filter: 'x == 1'}}");
        assert_eq!(
            found("consul", &yaml).await,
            [
                r#"{__address__="10.0.0.1:80", __meta_consul_address="10.0.0.1", __meta_consul_dc="dc1", __meta_consul_health="warning", __meta_consul_metadata_rack_id="r1", __meta_consul_node="n1", __meta_consul_service="web", __meta_consul_service_id="web-1", __meta_consul_service_metadata_v="2", __meta_consul_service_port="80", __meta_consul_tagged_address_lan="10.0.0.1", __meta_consul_tagged_address_wan="1.1.1.1", __meta_consul_tags=",a,b,"}"#
            ]
        );
    }

    #[tokio::test]
    async fn an_index_that_goes_backwards_begins_again() {
        let address = api(|request| {
            let line = request.lines().next().unwrap_or_default();
            let port = |port: &str| WEB.replace("\"Port\": 80", &format!("\"Port\": {port}"));
            match () {
                () if line.contains("index=9&") => indexed(3, &port("81")),
                () if line.contains("index=") => Answer::Silence,
                () => indexed(9, &port("80")),
            }
        })
        .await;
        let yaml = format!("{{server: '{address}', datacenter: d, services: [web], refresh_interval: 10ms}}");
        let discovery = discovery(None);
        let listener = discovery.listen("j", [crate::discovery::Wanted::Sd(section("consul", &yaml))]);
        for port in ["80", "81", "80"] {
            listener.changed().await;
            let groups = listener.watchers[0].groups().expect("groups");
            assert!(lines(&groups)[0].contains(&format!("10.0.0.1:{port}")), "{port}");
        }
    }

    #[test]
    fn the_worst_check_counts() {
        let of = |checks: &[(&str, &str)]| {
            let check = |(id, status): &(&str, &str)| Check { id: (*id).into(), status: (*status).into() };
            health(&checks.iter().map(check).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), "passing");
        assert_eq!(of(&[("a", "passing"), ("b", "critical"), ("c", "warning")]), "critical");
        assert_eq!(of(&[("_service_maintenance:x", "critical")]), "maintenance");
    }
}

//! `serverset_sd_configs` and `nerve_sd_configs`: members that announce themselves as nodes of ZooKeeper, anywhere
//! below the given paths. The tree is read once a session and then followed by watches; each member is a group.
//!
//! Invariant: what is published is the whole tree as one session saw it. A session that breaks takes no target away.

pub mod jute;
mod session;

use super::meta::{Meta, host_port};
use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools, nulls};
use crate::config::{DISCOVERY_RETRY_MS, MAX_ZOOKEEPER_NODES, ZookeeperSdConfig};
use crate::counters::{DiscoveryCounters, Refreshes, Tally};
use hearth_model::Labels;
use serde::Deserialize;
use session::{Event, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a watch tells.
const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// What a member's data becomes; none where it is no member.
pub type Member = fn(&[u8], &str) -> Option<Labels>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoint {
    host: String,
    port: i64,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ServersetMember {
    service_endpoint: Endpoint,
    additional_endpoints: BTreeMap<String, Endpoint>,
    status: String,
    shard: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NerveMember {
    host: String,
    port: i64,
    name: String,
}

/// A member as Finagle's serversets describe it.
pub fn serverset(data: &[u8], path: &str) -> Option<Labels> {
    let member: ServersetMember = nulls::from_slice::<Option<_>>(data).ok()?.unwrap_or_default();
    let own = &member.service_endpoint;
    let mut meta = Meta::new("__meta_serverset_").address(&host_port(&own.host, own.port));
    meta.set("path", path).set("endpoint_host", &own.host).show("endpoint_port", own.port);
    let others = &member.additional_endpoints;
    meta.each("endpoint_host_", others.iter().map(|(name, endpoint)| (name, &endpoint.host)));
    meta.each("endpoint_port_", others.iter().map(|(name, endpoint)| (name, endpoint.port.to_string())));
    meta.set("status", &member.status).show("shard", member.shard);
    Some(meta.labels())
}

/// A member as Airbnb's Nerve describes it.
pub fn nerve(data: &[u8], path: &str) -> Option<Labels> {
    let member: NerveMember = nulls::from_slice::<Option<_>>(data).ok()?.unwrap_or_default();
    let mut meta = Meta::new("__meta_nerve_").address(&host_port(&member.host, member.port));
    meta.set("path", path).set("endpoint_host", &member.host).show("endpoint_port", member.port);
    meta.set("endpoint_name", &member.name);
    Some(meta.labels())
}

/// One section.
pub struct Zookeeper {
    config: ZookeeperSdConfig,
    member: Member,
    refreshes: Arc<Refreshes>,
    counters: Arc<DiscoveryCounters>,
}

/// What a session has seen.
#[derive(Default)]
struct Tree {
    /// Every node by its path, with its children's names.
    nodes: BTreeMap<String, BTreeSet<String>>,
    members: BTreeMap<String, Arc<TargetGroup>>,
}

fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

impl Tree {
    /// Forgets a node and what is below it.
    fn remove(&mut self, path: &str) {
        let mut gone = vec![path.to_owned()];
        while let Some(path) = gone.pop() {
            self.members.remove(&path);
            let children = self.nodes.remove(&path).unwrap_or_default();
            gone.extend(children.iter().map(|name| child(&path, name)));
        }
    }

    /// A child that comes again is new.
    fn forget_child(&mut self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { "/" } else { parent };
        if let Some(children) = self.nodes.get_mut(parent) {
            children.remove(name);
        }
    }

    fn set_data(&mut self, path: &str, data: &[u8], member: Member) {
        match member(data, path) {
            Some(labels) => {
                let (source, targets) = (path.to_owned(), vec![labels]);
                let group = TargetGroup { source, targets, labels: Labels::empty() };
                self.members.insert(path.to_owned(), Arc::new(group));
            }
            None => drop(self.members.remove(path)),
        }
    }

    /// The children that are new.
    fn set_children(&mut self, path: &str, names: Vec<&str>) -> Result<Vec<String>, String> {
        let now: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        let before = self.nodes.insert(path.to_owned(), now.clone()).unwrap_or_default();
        for name in before.difference(&now) {
            self.remove(&child(path, name));
        }
        let new: Vec<String> = now.difference(&before).map(|name| child(path, name)).collect();
        if self.nodes.len() + new.len() > MAX_ZOOKEEPER_NODES {
            return Err(format!("more than {MAX_ZOOKEEPER_NODES} nodes"));
        }
        Ok(new)
    }
}

impl Zookeeper {
    pub fn new(
        config: &ZookeeperSdConfig,
        mechanism: &'static str,
        member: Member,
        tools: &Tools,
    ) -> Zookeeper {
        let refreshes = tools.counters.refreshes(mechanism, &tools.config);
        let counters = Arc::clone(&tools.counters);
        Zookeeper { config: config.clone(), member, refreshes, counters }
    }

    /// Reads these nodes, and all that is below those that were not known.
    async fn read(&self, session: &mut Session, tree: &mut Tree, paths: Vec<String>) -> Result<(), String> {
        let mut wave = paths;
        while !wave.is_empty() {
            let ask = |path: &String| [(jute::GET_DATA, path.clone()), (jute::GET_CHILDREN, path.clone())];
            let asked: Vec<(i32, String)> = wave.iter().flat_map(ask).collect();
            let requests: Vec<(i32, &str)> =
                asked.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
            let answers = session.ask(&requests).await?;
            let (mut next, mut missing) = (Vec::new(), Vec::new());
            for ((kind, path), answer) in requests.into_iter().zip(answers) {
                match answer {
                    Ok(body) if kind == jute::GET_DATA => {
                        tree.set_data(path, jute::Reader::new(&body).buffer()?, self.member);
                    }
                    Ok(body) => next.extend(tree.set_children(path, jute::Reader::new(&body).texts()?)?),
                    Err(jute::NO_NODE) => {
                        tree.remove(path);
                        if kind == jute::GET_DATA && self.config.paths.iter().any(|root| root == path) {
                            missing.push(path);
                        }
                    }
                    Err(jute::NO_AUTH) => return Err(format!("{path}: reading it is not allowed")),
                    Err(code) => return Err(format!("{path}: error {code}")),
                }
            }
            // A path that is not there yet is waited for; one that has just come is read.
            let requests: Vec<(i32, &str)> = missing.iter().map(|path| (jute::EXISTS, *path)).collect();
            let found = session.ask(&requests).await?;
            let found = missing.iter().zip(found).filter(|(_, answer)| answer.is_ok());
            next.extend(found.map(|(path, _)| (*path).to_owned()));
            wave = next;
        }
        Ok(())
    }

    /// What has to be read again.
    fn concerned(tree: &mut Tree, roots: &[String], events: Vec<Event>) -> Vec<String> {
        let mut paths = BTreeSet::new();
        for Event { kind, path } in events {
            match kind {
                DELETED => {
                    tree.remove(&path);
                    tree.forget_child(&path);
                    if roots.contains(&path) {
                        paths.insert(path);
                    }
                }
                CREATED | DATA_CHANGED | CHILDREN_CHANGED => {
                    paths.insert(path);
                }
                _ => {}
            }
        }
        paths.into_iter().collect()
    }

    /// Follows one session until it breaks. `alive`: it answered with all there is.
    async fn follow(&self, server: &str, publisher: &Publisher, alive: &mut bool) -> Result<(), String> {
        let begun = Instant::now();
        let mut session = Session::open(server, self.config.timeout.std()).await?;
        let mut tree = Tree::default();
        let mut paths = self.config.paths.clone();
        loop {
            self.read(&mut session, &mut tree, paths).await.map_err(|e| format!("{server}: {e}"))?;
            if !*alive {
                self.refreshes.length.observe(begun.elapsed().as_secs_f64());
                *alive = true;
            }
            publisher.publish(tree.members.values().cloned().collect())?;
            let events = session.events().await.map_err(|e| format!("{server}: {e}"))?;
            paths = Self::concerned(&mut tree, &self.config.paths, events);
        }
    }
}

impl Discover for Zookeeper {
    async fn run(self, publisher: Publisher) {
        let mut retry_ms = DISCOVERY_RETRY_MS.0;
        let first = fastrand::usize(..self.config.servers.len().max(1));
        for server in self.config.servers.iter().cycle().skip(first) {
            let mut alive = false;
            if let Err(error) = self.follow(server, &publisher, &mut alive).await {
                self.refreshes.failures.add(1);
                self.counters.tally(Tally::ZookeeperFailures).add(1);
                publisher.failed(&error);
            }
            if alive {
                retry_ms = DISCOVERY_RETRY_MS.0;
            }
            let pause = Duration::from_millis(retry_ms).mul_f64(1.0 - fastrand::f64() / 2.0);
            tokio::time::sleep(pause).await;
            retry_ms = (retry_ms * 2).min(DISCOVERY_RETRY_MS.1);
        }
    }
}

#[cfg(test)]
mod tests;

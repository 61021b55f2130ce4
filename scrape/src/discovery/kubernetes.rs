//! `kubernetes_sd_configs`: the objects of a cluster, followed by list and watch.
//!
//! Reflectors (one for each kind and namespace) send changes; this task alone holds the [`world::World`]
//! they make up, builds the groups that a change concerns, and publishes all of them. Nothing is published
//! before every list is there, so that no group lacks what only another list knows.

pub(super) mod access;
pub(super) mod objects;
mod reflector;
mod targets;
mod world;

use super::client::Client;
use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools};
use crate::config::{KUBERNETES_COLLECT_MS, KubernetesSdConfig, MAX_DISCOVERED_TARGETS, WithHttp};
use access::Access;
use objects::{EndpointSlice, Endpoints, Ingress, Job, Namespace, Node, Pod, ReplicaSet, Resource, Service};
use reflector::{News, Reflector};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use targets::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use world::{Kept, World};

/// Changes that may wait before reflectors do.
const NEWS_QUEUE: usize = 1_024;

/// One role of one cluster.
pub struct Kubernetes {
    config: WithHttp<KubernetesSdConfig>,
    tools: Tools,
}

/// Starts the reflectors that a role needs.
struct Starter<'a> {
    config: &'a KubernetesSdConfig,
    tools: &'a Tools,
    access: Access,
    client: Arc<Client>,
    world: World,
    news: mpsc::Sender<News>,
    reflectors: JoinSet<()>,
}

impl Starter<'_> {
    fn follow<T: Kept>(&mut self) {
        let all = vec![String::new()];
        let namespaces = match self.access.namespaces.as_slice() {
            named if T::NAMESPACED && !named.is_empty() => named.to_vec(),
            _ => all,
        };
        let selector = self.config.selectors.iter().find(|selector| selector.role == T::ROLE);
        for namespace in namespaces {
            self.world.expect::<T>();
            let reflector = Reflector {
                client: Arc::clone(&self.client),
                server: self.access.server.clone(),
                namespace,
                label_selector: selector.map(|selector| selector.label.clone()).unwrap_or_default(),
                field_selector: selector.map(|selector| selector.field.clone()).unwrap_or_default(),
                counters: Arc::clone(&self.tools.counters),
                news: self.news.clone(),
            };
            self.reflectors.spawn(reflector.run::<T>());
        }
    }

    fn follow_all(&mut self) {
        match self.config.role.as_str() {
            "pod" => self.follow::<Pod>(),
            "service" => self.follow::<Service>(),
            "node" => self.follow::<Node>(),
            "ingress" => self.follow::<Ingress>(),
            role => {
                if role == "endpoints" {
                    self.follow::<Endpoints>();
                } else {
                    self.follow::<EndpointSlice>();
                }
                self.follow::<Service>();
                self.follow::<Pod>();
            }
        }
        let attach = &self.config.attach_metadata;
        let pods = matches!(self.config.role.as_str(), "pod" | "endpoints" | "endpointslice");
        if attach.node && pods {
            self.follow::<Node>();
        }
        if attach.namespace && self.config.role != "node" {
            self.follow::<Namespace>();
        }
        if attach.deployment && pods {
            self.follow::<ReplicaSet>();
        }
        if attach.cronjob && pods {
            self.follow::<Job>();
        }
    }
}

fn main_kind(role: &str) -> &'static str {
    match role {
        "pod" => Pod::PLURAL,
        "service" => Service::PLURAL,
        "node" => Node::PLURAL,
        "ingress" => Ingress::PLURAL,
        "endpoints" => Endpoints::PLURAL,
        _ => EndpointSlice::PLURAL,
    }
}

impl Kubernetes {
    pub fn new(config: &WithHttp<KubernetesSdConfig>, tools: &Tools) -> Kubernetes {
        Kubernetes { config: config.clone(), tools: tools.clone() }
    }

    /// Finds the cluster; a file that is not there yet is waited for.
    async fn access(&self, publisher: &Publisher) -> Access {
        loop {
            match Access::find(&self.config) {
                Ok(access) => return access,
                Err(error) => publisher.failed(&error),
            }
            tokio::time::sleep(Duration::from_millis(crate::config::DISCOVERY_RETRY_MS.1)).await;
        }
    }
}

/// All groups that were built.
struct Built {
    groups: BTreeMap<String, Arc<TargetGroup>>,
}

impl Built {
    /// Fails where all groups together have more targets than are taken; the rest is then not built.
    fn renew(&mut self, world: &mut World, config: &KubernetesSdConfig) -> Result<(), String> {
        let mut total: usize = self.groups.values().map(|group| group.targets.len()).sum();
        let groups = &self.groups;
        let built = world.rebuild(|key, looker| {
            total -= groups.get(key).map_or(0, |group| group.targets.len());
            if total > MAX_DISCOVERED_TARGETS {
                return None;
            }
            let mut builder = Builder { attach: &config.attach_metadata, looker };
            let group = match config.role.as_str() {
                "pod" => builder.pod(key),
                "service" => builder.service(key),
                "node" => builder.node(key),
                "ingress" => builder.ingress(key),
                "endpoints" => builder.endpoints(key),
                _ => builder.slice(key),
            };
            total += group.as_ref().map_or(0, |group| group.targets.len());
            group
        });
        for (key, group) in built {
            match group {
                Some(group) => drop(self.groups.insert(key, Arc::new(group))),
                None => {
                    self.groups.remove(&key);
                    world.forget(&key);
                }
            }
        }
        if total > MAX_DISCOVERED_TARGETS {
            return Err(format!("more than {MAX_DISCOVERED_TARGETS} targets"));
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<TargetGroup>> {
        self.groups.values().cloned().collect()
    }
}

impl Discover for Kubernetes {
    async fn run(self, publisher: Publisher) {
        let config = &self.config.own;
        let access = self.access(&publisher).await;
        let client = Arc::new(Client::new(&access.http, &self.tools));
        let (news, mut receiver) = mpsc::channel(NEWS_QUEUE);
        let world = World::new(main_kind(&config.role), Arc::clone(&self.tools.counters));
        let mut starter =
            Starter { config, tools: &self.tools, access, client, world, news, reflectors: JoinSet::new() };
        starter.follow_all();
        let Starter { mut world, reflectors: _following, .. } = starter;
        let mut built = Built { groups: BTreeMap::new() };
        let mut published = false;
        while let Some(first) = receiver.recv().await {
            take(first, &mut world, &publisher);
            if world.ready() && published && world.is_dirty() {
                // More is likely to come.
                let until = tokio::time::Instant::now() + Duration::from_millis(KUBERNETES_COLLECT_MS);
                while let Ok(Some(more)) = tokio::time::timeout_at(until, receiver.recv()).await {
                    take(more, &mut world, &publisher);
                }
            }
            if !world.ready() || (published && !world.is_dirty()) {
                continue;
            }
            match built.renew(&mut world, config).and_then(|()| publisher.publish(built.all())) {
                Ok(()) => published = true,
                Err(error) => publisher.failed(&error),
            }
        }
    }
}

fn take(news: News, world: &mut World, publisher: &Publisher) {
    match news {
        News::Change(change) => change(world),
        News::Failed(error) => publisher.failed(&error),
    }
}

#[cfg(test)]
mod tests;

//! `dockerswarm_sd_configs`: services, tasks or nodes of a swarm.

use super::docker::Engine;
use super::meta::{Meta, host_port, is_full};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{DockerSwarmSdConfig, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

const PREFIX: &str = "__meta_dockerswarm_";

type Texts = BTreeMap<String, String>;

/// Structs of the API, which may leave out anything.
macro_rules! objects {
    ($($name:ident { $($field:ident : $type:ty $(= $json:literal)?),* $(,)? })*) => {
        $(
            #[derive(Debug, Clone, Deserialize, Default)]
            #[serde(default, rename_all = "PascalCase")]
            pub struct $name {
                $(
                    $(#[serde(rename = $json)])?
                    pub $field: $type,
                )*
            }
        )*
    };
}

objects! {
    Service { id: String = "ID", spec: ServiceSpec, endpoint: Endpoint, update_status: Option<UpdateStatus> }
    ServiceSpec { name: String, labels: Option<Texts>, task_template: TaskTemplate, mode: Mode }
    TaskTemplate { container_spec: Option<ContainerSpec> }
    ContainerSpec { image: String, hostname: String, labels: Option<Texts> }
    Mode { replicated: Option<Empty>, global: Option<Empty> }
    Empty {}
    UpdateStatus { state: String }
    Endpoint { ports: Option<Vec<EndpointPort>>, virtual_ips: Option<Vec<VirtualIp>> = "VirtualIPs" }
    EndpointPort { name: String, protocol: String, target_port: u32, published_port: u32, publish_mode: String }
    VirtualIp { network_id: String = "NetworkID", addr: String }
    Task {
        id: String = "ID",
        labels: Option<Texts>,
        spec: TaskTemplate,
        service_id: String = "ServiceID",
        slot: i64,
        node_id: String = "NodeID",
        status: TaskStatus,
        desired_state: String,
        networks_attachments: Option<Vec<Attachment>>,
    }
    TaskStatus { state: String, container_status: Option<ContainerStatus>, port_status: PortStatus }
    ContainerStatus { container_id: String = "ContainerID" }
    PortStatus { ports: Option<Vec<EndpointPort>> }
    Attachment { network: AttachedNetwork, addresses: Option<Vec<String>> }
    AttachedNetwork { id: String = "ID" }
    Node {
        id: String = "ID",
        spec: NodeSpec,
        description: Description,
        status: NodeStatus,
        manager_status: Option<LeaderStatus>,
    }
    NodeSpec { labels: Option<Texts>, role: String, availability: String }
    Description { hostname: String, platform: Platform, engine: EngineVersion }
    Platform { architecture: String, os: String = "OS" }
    EngineVersion { engine_version: String }
    NodeStatus { state: String, addr: String }
    LeaderStatus { leader: bool, reachability: String, addr: String }
}

impl Node {
    /// What is known of it where its tasks are.
    fn base(&self) -> Meta {
        let mut meta = Meta::new(PREFIX);
        meta.set("node_id", &self.id).set("node_role", &self.spec.role);
        meta.set("node_availability", &self.spec.availability).set("node_status", &self.status.state);
        meta.set("node_address", &self.status.addr).set("node_hostname", &self.description.hostname);
        meta.set("node_platform_architecture", &self.description.platform.architecture);
        meta.set("node_platform_os", &self.description.platform.os);
        meta.each("node_label_", self.spec.labels.iter().flatten());
        meta
    }

    fn meta(&self) -> Meta {
        let mut meta = self.base();
        meta.set("node_engine_version", &self.description.engine.engine_version);
        if let Some(leader) = &self.manager_status {
            meta.show("node_manager_leader", leader.leader);
            meta.set("node_manager_reachability", &leader.reachability);
            meta.set("node_manager_address", &leader.addr);
        }
        meta
    }
}

impl Service {
    /// What is known of it wherever it is named.
    fn base(&self) -> Meta {
        let mut meta = Meta::new(PREFIX);
        let mode = match (&self.spec.mode.replicated, &self.spec.mode.global) {
            (Some(_), _) => "replicated",
            (None, Some(_)) => "global",
            (None, None) => "",
        };
        meta.set("service_id", &self.id).set("service_name", &self.spec.name).set("service_mode", mode);
        meta.each("service_label_", self.spec.labels.iter().flatten());
        meta
    }

    fn meta(&self) -> Meta {
        let mut meta = self.base();
        if let Some(container) = &self.spec.task_template.container_spec {
            meta.set("service_task_container_hostname", &container.hostname);
            meta.set("service_task_container_image", &container.image);
        }
        meta.maybe("service_updating_status", self.update_status.as_ref().map(|status| &status.state));
        meta
    }
}

type ByNetwork = HashMap<String, Labels>;

fn bare(address: &str) -> &str {
    address.split_once('/').map_or(address, |(ip, _)| ip)
}

fn tcp(ports: Option<&Vec<EndpointPort>>) -> impl Iterator<Item = &EndpointPort> {
    ports.into_iter().flatten().filter(|port| port.protocol == "tcp")
}

/// Services, a target for each virtual address and published port.
pub fn services(services: &[Service], networks: &ByNetwork, port: u64) -> Vec<Labels> {
    let mut out = Vec::new();
    for service in services {
        for ip in service.endpoint.virtual_ips.iter().flatten() {
            if is_full(&out) {
                return out;
            }
            let target = |port: u64| {
                let mut meta = service.meta().address(&host_port(bare(&ip.addr), port));
                meta.all(networks.get(&ip.network_id));
                meta
            };
            let before = out.len();
            for port in tcp(service.endpoint.ports.as_ref()) {
                let mut meta = target(port.published_port.into());
                meta.set("service_endpoint_port_name", &port.name);
                meta.set("service_endpoint_port_publish_mode", &port.publish_mode);
                out.push(meta.labels());
            }
            if out.len() == before {
                out.push(target(port).labels());
            }
        }
    }
    out
}

/// Tasks, a target for each published port and for each address within a network.
pub fn tasks(
    tasks: &[Task],
    services: &[Service],
    nodes: &[Node],
    networks: &ByNetwork,
    port: u64,
) -> Vec<Labels> {
    let service_of: HashMap<&str, &Service> = services.iter().map(|s| (s.id.as_str(), s)).collect();
    let node_of: HashMap<&str, &Node> = nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut out = Vec::new();
    for task in tasks {
        let service = service_of.get(task.service_id.as_str());
        let node = node_of.get(task.node_id.as_str());
        let target = |address: &str| {
            let mut meta = Meta::new(PREFIX).address(address);
            meta.set("task_id", &task.id).show("task_slot", task.slot);
            meta.set("task_desired_state", &task.desired_state).set("task_state", &task.status.state);
            meta.maybe("task_container_id", task.status.container_status.as_ref().map(|c| &c.container_id));
            let container = task.spec.container_spec.as_ref();
            meta.each("container_label_", container.iter().flat_map(|c| c.labels.iter().flatten()));
            meta.all(service.map(|service| service.base().labels()).as_ref());
            meta.all(node.map(|node| node.base().labels()).as_ref());
            meta
        };
        for port in tcp(task.status.port_status.ports.as_ref()) {
            let host = node.map(|node| node.status.addr.as_str()).unwrap_or_default();
            let mut meta = target(&host_port(host, port.published_port));
            meta.set("task_port_publish_mode", &port.publish_mode);
            out.push(meta.labels());
        }
        for attachment in task.networks_attachments.iter().flatten() {
            for address in attachment.addresses.iter().flatten() {
                if is_full(&out) {
                    return out;
                }
                let before = out.len();
                let ports = service.map(|service| &service.endpoint);
                for port in tcp(ports.and_then(|endpoint| endpoint.ports.as_ref())) {
                    let mut meta = target(&host_port(bare(address), port.published_port));
                    meta.set("task_port_publish_mode", &port.publish_mode);
                    meta.all(networks.get(&attachment.network.id));
                    out.push(meta.labels());
                }
                if out.len() == before {
                    let mut meta = target(&host_port(bare(address), port));
                    meta.all(networks.get(&attachment.network.id));
                    out.push(meta.labels());
                }
            }
        }
    }
    out
}

/// Nodes, each a target.
pub fn nodes(nodes: &[Node], port: u64) -> Vec<Labels> {
    nodes.iter().map(|node| node.meta().address(&host_port(&node.status.addr, port)).labels()).collect()
}

/// One swarm.
pub struct DockerSwarm {
    config: DockerSwarmSdConfig,
    engine: Engine,
}

impl DockerSwarm {
    pub fn new(config: &WithHttp<DockerSwarmSdConfig>, tools: &Tools) -> DockerSwarm {
        DockerSwarm { config: config.own.clone(), engine: Engine::new(&config.own.host, &config.http, tools) }
    }
}

impl Poll for DockerSwarm {
    const MECHANISM: &'static str = "dockerswarm";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (engine, port, filters) = (&self.engine, self.config.port, &self.config.filters);
        let targets = match self.config.role.as_str() {
            "services" => {
                let list: Vec<Service> = engine.get("/services", filters).await?;
                services(&list, &engine.networks(PREFIX).await?, port)
            }
            "nodes" => nodes(&engine.get::<Vec<Node>>("/nodes", filters).await?, port),
            _ => {
                let list: Vec<Task> = engine.get("/tasks", filters).await?;
                let services: Vec<Service> = engine.get("/services", &[]).await?;
                let nodes: Vec<Node> = engine.get("/nodes", &[]).await?;
                tasks(&list, &services, &nodes, &engine.networks(PREFIX).await?, port)
            }
        };
        Ok(vec![TargetGroup { source: "DockerSwarm".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{found, pages};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /services",
            r#"[{"ID": "s1", "Spec": {"Name": "web", "Labels": {"a": "b"}, "Mode": {"Replicated": {"Replicas": 1}},
                "TaskTemplate": {"ContainerSpec": {"Image": "i:1", "Hostname": "h"}}},
                "UpdateStatus": {"State": "updating"},
                "Endpoint": {"Ports": [{"Name": "p", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 30080, "PublishMode": "ingress"}],
                 "VirtualIPs": [{"NetworkID": "n1", "Addr": "10.0.0.5/24"}]}}]"#,
        ),
        (
            "GET /tasks",
            r#"[{"ID": "t1", "ServiceID": "s1", "NodeID": "w1", "Slot": 2, "DesiredState": "running",
                "Spec": {"ContainerSpec": {"Labels": {"c": "d"}}},
                "Status": {"State": "failed", "ContainerStatus": {"ContainerID": "c1"},
                  "PortStatus": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 81, "PublishMode": "host"}]}},
                "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["10.0.0.6/24"]}]}]"#,
        ),
        (
            "GET /nodes",
            r#"[{"ID": "w1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"z": "1"}},
                "Description": {"Hostname": "node", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "24"}},
                "Status": {"State": "ready", "Addr": "192.168.0.1"},
                "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "192.168.0.1:2377"}}]"#,
        ),
        ("GET /networks", r#"[{"Id": "n1", "Name": "net", "Scope": "swarm"}]"#),
    ];

    #[track_caller]
    fn has(line: &str, address: &str, parts: &[&str]) {
        assert!(line.starts_with(&format!("{{__address__=\"{address}\"")), "{line}");
        for part in parts {
            let (name, value) = part.split_once('=').expect("name=value");
            let label = format!("__meta_dockerswarm_{name}=\"{value}\"");
            assert!(line.contains(&label), "no {label} in {line}");
        }
    }

    #[tokio::test]
    async fn every_role_finds_its_targets() {
        let address = pages(PAGES).await;
        let of = async |role: &str| {
            found("dockerswarm", &format!("{{host: 'http://{address}', role: {role}}}")).await
        };
        let service = [
            "service_id=s1",
            "service_name=web",
            "service_mode=replicated",
            "service_label_a=b",
            "network_name=net",
            "network_scope=swarm",
        ];
        let services = of("services").await;
        has(&services[0], "10.0.0.5:30080", &service);
        let own = [
            "service_updating_status=updating",
            "service_task_container_image=i:1",
            "service_task_container_hostname=h",
            "service_endpoint_port_name=p",
            "service_endpoint_port_publish_mode=ingress",
        ];
        has(&services[0], "10.0.0.5:30080", &own);
        let node = [
            "node_id=w1",
            "node_role=manager",
            "node_availability=active",
            "node_status=ready",
            "node_address=192.168.0.1",
            "node_hostname=node",
            "node_platform_architecture=x86_64",
            "node_platform_os=linux",
            "node_label_z=1",
        ];
        let more = [
            "node_engine_version=24",
            "node_manager_leader=true",
            "node_manager_reachability=reachable",
            "node_manager_address=192.168.0.1:2377",
        ];
        let nodes = of("nodes").await;
        has(&nodes[0], "192.168.0.1:80", &node);
        has(&nodes[0], "192.168.0.1:80", &more);
        let tasks = of("tasks").await;
        has(&tasks[0], "192.168.0.1:81", &node);
        assert!(!tasks[0].contains("node_manager") && !tasks[0].contains("node_engine"), "{}", tasks[0]);
        has(&tasks[0], "192.168.0.1:81", &["task_port_publish_mode=host", "task_id=t1", "task_slot=2"]);
        has(&tasks[1], "10.0.0.6:30080", &service);
        has(
            &tasks[1],
            "10.0.0.6:30080",
            &[
                "task_state=failed",
                "task_desired_state=running",
                "task_container_id=c1",
                "container_label_c=d",
            ],
        );
    }
}

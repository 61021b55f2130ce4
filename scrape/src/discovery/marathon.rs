//! `marathon_sd_configs`: the running tasks of every application.

use super::client::{Call, Client};
use super::meta::{Meta, host_port, is_full, sanitized};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{MarathonSdConfig, PromDuration, WithHttp};
use crate::fetch::secret;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The servers of one cluster.
pub struct Marathon {
    config: MarathonSdConfig,
    client: Client,
}

type Texts = BTreeMap<String, String>;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Answer {
    apps: Vec<App>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct App {
    id: String,
    tasks: Vec<Task>,
    tasks_running: u64,
    labels: Texts,
    container: Option<Container>,
    port_definitions: Vec<PortDefinition>,
    networks: Vec<Network>,
    require_ports: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Task {
    id: String,
    host: String,
    ports: Vec<u32>,
    ip_addresses: Vec<Ip>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Ip {
    ip_address: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    docker: Docker,
    port_mappings: Vec<PortMapping>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Docker {
    image: String,
    port_mappings: Vec<PortMapping>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PortMapping {
    labels: Option<Texts>,
    container_port: u32,
    host_port: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortDefinition {
    labels: Option<Texts>,
    port: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    mode: String,
}

/// A port of an application: its number (0 where only the task knows it), its labels, and what they are
/// called.
type PortOf<'a> = (u32, Option<&'a Texts>, &'static str);

impl App {
    /// Whether tasks have addresses of their own.
    fn container_networks(&self) -> bool {
        self.networks.first().is_some_and(|network| network.mode == "container")
    }

    fn ports(&self) -> Vec<PortOf<'_>> {
        let mappings = match &self.container {
            Some(container) if container.port_mappings.is_empty() => &container.docker.port_mappings[..],
            Some(container) => &container.port_mappings[..],
            None => &[],
        };
        if !mappings.is_empty() {
            let own = self.container_networks();
            let mapping = |m: &'_ PortMapping| if own { m.container_port } else { m.host_port };
            return mappings.iter().map(|m| (mapping(m), m.labels.as_ref(), "port_mapping_label_")).collect();
        }
        let fixed = self.require_ports;
        let definition = |d: &'_ PortDefinition| if fixed { d.port } else { 0 };
        self.port_definitions
            .iter()
            .map(|d| (definition(d), d.labels.as_ref(), "port_definition_label_"))
            .collect()
    }

    fn group(&self) -> TargetGroup {
        let mut labels = Meta::new("__meta_marathon_");
        labels.set("app", &self.id);
        labels.maybe("image", self.container.as_ref().map(|container| &container.docker.image));
        labels.each("app_label_", self.labels.iter().map(|(name, value)| (sanitized(name), value)));
        let mut ports = self.ports();
        if ports.is_empty() {
            // Applications without definitions have what their tasks say.
            let count = self.tasks.iter().map(|task| task.ports.len()).max().unwrap_or_default();
            ports = vec![(0, None, "port_definition_label_"); count];
        }
        let mut targets = Vec::new();
        for task in &self.tasks {
            if is_full(&targets) {
                break;
            }
            for (index, (number, port_labels, kind)) in ports.iter().enumerate() {
                let number = match number {
                    0 => task.ports.get(index).copied().unwrap_or_default(),
                    number => *number,
                };
                let host = match task.ip_addresses.first() {
                    Some(ip) if self.container_networks() => &ip.ip_address,
                    _ => &task.host,
                };
                let mut meta = Meta::new("__meta_marathon_").address(&host_port(host, number));
                meta.set("task", &task.id).show("port_index", index);
                meta.each(kind, port_labels.iter().flat_map(|labels| labels.iter()));
                targets.push(meta.labels());
            }
        }
        TargetGroup { source: self.id.clone(), targets, labels: labels.labels() }
    }
}

/// A group for each application that runs.
pub fn groups(answer: &Answer) -> Vec<TargetGroup> {
    answer.apps.iter().filter(|app| app.tasks_running > 0 || !app.tasks.is_empty()).map(App::group).collect()
}

impl Marathon {
    pub fn new(config: &WithHttp<MarathonSdConfig>, tools: &Tools) -> Marathon {
        Marathon { config: config.own.clone(), client: Client::new(&config.http, tools) }
    }

    async fn ask(&self, server: &str) -> Result<Answer, String> {
        let mut call = Call::get(format!("{}/v2/apps/?embed=apps.tasks", server.trim_end_matches('/')));
        let token = secret(self.config.auth_token.reveal(), &self.config.auth_token_file)?;
        if !token.is_empty() {
            call = call.header("authorization", &format!("token={token}"));
        }
        self.client.json(call).await
    }
}

impl Poll for Marathon {
    const MECHANISM: &'static str = "marathon";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    /// One server of the cluster answers for all; they are asked in turn, from a random one on.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let count = self.config.servers.len();
        let first = fastrand::usize(0..count.max(1));
        let mut failures = Vec::new();
        for i in 0..count {
            match self.ask(&self.config.servers[(first + i) % count]).await {
                Ok(answer) => return Ok(groups(&answer)),
                Err(error) => failures.push(error),
            }
        }
        Err(failures.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer as Reply, api, found};

    #[tokio::test]
    async fn tasks_become_targets() {
        let address = api(|request| {
            assert!(request.starts_with("GET /v2/apps/?embed=apps.tasks "), "{request}");
            assert!(request.to_lowercase().contains("authorization: token=t\r\n"), "{request}");
            Reply::json(
                r#"{"apps": [{"id": "/a", "tasksRunning": 1, "labels": {"x.y": "z"}, "networks": null, "container": {"docker": {"image": "r/i", "portMappings": null}},
                    "portDefinitions": [{"labels": {"m": "p"}, "port": 10}, {"port": 11}],
                    "tasks": [{"id": "t1", "host": "h1", "ports": [31000, 31001]}]},
                   {"id": "/b", "tasksRunning": 1, "networks": [{"mode": "container"}],
                    "container": {"docker": {"image": "i2"}, "portMappings": [{"containerPort": 80, "hostPort": 0, "labels": {"k": "v"}}]},
                    "tasks": [{"id": "t2", "host": "h2", "ports": [], "ipAddresses": [{"ipAddress": "10.0.0.9"}]}]}]}"#,
            )
        })
        .await;
        let yaml = format!("{{servers: ['http://127.0.0.1:1', 'http://{address}/'], auth_token: t}}");
        assert_eq!(
            found("marathon", &yaml).await,
            [
                r#"{__address__="h1:31000", __meta_marathon_app="/a", __meta_marathon_app_label_x_y="z", __meta_marathon_image="r/i", __meta_marathon_port_definition_label_m="p", __meta_marathon_port_index="0", __meta_marathon_task="t1"}"#,
                r#"{__address__="h1:31001", __meta_marathon_app="/a", __meta_marathon_app_label_x_y="z", __meta_marathon_image="r/i", __meta_marathon_port_index="1", __meta_marathon_task="t1"}"#,
                r#"{__address__="10.0.0.9:80", __meta_marathon_app="/b", __meta_marathon_image="i2", __meta_marathon_port_index="0", __meta_marathon_port_mapping_label_k="v", __meta_marathon_task="t2"}"#,
            ]
        );
    }
}

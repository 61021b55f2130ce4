//! `docker_sd_configs`: the containers of one engine, a target for each network and TCP port.

use super::client::{Call, Client, with_query};
use super::meta::{Meta, host_port, is_full};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{DockerSdConfig, HttpConfig, NamedFilter, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

const PREFIX: &str = "__meta_docker_";

/// Speaks to a Docker engine, perhaps over its socket.
pub struct Engine {
    client: Client,
    base: String,
}

impl Engine {
    pub fn new(host: &str, http: &HttpConfig, tools: &Tools) -> Engine {
        let client = Client::new(http, tools);
        match host.split_once("://") {
            Some(("unix", path)) => {
                Engine { client: client.on_socket(PathBuf::from(path)), base: "http://localhost".into() }
            }
            Some(("tcp", rest)) => {
                let scheme = if http.tls_config.is_default() { "http" } else { "https" };
                Engine { client, base: format!("{scheme}://{}", rest.trim_end_matches('/')) }
            }
            _ => Engine { client, base: host.trim_end_matches('/').to_owned() },
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str, filters: &[NamedFilter]) -> Result<T, String> {
        let mut conditions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for filter in filters {
            conditions.entry(&filter.name).or_default().extend(filter.values.iter().map(String::as_str));
        }
        let filters = match conditions.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&conditions).map_err(|e| e.to_string())?,
        };
        let url = with_query(&format!("{}{path}", self.base), [("filters", filters.as_str())]);
        self.client.json(Call::get(url)).await
    }

    /// The labels of every network, by its id.
    pub async fn networks(&self, prefix: &'static str) -> Result<HashMap<String, Labels>, String> {
        let networks: Vec<Network> = self.get("/networks", &[]).await?;
        Ok(networks.into_iter().map(|network| (network.id.clone(), network.labels(prefix))).collect())
    }
}

type Texts = BTreeMap<String, String>;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub struct Network {
    id: String,
    name: String,
    scope: String,
    internal: bool,
    ingress: bool,
    labels: Option<Texts>,
}

impl Network {
    fn labels(&self, prefix: &'static str) -> Labels {
        let mut meta = Meta::new(prefix);
        meta.set("network_id", &self.id).set("network_name", &self.name).set("network_scope", &self.scope);
        meta.show("network_internal", self.internal).show("network_ingress", self.ingress);
        meta.each("network_label_", self.labels.iter().flatten());
        meta.labels()
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub struct Container {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    ports: Option<Vec<Port>>,
    labels: Option<Texts>,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Attached>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attached {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "IPAddress")]
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP")]
    ip: String,
    private_port: u16,
    public_port: u16,
    r#type: String,
}

impl Container {
    /// The networks that are its own.
    fn attached(&self) -> Vec<&Attached> {
        self.network_settings.networks.iter().flatten().filter_map(|(_, network)| network.as_ref()).collect()
    }
}

/// The networks of a container, or of the one whose networks it shares.
fn networks<'a>(container: &'a Container, all: &HashMap<&str, &'a Container>) -> Vec<&'a Attached> {
    let mut current = container;
    // Each step leads to another container; a circle ends with the last of them.
    for _ in 0..=all.len() {
        let attached = current.attached();
        if !attached.is_empty() {
            return attached;
        }
        match current.host_config.network_mode.strip_prefix("container:").and_then(|id| all.get(id)) {
            Some(next) => current = next,
            None => break,
        }
    }
    Vec::new()
}

/// All containers, as targets.
pub fn targets(
    config: &DockerSdConfig,
    containers: &[Container],
    labels: &HashMap<String, Labels>,
) -> Vec<Labels> {
    let all: HashMap<&str, &Container> = containers.iter().map(|c| (c.id.as_str(), c)).collect();
    let mut out = Vec::new();
    for container in containers {
        let Some(name) = container.names.iter().flatten().next() else { continue };
        let mut networks = networks(container, &all);
        if config.match_first_network {
            networks.truncate(1);
        }
        for network in networks {
            if is_full(&out) {
                return out;
            }
            let target = |address: &str| {
                let mut meta = Meta::new(PREFIX).address(address);
                meta.set("container_id", &container.id).set("container_name", name);
                meta.set("container_image", &container.image).set("container_image_id", &container.image_id);
                meta.set("container_network_mode", &container.host_config.network_mode);
                meta.each("container_label_", container.labels.iter().flatten());
                meta.set("network_ip", &network.ip);
                meta.all(labels.get(&network.network_id));
                meta
            };
            let before = out.len();
            for port in container.ports.iter().flatten().filter(|port| port.r#type == "tcp") {
                let mut meta = target(&host_port(&network.ip, port.private_port));
                meta.show("port_private", port.private_port);
                if port.public_port > 0 {
                    meta.show("port_public", port.public_port).set("port_public_ip", &port.ip);
                }
                out.push(meta.labels());
            }
            if out.len() == before {
                let address = match container.host_config.network_mode.as_str() {
                    "host" => config.host_networking_host.clone(),
                    _ => host_port(&network.ip, config.port),
                };
                out.push(target(&address).labels());
            }
        }
    }
    out
}

/// One engine.
pub struct Docker {
    config: DockerSdConfig,
    engine: Engine,
}

impl Docker {
    pub fn new(config: &WithHttp<DockerSdConfig>, tools: &Tools) -> Docker {
        Docker { config: config.own.clone(), engine: Engine::new(&config.own.host, &config.http, tools) }
    }
}

impl Poll for Docker {
    const MECHANISM: &'static str = "docker";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let containers: Vec<Container> = self.engine.get("/containers/json", &self.config.filters).await?;
        let networks = self.engine.networks(PREFIX).await?;
        let targets = targets(&self.config, &containers, &networks);
        Ok(vec![TargetGroup { source: "Docker".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    const CONTAINERS: &str = r#"[
      {"Id": "a1", "Names": ["/web"], "Image": "nginx:1", "ImageID": "sha256:5", "Labels": {"com.x/y": "z"},
       "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                 {"PrivatePort": 53, "Type": "udp"}],
       "HostConfig": {"NetworkMode": "net"},
       "NetworkSettings": {"Networks": {"b": {"NetworkID": "n2", "IPAddress": "10.0.0.9"}, "a": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}}}},
      {"Id": "b2", "Names": ["/side"], "Image": "i", "HostConfig": {"NetworkMode": "container:a1"},
       "NetworkSettings": {"Networks": {}}, "Ports": []},
      {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
       "NetworkSettings": {"Networks": {"host": {"NetworkID": "h", "IPAddress": ""}}}},
      {"Id": "d4", "Names": []}]"#;

    const NETWORKS: &str = r#"[{"Id": "n1", "Name": "a", "Scope": "local", "Internal": false, "Ingress": true, "Labels": {"k": "v"}}]"#;

    #[tokio::test]
    async fn containers_become_targets() {
        let address = api(|request| match request.lines().next().unwrap_or_default() {
            line if line.starts_with("GET /containers/json?filters=%7B%22label%22%3A%5B%22a%22%5D%7D ") => {
                Answer::json(CONTAINERS)
            }
            line if line.starts_with("GET /networks ") => Answer::json(NETWORKS),
            line => Answer::Whole("404 Not Found".into(), line.as_bytes().to_vec()),
        })
        .await;
        let yaml = format!("{{host: 'tcp://{address}', filters: [{{name: label, values: [a]}}]}}");
        assert_eq!(
            found("docker", &yaml).await,
            [
                r#"{__address__="10.0.0.2:80", __meta_docker_container_id="a1", __meta_docker_container_image="nginx:1", __meta_docker_container_image_id="sha256:5", __meta_docker_container_label_com_x_y="z", __meta_docker_container_name="/web", __meta_docker_container_network_mode="net", __meta_docker_network_id="n1", __meta_docker_network_ingress="true", __meta_docker_network_internal="false", __meta_docker_network_ip="10.0.0.2", __meta_docker_network_label_k="v", __meta_docker_network_name="a", __meta_docker_network_scope="local", __meta_docker_port_private="80", __meta_docker_port_public="8080", __meta_docker_port_public_ip="0.0.0.0"}"#,
                r#"{__address__="10.0.0.2:80", __meta_docker_container_id="b2", __meta_docker_container_image="i", __meta_docker_container_name="/side", __meta_docker_container_network_mode="container:a1", __meta_docker_network_id="n1", __meta_docker_network_ingress="true", __meta_docker_network_internal="false", __meta_docker_network_ip="10.0.0.2", __meta_docker_network_label_k="v", __meta_docker_network_name="a", __meta_docker_network_scope="local"}"#,
                r#"{__address__="localhost", __meta_docker_container_id="c3", __meta_docker_container_name="/host", __meta_docker_container_network_mode="host"}"#,
            ]
        );
    }
}

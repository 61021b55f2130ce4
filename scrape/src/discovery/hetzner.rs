//! `hetzner_sd_configs`: servers of the cloud (`hcloud`) or dedicated ones (`robot`).

use super::client::{Call, Client, with_query};
use super::meta::{Meta, host_port, sanitized};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{HetznerSdConfig, MAX_DISCOVERY_PAGES, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

const CLOUD: &str = "https://api.hetzner.cloud/v1";
const ROBOT: &str = "https://robot-ws.your-server.de";

/// The servers of one account.
pub struct Hetzner {
    config: HetznerSdConfig,
    client: Client,
    base: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Page {
    servers: Vec<Server>,
    networks: Vec<Network>,
    meta: PageMeta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMeta {
    pagination: Pagination,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pagination {
    next_page: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    id: u64,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Server {
    id: u64,
    name: String,
    status: String,
    public_net: PublicNet,
    private_net: Vec<PrivateNet>,
    server_type: ServerType,
    datacenter: Datacenter,
    location: Location,
    image: Option<Image>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PublicNet {
    ipv4: Option<Ip>,
    ipv6: Option<Ip>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ip {
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PrivateNet {
    network: u64,
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServerType {
    name: String,
    cores: u64,
    cpu_type: String,
    memory: f64,
    disk: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Datacenter {
    name: String,
    location: Location,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location {
    name: String,
    network_zone: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    name: Option<String>,
    description: String,
    os_flavor: String,
    os_version: Option<String>,
}

#[derive(Deserialize)]
pub struct RobotEntry {
    server: RobotServer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RobotServer {
    server_ip: Option<String>,
    server_number: u64,
    server_name: String,
    product: String,
    dc: String,
    status: String,
    cancelled: bool,
    subnet: Option<Vec<Subnet>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subnet {
    ip: String,
    mask: String,
}

/// What Prometheus calls an address that is none; rules of relabelling look for it.
const NO_ADDRESS: &str = "<nil>";

/// Cloud servers; `networks` names private networks by their numbers.
fn cloud_target(server: &Server, networks: &BTreeMap<u64, String>, port: u64) -> Labels {
    let shown = |ip: &Option<Ip>| match ip.as_ref().map(|ip| ip.ip.as_str()) {
        Some(ip) if !ip.is_empty() => ip.to_owned(),
        _ => NO_ADDRESS.to_owned(),
    };
    let ip = &shown(&server.public_net.ipv4);
    let mut meta = Meta::new("__meta_hetzner_").address(&host_port(ip, port));
    meta.set("role", "hcloud").show("server_id", server.id).set("server_name", &server.name);
    meta.set("server_status", &server.status).set("datacenter", &server.datacenter.name);
    meta.set("public_ipv4", ip);
    meta.set("public_ipv6_network", shown(&server.public_net.ipv6));
    let location = &server.datacenter.location;
    meta.set("hcloud_datacenter_location", &location.name);
    meta.set("hcloud_datacenter_location_network_zone", &location.network_zone);
    let location = if server.location.name.is_empty() { location } else { &server.location };
    meta.set("hcloud_location", &location.name).set("hcloud_location_network_zone", &location.network_zone);
    let kind = &server.server_type;
    meta.set("hcloud_server_type", &kind.name).show("hcloud_cpu_cores", kind.cores);
    meta.set("hcloud_cpu_type", &kind.cpu_type).show("hcloud_memory_size_gb", kind.memory.trunc());
    meta.show("hcloud_disk_size_gb", kind.disk);
    if let Some(image) = &server.image {
        meta.maybe("hcloud_image_name", image.name.as_ref());
        meta.set("hcloud_image_description", &image.description);
        meta.set("hcloud_image_os_flavor", &image.os_flavor);
        meta.maybe("hcloud_image_os_version", image.os_version.as_ref());
    }
    for net in &server.private_net {
        if let Some(name) = networks.get(&net.network) {
            meta.set(&format!("hcloud_private_ipv4_{}", sanitized(name)), &net.ip);
        }
    }
    for (name, value) in &server.labels {
        let name = sanitized(name);
        meta.set(&format!("hcloud_label_{name}"), value);
        meta.set(&format!("hcloud_labelpresent_{name}"), "true");
    }
    meta.labels()
}

/// Dedicated servers.
pub fn robot_targets(entries: &[RobotEntry], port: u64) -> Vec<Labels> {
    let target = |entry: &RobotEntry| {
        let server = &entry.server;
        let ip = server.server_ip.as_deref().unwrap_or_default();
        let mut meta = Meta::new("__meta_hetzner_").address(&host_port(ip, port));
        meta.set("role", "robot").show("server_id", server.server_number);
        meta.set("server_name", &server.server_name).set("public_ipv4", ip);
        meta.set("datacenter", server.dc.to_lowercase()).set("robot_datacenter", server.dc.to_lowercase());
        meta.set("server_status", &server.status).set("robot_product", &server.product);
        meta.show("robot_cancelled", server.cancelled);
        let subnet = server.subnet.iter().flatten().find(|subnet| subnet.ip.contains(':'));
        meta.maybe("public_ipv6_network", subnet.map(|subnet| format!("{}/{}", subnet.ip, subnet.mask)));
        meta.labels()
    };
    entries.iter().map(target).collect()
}

/// The servers of one page.
pub fn cloud_targets(page: &Page, networks: &BTreeMap<u64, String>, port: u64) -> Vec<Labels> {
    page.servers.iter().map(|server| cloud_target(server, networks, port)).collect()
}

impl Hetzner {
    pub fn new(config: &WithHttp<HetznerSdConfig>, tools: &Tools) -> Hetzner {
        let base = if config.own.role == "robot" { ROBOT } else { CLOUD };
        Hetzner { config: config.own.clone(), client: Client::new(&config.http, tools), base: base.into() }
    }

    async fn pages(&self, what: &str, selector: &str) -> Result<Vec<Page>, String> {
        let (mut out, mut number) = (Vec::new(), 1);
        while out.len() < MAX_DISCOVERY_PAGES {
            let url = with_query(
                &format!("{}/{what}", self.base),
                [("page", &*number.to_string()), ("per_page", "50"), ("label_selector", selector)],
            );
            let page: Page = self.client.json(Call::get(url)).await?;
            let next = page.meta.pagination.next_page;
            out.push(page);
            match next {
                Some(next) => number = next,
                None => return Ok(out),
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {what}"))
    }

    async fn cloud(&self) -> Result<Vec<Labels>, String> {
        let servers = self.pages("servers", &self.config.label_selector).await?;
        let networks = self.pages("networks", "").await?;
        let networks = networks.into_iter().flat_map(|page| page.networks).map(|n| (n.id, n.name)).collect();
        Ok(servers.iter().flat_map(|page| cloud_targets(page, &networks, self.config.port)).collect())
    }
}

impl Poll for Hetzner {
    const MECHANISM: &'static str = "hetzner";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let targets = if self.config.role == "robot" {
            let entries: Vec<RobotEntry> =
                self.client.json(Call::get(format!("{}/server", self.base))).await?;
            robot_targets(&entries, self.config.port)
        } else {
            self.cloud().await?
        };
        Ok(vec![TargetGroup { source: "hetzner".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /servers?page=1&per_page=50&label_selector=a%3Db ",
            r#"{"servers": [{"id": 42, "name": "web", "status": "running", "labels": {"a": "b"},
                "public_net": {"ipv4": {"ip": "1.2.3.4"}, "ipv6": {"ip": "2001:db8::/64"}},
                "private_net": [{"network": 7, "ip": "10.0.0.2"}],
                "server_type": {"name": "cx11", "cores": 1, "cpu_type": "shared", "memory": 2.0, "disk": 20},
                "datacenter": {"name": "fsn1-dc8", "location": {"name": "fsn1", "network_zone": "eu-central"}},
                "image": {"name": "ubuntu-20.04", "description": "Ubuntu", "os_flavor": "ubuntu", "os_version": "20.04"}}],
                "meta": {"pagination": {"next_page": 2}}}"#,
        ),
        ("GET /servers?page=2&", r#"{"servers": [], "meta": {"pagination": {"next_page": null}}}"#),
        ("GET /networks?page=1&per_page=50 ", r#"{"networks": [{"id": 7, "name": "my-net"}], "meta": {}}"#),
        (
            "GET /server ",
            r#"[{"server": {"server_ip": "5.6.7.8", "server_number": 321, "server_name": "box", "product": "DS 3000",
                "dc": "NBG1-DC1", "status": "ready", "cancelled": false, "subnet": [{"ip": "2a01::", "mask": "64"}]}},
               {"server": {"server_ip": null, "server_number": 1, "subnet": null}}]"#,
        ),
    ];

    async fn of(yaml: &str) -> Vec<String> {
        let section = crate::testing::section("hetzner", yaml);
        let crate::config::SdConfig::Hetzner(config) = section else { panic!("a hetzner section") };
        let mut hetzner = Hetzner::new(&config, &crate::testing::tools());
        hetzner.base = format!("http://{}", pages(PAGES).await);
        polled(hetzner).await
    }

    #[tokio::test]
    async fn cloud_and_dedicated_servers_become_targets() {
        assert_eq!(
            of("{role: hcloud, label_selector: a=b}").await,
            [
                r#"{__address__="1.2.3.4:80", __meta_hetzner_datacenter="fsn1-dc8", __meta_hetzner_hcloud_cpu_cores="1", __meta_hetzner_hcloud_cpu_type="shared", __meta_hetzner_hcloud_datacenter_location="fsn1", __meta_hetzner_hcloud_datacenter_location_network_zone="eu-central", __meta_hetzner_hcloud_disk_size_gb="20", __meta_hetzner_hcloud_image_description="Ubuntu", __meta_hetzner_hcloud_image_name="ubuntu-20.04", __meta_hetzner_hcloud_image_os_flavor="ubuntu", __meta_hetzner_hcloud_image_os_version="20.04", __meta_hetzner_hcloud_label_a="b", __meta_hetzner_hcloud_labelpresent_a="true", __meta_hetzner_hcloud_location="fsn1", __meta_hetzner_hcloud_location_network_zone="eu-central", __meta_hetzner_hcloud_memory_size_gb="2", __meta_hetzner_hcloud_private_ipv4_my_net="10.0.0.2", __meta_hetzner_hcloud_server_type="cx11", __meta_hetzner_public_ipv4="1.2.3.4", __meta_hetzner_public_ipv6_network="2001:db8::/64", __meta_hetzner_role="hcloud", __meta_hetzner_server_id="42", __meta_hetzner_server_name="web", __meta_hetzner_server_status="running"}"#
            ]
        );
        let robots = of("{role: robot}").await;
        assert_eq!(
            robots[0],
            r#"{__address__="5.6.7.8:80", __meta_hetzner_datacenter="nbg1-dc1", __meta_hetzner_public_ipv4="5.6.7.8", __meta_hetzner_public_ipv6_network="2a01::/64", __meta_hetzner_robot_cancelled="false", __meta_hetzner_robot_datacenter="nbg1-dc1", __meta_hetzner_robot_product="DS 3000", __meta_hetzner_role="robot", __meta_hetzner_server_id="321", __meta_hetzner_server_name="box", __meta_hetzner_server_status="ready"}"#
        );
        assert_eq!(robots.len(), 2);
    }
}

//! `scaleway_sd_configs`: instances or bare metal of one project in one zone.

use super::client::{Call, Client, with_query};
use super::meta::{Meta, enclosed, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{MAX_DISCOVERY_PAGES, PromDuration, ScalewaySdConfig, WithHttp};
use crate::fetch::secret;
use hearth_model::Labels;
use serde::Deserialize;

/// Machines asked for at a time, the API's most.
const PAGE: usize = 100;

/// One project.
pub struct Scaleway {
    config: ScalewaySdConfig,
    client: Client,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Page {
    servers: Vec<Server>,
}

/// Both kinds of machine; each leaves out what only the other has.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Server {
    id: String,
    name: String,
    hostname: String,
    organization: String,
    project: String,
    project_id: String,
    boot_type: String,
    commercial_type: String,
    offer_name: String,
    state: String,
    status: String,
    zone: String,
    tags: Vec<String>,
    image: Option<Image>,
    location: Option<Location>,
    private_ip: Option<String>,
    public_ip: Option<Ip>,
    public_ips: Vec<Ip>,
    ipv6: Option<Ip>,
    security_group: Option<Group>,
    ips: Vec<Ip>,
    install: Option<Install>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    id: String,
    name: String,
    arch: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location {
    cluster_id: String,
    hypervisor_id: String,
    node_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ip {
    address: String,
    family: String,
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    id: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Install {
    os_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Os {
    name: String,
    version: String,
}

fn v6(ip: &Ip) -> bool {
    ip.family == "inet6" || ip.version.eq_ignore_ascii_case("ipv6") || ip.address.contains(':')
}

/// Instances that have an address.
pub fn instances(page: &Page, port: u64) -> Vec<Labels> {
    page.servers.iter().filter_map(|server| instance(server, port)).collect()
}

fn instance(server: &Server, port: u64) -> Option<Labels> {
    let mut meta = Meta::new("__meta_scaleway_instance_");
    meta.set("boot_type", &server.boot_type).set("hostname", &server.hostname).set("id", &server.id);
    meta.set("name", &server.name).set("organization_id", &server.organization);
    meta.set("project_id", &server.project).set("status", &server.state);
    meta.set("type", &server.commercial_type).set("zone", &server.zone);
    meta.set("region", server.zone.rsplit_once('-').map_or("", |(region, _)| region));
    if !server.tags.is_empty() {
        meta.set("tags", enclosed(&server.tags, ","));
    }
    if let Some(image) = &server.image {
        meta.set("image_arch", &image.arch).set("image_id", &image.id).set("image_name", &image.name);
    }
    if let Some(location) = &server.location {
        meta.set("location_cluster_id", &location.cluster_id);
        meta.set("location_hypervisor_id", &location.hypervisor_id);
        meta.set("location_node_id", &location.node_id);
    }
    if let Some(group) = &server.security_group {
        meta.set("security_group_id", &group.id).set("security_group_name", &group.name);
    }
    let list = |wanted: bool| {
        server
            .public_ips
            .iter()
            .filter(|ip| v6(ip) == wanted)
            .map(|ip| ip.address.as_str())
            .collect::<Vec<_>>()
    };
    let (all4, all6) = (list(false), list(true));
    if !all4.is_empty() {
        meta.set("public_ipv4_addresses", enclosed(&all4, ","));
    }
    if !all6.is_empty() {
        meta.set("public_ipv6_addresses", enclosed(&all6, ","));
    }
    let single = server.public_ip.as_ref().map(|ip| ip.address.as_str()).filter(|ip| !ip.contains(':'));
    let public4 = single.or(all4.first().copied());
    let public6 = server.ipv6.as_ref().map(|ip| ip.address.as_str()).or(all6.first().copied());
    meta.maybe("public_ipv4", public4).maybe("public_ipv6", public6);
    meta.maybe("private_ipv4", server.private_ip.as_ref());
    // The most private address is the one that a scraper beside it reaches.
    let best = server.private_ip.as_deref().or(public4).or(public6)?;
    Some(meta.address(&host_port(best, port)).labels())
}

fn baremetal(server: &Server, os: &Os, port: u64) -> Option<Labels> {
    let mut meta = Meta::new("__meta_scaleway_baremetal_");
    meta.set("id", &server.id).set("name", &server.name).set("project_id", &server.project_id);
    meta.set("status", &server.status).set("type", &server.offer_name).set("zone", &server.zone);
    meta.set("os_name", &os.name).set("os_version", &os.version);
    if !server.tags.is_empty() {
        meta.set("tags", enclosed(&server.tags, ","));
    }
    let find = |wanted: bool| server.ips.iter().find(|ip| v6(ip) == wanted).map(|ip| ip.address.as_str());
    meta.maybe("public_ipv4", find(false)).maybe("public_ipv6", find(true));
    let best = find(false).or(find(true))?;
    Some(meta.address(&host_port(best, port)).labels())
}

impl Scaleway {
    pub fn new(config: &WithHttp<ScalewaySdConfig>, tools: &Tools) -> Scaleway {
        Scaleway { config: config.own.clone(), client: Client::new(&config.http, tools) }
    }

    fn call(&self, url: String) -> Result<Call, String> {
        let key = secret(self.config.secret_key.reveal(), &self.config.secret_key_file)?;
        Ok(Call::get(url).header("x-auth-token", &key))
    }

    async fn page(&self, number: usize) -> Result<Page, String> {
        let (base, zone) = (self.config.api_url.trim_end_matches('/'), &self.config.zone);
        let (api, project, tags) = match self.config.role.as_str() {
            "instance" => ("instance", "project", self.config.tags_filter.join(",")),
            _ => ("baremetal", "project_id", String::new()),
        };
        let (number, size) = (number.to_string(), PAGE.to_string());
        let own = [
            (project, self.config.project_id.as_str()),
            ("name", &self.config.name_filter),
            ("tags", &tags),
            ("page", &number),
            (if api == "instance" { "per_page" } else { "page_size" }, &size),
        ];
        let each =
            self.config.tags_filter.iter().filter(|_| api == "baremetal").map(|tag| ("tags", tag.as_str()));
        let url = with_query(&format!("{base}/{api}/v1/zones/{zone}/servers"), own.into_iter().chain(each));
        self.client.json(self.call(url)?).await
    }

    async fn os(&self, server: &Server) -> Result<Os, String> {
        let Some(install) = server.install.as_ref().filter(|install| !install.os_id.is_empty()) else {
            return Ok(Os::default());
        };
        let (base, zone) = (self.config.api_url.trim_end_matches('/'), &self.config.zone);
        let url = format!("{base}/baremetal/v1/zones/{zone}/os/{}", super::client::escaped(&install.os_id));
        self.client.json(self.call(url)?).await
    }
}

impl Poll for Scaleway {
    const MECHANISM: &'static str = "scaleway";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut targets = Vec::new();
        for number in 1..=MAX_DISCOVERY_PAGES {
            let page = self.page(number).await?;
            if self.config.role == "instance" {
                targets.extend(instances(&page, self.config.port));
            } else {
                for server in &page.servers {
                    targets.extend(baremetal(server, &self.os(server).await?, self.config.port));
                }
            }
            if page.servers.len() < PAGE {
                return Ok(vec![TargetGroup { source: "scaleway".into(), targets, labels: Labels::empty() }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of servers"))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{found, pages};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /instance/v1/zones/fr-par-1/servers?project=p&tags=a%2Cb&page=1&per_page=100 ",
            r#"{"servers": [{"id": "s1", "name": "web", "hostname": "web", "organization": "o", "project": "p", "boot_type": "local",
                "commercial_type": "DEV1-S", "state": "running", "zone": "fr-par-1", "tags": ["a", "b"],
                "image": {"id": "i", "name": "Debian", "arch": "x86_64"}, "location": {"cluster_id": "40", "hypervisor_id": "h", "node_id": "n"},
                "private_ip": "10.70.0.1", "public_ip": {"address": "51.0.0.1"}, "ipv6": null,
                "public_ips": [{"address": "51.0.0.1", "family": "inet"}, {"address": "2001::1", "family": "inet6"}],
                "security_group": {"id": "g", "name": "Default"}},
               {"id": "s2", "zone": "fr-par-1", "tags": [], "public_ips": []}]}"#,
        ),
        (
            "GET /baremetal/v1/zones/fr-par-1/servers?project_id=p&page=1&page_size=100 ",
            r#"{"servers": [{"id": "b1", "name": "bm", "project_id": "p", "status": "ready", "offer_name": "GP-BM1", "zone": "fr-par-1",
                "tags": [], "ips": [{"address": "51.0.0.2", "version": "IPv4"}], "install": {"os_id": "os1"}}]}"#,
        ),
        ("GET /baremetal/v1/zones/fr-par-1/os/os1 ", r#"{"name": "Ubuntu", "version": "22.04"}"#),
    ];

    #[tokio::test]
    async fn instances_and_bare_metal_become_targets() {
        let address = pages(PAGES).await;
        let yaml = |more: &str| {
            format!("{{api_url: 'http://{address}/', project_id: p, access_key: a, secret_key: s, {more}}}")
        };
        assert_eq!(
            found("scaleway", &yaml("role: instance, tags_filter: [a, b]")).await,
            [
                r#"{__address__="10.70.0.1:80", __meta_scaleway_instance_boot_type="local", __meta_scaleway_instance_hostname="web", __meta_scaleway_instance_id="s1", __meta_scaleway_instance_image_arch="x86_64", __meta_scaleway_instance_image_id="i", __meta_scaleway_instance_image_name="Debian", __meta_scaleway_instance_location_cluster_id="40", __meta_scaleway_instance_location_hypervisor_id="h", __meta_scaleway_instance_location_node_id="n", __meta_scaleway_instance_name="web", __meta_scaleway_instance_organization_id="o", __meta_scaleway_instance_private_ipv4="10.70.0.1", __meta_scaleway_instance_project_id="p", __meta_scaleway_instance_public_ipv4="51.0.0.1", __meta_scaleway_instance_public_ipv4_addresses=",51.0.0.1,", __meta_scaleway_instance_public_ipv6="2001::1", __meta_scaleway_instance_public_ipv6_addresses=",2001::1,", __meta_scaleway_instance_region="fr-par", __meta_scaleway_instance_security_group_id="g", __meta_scaleway_instance_security_group_name="Default", __meta_scaleway_instance_status="running", __meta_scaleway_instance_tags=",a,b,", __meta_scaleway_instance_type="DEV1-S", __meta_scaleway_instance_zone="fr-par-1"}"#
            ]
        );
        assert_eq!(
            found("scaleway", &yaml("role: baremetal")).await,
            [
                r#"{__address__="51.0.0.2:80", __meta_scaleway_baremetal_id="b1", __meta_scaleway_baremetal_name="bm", __meta_scaleway_baremetal_os_name="Ubuntu", __meta_scaleway_baremetal_os_version="22.04", __meta_scaleway_baremetal_project_id="p", __meta_scaleway_baremetal_public_ipv4="51.0.0.2", __meta_scaleway_baremetal_status="ready", __meta_scaleway_baremetal_type="GP-BM1", __meta_scaleway_baremetal_zone="fr-par-1"}"#
            ]
        );
    }
}

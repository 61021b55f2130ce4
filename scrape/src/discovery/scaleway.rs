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
    os: Vec<Os>,
    total_count: Option<usize>,
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
    id: String,
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
    let single = server.public_ip.as_ref();
    meta.maybe("public_ipv4", single.filter(|ip| !v6(ip)).map(|ip| &ip.address));
    let own6 = server.ipv6.as_ref().map(|ip| ip.address.as_str());
    meta.maybe("public_ipv6", own6).maybe("private_ipv4", server.private_ip.as_ref());
    // The most private address is the one that a scraper beside it reaches.
    let single = single.map(|ip| ip.address.as_str()).or(own6);
    let public = single.or(all4.first().copied()).or(all6.first().copied());
    let best = server.private_ip.as_deref().or(public)?;
    Some(meta.address(&host_port(best, port)).labels())
}

/// Also a machine without an address: rules of relabelling may know one.
fn baremetal(server: &Server, systems: &[Os], port: u64) -> Labels {
    let mut meta = Meta::new("__meta_scaleway_baremetal_");
    meta.set("id", &server.id).set("name", &server.name).set("project_id", &server.project_id);
    meta.set("status", &server.status).set("type", &server.offer_name).set("zone", &server.zone);
    let installed = server.install.as_ref();
    if let Some(os) = installed.and_then(|install| systems.iter().find(|os| os.id == install.os_id)) {
        meta.set("os_name", &os.name).set("os_version", &os.version);
    }
    if !server.tags.is_empty() {
        meta.set("tags", enclosed(&server.tags, ","));
    }
    let find = |wanted: bool| server.ips.iter().find(|ip| v6(ip) == wanted).map(|ip| ip.address.as_str());
    meta.maybe("public_ipv4", find(false)).maybe("public_ipv6", find(true));
    match find(false).or(find(true)) {
        Some(best) => meta.address(&host_port(best, port)).labels(),
        None => meta.labels(),
    }
}

impl Scaleway {
    pub fn new(config: &WithHttp<ScalewaySdConfig>, tools: &Tools) -> Scaleway {
        Scaleway { config: config.own.clone(), client: Client::new(&config.http, tools) }
    }

    /// One page of a list, and how many entries all pages have, where the API tells.
    async fn page(&self, url: &str) -> Result<(Page, Option<usize>), String> {
        let key = secret(self.config.secret_key.reveal(), &self.config.secret_key_file)?;
        let call = Call::get(url).header("x-auth-token", &key).header("accept", "application/json");
        let answer = self.client.ask(call).await?.success().map_err(|error| format!("{url:?}: {error}"))?;
        let page: Page = answer.json().map_err(|error| format!("{url:?}: {error}"))?;
        // Instances are counted in a header, machines in the body.
        let total = answer.header("x-total-count").parse().ok().or(page.total_count);
        Ok((page, total))
    }

    /// All pages of a list. `project_id` narrows nothing, as with Prometheus: what the key shows is found.
    async fn pages(&self, what: &str, filters: &[(&str, &str)]) -> Result<Vec<Page>, String> {
        let api = if self.config.role == "instance" { "instance" } else { "baremetal" };
        let (base, zone) = (self.config.api_url.trim_end_matches('/'), &self.config.zone);
        let base = format!("{base}/{api}/v1/zones/{zone}/{what}");
        let per_page = if api == "instance" { "per_page" } else { "page_size" };
        let (mut pages, mut seen, size) = (Vec::new(), 0, PAGE.to_string());
        while pages.len() < MAX_DISCOVERY_PAGES {
            let number = (pages.len() + 1).to_string();
            let own = [("page", number.as_str()), (per_page, &size)];
            let (page, total) = self.page(&with_query(&base, filters.iter().copied().chain(own))).await?;
            let count = page.servers.len() + page.os.len();
            seen += count;
            pages.push(page);
            if count == 0 || total.map_or(count < PAGE, |total| seen >= total) {
                return Ok(pages);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {what}"))
    }

    async fn servers(&self) -> Result<Vec<Page>, String> {
        let joined = self.config.tags_filter.join(",");
        let tags: Vec<&str> = match self.config.role.as_str() {
            "instance" => vec![&joined],
            _ => self.config.tags_filter.iter().map(String::as_str).collect(),
        };
        let tags = tags.into_iter().map(|tag| ("tags", tag));
        let filters: Vec<_> = [("name", self.config.name_filter.as_str())].into_iter().chain(tags).collect();
        self.pages("servers", &filters).await
    }
}

impl Poll for Scaleway {
    const MECHANISM: &'static str = "scaleway";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (pages, port) = (self.servers().await?, self.config.port);
        let targets = if self.config.role == "instance" {
            pages.iter().flat_map(|page| instances(page, port)).collect()
        } else {
            let systems: Vec<Os> =
                self.pages("os", &[]).await?.into_iter().flat_map(|page| page.os).collect();
            let machines = pages.iter().flat_map(|page| &page.servers);
            machines.map(|machine| baremetal(machine, &systems, port)).collect()
        };
        Ok(vec![TargetGroup { source: "scaleway".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{found, pages};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /instance/v1/zones/fr-par-1/servers?tags=a%2Cb&page=1&per_page=100 ",
            r#"{"servers": [{"id": "s1", "name": "web", "hostname": "web", "organization": "o", "project": "p", "boot_type": "local",
                "commercial_type": "DEV1-S", "state": "running", "zone": "fr-par-1", "tags": ["a", "b"],
                "image": {"id": "i", "name": "Debian", "arch": "x86_64"}, "location": {"cluster_id": "40", "hypervisor_id": "h", "node_id": "n"},
                "private_ip": "10.70.0.1", "public_ip": {"address": "51.0.0.1"}, "ipv6": null,
                "public_ips": [{"address": "51.0.0.1", "family": "inet"}, {"address": "2001::1", "family": "inet6"}],
                "security_group": {"id": "g", "name": "Default"}},
               {"id": "s2", "zone": "fr-par-1", "tags": [], "public_ips": []},
               {"id": "s3", "public_ips": [{"address": "2001::3", "family": "inet6"}, {"address": "51.0.0.3", "family": "inet"}]}]}"#,
        ),
        (
            "GET /baremetal/v1/zones/fr-par-1/servers?page=1&page_size=100 ",
            r#"{"servers": [{"id": "b1", "name": "bm", "project_id": "p", "status": "ready", "offer_name": "GP-BM1", "zone": "fr-par-1",
                "tags": [], "ips": [{"address": "51.0.0.2", "version": "IPv4"}], "install": {"os_id": "os1"}}]}"#,
        ),
        (
            "GET /baremetal/v1/zones/fr-par-1/os?page=1&page_size=100 ",
            r#"{"os": [{"id": "os1", "name": "Ubuntu", "version": "22.04"}], "total_count": 2}"#,
        ),
        (
            "GET /baremetal/v1/zones/fr-par-1/os?page=2&page_size=100 ",
            r#"{"os": [{"id": "os2"}], "total_count": 2}"#,
        ),
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
                r#"{__address__="10.70.0.1:80", __meta_scaleway_instance_boot_type="local", __meta_scaleway_instance_hostname="web", __meta_scaleway_instance_id="s1", __meta_scaleway_instance_image_arch="x86_64", __meta_scaleway_instance_image_id="i", __meta_scaleway_instance_image_name="Debian", __meta_scaleway_instance_location_cluster_id="40", __meta_scaleway_instance_location_hypervisor_id="h", __meta_scaleway_instance_location_node_id="n", __meta_scaleway_instance_name="web", __meta_scaleway_instance_organization_id="o", __meta_scaleway_instance_private_ipv4="10.70.0.1", __meta_scaleway_instance_project_id="p", __meta_scaleway_instance_public_ipv4="51.0.0.1", __meta_scaleway_instance_public_ipv4_addresses=",51.0.0.1,", __meta_scaleway_instance_public_ipv6_addresses=",2001::1,", __meta_scaleway_instance_region="fr-par", __meta_scaleway_instance_security_group_id="g", __meta_scaleway_instance_security_group_name="Default", __meta_scaleway_instance_status="running", __meta_scaleway_instance_tags=",a,b,", __meta_scaleway_instance_type="DEV1-S", __meta_scaleway_instance_zone="fr-par-1"}"#,
                r#"{__address__="51.0.0.3:80", __meta_scaleway_instance_id="s3", __meta_scaleway_instance_public_ipv4_addresses=",51.0.0.3,", __meta_scaleway_instance_public_ipv6_addresses=",2001::3,"}"#
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

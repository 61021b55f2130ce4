//! `linode_sd_configs`: the instances of one account.

use super::client::{Call, Client};
use super::meta::{Meta, enclosed, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{LinodeSdConfig, MAX_DISCOVERY_PAGES, PromDuration, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use hearth_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;

const API: &str = "https://api.linode.com/v4";

/// One account.
pub struct Linode {
    config: LinodeSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
    base: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    data: Vec<T>,
    #[serde(default)]
    pages: usize,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Instance {
    id: u64,
    label: String,
    group: String,
    status: String,
    r#type: Option<String>,
    ipv4: Vec<String>,
    ipv6: Option<String>,
    image: Option<String>,
    region: String,
    hypervisor: String,
    tags: Vec<String>,
    specs: Specs,
    backups: Backups,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Specs {
    disk: u64,
    memory: u64,
    vcpus: u64,
    gpus: u64,
    transfer: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Backups {
    enabled: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    address: String,
    public: bool,
    rdns: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Range {
    range: String,
    prefix: u64,
    route_target: Option<String>,
}

/// What the account's addresses tell, by address.
#[derive(Default)]
pub struct Addresses {
    known: HashMap<String, Address>,
    /// Ranges by the address that they lead to.
    ranges: HashMap<String, Vec<String>>,
}

fn bare(address: &str) -> &str {
    address.split_once('/').map_or(address, |(ip, _)| ip)
}

/// An address that the account's list lacks is as good as none.
fn target(instance: &Instance, addresses: &Addresses, config: &LinodeSdConfig) -> Labels {
    let (mut private, mut public, mut extra) = (None, None, Vec::new());
    for ip in &instance.ipv4 {
        let Some(known) = addresses.known.get(ip) else { continue };
        let place = if known.public { &mut public } else { &mut private };
        match place {
            None => *place = Some(known),
            Some(_) => extra.push(ip.as_str()),
        }
    }
    let v6 = instance.ipv6.as_deref().map(bare).unwrap_or_default();
    let v6_known = addresses.known.get(v6);
    let text = |address: Option<&Address>| address.map(|known| known.address.clone()).unwrap_or_default();
    let name = |address: Option<&Address>| {
        address.and_then(|known| known.rdns.clone()).filter(|rdns| rdns != "null").unwrap_or_default()
    };
    let mut meta = Meta::new("__meta_linode_").address(&host_port(&text(public), config.port));
    meta.show("instance_id", instance.id).set("instance_label", &instance.label);
    meta.maybe("image", instance.image.as_ref()).set("private_ipv4", text(private));
    meta.set("public_ipv4", text(public)).set("public_ipv6", text(v6_known));
    meta.set("private_ipv4_rdns", name(private)).set("public_ipv4_rdns", name(public));
    meta.set("public_ipv6_rdns", name(v6_known)).set("region", &instance.region);
    meta.maybe("type", instance.r#type.as_ref()).set("status", &instance.status);
    meta.set("group", &instance.group).show("gpus", instance.specs.gpus);
    meta.set("hypervisor", &instance.hypervisor);
    meta.set("backups", if instance.backups.enabled { "enabled" } else { "disabled" });
    meta.show("specs_disk_bytes", instance.specs.disk << 20);
    meta.show("specs_memory_bytes", instance.specs.memory << 20);
    meta.show("specs_vcpus", instance.specs.vcpus)
        .show("specs_transfer_bytes", instance.specs.transfer << 20);
    let mut list = |name: &str, entries: &[&str]| {
        if !entries.is_empty() {
            meta.set(name, enclosed(entries, &config.tag_separator));
        }
    };
    list("tags", &instance.tags.iter().map(String::as_str).collect::<Vec<_>>());
    list("extra_ips", &extra);
    let ranges = addresses.ranges.get(v6).filter(|_| !v6.is_empty()).map(Vec::as_slice).unwrap_or_default();
    list("ipv6_ranges", &ranges.iter().map(String::as_str).collect::<Vec<_>>());
    meta.labels()
}

/// Instances that have an IPv4 address.
pub fn instances(list: &[Instance], addresses: &Addresses, config: &LinodeSdConfig) -> Vec<Labels> {
    list.iter().filter(|i| !i.ipv4.is_empty()).map(|i| target(i, addresses, config)).collect()
}

impl Linode {
    pub fn new(config: &WithHttp<LinodeSdConfig>, tools: &Tools) -> Linode {
        Linode {
            config: config.own.clone(),
            client: Client::new(&config.http, tools),
            counters: Arc::clone(&tools.counters),
            base: API.into(),
        }
    }

    async fn list<T: DeserializeOwned>(&self, what: &str) -> Result<Vec<T>, String> {
        let mut out = Vec::new();
        for number in 1..=MAX_DISCOVERY_PAGES {
            let url = format!("{}/{what}?page={number}&page_size=500", self.base);
            let mut call = Call::get(url);
            if !self.config.region.is_empty() {
                let filter = serde_json::json!({ "region": self.config.region });
                call = call.header("x-filter", &filter.to_string());
            }
            let page: Page<T> = self.client.json(call).await?;
            out.extend(page.data);
            if number >= page.pages {
                return Ok(out);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {what}"))
    }

    async fn ask(&self) -> Result<Vec<Labels>, String> {
        let list: Vec<Instance> = self.list("linode/instances").await?;
        let known: Vec<Address> = self.list("networking/ips").await?;
        let ranges: Vec<Range> = self.list("networking/ipv6/ranges").await?;
        let mut addresses = Addresses::default();
        addresses.known.extend(known.into_iter().map(|address| (address.address.clone(), address)));
        for range in ranges {
            let target = range.route_target.unwrap_or_default();
            addresses.ranges.entry(target).or_default().push(format!("{}/{}", range.range, range.prefix));
        }
        Ok(instances(&list, &addresses, &self.config))
    }
}

impl Poll for Linode {
    const MECHANISM: &'static str = "linode";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let targets = self.ask().await.inspect_err(|_| self.counters.tally(Tally::LinodeFailures).add(1))?;
        Ok(vec![TargetGroup { source: "Linode".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /linode/instances?page=1&",
            r#"{"data": [{"id": 1, "label": "web", "group": "g", "status": "running", "type": "g6", "region": "us-east",
                "ipv4": ["1.2.3.4", "192.168.1.5", "1.2.3.5"], "ipv6": "2600::1/128", "image": "linode/debian", "hypervisor": "kvm",
                "tags": ["a", "b"], "specs": {"disk": 2, "memory": 1, "vcpus": 1, "gpus": 0, "transfer": 3}, "backups": {"enabled": false}}],
                "page": 1, "pages": 2}"#,
        ),
        ("GET /linode/instances?page=2&", r#"{"data": [], "page": 2, "pages": 2}"#),
        (
            "GET /networking/ips?page=1&",
            r#"{"data": [{"address": "1.2.3.4", "public": true, "rdns": "a.example"}, {"address": "1.2.3.5", "public": true},
                {"address": "192.168.1.5", "public": false, "rdns": null}, {"address": "2600::1", "public": true, "rdns": "b.example"}], "pages": 1}"#,
        ),
        (
            "GET /networking/ipv6/ranges?page=1&",
            r#"{"data": [{"range": "2600:3::", "prefix": 64, "route_target": "2600::1"}], "pages": 1}"#,
        ),
    ];

    #[tokio::test]
    async fn instances_become_targets() {
        let section = crate::testing::section("linode", "{region: us-east}");
        let crate::config::SdConfig::Linode(config) = section else { panic!("a section") };
        let mut linode = Linode::new(&config, &crate::testing::tools());
        linode.base = format!("http://{}", pages(PAGES).await);
        assert_eq!(
            polled(linode).await,
            [
                r#"{__address__="1.2.3.4:80", __meta_linode_backups="disabled", __meta_linode_extra_ips=",1.2.3.5,", __meta_linode_gpus="0", __meta_linode_group="g", __meta_linode_hypervisor="kvm", __meta_linode_image="linode/debian", __meta_linode_instance_id="1", __meta_linode_instance_label="web", __meta_linode_ipv6_ranges=",2600:3::/64,", __meta_linode_private_ipv4="192.168.1.5", __meta_linode_public_ipv4="1.2.3.4", __meta_linode_public_ipv4_rdns="a.example", __meta_linode_public_ipv6="2600::1", __meta_linode_public_ipv6_rdns="b.example", __meta_linode_region="us-east", __meta_linode_specs_disk_bytes="2097152", __meta_linode_specs_memory_bytes="1048576", __meta_linode_specs_transfer_bytes="3145728", __meta_linode_specs_vcpus="1", __meta_linode_status="running", __meta_linode_tags=",a,b,", __meta_linode_type="g6"}"#
            ]
        );
    }
}

//! `vultr_sd_configs`: the instances of one account.

use super::client::{Call, Client, with_query};
use super::meta::{Meta, enclosed, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{MAX_DISCOVERY_PAGES, PromDuration, VultrSdConfig, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;

const API: &str = "https://api.vultr.com/v2";

/// One account.
pub struct Vultr {
    config: VultrSdConfig,
    client: Client,
    base: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Page {
    instances: Vec<Instance>,
    meta: PageMeta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMeta {
    links: Links,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Links {
    next: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Instance {
    id: String,
    label: String,
    os: String,
    os_id: u64,
    region: String,
    plan: String,
    main_ip: String,
    internal_ip: String,
    v6_main_ip: String,
    features: Vec<String>,
    tags: Vec<String>,
    hostname: String,
    server_status: String,
    vcpu_count: u64,
    ram: u64,
    disk: u64,
    allowed_bandwidth: u64,
}

/// The instances of one page.
pub fn instances(page: &Page, port: u64) -> Vec<Labels> {
    let target = |instance: &Instance| {
        let mut meta = Meta::new("__meta_vultr_instance_").address(&host_port(&instance.main_ip, port));
        meta.set("id", &instance.id).set("label", &instance.label).set("os", &instance.os);
        meta.show("os_id", instance.os_id).set("region", &instance.region).set("plan", &instance.plan);
        meta.set("main_ip", &instance.main_ip).set("main_ipv6", &instance.v6_main_ip);
        meta.set("internal_ip", &instance.internal_ip).set("hostname", &instance.hostname);
        meta.set("server_status", &instance.server_status).show("vcpu_count", instance.vcpu_count);
        meta.show("ram_mb", instance.ram).show("disk_gb", instance.disk);
        meta.show("allowed_bandwidth_gb", instance.allowed_bandwidth);
        for (name, list) in [("features", &instance.features), ("tags", &instance.tags)] {
            if !list.is_empty() {
                meta.set(name, enclosed(list, ","));
            }
        }
        meta.labels()
    };
    page.instances.iter().map(target).collect()
}

impl Vultr {
    pub fn new(config: &WithHttp<VultrSdConfig>, tools: &Tools) -> Vultr {
        Vultr { config: config.own.clone(), client: Client::new(&config.http, tools), base: API.into() }
    }
}

impl Poll for Vultr {
    const MECHANISM: &'static str = "vultr";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (mut targets, mut cursor) = (Vec::new(), String::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let url =
                with_query(&format!("{}/instances?per_page=100", self.base), [("cursor", cursor.as_str())]);
            let page: Page = self.client.json(Call::get(url)).await?;
            targets.extend(instances(&page, self.config.port));
            cursor = page.meta.links.next;
            if cursor.is_empty() {
                return Ok(vec![TargetGroup { source: "Vultr".into(), targets, labels: Labels::empty() }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of instances"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /instances?per_page=100 ",
            r#"{"instances": [{"id": "i-1", "label": "web", "os": "Debian", "os_id": 477, "region": "ewr", "plan": "vc2",
                "main_ip": "1.2.3.4", "internal_ip": "10.0.0.1", "v6_main_ip": "2001::1", "features": ["ipv6"], "tags": ["a", "b"],
                "hostname": "h", "server_status": "ok", "vcpu_count": 2, "ram": 1024, "disk": 32, "allowed_bandwidth": 1000}],
                "meta": {"links": {"next": "two", "prev": ""}}}"#,
        ),
        ("GET /instances?per_page=100&cursor=two ", r#"{"instances": [], "meta": {"links": {"next": ""}}}"#),
    ];

    #[tokio::test]
    async fn instances_become_targets() {
        let section = crate::testing::section("vultr", "{}");
        let crate::config::SdConfig::Vultr(config) = section else { panic!("a section") };
        let mut vultr = Vultr::new(&config, &crate::testing::tools());
        vultr.base = format!("http://{}", pages(PAGES).await);
        assert_eq!(
            polled(vultr).await,
            [
                r#"{__address__="1.2.3.4:80", __meta_vultr_instance_allowed_bandwidth_gb="1000", __meta_vultr_instance_disk_gb="32", __meta_vultr_instance_features=",ipv6,", __meta_vultr_instance_hostname="h", __meta_vultr_instance_id="i-1", __meta_vultr_instance_internal_ip="10.0.0.1", __meta_vultr_instance_label="web", __meta_vultr_instance_main_ip="1.2.3.4", __meta_vultr_instance_main_ipv6="2001::1", __meta_vultr_instance_os="Debian", __meta_vultr_instance_os_id="477", __meta_vultr_instance_plan="vc2", __meta_vultr_instance_ram_mb="1024", __meta_vultr_instance_region="ewr", __meta_vultr_instance_server_status="ok", __meta_vultr_instance_tags=",a,b,", __meta_vultr_instance_vcpu_count="2"}"#
            ]
        );
    }
}

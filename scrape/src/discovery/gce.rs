//! `gce_sd_configs`: the instances of one project in one zone.

use super::client::{Call, Client, escaped, with_query};
use super::google::Token;
use super::meta::{Meta, enclosed, host_port, sanitized};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{GceSdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

const API: &str = "https://compute.googleapis.com/compute/v1";
const SCOPE: &str = "https://www.googleapis.com/auth/compute.readonly";

/// One project in one zone.
pub struct Gce {
    config: GceSdConfig,
    client: Client,
    token: Token,
    base: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Page {
    items: Vec<Instance>,
    next_page_token: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    id: String,
    name: String,
    status: String,
    zone: String,
    machine_type: String,
    network_interfaces: Vec<Interface>,
    tags: Tags,
    metadata: Metadata,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Interface {
    name: String,
    network: String,
    subnetwork: String,
    #[serde(rename = "networkIP")]
    network_ip: String,
    access_configs: Vec<Access>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Access {
    r#type: String,
    #[serde(rename = "natIP")]
    nat_ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tags {
    items: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    items: Vec<Item>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    key: String,
    value: Option<String>,
}

/// The instances of one page that have a network.
pub fn instances(page: &Page, config: &GceSdConfig) -> Vec<Labels> {
    let target = |instance: &Instance| {
        let first = instance.network_interfaces.first()?;
        let mut meta = Meta::new("__meta_gce_").address(&host_port(&first.network_ip, config.port));
        meta.set("project", &config.project).set("zone", &instance.zone);
        meta.set("instance_id", &instance.id).set("instance_name", &instance.name);
        meta.set("instance_status", &instance.status).set("machine_type", &instance.machine_type);
        meta.set("network", &first.network).set("subnetwork", &first.subnetwork);
        meta.set("private_ip", &first.network_ip);
        for interface in &instance.network_interfaces {
            meta.set(&format!("interface_ipv4_{}", sanitized(&interface.name)), &interface.network_ip);
        }
        if !instance.tags.items.is_empty() {
            meta.set("tags", enclosed(&instance.tags.items, &config.tag_separator));
        }
        let items = instance.metadata.items.iter();
        meta.each("metadata_", items.filter_map(|item| Some((&item.key, item.value.as_ref()?))));
        meta.each("label_", &instance.labels);
        if let Some(access) = first.access_configs.first().filter(|a| a.r#type == "ONE_TO_ONE_NAT") {
            meta.set("public_ip", &access.nat_ip);
        }
        Some(meta.labels())
    };
    page.items.iter().filter_map(target).collect()
}

impl Gce {
    pub fn new(config: &GceSdConfig, tools: &Tools) -> Gce {
        // Google's own clients ask through the environment's proxy, too.
        let http = HttpConfig { proxy_from_environment: true, ..HttpConfig::default() };
        Gce {
            config: config.clone(),
            client: Client::new(&http, tools),
            token: Token::new(SCOPE, &http, tools),
            base: API.into(),
        }
    }
}

impl Poll for Gce {
    const MECHANISM: &'static str = "gce";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (project, zone) = (escaped(&self.config.project), escaped(&self.config.zone));
        let base = format!("{}/projects/{project}/zones/{zone}/instances", self.base);
        let authorization = format!("Bearer {}", self.token.get().await?);
        let (mut targets, mut next) = (Vec::new(), String::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let url = with_query(&base, [("filter", self.config.filter.as_str()), ("pageToken", &next)]);
            let page: Page = self.client.json(Call::get(url).header("authorization", &authorization)).await?;
            targets.extend(instances(&page, &self.config));
            next = page.next_page_token;
            if next.is_empty() {
                let source = format!("GCE_{}_{}", self.config.project, self.config.zone);
                return Ok(vec![TargetGroup { source, targets, labels: Labels::empty() }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of instances"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, api, polled};

    #[tokio::test]
    async fn instances_become_targets() {
        let address = api(|request| {
            let line = request.lines().next().unwrap_or_default();
            if line.starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token?scopes=") {
                assert!(request.to_lowercase().contains("metadata-flavor: google\r\n"), "{request}");
                return Answer::json(r#"{"access_token": "tok", "expires_in": 3600, "token_type": "Bearer"}"#);
            }
            assert!(request.to_lowercase().contains("authorization: bearer tok\r\n"), "{request}");
            match () {
                () if line.starts_with("GET /projects/p/zones/z/instances?filter=a%3Db ") => Answer::json(
                    r#"{"items": [{"id": "7", "name": "web", "status": "RUNNING", "zone": "https://x/z", "machineType": "https://x/e2", "labels": {"env-x": "prod"},
                        "networkInterfaces": [{"name": "nic0", "network": "https://x/net", "subnetwork": "https://x/sub", "networkIP": "10.0.0.1",
                          "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "natIP": "34.0.0.1"}]}, {"name": "nic1", "networkIP": "10.1.0.1"}],
                        "tags": {"items": ["a", "b"]}, "metadata": {"items": [{"key": "k-1", "value": "v"}, {"key": "n"}]}}],
                        "nextPageToken": "two"}"#,
                ),
                () if line.ends_with("&pageToken=two HTTP/1.1") => Answer::json("{}"),
                () => Answer::Whole("404 Not Found".into(), line.as_bytes().to_vec()),
            }
        })
        .await;
        let section = crate::testing::section("gce", "{project: p, zone: z, filter: a=b}");
        let crate::config::SdConfig::Gce(config) = section else { panic!("a section") };
        let mut gce = Gce::new(&config, &crate::testing::tools());
        gce.base = format!("http://{address}");
        gce.token.ask_instance(&format!("http://{address}"));
        assert_eq!(
            polled(gce).await,
            [
                r#"{__address__="10.0.0.1:80", __meta_gce_instance_id="7", __meta_gce_instance_name="web", __meta_gce_instance_status="RUNNING", __meta_gce_interface_ipv4_nic0="10.0.0.1", __meta_gce_interface_ipv4_nic1="10.1.0.1", __meta_gce_label_env_x="prod", __meta_gce_machine_type="https://x/e2", __meta_gce_metadata_k_1="v", __meta_gce_network="https://x/net", __meta_gce_private_ip="10.0.0.1", __meta_gce_project="p", __meta_gce_public_ip="34.0.0.1", __meta_gce_subnetwork="https://x/sub", __meta_gce_tags=",a,b,", __meta_gce_zone="https://x/z"}"#
            ]
        );
    }
}

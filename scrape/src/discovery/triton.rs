//! `triton_sd_configs`: containers or compute nodes, by Triton's container monitor.

use super::client::{Call, Client, escaped};
use super::meta::{Meta, enclosed};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{PromDuration, TritonSdConfig};
use hearth_model::Labels;
use serde::Deserialize;

/// One account.
pub struct Triton {
    config: TritonSdConfig,
    client: Client,
    scheme: &'static str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Answer {
    containers: Vec<Container>,
    cns: Vec<Node>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    groups: Vec<String>,
    server_uuid: String,
    vm_alias: String,
    vm_brand: String,
    vm_image_uuid: String,
    vm_uuid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Node {
    server_hostname: String,
    server_uuid: String,
}

/// Everything that the monitor listed.
pub fn targets(answer: &Answer, config: &TritonSdConfig) -> Vec<Labels> {
    let base = |id: &str| {
        let address = format!("{id}.{}:{}", config.dns_suffix, config.port);
        let mut meta = Meta::new("__meta_triton_").address(&address);
        meta.set("machine_id", id);
        meta
    };
    let container = |container: &Container| {
        let mut meta = base(&container.vm_uuid);
        meta.set("machine_alias", &container.vm_alias).set("machine_brand", &container.vm_brand);
        meta.set("machine_image", &container.vm_image_uuid).set("server_id", &container.server_uuid);
        if !container.groups.is_empty() {
            meta.set("groups", enclosed(&container.groups, ","));
        }
        meta.labels()
    };
    let node = |node: &Node| {
        let mut meta = base(&node.server_uuid);
        meta.set("machine_alias", &node.server_hostname);
        meta.labels()
    };
    answer.containers.iter().map(container).chain(answer.cns.iter().map(node)).collect()
}

impl Triton {
    pub fn new(config: &TritonSdConfig, tools: &Tools) -> Triton {
        Triton { config: config.clone(), client: Client::new(&config.http(), tools), scheme: "https" }
    }
}

impl Poll for Triton {
    const MECHANISM: &'static str = "triton";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let config = &self.config;
        let (scheme, host, version) = (self.scheme, &config.endpoint, config.version);
        // A port in the endpoint stands; the monitor listens on the port of its targets.
        let authority = if host.contains(':') { host.clone() } else { format!("{host}:{}", config.port) };
        let what = if config.role == "cn" { "gz/discover" } else { "discover" };
        let mut url = format!("{scheme}://{authority}/v{version}/{what}");
        if !config.groups.is_empty() {
            let groups: Vec<String> = config.groups.iter().map(|group| escaped(group)).collect();
            url.push_str(&format!("?groups={}", groups.join(",")));
        }
        let answer: Answer = self.client.json(Call::get(&url)).await?;
        Ok(vec![TargetGroup { source: url, targets: targets(&answer, config), labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /v1/discover?groups=a,b%20c ",
            r#"{"containers": [{"groups": ["a", "b"], "server_uuid": "s", "vm_alias": "web", "vm_brand": "lx",
                "vm_image_uuid": "im", "vm_uuid": "v"}]}"#,
        ),
        ("GET /v1/gz/discover ", r#"{"cns": [{"server_hostname": "h", "server_uuid": "u"}]}"#),
    ];

    async fn of(more: &str) -> Vec<String> {
        let address = pages(PAGES).await;
        let yaml = format!("{{account: a, dns_suffix: d.example, endpoint: '{address}'{more}}}");
        let section = crate::testing::section("triton", &yaml);
        let crate::config::SdConfig::Triton(config) = section else { panic!("a section") };
        let mut triton = Triton::new(&config, &crate::testing::tools());
        triton.scheme = "http";
        polled(triton).await
    }

    #[tokio::test]
    async fn containers_and_nodes_become_targets() {
        assert_eq!(
            of(", groups: [a, 'b c']").await,
            [
                r#"{__address__="v.d.example:9163", __meta_triton_groups=",a,b,", __meta_triton_machine_alias="web", __meta_triton_machine_brand="lx", __meta_triton_machine_id="v", __meta_triton_machine_image="im", __meta_triton_server_id="s"}"#
            ]
        );
        assert_eq!(
            of(", role: cn").await,
            [
                r#"{__address__="u.d.example:9163", __meta_triton_machine_alias="h", __meta_triton_machine_id="u"}"#
            ]
        );
    }
}

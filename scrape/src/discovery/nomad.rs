//! `nomad_sd_configs`: the services of one region and namespace.

use super::client::{Call, Client, escaped, with_query};
use super::meta::{Meta, enclosed, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{NomadSdConfig, PromDuration, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use hearth_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// One cluster.
pub struct Nomad {
    config: NomadSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Namespace {
    services: Option<Vec<Service>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Service {
    service_name: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub struct Instance {
    #[serde(rename = "ID")]
    id: String,
    address: String,
    port: u32,
    datacenter: String,
    namespace: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    service_name: String,
    tags: Option<Vec<String>>,
}

/// The instances of one service.
pub fn instances(list: &[Instance], separator: &str) -> Vec<Labels> {
    let target = |instance: &Instance| {
        let address = host_port(&instance.address, instance.port);
        let mut meta = Meta::new("__meta_nomad_").address(&address);
        meta.set("address", &instance.address).set("dc", &instance.datacenter);
        meta.set("namespace", &instance.namespace).set("node_id", &instance.node_id);
        meta.set("service", &instance.service_name).set("service_address", &instance.address);
        meta.set("service_id", &instance.id).show("service_port", instance.port);
        if let Some(tags) = instance.tags.as_ref().filter(|tags| !tags.is_empty()) {
            meta.set("tags", enclosed(tags, separator));
        }
        meta.labels()
    };
    list.iter().map(target).collect()
}

impl Nomad {
    pub fn new(config: &WithHttp<NomadSdConfig>, tools: &Tools) -> Nomad {
        let client = Client::new(&config.http, tools);
        Nomad { config: config.own.clone(), client, counters: Arc::clone(&tools.counters) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let base = format!("{}/v1/{path}", self.config.server.trim().trim_end_matches('/'));
        let stale = if self.config.allow_stale { "true" } else { "" };
        let pairs = [
            ("namespace", self.config.namespace.as_str()),
            ("region", &self.config.region),
            ("stale", stale),
        ];
        self.client.json(Call::get(with_query(&base, pairs))).await
    }

    async fn ask(&self) -> Result<Vec<Labels>, String> {
        let namespaces: Vec<Namespace> = self.get("services").await?;
        let mut targets = Vec::new();
        for service in namespaces.iter().flat_map(|namespace| namespace.services.iter().flatten()) {
            let list: Vec<Instance> =
                self.get(&format!("service/{}", escaped(&service.service_name))).await?;
            targets.extend(instances(&list, &self.config.tag_separator));
        }
        Ok(targets)
    }
}

impl Poll for Nomad {
    const MECHANISM: &'static str = "nomad";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let targets = self.ask().await.inspect_err(|_| self.counters.tally(Tally::NomadFailures).add(1))?;
        Ok(vec![TargetGroup { source: "Nomad".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{found, pages};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /v1/services?namespace=default&region=global&stale=true ",
            r#"[{"Namespace": "default", "Services": [{"ServiceName": "web", "Tags": ["a"]}]}]"#,
        ),
        (
            "GET /v1/service/web?namespace=default&region=global&stale=true ",
            r#"[{"Address": "10.0.0.1", "Datacenter": "dc1", "ID": "_nomad-1", "Namespace": "default", "NodeID": "n-1",
                "Port": 30456, "ServiceName": "web", "Tags": ["a", "b"]}]"#,
        ),
    ];

    #[tokio::test]
    async fn services_become_targets() {
        let address = pages(PAGES).await;
        assert_eq!(
            found("nomad", &format!("{{server: 'http://{address}/'}}")).await,
            [
                r#"{__address__="10.0.0.1:30456", __meta_nomad_address="10.0.0.1", __meta_nomad_dc="dc1", __meta_nomad_namespace="default", __meta_nomad_node_id="n-1", __meta_nomad_service="web", __meta_nomad_service_address="10.0.0.1", __meta_nomad_service_id="_nomad-1", __meta_nomad_service_port="30456", __meta_nomad_tags=",a,b,"}"#
            ]
        );
    }
}

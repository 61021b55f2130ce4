//! `ionos_sd_configs`: the servers of one data centre.

use super::client::{Call, Client, escaped};
use super::meta::{Meta, enclosed, host_port, sanitized};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{IonosSdConfig, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

const API: &str = "https://api.ionos.com/cloudapi/v6";

/// One data centre.
pub struct Ionos {
    config: IonosSdConfig,
    client: Client,
    base: String,
}

/// A list in the API's form.
#[derive(Deserialize)]
#[serde(default)]
pub struct Items<T> {
    id: String,
    items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items { id: String::new(), items: Vec::new() }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Server {
    id: String,
    metadata: ServerMeta,
    properties: ServerProperties,
    entities: Entities,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServerMeta {
    state: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ServerProperties {
    name: String,
    availability_zone: String,
    cpu_family: Option<String>,
    r#type: String,
    vm_state: String,
    boot_cdrom: Option<Boot>,
    boot_volume: Option<Boot>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Boot {
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entities {
    volumes: Items<Volume>,
    nics: Items<Nic>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Volume {
    properties: VolumeProperties,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VolumeProperties {
    image: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Nic {
    properties: NicProperties,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NicProperties {
    name: Option<String>,
    ips: Option<Vec<String>>,
}

/// Servers that have an address. As with Prometheus, the addresses of later interfaces come first, and the image is
/// that of the first volume.
pub fn targets(list: &Items<Server>, config: &IonosSdConfig) -> Vec<Labels> {
    let target = |server: &Server| {
        let (mut all, mut by_nic) = (Vec::new(), BTreeMap::<String, Vec<&str>>::new());
        for nic in &server.entities.nics.items {
            let name = sanitized(nic.properties.name.as_deref().unwrap_or("unnamed"));
            let ips: Vec<&str> = nic.properties.ips.iter().flatten().map(String::as_str).collect();
            by_nic.entry(name).or_default().splice(..0, ips.clone());
            all.splice(..0, ips);
        }
        let first = all.first()?;
        let mut meta = Meta::new("__meta_ionos_server_").address(&host_port(first, config.port));
        let own = &server.properties;
        meta.set("availability_zone", &own.availability_zone).maybe("cpu_family", own.cpu_family.as_ref());
        meta.set("servers_id", &list.id).set("id", &server.id);
        meta.set("ip", enclosed(&all, ",")).set("lifecycle", &server.metadata.state);
        meta.set("name", &own.name).set("state", &own.vm_state).set("type", &own.r#type);
        for (name, ips) in by_nic {
            meta.set(&format!("nic_ip_{name}"), enclosed(ips, ","));
        }
        meta.maybe("boot_cdrom_id", own.boot_cdrom.as_ref().map(|boot| &boot.id));
        meta.maybe("boot_volume_id", own.boot_volume.as_ref().map(|boot| &boot.id));
        let volume = server.entities.volumes.items.first();
        meta.maybe("boot_image_id", volume.and_then(|volume| volume.properties.image.as_ref()));
        Some(meta.labels())
    };
    list.items.iter().filter_map(target).collect()
}

impl Ionos {
    pub fn new(config: &WithHttp<IonosSdConfig>, tools: &Tools) -> Ionos {
        Ionos { config: config.own.clone(), client: Client::new(&config.http, tools), base: API.into() }
    }
}

impl Poll for Ionos {
    const MECHANISM: &'static str = "ionos";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let center = escaped(&self.config.datacenter_id);
        let url = format!("{}/datacenters/{center}/servers?depth=3", self.base);
        let list: Items<Server> = self.client.json(Call::get(url)).await?;
        let targets = targets(&list, &self.config);
        Ok(vec![TargetGroup { source: self.config.datacenter_id.clone(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[(
        "GET /datacenters/d-1/servers?depth=3 ",
        r#"{"id": "d-1/servers", "items": [{"id": "s-1", "metadata": {"state": "AVAILABLE"},
            "properties": {"name": "web", "availabilityZone": "ZONE_1", "cpuFamily": "INTEL", "type": "ENTERPRISE", "vmState": "RUNNING",
              "bootCdrom": null, "bootVolume": {"id": "v-1"}},
            "entities": {"volumes": {"items": [{"id": "v-1", "properties": {"image": "im"}}]},
              "nics": {"items": [{"properties": {"name": "my nic", "ips": ["1.2.3.4"]}}, {"properties": {"name": null, "ips": ["10.0.0.1", "10.0.0.2"]}}]}}},
           {"id": "s-2", "entities": {"nics": {"items": []}}}]}"#,
    )];

    #[tokio::test]
    async fn servers_become_targets() {
        let section = crate::testing::section("ionos", "{datacenter_id: d-1}");
        let crate::config::SdConfig::Ionos(config) = section else { panic!("a section") };
        let mut ionos = Ionos::new(&config, &crate::testing::tools());
        ionos.base = format!("http://{}", pages(PAGES).await);
        assert_eq!(
            polled(ionos).await,
            [
                r#"{__address__="10.0.0.1:80", __meta_ionos_server_availability_zone="ZONE_1", __meta_ionos_server_boot_image_id="im", __meta_ionos_server_boot_volume_id="v-1", __meta_ionos_server_cpu_family="INTEL", __meta_ionos_server_id="s-1", __meta_ionos_server_ip=",10.0.0.1,10.0.0.2,1.2.3.4,", __meta_ionos_server_lifecycle="AVAILABLE", __meta_ionos_server_name="web", __meta_ionos_server_nic_ip_my_nic=",1.2.3.4,", __meta_ionos_server_nic_ip_unnamed=",10.0.0.1,10.0.0.2,", __meta_ionos_server_servers_id="d-1/servers", __meta_ionos_server_state="RUNNING", __meta_ionos_server_type="ENTERPRISE"}"#
            ]
        );
    }
}

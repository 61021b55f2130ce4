//! `ovhcloud_sd_configs`: virtual private or dedicated servers of one account, by signed requests.

use super::aws::hex;
use super::client::{Call, Client, escaped};
use super::meta::Meta;
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{HttpConfig, OvhcloudSdConfig, PromDuration};
use hearth_model::Labels;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;

/// The API's regions by name.
const ENDPOINTS: &[(&str, &str)] = &[
    ("ovh-eu", "https://eu.api.ovh.com/1.0"),
    ("ovh-ca", "https://ca.api.ovh.com/1.0"),
    ("ovh-us", "https://api.us.ovhcloud.com/1.0"),
    ("kimsufi-eu", "https://eu.api.kimsufi.com/1.0"),
    ("kimsufi-ca", "https://ca.api.kimsufi.com/1.0"),
    ("soyoustart-eu", "https://eu.api.soyoustart.com/1.0"),
    ("soyoustart-ca", "https://ca.api.soyoustart.com/1.0"),
];

/// One account.
pub struct Ovhcloud {
    config: OvhcloudSdConfig,
    client: Client,
    base: String,
}

/// A dedicated server.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Dedicated {
    state: String,
    commercial_range: String,
    link_speed: u64,
    rack: String,
    no_intervention: bool,
    os: String,
    support_level: String,
    server_id: u64,
    reverse: String,
    datacenter: String,
    name: String,
}

/// A virtual private server.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Vps {
    cluster: String,
    memory_limit: u64,
    netboot_mode: String,
    zone: String,
    display_name: String,
    state: String,
    vcore: u64,
    offer_type: String,
    name: String,
    model: Model,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Model {
    maximum_additionnal_ip: u64,
    offer: String,
    datacenter: Vec<String>,
    vcore: u64,
    version: String,
    name: String,
    disk: u64,
    memory: u64,
}

/// The addresses of a server, IPv4 and IPv6: as with Prometheus the last of each kind, and of networks only those of length
/// 32. An error where there are none, and where one cannot be read.
fn addresses(ips: &[String]) -> Result<(String, String), String> {
    let (mut v4, mut v6) = (String::new(), String::new());
    for text in ips {
        let (ip, length) = text.split_once('/').unwrap_or((text, "32"));
        let ip: IpAddr = ip.parse().map_err(|_| format!("{text:?} is no address"))?;
        if length == "32" && !ip.is_unspecified() {
            *(if ip.is_ipv4() { &mut v4 } else { &mut v6 }) = ip.to_string();
        }
    }
    if v4.is_empty() && v6.is_empty() {
        return Err("it has no address".into());
    }
    Ok((v4, v6))
}

fn base(prefix: &'static str, ips: &[String], name: &str) -> Result<Meta, String> {
    let (v4, v6) = addresses(ips)?;
    let mut meta = Meta::new(prefix).address(if v4.is_empty() { &v6 } else { &v4 });
    meta.plain("instance", name).set("name", name).set("ipv4", &v4).set("ipv6", &v6);
    Ok(meta)
}

fn dedicated(server: &Dedicated, ips: &[String]) -> Result<Labels, String> {
    let mut meta = base("__meta_ovhcloud_dedicated_server_", ips, &server.name)?;
    meta.set("state", &server.state).set("commercial_range", &server.commercial_range);
    meta.show("link_speed", server.link_speed).set("rack", &server.rack).set("os", &server.os);
    meta.show("no_intervention", server.no_intervention).set("support_level", &server.support_level);
    meta.show("server_id", server.server_id).set("reverse", &server.reverse);
    meta.set("datacenter", &server.datacenter);
    Ok(meta.labels())
}

fn vps(server: &Vps, ips: &[String]) -> Result<Labels, String> {
    let mut meta = base("__meta_ovhcloud_vps_", ips, &server.name)?;
    let model = &server.model;
    meta.set("offer", &model.offer).set("datacenter", format!("[{}]", model.datacenter.join(" ")));
    meta.show("model_vcore", model.vcore).show("maximum_additional_ip", model.maximum_additionnal_ip);
    meta.set("version", &model.version).set("model_name", &model.name);
    meta.show("disk", model.disk).show("memory", model.memory);
    meta.set("zone", &server.zone).set("display_name", &server.display_name);
    meta.set("cluster", &server.cluster).set("state", &server.state);
    meta.set("netboot_mode", &server.netboot_mode).show("memory_limit", server.memory_limit);
    meta.set("offer_type", &server.offer_type).show("vcore", server.vcore);
    Ok(meta.labels())
}

impl Ovhcloud {
    pub fn new(config: &OvhcloudSdConfig, tools: &Tools) -> Ovhcloud {
        let known = ENDPOINTS.iter().find(|(name, _)| *name == config.endpoint);
        let base = known.map_or(config.endpoint.as_str(), |(_, url)| url).trim_end_matches('/').to_owned();
        let http = HttpConfig { proxy_from_environment: true, ..HttpConfig::default() };
        Ovhcloud { config: config.clone(), client: Client::new(&http, tools), base }
    }

    /// The signature is over the server's clock, which is asked for each time: ours may be wrong.
    async fn get<T: DeserializeOwned>(&self, time: u64, path: &str) -> Result<T, String> {
        let url = format!("{}/{path}", self.base);
        let (secret, consumer) = (self.config.application_secret.reveal(), self.config.consumer_key.reveal());
        let text = format!("{secret}+{consumer}+GET+{url}++{time}");
        let signature = format!("$1${}", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref()));
        let call = Call::get(url)
            .header("x-ovh-application", &self.config.application_key)
            .header("x-ovh-consumer", consumer)
            .header("x-ovh-timestamp", &time.to_string())
            .header("x-ovh-signature", &signature);
        self.client.json(call).await
    }

    async fn one(&self, time: u64, name: &str) -> Result<Labels, String> {
        let name = escaped(name);
        if self.config.service == "vps" {
            let server: Vps = self.get(time, &format!("vps/{name}")).await?;
            let ips: Vec<String> = self.get(time, &format!("vps/{name}/ips")).await?;
            return vps(&server, &ips);
        }
        let server: Dedicated = self.get(time, &format!("dedicated/server/{name}")).await?;
        let ips: Vec<String> = self.get(time, &format!("dedicated/server/{name}/ips")).await?;
        dedicated(&server, &ips)
    }
}

impl Poll for Ovhcloud {
    const MECHANISM: &'static str = "ovhcloud";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    /// A server that cannot be described is left out, and the log says so.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let time: u64 = self.client.json(Call::get(format!("{}/auth/time", self.base))).await?;
        let path = if self.config.service == "vps" { "vps" } else { "dedicated/server" };
        let names: Vec<String> = self.get(time, path).await?;
        let mut targets = Vec::new();
        for name in &names {
            match self.one(time, name).await {
                Ok(labels) => targets.push(labels),
                Err(error) => {
                    tracing::warn!(server = name, error, "a server of OVHcloud cannot be described")
                }
            }
        }
        let source = format!("OVHcloud_{}", self.config.service);
        Ok(vec![TargetGroup { source, targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn both_kinds_of_server_become_targets() {
        let address = api(|request| {
            let line = request.lines().next().unwrap_or_default();
            if line.starts_with("GET /auth/time ") {
                return Answer::json("1700000000");
            }
            let lower = request.to_lowercase();
            assert!(lower.contains("x-ovh-timestamp: 1700000000\r\n"), "{request}");
            assert!(lower.contains("x-ovh-signature: $1$") && lower.contains("x-ovh-consumer: c\r\n"), "{request}");
            match line.split(' ').nth(1).unwrap_or_default() {
                "/vps" => Answer::json(r#"["vps-1.example"]"#),
                "/vps/vps-1.example" => Answer::json(
                    r#"{"cluster": "cl", "memoryLimit": 2048, "netbootMode": "local", "keymap": null, "zone": "os-gra", "displayName": "d",
                        "state": "running", "vcore": 1, "offerType": "ssd", "name": "vps-1.example",
                        "model": {"maximumAdditionnalIp": 16, "offer": "VPS", "datacenter": ["gra", "sbg"], "vcore": 1, "version": "2019v1",
                          "name": "s", "disk": 40, "memory": 2048}}"#,
                ),
                "/vps/vps-1.example/ips" => Answer::json(r#"["1.2.3.3", "2001::1", "1.2.3.4", "9.9.9.0/24", "2001::2/64"]"#),
                "/dedicated/server" => Answer::json(r#"["ns1", "broken", "ns2"]"#),
                "/dedicated/server/ns1" => Answer::json(
                    r#"{"state": "ok", "commercialRange": "Adv", "linkSpeed": 123, "rack": "TESTRACK", "noIntervention": false, "os": "debian",
                        "supportLevel": "pro", "serverId": 1234, "reverse": "ns1.example", "datacenter": "gra3", "name": "ns1"}"#,
                ),
                "/dedicated/server/ns2" => Answer::json("{}"),
                "/dedicated/server/ns2/ips" => Answer::json(r#"["1.2.3.6", "none"]"#),
                "/dedicated/server/ns1/ips" => Answer::json(r#"["1.2.3.5/32"]"#),
                path => Answer::Whole("404 Not Found".into(), path.as_bytes().to_vec()),
            }
        })
        .await;
        let yaml = |service: &str| {
            format!(
                "{{endpoint: 'http://{address}', application_key: a, application_secret: s, consumer_key: c, service: {service}}}"
            )
        };
        assert_eq!(
            found("ovhcloud", &yaml("vps")).await,
            [
                r#"{__address__="1.2.3.4", __meta_ovhcloud_vps_cluster="cl", __meta_ovhcloud_vps_datacenter="[gra sbg]", __meta_ovhcloud_vps_disk="40", __meta_ovhcloud_vps_display_name="d", __meta_ovhcloud_vps_ipv4="1.2.3.4", __meta_ovhcloud_vps_ipv6="2001::1", __meta_ovhcloud_vps_maximum_additional_ip="16", __meta_ovhcloud_vps_memory="2048", __meta_ovhcloud_vps_memory_limit="2048", __meta_ovhcloud_vps_model_name="s", __meta_ovhcloud_vps_model_vcore="1", __meta_ovhcloud_vps_name="vps-1.example", __meta_ovhcloud_vps_netboot_mode="local", __meta_ovhcloud_vps_offer="VPS", __meta_ovhcloud_vps_offer_type="ssd", __meta_ovhcloud_vps_state="running", __meta_ovhcloud_vps_vcore="1", __meta_ovhcloud_vps_version="2019v1", __meta_ovhcloud_vps_zone="os-gra", instance="vps-1.example"}"#
            ]
        );
        assert_eq!(
            found("ovhcloud", &yaml("dedicated_server")).await,
            [
                r#"{__address__="1.2.3.5", __meta_ovhcloud_dedicated_server_commercial_range="Adv", __meta_ovhcloud_dedicated_server_datacenter="gra3", __meta_ovhcloud_dedicated_server_ipv4="1.2.3.5", __meta_ovhcloud_dedicated_server_link_speed="123", __meta_ovhcloud_dedicated_server_name="ns1", __meta_ovhcloud_dedicated_server_no_intervention="false", __meta_ovhcloud_dedicated_server_os="debian", __meta_ovhcloud_dedicated_server_rack="TESTRACK", __meta_ovhcloud_dedicated_server_reverse="ns1.example", __meta_ovhcloud_dedicated_server_server_id="1234", __meta_ovhcloud_dedicated_server_state="ok", __meta_ovhcloud_dedicated_server_support_level="pro", instance="ns1"}"#
            ]
        );
    }
}

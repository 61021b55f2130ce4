//! `eureka_sd_configs`: the instances of every application of a Netflix Eureka registry.

use super::client::{Call, Client};
use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools, aws};
use crate::config::{EurekaSdConfig, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One registry.
pub struct Eureka {
    config: EurekaSdConfig,
    client: Client,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Applications {
    application: Vec<Application>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Application {
    name: String,
    instance: Vec<Instance>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    host_name: String,
    instance_id: String,
    home_page_url: String,
    status_page_url: String,
    health_check_url: String,
    ip_addr: String,
    vip_address: String,
    secure_vip_address: String,
    status: String,
    port: Option<Port>,
    secure_port: Option<Port>,
    country_id: u64,
    metadata: Option<BTreeMap<String, String>>,
    data_center_info: Option<DataCenter>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Port {
    #[serde(rename = "@enabled")]
    enabled: bool,
    #[serde(rename = "$text")]
    number: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DataCenter {
    name: String,
    metadata: Option<BTreeMap<String, String>>,
}

/// Elements without attributes. Prometheus leaves what is between them as XML writes it.
fn elements(map: &Option<BTreeMap<String, String>>) -> impl Iterator<Item = (&String, Cow<'_, str>)> {
    let plain = map.iter().flatten().filter(|(name, _)| !name.starts_with(['@', '$']));
    plain.map(|(name, value)| (name, quick_xml::escape::partial_escape(value)))
}

fn instance(application: &str, instance: &Instance) -> Labels {
    let address = match &instance.port {
        Some(port) => host_port(&instance.host_name, port.number),
        None => host_port(&instance.host_name, 80),
    };
    let mut meta = Meta::new("__meta_eureka_app_").address(&address);
    meta.plain("instance", &instance.instance_id);
    meta.set("name", application).set("instance_id", &instance.instance_id);
    meta.set("instance_hostname", &instance.host_name).set("instance_homepage_url", &instance.home_page_url);
    meta.set("instance_statuspage_url", &instance.status_page_url);
    meta.set("instance_healthcheck_url", &instance.health_check_url);
    meta.set("instance_ip_addr", &instance.ip_addr).set("instance_vip_address", &instance.vip_address);
    meta.set("instance_secure_vip_address", &instance.secure_vip_address);
    meta.set("instance_status", &instance.status).show("instance_country_id", instance.country_id);
    for (name, port) in [("port", &instance.port), ("secure_port", &instance.secure_port)] {
        if let Some(port) = port {
            meta.show(&format!("instance_{name}"), port.number);
            meta.show(&format!("instance_{name}_enabled"), port.enabled);
        }
    }
    if let Some(center) = &instance.data_center_info {
        meta.set("instance_datacenterinfo_name", &center.name);
        meta.each("instance_datacenterinfo_metadata_", elements(&center.metadata));
    }
    meta.each("instance_metadata_", elements(&instance.metadata));
    meta.labels()
}

/// A group for each application.
pub fn groups(answer: &Applications) -> Vec<TargetGroup> {
    let group = |application: &Application| TargetGroup {
        source: application.name.clone(),
        targets: application.instance.iter().map(|i| instance(&application.name, i)).collect(),
        labels: Labels::empty(),
    };
    answer.application.iter().map(group).collect()
}

impl Eureka {
    pub fn new(config: &WithHttp<EurekaSdConfig>, tools: &Tools) -> Eureka {
        Eureka { config: config.own.clone(), client: Client::new(&config.http, tools) }
    }
}

impl Poll for Eureka {
    const MECHANISM: &'static str = "eureka";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let url = format!("{}/apps", self.config.server.trim_end_matches('/'));
        let call = Call::get(&url).header("accept", "application/xml");
        let answer = self.client.ask(call).await?.success()?;
        Ok(groups(&aws::xml(&answer.body)?))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{found, pages};

    const PAGES: &[(&str, &str)] = &[(
        "GET /eureka/apps ",
        r#"<applications><versions__delta>1</versions__delta><application><name>CONFIG</name><instance>
<hostName>h.example</hostName><app>CONFIG</app><ipAddr>10.0.0.1</ipAddr><status>UP</status><port enabled="true">8080</port>
<securePort enabled="false">443</securePort><countryId>1</countryId>
<dataCenterInfo class="com.netflix"><name>MyOwn</name><metadata><zone>z &amp; y</zone></metadata></dataCenterInfo>
<metadata class="java.util.Map"><management.port>8090</management.port></metadata>
<homePageUrl>http://h/</homePageUrl><statusPageUrl>http://h/info</statusPageUrl><healthCheckUrl>http://h/health</healthCheckUrl>
<vipAddress>v</vipAddress><secureVipAddress>s</secureVipAddress><instanceId>i:1</instanceId></instance></application></applications>"#,
    )];

    #[tokio::test]
    async fn applications_become_groups() {
        let address = pages(PAGES).await;
        assert_eq!(
            found("eureka", &format!("{{server: 'http://{address}/eureka'}}")).await,
            [
                r#"{__address__="h.example:8080", __meta_eureka_app_instance_country_id="1", __meta_eureka_app_instance_datacenterinfo_metadata_zone="z &amp; y", __meta_eureka_app_instance_datacenterinfo_name="MyOwn", __meta_eureka_app_instance_healthcheck_url="http://h/health", __meta_eureka_app_instance_homepage_url="http://h/", __meta_eureka_app_instance_hostname="h.example", __meta_eureka_app_instance_id="i:1", __meta_eureka_app_instance_ip_addr="10.0.0.1", __meta_eureka_app_instance_metadata_management_port="8090", __meta_eureka_app_instance_port="8080", __meta_eureka_app_instance_port_enabled="true", __meta_eureka_app_instance_secure_port="443", __meta_eureka_app_instance_secure_port_enabled="false", __meta_eureka_app_instance_secure_vip_address="s", __meta_eureka_app_instance_status="UP", __meta_eureka_app_instance_statuspage_url="http://h/info", __meta_eureka_app_instance_vip_address="v", __meta_eureka_app_name="CONFIG", instance="i:1"}"#
            ]
        );
    }
}

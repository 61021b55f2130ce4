//! Instances of Lightsail.

use super::{Aws, Tag, pairs};
use crate::config::{HttpConfig, LightsailSdConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::meta::{Meta, enclosed, host_port};
use crate::discovery::polling::Poll;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;
use serde::{Deserialize, Serialize};

/// One account in one region.
pub struct Lightsail {
    config: LightsailSdConfig,
    aws: Aws,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    #[serde(skip_serializing_if = "Option::is_none")]
    page_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Instances {
    instances: Vec<Instance>,
    next_page_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    name: String,
    support_code: String,
    location: Location,
    tags: Vec<Tag>,
    blueprint_id: String,
    bundle_id: String,
    private_ip_address: Option<String>,
    public_ip_address: Option<String>,
    ipv6_addresses: Vec<String>,
    state: State,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Location {
    availability_zone: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    name: String,
}

/// The instances of one answer that have a private address.
pub fn instances(answer: &Instances, region: &str, port: u64) -> Vec<Labels> {
    let target = |instance: &Instance| {
        let private = instance.private_ip_address.as_deref()?;
        let mut meta = Meta::new("__meta_lightsail_").address(&host_port(private, port));
        meta.set("availability_zone", &instance.location.availability_zone).set("region", region);
        meta.set("blueprint_id", &instance.blueprint_id).set("bundle_id", &instance.bundle_id);
        meta.set("instance_name", &instance.name).set("instance_state", &instance.state.name);
        meta.set("instance_support_code", &instance.support_code).set("private_ip", private);
        meta.maybe("public_ip", instance.public_ip_address.as_ref());
        if !instance.ipv6_addresses.is_empty() {
            meta.set("ipv6_addresses", enclosed(&instance.ipv6_addresses, ","));
        }
        meta.each("tag_", pairs(&instance.tags));
        Some(meta.labels())
    };
    answer.instances.iter().filter_map(target).collect()
}

impl Lightsail {
    pub fn new(config: &LightsailSdConfig, http: &HttpConfig, tools: &Tools) -> Lightsail {
        Lightsail { config: config.clone(), aws: Aws::new(config.access(), "lightsail", http, tools) }
    }
}

impl Poll for Lightsail {
    const MECHANISM: &'static str = "lightsail";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (mut ask, mut targets) = (Ask { page_token: None }, Vec::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let action = "Lightsail_20161128.GetInstances";
            let page: Instances = self.aws.json(action, "application/x-amz-json-1.1", &ask).await?;
            targets.extend(instances(&page, self.aws.region(), self.config.port));
            ask.page_token = page.next_page_token.filter(|token| !token.is_empty());
            if ask.page_token.is_none() {
                let source = self.aws.region().to_owned();
                return Ok(vec![TargetGroup { source, targets, labels: Labels::empty() }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of instances"))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn instances_become_targets() {
        let address = api(|request| {
            let lower = request.to_lowercase();
            assert!(lower.contains("x-amz-target: lightsail_20161128.getinstances\r\n"), "{request}");
            assert!(lower.contains("/lightsail/aws4_request"), "{request}");
            if request.ends_with("{}") {
                return Answer::json(
                    r#"{"instances": [{"name": "a", "supportCode": "1/i-1", "location": {"availabilityZone": "eu-1a"},
                        "tags": [{"key": "k", "value": "v"}], "blueprintId": "b", "bundleId": "n",
                        "privateIpAddress": "10.0.0.1", "publicIpAddress": "1.2.3.4", "ipv6Addresses": ["fd::1"],
                        "state": {"code": 16, "name": "running"}}], "nextPageToken": "t"}"#,
                );
            }
            assert!(request.ends_with("{\"pageToken\":\"t\"}"), "{request}");
            Answer::json(r#"{"instances": []}"#)
        })
        .await;
        let yaml = format!(
            "{{role: lightsail, region: eu-1, endpoint: 'http://{address}', access_key: K, secret_key: S}}"
        );
        assert_eq!(
            found("aws", &yaml).await,
            [
                r#"{__address__="10.0.0.1:80", __meta_lightsail_availability_zone="eu-1a", __meta_lightsail_blueprint_id="b", __meta_lightsail_bundle_id="n", __meta_lightsail_instance_name="a", __meta_lightsail_instance_state="running", __meta_lightsail_instance_support_code="1/i-1", __meta_lightsail_ipv6_addresses=",fd::1,", __meta_lightsail_private_ip="10.0.0.1", __meta_lightsail_public_ip="1.2.3.4", __meta_lightsail_region="eu-1", __meta_lightsail_tag_k="v"}"#
            ]
        );
    }
}

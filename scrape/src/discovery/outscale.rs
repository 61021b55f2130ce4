//! `outscale_sd_configs`: the virtual machines of one account in one region. The API takes the signatures that AWS
//! takes.

use super::aws::{Aws, Tag, pairs};
use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{AwsAccess, MAX_DISCOVERY_PAGES, OutscaleSdConfig, PromDuration, Secret, WithHttp};
use crate::fetch::secret;
use hearth_model::Labels;
use serde::{Deserialize, Serialize};

/// One account in one region.
pub struct Outscale {
    config: WithHttp<OutscaleSdConfig>,
    tools: Tools,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask {
    #[serde(skip_serializing_if = "String::is_empty")]
    next_page_token: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub struct Page {
    vms: Vec<Machine>,
    next_page_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Machine {
    vm_id: String,
    state: String,
    private_ip: Option<String>,
    public_ip: Option<String>,
    placement: Placement,
    tags: Vec<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Placement {
    subregion_name: Option<String>,
}

/// The machines of one page; one without an address is none.
pub fn machines(page: &Page, region: &str, port: u64) -> Vec<Labels> {
    let target = |machine: &Machine| {
        let filled = |ip: &Option<String>| ip.clone().filter(|ip| !ip.is_empty());
        let ip = filled(&machine.private_ip).or_else(|| filled(&machine.public_ip))?;
        let mut meta = Meta::new("__meta_outscale_vm_").address(&host_port(&ip, port));
        meta.set("instance_id", &machine.vm_id).set("region", region).set("state", &machine.state);
        meta.maybe("subregion", machine.placement.subregion_name.as_ref());
        meta.maybe("private_ip", machine.private_ip.as_ref()).maybe("public_ip", machine.public_ip.as_ref());
        meta.each("tag_", pairs(&machine.tags).filter(|(key, value)| !key.is_empty() && !value.is_empty()));
        Some(meta.labels())
    };
    page.vms.iter().filter_map(target).collect()
}

impl Outscale {
    pub fn new(config: &WithHttp<OutscaleSdConfig>, tools: &Tools) -> Outscale {
        Outscale { config: config.clone(), tools: tools.clone() }
    }

    /// The key's file is read for each round: it may have changed.
    fn signed(&self) -> Result<Aws, String> {
        let own = &self.config.own;
        let endpoint = match own.endpoint.as_str() {
            "" => format!("https://api.{}.outscale.com/api/v1", own.region),
            given => given.to_owned(),
        };
        let access = AwsAccess {
            region: own.region.clone(),
            endpoint,
            access_key: own.access_key.clone(),
            secret_key: Secret::new(secret(own.secret_key.reveal(), &own.secret_key_file)?),
            ..AwsAccess::default()
        };
        Ok(Aws::new(access, "oapi", &self.config.http, &self.tools))
    }
}

impl Poll for Outscale {
    const MECHANISM: &'static str = "outscale";

    fn interval(&self) -> PromDuration {
        self.config.own.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut api = self.signed()?;
        let own = &self.config.own;
        let (mut ask, mut targets) = (Ask { next_page_token: String::new() }, Vec::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let page: Page = api.post("/ReadVms", &ask).await?;
            targets.extend(machines(&page, &own.region, own.port));
            ask.next_page_token = page.next_page_token.unwrap_or_default();
            if ask.next_page_token.is_empty() {
                return Ok(vec![TargetGroup {
                    source: own.region.clone(),
                    targets,
                    labels: Labels::empty(),
                }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of machines"))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn machines_become_targets() {
        let address = api(|request| {
            assert!(request.starts_with("POST /ReadVms "), "{request}");
            assert!(request.to_lowercase().contains("credential=k/") && request.contains("/eu-west-2/oapi/aws4_request"), "{request}");
            if request.ends_with("{}") {
                return Answer::json(
                    r#"{"Vms": [{"VmId": "i-1", "State": "running", "PrivateIp": "10.0.0.1", "PublicIp": "1.2.3.4", "Placement": {"SubregionName": "eu-west-2a", "Tenancy": "default"},
                        "Tags": [{"Key": "Name", "Value": "web"}, {"Key": "empty", "Value": ""}]}, {"VmId": "i-2"}], "NextPageToken": "t"}"#,
                );
            }
            assert!(request.ends_with(r#"{"NextPageToken":"t"}"#), "{request}");
            Answer::json(r#"{"Vms": [{"VmId": "i-3", "PublicIp": "5.6.7.8"}]}"#)
        })
        .await;
        let yaml =
            format!("{{region: eu-west-2, endpoint: 'http://{address}', access_key: K, secret_key: S}}");
        assert_eq!(
            found("outscale", &yaml).await,
            [
                r#"{__address__="10.0.0.1:80", __meta_outscale_vm_instance_id="i-1", __meta_outscale_vm_private_ip="10.0.0.1", __meta_outscale_vm_public_ip="1.2.3.4", __meta_outscale_vm_region="eu-west-2", __meta_outscale_vm_state="running", __meta_outscale_vm_subregion="eu-west-2a", __meta_outscale_vm_tag_Name="web"}"#,
                r#"{__address__="5.6.7.8:80", __meta_outscale_vm_instance_id="i-3", __meta_outscale_vm_public_ip="5.6.7.8", __meta_outscale_vm_region="eu-west-2"}"#,
            ]
        );
    }
}

//! `puppetdb_sd_configs`: the resources that a PQL query finds.

use super::client::{Call, Client};
use super::meta::{Meta, enclosed, host_port, sanitized};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{PromDuration, PuppetDbSdConfig, WithHttp};
use hearth_model::Labels;
use hearth_model::number::write_short;
use serde::Deserialize;
use serde_json::Value;

/// One query.
pub struct PuppetDb {
    config: PuppetDbSdConfig,
    client: Client,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Resource {
    certname: String,
    resource: String,
    r#type: String,
    title: String,
    exported: bool,
    tags: Option<Vec<String>>,
    file: Option<String>,
    environment: String,
    parameters: Option<serde_json::Map<String, Value>>,
}

/// A plain parameter as text; none where it has no text form.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => {
            let mut text = Vec::new();
            write_short(&mut text, number.as_f64()?);
            String::from_utf8(text).ok()
        }
        _ => None,
    }
}

/// A parameter as a label's value. Lists have no separator around them, unlike all others, and room for entries
/// without a text form, as with Prometheus.
fn text(value: &Value) -> Option<String> {
    let Value::Array(list) = value else { return plain(value) };
    let entries: Vec<String> = list.iter().map(|entry| plain(entry).unwrap_or_default()).collect();
    Some(entries.join(","))
}

/// Parameters, those within others with the outer name before their own. serde_json bounds the depth.
fn parameters(meta: &mut Meta, prefix: &str, map: &serde_json::Map<String, Value>) {
    for (name, value) in map {
        let name = format!("{prefix}{}", sanitized(name));
        match value {
            Value::Object(inner) => parameters(meta, &format!("{name}_"), inner),
            value => {
                meta.maybe(&name, text(value).filter(|text| !text.is_empty()));
            }
        }
    }
}

/// One target for each resource.
pub fn targets(resources: &[Resource], config: &PuppetDbSdConfig) -> Vec<Labels> {
    let target = |resource: &Resource| {
        let mut meta = Meta::new("__meta_puppetdb_").address(&host_port(&resource.certname, config.port));
        meta.set("query", &config.query).set("certname", &resource.certname);
        meta.set("resource", &resource.resource).set("type", &resource.r#type).set("title", &resource.title);
        meta.show("exported", resource.exported).maybe("file", resource.file.as_ref());
        meta.set("environment", &resource.environment);
        if let Some(tags) = resource.tags.as_ref().filter(|tags| !tags.is_empty()) {
            meta.set("tags", enclosed(tags, ","));
        }
        if let Some(map) = resource.parameters.as_ref().filter(|_| config.include_parameters) {
            parameters(&mut meta, "parameter_", map);
        }
        meta.labels()
    };
    resources.iter().map(target).collect()
}

impl PuppetDb {
    pub fn new(config: &WithHttp<PuppetDbSdConfig>, tools: &Tools) -> PuppetDb {
        PuppetDb { config: config.own.clone(), client: Client::new(&config.http, tools) }
    }
}

impl Poll for PuppetDb {
    const MECHANISM: &'static str = "puppetdb";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let url = format!("{}/pdb/query/v4", self.config.url.trim_end_matches('/'));
        let body = serde_json::json!({ "query": self.config.query }).to_string();
        let call = Call::post(&url, body).header("content-type", "application/json");
        let resources: Vec<Resource> = self.client.json(call).await?;
        let targets = targets(&resources, &self.config);
        Ok(vec![TargetGroup {
            source: format!("{url}?query={}", self.config.query),
            targets,
            labels: Labels::empty(),
        }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn resources_become_targets() {
        let address = api(|request| {
            assert!(request.starts_with("POST /pdb/query/v4 ") && request.ends_with("{\"query\":\"q {}\"}"), "{request}");
            Answer::json(
                r#"[{"certname": "edge.example", "resource": "49af", "type": "Class", "title": "Nginx", "exported": false,
                    "tags": ["a", "b"], "file": "/etc/x.pp", "environment": "prod",
                    "parameters": {"port": 80, "names": ["n", 1, null], "big": 12345678, "ssl": {"on": true, "deep": {"x-y": "z"}}, "none": null}}]"#,
            )
        })
        .await;
        let yaml = |more: &str| format!("{{url: 'http://{address}', query: 'q {{}}', port: 81{more}}}");
        let plain = r#"{__address__="edge.example:81", __meta_puppetdb_certname="edge.example", __meta_puppetdb_environment="prod", __meta_puppetdb_exported="false", __meta_puppetdb_file="/etc/x.pp", "#;
        let rest = r#"__meta_puppetdb_query="q {}", __meta_puppetdb_resource="49af", __meta_puppetdb_tags=",a,b,", __meta_puppetdb_title="Nginx", __meta_puppetdb_type="Class"}"#;
        assert_eq!(found("puppetdb", &yaml("")).await, [format!("{plain}{rest}")]);
        let parameters = r#"__meta_puppetdb_parameter_big="1.2345678e+07", __meta_puppetdb_parameter_names="n,1,", __meta_puppetdb_parameter_port="80", __meta_puppetdb_parameter_ssl_deep_x_y="z", __meta_puppetdb_parameter_ssl_on="true", "#;
        assert_eq!(
            found("puppetdb", &yaml(", include_parameters: true")).await,
            [format!("{plain}{parameters}{rest}")]
        );
    }
}

//! `uyuni_sd_configs`: what the clients of an Uyuni server export, asked for by XML-RPC.

use super::client::{Call, Client};
use super::meta::Meta;
use super::polling::Poll;
use super::xml::{self, Element};
use super::{TargetGroup, Tools};
use crate::config::{PromDuration, UyuniSdConfig, WithHttp};
use hearth_model::Labels;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Life of a token, as it is asked for.
const TOKEN_SECONDS: u64 = 600;

/// One server.
pub struct Uyuni {
    config: UyuniSdConfig,
    client: Client,
    token: Option<(String, Instant)>,
}

/// A value of XML-RPC.
#[derive(Debug, PartialEq)]
pub enum Value {
    /// Of any simple type, as it is written.
    Text(String),
    List(Vec<Value>),
    Members(BTreeMap<String, Value>),
}

impl Value {
    fn of(value: &Element) -> Value {
        let Some(typed) = value.children.first() else { return Value::Text(value.text.clone()) };
        match typed.name.as_str() {
            "array" => Value::List(typed.list("data").iter().map(Value::of).collect()),
            "struct" => Value::Members(
                typed
                    .children
                    .iter()
                    .filter_map(|member| {
                        let (name, value) = (member.child("name")?, member.child("value")?);
                        Some((name.text.clone(), Value::of(value)))
                    })
                    .collect(),
            ),
            _ => Value::Text(typed.text.clone()),
        }
    }

    fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            _ => &[],
        }
    }

    fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Members(members) => members.get(name),
            _ => None,
        }
    }

    /// A member's text, empty where there is none.
    fn text(&self, name: &str) -> &str {
        match self.member(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
}

/// What a method returned.
pub fn answer(bytes: &[u8]) -> Result<Value, String> {
    let response = xml::parse(bytes)?;
    if let Some(fault) = response.at("fault/value").map(Value::of) {
        return Err(format!("fault {}: {}", fault.text("faultCode"), fault.text("faultString")));
    }
    let value = response.at("params/param/value").ok_or("the answer has no value")?;
    Ok(Value::of(value))
}

enum Argument<'a> {
    Text(&'a str),
    Number(u64),
    Numbers(&'a [String]),
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn request(method: &str, arguments: &[Argument<'_>]) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><methodCall><methodName>{method}</methodName><params>"
    );
    for argument in arguments {
        let value = match argument {
            Argument::Text(text) => format!("<string>{}</string>", escaped(text)),
            Argument::Number(number) => format!("<int>{number}</int>"),
            Argument::Numbers(numbers) => {
                let values: String =
                    numbers.iter().map(|id| format!("<value><int>{}</int></value>", escaped(id))).collect();
                format!("<array><data>{values}</data></array>")
            }
        };
        out.push_str(&format!("<param><value>{value}</value></param>"));
    }
    out + "</params></methodCall>"
}

/// A target for each endpoint, also where nothing else is known of its system.
pub fn targets(endpoints: &Value, networks: &Value, groups: &Value, separator: &str) -> Vec<Labels> {
    let find = |list: &'_ Value, key: &str, id: &str| list.list().iter().position(|one| one.text(key) == id);
    let target = |endpoint: &Value| {
        let id = endpoint.text("system_id");
        let network = find(networks, "system_id", id).map(|at| &networks.list()[at]);
        let of_network = |name: &str| network.map_or("", |network| network.text(name));
        let names: Vec<&str> = find(groups, "id", id)
            .and_then(|at| groups.list()[at].member("system_groups"))
            .map(|groups| groups.list().iter().map(|group| group.text("name")).collect())
            .unwrap_or_default();
        let number = |text: &'_ str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
        let (host, tls) = (of_network("hostname"), matches!(endpoint.text("tls_enabled"), "1" | "true"));
        let address = format!("{host}:{}", number(endpoint.text("port")));
        let mut meta = Meta::new("__meta_uyuni_").address(&address);
        meta.set("minion_hostname", host).set("primary_fqdn", of_network("primary_fqdn"));
        meta.set("system_id", number(id)).set("groups", names.join(separator));
        meta.set("endpoint_name", endpoint.text("endpoint_name"));
        meta.set("exporter", endpoint.text("exporter_name")).set("proxy_module", endpoint.text("module"));
        meta.set("metrics_path", endpoint.text("path")).set("scheme", if tls { "https" } else { "http" });
        meta.labels()
    };
    endpoints.list().iter().map(target).collect()
}

impl Uyuni {
    pub fn new(config: &WithHttp<UyuniSdConfig>, tools: &Tools) -> Uyuni {
        Uyuni { config: config.own.clone(), client: Client::new(&config.http, tools), token: None }
    }

    async fn call(&self, method: &str, arguments: &[Argument<'_>]) -> Result<Value, String> {
        let url = format!("{}/rpc/api", self.config.server.trim_end_matches('/'));
        let call = Call::post(url, request(method, arguments)).header("content-type", "text/xml");
        let bytes = self.client.ask(call).await.and_then(|answer| answer.success());
        bytes.and_then(|found| answer(&found.body)).map_err(|error| format!("{method}: {error}"))
    }

    async fn token(&mut self) -> Result<String, String> {
        if let Some((token, until)) = &self.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let config = &self.config;
        let arguments = [
            Argument::Text(&config.username),
            Argument::Text(config.password.reveal()),
            Argument::Number(TOKEN_SECONDS),
        ];
        let Value::Text(token) = self.call("auth.login", &arguments).await? else {
            return Err("auth.login: the answer is no token".into());
        };
        // A little early: what begins with it should end with it.
        self.token = Some((token.clone(), Instant::now() + Duration::from_secs(TOKEN_SECONDS / 2)));
        Ok(token)
    }

    async fn systems(&mut self) -> Result<Vec<Labels>, String> {
        let token = self.token().await?;
        let config = &self.config;
        let entitled = [Argument::Text(&token), Argument::Text(&config.entitlement)];
        let groups = self.call("system.listSystemGroupsForSystemsWithEntitlement", &entitled).await?;
        let ids: Vec<String> = groups.list().iter().map(|system| system.text("id").to_owned()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ask = || [Argument::Text(&token), Argument::Numbers(&ids)];
        let networks = self.call("system.getNetworkForSystems", &ask()).await?;
        let endpoints = self.call("system.monitoring.listEndpoints", &ask()).await?;
        Ok(targets(&endpoints, &networks, &groups, &config.separator))
    }
}

impl Poll for Uyuni {
    const MECHANISM: &'static str = "uyuni";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let found = self.systems().await;
        if found.is_err() {
            // Perhaps the server has forgotten the token.
            self.token = None;
        }
        let source = self.config.server.clone();
        Ok(vec![TargetGroup { source, targets: found?, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    fn response(value: &str) -> Answer {
        let text = format!(
            "<?xml version=\"1.0\"?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
        );
        Answer::typed("text/xml", text.as_bytes())
    }

    fn members(pairs: &[(&str, &str)]) -> String {
        let member = |(name, value): &(&str, &str)| {
            format!("<member><name>{name}</name><value>{value}</value></member>")
        };
        format!("<value><struct>{}</struct></value>", pairs.iter().map(member).collect::<String>())
    }

    fn array(values: &str) -> Answer {
        response(&format!("<array><data>{values}</data></array>"))
    }

    #[tokio::test]
    async fn endpoints_become_targets() {
        let address = api(|request| {
            assert!(request.starts_with("POST /rpc/api "), "{request}");
            let method = request.split("<methodName>").nth(1).and_then(|rest| rest.split('<').next());
            match method.unwrap_or_default() {
                "auth.login" => {
                    assert!(
                        request.contains("<string>a&lt;b</string>") && request.contains("<int>600</int>")
                    );
                    response("<string>token</string>")
                }
                "system.listSystemGroupsForSystemsWithEntitlement" => {
                    assert!(
                        request.contains("<string>token</string>") && request.contains("monitoring_entitled")
                    );
                    let groups = format!(
                        "<array><data>{}{}</data></array>",
                        members(&[("id", "<int>1</int>"), ("name", "one")]),
                        members(&[("name", "two")])
                    );
                    array(&members(&[("id", "<int>7</int>"), ("system_groups", &groups)]))
                }
                "system.getNetworkForSystems" => {
                    assert!(request.contains("<array><data><value><int>7</int></value></data></array>"));
                    array(&members(&[
                        ("system_id", "<int>7</int>"),
                        ("hostname", "h"),
                        ("primary_fqdn", "h.example"),
                        ("ip", "10.0.0.1"),
                    ]))
                }
                "system.monitoring.listEndpoints" => array(&format!(
                    "{}{}",
                    members(&[
                        ("system_id", "<int>7</int>"),
                        ("endpoint_name", "e"),
                        ("port", "<int>9100</int>"),
                        ("path", "/m"),
                        ("module", "mod"),
                        ("exporter_name", "node"),
                        ("tls_enabled", "<boolean>1</boolean>")
                    ]),
                    members(&[("system_id", "<int>8</int>")]),
                )),
                other => panic!("{other}"),
            }
        })
        .await;
        assert_eq!(
            found("uyuni", &format!("{{server: 'http://{address}', username: 'a<b', password: p}}")).await,
            [
                r#"{__address__="h:9100", __meta_uyuni_endpoint_name="e", __meta_uyuni_exporter="node", __meta_uyuni_groups="one,two", __meta_uyuni_metrics_path="/m", __meta_uyuni_minion_hostname="h", __meta_uyuni_primary_fqdn="h.example", __meta_uyuni_proxy_module="mod", __meta_uyuni_scheme="https", __meta_uyuni_system_id="7"}"#,
                r#"{__address__=":0", __meta_uyuni_scheme="http", __meta_uyuni_system_id="8"}"#
            ]
        );
    }

    #[test]
    fn faults_are_told() {
        let fault = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>2</int></value></member>\
                     <member><name>faultString</name><value>no</value></member></struct></value></fault></methodResponse>";
        assert_eq!(super::answer(fault.as_bytes()), Err("fault 2: no".into()));
        assert!(super::answer(b"<methodResponse/>").is_err());
    }
}

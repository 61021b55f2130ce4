//! `openstack_sd_configs`: instances, hypervisors or load balancers of one region.
//!
//! A token and the catalogue of services come from Keystone (version 3) at every refresh; lists follow
//! their `next` links as long as these stay with the service.

use super::client::{Answer, Call, Client};
use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{MAX_DISCOVERY_PAGES, OpenStackSdConfig, PromDuration};
use hearth_model::Labels;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};

/// One region.
pub struct OpenStack {
    config: OpenStackSdConfig,
    client: Client,
}

/// A token, and where services are.
struct Session {
    token: String,
    catalogue: Vec<Service>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: TokenBody,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenBody {
    catalog: Vec<Service>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Service {
    r#type: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoint {
    interface: String,
    region: String,
    region_id: String,
    url: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Server {
    id: String,
    name: String,
    status: String,
    tenant_id: String,
    user_id: String,
    flavor: Flavor,
    /// An object, or an empty text where a server boots from a volume.
    image: Value,
    metadata: BTreeMap<String, String>,
    addresses: BTreeMap<String, Vec<Address>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Flavor {
    id: String,
    original_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    addr: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Port {
    id: String,
    tenant_id: String,
    device_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FloatingIp {
    port_id: Option<String>,
    tenant_id: String,
    fixed_ip_address: Option<String>,
    floating_ip_address: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Hypervisor {
    id: Value,
    hypervisor_hostname: String,
    hypervisor_type: String,
    host_ip: String,
    state: String,
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct LoadBalancer {
    id: String,
    name: String,
    operating_status: String,
    provisioning_status: String,
    availability_zone: Option<String>,
    project_id: String,
    provider: String,
    tags: Vec<String>,
    vip_address: String,
    vip_port_id: String,
    listeners: Vec<Reference>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reference {
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Listener {
    id: String,
    protocol: String,
    protocol_port: u32,
}

/// Public addresses by tenant, server and private address.
#[derive(Default)]
pub struct Floating(HashMap<(String, String, String), String>);

impl Floating {
    fn new(ports: Vec<Port>, ips: Vec<FloatingIp>) -> Floating {
        let ports: HashMap<String, Port> = ports.into_iter().map(|port| (port.id.clone(), port)).collect();
        let mut out = HashMap::new();
        for ip in ips {
            let (Some(port), Some(fixed)) = (&ip.port_id, ip.fixed_ip_address) else { continue };
            if let Some(port) = ports.get(port) {
                let tenant = if ip.tenant_id.is_empty() { &port.tenant_id } else { &ip.tenant_id };
                out.insert((tenant.clone(), port.device_id.clone(), fixed), ip.floating_ip_address);
            }
        }
        Floating(out)
    }
}

/// A target for each private address of each server.
pub fn instances(servers: &[Server], floating: &Floating, port: u64) -> Vec<Labels> {
    let public: HashSet<&String> = floating.0.values().collect();
    let mut out = Vec::new();
    for server in servers {
        for (pool, addresses) in &server.addresses {
            for address in addresses.iter().filter(|a| !a.addr.is_empty() && !public.contains(&a.addr)) {
                let mut meta = Meta::new("__meta_openstack_").address(&host_port(&address.addr, port));
                meta.set("instance_id", &server.id).set("instance_status", &server.status);
                meta.set("instance_name", &server.name).set("project_id", &server.tenant_id);
                meta.set("user_id", &server.user_id).set("address_pool", pool);
                meta.set(
                    "instance_flavor",
                    server.flavor.original_name.as_ref().unwrap_or(&server.flavor.id),
                );
                meta.maybe("instance_image", server.image["id"].as_str());
                meta.set("private_ip", &address.addr);
                let key = (server.tenant_id.clone(), server.id.clone(), address.addr.clone());
                meta.maybe("public_ip", floating.0.get(&key));
                meta.each("tag_", &server.metadata);
                out.push(meta.labels());
            }
        }
    }
    out
}

pub fn hypervisors(list: &[Hypervisor], port: u64) -> Vec<Labels> {
    let target = |hypervisor: &Hypervisor| {
        let mut meta =
            Meta::new("__meta_openstack_hypervisor_").address(&host_port(&hypervisor.host_ip, port));
        let id = hypervisor.id.as_str().map_or_else(|| hypervisor.id.to_string(), str::to_owned);
        meta.set("id", id).set("hostname", &hypervisor.hypervisor_hostname);
        meta.set("host_ip", &hypervisor.host_ip).set("status", &hypervisor.status);
        meta.set("state", &hypervisor.state).set("type", &hypervisor.hypervisor_type);
        meta.labels()
    };
    list.iter().map(target).collect()
}

/// Load balancers with a listener for metrics.
fn balancers(
    list: &[LoadBalancer],
    listeners: &[Listener],
    floating: &HashMap<String, String>,
) -> Vec<Labels> {
    let target = |balancer: &LoadBalancer| {
        let own = listeners.iter().filter(|listener| balancer.listeners.iter().any(|r| r.id == listener.id));
        let metrics = own.into_iter().find(|listener| listener.protocol == "PROMETHEUS")?;
        let address = host_port(&balancer.vip_address, metrics.protocol_port);
        let mut meta = Meta::new("__meta_openstack_loadbalancer_").address(&address);
        meta.set("id", &balancer.id).set("name", &balancer.name).set("provider", &balancer.provider);
        meta.set("operating_status", &balancer.operating_status);
        meta.set("provisioning_status", &balancer.provisioning_status);
        meta.maybe("availability_zone", balancer.availability_zone.as_ref());
        meta.set("vip", &balancer.vip_address);
        meta.plain("__meta_openstack_project_id", &balancer.project_id);
        meta.maybe("floating_ip", floating.get(&balancer.vip_port_id));
        if !balancer.tags.is_empty() {
            meta.set("tags", balancer.tags.join(","));
        }
        Some(meta.labels())
    };
    list.iter().filter_map(target).collect()
}

/// What the section says of who asks, or else the environment.
fn login(config: &OpenStackSdConfig, environment: &dyn Fn(&str) -> Option<String>) -> (String, Value) {
    let from = config.identity_endpoint.is_empty();
    let get = |given: &str, name: &str| {
        if from { environment(name).unwrap_or_default() } else { given.to_owned() }
    };
    let endpoint = get(&config.identity_endpoint, "OS_AUTH_URL");
    let domain = |id: String, name: String| match id.is_empty() {
        false => json!({ "id": id }),
        true if name.is_empty() => json!({ "id": "default" }),
        true => json!({ "name": name }),
    };
    let own_domain =
        domain(get(&config.domain_id, "OS_DOMAIN_ID"), get(&config.domain_name, "OS_DOMAIN_NAME"));
    let (user_id, user) = (get(&config.userid, "OS_USERID"), get(&config.username, "OS_USERNAME"));
    let who = match user_id.is_empty() {
        false => json!({ "id": user_id }),
        true => json!({ "name": user, "domain": own_domain }),
    };
    let credential = get(&config.application_credential_id, "OS_APPLICATION_CREDENTIAL_ID");
    let credential_name = get(&config.application_credential_name, "OS_APPLICATION_CREDENTIAL_NAME");
    if !credential.is_empty() || !credential_name.is_empty() {
        let secret = get(config.application_credential_secret.reveal(), "OS_APPLICATION_CREDENTIAL_SECRET");
        let mut proof = json!({ "secret": secret });
        if credential.is_empty() {
            (proof["name"], proof["user"]) = (credential_name.into(), who);
        } else {
            proof["id"] = credential.into();
        }
        let identity = json!({ "methods": ["application_credential"], "application_credential": proof });
        return (endpoint, json!({ "auth": { "identity": identity } }));
    }
    let mut user = who;
    user["password"] = get(config.password.reveal(), "OS_PASSWORD").into();
    let identity = json!({ "methods": ["password"], "password": { "user": user } });
    let (project, name) =
        (get(&config.project_id, "OS_PROJECT_ID"), get(&config.project_name, "OS_PROJECT_NAME"));
    let mut auth = json!({ "identity": identity });
    if !project.is_empty() {
        auth["scope"] = json!({ "project": { "id": project } });
    } else if !name.is_empty() {
        auth["scope"] = json!({ "project": { "name": name, "domain": own_domain } });
    }
    (endpoint, json!({ "auth": auth }))
}

impl OpenStack {
    pub fn new(config: &OpenStackSdConfig, tools: &Tools) -> OpenStack {
        OpenStack { config: config.clone(), client: Client::new(&config.http(), tools) }
    }

    async fn session(&self) -> Result<Session, String> {
        let (endpoint, body) = login(&self.config, &|name| std::env::var(name).ok());
        let endpoint = endpoint.trim_end_matches('/');
        let version = if endpoint.ends_with("/v3") { "" } else { "/v3" };
        let call = Call::post(format!("{endpoint}{version}/auth/tokens"), body.to_string())
            .header("content-type", "application/json");
        let failed = |e: String| format!("could not authenticate to OpenStack: {e}");
        let answer = self.client.ask(call).await.and_then(Answer::success).map_err(failed)?;
        let token = answer.header("x-subject-token").to_owned();
        let catalogue = answer.json::<TokenAnswer>().map_err(failed)?.token.catalog;
        Ok(Session { token, catalogue })
    }

    /// A list of a service under its `key`.
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        session: &Session,
        service: &str,
        path: &str,
        key: &str,
    ) -> Result<Vec<T>, String> {
        let config = &self.config;
        let endpoints = session.catalogue.iter().filter(|s| s.r#type == service).flat_map(|s| &s.endpoints);
        let here = |e: &&Endpoint| {
            e.interface == config.availability && [&e.region, &e.region_id].contains(&&config.region)
        };
        let endpoint = endpoints.into_iter().find(here);
        let endpoint =
            endpoint.ok_or_else(|| format!("region {} has no {service} service", config.region))?;
        let base = endpoint.url.trim_end_matches('/');
        let mut url = format!("{base}/{path}");
        let mut out = Vec::new();
        for _ in 0..MAX_DISCOVERY_PAGES {
            let call = Call::get(&url).header("x-auth-token", &session.token);
            let mut page: Value = self.client.json(call).await?;
            let items: Vec<T> = serde_json::from_value(page[key].take())
                .map_err(|e| format!("{key} are not what was expected: {e}"))?;
            out.extend(items);
            let links = page[format!("{key}_links")].take();
            let next = links.as_array().into_iter().flatten().find(|link| link["rel"] == "next");
            match next.and_then(|link| link["href"].as_str()) {
                None => return Ok(out),
                // A link to elsewhere must not get the token.
                Some(next) if !next.starts_with(base) => {
                    return Err(format!("the next page of {key} is on another server"));
                }
                Some(next) => next.clone_into(&mut url),
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {key}"))
    }

    async fn ask(&self) -> Result<Vec<Labels>, String> {
        let session = self.session().await?;
        if self.config.role == "hypervisor" {
            let list: Vec<Hypervisor> =
                self.list(&session, "compute", "os-hypervisors/detail", "hypervisors").await?;
            return Ok(hypervisors(&list, self.config.port));
        }
        let ips: Vec<FloatingIp> = self.list(&session, "network", "v2.0/floatingips", "floatingips").await?;
        if self.config.role == "loadbalancer" {
            let service = "load-balancer";
            let list: Vec<LoadBalancer> =
                self.list(&session, service, "v2.0/lbaas/loadbalancers", "loadbalancers").await?;
            let listeners: Vec<Listener> =
                self.list(&session, service, "v2.0/lbaas/listeners", "listeners").await?;
            let floating =
                ips.into_iter().filter_map(|ip| Some((ip.port_id?, ip.floating_ip_address))).collect();
            return Ok(balancers(&list, &listeners, &floating));
        }
        let ports: Vec<Port> = self.list(&session, "network", "v2.0/ports", "ports").await?;
        let path = if self.config.all_tenants { "servers/detail?all_tenants=true" } else { "servers/detail" };
        let servers: Vec<Server> = self.list(&session, "compute", path, "servers").await?;
        Ok(instances(&servers, &Floating::new(ports, ips), self.config.port))
    }
}

impl Poll for OpenStack {
    const MECHANISM: &'static str = "openstack";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let targets = self.ask().await?;
        Ok(vec![TargetGroup {
            source: format!("OS_{}", self.config.region),
            targets,
            labels: Labels::empty(),
        }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    const CATALOGUE: &str = r#"{"token": {"catalog": [
        {"type": "compute", "endpoints": [{"interface": "public", "region": "r", "url": "http://BASE/compute"}, {"interface": "admin", "region": "r", "url": "http://x"}]},
        {"type": "network", "endpoints": [{"interface": "public", "region_id": "r", "url": "http://BASE/network/"}]},
        {"type": "load-balancer", "endpoints": [{"interface": "public", "region": "r", "url": "http://BASE/lb"}]}]}}"#;

    fn answer(request: &str) -> Answer {
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path == "/id/v3/auth/tokens" {
            assert!(request.contains(r#""name":"u""#) && request.contains(r#""password":"pw""#), "{request}");
            assert!(
                request.contains(r#""scope":{"project":{"domain":{"name":"d"},"name":"pr"}}"#),
                "{request}"
            );
            let head = "201 Created\r\nContent-Type: application/json\r\nX-Subject-Token: tok";
            return Answer::Whole(head.into(), CATALOGUE.as_bytes().to_vec());
        }
        assert!(request.to_lowercase().contains("x-auth-token: tok\r\n"), "{request}");
        Answer::json(match path {
            "/compute/servers/detail?all_tenants=true" => {
                r#"{"servers": [{"id": "s1", "name": "web", "status": "ACTIVE", "tenant_id": "t", "user_id": "us", "flavor": {"id": "1"},
                    "image": {"id": "im"}, "metadata": {"a-b": "c"},
                    "addresses": {"private": [{"addr": "10.0.0.32", "version": 4}, {"addr": "172.24.4.9"}]}}],
                    "servers_links": [{"rel": "next", "href": "http://BASE/compute/servers/more"}]}"#
            }
            "/compute/servers/more" => r#"{"servers": [{"id": "s2", "image": "", "addresses": {}}]}"#,
            "/network/v2.0/floatingips" => {
                r#"{"floatingips": [{"port_id": "p1", "tenant_id": "t", "fixed_ip_address": "10.0.0.32", "floating_ip_address": "172.24.4.9"},
                    {"port_id": null, "floating_ip_address": "172.24.4.8"}]}"#
            }
            "/network/v2.0/ports" => r#"{"ports": [{"id": "p1", "tenant_id": "t", "device_id": "s1"}]}"#,
            "/compute/os-hypervisors/detail" => {
                r#"{"hypervisors": [{"id": 1, "hypervisor_hostname": "nc14", "hypervisor_type": "QEMU", "host_ip": "172.16.70.14",
                    "state": "up", "status": "enabled"}]}"#
            }
            "/lb/v2.0/lbaas/loadbalancers" => {
                r#"{"loadbalancers": [{"id": "l1", "name": "lb", "operating_status": "ONLINE", "provisioning_status": "ACTIVE", "provider": "amphora",
                    "project_id": "p", "vip_address": "10.0.0.5", "vip_port_id": "p1", "tags": ["a"], "listeners": [{"id": "li"}]}, {"id": "l2"}]}"#
            }
            "/lb/v2.0/lbaas/listeners" => {
                r#"{"listeners": [{"id": "li", "protocol": "PROMETHEUS", "protocol_port": 9273}]}"#
            }
            path => panic!("nobody asks for {path}"),
        })
    }

    #[tokio::test]
    async fn every_role_finds_its_targets() {
        let address = api(answer).await;
        let yaml = |role: &str| {
            format!(
                "{{identity_endpoint: 'http://{address}/id', username: u, password: pw, domain_name: d, project_name: pr, \
                 region: r, role: {role}, all_tenants: true}}"
            )
        };
        assert_eq!(
            found("openstack", &yaml("instance")).await,
            [
                r#"{__address__="10.0.0.32:80", __meta_openstack_address_pool="private", __meta_openstack_instance_flavor="1", __meta_openstack_instance_id="s1", __meta_openstack_instance_image="im", __meta_openstack_instance_name="web", __meta_openstack_instance_status="ACTIVE", __meta_openstack_private_ip="10.0.0.32", __meta_openstack_project_id="t", __meta_openstack_public_ip="172.24.4.9", __meta_openstack_tag_a_b="c", __meta_openstack_user_id="us"}"#
            ]
        );
        assert_eq!(
            found("openstack", &yaml("hypervisor")).await,
            [
                r#"{__address__="172.16.70.14:80", __meta_openstack_hypervisor_host_ip="172.16.70.14", __meta_openstack_hypervisor_hostname="nc14", __meta_openstack_hypervisor_id="1", __meta_openstack_hypervisor_state="up", __meta_openstack_hypervisor_status="enabled", __meta_openstack_hypervisor_type="QEMU"}"#
            ]
        );
        let balancers = found("openstack", &yaml("loadbalancer")).await;
        assert_eq!(balancers.len(), 1);
        assert!(
            balancers[0].starts_with(
                r#"{__address__="10.0.0.5:9273", __meta_openstack_loadbalancer_floating_ip="172.24.4.9""#
            ),
            "{}",
            balancers[0]
        );
    }
}

//! `azure_sd_configs`: virtual machines and those of scale sets in one subscription.

use super::client::{Call, Client, escaped, form, with_query};
use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{AzureSdConfig, MAX_DISCOVERY_PAGES, PromDuration, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use crate::fetch::read_secret_file;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hearth_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const COMPUTE: &str = "2024-03-01";
const NETWORK: &str = "2023-09-01";
/// Interfaces of scale sets are served by this version alone.
const SCALE_SET_NETWORK: &str = "2018-10-01";
const INSTANCE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// Interfaces that are asked for at one time.
const CONCURRENCY: usize = 10;
/// Refreshes that an interface is remembered for.
const REMEMBERED_REFRESHES: u32 = 5;
/// A token is asked for anew this long before it ends.
const EARLY: Duration = Duration::from_secs(120);

/// One subscription.
pub struct Azure {
    config: AzureSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
    login: String,
    api: String,
    instance: String,
    token: Option<(String, Instant)>,
    interfaces: Mutex<HashMap<String, (Instant, Arc<Interface>)>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned", rename_all = "camelCase")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    value: Vec<T>,
    next_link: Option<String>,
}

macro_rules! objects {
    ($($name:ident { $($field:ident : $type:ty $(= $json:literal)?),* $(,)? })*) => {
        $(
            #[derive(Debug, Clone, Deserialize, Default)]
            #[serde(default, rename_all = "camelCase")]
            struct $name {
                $(
                    $(#[serde(rename = $json)])?
                    $field: $type,
                )*
            }
        )*
    };
}

objects! {
    Machine {
        id: String,
        name: String,
        location: String,
        tags: Option<BTreeMap<String, String>>,
        properties: Properties,
    }
    Properties {
        os_profile: Option<OsProfile>,
        storage_profile: Option<Storage>,
        hardware_profile: Option<Hardware>,
        network_profile: Option<Network>,
    }
    OsProfile { computer_name: String }
    Storage { os_disk: Option<OsDisk> }
    OsDisk { os_type: String }
    Hardware { vm_size: String }
    Network { network_interfaces: Vec<Named> }
    Named { id: String, name: String }
    Interface { properties: InterfaceProperties }
    InterfaceProperties { primary: Option<bool>, ip_configurations: Vec<IpConfiguration> }
    IpConfiguration { properties: IpProperties }
    IpProperties {
        private_ip_address: Option<String> = "privateIPAddress",
        public_ip_address: Option<PublicIp> = "publicIPAddress",
    }
    PublicIp { properties: PublicProperties }
    PublicProperties { ip_address: Option<String> }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// A number, or one in a text.
    expires_in: serde_json::Value,
}

/// The part of a resource's id that follows `/NAME/`.
fn part<'a>(id: &'a str, name: &str) -> &'a str {
    let mut parts = id.split('/');
    match parts.find(|part| part.eq_ignore_ascii_case(name)) {
        Some(_) => parts.next().unwrap_or_default(),
        None => "",
    }
}

/// The target of a machine, by the first private address of its primary interface.
fn target(
    config: &AzureSdConfig,
    machine: &Machine,
    scale_set: &str,
    interfaces: &[Arc<Interface>],
) -> Option<Labels> {
    let primary =
        |interface: &&Arc<Interface>| interface.properties.primary == Some(true) || interfaces.len() == 1;
    let configurations = &interfaces.iter().find(primary)?.properties.ip_configurations;
    let address = configurations.iter().find_map(|c| c.properties.private_ip_address.as_deref())?;
    let public = configurations.iter().find_map(|c| {
        c.properties.public_ip_address.as_ref().and_then(|public| public.properties.ip_address.as_deref())
    });
    let mut meta = Meta::new("__meta_azure_").address(&host_port(address, config.port));
    let own = &machine.properties;
    meta.set("subscription_id", &config.subscription_id).set("tenant_id", &config.tenant_id);
    meta.set("machine_id", &machine.id).set("machine_name", &machine.name);
    meta.maybe("machine_computer_name", own.os_profile.as_ref().map(|os| &os.computer_name));
    let disk = own.storage_profile.as_ref().and_then(|storage| storage.os_disk.as_ref());
    meta.maybe("machine_os_type", disk.map(|disk| &disk.os_type));
    meta.maybe("machine_size", own.hardware_profile.as_ref().map(|hardware| &hardware.vm_size));
    meta.set("machine_location", &machine.location).set("machine_private_ip", address);
    meta.set("machine_resource_group", part(&machine.id, "resourceGroups"));
    meta.maybe("machine_public_ip", public).set("machine_scale_set", scale_set);
    meta.each("machine_tag_", machine.tags.iter().flatten());
    Some(meta.labels())
}

impl Azure {
    pub fn new(config: &WithHttp<AzureSdConfig>, tools: &Tools) -> Azure {
        let (login, api) = match config.own.environment.to_uppercase().as_str() {
            "AZURECHINACLOUD" => ("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
            "AZUREUSGOVERNMENTCLOUD" => {
                ("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")
            }
            _ => ("https://login.microsoftonline.com", "https://management.azure.com"),
        };
        Azure {
            config: config.own.clone(),
            client: Client::new(&config.http, tools),
            counters: Arc::clone(&tools.counters),
            login: login.into(),
            api: api.into(),
            instance: INSTANCE.into(),
            token: None,
            interfaces: Mutex::default(),
        }
    }

    /// The request for a token, by the section's way to prove who asks.
    fn token_call(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Call, String> {
        let set = |name: &str| environment(name).filter(|text| !text.is_empty());
        let or = |given: &str, name: &str| {
            if given.is_empty() { set(name).unwrap_or_default() } else { given.to_owned() }
        };
        let own = &self.config;
        let (tenant, client) = (or(&own.tenant_id, "AZURE_TENANT_ID"), or(&own.client_id, "AZURE_CLIENT_ID"));
        let secret = or(own.client_secret.reveal(), "AZURE_CLIENT_SECRET");
        let assertion = set("AZURE_FEDERATED_TOKEN_FILE");
        let way = match own.authentication_method.as_str() {
            "SDK" if !secret.is_empty() && !tenant.is_empty() => "OAuth",
            "SDK" if assertion.is_some() => "WorkloadIdentity",
            "SDK" => "ManagedIdentity",
            way => way,
        };
        let proof = match way {
            "ManagedIdentity" => {
                let pairs = [
                    ("api-version", "2018-02-01"),
                    ("resource", self.api.as_str()),
                    ("client_id", own.client_id.as_str()),
                ];
                return Ok(Call::get(with_query(&self.instance, pairs)).header("metadata", "true"));
            }
            "WorkloadIdentity" => {
                let path = assertion.ok_or("AZURE_FEDERATED_TOKEN_FILE is not set")?;
                let token = String::from_utf8_lossy(&read_secret_file(&path)?).trim().to_owned();
                vec![
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into(),
                    ),
                    ("client_assertion", token),
                ]
            }
            _ => vec![("client_secret", secret)],
        };
        let scope = format!("{}/.default", self.api);
        let fixed = [("grant_type", "client_credentials".into()), ("client_id", client), ("scope", scope)];
        let pairs: Vec<(String, String)> =
            fixed.into_iter().chain(proof).map(|(name, value)| (name.to_owned(), value)).collect();
        let url = format!("{}/{}/oauth2/v2.0/token", self.login, escaped(&tenant));
        Ok(Call::post(url, form(&pairs)).header("content-type", "application/x-www-form-urlencoded"))
    }

    async fn token(&mut self) -> Result<String, String> {
        if let Some((token, until)) = &self.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let call = self.token_call(&|name| std::env::var(name).ok())?;
        let granted: Granted = self.client.json(call).await.map_err(|e| format!("no access token: {e}"))?;
        let seconds = granted.expires_in.as_u64();
        let seconds = seconds.or_else(|| granted.expires_in.as_str()?.parse().ok()).unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(seconds).saturating_sub(EARLY);
        self.token = Some((granted.access_token.clone(), until));
        Ok(granted.access_token)
    }

    async fn list<T: DeserializeOwned>(&self, token: &str, path: &str) -> Result<Vec<T>, String> {
        let mut url = format!("{}{path}?api-version={COMPUTE}", self.api);
        let mut out = Vec::new();
        for _ in 0..MAX_DISCOVERY_PAGES {
            // A link to elsewhere must not get the token.
            if !url.starts_with(&self.api) {
                return Err("the next page is on another server".into());
            }
            let call = Call::get(&url).header("authorization", &format!("Bearer {token}"));
            let page: Page<T> = self.client.json(call).await?;
            out.extend(page.value);
            match page.next_link.filter(|link| !link.is_empty()) {
                Some(next) => url = next,
                None => return Ok(out),
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {path}"))
    }

    async fn interface(&self, token: &str, id: &str, scale_set: bool) -> Result<Arc<Interface>, String> {
        let now = Instant::now();
        let remembered = {
            let interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
            interfaces.get(id).filter(|(until, _)| now < *until).map(|(_, known)| Arc::clone(known))
        };
        if let Some(known) = remembered {
            self.counters.tally(Tally::AzureCacheHits).add(1);
            return Ok(known);
        }
        let version = if scale_set { SCALE_SET_NETWORK } else { NETWORK };
        let expand = "$expand=ipConfigurations/publicIPAddress";
        let url = format!("{}{id}?api-version={version}&{expand}", self.api);
        let call = Call::get(url).header("authorization", &format!("Bearer {token}"));
        let found: Arc<Interface> = Arc::new(self.client.json(call).await?);
        let until = now + self.config.refresh_interval.std() * REMEMBERED_REFRESHES;
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        interfaces.retain(|_, (until, _)| now < *until);
        interfaces.insert(id.to_owned(), (until, Arc::clone(&found)));
        Ok(found)
    }

    /// An interface that cannot be read costs its machine, not the others.
    async fn machine(&self, token: &str, machine: &Machine, scale_set: &str) -> Option<Labels> {
        let network = machine.properties.network_profile.as_ref()?;
        let mut interfaces = Vec::new();
        for named in &network.network_interfaces {
            match self.interface(token, &named.id, !scale_set.is_empty()).await {
                Ok(interface) => interfaces.push(interface),
                Err(error) => tracing::warn!(machine = machine.id, error, "cannot read a network interface"),
            }
        }
        target(&self.config, machine, scale_set, &interfaces)
    }

    async fn ask(&mut self) -> Result<Vec<Labels>, String> {
        let token = self.token().await?;
        let subscription = format!("/subscriptions/{}", escaped(&self.config.subscription_id));
        let within = match self.config.resource_group.as_str() {
            "" => subscription.clone(),
            group => format!("{subscription}/resourceGroups/{}", escaped(group)),
        };
        let compute = "providers/Microsoft.Compute";
        let single: Vec<Machine> = self.list(&token, &format!("{within}/{compute}/virtualMachines")).await?;
        let mut machines: Vec<(Machine, String)> =
            single.into_iter().map(|machine| (machine, String::new())).collect();
        let sets: Vec<Named> =
            self.list(&token, &format!("{within}/{compute}/virtualMachineScaleSets")).await?;
        for set in sets {
            let group = part(&set.id, "resourceGroups");
            let path = format!(
                "{subscription}/resourceGroups/{}/{compute}/virtualMachineScaleSets/{}/virtualMachines",
                escaped(group),
                escaped(&set.name)
            );
            let members: Vec<Machine> = self.list(&token, &path).await?;
            machines.extend(members.into_iter().map(|machine| (machine, set.name.clone())));
        }
        let (azure, token) = (&*self, token.as_str());
        let found = stream::iter(machines)
            .map(|(machine, set)| async move { Ok::<_, String>(azure.machine(token, &machine, &set).await) })
            .buffered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl Poll for Azure {
    const MECHANISM: &'static str = "azure";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let result = self.ask().await;
        if result.is_err() {
            self.token = None;
        }
        let targets = result.inspect_err(|_| self.counters.tally(Tally::AzureFailures).add(1))?;
        Ok(vec![TargetGroup {
            source: self.config.subscription_id.clone(),
            targets,
            labels: Labels::empty(),
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, api, polled};

    const MACHINE: &str = r#"{"id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/NAME", "name": "NAME",
        "location": "westeurope", "tags": {"team-x": "a"},
        "properties": {"osProfile": {"computerName": "host"}, "storageProfile": {"osDisk": {"osType": "Linux"}},
          "hardwareProfile": {"vmSize": "B1s"}, "networkProfile": {"networkInterfaces": [{"id": "/nic/NAME", "properties": {"primary": true}}]}}}"#;

    const NIC: &str = r#"{"properties": {"primary": true, "ipConfigurations": [{"properties": {"privateIPAddress": "10.0.0.4",
        "publicIPAddress": {"properties": {"ipAddress": "20.0.0.1"}}}}]}}"#;

    fn answer(request: &str) -> Answer {
        let line = request.lines().next().unwrap_or_default();
        let path = line.split(' ').nth(1).unwrap_or_default();
        if path == "/t/oauth2/v2.0/token" {
            assert!(
                request.ends_with("&client_secret=sec") && request.contains("grant_type=client_credentials")
            );
            return Answer::json(r#"{"access_token": "tok", "expires_in": 3600, "token_type": "Bearer"}"#);
        }
        assert!(request.to_lowercase().contains("authorization: bearer tok\r\n"), "{request}");
        let list = |items: &str, next: &str| Answer::json(&format!("{{\"value\": [{items}]{next}}}"));
        let compute = "/subscriptions/s/providers/Microsoft.Compute";
        match path {
            "/more" => list("", ""),
            path if path.starts_with(&format!("{compute}/virtualMachines?")) => {
                list(&MACHINE.replace("NAME", "vm1"), ", \"nextLink\": \"http://BASE/more\"")
            }
            path if path.starts_with(&format!("{compute}/virtualMachineScaleSets?")) => list(
                r#"{"id": "/subscriptions/s/resourceGroups/rg/providers/x/virtualMachineScaleSets/set", "name": "set"}"#,
                "",
            ),
            path if path.contains("/resourceGroups/rg/")
                && path.contains("/virtualMachineScaleSets/set/virtualMachines?") =>
            {
                list(&MACHINE.replace("NAME", "set_0"), "")
            }
            path if path.starts_with("/nic/vm1?api-version=2023-09-01&$expand=") => Answer::json(NIC),
            path if path.starts_with("/nic/set_0?api-version=2018-10-01&") => Answer::json(NIC),
            path => Answer::Whole("404 Not Found".into(), path.as_bytes().to_vec()),
        }
    }

    #[tokio::test]
    async fn machines_and_scale_sets_become_targets() {
        let address = api(answer).await;
        let section = crate::testing::section(
            "azure",
            "{subscription_id: s, tenant_id: t, client_id: c, client_secret: sec}",
        );
        let crate::config::SdConfig::Azure(config) = section else { panic!("a section") };
        let mut azure = Azure::new(&config, &crate::testing::tools());
        azure.api = format!("http://{address}");
        azure.login.clone_from(&azure.api);
        let expect = |name: &str, set: &str| {
            format!(
                "{{__address__=\"10.0.0.4:80\", __meta_azure_machine_computer_name=\"host\", __meta_azure_machine_id=\"/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}\", __meta_azure_machine_location=\"westeurope\", __meta_azure_machine_name=\"{name}\", __meta_azure_machine_os_type=\"Linux\", __meta_azure_machine_private_ip=\"10.0.0.4\", __meta_azure_machine_public_ip=\"20.0.0.1\", __meta_azure_machine_resource_group=\"rg\", {set}__meta_azure_machine_size=\"B1s\", __meta_azure_machine_tag_team_x=\"a\", __meta_azure_subscription_id=\"s\", __meta_azure_tenant_id=\"t\"}}"
            )
        };
        let set = "__meta_azure_machine_scale_set=\"set\", ";
        assert_eq!(polled(azure).await, [expect("vm1", ""), expect("set_0", set)]);
    }

    #[test]
    fn every_way_to_a_token_asks_as_it_must() {
        let section = crate::testing::section("azure", "{subscription_id: s, authentication_method: SDK}");
        let crate::config::SdConfig::Azure(config) = section else { panic!("a section") };
        let azure = Azure::new(&config, &crate::testing::tools());
        let body = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> = set.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            let find = move |name: &str| set.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            azure.token_call(&find).map(|call| String::from_utf8_lossy(call.body()).into_owned())
        };
        let by_secret = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "x")];
        assert!(body(&by_secret).expect("a call").ends_with("&client_secret=x"));
        assert_eq!(body(&[]), Ok(String::new()), "the instance is asked with GET");
        let missing = body(&[("AZURE_FEDERATED_TOKEN_FILE", "/no/such/file")]);
        assert!(missing.expect_err("no file").contains("/no/such/file"));
    }
}

//! The sections of cloud providers whose APIs take a key and list machines.

use crate::config::PromDuration;
use crate::config::section::{HttpSection, Section, check_interval, check_port, check_url, section};

const MINUTE: PromDuration = PromDuration::from_secs(60);

section! {
    /// `hetzner_sd_configs[]`: servers of the cloud or dedicated ones.
    HetznerSdConfig {
        role: text,
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
        label_selector: text,
    }
}

section! {
    /// `digitalocean_sd_configs[]`.
    DigitalOceanSdConfig {
        role: text = "droplets",
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `linode_sd_configs[]`.
    LinodeSdConfig {
        region: text,
        port: count = 80u64,
        tag_separator: text = ",",
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `vultr_sd_configs[]`.
    VultrSdConfig {
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `scaleway_sd_configs[]`: instances or bare metal.
    ScalewaySdConfig {
        access_key: text,
        secret_key: secret,
        secret_key_file: text,
        project_id: text,
        role: text,
        port: count = 80u64,
        api_url: text = "https://api.scaleway.com",
        zone: text = "fr-par-1",
        name_filter: text,
        tags_filter: texts,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `ionos_sd_configs[]`.
    IonosSdConfig {
        datacenter_id: text,
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `gce_sd_configs[]`.
    GceSdConfig {
        project: text,
        zone: text,
        filter: text,
        refresh_interval: duration = MINUTE,
        port: count = 80u64,
        tag_separator: text = ",",
    }
}

section! {
    /// `ovhcloud_sd_configs[]`: virtual private or dedicated servers.
    OvhcloudSdConfig {
        endpoint: text = "ovh-eu",
        application_key: text,
        application_secret: secret,
        consumer_key: secret,
        service: text,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `azure_sd_configs[]`.
    AzureSdConfig {
        environment: text = "AzurePublicCloud",
        port: count = 80u64,
        subscription_id: text,
        tenant_id: text,
        client_id: text,
        client_secret: secret,
        refresh_interval: duration = PromDuration::from_secs(300),
        authentication_method: text = "OAuth",
        resource_group: text,
    }
}

section! {
    /// `stackit_sd_configs[]`: servers or PostgreSQL instances.
    StackitSdConfig {
        role: text = "server",
        project: text,
        region: text = "eu01",
        endpoint: text,
        port: count = 80u64,
        private_key: secret,
        private_key_path: text,
        service_account_key: secret,
        service_account_key_path: text,
        credentials_file_path: text,
        token_url: text,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `outscale_sd_configs[]`.
    OutscaleSdConfig {
        region: text,
        endpoint: text,
        access_key: text,
        secret_key: secret,
        secret_key_file: text,
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
    }
}

section! {
    /// `oci_sd_configs[]`.
    OciSdConfig {
        auth: text = "api_key",
        tenancy: text,
        user: text,
        fingerprint: text,
        key_file: text,
        key_passphrase: secret,
        key_passphrase_file: text,
        region: text,
        compartments: texts,
        port: count = 80u64,
        refresh_interval: duration = MINUTE,
    }
}

macro_rules! http_sections {
    ($($config:ident)*) => { $(impl HttpSection for $config {})* };
}

http_sections! {
    AzureSdConfig HetznerSdConfig DigitalOceanSdConfig LinodeSdConfig VultrSdConfig ScalewaySdConfig IonosSdConfig
    StackitSdConfig OutscaleSdConfig OciSdConfig
}

fn check(port: u64, interval: PromDuration) -> Result<(), String> {
    check_port(port)?;
    check_interval(interval)
}

fn role(given: &str, known: &[&str]) -> Result<(), String> {
    match given {
        "" => Err(format!("role missing (one of: {})", known.join(", "))),
        _ if known.contains(&given) => Ok(()),
        _ => Err(format!("unknown role {given:?}")),
    }
}

impl Section for HetznerSdConfig {
    fn check(&mut self) -> Result<(), String> {
        role(&self.role, &["robot", "hcloud"])?;
        if self.role == "robot" && !self.label_selector.is_empty() {
            return Err("label_selector is for role hcloud only".into());
        }
        check(self.port, self.refresh_interval)
    }
}

impl Section for DigitalOceanSdConfig {
    fn check(&mut self) -> Result<(), String> {
        role(&self.role, &["droplets", "databases"])?;
        check(self.port, self.refresh_interval)
    }
}

impl Section for LinodeSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check(self.port, self.refresh_interval)
    }
}

impl Section for VultrSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check(self.port, self.refresh_interval)
    }
}

impl Section for ScalewaySdConfig {
    fn check(&mut self) -> Result<(), String> {
        role(&self.role, &["instance", "baremetal"])?;
        if self.project_id.is_empty() {
            return Err("project_id is mandatory".into());
        }
        match (self.secret_key.is_empty(), self.secret_key_file.is_empty()) {
            (true, true) => return Err("one of secret_key & secret_key_file must be configured".into()),
            (false, false) => {
                return Err("at most one of secret_key & secret_key_file must be configured".into());
            }
            _ => {}
        }
        if self.access_key.is_empty() {
            return Err("access_key is mandatory".into());
        }
        check(self.port, self.refresh_interval)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.secret_key_file);
    }
}

impl Section for IonosSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.datacenter_id.is_empty() {
            return Err("datacenter id can't be empty".into());
        }
        check(self.port, self.refresh_interval)
    }
}

impl Section for GceSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.project.is_empty() {
            return Err("GCE SD configuration requires a project".into());
        }
        if self.zone.is_empty() {
            return Err("GCE SD configuration requires a zone".into());
        }
        check(self.port, self.refresh_interval)
    }
}

impl Section for OvhcloudSdConfig {
    fn check(&mut self) -> Result<(), String> {
        let needed = [
            (self.endpoint.is_empty(), "endpoint"),
            (self.application_key.is_empty(), "application key"),
            (self.application_secret.is_empty(), "application secret"),
            (self.consumer_key.is_empty(), "consumer key"),
        ];
        if let Some((_, what)) = needed.iter().find(|(missing, _)| *missing) {
            return Err(format!("{what} can not be empty"));
        }
        if !["vps", "dedicated_server"].contains(&self.service.as_str()) {
            return Err(format!("unknown service: {}", self.service));
        }
        check_interval(self.refresh_interval)
    }
}

/// Azure's clouds.
const AZURE_CLOUDS: [&str; 4] =
    ["AZURECHINACLOUD", "AZURECLOUD", "AZUREPUBLICCLOUD", "AZUREUSGOVERNMENTCLOUD"];

impl Section for AzureSdConfig {
    fn check(&mut self) -> Result<(), String> {
        let needs = |value: &str, what: &str| {
            if value.is_empty() { Err(format!("azure SD configuration requires a {what}")) } else { Ok(()) }
        };
        needs(&self.subscription_id, "subscription_id")?;
        match self.authentication_method.as_str() {
            "OAuth" => {
                needs(&self.tenant_id, "tenant_id")?;
                needs(&self.client_id, "client_id")?;
                needs(self.client_secret.reveal(), "client_secret")?;
            }
            "ManagedIdentity" | "SDK" | "WorkloadIdentity" => {}
            other => {
                return Err(format!(
                    "unknown authentication_type {other:?}. Supported types are \"OAuth\", \
                     \"ManagedIdentity\", \"SDK\" or \"WorkloadIdentity\""
                ));
            }
        }
        if !AZURE_CLOUDS.contains(&self.environment.to_uppercase().as_str()) {
            return Err(format!("there is no cloud environment matching the name {:?}", self.environment));
        }
        check(self.port, self.refresh_interval)
    }
}

/// Where a URL was given, it must be one.
fn url(given: &str) -> Result<(), String> {
    if given.is_empty() { Ok(()) } else { check_url(given) }
}

impl Section for StackitSdConfig {
    fn check(&mut self) -> Result<(), String> {
        role(&self.role, &["server", "postgres"])?;
        if self.project.is_empty() {
            return Err("stackit SD configuration requires a project".into());
        }
        if self.region.is_empty() {
            return Err("stackit SD configuration requires a region".into());
        }
        url(&self.endpoint).map_err(|e| format!("endpoint: {e}"))?;
        url(&self.token_url).map_err(|e| format!("token_url: {e}"))?;
        check(self.port, self.refresh_interval)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.private_key_path);
        each(&mut self.service_account_key_path);
        each(&mut self.credentials_file_path);
    }
}

impl Section for OutscaleSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.region.is_empty() {
            return Err("outscale SD configuration requires a region".into());
        }
        if self.access_key.is_empty() {
            return Err("outscale SD configuration requires an access_key".into());
        }
        match (self.secret_key.is_empty(), self.secret_key_file.is_empty()) {
            (true, true) => {
                return Err("outscale SD configuration requires secret_key or secret_key_file".into());
            }
            (false, false) => {
                return Err("at most one of secret_key & secret_key_file must be configured".into());
            }
            _ => {}
        }
        url(&self.endpoint).map_err(|e| format!("endpoint: {e}"))?;
        check(self.port, self.refresh_interval)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.secret_key_file);
    }
}

impl OciSdConfig {
    fn check_key(&self) -> Result<(), String> {
        let fields = [
            (&self.tenancy, "tenancy"),
            (&self.user, "user"),
            (&self.fingerprint, "fingerprint"),
            (&self.key_file, "key_file"),
        ];
        let encrypted = !self.key_passphrase.is_empty() || !self.key_passphrase_file.is_empty();
        match self.auth.as_str() {
            "api_key" => match fields.iter().find(|(value, _)| value.is_empty()) {
                Some((_, name)) => Err(format!("oci SD configuration with auth api_key requires {name}")),
                None if !self.key_passphrase.is_empty() && !self.key_passphrase_file.is_empty() => {
                    Err("at most one of key_passphrase and key_passphrase_file must be configured".into())
                }
                None => Ok(()),
            },
            "instance_principal" => match fields.iter().find(|(value, _)| !value.is_empty()) {
                Some((_, name)) => {
                    Err(format!("oci SD configuration with auth instance_principal must not have {name}"))
                }
                None if encrypted => {
                    Err("oci SD configuration with auth instance_principal must not have a key_passphrase"
                        .into())
                }
                None => Ok(()),
            },
            other => Err(format!("unknown auth method {other:?}")),
        }
    }
}

impl Section for OciSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.region.is_empty() {
            return Err("oci SD configuration requires a region".into());
        }
        self.check_key()?;
        if let Some(at) = self.compartments.iter().position(String::is_empty) {
            return Err(format!("compartments[{at}] must not be empty"));
        }
        check(self.port, self.refresh_interval)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.key_file);
        each(&mut self.key_passphrase_file);
    }
}

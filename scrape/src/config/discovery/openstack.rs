//! `openstack_sd_configs[]` and `triton_sd_configs[]`.

use crate::config::section::{Section, check_interval, check_port, check_url, section, tls_paths};
use crate::config::{HttpConfig, PromDuration, TlsConfig};

section! {
    /// Instances, hypervisors or load balancers of one region.
    OpenStackSdConfig {
        identity_endpoint: text,
        username: text,
        userid: text,
        password: secret,
        project_name: text,
        project_id: text,
        domain_name: text,
        domain_id: text,
        application_credential_name: text,
        application_credential_id: text,
        application_credential_secret: secret,
        role: text,
        region: text,
        refresh_interval: duration = PromDuration::from_secs(60),
        port: count = 80u64,
        all_tenants: flag,
        tls_config: [TlsConfig],
        availability: text = "public",
    }
}

section! {
    /// Containers or compute nodes that a container monitor knows.
    TritonSdConfig {
        account: text,
        role: text = "container",
        dns_suffix: text,
        endpoint: text,
        groups: texts,
        port: count = 9163u64,
        refresh_interval: duration = PromDuration::from_secs(60),
        tls_config: [TlsConfig],
        version: count = 1u64,
    }
}

fn with_tls(tls: &TlsConfig) -> HttpConfig {
    HttpConfig { tls_config: tls.clone(), ..HttpConfig::default() }
}

impl OpenStackSdConfig {
    /// How its servers are spoken to.
    pub fn http(&self) -> HttpConfig {
        with_tls(&self.tls_config)
    }
}

impl TritonSdConfig {
    /// How its server is spoken to.
    pub fn http(&self) -> HttpConfig {
        with_tls(&self.tls_config)
    }
}

impl Section for OpenStackSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if !["public", "internal", "admin"].contains(&self.availability.as_str()) {
            return Err(format!(
                "unknown availability {}, must be one of admin, internal or public",
                self.availability
            ));
        }
        match self.role.as_str() {
            "" => return Err("role missing (one of: instance, hypervisor, loadbalancer)".into()),
            "instance" | "hypervisor" | "loadbalancer" => {}
            other => return Err(format!("unknown OpenStack SD role {other:?}")),
        }
        if self.region.is_empty() {
            return Err("openstack SD configuration requires a region".into());
        }
        if !self.identity_endpoint.is_empty() {
            check_url(&self.identity_endpoint).map_err(|e| format!("identity_endpoint: {e}"))?;
        }
        self.http().check()?;
        check_port(self.port)?;
        check_interval(self.refresh_interval)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        tls_paths(&mut self.tls_config, each);
    }
}

impl Section for TritonSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if !["container", "cn"].contains(&self.role.as_str()) {
            return Err("triton SD configuration requires role to be 'container' or 'cn'".into());
        }
        for (value, what) in [
            (&self.account, "an account"),
            (&self.dns_suffix, "a dns_suffix"),
            (&self.endpoint, "an endpoint"),
        ] {
            if value.is_empty() {
                return Err(format!("triton SD configuration requires {what}"));
            }
        }
        if self.refresh_interval.ms <= 0 {
            return Err("triton SD configuration requires RefreshInterval to be a positive integer".into());
        }
        self.http().check()?;
        check_port(self.port)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        tls_paths(&mut self.tls_config, each);
    }
}

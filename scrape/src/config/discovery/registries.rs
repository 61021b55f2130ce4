//! The sections of registries and orchestrators that are asked over HTTP.

use crate::config::PromDuration;
use crate::config::section::{
    HttpSection, Section, WithHttp, check_interval, check_port, check_url, section,
};

const MINUTE: PromDuration = PromDuration::from_secs(60);

section! {
    /// `nomad_sd_configs[]`.
    NomadSdConfig {
        allow_stale: flag = true,
        namespace: text = "default",
        refresh_interval: duration = MINUTE,
        region: text = "global",
        server: text = "http://localhost:4646",
        tag_separator: text = ",",
    }
}

section! {
    /// `eureka_sd_configs[]`.
    EurekaSdConfig {
        server: text,
        refresh_interval: duration = PromDuration::from_secs(30),
    }
}

section! {
    /// `puppetdb_sd_configs[]`.
    PuppetDbSdConfig {
        url: text,
        query: text,
        include_parameters: flag,
        refresh_interval: duration = MINUTE,
        port: count = 80u64,
    }
}

section! {
    /// `marathon_sd_configs[]`.
    MarathonSdConfig {
        servers: texts,
        refresh_interval: duration = PromDuration::from_secs(30),
        auth_token: secret,
        auth_token_file: text,
    }
}

section! {
    /// `kuma_sd_configs[]`.
    KumaSdConfig {
        server: text,
        client_id: text,
        refresh_interval: duration = PromDuration::from_secs(15),
        fetch_timeout: duration = PromDuration::from_secs(120),
    }
}

section! {
    /// `uyuni_sd_configs[]`.
    UyuniSdConfig {
        server: text,
        username: text,
        password: secret,
        entitlement: text = "monitoring_entitled",
        separator: text = ",",
        refresh_interval: duration = MINUTE,
    }
}

impl HttpSection for UyuniSdConfig {}

impl Section for UyuniSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.server.is_empty() {
            return Err("uyuni SD configuration requires server host".into());
        }
        check_url(&self.server).map_err(|e| format!("uyuni SD server: {e}"))?;
        if self.username.is_empty() {
            return Err("uyuni SD configuration requires a username".into());
        }
        if self.password.is_empty() {
            return Err("uyuni SD configuration requires a password".into());
        }
        check_interval(self.refresh_interval)
    }
}

impl HttpSection for NomadSdConfig {}

impl Section for NomadSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.server.trim().is_empty() {
            return Err("nomad SD configuration requires a server address".into());
        }
        check_url(self.server.trim())?;
        check_interval(self.refresh_interval)
    }
}

impl HttpSection for EurekaSdConfig {}

impl Section for EurekaSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.server.is_empty() {
            return Err("eureka_sd: empty or null eureka server".into());
        }
        check_url(&self.server).map_err(|_| "eureka_sd: invalid eureka server URL".to_owned())?;
        check_interval(self.refresh_interval)
    }
}

impl HttpSection for PuppetDbSdConfig {}

impl Section for PuppetDbSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check_url(&self.url)?;
        if self.query.is_empty() {
            return Err("query missing".into());
        }
        check_port(self.port)?;
        check_interval(self.refresh_interval)
    }
}

impl Section for WithHttp<MarathonSdConfig> {
    fn check(&mut self) -> Result<(), String> {
        let (own, http) = (&self.own, &self.http);
        if own.servers.is_empty() {
            return Err("marathon_sd: must contain at least one Marathon server".into());
        }
        let (token, file) = (!own.auth_token.is_empty(), !own.auth_token_file.is_empty());
        if token && file {
            return Err("marathon_sd: at most one of auth_token & auth_token_file must be configured".into());
        }
        if (token || file) && http.basic_auth.is_some() {
            return Err("marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be \
                        configured"
                .into());
        }
        if (token || file) && (http.authorization.is_some() || http.oauth2.is_some()) {
            return Err("marathon_sd: at most one of auth_token, auth_token_file & authorization must be \
                        configured"
                .into());
        }
        own.servers.iter().try_for_each(|server| check_url(server))?;
        check_interval(own.refresh_interval)?;
        self.check_http()
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.own.auth_token_file);
        self.http_paths(each);
    }
}

impl HttpSection for KumaSdConfig {}

impl Section for KumaSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.server.is_empty() {
            return Err("kuma SD server must not be empty".into());
        }
        check_url(&self.server).map_err(|e| format!("kuma SD server: {e}"))?;
        if self.fetch_timeout.is_zero() {
            return Err("fetch_timeout must be greater than zero".into());
        }
        check_interval(self.refresh_interval)
    }
}

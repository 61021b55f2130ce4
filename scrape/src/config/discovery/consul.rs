//! `consul_sd_configs[]`.

use crate::config::PromDuration;
use crate::config::section::{Section, WithHttp, check_interval, section};

section! {
    /// Services that one agent knows.
    ConsulSdConfig {
        server: text = "localhost:8500",
        path_prefix: text,
        token: secret,
        datacenter: text,
        namespace: text,
        partition: text,
        tag_separator: text = ",",
        scheme: text = "http",
        username: text,
        password: secret,
        allow_stale: flag = true,
        refresh_interval: duration = PromDuration::from_secs(30),
        services: texts,
        tags: texts,
        node_meta: map,
        filter: text,
        health_filter: text,
    }
}

impl Section for WithHttp<ConsulSdConfig> {
    fn check(&mut self) -> Result<(), String> {
        let (own, http) = (&mut self.own, &mut self.http);
        if own.server.trim().is_empty() {
            return Err("consul SD configuration requires a server address".into());
        }
        if !["http", "https"].contains(&own.scheme.as_str()) {
            return Err(format!("consul SD scheme must be http or https, not {:?}", own.scheme));
        }
        if (!own.username.is_empty() || !own.password.is_empty()) && http.basic_auth.is_some() {
            return Err(
                "at most one of consul SD configuration username and password and basic auth can be \
                        configured"
                    .into(),
            );
        }
        if !own.token.is_empty() && (http.authorization.is_some() || http.oauth2.is_some()) {
            return Err("at most one of consul SD token, authorization, or oauth2 can be configured".into());
        }
        check_interval(own.refresh_interval)?;
        self.check_http()
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        self.http_paths(each);
    }
}

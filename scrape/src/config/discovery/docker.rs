//! `docker_sd_configs[]` and `dockerswarm_sd_configs[]`.

use crate::config::PromDuration;
use crate::config::section::{HttpSection, Section, check_interval, check_port, section};

section! {
    /// A condition that the API is asked for.
    NamedFilter {
        name: text,
        values: texts,
    }
}

section! {
    /// Containers of one engine.
    DockerSdConfig {
        host: text,
        port: count = 80u64,
        filters: [Vec<NamedFilter>],
        host_networking_host: text = "localhost",
        match_first_network: flag = true,
        refresh_interval: duration = PromDuration::from_secs(60),
    }
}

section! {
    /// Services, tasks or nodes of one swarm.
    DockerSwarmSdConfig {
        host: text,
        role: text,
        port: count = 80u64,
        filters: [Vec<NamedFilter>],
        refresh_interval: duration = PromDuration::from_secs(60),
    }
}

/// `unix:///path`, or a URL.
fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("host missing".into());
    }
    match host.split_once("://") {
        Some(("unix" | "http" | "https" | "tcp", rest)) if !rest.is_empty() => Ok(()),
        _ => Err(format!("host {host:?} is none of unix:///path, tcp://host:port, http://… and https://…")),
    }
}

impl HttpSection for DockerSdConfig {}

impl Section for DockerSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check_host(&self.host)?;
        check_port(self.port)?;
        check_interval(self.refresh_interval)
    }
}

impl HttpSection for DockerSwarmSdConfig {}

impl Section for DockerSwarmSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check_host(&self.host)?;
        match self.role.as_str() {
            "services" | "nodes" | "tasks" => {}
            "" => return Err("role missing (one of: tasks, services, nodes)".into()),
            other => return Err(format!("invalid role {other}, expected tasks, services, or nodes")),
        }
        check_port(self.port)?;
        check_interval(self.refresh_interval)
    }
}

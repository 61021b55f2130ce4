//! `serverset_sd_configs[]` and `nerve_sd_configs[]`.

use crate::config::PromDuration;
use crate::config::section::{Section, section};

section! {
    /// Members that announce themselves below some nodes of ZooKeeper.
    ZookeeperSdConfig {
        servers: texts,
        paths: texts,
        timeout: duration = PromDuration::from_secs(10),
    }
}

impl Section for ZookeeperSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.servers.is_empty() {
            return Err("ZooKeeper SD config must contain at least one Zookeeper server".into());
        }
        if let Some(server) = self.servers.iter().find(|server| !server.contains(':')) {
            return Err(format!("ZooKeeper server {server:?} has no port"));
        }
        if self.paths.is_empty() {
            return Err("ZooKeeper SD config must contain at least one path".into());
        }
        for path in &mut self.paths {
            if !path.starts_with('/') {
                return Err(format!("ZooKeeper SD config paths must begin with '/': {path}"));
            }
            let trimmed = path.trim_end_matches('/').len().max(1);
            path.truncate(trimmed);
        }
        if self.timeout.ms < 300 {
            return Err("timeout must be at least 300ms: a ZooKeeper session lives for it".into());
        }
        Ok(())
    }
}

//! `dns_sd_configs[]`.

use crate::config::PromDuration;
use crate::config::section::{Section, check_interval, check_port, section};

section! {
    /// Names whose records are the targets.
    DnsSdConfig {
        names: texts,
        refresh_interval: duration = PromDuration::from_secs(30),
        r#type: text = "SRV",
        port: count,
    }
}

impl Section for DnsSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.names.is_empty() {
            return Err("DNS-SD config must contain at least one SRV record name".into());
        }
        match self.r#type.to_uppercase().as_str() {
            "SRV" => {}
            "A" | "AAAA" | "MX" | "NS" if self.port == 0 => {
                return Err("a port is required in DNS-SD configs for all record types except SRV".into());
            }
            "A" | "AAAA" | "MX" | "NS" => {}
            other => return Err(format!("invalid DNS-SD records type {other}")),
        }
        self.r#type.make_ascii_uppercase();
        check_port(self.port)?;
        check_interval(self.refresh_interval)
    }
}

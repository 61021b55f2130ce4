//! Where the configuration comes from: the file that the command line names, or the built-in one.
//!
//! Decision: the built-in configuration names node_exporter only where one answers on port 9100 when the
//! configuration is (re)loaded. A target that was never there would show as down for ever on every
//! machine without node_exporter; SIGHUP looks again.

use super::{ConfigError, read_file};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long node_exporter may take to accept: it is on this machine or not there.
const NODE_EXPORTER_PATIENCE: Duration = Duration::from_millis(200);
const NODE_EXPORTER: &str = "127.0.0.1:9100";

#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    /// No file is there and none was asked for; `itself` is this server's own target.
    BuiltIn {
        itself: String,
        metrics_path: String,
    },
}

impl Source {
    /// The file's name as faults show it, and its text.
    pub fn text(&self) -> Result<(String, String), ConfigError> {
        match self {
            Source::File(path) => Ok((path.display().to_string(), read_file(path)?)),
            Source::BuiltIn { itself, metrics_path } => {
                let text = default_targets(itself, metrics_path, answers(NODE_EXPORTER));
                Ok(("(built-in configuration)".to_owned(), text))
            }
        }
    }

    pub fn directory(&self) -> PathBuf {
        match self {
            Source::File(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            Source::BuiltIn { .. } => PathBuf::new(),
        }
    }
}

fn answers(address: &str) -> bool {
    let Ok(address) = address.parse::<SocketAddr>() else { return false };
    TcpStream::connect_timeout(&address, NODE_EXPORTER_PATIENCE).is_ok()
}

/// The built-in configuration.
pub fn default_targets(itself: &str, metrics_path: &str, node_exporter: bool) -> String {
    let mut text = format!(
        "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\nscrape_configs:\n\
         - job_name: prometheus\n  metrics_path: {metrics_path:?}\n  static_configs:\n  - targets: [{itself:?}]\n"
    );
    if node_exporter {
        text.push_str("- job_name: node\n  static_configs:\n  - targets: [\"localhost:9100\"]\n");
    }
    text
}

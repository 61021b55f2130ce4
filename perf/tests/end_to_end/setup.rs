//! Where the binaries are, and folders that go with the test.

use hearth_perf::process::{Kind, Launch};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The binary under test.
pub fn hearth() -> PathBuf {
    if let Some(binary) = std::env::var_os("HEARTH_BIN") {
        return existing(PathBuf::from(binary), "HEARTH_BIN names it");
    }
    // This test's own binary lies in TARGET/PROFILE/deps.
    let test = std::env::current_exe().expect("a process knows its binary");
    let target = test.ancestors().nth(3).expect("a test lies three folders deep");
    existing(target.join("release/hearth"), "`cargo build --release -p hearth-server` makes it")
}

/// A peer's binary.
pub fn peer(name: &str) -> PathBuf {
    let folder = std::env::var_os("HEARTH_PEERS").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
        cache.expect("there is a folder for caches").join("hearth-peers")
    });
    existing(folder.join("bin").join(name), "`scripts/peers` puts it there")
}

fn existing(binary: PathBuf, how: &str) -> PathBuf {
    assert!(binary.is_file(), "{} does not exist; {how}", binary.display());
    binary
}

pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("hearth-test").tempdir().expect("a temporary folder can be made")
}

pub fn launch_hearth(folder: &Path) -> Launch {
    Launch::new(Kind::Hearth, hearth(), &folder.join("hearth")).config("global: {}\n")
}

pub fn launch_prometheus(folder: &Path) -> Launch {
    Launch::new(Kind::Prometheus, peer("prometheus"), &folder.join("prometheus")).config("global: {}\n")
}

/// Its configuration is what it scrapes.
pub fn launch_victoria_metrics(folder: &Path) -> Launch {
    let folder = folder.join("victoria-metrics");
    let launch = Launch::new(Kind::VictoriaMetrics, peer("victoria-metrics"), &folder);
    launch.flag(format!("-promscrape.config={}", folder.join("prometheus.yml").display()))
}

pub fn launch_node_exporter(folder: &Path) -> Launch {
    Launch::new(Kind::NodeExporter, peer("prometheus-node-exporter"), &folder.join("node_exporter"))
        .flag("--log.level=error")
}

pub fn launch_pushgateway(folder: &Path) -> Launch {
    Launch::new(Kind::Pushgateway, peer("prometheus-pushgateway"), &folder.join("pushgateway"))
        .flag("--log.level=error")
}

/// Its configuration is the module file's text.
pub fn launch_blackbox_exporter(folder: &Path) -> Launch {
    let launch =
        Launch::new(Kind::BlackboxExporter, peer("prometheus-blackbox-exporter"), &folder.join("blackbox"));
    let modules = launch.folder.join("prometheus.yml");
    launch.flag(format!("--config.file={}", modules.display())).flag("--log.level=error")
}

pub const RECEIVER: &str = "--web.enable-remote-write-receiver";

pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(now.as_millis()).expect("the clock fits")
}

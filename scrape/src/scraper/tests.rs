//! A whole scraper against targets on free ports. Intervals are short, and every wait is for a batch that
//! arrives or a state that is shown, never for time.

use super::*;
use crate::config::{GlobalConfig, resolve};
use crate::status::Health;
use crate::testing::{Answer, recorder, target};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::UnboundedReceiver;

struct Rig {
    scraper: Scraper,
    batches: UnboundedReceiver<String>,
}

fn rig() -> Rig {
    let (append, batches) = recorder();
    let clock =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let (ack, user_agent) = (Ack::Written, "Hearth/test".to_owned());
    Rig {
        scraper: Scraper::start(Options {
            append,
            ack,
            clock: Arc::new(clock),
            seed: 1,
            features: crate::Features::default(),
            gateway: None,
            user_agent,
            kept_targets: None,
            lanes: Vec::new(),
        }),
        batches,
    }
}

impl Rig {
    async fn apply(&self, yaml: &str) {
        let mut configs: Vec<ScrapeConfig> = serde_yaml::from_str(yaml).expect(yaml);
        resolve(&mut GlobalConfig::default(), &mut configs, std::path::Path::new("/")).expect(yaml);
        self.scraper.apply(self.scraper.prepare(configs).expect(yaml)).await;
    }

    /// Waits for a batch that contains all of `parts`.
    async fn batch(&mut self, parts: &[&str]) -> String {
        let wait = async {
            loop {
                let text = self.batches.recv().await.expect("the store lives");
                if parts.iter().all(|part| text.contains(part)) {
                    return text;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("no {parts:?}"))
    }

    fn value(&self, name: &str) -> f64 {
        let families = self.scraper.metrics();
        families.iter().filter(|f| f.name == name).flat_map(|f| &f.points).map(|p| p.value).sum()
    }
}

fn job(name: &str, addresses: &[&str], more: &str) -> String {
    format!(
        "- job_name: {name}\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  static_configs: [{{targets: {addresses:?}}}]\n{more}"
    )
}

#[tokio::test]
async fn jobs_are_scraped_shown_and_stopped() {
    let (address, _) = target(vec![Answer::text("# TYPE a gauge\na 1\n")]).await;
    let mut rig = rig();
    let drop_x = "  relabel_configs: [{action: drop, source_labels: [__address__], regex: 'x:1'}]\n";
    rig.apply(&job("j", &[&address, "x:1"], drop_x)).await;
    rig.batch(&["a{", "up{", " 1@"]).await;
    rig.batch(&["a{"]).await;
    let status = rig.scraper.status();
    assert_eq!((&*status[0].name, status[0].active.len(), status[0].dropped_count), ("j", 1, 1));
    let active = &status[0].active[0];
    assert_eq!((active.health, active.last_error.as_str()), (Health::Up, ""));
    assert_eq!(active.scrape_url, format!("http://{address}/metrics"));
    assert_eq!(active.labels.to_string(), format!("{{instance=\"{address}\", job=\"j\"}}"));
    assert_eq!(status[0].dropped[0].discovered_labels.value("__address__"), "x:1");
    assert_eq!(rig.scraper.metadata(Some("a"))[0].metrics[0].1.kind.name(), "gauge");
    assert_eq!(rig.value("prometheus_target_scrape_pool_targets"), 1.0);
    assert_eq!(rig.value("prometheus_sd_discovered_targets"), 2.0);
    assert!(rig.value("prometheus_target_interval_length_seconds") >= 1.0);
    rig.scraper.shutdown().await;
    while rig.batches.try_recv().is_ok() {}
    rig.apply(&job("late", &[&address], "")).await;
    assert!(rig.scraper.status().iter().all(|pool| &*pool.name != "late"));
}

#[tokio::test]
async fn a_target_that_is_taken_away_ends_and_the_others_go_on() {
    let (a, _) = target(vec![Answer::text("a 1\n")]).await;
    let (b, _) = target(vec![Answer::text("b 1\n")]).await;
    let mut rig = rig();
    rig.apply(&job("j", &[&a, &b], "")).await;
    rig.batch(&["a{"]).await;
    rig.batch(&["b{"]).await;
    rig.apply(&job("j", &[&a], "")).await;
    let ended = rig.batch(&["b{", "stale"]).await;
    assert!(ended.lines().all(|line| line.contains(" stale@")) && ended.contains("\nup{"), "{ended}");
    // The loop of `a` went on: no batch says that its series are new, or over.
    let next = rig.batch(&["a{"]).await;
    let figure = |name: &str| next.lines().find(|l| l.starts_with(name)).map(|l| l.contains(" 0@"));
    assert_eq!((figure("scrape_series_added"), figure("up{")), (Some(true), Some(false)));
    rig.apply("[]").await;
    assert!(rig.scraper.status().is_empty());
    rig.batch(&["a{", "stale"]).await;
    rig.scraper.shutdown().await;
}

#[tokio::test]
async fn a_reload_changes_rules_without_a_gap() {
    let (a, _) = target(vec![Answer::text("a{x=\"1\"} 1\n")]).await;
    let mut rig = rig();
    rig.apply(&job("j", &[&a], "")).await;
    rig.batch(&["x=\"1\""]).await;
    rig.apply(&job("j", &[&a], "  metric_relabel_configs: [{target_label: y, replacement: new}]\n")).await;
    let changed = rig.batch(&["y=\"new\""]).await;
    let old =
        changed.lines().find(|l| l.starts_with("a{") && !l.contains("y=")).expect("the old series ends");
    assert!(old.contains(" stale@"), "{old}");
    rig.scraper.shutdown().await;
}

#[tokio::test]
async fn too_many_targets_fail_all_and_files_bring_targets() {
    let (a, _) = target(vec![Answer::text("a 1\n")]).await;
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("t.json");
    std::fs::write(&path, format!("[{{\"targets\": [\"{a}\"]}}]")).expect("write");
    let files = format!("  target_limit: 1\n  file_sd_configs: [{{files: ['{}']}}]\n", path.display());
    let mut rig = rig();
    rig.apply(&job("j", &[], &files)).await;
    rig.batch(&["a{"]).await;
    std::fs::write(&path, format!("[{{\"targets\": [\"{a}\", \"localhost:1\"]}}]")).expect("write");
    rig.batch(&["up{instance=\"localhost:1\"", " 0@"]).await;
    let status = rig.scraper.status();
    let expect = "target_limit exceeded (number of targets: 2, limit: 1)";
    assert!(status[0].active.iter().any(|t| t.last_error == expect), "{status:?}");
    assert_eq!(rig.value("prometheus_target_scrape_pool_exceeded_target_limit_total"), 1.0);
    rig.scraper.shutdown().await;
}

#[tokio::test]
async fn plans_that_cannot_run_are_refused_and_failures_are_logged() {
    let directory = tempfile::tempdir().expect("directory");
    let log = directory.path().join("failures.log");
    let mut rig = rig();
    let refuse = |more: &str| {
        let mut configs: Vec<ScrapeConfig> = serde_yaml::from_str(&job("j", &[], more)).expect(more);
        resolve(&mut GlobalConfig::default(), &mut configs, directory.path()).expect(more);
        rig.scraper.prepare(configs).err().expect("refused").message
    };
    let error = refuse("  tls_config: {ca_file: missing.pem}\n");
    assert!(error.contains("job name \"j\"") && error.contains("missing.pem"), "{error}");
    let error = refuse("  scrape_failure_log_file: no/such/directory\n");
    assert!(error.contains("cannot open scrape failure log"), "{error}");
    let more = format!("  scrape_failure_log_file: {}\n", log.display());
    rig.apply(&job("j", &["127.0.0.1:1"], &more)).await;
    rig.batch(&["up{", " 0@"]).await;
    rig.scraper.shutdown().await;
    let text = std::fs::read_to_string(&log).expect("log");
    assert!(text.contains("\"job_name\":\"j\"") && text.contains("Connection refused"), "{text}");
}

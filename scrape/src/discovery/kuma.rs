//! `kuma_sd_configs`: the monitoring assignments of a Kuma control plane, fetched by long polling of its
//! xDS interface over REST.

use super::client::{Call, Client, with_query};
use super::meta::{Meta, sanitized};
use super::watcher::Publisher;
use super::{Discover, TargetGroup, Tools};
use crate::config::{DISCOVERY_RETRY_MS, KumaSdConfig, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RESOURCE: &str = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment";
/// Time beyond the fetch timeout that an answer may need.
const SLACK: Duration = Duration::from_secs(15);

/// One control plane.
pub struct Kuma {
    config: KumaSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
    node: String,
    version: String,
    nonce: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Answer {
    version_info: String,
    nonce: String,
    resources: Vec<Assignment>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Assignment {
    mesh: String,
    service: String,
    labels: BTreeMap<String, String>,
    targets: Vec<Target>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Target {
    name: String,
    scheme: String,
    address: String,
    metrics_path: String,
    labels: BTreeMap<String, String>,
}

/// A group for each assignment.
pub fn groups(answer: &Answer) -> Vec<TargetGroup> {
    let group = |assignment: &Assignment| {
        let mut labels = Meta::new("__meta_kuma_");
        labels.set("mesh", &assignment.mesh).set("service", &assignment.service);
        labels.each("label_", &assignment.labels);
        let target = |target: &Target| {
            let mut meta = Meta::new("__meta_kuma_").address(&target.address);
            meta.set("dataplane", &target.name).plain("instance", &target.name);
            meta.plain("__scheme__", &target.scheme).plain("__metrics_path__", &target.metrics_path);
            meta.each("label_", target.labels.iter().map(|(name, value)| (sanitized(name), value)));
            meta.labels()
        };
        TargetGroup {
            source: format!("{}/{}", assignment.mesh, assignment.service),
            targets: assignment.targets.iter().map(target).collect(),
            labels: labels.labels(),
        }
    };
    answer.resources.iter().map(group).collect()
}

impl Kuma {
    pub fn new(config: &WithHttp<KumaSdConfig>, tools: &Tools) -> Kuma {
        let node = match config.own.client_id.as_str() {
            "" => "hearth".to_owned(),
            given => given.to_owned(),
        };
        Kuma {
            config: config.own.clone(),
            client: Client::new(&config.http, tools),
            counters: Arc::clone(&tools.counters),
            node,
            version: String::new(),
            nonce: String::new(),
        }
    }

    /// One long poll; none where nothing changed.
    async fn fetch(&mut self) -> Result<Option<Answer>, String> {
        let timeout = self.config.fetch_timeout;
        let base = format!("{}/v3/discovery:monitoringassignments", self.config.server.trim_end_matches('/'));
        let url = with_query(&base, [("fetch-timeout", &*timeout.to_string())]);
        let body = json!({
            "version_info": self.version,
            "node": {"id": self.node},
            "type_url": RESOURCE,
            "response_nonce": self.nonce,
        });
        let call = Call::post(url, body.to_string())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .timeout(timeout.std() + SLACK);
        let answer = self.client.ask(call).await?;
        if answer.status == 304 {
            return Ok(None);
        }
        let answer: Answer = answer.success()?.json()?;
        (self.version, self.nonce) = (answer.version_info.clone(), answer.nonce.clone());
        Ok(Some(answer))
    }
}

impl Discover for Kuma {
    async fn run(mut self, publisher: Publisher) {
        let mut retry = DISCOVERY_RETRY_MS.0;
        loop {
            let start = Instant::now();
            let result = self.fetch().await;
            self.counters.kuma_fetches.observe(start.elapsed().as_secs_f64());
            let result = match result {
                Ok(Some(answer)) => publisher.publish(groups(&answer).into_iter().map(Arc::new).collect()),
                Ok(None) => {
                    self.counters.tally(Tally::KumaSkipped).add(1);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            let pause = match result {
                Ok(()) => {
                    retry = DISCOVERY_RETRY_MS.0;
                    self.config.refresh_interval.std()
                }
                Err(error) => {
                    self.counters.tally(Tally::KumaFailures).add(1);
                    publisher.failed(&error);
                    let pause = Duration::from_millis(retry);
                    retry = (retry * 2).min(DISCOVERY_RETRY_MS.1);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn assignments_become_groups() {
        let address = api(|request| {
            assert!(request.starts_with("POST /v3/discovery:monitoringassignments?fetch-timeout=2m "), "{request}");
            assert!(request.contains("\"id\":\"me\""), "{request}");
            if request.contains("\"version_info\":\"v1\"") && request.contains("\"response_nonce\":\"n1\"") {
                return Answer::Whole("304 Not Modified".into(), Vec::new());
            }
            Answer::json(
                r#"{"version_info": "v1", "nonce": "n1", "type_url": "t", "resources": [
                    {"@type": "t", "mesh": "default", "service": "redis", "labels": {"team.x": "a"},
                     "targets": [{"name": "redis-1", "scheme": "http", "address": "10.0.0.1:9090", "metrics_path": "/m", "labels": {"v": "1"}}]}]}"#,
            )
        })
        .await;
        assert_eq!(
            found("kuma", &format!("{{server: 'http://{address}', client_id: me}}")).await,
            [
                r#"{__address__="10.0.0.1:9090", __meta_kuma_dataplane="redis-1", __meta_kuma_label_team_x="a", __meta_kuma_label_v="1", __meta_kuma_mesh="default", __meta_kuma_service="redis", __metrics_path__="/m", __scheme__="http", instance="redis-1"}"#
            ]
        );
    }
}

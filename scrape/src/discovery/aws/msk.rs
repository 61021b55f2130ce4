//! Brokers and controllers of MSK's Kafka clusters: an endpoint of a node is a target.

use super::Aws;
use crate::config::{AwsSdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::client::{escaped, with_query};
use crate::discovery::meta::{Meta, host_port, is_full};
use crate::discovery::polling::Poll;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

const PROVISIONED: &str = "PROVISIONED";

/// One account in one region.
pub struct Msk {
    config: AwsSdConfig,
    aws: Aws,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Clusters {
    cluster_info: Option<Cluster>,
    cluster_info_list: Vec<Cluster>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Cluster {
    cluster_name: String,
    cluster_arn: String,
    state: String,
    cluster_type: String,
    current_version: String,
    tags: BTreeMap<String, String>,
    provisioned: Provisioned,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Provisioned {
    current_broker_software_info: Software,
    open_monitoring: Option<Monitoring>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Software {
    kafka_version: String,
    configuration_arn: Option<String>,
    configuration_revision: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Monitoring {
    prometheus: Exporters,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Exporters {
    jmx_exporter: Option<Exporter>,
    node_exporter: Option<Exporter>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Exporter {
    enabled_in_broker: bool,
}

/// The nodes of one page.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Nodes {
    node_info_list: Vec<Node>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    #[serde(rename = "nodeARN")]
    node_arn: String,
    added_to_cluster_time: String,
    instance_type: String,
    broker_node_info: Option<Broker>,
    controller_node_info: Option<Controller>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Broker {
    #[serde(rename = "attachedENIId")]
    attached_eni_id: String,
    broker_id: f64,
    client_subnet: String,
    client_vpc_ip_address: String,
    endpoints: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Controller {
    endpoints: Vec<String>,
}

fn described(cluster: &Cluster, node: &Node) -> Meta {
    let software = &cluster.provisioned.current_broker_software_info;
    let mut meta = Meta::new("__meta_msk_");
    meta.set("cluster_name", &cluster.cluster_name).set("cluster_arn", &cluster.cluster_arn);
    meta.set("cluster_state", &cluster.state).set("cluster_type", &cluster.cluster_type);
    meta.set("cluster_version", &cluster.current_version).set("node_arn", &node.node_arn);
    meta.set("node_added_time", &node.added_to_cluster_time).set("node_instance_type", &node.instance_type);
    meta.set("cluster_kafka_version", &software.kafka_version);
    meta.maybe("cluster_configuration_arn", software.configuration_arn.as_ref());
    meta.maybe("cluster_configuration_revision", software.configuration_revision);
    let exporters = cluster.provisioned.open_monitoring.as_ref().map(|monitoring| &monitoring.prometheus);
    let jmx = exporters.and_then(|exporters| exporters.jmx_exporter.as_ref());
    meta.maybe("cluster_jmx_exporter_enabled", jmx.map(|exporter| exporter.enabled_in_broker));
    meta.each("cluster_tag_", &cluster.tags);
    if let Some(broker) = &node.broker_node_info {
        meta.set("node_type", "broker").set("node_attached_eni", &broker.attached_eni_id);
        meta.set("broker_id", format!("{:.0}", broker.broker_id));
        meta.set("broker_client_subnet", &broker.client_subnet);
        meta.set("broker_client_vpc_ip", &broker.client_vpc_ip_address);
        let exporter = exporters.and_then(|exporters| exporters.node_exporter.as_ref());
        meta.maybe("broker_node_exporter_enabled", exporter.map(|exporter| exporter.enabled_in_broker));
    } else {
        meta.set("node_type", "controller");
    }
    meta
}

fn targets(cluster: &Cluster, page: &Nodes, port: u64) -> Vec<Labels> {
    let mut targets = Vec::new();
    for node in &page.node_info_list {
        let (name, endpoints) = match (&node.broker_node_info, &node.controller_node_info) {
            (Some(broker), _) => ("broker_endpoint_index", &broker.endpoints),
            (None, Some(controller)) => ("controller_endpoint_index", &controller.endpoints),
            (None, None) => continue,
        };
        for (index, endpoint) in endpoints.iter().enumerate() {
            if is_full(&targets) {
                return targets;
            }
            let mut meta = described(cluster, node).address(&host_port(endpoint, port));
            targets.push(meta.show(name, index).labels());
        }
    }
    targets
}

/// The nodes of one page, of a cluster of which nothing is known; for who attacks the parser.
pub fn nodes(page: &Nodes) -> Vec<Labels> {
    targets(&Cluster::default(), page, 80)
}

impl Msk {
    pub fn new(config: &AwsSdConfig, http: &HttpConfig, tools: &Tools) -> Msk {
        Msk { config: config.clone(), aws: Aws::new(config.access(), "kafka", http, tools) }
    }

    /// The clusters that are named, or all; those without brokers of their own are left out.
    async fn clusters(&mut self) -> Result<Vec<Cluster>, String> {
        let mut clusters = Vec::new();
        for arn in self.config.clusters.clone() {
            let answer: Clusters = self.aws.get(&format!("/api/v2/clusters/{}", escaped(&arn))).await?;
            match answer.cluster_info {
                Some(cluster) if cluster.cluster_type == PROVISIONED => clusters.push(cluster),
                _ => tracing::warn!(cluster = arn, "an MSK cluster that is not provisioned is left out"),
            }
        }
        if !self.config.clusters.is_empty() {
            return Ok(clusters);
        }
        let mut token = String::new();
        for _ in 0..MAX_DISCOVERY_PAGES {
            let query = [("clusterTypeFilter", PROVISIONED), ("maxResults", "100"), ("nextToken", &token)];
            let page: Clusters = self.aws.get(&with_query("/api/v2/clusters", query)).await?;
            clusters.extend(page.cluster_info_list);
            token = page.next_token.unwrap_or_default();
            if token.is_empty() {
                return Ok(clusters);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of clusters"))
    }

    async fn nodes(&mut self, cluster: &Cluster) -> Result<Vec<Labels>, String> {
        let (mut found, mut token) = (Vec::new(), String::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let path = format!("/v1/clusters/{}/nodes", escaped(&cluster.cluster_arn));
            let query = [("maxResults", "100"), ("nextToken", token.as_str())];
            let page: Nodes = self.aws.get(&with_query(&path, query)).await?;
            found.extend(targets(cluster, &page, self.config.port));
            token = page.next_token.unwrap_or_default();
            if token.is_empty() {
                return Ok(found);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of nodes"))
    }
}

impl Poll for Msk {
    const MECHANISM: &'static str = "msk";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut targets = Vec::new();
        for cluster in self.clusters().await? {
            targets.extend(self.nodes(&cluster).await?);
        }
        Ok(vec![TargetGroup { source: self.aws.region().to_owned(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn endpoints_of_nodes_become_targets() {
        let address = api(|request| {
            assert!(request.to_lowercase().contains("/eu-1/kafka/aws4_request"), "{request}");
            match request.split(' ').nth(1).unwrap_or_default() {
                "/api/v2/clusters?clusterTypeFilter=PROVISIONED&maxResults=100" => Answer::json(
                    r#"{"clusterInfoList": [{"clusterName": "c", "clusterArn": "arn:c/1", "state": "ACTIVE", "clusterType": "PROVISIONED", "currentVersion": "K3",
                        "tags": {"env": "prod"}, "provisioned": {"currentBrokerSoftwareInfo": {"kafkaVersion": "3.6.0", "configurationArn": "arn:f", "configurationRevision": 2},
                        "openMonitoring": {"prometheus": {"jmxExporter": {"enabledInBroker": true}, "nodeExporter": {"enabledInBroker": false}}}}}]}"#,
                ),
                "/v1/clusters/arn%3Ac%2F1/nodes?maxResults=100" => Answer::json(
                    r#"{"nodeInfoList": [{"nodeARN": "arn:n", "addedToClusterTime": "2024", "instanceType": "m5", "brokerNodeInfo": {"attachedENIId": "eni", "brokerId": 1.0,
                        "clientSubnet": "sn", "clientVpcIpAddress": "10.0.0.1", "endpoints": ["b-1.c", "b-1.d"]}}], "nextToken": "n/2"}"#,
                ),
                "/v1/clusters/arn%3Ac%2F1/nodes?maxResults=100&nextToken=n%2F2" => {
                    Answer::json(r#"{"nodeInfoList": [{"controllerNodeInfo": {"endpoints": ["k-1.c"]}}, {}]}"#)
                }
                path => Answer::Whole("404 Not Found".into(), path.as_bytes().to_vec()),
            }
        })
        .await;
        let yaml = format!(
            "{{role: msk, region: eu-1, endpoint: 'http://{address}', access_key: K, secret_key: S, port: 11001}}"
        );
        let broker = |host: &str, index: u8| {
            format!(
                r#"{{__address__="{host}:11001", __meta_msk_broker_client_subnet="sn", __meta_msk_broker_client_vpc_ip="10.0.0.1", __meta_msk_broker_endpoint_index="{index}", __meta_msk_broker_id="1", __meta_msk_broker_node_exporter_enabled="false", __meta_msk_cluster_arn="arn:c/1", __meta_msk_cluster_configuration_arn="arn:f", __meta_msk_cluster_configuration_revision="2", __meta_msk_cluster_jmx_exporter_enabled="true", __meta_msk_cluster_kafka_version="3.6.0", __meta_msk_cluster_name="c", __meta_msk_cluster_state="ACTIVE", __meta_msk_cluster_tag_env="prod", __meta_msk_cluster_type="PROVISIONED", __meta_msk_cluster_version="K3", __meta_msk_node_added_time="2024", __meta_msk_node_arn="arn:n", __meta_msk_node_attached_eni="eni", __meta_msk_node_instance_type="m5", __meta_msk_node_type="broker"}}"#
            )
        };
        let controller = r#"{__address__="k-1.c:11001", __meta_msk_cluster_arn="arn:c/1", __meta_msk_cluster_configuration_arn="arn:f", __meta_msk_cluster_configuration_revision="2", __meta_msk_cluster_jmx_exporter_enabled="true", __meta_msk_cluster_kafka_version="3.6.0", __meta_msk_cluster_name="c", __meta_msk_cluster_state="ACTIVE", __meta_msk_cluster_tag_env="prod", __meta_msk_cluster_type="PROVISIONED", __meta_msk_cluster_version="K3", __meta_msk_controller_endpoint_index="0", __meta_msk_node_type="controller"}"#;
        assert_eq!(
            found("aws", &yaml).await,
            [broker("b-1.c", 0), broker("b-1.d", 1), controller.to_owned()]
        );
    }
}

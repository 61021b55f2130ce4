//! Caches of ElastiCache: the endpoint of a serverless cache, and every node of a cluster. What the service says becomes
//! labels by tables.

use super::{Aws, describe, tags};
use crate::config::{AwsSdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::meta::{Meta, host_port};
use crate::discovery::polling::Poll;
use crate::discovery::xml::Element;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;

const VERSION: &str = "2015-02-02";

/// Labels of a serverless cache and the elements that they are made of.
const SERVERLESS: &[(&str, &str)] = &[
    ("arn", "ARN"),
    ("name", "ServerlessCacheName"),
    ("status", "Status"),
    ("engine", "Engine"),
    ("full_engine_version", "FullEngineVersion"),
    ("major_engine_version", "MajorEngineVersion"),
    ("description", "Description"),
    ("create_time", "CreateTime"),
    ("snapshot_retention_limit", "SnapshotRetentionLimit"),
    ("daily_snapshot_time", "DailySnapshotTime"),
    ("user_group_id", "UserGroupId"),
    ("kms_key_id", "KmsKeyId"),
    ("endpoint_address", "Endpoint/Address"),
    ("endpoint_port", "Endpoint/Port"),
    ("reader_endpoint_address", "ReaderEndpoint/Address"),
    ("reader_endpoint_port", "ReaderEndpoint/Port"),
    ("cache_usage_limit_data_storage_maximum", "CacheUsageLimits/DataStorage/Maximum"),
    ("cache_usage_limit_data_storage_minimum", "CacheUsageLimits/DataStorage/Minimum"),
    ("cache_usage_limit_data_storage_unit", "CacheUsageLimits/DataStorage/Unit"),
    ("cache_usage_limit_ecpu_per_second_maximum", "CacheUsageLimits/ECPUPerSecond/Maximum"),
    ("cache_usage_limit_ecpu_per_second_minimum", "CacheUsageLimits/ECPUPerSecond/Minimum"),
];

/// The same of a cluster.
const CLUSTER: &[(&str, &str)] = &[
    ("arn", "ARN"),
    ("cache_cluster_id", "CacheClusterId"),
    ("cache_cluster_status", "CacheClusterStatus"),
    ("engine", "Engine"),
    ("engine_version", "EngineVersion"),
    ("cache_node_type", "CacheNodeType"),
    ("num_cache_nodes", "NumCacheNodes"),
    ("cache_cluster_create_time", "CacheClusterCreateTime"),
    ("at_rest_encryption_enabled", "AtRestEncryptionEnabled"),
    ("transit_encryption_enabled", "TransitEncryptionEnabled"),
    ("transit_encryption_mode", "TransitEncryptionMode"),
    ("auth_token_enabled", "AuthTokenEnabled"),
    ("auto_minor_version_upgrade", "AutoMinorVersionUpgrade"),
    ("cache_subnet_group_name", "CacheSubnetGroupName"),
    ("client_download_landing_page", "ClientDownloadLandingPage"),
    ("ip_discovery", "IpDiscovery"),
    ("network_type", "NetworkType"),
    ("preferred_availability_zone", "PreferredAvailabilityZone"),
    ("preferred_maintenance_window", "PreferredMaintenanceWindow"),
    ("preferred_outpost_arn", "PreferredOutpostArn"),
    ("replication_group_id", "ReplicationGroupId"),
    ("replication_group_log_delivery_enabled", "ReplicationGroupLogDeliveryEnabled"),
    ("snapshot_retention_limit", "SnapshotRetentionLimit"),
    ("snapshot_window", "SnapshotWindow"),
    ("auth_token_last_modified", "AuthTokenLastModifiedDate"),
    ("cache_parameter_group", "CacheParameterGroup/CacheParameterGroupName"),
    ("configuration_endpoint_address", "ConfigurationEndpoint/Address"),
    ("configuration_endpoint_port", "ConfigurationEndpoint/Port"),
    ("notification_topic_arn", "NotificationConfiguration/TopicArn"),
    ("notification_topic_status", "NotificationConfiguration/TopicStatus"),
    ("pending_modified_values_auth_token_status", "PendingModifiedValues/AuthTokenStatus"),
    ("pending_modified_values_cache_node_type", "PendingModifiedValues/CacheNodeType"),
    ("pending_modified_values_engine_version", "PendingModifiedValues/EngineVersion"),
    ("pending_modified_values_num_cache_nodes", "PendingModifiedValues/NumCacheNodes"),
    ("pending_modified_values_transit_encryption_enabled", "PendingModifiedValues/TransitEncryptionEnabled"),
    ("pending_modified_values_transit_encryption_mode", "PendingModifiedValues/TransitEncryptionMode"),
];

/// And of one of its nodes.
const NODE: &[(&str, &str)] = &[
    ("node_id", "CacheNodeId"),
    ("node_status", "CacheNodeStatus"),
    ("node_create_time", "CacheNodeCreateTime"),
    ("node_availability_zone", "CustomerAvailabilityZone"),
    ("node_customer_outpost_arn", "CustomerOutpostArn"),
    ("node_source_cache_node_id", "SourceCacheNodeId"),
    ("node_parameter_group_status", "ParameterGroupStatus"),
    ("node_endpoint_address", "Endpoint/Address"),
    ("node_endpoint_port", "Endpoint/Port"),
];

/// And of one of its logs.
const LOG_DELIVERY: &[(&str, &str)] = &[
    ("destination_type", "DestinationType"),
    ("log_format", "LogFormat"),
    ("log_type", "LogType"),
    ("status", "Status"),
    ("message", "Message"),
    ("log_group", "DestinationDetails/CloudWatchLogsDetails/LogGroup"),
    ("delivery_stream", "DestinationDetails/KinesisFirehoseDetails/DeliveryStream"),
];

/// One account in one region.
pub struct ElastiCache {
    config: AwsSdConfig,
    aws: Aws,
}

/// What an action lists.
struct Listing {
    action: &'static str,
    list: &'static str,
    /// How the next page is asked for.
    token: &'static str,
}

const SERVERLESS_LISTING: Listing =
    Listing { action: "DescribeServerlessCaches", list: "ServerlessCaches", token: "NextToken" };
const CLUSTER_LISTING: Listing =
    Listing { action: "DescribeCacheClusters", list: "CacheClusters", token: "Marker" };

fn address(meta: Meta, element: &Element) -> Meta {
    match (element.text_at("Endpoint/Address"), element.text_at("Endpoint/Port")) {
        (Some(host), Some(port)) => meta.address(&host_port(host, port)),
        _ => meta,
    }
}

fn serverless(cache: &Element, tag_list: &[Element]) -> Labels {
    let mut meta = address(Meta::new("__meta_elasticache_"), cache);
    meta.set("deployment_option", "serverless");
    describe(&mut meta, "serverless_cache_", SERVERLESS, cache);
    let lists = [("security_group_id", "SecurityGroupIds"), ("subnet_id", "SubnetIds")];
    for (name, list) in lists {
        for (at, id) in cache.list(list).iter().enumerate() {
            meta.set(&format!("serverless_cache_{name}_{at}"), &id.text);
        }
    }
    meta.each("serverless_cache_tag_", tags(tag_list));
    meta.labels()
}

/// A target for each node.
fn nodes(cluster: &Element, tag_list: &[Element]) -> Vec<Labels> {
    let target = |node: &Element| {
        let mut meta = address(Meta::new("__meta_elasticache_"), node);
        meta.set("deployment_option", "node");
        describe(&mut meta, "cache_cluster_", CLUSTER, cluster);
        for (at, delivery) in cluster.list("LogDeliveryConfigurations").iter().enumerate() {
            for (name, path) in LOG_DELIVERY {
                let name = format!("cache_cluster_log_delivery_configuration_{name}_{at}");
                meta.maybe(&name, delivery.text_at(path));
            }
        }
        let removed = cluster.list("PendingModifiedValues/CacheNodeIdsToRemove");
        if !removed.is_empty() {
            let removed: Vec<&str> = removed.iter().map(|id| id.text.as_str()).collect();
            meta.set("cache_cluster_pending_modified_values_cache_node_ids_to_remove", removed.join(","));
        }
        for (at, group) in cluster.list("SecurityGroups").iter().enumerate() {
            let name = |part| format!("cache_cluster_security_group_membership_{part}_{at}");
            meta.maybe(&name("id"), group.text_at("SecurityGroupId"));
            meta.maybe(&name("status"), group.text_at("Status"));
        }
        describe(&mut meta, "cache_cluster_", NODE, node);
        meta.each("cache_cluster_tag_", tags(tag_list));
        meta.labels()
    };
    cluster.list("CacheNodes").iter().map(target).collect()
}

/// The nodes of one answer; for who attacks the parser.
pub fn clusters(answer: &Element) -> Vec<Labels> {
    answer.list("DescribeCacheClustersResult/CacheClusters").iter().flat_map(|one| nodes(one, &[])).collect()
}

/// The serverless caches and the clusters that ARNs name.
fn split(arns: &[String]) -> (Vec<&str>, Vec<&str>) {
    let (mut serverless, mut clusters) = (Vec::new(), Vec::new());
    for arn in arns {
        let mut parts = arn.splitn(7, ':').skip(5);
        match (parts.next(), parts.next()) {
            (Some("serverlesscache"), Some(name)) => serverless.push(name),
            (Some("replicationgroup" | "cluster"), Some(name)) => clusters.push(name),
            _ => tracing::warn!(arn, "what is no ARN of a cache is left out"),
        }
    }
    (serverless, clusters)
}

impl ElastiCache {
    pub fn new(config: &AwsSdConfig, http: &HttpConfig, tools: &Tools) -> ElastiCache {
        ElastiCache { config: config.clone(), aws: Aws::new(config.access(), "elasticache", http, tools) }
    }

    /// All pages of a listing.
    async fn list(&mut self, listing: &Listing, form: &[(&str, &str)]) -> Result<Vec<Element>, String> {
        let form: Vec<(String, String)> = form.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let (mut all, mut form_of_page) = (Vec::new(), form.clone());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let mut page = self.aws.tree(listing.action, VERSION, &form_of_page, None).await?;
            let result = format!("{}Result", listing.action);
            let token = page.text_at(&format!("{result}/{}", listing.token)).map(str::to_owned);
            let found = page.children.iter_mut().find(|child| child.name == result);
            let list = found.and_then(|result| result.children.iter_mut().find(|c| c.name == listing.list));
            all.append(list.map(|list| &mut list.children).unwrap_or(&mut Vec::new()));
            let Some(token) = token else { return Ok(all) };
            form_of_page.clone_from(&form);
            form_of_page.push((listing.token.into(), token));
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {}", listing.action))
    }

    async fn caches(&mut self) -> Result<(Vec<Element>, Vec<Element>), String> {
        let arns = self.config.clusters.clone();
        let (named_caches, named_clusters) = split(&arns);
        let (mut caches, mut clusters) = (Vec::new(), Vec::new());
        let info = ("ShowCacheNodeInfo", "true");
        if arns.is_empty() {
            caches = self.list(&SERVERLESS_LISTING, &[]).await?;
            clusters = self.list(&CLUSTER_LISTING, &[info]).await?;
        }
        for name in named_caches {
            caches.extend(self.list(&SERVERLESS_LISTING, &[("ServerlessCacheName", name)]).await?);
        }
        for id in named_clusters {
            clusters.extend(self.list(&CLUSTER_LISTING, &[info, ("CacheClusterId", id)]).await?);
        }
        Ok((caches, clusters))
    }

    async fn tags(&mut self, thing: &Element) -> Result<Element, String> {
        let Some(arn) = thing.text_at("ARN") else { return Ok(Element::default()) };
        let form = [("ResourceName".to_owned(), arn.to_owned())];
        self.aws.tree("ListTagsForResource", VERSION, &form, None).await
    }
}

impl Poll for ElastiCache {
    const MECHANISM: &'static str = "elasticache";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (caches, clusters) = self.caches().await?;
        let (mut targets, path) = (Vec::new(), "ListTagsForResourceResult/TagList");
        for cache in &caches {
            targets.push(serverless(cache, self.tags(cache).await?.list(path)));
        }
        for cluster in &clusters {
            targets.extend(nodes(cluster, self.tags(cluster).await?.list(path)));
        }
        Ok(vec![TargetGroup { source: self.aws.region().to_owned(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    fn answer(request: &str) -> Answer {
        assert!(request.to_lowercase().contains("/eu-1/elasticache/aws4_request"), "{request}");
        let action =
            request.split("Action=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
        let body = match action {
            "DescribeServerlessCaches" => "<R><DescribeServerlessCachesResult><ServerlessCaches><member><ARN>arn:s</ARN><ServerlessCacheName>s</ServerlessCacheName>
                <CreateTime>2024-01-02T03:04:05Z</CreateTime><Endpoint><Address>s.example</Address><Port>6379</Port></Endpoint><SubnetIds><SubnetId>sn-0</SubnetId><SubnetId>sn-1</SubnetId></SubnetIds>
                <CacheUsageLimits><DataStorage><Maximum>5</Maximum><Unit>GB</Unit></DataStorage></CacheUsageLimits></member></ServerlessCaches></DescribeServerlessCachesResult></R>",
            "DescribeCacheClusters" if request.contains("Marker=m") => "<R><DescribeCacheClustersResult/></R>",
            "DescribeCacheClusters" => "<R><DescribeCacheClustersResult><Marker>m</Marker><CacheClusters><CacheCluster><CacheClusterId>c</CacheClusterId><Engine>redis</Engine>
                <SecurityGroups><member><SecurityGroupId>sg</SecurityGroupId><Status>active</Status></member></SecurityGroups>
                <LogDeliveryConfigurations><LogDeliveryConfiguration><LogType>slow-log</LogType></LogDeliveryConfiguration></LogDeliveryConfigurations>
                <PendingModifiedValues><CacheNodeIdsToRemove><CacheNodeId>1</CacheNodeId><CacheNodeId>2</CacheNodeId></CacheNodeIdsToRemove></PendingModifiedValues>
                <CacheNodes><CacheNode><CacheNodeId>0001</CacheNodeId><Endpoint><Address>c.example</Address><Port>6380</Port></Endpoint></CacheNode></CacheNodes></CacheCluster></CacheClusters>
                </DescribeCacheClustersResult></R>",
            "ListTagsForResource" => {
                assert!(request.contains("ResourceName=arn%3As"), "{request}");
                "<R><ListTagsForResourceResult><TagList><Tag><Key>k</Key><Value>v</Value></Tag></TagList></ListTagsForResourceResult></R>"
            }
            other => panic!("{other}"),
        };
        Answer::typed("text/xml", body.as_bytes())
    }

    #[tokio::test]
    async fn caches_and_nodes_become_targets() {
        let address = api(answer).await;
        let yaml = format!(
            "{{role: elasticache, region: eu-1, endpoint: 'http://{address}', access_key: K, secret_key: S}}"
        );
        assert_eq!(
            found("aws", &yaml).await,
            [
                r#"{__address__="s.example:6379", __meta_elasticache_deployment_option="serverless", __meta_elasticache_serverless_cache_arn="arn:s", __meta_elasticache_serverless_cache_cache_usage_limit_data_storage_maximum="5", __meta_elasticache_serverless_cache_cache_usage_limit_data_storage_unit="GB", __meta_elasticache_serverless_cache_create_time="2024-01-02T03:04:05Z", __meta_elasticache_serverless_cache_endpoint_address="s.example", __meta_elasticache_serverless_cache_endpoint_port="6379", __meta_elasticache_serverless_cache_name="s", __meta_elasticache_serverless_cache_subnet_id_0="sn-0", __meta_elasticache_serverless_cache_subnet_id_1="sn-1", __meta_elasticache_serverless_cache_tag_k="v"}"#,
                r#"{__address__="c.example:6380", __meta_elasticache_cache_cluster_cache_cluster_id="c", __meta_elasticache_cache_cluster_engine="redis", __meta_elasticache_cache_cluster_log_delivery_configuration_log_type_0="slow-log", __meta_elasticache_cache_cluster_node_endpoint_address="c.example", __meta_elasticache_cache_cluster_node_endpoint_port="6380", __meta_elasticache_cache_cluster_node_id="0001", __meta_elasticache_cache_cluster_pending_modified_values_cache_node_ids_to_remove="1,2", __meta_elasticache_cache_cluster_security_group_membership_id_0="sg", __meta_elasticache_cache_cluster_security_group_membership_status_0="active", __meta_elasticache_deployment_option="node"}"#
            ]
        );
    }

    #[test]
    fn arns_say_what_they_name() {
        let arns =
            ["arn:aws:elasticache:r:1:serverlesscache:a", "arn:aws:elasticache:r:1:replicationgroup:b", "x"];
        assert_eq!(super::split(&arns.map(str::to_owned)), (vec!["a"], vec!["b"]));
    }
}

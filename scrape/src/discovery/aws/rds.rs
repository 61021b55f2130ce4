//! Instances of RDS' database clusters. What the service says of a cluster and of an instance becomes labels by two
//! tables.

use super::{Aws, describe, tags};
use crate::config::{AwsSdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::meta::{Meta, host_port};
use crate::discovery::polling::Poll;
use crate::discovery::xml::Element;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;

const VERSION: &str = "2014-10-31";

/// Labels of a cluster and the elements that they are made of.
const CLUSTER: &[(&str, &str)] = &[
    ("activity_stream_kinesis_stream_name", "ActivityStreamKinesisStreamName"),
    ("activity_stream_kms_key_id", "ActivityStreamKmsKeyId"),
    ("activity_stream_mode", "ActivityStreamMode"),
    ("activity_stream_status", "ActivityStreamStatus"),
    ("allocated_storage", "AllocatedStorage"),
    ("arn", "DBClusterArn"),
    ("auto_minor_version_upgrade", "AutoMinorVersionUpgrade"),
    ("automatic_restart_time", "AutomaticRestartTime"),
    ("aws_backup_recovery_point_arn", "AwsBackupRecoveryPointArn"),
    ("backtrack_consumed_change_records", "BacktrackConsumedChangeRecords"),
    ("backtrack_window", "BacktrackWindow"),
    ("backup_retention_period", "BackupRetentionPeriod"),
    ("capacity", "Capacity"),
    ("character_set_name", "CharacterSetName"),
    ("clone_group_id", "CloneGroupId"),
    ("cluster_create_time", "ClusterCreateTime"),
    ("cluster_scalability_type", "ClusterScalabilityType"),
    ("copy_tags_to_snapshot", "CopyTagsToSnapshot"),
    ("cross_account_clone", "CrossAccountClone"),
    ("database_insights_mode", "DatabaseInsightsMode"),
    ("database_name", "DatabaseName"),
    ("db_system_id", "DBSystemId"),
    ("deletion_protection", "DeletionProtection"),
    ("earliest_backtrack_time", "EarliestBacktrackTime"),
    ("earliest_restorable_time", "EarliestRestorableTime"),
    ("endpoint", "Endpoint"),
    ("engine_lifecycle_support", "EngineLifecycleSupport"),
    ("engine_mode", "EngineMode"),
    ("engine_version", "EngineVersion"),
    ("engine", "Engine"),
    ("global_cluster_identifier", "GlobalClusterIdentifier"),
    ("global_write_forwarding_requested", "GlobalWriteForwardingRequested"),
    ("global_write_forwarding_status", "GlobalWriteForwardingStatus"),
    ("hosted_zone_id", "HostedZoneId"),
    ("http_endpoint_enabled", "HttpEndpointEnabled"),
    ("iam_database_authentication_enabled", "IAMDatabaseAuthenticationEnabled"),
    ("identifier", "DBClusterIdentifier"),
    ("instance_class", "DBClusterInstanceClass"),
    ("io_optimized_next_allowed_modification_time", "IOOptimizedNextAllowedModificationTime"),
    ("iops", "Iops"),
    ("kms_key_id", "KmsKeyId"),
    ("latest_restorable_time", "LatestRestorableTime"),
    ("local_write_forwarding_status", "LocalWriteForwardingStatus"),
    ("master_username", "MasterUsername"),
    ("monitoring_interval", "MonitoringInterval"),
    ("monitoring_role_arn", "MonitoringRoleArn"),
    ("multi_az", "MultiAZ"),
    ("network_type", "NetworkType"),
    ("parameter_group", "DBClusterParameterGroup"),
    ("percent_progress", "PercentProgress"),
    ("performance_insights_enabled", "PerformanceInsightsEnabled"),
    ("performance_insights_kms_key_id", "PerformanceInsightsKMSKeyId"),
    ("performance_insights_retention_period", "PerformanceInsightsRetentionPeriod"),
    ("port", "Port"),
    ("preferred_backup_window", "PreferredBackupWindow"),
    ("preferred_maintenance_window", "PreferredMaintenanceWindow"),
    ("publicly_accessible", "PubliclyAccessible"),
    ("reader_endpoint", "ReaderEndpoint"),
    ("replication_source_identifier", "ReplicationSourceIdentifier"),
    ("resource_id", "DbClusterResourceId"),
    ("serverless_v2_platform_version", "ServerlessV2PlatformVersion"),
    ("status", "Status"),
    ("storage_encrypted", "StorageEncrypted"),
    ("storage_encryption_type", "StorageEncryptionType"),
    ("storage_throughput", "StorageThroughput"),
    ("storage_type", "StorageType"),
    ("subnet_group", "DBSubnetGroup"),
    ("upgrade_rollout_order", "UpgradeRolloutOrder"),
];

/// The same of an instance.
const INSTANCE: &[(&str, &str)] = &[
    ("activity_stream_engine_native_audit_fields_included", "ActivityStreamEngineNativeAuditFieldsIncluded"),
    ("activity_stream_kinesis_stream_name", "ActivityStreamKinesisStreamName"),
    ("activity_stream_kms_key_id", "ActivityStreamKmsKeyId"),
    ("activity_stream_mode", "ActivityStreamMode"),
    ("activity_stream_policy_status", "ActivityStreamPolicyStatus"),
    ("activity_stream_status", "ActivityStreamStatus"),
    ("allocated_storage", "AllocatedStorage"),
    ("arn", "DBInstanceArn"),
    ("auto_minor_version_upgrade", "AutoMinorVersionUpgrade"),
    ("automatic_restart_time", "AutomaticRestartTime"),
    ("automation_mode", "AutomationMode"),
    ("availability_zone", "AvailabilityZone"),
    ("aws_backup_recovery_point_arn", "AwsBackupRecoveryPointArn"),
    ("backup_retention_period", "BackupRetentionPeriod"),
    ("backup_target", "BackupTarget"),
    ("ca_certificate_identifier", "CACertificateIdentifier"),
    ("character_set_name", "CharacterSetName"),
    ("class", "DBInstanceClass"),
    ("copy_tags_to_snapshot", "CopyTagsToSnapshot"),
    ("custom_iam_instance_profile", "CustomIAMInstanceProfile"),
    ("customer_owned_ip_enabled", "CustomerOwnedIpEnabled"),
    ("database_insights_mode", "DatabaseInsightsMode"),
    ("db_cluster_identifier", "DBClusterIdentifier"),
    ("db_name", "DBName"),
    ("db_system_id", "DBSystemId"),
    ("dedicated_log_volume", "DedicatedLogVolume"),
    ("deletion_protection", "DeletionProtection"),
    ("endpoint_address", "Endpoint/Address"),
    ("endpoint_hosted_zone_id", "Endpoint/HostedZoneId"),
    ("endpoint_port", "Endpoint/Port"),
    ("engine_lifecycle_support", "EngineLifecycleSupport"),
    ("engine_version", "EngineVersion"),
    ("engine", "Engine"),
    ("enhanced_monitoring_resource_arn", "EnhancedMonitoringResourceArn"),
    ("iam_database_authentication_enabled", "IAMDatabaseAuthenticationEnabled"),
    ("identifier", "DBInstanceIdentifier"),
    ("instance_create_time", "InstanceCreateTime"),
    ("iops", "Iops"),
    ("is_storage_config_upgrade_available", "IsStorageConfigUpgradeAvailable"),
    ("kms_key_id", "KmsKeyId"),
    ("latest_restorable_time", "LatestRestorableTime"),
    ("license_model", "LicenseModel"),
    ("listener_endpoint_address", "ListenerEndpoint/Address"),
    ("listener_endpoint_hosted_zone_id", "ListenerEndpoint/HostedZoneId"),
    ("listener_endpoint_port", "ListenerEndpoint/Port"),
    ("master_username", "MasterUsername"),
    ("max_allocated_storage", "MaxAllocatedStorage"),
    ("monitoring_interval", "MonitoringInterval"),
    ("monitoring_role_arn", "MonitoringRoleArn"),
    ("multi_az", "MultiAZ"),
    ("multi_tenant", "MultiTenant"),
    ("nchar_character_set_name", "NcharCharacterSetName"),
    ("network_type", "NetworkType"),
    ("percent_progress", "PercentProgress"),
    ("performance_insights_enabled", "PerformanceInsightsEnabled"),
    ("performance_insights_kms_key_id", "PerformanceInsightsKMSKeyId"),
    ("performance_insights_retention_period", "PerformanceInsightsRetentionPeriod"),
    ("port", "DbInstancePort"),
    ("preferred_backup_window", "PreferredBackupWindow"),
    ("preferred_maintenance_window", "PreferredMaintenanceWindow"),
    ("promotion_tier", "PromotionTier"),
    ("publicly_accessible", "PubliclyAccessible"),
    ("read_replica_source_db_cluster_identifier", "ReadReplicaSourceDBClusterIdentifier"),
    ("read_replica_source_db_instance_identifier", "ReadReplicaSourceDBInstanceIdentifier"),
    ("replica_mode", "ReplicaMode"),
    ("resource_id", "DbiResourceId"),
    ("resume_full_automation_mode_time", "ResumeFullAutomationModeTime"),
    ("secondary_availability_zone", "SecondaryAvailabilityZone"),
    ("status", "DBInstanceStatus"),
    ("storage_encrypted", "StorageEncrypted"),
    ("storage_encryption_type", "StorageEncryptionType"),
    ("storage_throughput", "StorageThroughput"),
    ("storage_type", "StorageType"),
    ("storage_volume_status", "StorageVolumeStatus"),
    ("subnet_group", "DBSubnetGroup/DBSubnetGroupName"),
    ("tde_credential_arn", "TdeCredentialArn"),
    ("timezone", "Timezone"),
    ("upgrade_rollout_order", "UpgradeRolloutOrder"),
];

/// One account in one region.
pub struct Rds {
    config: AwsSdConfig,
    aws: Aws,
}

/// One instance of a cluster.
fn target(cluster: &Element, instance: &Element, port: u64) -> Labels {
    let mut meta = Meta::new("__meta_rds_");
    if let Some(host) = instance.text_at("Endpoint/Address") {
        meta = meta.address(&host_port(host, port));
    }
    describe(&mut meta, "cluster_", CLUSTER, cluster);
    meta.each("cluster_tag_", tags(cluster.list("TagList")));
    describe(&mut meta, "instance_", INSTANCE, instance);
    meta.each("instance_tag_", tags(instance.list("TagList")));
    let identifier = instance.text_at("DBInstanceIdentifier");
    let member = cluster.list("DBClusterMembers").iter();
    let writer = member
        .filter(|member| identifier.is_some() && member.text_at("DBInstanceIdentifier") == identifier)
        .find_map(|member| member.text_at("IsClusterWriter"));
    meta.maybe("instance_is_cluster_writer", writer);
    meta.labels()
}

/// The instances of one answer, of a cluster of which nothing is known; for who attacks the parser.
pub fn instances(answer: &Element) -> Vec<Labels> {
    let list = answer.list("DescribeDBInstancesResult/DBInstances");
    list.iter().map(|instance| target(&Element::default(), instance, 80)).collect()
}

impl Rds {
    pub fn new(config: &AwsSdConfig, http: &HttpConfig, tools: &Tools) -> Rds {
        Rds { config: config.clone(), aws: Aws::new(config.access(), "rds", http, tools) }
    }

    /// All pages of an action's list.
    async fn list(
        &mut self,
        action: &str,
        list: &str,
        form: &[(String, String)],
    ) -> Result<Vec<Element>, String> {
        let mut all = Vec::new();
        let mut marker = None;
        for _ in 0..MAX_DISCOVERY_PAGES {
            let result = format!("{action}Result");
            let mut page = self.aws.tree(action, VERSION, form, marker.take()).await?;
            marker = page.text_at(&format!("{result}/Marker")).map(str::to_owned);
            let found = page.children.iter_mut().find(|child| child.name == result);
            let list = found.and_then(|result| result.children.iter_mut().find(|child| child.name == list));
            all.append(list.map(|list| &mut list.children).unwrap_or(&mut Vec::new()));
            if marker.is_none() {
                return Ok(all);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {action}"))
    }

    async fn clusters(&mut self) -> Result<Vec<Element>, String> {
        let (action, list) = ("DescribeDBClusters", "DBClusters");
        if self.config.clusters.is_empty() {
            return self.list(action, list, &[]).await;
        }
        let mut all = Vec::new();
        for arn in self.config.clusters.clone() {
            all.extend(self.list(action, list, &[("DBClusterIdentifier".into(), arn)]).await?);
        }
        Ok(all)
    }

    fn filters(&self, cluster: &str) -> Vec<(String, String)> {
        let own = ("db-cluster-id".to_owned(), vec![cluster.to_owned()]);
        let others = self.config.filters.iter().map(|filter| (filter.name.clone(), filter.values.clone()));
        let mut form = Vec::new();
        for (at, (name, values)) in std::iter::once(own).chain(others).enumerate() {
            let base = format!("Filters.Filter.{}", at + 1);
            form.push((format!("{base}.Name"), name));
            let values = values.into_iter().enumerate();
            form.extend(values.map(|(at, value)| (format!("{base}.Values.Value.{}", at + 1), value)));
        }
        form
    }
}

impl Poll for Rds {
    const MECHANISM: &'static str = "rds";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut targets = Vec::new();
        for cluster in self.clusters().await? {
            let Some(arn) = cluster.text_at("DBClusterArn") else { continue };
            let filters = self.filters(arn);
            let instances = self.list("DescribeDBInstances", "DBInstances", &filters).await?;
            targets.extend(instances.iter().map(|instance| target(&cluster, instance, self.config.port)));
        }
        Ok(vec![TargetGroup { source: self.aws.region().to_owned(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn instances_of_clusters_become_targets() {
        let address = api(|request| {
            assert!(request.to_lowercase().contains("/eu-1/rds/aws4_request"), "{request}");
            let body = if request.contains("Action=DescribeDBClusters") {
                match request.contains("Marker=m") {
                    true => "<R><DescribeDBClustersResult><DBClusters/></DescribeDBClustersResult></R>",
                    false => {
                        "<R><DescribeDBClustersResult><Marker>m</Marker><DBClusters><DBCluster><DBClusterArn>arn:c</DBClusterArn><Engine>aurora</Engine>
                         <MultiAZ>true</MultiAZ><ClusterCreateTime>2024-01-02T03:04:05.678Z</ClusterCreateTime><TagList><Tag><Key>k</Key><Value>v</Value></Tag></TagList>
                         <DBClusterMembers><DBClusterMember><DBInstanceIdentifier>i</DBInstanceIdentifier><IsClusterWriter>true</IsClusterWriter></DBClusterMember></DBClusterMembers>
                         </DBCluster></DBClusters></DescribeDBClustersResult></R>"
                    }
                }
            } else {
                assert!(request.contains("Filters.Filter.1.Name=db-cluster-id&Filters.Filter.1.Values.Value.1=arn%3Ac"), "{request}");
                assert!(request.contains("Filters.Filter.2.Name=engine&Filters.Filter.2.Values.Value.1=x"), "{request}");
                "<R><DescribeDBInstancesResult><DBInstances><DBInstance><DBInstanceIdentifier>i</DBInstanceIdentifier><DBInstanceClass>db.r5</DBInstanceClass>
                 <Endpoint><Address>i.example</Address><Port>3306</Port></Endpoint><DBSubnetGroup><DBSubnetGroupName>sn</DBSubnetGroupName></DBSubnetGroup>
                 <TagList/></DBInstance></DBInstances></DescribeDBInstancesResult></R>"
            };
            Answer::typed("text/xml", body.as_bytes())
        })
        .await;
        let yaml = format!(
            "{{role: rds, region: eu-1, endpoint: 'http://{address}', access_key: K, secret_key: S, port: 9104, filters: [{{name: engine, values: [x]}}]}}"
        );
        assert_eq!(
            found("aws", &yaml).await,
            [
                r#"{__address__="i.example:9104", __meta_rds_cluster_arn="arn:c", __meta_rds_cluster_cluster_create_time="2024-01-02T03:04:05Z", __meta_rds_cluster_engine="aurora", __meta_rds_cluster_multi_az="true", __meta_rds_cluster_tag_k="v", __meta_rds_instance_class="db.r5", __meta_rds_instance_endpoint_address="i.example", __meta_rds_instance_endpoint_port="3306", __meta_rds_instance_identifier="i", __meta_rds_instance_is_cluster_writer="true", __meta_rds_instance_subnet_group="sn"}"#
            ]
        );
    }
}

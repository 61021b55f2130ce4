//! Tasks of ECS services: every running task with an address is a target, described by its cluster, its service and,
//! where it runs on one, its EC2 instance.

use super::{Aws, Tag, pairs};
use crate::config::{AwsAccess, AwsSdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::meta::{Meta, host_port};
use crate::discovery::polling::Poll;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Things that one request may name.
const SERVICES_PER_REQUEST: usize = 10;
const THINGS_PER_REQUEST: usize = 100;

/// One account in one region.
pub struct Ecs {
    config: AwsSdConfig,
    aws: Aws,
    ec2: Aws,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Ask<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    clusters: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    services: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tasks: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    container_instances: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What any of the actions answers.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Page {
    cluster_arns: Vec<String>,
    service_arns: Vec<String>,
    task_arns: Vec<String>,
    clusters: Vec<Cluster>,
    services: Vec<Service>,
    tasks: Vec<Task>,
    container_instances: Vec<ContainerInstance>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Cluster {
    cluster_arn: String,
    cluster_name: Option<String>,
    tags: Vec<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Service {
    service_arn: String,
    service_name: String,
    cluster_arn: String,
    status: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Task {
    task_arn: String,
    task_definition_arn: String,
    group: String,
    launch_type: String,
    availability_zone: String,
    desired_status: String,
    last_status: String,
    health_status: String,
    platform_family: Option<String>,
    platform_version: Option<String>,
    container_instance_arn: Option<String>,
    attachments: Vec<Attachment>,
    tags: Vec<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attachment {
    r#type: String,
    details: Vec<Detail>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail {
    name: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerInstance {
    container_instance_arn: String,
    ec2_instance_id: Option<String>,
}

/// The items of an XML list.
#[derive(Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned", default)]
struct Items<T> {
    item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items { item: Vec::new() }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Ec2Answer {
    reservation_set: Items<Reservation>,
    network_interface_set: Items<Interface>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Reservation {
    instances_set: Items<Instance>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    instance_id: String,
    private_ip_address: String,
    ip_address: String,
    subnet_id: String,
    instance_type: String,
    tag_set: Tags,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Tags {
    item: Vec<InstanceTag>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct InstanceTag {
    key: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Interface {
    network_interface_id: String,
    association: Association,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Association {
    public_ip: String,
}

/// What tasks run on.
#[derive(Default)]
struct Ground {
    /// By the container instance.
    instances: BTreeMap<String, Instance>,
    /// Public addresses by the network interface.
    public: BTreeMap<String, String>,
}

impl Task {
    /// A detail of its own network interface; none where it uses its host's.
    fn detail(&self, name: &str) -> Option<&str> {
        let interface = self.attachments.iter().find(|a| a.r#type == "ElasticNetworkInterface")?;
        let found = interface.details.iter().find(|detail| detail.name == name);
        Some(found.map_or("", |detail| detail.value.as_str()))
    }
}

fn target(
    cluster: Option<&Cluster>,
    service: &Service,
    task: &Task,
    ground: &Ground,
    region: &str,
    port: u64,
) -> Option<Labels> {
    let host = task.container_instance_arn.as_ref().and_then(|arn| ground.instances.get(arn));
    let (mode, ip, subnet, public) = match task.detail("privateIPv4Address") {
        Some(ip) => {
            let interface = task.detail("networkInterfaceId").unwrap_or_default();
            let public = ground.public.get(interface).map_or("", String::as_str);
            ("awsvpc", ip, task.detail("subnetId").unwrap_or_default(), public)
        }
        None => {
            let host = host?;
            ("bridge", host.private_ip_address.as_str(), host.subnet_id.as_str(), host.ip_address.as_str())
        }
    };
    if ip.is_empty() {
        return None;
    }
    let mut meta = Meta::new("__meta_ecs_").address(&host_port(ip, port));
    meta.set("cluster_arn", &service.cluster_arn).set("service", &service.service_name);
    meta.set("service_arn", &service.service_arn).set("service_status", &service.status);
    meta.set("task_group", &task.group).set("task_arn", &task.task_arn);
    meta.set("task_definition", &task.task_definition_arn).set("ip_address", ip).set("region", region);
    meta.set("launch_type", &task.launch_type).set("availability_zone", &task.availability_zone);
    meta.set("desired_status", &task.desired_status).set("last_status", &task.last_status);
    meta.set("health_status", &task.health_status).set("network_mode", mode);
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    meta.maybe("subnet_id", some(subnet)).maybe("public_ip", some(public));
    meta.maybe("container_instance_arn", task.container_instance_arn.as_ref());
    meta.maybe("platform_family", task.platform_family.as_ref());
    meta.maybe("platform_version", task.platform_version.as_ref());
    if let Some(host) = host {
        meta.set("ec2_instance_id", &host.instance_id);
        meta.maybe("ec2_instance_type", some(&host.instance_type));
        meta.maybe("ec2_instance_private_ip", some(&host.private_ip_address));
        meta.maybe("ec2_instance_public_ip", some(&host.ip_address));
        meta.each("tag_ec2_", host.tag_set.item.iter().map(|tag| (&tag.key, &tag.value)));
    }
    if let Some(cluster) = cluster {
        meta.maybe("cluster", cluster.cluster_name.as_ref());
        meta.each("tag_cluster_", pairs(&cluster.tags));
    }
    meta.each("tag_service_", pairs(&service.tags)).each("tag_task_", pairs(&task.tags));
    Some(meta.labels())
}

/// The tasks that one answer describes; for who attacks the parser.
pub fn tasks(page: &Page) -> Vec<Labels> {
    let service = Service::default();
    let one = |task| target(page.clusters.first(), &service, task, &Ground::default(), "r", 80);
    page.tasks.iter().filter_map(one).collect()
}

impl Ecs {
    pub fn new(config: &AwsSdConfig, http: &HttpConfig, tools: &Tools) -> Ecs {
        // The endpoint of the section is that of ECS.
        let ec2 = AwsAccess { endpoint: String::new(), ..config.access() };
        Ecs {
            config: config.clone(),
            aws: Aws::new(config.access(), "ecs", http, tools),
            ec2: Aws::new(ec2, "ec2", http, tools),
        }
    }

    async fn page(&mut self, action: &str, ask: &Ask<'_>) -> Result<Page, String> {
        let action = format!("AmazonEC2ContainerServiceV20141113.{action}");
        self.aws.json(&action, "application/x-amz-json-1.1", ask).await
    }

    /// All pages of a list.
    async fn list(
        &mut self,
        action: &str,
        mut ask: Ask<'_>,
        part: fn(Page) -> Vec<String>,
    ) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for _ in 0..MAX_DISCOVERY_PAGES {
            let mut page = self.page(action, &ask).await?;
            ask.next_token = page.next_token.take().filter(|token| !token.is_empty());
            all.extend(part(page));
            if ask.next_token.is_none() {
                return Ok(all);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {action}"))
    }

    async fn describe_tasks(&mut self, cluster: &str, service: &Service) -> Result<Vec<Task>, String> {
        let name = Some(service.service_name.as_str());
        let ask = Ask { cluster: Some(cluster), service_name: name, ..Ask::default() };
        let arns = self.list("ListTasks", ask, |page| page.task_arns).await?;
        let mut tasks = Vec::new();
        for batch in arns.chunks(THINGS_PER_REQUEST) {
            let ask = Ask { cluster: Some(cluster), tasks: batch, include: &["TAGS"], ..Ask::default() };
            tasks.extend(self.page("DescribeTasks", &ask).await?.tasks);
        }
        Ok(tasks)
    }

    async fn ask_ec2<T: DeserializeOwned>(
        &mut self,
        action: &str,
        name: &str,
        ids: &[String],
    ) -> Result<T, String> {
        let mut form =
            vec![("Action".to_owned(), action.to_owned()), ("Version".into(), "2016-11-15".into())];
        form.extend(ids.iter().enumerate().map(|(i, id)| (format!("{name}.{}", i + 1), id.clone())));
        self.ec2.query(&form).await
    }

    /// What the tasks run on; without it they are still targets.
    async fn ground(&mut self, cluster: &str, tasks: &[Task]) -> Ground {
        let mut ground = Ground::default();
        let hosts: BTreeSet<&String> =
            tasks.iter().filter_map(|t| t.container_instance_arn.as_ref()).collect();
        let hosts: Vec<String> = hosts.into_iter().cloned().collect();
        let interfaces: BTreeSet<&str> =
            tasks.iter().filter_map(|t| t.detail("networkInterfaceId")).collect();
        let interfaces: Vec<String> =
            interfaces.into_iter().filter(|id| !id.is_empty()).map(str::to_owned).collect();
        for batch in hosts.chunks(THINGS_PER_REQUEST) {
            if let Err(error) = self.hosts(cluster, batch, &mut ground).await {
                tracing::warn!(cluster, error, "the instances under an ECS cluster cannot be described");
            }
        }
        for batch in interfaces.chunks(THINGS_PER_REQUEST) {
            let answer: Result<Ec2Answer, _> =
                self.ask_ec2("DescribeNetworkInterfaces", "NetworkInterfaceId", batch).await;
            match answer {
                Ok(answer) => ground.public.extend(
                    answer
                        .network_interface_set
                        .item
                        .into_iter()
                        .map(|found| (found.network_interface_id, found.association.public_ip)),
                ),
                Err(error) => {
                    tracing::warn!(cluster, error, "the interfaces of an ECS cluster cannot be described");
                }
            }
        }
        ground
    }

    async fn hosts(&mut self, cluster: &str, arns: &[String], ground: &mut Ground) -> Result<(), String> {
        let ask = Ask { cluster: Some(cluster), container_instances: arns, ..Ask::default() };
        let found = self.page("DescribeContainerInstances", &ask).await?.container_instances;
        let ids: Vec<String> = found.iter().filter_map(|one| one.ec2_instance_id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let answer: Ec2Answer = self.ask_ec2("DescribeInstances", "InstanceId", &ids).await?;
        let reservations = answer.reservation_set.item.into_iter();
        let instances: Vec<Instance> = reservations.flat_map(|one| one.instances_set.item).collect();
        for one in found {
            let id = one.ec2_instance_id.unwrap_or_default();
            if let Some(instance) = instances.iter().find(|instance| instance.instance_id == id) {
                ground.instances.insert(one.container_instance_arn, instance.clone());
            }
        }
        Ok(())
    }

    async fn cluster(&mut self, arn: &str, described: Option<&Cluster>) -> Result<Vec<Labels>, String> {
        let ask = Ask { cluster: Some(arn), ..Ask::default() };
        let arns = self.list("ListServices", ask, |page| page.service_arns).await?;
        let mut targets = Vec::new();
        for batch in arns.chunks(SERVICES_PER_REQUEST) {
            let ask = Ask { cluster: Some(arn), services: batch, include: &["TAGS"], ..Ask::default() };
            for service in self.page("DescribeServices", &ask).await?.services {
                let tasks = self.describe_tasks(arn, &service).await?;
                let ground = self.ground(arn, &tasks).await;
                let (region, port) = (self.aws.region().to_owned(), self.config.port);
                let one = |task| target(described, &service, task, &ground, &region, port);
                targets.extend(tasks.iter().filter_map(one));
            }
        }
        Ok(targets)
    }
}

impl Poll for Ecs {
    const MECHANISM: &'static str = "ecs";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut arns = self.config.clusters.clone();
        if arns.is_empty() {
            arns = self.list("ListClusters", Ask::default(), |page| page.cluster_arns).await?;
        }
        let mut described: BTreeMap<String, Cluster> = BTreeMap::new();
        for batch in arns.chunks(THINGS_PER_REQUEST) {
            let ask = Ask { clusters: batch, include: &["TAGS"], ..Ask::default() };
            let found = self.page("DescribeClusters", &ask).await?.clusters;
            described.extend(found.into_iter().map(|cluster| (cluster.cluster_arn.clone(), cluster)));
        }
        let mut targets = Vec::new();
        for arn in &arns {
            targets.extend(self.cluster(arn, described.get(arn)).await?);
        }
        Ok(vec![TargetGroup { source: self.aws.region().to_owned(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, api, polled, section, tools};

    fn answer(request: &str) -> Answer {
        let lower = request.to_lowercase();
        if lower.contains("/ec2/aws4_request") {
            return Answer::typed("text/xml", match request.contains("Action=DescribeInstances") {
                true => br#"<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>
                    <privateIpAddress>10.0.0.9</privateIpAddress><ipAddress>1.2.3.4</ipAddress><subnetId>sn-9</subnetId>
                    <instanceType>m5</instanceType><tagSet><item><key>k</key><value>v</value></item></tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"#,
                false => br#"<R><networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId><association><publicIp>5.6.7.8</publicIp></association></item></networkInterfaceSet></R>"#,
            });
        }
        assert!(lower.contains("/eu-1/ecs/aws4_request"), "{request}");
        let action =
            lower.split("servicev20141113.").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        Answer::json(match action {
            "listclusters" if request.contains("nextToken") => r#"{"clusterArns": []}"#,
            "listclusters" => r#"{"clusterArns": ["arn:c"], "nextToken": "t"}"#,
            "describeclusters" => {
                r#"{"clusters": [{"clusterArn": "arn:c", "clusterName": "c", "tags": [{"key": "env", "value": "prod"}]}]}"#
            }
            "listservices" => r#"{"serviceArns": ["arn:s"]}"#,
            "describeservices" => {
                r#"{"services": [{"serviceArn": "arn:s", "serviceName": "s", "clusterArn": "arn:c", "status": "ACTIVE", "tags": [{"key": "team", "value": "a"}]}]}"#
            }
            "listtasks" => r#"{"taskArns": ["arn:t1", "arn:t2", "arn:t3"]}"#,
            "describetasks" => {
                r#"{"tasks": [
                {"taskArn": "arn:t1", "taskDefinitionArn": "arn:d", "group": "service:s", "launchType": "FARGATE", "availabilityZone": "eu-1a", "desiredStatus": "RUNNING",
                 "lastStatus": "RUNNING", "healthStatus": "HEALTHY", "platformFamily": "Linux", "platformVersion": "1.4.0", "tags": [{"key": "x", "value": "y"}],
                 "attachments": [{"type": "ElasticNetworkInterface", "details": [{"name": "privateIPv4Address", "value": "10.0.0.1"}, {"name": "subnetId", "value": "sn-1"},
                   {"name": "networkInterfaceId", "value": "eni-1"}]}]},
                {"taskArn": "arn:t2", "launchType": "EC2", "containerInstanceArn": "arn:ci"},
                {"taskArn": "arn:t3", "launchType": "EXTERNAL"}]}"#
            }
            "describecontainerinstances" => {
                r#"{"containerInstances": [{"containerInstanceArn": "arn:ci", "ec2InstanceId": "i-1"}]}"#
            }
            other => panic!("{other}: {request}"),
        })
    }

    #[tokio::test]
    async fn tasks_become_targets() {
        let address = api(answer).await;
        let yaml = format!(
            "{{role: ecs, region: eu-1, endpoint: 'http://{address}', access_key: K, secret_key: S, port: 9100}}"
        );
        let crate::config::SdConfig::Aws(config) = section("aws", &yaml) else { panic!("a section") };
        let mut ecs = Ecs::new(&config.own, &config.http, &tools());
        ecs.ec2 = Aws::new(config.own.access(), "ec2", &config.http, &tools());
        assert_eq!(
            polled(ecs).await,
            [
                r#"{__address__="10.0.0.1:9100", __meta_ecs_availability_zone="eu-1a", __meta_ecs_cluster="c", __meta_ecs_cluster_arn="arn:c", __meta_ecs_desired_status="RUNNING", __meta_ecs_health_status="HEALTHY", __meta_ecs_ip_address="10.0.0.1", __meta_ecs_last_status="RUNNING", __meta_ecs_launch_type="FARGATE", __meta_ecs_network_mode="awsvpc", __meta_ecs_platform_family="Linux", __meta_ecs_platform_version="1.4.0", __meta_ecs_public_ip="5.6.7.8", __meta_ecs_region="eu-1", __meta_ecs_service="s", __meta_ecs_service_arn="arn:s", __meta_ecs_service_status="ACTIVE", __meta_ecs_subnet_id="sn-1", __meta_ecs_tag_cluster_env="prod", __meta_ecs_tag_service_team="a", __meta_ecs_tag_task_x="y", __meta_ecs_task_arn="arn:t1", __meta_ecs_task_definition="arn:d", __meta_ecs_task_group="service:s"}"#,
                r#"{__address__="10.0.0.9:9100", __meta_ecs_cluster="c", __meta_ecs_cluster_arn="arn:c", __meta_ecs_container_instance_arn="arn:ci", __meta_ecs_ec2_instance_id="i-1", __meta_ecs_ec2_instance_private_ip="10.0.0.9", __meta_ecs_ec2_instance_public_ip="1.2.3.4", __meta_ecs_ec2_instance_type="m5", __meta_ecs_ip_address="10.0.0.9", __meta_ecs_launch_type="EC2", __meta_ecs_network_mode="bridge", __meta_ecs_public_ip="1.2.3.4", __meta_ecs_region="eu-1", __meta_ecs_service="s", __meta_ecs_service_arn="arn:s", __meta_ecs_service_status="ACTIVE", __meta_ecs_subnet_id="sn-9", __meta_ecs_tag_cluster_env="prod", __meta_ecs_tag_ec2_k="v", __meta_ecs_tag_service_team="a", __meta_ecs_task_arn="arn:t2"}"#
            ]
        );
    }
}

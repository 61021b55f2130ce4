//! Instances of EC2.

use super::{Aws, Tag, pairs};
use crate::config::{Ec2SdConfig, HttpConfig, MAX_DISCOVERY_PAGES, PromDuration};
use crate::discovery::meta::{Meta, enclosed, host_port};
use crate::discovery::polling::Poll;
use crate::discovery::{TargetGroup, Tools};
use hearth_model::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The version of the query interface.
const VERSION: &str = "2016-11-15";

/// One account in one region.
pub struct Ec2 {
    config: Ec2SdConfig,
    aws: Aws,
    /// Zones of the account by name, read once.
    zones: Option<BTreeMap<String, String>>,
}

/// A list in the service's XML.
#[derive(Deserialize)]
#[serde(default)]
struct Set<T> {
    item: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Set { item: Vec::new() }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Instances {
    reservation_set: Set<Reservation>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Reservation {
    owner_id: String,
    instances_set: Set<Instance>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    instance_id: String,
    image_id: String,
    instance_state: State,
    private_dns_name: String,
    dns_name: String,
    instance_type: String,
    placement: Placement,
    platform: Option<String>,
    private_ip_address: Option<String>,
    ip_address: Option<String>,
    subnet_id: String,
    vpc_id: Option<String>,
    architecture: Option<String>,
    instance_lifecycle: Option<String>,
    network_interface_set: Set<Interface>,
    tag_set: Set<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Placement {
    availability_zone: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Interface {
    subnet_id: Option<String>,
    attachment: Attachment,
    ipv6_addresses_set: Set<Ipv6>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Attachment {
    device_index: usize,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Ipv6 {
    ipv6_address: String,
    is_primary_ipv6: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Zones {
    availability_zone_info: Set<Zone>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Zone {
    zone_name: String,
    zone_id: String,
}

/// Interfaces that an instance can have: positions beyond are no answer of the service.
const MAX_INTERFACES: usize = 1_000;

fn network(meta: &mut Meta, instance: &Instance) {
    let Some(vpc) = &instance.vpc_id else { return };
    meta.set("vpc_id", vpc).set("primary_subnet_id", &instance.subnet_id);
    let (mut subnets, mut all, mut primary) = (Vec::<&str>::new(), Vec::new(), Vec::<&str>::new());
    for interface in &instance.network_interface_set.item {
        let Some(subnet) = interface.subnet_id.as_deref() else { continue };
        if !subnets.contains(&subnet) {
            subnets.push(subnet);
        }
        let position = interface.attachment.device_index;
        for address in &interface.ipv6_addresses_set.item {
            all.push(address.ipv6_address.as_str());
            if address.is_primary_ipv6 && position < MAX_INTERFACES {
                // The place in the list is the interface's number; others stay empty.
                if primary.len() <= position {
                    primary.resize(position + 1, "");
                }
                primary[position] = &address.ipv6_address;
            }
        }
    }
    meta.set("subnet_id", enclosed(subnets, ","));
    if !all.is_empty() {
        meta.set("ipv6_addresses", enclosed(&all, ","));
        let first = primary.iter().find(|address| !address.is_empty());
        meta.set("default_ipv6_address", first.unwrap_or(&all[0]));
    }
    if !primary.is_empty() {
        meta.set("primary_ipv6_addresses", enclosed(primary, ","));
    }
}

/// The instances of one answer that have a private address.
pub fn instances(
    answer: &Instances,
    region: &str,
    port: u64,
    zones: &BTreeMap<String, String>,
) -> Vec<Labels> {
    let mut out = Vec::new();
    for reservation in &answer.reservation_set.item {
        for instance in &reservation.instances_set.item {
            let Some(private) = instance.private_ip_address.as_deref().filter(|ip| !ip.is_empty()) else {
                continue;
            };
            let mut meta = Meta::new("__meta_ec2_").address(&host_port(private, port));
            meta.set("instance_id", &instance.instance_id).set("region", region);
            meta.set("owner_id", &reservation.owner_id).set("private_ip", private);
            meta.set("private_dns_name", &instance.private_dns_name);
            meta.maybe("platform", instance.platform.as_ref());
            if let Some(public) = &instance.ip_address {
                meta.set("public_ip", public).set("public_dns_name", &instance.dns_name);
            }
            let zone = &instance.placement.availability_zone;
            meta.set("ami", &instance.image_id).set("availability_zone", zone);
            meta.maybe("availability_zone_id", zones.get(zone));
            meta.set("instance_state", &instance.instance_state.name);
            meta.set("instance_type", &instance.instance_type);
            meta.maybe("instance_lifecycle", instance.instance_lifecycle.as_ref());
            meta.maybe("architecture", instance.architecture.as_ref());
            network(&mut meta, instance);
            meta.each("tag_", pairs(&instance.tag_set.item));
            out.push(meta.labels());
        }
    }
    out
}

impl Ec2 {
    pub fn new(config: &Ec2SdConfig, http: &HttpConfig, tools: &Tools) -> Ec2 {
        Ec2 { config: config.clone(), aws: Aws::new(config.access(), "ec2", http, tools), zones: None }
    }

    fn action(name: &str) -> Vec<(String, String)> {
        vec![("Action".into(), name.into()), ("Version".into(), VERSION.into())]
    }

    /// Who may list instances may perhaps not list zones: then the label is missing.
    async fn read_zones(&mut self) {
        if self.zones.is_some() {
            return;
        }
        match self.aws.query::<Zones>(&Ec2::action("DescribeAvailabilityZones")).await {
            Ok(zones) => {
                let zones = zones.availability_zone_info.item.into_iter();
                self.zones = Some(zones.map(|zone| (zone.zone_name, zone.zone_id)).collect());
            }
            Err(error) => tracing::debug!(error, "cannot list the availability zones"),
        }
    }
}

impl Poll for Ec2 {
    const MECHANISM: &'static str = "ec2";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        self.read_zones().await;
        let mut form = Ec2::action("DescribeInstances");
        for (i, filter) in self.config.filters.iter().enumerate() {
            form.push((format!("Filter.{}.Name", i + 1), filter.name.clone()));
            for (j, value) in filter.values.iter().enumerate() {
                form.push((format!("Filter.{}.Value.{}", i + 1, j + 1), value.clone()));
            }
        }
        let (first, none) = (form.len(), BTreeMap::new());
        let mut targets = Vec::new();
        for _ in 0..MAX_DISCOVERY_PAGES {
            let page: Instances = self.aws.query(&form).await?;
            let zones = self.zones.as_ref().unwrap_or(&none);
            targets.extend(instances(&page, self.aws.region(), self.config.port, zones));
            let Some(next) = page.next_token.filter(|token| !token.is_empty()) else {
                let source = self.aws.region().to_owned();
                return Ok(vec![TargetGroup { source, targets, labels: Labels::empty() }]);
            };
            form.truncate(first);
            form.push(("NextToken".into(), next));
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of instances"))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Answer, api, found};

    const INSTANCES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><reservationSet>
<item><reservationId>r-1</reservationId><ownerId>42</ownerId><groupSet/><instancesSet><item>
<instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-0-1.internal</privateDnsName><dnsName>x.compute.amazonaws.com</dnsName><instanceType>t3.micro</instanceType>
<placement><availabilityZone>eu-1a</availabilityZone><tenancy>default</tenancy></placement><subnetId>s-1</subnetId><vpcId>v-1</vpcId>
<privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>1.2.3.4</ipAddress><architecture>arm64</architecture><instanceLifecycle>spot</instanceLifecycle>
<networkInterfaceSet><item><subnetId>s-1</subnetId><attachment><deviceIndex>1</deviceIndex></attachment>
<ipv6AddressesSet><item><ipv6Address>fd::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item><item><ipv6Address>fd::2</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet>
<tagSet><item><key>Name</key><value>web &amp; co</value></item><item><key>a:b</key><value/></item></tagSet></item>
<item><instanceId>i-2</instanceId><instanceState><name>terminated</name></instanceState></item></instancesSet></item>
</reservationSet>NEXT</DescribeInstancesResponse>"#;

    const ZONES: &str = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item><zoneName>eu-1a</zoneName>\
        <zoneId>euw1-az1</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>";

    #[tokio::test]
    async fn instances_are_listed_page_by_page_with_signed_requests() {
        let address = api(|request| {
            let lower = request.to_lowercase();
            assert!(lower.contains("authorization: aws4-hmac-sha256 credential=key/"), "{request}");
            assert!(lower.contains("/eu-1/ec2/aws4_request, signedheaders="), "{request}");
            let body = request.rsplit("\r\n").next().unwrap_or_default();
            match () {
                () if body.starts_with("Action=DescribeAvailabilityZones&") => Answer::json(ZONES),
                () if body.ends_with("&NextToken=two%2F") => {
                    Answer::json(&INSTANCES.replace("NEXT", "").replace("i-1", "i-3"))
                }
                () if body.contains("&Filter.1.Name=tag%3Aa&Filter.1.Value.1=b") => {
                    Answer::json(&INSTANCES.replace("NEXT", "<nextToken>two/</nextToken>"))
                }
                () => Answer::Whole("400 Bad Request".into(), body.as_bytes().to_vec()),
            }
        })
        .await;
        let yaml = format!(
            "{{region: eu-1, endpoint: 'http://{address}', access_key: KEY, secret_key: SECRET, \
             filters: [{{name: 'tag:a', values: [b]}}]}}"
        );
        let expect = r#"{__address__="10.0.0.1:80", __meta_ec2_ami="ami-1", __meta_ec2_architecture="arm64", __meta_ec2_availability_zone="eu-1a", __meta_ec2_availability_zone_id="euw1-az1", __meta_ec2_default_ipv6_address="fd::1", __meta_ec2_instance_id="i-1", __meta_ec2_instance_lifecycle="spot", __meta_ec2_instance_state="running", __meta_ec2_instance_type="t3.micro", __meta_ec2_ipv6_addresses=",fd::1,fd::2,", __meta_ec2_owner_id="42", __meta_ec2_primary_ipv6_addresses=",,fd::1,", __meta_ec2_primary_subnet_id="s-1", __meta_ec2_private_dns_name="ip-10-0-0-1.internal", __meta_ec2_private_ip="10.0.0.1", __meta_ec2_public_dns_name="x.compute.amazonaws.com", __meta_ec2_public_ip="1.2.3.4", __meta_ec2_region="eu-1", __meta_ec2_subnet_id=",s-1,", __meta_ec2_tag_Name="web & co", __meta_ec2_vpc_id="v-1"}"#;
        assert_eq!(found("ec2", &yaml).await, [expect.to_owned(), expect.replace("i-1", "i-3")]);
    }
}

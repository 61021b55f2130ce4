//! EC2: an account whose instances are listed page by page, filtered, and change.

use super::Pair;
use super::api::{Reply, Request, pairs, serve, value};
use crate::setup::folder;
use std::collections::BTreeSet;
use std::io::Error;
use std::sync::{Arc, Mutex};

/// Instances on one page.
const PAGE_INSTANCES: usize = 2;

/// One instance: its identifier, its state, what it is tagged with, and the rest as the service writes it.
#[derive(Clone)]
struct Instance {
    id: &'static str,
    state: &'static str,
    tags: &'static [(&'static str, &'static str)],
    rest: &'static str,
}

impl Instance {
    fn xml(&self) -> String {
        let Instance { id, state, tags, rest } = self;
        let tags: String = tags
            .iter()
            .map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"))
            .collect();
        format!(
            "<item><instanceId>{id}</instanceId><imageId>ami-{id}</imageId><instanceState><code>16</code>\
             <name>{state}</name></instanceState><instanceType>t3.micro</instanceType>{rest}<tagSet>{tags}</tagSet></item>"
        )
    }

    fn fits(&self, filters: &[(String, Vec<String>)]) -> bool {
        filters.iter().all(|(name, values)| {
            let own = match name.as_str() {
                "instance-state-name" => self.state,
                other => {
                    let key = other.strip_prefix("tag:").expect("a filter of the tests");
                    self.tags.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
                }
            };
            values.iter().any(|value| value == own)
        })
    }
}

const EVERYTHING: &str = "<privateDnsName>ip-127-0-1-1.test</privateDnsName><dnsName>x.compute.test</dnsName>\
    <placement><availabilityZone>eu-1a</availabilityZone></placement><platform>windows</platform>\
    <subnetId>s-1</subnetId><vpcId>v-1</vpcId><privateIpAddress>127.0.1.1</privateIpAddress>\
    <ipAddress>127.3.0.1</ipAddress><architecture>arm64</architecture><instanceLifecycle>spot</instanceLifecycle>\
    <networkInterfaceSet>\
    <item><subnetId>s-2</subnetId><attachment><deviceIndex>1</deviceIndex></attachment><ipv6AddressesSet>\
    <item><ipv6Address>::3</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item><item><ipv6Address>::4</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item>\
    </ipv6AddressesSet></item>\
    <item><subnetId>s-1</subnetId><attachment><deviceIndex>0</deviceIndex></attachment><ipv6AddressesSet>\
    <item><ipv6Address>::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item><item><ipv6Address>::2</ipv6Address>\
    <isPrimaryIpv6>false</isPrimaryIpv6></item></ipv6AddressesSet></item>\
    <item><subnetId>s-1</subnetId><attachment><deviceIndex>3</deviceIndex></attachment><ipv6AddressesSet/></item>\
    <item><attachment><deviceIndex>4</deviceIndex></attachment><ipv6AddressesSet><item><ipv6Address>::5</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item></ipv6AddressesSet></item>\
    </networkInterfaceSet>";
/// Without a network of its own, a public address or an architecture.
const CLASSIC: &str = "<privateDnsName>classic.test</privateDnsName><dnsName/>\
    <placement><availabilityZone>eu-1b</availabilityZone></placement><privateIpAddress>127.0.1.2</privateIpAddress>\
    <networkInterfaceSet/>";
/// In a network, but without an interface there.
const DETACHED: &str = "<privateDnsName/><dnsName/><placement><availabilityZone>eu-1a</availabilityZone></placement>\
    <subnetId>s-1</subnetId><vpcId>v-1</vpcId><privateIpAddress>127.0.1.6</privateIpAddress><networkInterfaceSet/>";
const TERMINATED: &str = "<privateDnsName/><dnsName/><placement><availabilityZone>eu-1a</availabilityZone></placement>\
    <networkInterfaceSet/>";
/// In a zone that is not listed, with IPv6 addresses none of which is the primary one.
const ELSEWHERE: &str = "<privateDnsName/><dnsName/><placement><availabilityZone>eu-9z</availabilityZone></placement>\
    <subnetId>s-3</subnetId><vpcId>v-1</vpcId><privateIpAddress>127.0.1.4</privateIpAddress><ipAddress>127.3.0.4</ipAddress>\
    <architecture>x86_64</architecture><networkInterfaceSet><item><subnetId>s-3</subnetId>\
    <attachment><deviceIndex>0</deviceIndex></attachment><ipv6AddressesSet><item><ipv6Address>::9</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item>\
    <item><ipv6Address>::8</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item></ipv6AddressesSet></item></networkInterfaceSet>";
/// With one primary IPv6 address, on the second interface.
const SECOND: &str = "<dnsName>y.compute.test</dnsName><placement><availabilityZone>eu-1b</availabilityZone></placement>\
    <subnetId>s-1</subnetId><vpcId>v-2</vpcId><privateIpAddress>127.0.1.5</privateIpAddress>\
    <networkInterfaceSet><item><subnetId>s-1</subnetId><attachment><deviceIndex>0</deviceIndex></attachment></item>\
    <item><subnetId>s-4</subnetId><attachment><deviceIndex>1</deviceIndex></attachment><ipv6AddressesSet>\
    <item><ipv6Address>::7</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item></networkInterfaceSet>";

fn account() -> Vec<Instance> {
    let instance = |id, state, tags, rest| Instance { id, state, tags, rest };
    vec![
        instance("i-1", "running", &[("Name", "web &amp; co"), ("a:b/c", ""), ("role", "web")], EVERYTHING),
        instance("i-2", "stopped", &[("role", "db")], CLASSIC),
        instance("i-3", "terminated", &[("role", "web")], TERMINATED),
        instance("i-4", "running", &[], ELSEWHERE),
        instance("i-5", "running", &[("role", "web"), ("größe", "ü")], SECOND),
    ]
}

/// What the service answers with; none where it fails.
type Shared = Arc<Mutex<Option<Vec<Instance>>>>;

fn answer(shared: &Shared, request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
    let signed = request.header("authorization");
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=") && signed.contains("/eu-west-1/ec2/aws4_request")
    );
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/"));
    let form = pairs(&request.body);
    let xml = [("Content-Type", "text/xml;charset=UTF-8")];
    let refused = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>the test says no</Message></Error>\
        </Errors><RequestID>r</RequestID></Response>";
    if value(&form, "Action") == "DescribeAvailabilityZones" {
        if signed.contains("Credential=BLIND/") {
            return reply.whole("403 Forbidden", &xml, refused);
        }
        let zone = |name: &str, id: &str| {
            format!(
                "<item><zoneName>{name}</zoneName><zoneState>available</zoneState><zoneId>{id}</zoneId></item>"
            )
        };
        let body = format!(
            "<DescribeAvailabilityZonesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
             <availabilityZoneInfo>{}{}</availabilityZoneInfo></DescribeAvailabilityZonesResponse>",
            zone("eu-1a", "euw1-az3"),
            zone("eu-1b", "euw1-az1")
        );
        return reply.whole("200 OK", &xml, &body);
    }
    match &*shared.lock().expect("no answer panicked") {
        Some(instances) => reply.whole("200 OK", &xml, &page(instances, &form)),
        None => reply.whole("403 Forbidden", &xml, refused),
    }
}

/// One page of the instances that the filters let through, each in a reservation of its own.
fn page(instances: &[Instance], form: &[(String, String)]) -> String {
    assert_eq!(value(form, "Action"), "DescribeInstances");
    let mut filters = Vec::new();
    for number in 1.. {
        let name = value(form, &format!("Filter.{number}.Name"));
        if name.is_empty() {
            break;
        }
        let prefix = format!("Filter.{number}.Value.");
        let values = form.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, value)| value.clone());
        filters.push((name.to_owned(), values.collect()));
    }
    let from: usize =
        value(form, "NextToken").strip_prefix("token+/=").map_or(0, |at| at.parse().expect("a token"));
    let all: Vec<&Instance> = instances.iter().filter(|instance| instance.fits(&filters)).collect();
    let next = from + PAGE_INSTANCES;
    let item = |instance: &&Instance| {
        format!(
            "<item><reservationId>r</reservationId><ownerId>42</ownerId><groupSet/><instancesSet>{}</instancesSet></item>",
            instance.xml()
        )
    };
    let items: String = all.iter().skip(from).take(PAGE_INSTANCES).map(item).collect();
    let token =
        if next < all.len() { format!("<nextToken>token+/={next}</nextToken>") } else { String::new() };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>r</requestId><reservationSet>{items}</reservationSet>{token}</DescribeInstancesResponse>"
    )
}

/// Nobody is scraped: the address is kept in a label, and nothing listens where it points then.
fn configuration(address: &str) -> String {
    let job = |(name, key, more): (&str, &str, &str)| {
        format!(
            "  - job_name: {name}
    ec2_sd_configs: [{{region: eu-west-1, endpoint: 'http://{address}', access_key: {key}, secret_key: secret,
      refresh_interval: 1s, {more}}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: found}}
      - {{action: labelmap, regex: '__meta_ec2_(.+)'}}
      - {{action: labeldrop, regex: default_ipv6_address}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs = [
        ("all", "KEY", "port: 9100"),
        ("blind", "BLIND", ""),
        (
            "filtered",
            "KEY",
            "filters: [{name: 'tag:role', values: [web, cache]}, {name: instance-state-name, values: [running]}]",
        ),
        ("nothing", "KEY", "filters: [{name: 'tag:role', values: [none]}]"),
    ];
    let jobs: String = jobs.into_iter().map(job).collect();
    format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}")
}

fn shows(targets: &BTreeSet<String>, count: usize, parts: &[&str]) -> Result<(), String> {
    if targets.len() != count {
        return Err(format!("{} targets instead of {count}", targets.len()));
    }
    match parts.iter().find(|part| !targets.iter().any(|target| target.contains(**part))) {
        Some(part) => Err(format!("no {part}")),
        None => Ok(()),
    }
}

#[test]
fn instances_of_an_account_are_the_same() {
    let folder = folder();
    let shared: Shared = Arc::new(Mutex::new(Some(account())));
    let service = Arc::clone(&shared);
    let address = serve(move |request, reply| answer(&service, request, reply));
    let set = |instances| *shared.lock().expect("no answer panicked") = instances;
    let pair = Pair::start(folder.path(), &configuration(&address));
    pair.agree("the first list", |theirs| shows(theirs, 10, &["ec2_tag_Name\":\"web & co\"", "az3"]));

    let mut instances = account();
    instances[0].rest = CLASSIC;
    instances[1].state = "running";
    instances[1].tags = &[("role", "cache")];
    instances[1].rest = SECOND;
    instances.remove(3);
    instances.push(Instance { id: "i-6", state: "pending", tags: &[], rest: DETACHED });
    set(Some(instances.clone()));
    pair.agree("changed", |theirs| shows(theirs, 11, &["ec2_instance_id\":\"i-6\""]));

    // A service that fails takes nothing away; what comes after it is taken.
    set(None);
    let asked = |pair: &Pair| {
        let page = pair.theirs.client.get("/metrics", &[]).expect("figures").body;
        let failures = page.lines().filter(|line| line.starts_with("prometheus_sd_refresh_failures_total"));
        failures.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    pair.wait(|_| if asked(&pair) > 2.0 { Ok(()) } else { Err("no failures yet".into()) });
    pair.agree("failing", |theirs| shows(theirs, 11, &["ec2_instance_id\":\"i-6\""]));
    instances.truncate(1);
    set(Some(instances));
    pair.agree("after the failure", |theirs| shows(theirs, 3, &[]));
    set(Some(Vec::new()));
    pair.agree("nothing left", |theirs| shows(theirs, 0, &[]));
}

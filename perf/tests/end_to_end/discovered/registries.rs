//! Registries that answer whole: Eureka, Marathon, PuppetDB and Docker Swarm, with what is odd about their things.

use super::api::{Reply, Request, serve};
use super::same_targets;
use crate::setup::folder;
use serde_json::{Value, json};
use std::io::Error;

const EUREKA: &str = r#"<applications><versions__delta>1</versions__delta><apps__hashcode>UP_2_</apps__hashcode>
<application><name>WEB</name>
<instance><instanceId>web-1:8080</instanceId><hostName>web-1.test</hostName><app>WEB</app><ipAddr>127.0.7.1</ipAddr><status>UP</status>
<overriddenstatus>UNKNOWN</overriddenstatus><port enabled="true">8080</port><securePort enabled="false">443</securePort><countryId>1</countryId>
<dataCenterInfo class="com.netflix.appinfo.AmazonInfo"><name>Amazon</name><metadata><ami-id>ami-1</ami-id><instance-type>t3</instance-type></metadata></dataCenterInfo>
<leaseInfo><renewalIntervalInSecs>30</renewalIntervalInSecs></leaseInfo>
<metadata class="java.util.Collections$EmptyMap"><management.port>8090</management.port><zone>a &amp; b</zone><empty/></metadata>
<homePageUrl>http://web-1.test:8080/</homePageUrl><statusPageUrl>http://web-1.test:8080/info</statusPageUrl>
<healthCheckUrl>http://web-1.test:8080/health</healthCheckUrl><vipAddress>web</vipAddress><secureVipAddress>web-s</secureVipAddress>
<isCoordinatingDiscoveryServer>false</isCoordinatingDiscoveryServer><lastUpdatedTimestamp>1</lastUpdatedTimestamp></instance>
<instance><instanceId>web-2</instanceId><hostName>::1</hostName><app>WEB</app><status>DOWN</status><countryId>0</countryId></instance>
</application>
<application><name>NONE</name></application></applications>"#;

fn marathon() -> Value {
    json!({"apps": [
        {"id": "/by-definition", "tasksRunning": 2, "labels": {"team.a": "x", "b/c": "1"},
         "container": {"docker": {"image": "web:1", "portMappings": null}},
         "portDefinitions": [{"labels": {"prometheus": "yes"}, "port": 0}, {"labels": {}, "port": 31001}],
         "tasks": [{"id": "t1", "host": "m1.test", "ports": [31000, 31001]}, {"id": "t2", "host": "m2.test", "ports": [31002, 31003]}]},
        {"id": "/required", "tasksRunning": 1, "requirePorts": true, "portDefinitions": [{"labels": {"a": "b"}, "port": 9000}],
         "tasks": [{"id": "t3", "host": "m3.test", "ports": [9000]}]},
        {"id": "/mapped", "tasksRunning": 1, "networks": [{"mode": "container", "name": "net"}],
         "container": {"docker": {"image": "db:2"}, "portMappings": [{"containerPort": 5432, "hostPort": 0, "labels": {"l": "v"}}, {"containerPort": 9, "hostPort": 9}]},
         "tasks": [{"id": "t4", "host": "m4.test", "ports": [], "ipAddresses": [{"ipAddress": "127.0.8.4", "protocol": "IPv4"}]}]},
        {"id": "/bridged", "tasksRunning": 1, "networks": [{"mode": "container/bridge"}],
         "container": {"docker": {"image": "db:3"}, "portMappings": [{"containerPort": 80, "hostPort": 0, "labels": {"l": "v"}}, {"containerPort": 81, "hostPort": 31005}]},
         "tasks": [{"id": "t5", "host": "m5.test", "ports": [31004, 31005]}]},
        {"id": "/old", "tasksRunning": 1, "container": {"docker": {"image": "o", "portMappings": [{"containerPort": 8080, "hostPort": 0, "labels": {"p": "m"}}]}},
         "tasks": [{"id": "t6", "host": "m6.test", "ports": [31006]}]},
        {"id": "/bare", "tasksRunning": 1, "tasks": [{"id": "t7", "host": "m7.test", "ports": [31007]}]},
        {"id": "/idle", "tasksRunning": 0, "portDefinitions": [{"port": 1}], "tasks": []},
    ]})
}

fn puppetdb() -> Value {
    json!([
        {"certname": "edge.test", "resource": "49af", "type": "Class", "title": "Nginx", "exported": true, "tags": ["a", "b"],
         "file": "/etc/x.pp", "line": 3, "environment": "prod",
         "parameters": {"port": 80, "ratio": 0.5, "big": 12345678.0, "names": ["n", "m"], "mixed": ["n", 1, true, null], "none": [],
            "ssl": {"on": true, "deep": {"x-y": "z"}}, "null": null, "text": "t", "empty": ""}},
        {"certname": "::1", "resource": "50", "type": "Class", "title": "Two", "exported": false, "tags": [], "environment": "test", "parameters": {}},
    ])
}

fn swarm(path: &str) -> Value {
    let port = |name: &str, protocol: &str, target: u16, published: u16| json!({"Name": name, "Protocol": protocol, "TargetPort": target, "PublishedPort": published, "PublishMode": "ingress"});
    match path {
        "services" => json!([
            {"ID": "s1", "Spec": {"Name": "web", "Labels": {"a.b": "c"}, "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1", "Hostname": "h"}}, "Mode": {"Replicated": {"Replicas": 2}}},
             "Endpoint": {"Ports": [port("http", "tcp", 80, 8080), port("dns", "udp", 53, 53)], "VirtualIPs": [{"NetworkID": "n1", "Addr": "127.0.9.1/24"}, {"NetworkID": "n2", "Addr": "127.0.9.2/24"}]},
             "UpdateStatus": {"State": "completed"}},
            {"ID": "s2", "Spec": {"Name": "agent", "TaskTemplate": {"ContainerSpec": {"Image": "agent"}}, "Mode": {"Global": {}}},
             "Endpoint": {"VirtualIPs": [{"NetworkID": "n1", "Addr": "127.0.9.3/24"}]}},
        ]),
        "tasks" => json!([
            {"ID": "t1", "ServiceID": "s1", "NodeID": "o1", "Slot": 1, "DesiredState": "running", "Labels": {"x": "y"},
             "Spec": {"ContainerSpec": {"Image": "nginx:1", "Labels": {"l/m": "v"}}},
             "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c1"}, "PortStatus": {"Ports": [port("", "tcp", 80, 8081)]}},
             "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["127.0.9.11/24"]}, {"Network": {"ID": "n2"}, "Addresses": ["127.0.9.12/24"]}]},
            {"ID": "t2", "ServiceID": "s2", "NodeID": "o2", "DesiredState": "shutdown", "Spec": {"ContainerSpec": {}},
             "Status": {"State": "failed", "PortStatus": {}}, "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["127.0.9.13/24"]}]},
        ]),
        "nodes" => json!([
            {"ID": "o1", "Spec": {"Labels": {"zone": "z"}, "Role": "manager", "Availability": "active"},
             "Description": {"Hostname": "o1.test", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "28"}},
             "Status": {"State": "ready", "Addr": "127.0.9.21"}, "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "127.0.9.21:2377"}},
            {"ID": "o2", "Spec": {"Role": "worker", "Availability": "drain"}, "Description": {"Hostname": "o2.test"}, "Status": {"State": "down", "Addr": "::1"}},
        ]),
        _ => json!([
            {"Id": "n1", "Name": "ingress", "Scope": "swarm", "Internal": false, "Ingress": true, "Labels": {"k": "v"}},
            {"Id": "n2", "Name": "back", "Scope": "swarm", "Internal": true, "Ingress": false},
        ]),
    }
}

fn answer(request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
    match request.path.as_str() {
        "/eureka/apps" => reply.whole("200 OK", &[("Content-Type", "application/xml")], EUREKA),
        "/v2/apps/" => {
            assert_eq!(request.get("embed"), "apps.tasks");
            reply.json("200 OK", &marathon().to_string())
        }
        "/pdb/query/v4" => {
            assert_eq!(request.body, "{\"query\":\"resources { }\"}");
            reply.json("200 OK", &puppetdb().to_string())
        }
        "/_ping" => reply.whole("200 OK", &[("Content-Type", "text/plain"), ("API-Version", "1.45")], "OK"),
        path => reply.json("200 OK", &swarm(path.rsplit('/').next().unwrap_or_default()).to_string()),
    }
}

#[test]
fn targets_of_registries_are_the_same() {
    let folder = folder();
    let api = serve(answer);
    let sections = [
        ("eureka", format!("eureka_sd_configs: [{{server: 'http://{api}/eureka'}}]")),
        ("marathon", format!("marathon_sd_configs: [{{servers: ['http://{api}']}}]")),
        (
            "puppetdb",
            format!("puppetdb_sd_configs: [{{url: 'http://{api}', query: 'resources {{ }}', port: 81}}]"),
        ),
        (
            "puppetdb-parameters",
            format!(
                "puppetdb_sd_configs: [{{url: 'http://{api}', query: 'resources {{ }}', include_parameters: true}}]"
            ),
        ),
        (
            "swarm-services",
            format!("dockerswarm_sd_configs: [{{host: 'tcp://{api}', role: services, port: 82}}]"),
        ),
        ("swarm-tasks", format!("dockerswarm_sd_configs: [{{host: 'tcp://{api}', role: tasks}}]")),
        (
            "swarm-nodes",
            format!("dockerswarm_sd_configs: [{{host: 'tcp://{api}', role: nodes, port: 9100}}]"),
        ),
    ];
    // Nobody is scraped: nothing listens where the address points in the end.
    let job = |(name, section): &(&str, String)| {
        format!(
            "  - job_name: {name}
    {section}
    relabel_configs:
      - {{source_labels: [__address__], target_label: found}}
      - {{action: labelmap, regex: '__meta_(.+)'}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs: String = sections.iter().map(job).collect();
    same_targets(folder.path(), &format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}"), 26);
}

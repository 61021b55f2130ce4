//! Clouds whose addresses are configured: Scaleway (both roles), Lightsail, Triton (both roles) and Uyuni, with what is odd
//! about their machines.

use super::Pair;
use super::accounts::{Accounts, Answer, compare, configuration, owned, page};
use super::api::Request;
use super::front::Front;
use crate::setup::folder;
use serde_json::{Value, json};
use std::sync::Arc;

const PROJECT: &str = "8feda53f-15f0-447f-badf-ebe32dad2fc0";
const SECRET: &str = "6d6579e5-a5b9-49fc-a35f-b4feb9b87301";
const EMPTY_SECRET: &str = "6d6579e5-a5b9-49fc-a35f-b4feb9b87302";
const STRANGE_SECRET: &str = "6d6579e5-a5b9-49fc-a35f-b4feb9b87303";

fn scaleway(request: &Request, changed: bool) -> Answer {
    let account = match request.header("x-auth-token") {
        SECRET => "mine",
        EMPTY_SECRET => "empty",
        _ => {
            return Answer::refused(
                &json!({"message": "authentication is denied", "method": "api_key", "reason": "invalid_argument", "type": "denied_authentication"}),
            );
        }
    };
    let place = |api: &str| format!("/{api}/v1/zones/fr-par-1/servers");
    let (what, mut all) = match request.path.as_str() {
        path if path == place("instance") => ("servers", owned(account, changed, scaleway_instances())),
        path if path == place("baremetal") => ("servers", owned(account, changed, scaleway_machines())),
        "/baremetal/v1/zones/fr-par-1/offers" => {
            let offer = |id: &str, name: &str| json!({"id": id, "name": name, "stock": "available", "enable": true, "price_per_hour": null});
            (
                "offers",
                vec![
                    offer("o-0", "EM-OTHER"),
                    offer("o-3", "EM-3"),
                    offer("o-1", "EM-A210R-HDD"),
                    offer("o-2", "EM-2"),
                ],
            )
        }
        "/baremetal/v1/zones/fr-par-1/os" => ("os", vec![system("os-3"), system("os-2"), system("os-1")]),
        _ => return Answer::missing(),
    };
    let filters: Vec<&str> = request
        .query
        .iter()
        .filter(|(name, _)| name == "tags")
        .flat_map(|(_, list)| list.split(','))
        .collect();
    all.retain(|server| {
        let tags = server["tags"].as_array().cloned().unwrap_or_default();
        filters.iter().all(|wanted| tags.iter().any(|tag| tag == wanted))
            && server["name"].as_str().is_some_and(|name| name.contains(request.get("name")))
            || what != "servers"
    });
    let (list, ..) = page(&all, request.get("page"));
    Answer::json(&json!({what: list, "total_count": all.len()})).header("X-Total-Count", all.len())
}

fn system(id: &str) -> Value {
    json!({"id": id, "name": format!("Ubuntu of {id}"), "version": "20.04 LTS", "logo_url": "", "enabled": true})
}

/// One with nothing but `public_ips` is missing: later versions than the one that is compared with take their addresses.
fn scaleway_instances() -> Vec<Value> {
    let ip = |address: &str, family: &str| json!({"id": "i", "address": address, "gateway": "62.210.0.1", "netmask": "32", "family": family, "dynamic": false, "provisioning_mode": "dhcp", "tags": []});
    let instance = |id: &str, more: Value| {
        let mut instance = json!({"id": id, "name": format!("scw-{id}"), "arch": "x86_64", "commercial_type": "DEV1-S", "boot_type": "local", "organization": "20b3d507", "project": PROJECT,
            "hostname": format!("host-{id}"), "image": null, "volumes": {}, "tags": [], "state": "running", "protected": false, "state_detail": "booted", "public_ip": null, "public_ips": [],
            "ipv6": null, "dynamic_ip_required": true, "enable_ipv6": true, "private_ip": null, "creation_date": "2021-07-06T10:17:25.112757+00:00", "modification_date": "2021-07-06T10:17:25.112757+00:00",
            "security_group": null, "location": null, "maintenances": [], "allowed_actions": ["poweroff"], "placement_group": null, "private_nics": [], "zone": "fr-par-1"});
        instance.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        instance
    };
    vec![
        instance(
            "full",
            json!({"tags": ["web", "a b", "größe"], "public_ip": ip("127.7.0.1", "inet"), "public_ips": [ip("127.7.0.1", "inet"), ip("2001:db8::1", "inet6"), ip("127.7.0.2", "inet")],
            "ipv6": {"address": "2001:bc8:630:1e1c::1", "gateway": "2001:bc8:630:1e1c::", "netmask": "64"}, "private_ip": "10.70.60.57",
            "image": {"id": "45a86b35", "name": "Ubuntu 20.04 Focal Fossa", "arch": "x86_64", "organization": "o", "root_volume": {"id": "v"}},
            "security_group": {"id": "984414da", "name": "Default security group"},
            "location": {"zone_id": "par1", "platform_id": "14", "cluster_id": "40", "hypervisor_id": "1601", "node_id": "29"}}),
        ),
        instance("bare", json!({"boot_type": "rescue", "state": "stopped"})),
        instance(
            "v6",
            json!({"ipv6": {"address": "2001:bc8:1::1", "gateway": "2001:bc8:1::", "netmask": "64"}, "tags": ["web"]}),
        ),
        instance(
            "old",
            json!({"public_ip": ip("127.7.0.5", "inet"), "ipv6": {"address": "2001:bc8:4::1", "gateway": "2001:bc8:4::", "netmask": "64"}, "public_ips": null}),
        ),
        instance(
            "inet6",
            json!({"public_ip": ip("2001:bc8:5::1", "inet6"), "public_ips": [ip("2001:bc8:5::1", "inet6")]}),
        ),
        instance(
            "private",
            json!({"private_ip": "10.70.60.58", "zone": "nl-ams-2", "security_group": {"id": "s", "name": ""}}),
        ),
        instance("last", json!({"private_ip": "10.70.60.59"})),
    ]
}

fn scaleway_machines() -> Vec<Value> {
    let ip = |address: &str, version: &str| json!({"id": "i", "address": address, "reverse": "r", "version": version, "reverse_status": "active", "reverse_status_message": ""});
    let machine = |id: &str, offer: &str, install: Value, ips: Value, tags: Value| {
        json!({"id": id, "organization_id": "20b3d507", "project_id": PROJECT, "name": format!("em-{id}"), "description": "", "updated_at": "2021-07-06T10:17:25.112757Z",
            "created_at": "2021-07-06T10:17:25.112757Z", "status": "ready", "offer_id": format!("o-{offer}"), "offer_name": if offer == "1" { "EM-A210R-HDD".to_owned() } else { format!("EM-{offer}") },
            "tags": tags, "ips": ips, "domain": "d", "boot_type": "normal", "zone": "fr-par-1", "install": install, "ping_status": "ping_status_up", "options": [], "rescue_server": null})
    };
    let install = |os: &str| json!({"os_id": os, "hostname": "h", "ssh_key_ids": [], "status": "completed", "user": "ubuntu", "service_user": "", "service_url": ""});
    vec![
        machine(
            "1",
            "1",
            install("os-1"),
            json!([ip("127.8.0.1", "IPv4"), ip("2001:bc8:1200::1", "IPv6"), ip("127.8.0.2", "IPv4")]),
            json!(["web", "größe"]),
        ),
        machine("2", "2", Value::Null, json!([ip("2001:bc8:1200::2", "IPv6")]), json!([])),
        machine(
            "3",
            "3",
            install("os-9"),
            json!([ip("2001:bc8:1200::3", "IPv6"), ip("127.8.0.3", "IPv4")]),
            json!(["web"]),
        ),
        machine("4", "3", install("os-3"), json!([]), Value::Null),
        machine("5", "1", install("os-2"), json!([ip("127.8.0.5", "IPv4")]), Value::Null),
        machine("last", "1", install("os-2"), json!([ip("127.8.0.6", "IPv4")]), Value::Null),
    ]
}

fn lightsail(request: &Request, changed: bool) -> Answer {
    let signed = request.header("authorization");
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=")
            && signed.contains("/eu-west-1/lightsail/aws4_request")
    );
    assert_eq!(
        (request.method.as_str(), request.header("x-amz-target")),
        ("POST", "Lightsail_20161128.GetInstances")
    );
    let account = if signed.contains("Credential=EMPTY/") { "empty" } else { "mine" };
    if signed.contains("Credential=STRANGER/") {
        return Answer {
            status: "400 Bad Request",
            ..Answer::json(&json!({"__type": "UnrecognizedClientException", "message": "the test says no"}))
        };
    }
    let instance = |name: &str, more: Value| {
        let mut instance = json!({"name": name, "arn": format!("arn:aws:lightsail:eu-west-1:1:Instance/{name}"), "supportCode": format!("1/i-{name}"), "createdAt": 1_625_566_645.112,
            "location": {"availabilityZone": "eu-west-1a", "regionName": "eu-west-1"}, "resourceType": "Instance", "tags": [], "blueprintId": "ubuntu_20_04", "blueprintName": "Ubuntu", "bundleId": "nano_2_0",
            "isStaticIp": false, "privateIpAddress": "172.26.0.1", "ipv6Addresses": [], "ipAddressType": "dualstack", "hardware": {"cpuCount": 1, "disks": [], "ramSizeInGb": 0.5},
            "networking": {"monthlyTransfer": {"gbPerMonthAllocated": 1024}, "ports": []}, "state": {"code": 16, "name": "running"}, "username": "ubuntu", "sshKeyName": "k"});
        instance.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        instance
    };
    let all = vec![
        instance(
            "full",
            json!({"publicIpAddress": "127.9.0.1", "ipv6Addresses": ["2001:db8::1", "2001:db8::2"],
            "tags": [{"key": "Name", "value": "web & co"}, {"key": "a:b/c", "value": ""}, {"key": "only"}, {"key": "größe", "value": "ü"}, {"key": null, "value": "x"}]}),
        ),
        instance("none", json!({"privateIpAddress": null, "publicIpAddress": "127.9.0.2"})),
        instance("v6", json!({"privateIpAddress": "2001:db8::3", "ipv6Addresses": null, "tags": null})),
        instance(
            "new",
            json!({"privateIpAddress": "172.26.0.4", "state": {"code": 0, "name": "pending"}, "publicIpAddress": ""}),
        ),
        instance("last", json!({"privateIpAddress": "172.26.0.5"})),
    ];
    Answer::json(&json!({"instances": owned(account, changed, all)}))
}

fn triton(request: &Request, changed: bool) -> Answer {
    let container = |id: &str, groups: Value| json!({"groups": groups, "server_uuid": "44454c4c-5000-104d-8037-b7c04f5a5131", "vm_alias": format!("server-{id}"), "vm_brand": "lx", "vm_image_uuid": "7b27a514", "vm_owner_uuid": "o", "vm_uuid": id});
    let node = |id: &str, name: &str| json!({"server_hostname": name, "server_uuid": id});
    match request.path.as_str() {
        "/v1/discover" => {
            let mut all = owned(
                "mine",
                changed,
                vec![
                    container("ad466fbf", json!([])),
                    container("aef8ad5b", json!(["foo", "b,ar", "größe"])),
                    container("c1", Value::Null),
                    json!({"vm_uuid": "c2", "vm_alias": "", "vm_brand": null}),
                    container("last", json!(["foo"])),
                ],
            );
            let wanted: Vec<&str> =
                request.get("groups").split(',').filter(|group| !group.is_empty()).collect();
            all.retain(|container| {
                wanted.is_empty()
                    || container["groups"].as_array().is_some_and(|own| {
                        own.iter().any(|group| wanted.iter().any(|wanted| group == wanted))
                    })
            });
            Answer::json(&json!({"containers": all}))
        }
        "/v1/gz/discover" => Answer::json(
            &json!({"cns": owned("mine", changed, vec![node("44454c4c", "server01"), node("a5894692", ""), json!({"server_uuid": "n3"}), node("last", "l")])}),
        ),
        "/v2/discover" => Answer::json(&json!({"containers": []})),
        "/v3/gz/discover" => Answer::json(&json!({"cns": null})),
        _ => Answer::missing(),
    }
}

/// A value of XML-RPC.
fn value(of: &Value) -> String {
    let inside = match of {
        Value::Null => "<nil/>".to_owned(),
        Value::Bool(flag) => format!("<boolean>{}</boolean>", u8::from(*flag)),
        Value::Number(number) => format!("<i4>{number}</i4>"),
        Value::String(text) => {
            format!("<string>{}</string>", text.replace('&', "&amp;").replace('<', "&lt;"))
        }
        Value::Array(list) => {
            format!("<array><data>{}</data></array>", list.iter().map(value).collect::<String>())
        }
        Value::Object(members) => {
            let member =
                |(name, of): (&String, &Value)| format!("<member><name>{name}</name>{}</member>", value(of));
            format!("<struct>{}</struct>", members.iter().map(member).collect::<String>())
        }
    };
    format!("<value>{inside}</value>")
}

fn uyuni(request: &Request, changed: bool) -> Answer {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/rpc/api"));
    let returned = |of: &Value| {
        Answer::xml(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><methodResponse><params><param>{}</param></params></methodResponse>",
            value(of)
        ))
    };
    let fault = |text: &str| {
        Answer::xml(format!(
            "<?xml version=\"1.0\"?><methodResponse><fault>{}</fault></methodResponse>",
            value(&json!({"faultCode": 2950, "faultString": text}))
        ))
    };
    let says = |part: &str| request.body.contains(part);
    let method =
        request.body.split("<methodName>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    if method == "auth.login" {
        return if says("<string>p&amp;w</string>") && says("<int>600</int>") {
            returned(&json!("token<1>"))
        } else {
            fault("Either the password or username is incorrect.")
        };
    }
    if !says("token&lt;1&gt;") && !says("token&lt;1>") {
        return fault("Could not find session");
    }
    let nothing = says("<string>nobody</string>")
        || !says("<int>") && method != "system.listSystemGroupsForSystemsWithEntitlement";
    let all = match method {
        "system.listSystemGroupsForSystemsWithEntitlement" => vec![
            json!({"id": 1_000_010_000, "name": "first", "system_groups": [{"id": 1, "name": "web & co"}, {"id": 2, "name": "größe"}]}),
            json!({"id": 1_000_010_001, "system_groups": []}),
            json!({"id": 1_000_010_002, "system_groups": [{"id": 1, "name": "one"}]}),
        ],
        "system.getNetworkForSystems" => vec![
            json!({"system_id": 1_000_010_000, "hostname": "first.test", "primary_fqdn": "first.example", "ip": "127.10.0.1", "ip6": "::1"}),
            json!({"system_id": 1_000_010_001, "hostname": "second.test", "primary_fqdn": "", "ip": "127.10.0.2"}),
        ],
        "system.monitoring.listEndpoints" => {
            let endpoint = |system: u64, name: &str, port: u16, more: Value| {
                let mut endpoint = json!({"system_id": system, "endpoint_name": name, "port": port, "exporter_name": format!("{name}_exporter"), "module": "", "path": "/metrics", "tls_enabled": false});
                endpoint
                    .as_object_mut()
                    .expect("a map")
                    .extend(more.as_object().cloned().unwrap_or_default());
                endpoint
            };
            owned(
                "mine",
                changed,
                vec![
                    endpoint(1_000_010_000, "node", 9100, json!({})),
                    endpoint(
                        1_000_010_000,
                        "proxied",
                        9999,
                        json!({"module": "apache & co", "path": "/proxy?module=apache", "tls_enabled": true}),
                    ),
                    endpoint(1_000_010_001, "db", 9187, json!({"path": ""})),
                    endpoint(1_000_010_002, "lost", 1, json!({})),
                    endpoint(1_000_010_009, "foreign", 2, json!({})),
                    endpoint(1_000_010_001, "last", 3, json!({})),
                ],
            )
        }
        other => panic!("nobody calls {other}"),
    };
    returned(&if nothing { json!([]) } else { json!(all) })
}

fn sections(front: &Front) -> Vec<(&'static str, &'static str, String)> {
    let scaleway = |role: &str, secret: &str, more: &str| {
        let text = format!(
            "access_key: SCWXXXXXXXXXXXXXXXXX, secret_key: {secret}, project_id: {PROJECT}, api_url: 'https://api.scaleway.test', role: {role}{more}, {}",
            front.http()
        );
        ("scaleway", if role == "instance" { "instance_id" } else { "baremetal_id" }, text)
    };
    let (_, port) = front.address.split_once(':').expect("an address has a port");
    let lightsail = |key: &str| {
        (
            "lightsail",
            "instance_name",
            format!(
                "region: eu-west-1, endpoint: 'http://localhost:{port}', access_key: {key}, secret_key: secret"
            ),
        )
    };
    let triton = |more: &str| {
        (
            "triton",
            "machine_id",
            format!(
                "account: a, dns_suffix: triton.test, endpoint: 127.0.0.1, port: {port}, tls_config: {{ca_file: '{}'}}{more}",
                front.authority.display()
            ),
        )
    };
    let uyuni = |more: &str| {
        (
            "uyuni",
            "endpoint_name",
            format!("server: 'https://uyuni.test', username: u, {more}, {}", front.http()),
        )
    };
    vec![
        scaleway("instance", SECRET, ", port: 9100"),
        scaleway("instance", SECRET, ", tags_filter: [web], name_filter: scw"),
        scaleway("instance", EMPTY_SECRET, ""),
        scaleway("instance", STRANGE_SECRET, ""),
        scaleway("baremetal", SECRET, ", port: 9101"),
        scaleway("baremetal", SECRET, ", tags_filter: [web, größe], name_filter: em"),
        scaleway("baremetal", EMPTY_SECRET, ""),
        scaleway("baremetal", STRANGE_SECRET, ""),
        lightsail("KEY"),
        lightsail("EMPTY"),
        lightsail("STRANGER"),
        triton(""),
        triton(", groups: [foo, größe]"),
        triton(", role: cn"),
        triton(", version: 2"),
        triton(", version: 3, role: cn"),
        triton(", version: 9"),
        uyuni("password: p&w"),
        uyuni("password: p&w, separator: ';'"),
        uyuni("password: p&w, entitlement: nobody"),
        uyuni("password: wrong"),
    ]
}

#[test]
fn machines_of_hosted_clouds_are_the_same() {
    let folder = folder();
    let accounts = Accounts::new([
        ("api.scaleway.test", scaleway as _),
        ("localhost", lightsail as _),
        ("127.0.0.1", triton as _),
        ("uyuni.test", uyuni as _),
    ]);
    let shared = Arc::clone(&accounts);
    let front =
        Front::start(folder.path(), &accounts.hosts(), move |request, reply| shared.answer(request, reply));
    let pair = Pair::start(folder.path(), &configuration(&sections(&front)));
    compare(&pair, &accounts, &["scaleway", "lightsail", "triton", "uyuni"], [34, 33], "scw-last");
}

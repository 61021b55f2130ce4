//! Clouds whose addresses are fixed, asked through a proxy: DigitalOcean, Hetzner, IONOS, Linode and Vultr, with what
//! is odd about their machines.

use super::Pair;
use super::accounts::{Accounts, Answer, compare, configuration, owned, page};
use super::api::Request;
use super::front::Front;
use crate::setup::folder;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is given to who has no account.
fn refused() -> Answer {
    Answer::refused(
        &json!({"id": "unauthorized", "message": "Unable to authenticate you", "error": {"code": "unauthorized", "message": "no"}}),
    )
}

/// The account that a token is for; none where it is for none.
fn account(request: &Request) -> Option<&str> {
    request.header("authorization").strip_prefix("Bearer ").filter(|token| *token != "stranger")
}

fn digitalocean(request: &Request, changed: bool) -> Answer {
    let Some(account) = account(request) else { return refused() };
    assert_eq!(request.path, "/v2/droplets");
    let v4 = |address: &str, kind: &str| json!({"ip_address": address, "netmask": "255.255.240.0", "gateway": "127.1.0.254", "type": kind});
    let region = json!({"name": "New York 3", "slug": "nyc3", "features": ["backups"], "available": true, "sizes": ["s-1vcpu-1gb"]});
    let image = |slug: Value| json!({"id": 63663980, "name": "20.04 (LTS) x64", "distribution": "Ubuntu", "slug": slug, "public": true});
    let all = vec![
        json!({"id": 3164444, "name": "web.example.com", "memory": 1024, "vcpus": 1, "disk": 25, "locked": false, "status": "active", "kernel": null,
            "created_at": "2020-07-21T18:37:44Z", "features": ["backups", "private_networking", "ipv6"], "backup_ids": [53893572], "snapshot_ids": [],
            "image": image(json!("ubuntu-20-04-x64")), "volume_ids": [], "size_slug": "s-1vcpu-1gb", "region": region,
            "networks": {"v4": [v4("127.1.0.1", "private"), v4("127.1.1.1", "public"), v4("127.1.1.2", "public")],
                "v6": [{"ip_address": "2604:a880:0:1010::18a:a001", "netmask": 64, "gateway": "2604:a880:0:1010::1", "type": "public"}]},
            "tags": ["web", "env:prod", "größe", "a,b"], "vpc_uuid": "760e09ef-dc84-11e8-981e-3cfdfeaae000"}),
        json!({"id": 3164445, "name": "inner", "status": "off", "features": [], "image": image(Value::Null), "size_slug": "s-2vcpu", "region": region,
            "networks": {"v4": [v4("127.1.0.2", "private")], "v6": []}, "tags": [], "vpc_uuid": ""}),
        json!({"id": 3164446, "name": "without a network", "status": "new", "features": ["monitoring"], "image": image(Value::Null), "size_slug": "s", "region": region,
            "networks": {"v4": [], "v6": [{"ip_address": "2604::1", "netmask": 64, "gateway": "::", "type": "public"}]}, "tags": ["x"]}),
        json!({"id": 3164447, "name": "null", "status": "archive", "features": null, "image": image(json!("")), "size_slug": "s", "region": region, "networks": null, "tags": null}),
        json!({"id": 3164448, "name": "", "status": "active", "features": null, "image": image(json!("d\"e")), "size_slug": "s", "region": region,
            "networks": {"v4": [v4("127.1.1.5", "public")], "v6": null}, "tags": null, "vpc_uuid": null}),
        json!({"id": 9007199254740993_u64, "name": "large", "status": "active", "features": ["a"], "image": image(json!("i")), "size_slug": "s", "region": region,
            "networks": {"v4": [v4("127.1.1.6", "public")], "v6": [{"ip_address": "fe80::1", "netmask": 64, "type": "private"}]}, "tags": ["t"]}),
    ];
    let all = owned(account, changed, all);
    let (list, number, more) = page(&all, request.get("page"));
    let url = |number: usize| format!("https://api.digitalocean.com/v2/droplets?page={number}&per_page=2");
    let mut pages = json!({});
    if more {
        pages["next"] = json!(url(number + 1));
        pages["last"] = json!(url(all.len().div_ceil(2)));
    }
    if number > 1 {
        pages["first"] = json!(url(1));
        pages["prev"] = json!(url(number - 1));
    }
    Answer::json(&json!({"droplets": list, "links": {"pages": pages}, "meta": {"total": all.len()}}))
}

fn hcloud_servers() -> Vec<Value> {
    let kind = |memory: Value| json!({"id": 1, "name": "cx11", "description": "CX11", "cores": 2, "memory": memory, "disk": 25, "cpu_type": "shared", "storage_type": "local", "prices": []});
    let location = json!({"id": 1, "name": "fsn1", "description": "Falkenstein DC Park 1", "country": "DE", "city": "Falkenstein", "latitude": 50.47612, "longitude": 12.370071, "network_zone": "eu-central"});
    let center = json!({"id": 1, "name": "fsn1-dc8", "description": "Falkenstein 1 DC 8", "location": location, "server_types": {"available": [], "supported": []}});
    let image = json!({"id": 4711, "type": "system", "status": "available", "name": "ubuntu-20.04", "description": "Ubuntu 20.04 Standard 64 bit", "os_flavor": "ubuntu", "os_version": "20.04"});
    vec![
        json!({"id": 42, "name": "my-resource", "status": "running", "created": "2016-01-30T23:55:00Z", "server_type": kind(json!(1.5)), "datacenter": center, "image": image,
            "public_net": {"ipv4": {"ip": "127.2.0.1", "blocked": false, "dns_ptr": "server01.example.com"}, "ipv6": {"ip": "2001:db8::/64", "blocked": false, "dns_ptr": []}, "floating_ips": [478]},
            "private_net": [{"network": 4711, "ip": "10.0.0.2", "alias_ips": [], "mac_address": "86:00:ff:2a:7d:e1"}, {"network": 4712, "ip": "10.1.0.2", "alias_ips": []}, {"network": 9, "ip": "10.9.0.2", "alias_ips": []}],
            "labels": {"environment": "prod", "example.com/my": "label", "just-a-key": "", "größe": "ü"}, "protection": {"delete": false, "rebuild": false}}),
        json!({"id": 43, "name": "v6", "status": "off", "server_type": kind(json!(0.5)), "datacenter": center, "image": null,
            "public_net": {"ipv4": null, "ipv6": {"ip": "2001:db8:1::/64", "blocked": false, "dns_ptr": null}, "floating_ips": []}, "private_net": [], "labels": {}}),
        json!({"id": 44, "name": "hidden", "status": "initializing", "server_type": kind(json!(4)), "datacenter": center,
            "image": {"id": 1, "type": "snapshot", "status": "available", "name": null, "description": "mine", "os_flavor": "unknown", "os_version": null},
            "public_net": {"ipv4": null, "ipv6": null, "floating_ips": []}, "private_net": [{"network": 4711, "ip": "10.0.0.3", "alias_ips": []}], "labels": null}),
        json!({"id": 45, "name": "v4", "status": "running", "server_type": kind(json!(16)), "datacenter": center, "image": image,
            "public_net": {"ipv4": {"ip": "127.2.0.4", "blocked": true, "dns_ptr": ""}, "ipv6": null, "floating_ips": []}, "private_net": null, "labels": {"a": "b"}}),
        json!({"id": 46, "name": "last", "status": "running", "server_type": kind(json!(16)), "datacenter": center, "image": image,
            "public_net": {"ipv4": {"ip": "127.2.0.5", "blocked": false, "dns_ptr": ""}, "ipv6": {"ip": "2001:db8:2::/64"}, "floating_ips": []}, "private_net": [{"network": 4711, "ip": "10.0.0.5"}], "labels": {}}),
    ]
}

fn hcloud(request: &Request, changed: bool) -> Answer {
    let Some(account) = account(request) else { return refused() };
    let network = |id: u64, name: &str| json!({"id": id, "name": name, "ip_range": "10.0.0.0/16", "subnets": [], "routes": [], "servers": [42], "labels": {}});
    let (what, all) = match request.path.as_str() {
        "/v1/servers" => {
            let mut servers = owned(account, changed, hcloud_servers());
            match request.get("label_selector") {
                "" => {}
                "environment==prod" => servers.retain(|server| server["labels"]["environment"] == "prod"),
                other => panic!("{other} selects nothing"),
            }
            ("servers", servers)
        }
        "/v1/networks" => {
            ("networks", vec![network(4711, "my network"), network(4713, "other"), network(4712, "größe/2")])
        }
        other => panic!("nobody asks for {other}"),
    };
    let (list, number, more) = page(&all, request.get("page"));
    let previous = if number > 1 { json!(number - 1) } else { Value::Null };
    let next = if more { json!(number + 1) } else { Value::Null };
    Answer::json(
        &json!({what: list, "meta": {"pagination": {"page": number, "per_page": 2, "previous_page": previous,
        "next_page": next, "last_page": all.len().div_ceil(2).max(1), "total_entries": all.len()}}}),
    )
}

fn robot(request: &Request, changed: bool) -> Answer {
    assert_eq!(request.path, "/server");
    // `robot:password`, `empty:password`.
    let account = match request.header("authorization") {
        "Basic cm9ib3Q6cGFzc3dvcmQ=" => "robot",
        "Basic ZW1wdHk6cGFzc3dvcmQ=" => "empty",
        _ => return refused(),
    };
    let all = vec![
        json!({"server": {"server_ip": "127.3.0.1", "server_ipv6_net": "2a01:f48:111:4221::", "server_number": 321, "server_name": "server1", "product": "DS 3000", "dc": "NBG1-DC1",
            "traffic": "5 TB", "status": "ready", "cancelled": false, "paid_until": "2010-09-02", "ip": ["127.3.0.1"], "linked_storagebox": null,
            "subnet": [{"ip": "127.3.1.0", "mask": "29"}, {"ip": "2a01:4f8:111:4221::", "mask": "64"}, {"ip": "2a01:4f8:111:4222::", "mask": "64"}]}}),
        json!({"server": {"server_ip": null, "server_number": 421, "server_name": "größe", "product": "X5", "dc": "FSN1-DC10", "traffic": "2 TB", "status": "in process", "cancelled": true,
            "paid_until": "2010-06-11", "ip": null, "subnet": [{"ip": "2a01:4f8:111:4223::", "mask": "64"}]}}),
        json!({"server": {"server_ip": "127.3.0.3", "server_number": 521, "server_name": "", "product": "", "dc": "", "status": "ready", "cancelled": false, "ip": ["127.3.0.3"], "subnet": null}}),
        json!({"server": {"server_ip": "127.3.0.4", "server_number": 621, "server_name": "last", "product": "X", "dc": "HEL1", "status": "ready", "cancelled": false, "subnet": []}}),
    ];
    Answer::json(&Value::Array(owned(account, changed, all)))
}

fn ionos(request: &Request, changed: bool) -> Answer {
    let Some(account) = account(request) else { return refused() };
    let center =
        request.path.strip_prefix("/cloudapi/v6/datacenters/").and_then(|rest| rest.strip_suffix("/servers"));
    assert_eq!((center, request.get("depth")), (Some("8feda53f-15f0-447f-badf-ebe32dad2fc0"), "3"));
    let nic = |name: Value, ips: &[&str]| json!({"id": "n", "type": "nic", "metadata": {"state": "AVAILABLE"}, "properties": {"name": name, "mac": "02:01", "ips": ips, "dhcp": true, "lan": 1}});
    let volume = |id: &str, image: Value| json!({"id": id, "type": "volume", "properties": {"name": "v", "type": "HDD", "size": 10, "image": image}});
    let server = |id: &str, own: Value, entities: Value| json!({"id": id, "type": "server", "href": "", "metadata": {"etag": "e", "state": "AVAILABLE"}, "properties": own, "entities": entities});
    let own = |name: &str| json!({"name": name, "cores": 4, "ram": 4096, "availabilityZone": "ZONE_1", "vmState": "RUNNING", "bootCdrom": null, "bootVolume": null, "cpuFamily": "AMD_OPTERON", "type": "CUBE"});
    let mut first = own("prometheus-2");
    first["cpuFamily"] = json!("INTEL_SKYLAKE");
    first["bootCdrom"] = json!({"id": "0e4d57f9", "type": "image"});
    first["bootVolume"] = json!({"id": "v-2", "type": "volume"});
    let mut second = own("größe");
    second["bootVolume"] = json!({"id": "v-9", "type": "volume"});
    second["vmState"] = json!("SHUTOFF");
    let list = |items: Vec<Value>| json!({"id": "l", "type": "collection", "items": items});
    let all = vec![
        server(
            "s-1",
            first,
            json!({"cdroms": list(vec![]), "volumes": list(vec![volume("v-1", json!("other")), volume("v-2", json!("image-2"))]),
            "nics": list(vec![nic(json!("local nic/1"), &["127.4.0.1", "127.4.0.2"]), nic(Value::Null, &["127.4.0.3"]), nic(json!("none"), &[])])}),
        ),
        server(
            "s-2",
            second,
            json!({"volumes": list(vec![volume("v-1", json!("other"))]), "nics": list(vec![nic(json!(""), &["2001:db8::1"])])}),
        ),
        server("s-3", own("no address"), json!({"volumes": list(vec![]), "nics": list(vec![])})),
        server(
            "s-4",
            own("null"),
            json!({"volumes": null, "nics": list(vec![nic(json!("n"), &["127.4.0.4"]), nic(json!("n"), &["127.4.0.5"])])}),
        ),
        server(
            "s-5",
            own("last"),
            json!({"volumes": list(vec![]), "nics": list(vec![nic(json!("n"), &["127.4.0.6"])])}),
        ),
        server(
            "s-6",
            own("last"),
            json!({"volumes": list(vec![]), "nics": list(vec![nic(json!("n"), &["127.4.0.7"])])}),
        ),
    ];
    Answer::json(&list(owned(account, changed, all)))
}

fn linode_addresses() -> Vec<Value> {
    let address = |ip: &str, public: bool, rdns: Value| json!({"address": ip, "gateway": null, "subnet_mask": "255.255.255.0", "prefix": 24, "type": "ipv4", "public": public, "rdns": rdns, "linode_id": 1, "region": "us-east"});
    vec![
        address("127.5.0.1", true, json!("li1.members.linode.com")),
        address("192.168.170.51", false, Value::Null),
        address("127.5.0.2", true, json!("second")),
        address("192.168.170.52", false, json!("r")),
        address("127.5.0.3", true, json!("null")),
        address("192.168.1.1", false, json!("inner.test")),
        address("127.5.0.4", true, Value::Null),
        address("127.5.0.5", true, json!("")),
        address("1320:616e:b04f:ff::1", true, json!("six.test")),
        address("1320::2", true, Value::Null),
    ]
}

fn linode_ranges() -> Vec<Value> {
    vec![
        json!({"range": "1320:616e:1::", "region": "us-east", "prefix": 64, "route_target": "1320:616e:b04f:ff::1"}),
        json!({"range": "1320:616e:2::", "region": "us-east", "prefix": 56, "route_target": "1320:616e:b04f:ff::1"}),
        json!({"range": "1320:616e:3::", "region": "us-east", "prefix": 56, "route_target": "1320::9"}),
        json!({"range": "1320:616e:4::", "region": "us-east", "prefix": 56, "route_target": null}),
    ]
}

fn linode(request: &Request, changed: bool) -> Answer {
    // Whoever may not see what happened asks for everything each time.
    if request.path == "/v4/account/events" {
        return Answer::refused(
            &json!({"errors": [{"reason": "Your OAuth token is not authorized to use this endpoint."}]}),
        );
    }
    let Some(account) = account(request) else {
        return Answer::refused(&json!({"errors": [{"reason": "Invalid Token"}]}));
    };
    let filter: Value = serde_json::from_str(request.header("x-filter")).unwrap_or_default();
    let specs = json!({"disk": 81920, "memory": 4096, "vcpus": 2, "gpus": 0, "transfer": 4000});
    let instance = |id: u64, label: &str, v4: &[&str], v6: Value, more: Value| {
        let mut instance = json!({"id": id, "label": label, "group": "", "status": "running", "created": "2018-01-01T00:01:01", "updated": "2018-01-01T00:01:01",
            "type": "g6-standard-2", "ipv4": v4, "ipv6": v6, "image": "linode/debian10", "region": "us-east", "specs": specs,
            "alerts": {"cpu": 180}, "backups": {"enabled": true, "schedule": {"day": "Saturday", "window": "W22"}}, "hypervisor": "kvm", "watchdog_enabled": true, "tags": []});
        instance.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        instance
    };
    let mut all = match request.path.as_str() {
        "/v4/linode/instances" => owned(
            account,
            changed,
            vec![
                instance(
                    26838044,
                    "prometheus-linode-sd",
                    &["127.5.0.1", "192.168.170.51", "127.5.0.2", "192.168.170.52"],
                    json!("1320:616e:b04f:ff::1/128"),
                    json!({"tags": ["monitoring", "a:b", "größe"], "group": "g", "region": "ca-east"}),
                ),
                instance(
                    2,
                    "stopped",
                    &["127.5.0.3"],
                    Value::Null,
                    json!({"status": "offline", "image": null, "type": null, "backups": {"enabled": false}, "specs": {"disk": 0, "memory": 1, "vcpus": 1, "gpus": 2, "transfer": 0}}),
                ),
                instance(3, "private", &["192.168.1.1"], json!("1320::2/128"), json!({})),
                instance(4, "nothing", &[], json!("1320::3/128"), json!({})),
                instance(5, "unknown", &["127.5.0.9"], json!("1320::4/64"), json!({"tags": null})),
                instance(6, "half known", &["127.5.0.9", "127.5.0.4"], json!(""), json!({})),
                instance(7, "last", &["127.5.0.5"], Value::Null, json!({})),
            ],
        ),
        "/v4/networking/ips" => linode_addresses(),
        "/v4/networking/ipv6/ranges" => linode_ranges(),
        other => panic!("nobody asks for {other}"),
    };
    if let Some(region) = filter["region"].as_str() {
        all.retain(|thing| thing["region"] == region);
    }
    let (list, number, _) = page(&all, request.get("page"));
    Answer::json(
        &json!({"data": list, "page": number, "pages": all.len().div_ceil(2).max(1), "results": all.len()}),
    )
}

fn vultr(request: &Request, changed: bool) -> Answer {
    let Some(account) = account(request) else {
        return Answer::refused(&json!({"error": "Invalid API token.", "status": 401}));
    };
    assert_eq!(request.path, "/v2/instances");
    let instance = |id: &str, more: Value| {
        let mut instance = json!({"id": id, "os": "Ubuntu 22.04 x64", "ram": 1024, "disk": 25, "main_ip": "127.6.0.1", "vcpu_count": 1, "region": "atl", "plan": "vc2-6c-16gb",
            "date_created": "2020-10-10T01:56:20+00:00", "status": "active", "allowed_bandwidth": 1000, "netmask_v4": "255.255.252.0", "gateway_v4": "127.6.0.254", "power_status": "running",
            "server_status": "ok", "v6_network": "2001:0db8:1112:18fb::", "v6_main_ip": "2001:0db8:1112:18fb:0200:00ff:fe00:0000", "v6_network_size": 64, "label": "Example Instance",
            "internal_ip": "10.1.0.1", "kvm": "https://my.vultr.com/", "hostname": "my-hostname", "os_id": 1743, "app_id": 0, "image_id": "", "firewall_group_id": "", "features": ["ddos_protection", "ipv6"], "tag": "", "tags": ["a tag", "b,c", "größe"]});
        instance.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        instance
    };
    let all = vec![
        instance("cb676a46-66fd-4dfb-b839-443f2e6c0b60", json!({})),
        instance(
            "2",
            json!({"main_ip": "0.0.0.0", "v6_main_ip": "", "internal_ip": "", "features": [], "tags": [], "server_status": "none", "hostname": "", "label": "", "os_id": 0, "disk": 0}),
        ),
        instance("3", json!({"main_ip": "", "v6_main_ip": "2001:db8::1", "features": null, "tags": null})),
        instance("4", json!({"main_ip": "2001:db8::2", "tags": [""]})),
        instance("5", json!({"main_ip": "127.6.0.5"})),
        instance("6", json!({"main_ip": "127.6.0.6"})),
    ];
    let all = owned(account, changed, all);
    let number = request.get("cursor").strip_prefix("next+/").unwrap_or_default();
    let (list, number, more) = page(&all, number);
    let next = if more { format!("next+/{}", number + 1) } else { String::new() };
    Answer::json(
        &json!({"instances": list, "meta": {"total": all.len(), "links": {"next": next, "prev": ""}}}),
    )
}

fn sections(front: &Front) -> Vec<(&'static str, &'static str, String)> {
    let http = front.http();
    let bearer = |token: &str| format!("{http}, authorization: {{credentials: {token}}}");
    let basic = |name: &str| format!("{http}, basic_auth: {{username: {name}, password: password}}");
    let center = "datacenter_id: 8feda53f-15f0-447f-badf-ebe32dad2fc0";
    vec![
        ("digitalocean", "droplet_id", bearer("mine") + ", port: 9100"),
        ("digitalocean", "droplet_id", bearer("empty")),
        ("digitalocean", "droplet_id", bearer("stranger")),
        ("hetzner", "server_id", bearer("mine") + ", role: hcloud"),
        (
            "hetzner",
            "server_id",
            bearer("mine") + ", role: hcloud, port: 81, label_selector: 'environment==prod'",
        ),
        ("hetzner", "server_id", bearer("empty") + ", role: hcloud"),
        ("hetzner", "server_id", bearer("stranger") + ", role: hcloud"),
        ("hetzner", "server_id", basic("robot") + ", role: robot, port: 82"),
        ("hetzner", "server_id", basic("empty") + ", role: robot"),
        ("hetzner", "server_id", basic("stranger") + ", role: robot"),
        ("ionos", "server_id", bearer("mine") + ", port: 83, " + center),
        ("ionos", "server_id", bearer("empty") + ", " + center),
        ("ionos", "server_id", bearer("stranger") + ", " + center),
        ("linode", "instance_id", bearer("mine")),
        ("linode", "instance_id", bearer("mine") + ", region: us-east, tag_separator: ';', port: 84"),
        ("linode", "instance_id", bearer("empty")),
        ("linode", "instance_id", bearer("stranger")),
        ("vultr", "instance_id", bearer("mine")),
        ("vultr", "instance_id", bearer("empty") + ", port: 85"),
        ("vultr", "instance_id", bearer("stranger")),
    ]
}

#[test]
fn machines_of_clouds_are_the_same() {
    let folder = folder();
    let accounts = Accounts::new([
        ("api.digitalocean.com", digitalocean as _),
        ("api.hetzner.cloud", hcloud as _),
        ("robot-ws.your-server.de", robot as _),
        ("api.ionos.com", ionos as _),
        ("api.linode.com", linode as _),
        ("api.vultr.com", vultr as _),
    ]);
    let shared = Arc::clone(&accounts);
    let front =
        Front::start(folder.path(), &accounts.hosts(), move |request, reply| shared.answer(request, reply));
    let pair = Pair::start(folder.path(), &configuration(&sections(&front)));
    compare(
        &pair,
        &accounts,
        &["digitalocean", "hetzner", "ionos", "linode", "vultr"],
        [29, 29],
        "9007199254740993",
    );
}

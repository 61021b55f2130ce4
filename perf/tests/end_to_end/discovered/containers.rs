//! The containers of an engine of Docker, with what is odd about their networks and ports.

use super::Pair;
use super::accounts::{Accounts, Answer, compare, configuration, owned};
use super::api::Request;
use super::front::Front;
use crate::setup::folder;
use serde_json::{Value, json};
use std::sync::Arc;

fn engine(request: &Request, changed: bool) -> Answer {
    if request.path == "/_ping" {
        return Answer::xml("OK".to_owned()).header("API-Version", "1.45");
    }
    let account = match request.header("authorization").strip_prefix("Bearer ") {
        Some(account @ ("mine" | "empty")) => account,
        _ => return Answer::refused(&json!({"message": "authorization denied by plugin"})),
    };
    let path = request.path.strip_prefix("/v1.45").unwrap_or(&request.path);
    match path {
        "/networks" => Answer::json(&json!([
            {"Id": "n1", "Name": "a", "Created": "2022-03-28T14:59:19.0Z", "Scope": "local", "Driver": "bridge", "EnableIPv6": false, "Internal": false, "Attachable": true, "Ingress": false, "Labels": {"k.l": "v", "größe": ""}},
            {"Id": "n2", "Name": "b/ü", "Scope": "swarm", "Internal": true, "Ingress": true, "Labels": null},
            {"Id": "h", "Name": "host", "Scope": "local", "Labels": {}},
        ])),
        "/containers/json" => {
            let mut all = owned(account, changed, containers());
            let filters: Value = serde_json::from_str(request.get("filters")).unwrap_or_default();
            if filters["status"] != Value::Null {
                assert!(
                    filters["status"] == json!(["running"]) || filters["status"] == json!({"running": true}),
                    "{filters}"
                );
                all.retain(|container| container["State"] == "running");
            }
            Answer::json(&Value::Array(all))
        }
        other => panic!("nobody asks for {other}"),
    }
}

fn port(private: u16, public: u16, kind: &str, ip: Option<&str>) -> Value {
    let mut port = json!({"PrivatePort": private, "Type": kind});
    if public > 0 {
        port["PublicPort"] = json!(public);
    }
    if let Some(ip) = ip {
        port["IP"] = json!(ip);
    }
    port
}

/// None shares its networks in a circle: the other side would look for an end of it for ever.
fn containers() -> Vec<Value> {
    let network = |id: &str, ip: &str| json!({"IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": id, "EndpointID": "e", "Gateway": "172.20.0.1", "IPAddress": ip, "IPPrefixLen": 16, "IPv6Gateway": "", "GlobalIPv6Address": "2001:db8::2", "GlobalIPv6PrefixLen": 64, "MacAddress": "02:42"});
    let container = |id: &str, mode: &str, networks: Value, ports: Value| {
        json!({"Id": id, "Names": [format!("/{id}"), format!("/other/{id}")], "Image": "prom/node-exporter:v1.1.2", "ImageID": "sha256:c19ae228", "Command": "/bin/node_exporter", "Created": 1_616_273_136,
            "Ports": ports, "Labels": {"com.docker.compose.project": "dockersd", "x/y": "ü", "empty": ""}, "State": "running", "Status": "Up 40 seconds", "HostConfig": {"NetworkMode": mode},
            "NetworkSettings": {"Networks": networks}, "Mounts": []})
    };
    let both = json!({"b": network("n2", "172.21.0.2"), "a": network("n1", "172.20.0.2")});
    let mut plain = container("plain", "bridge", json!({"bridge": network("n9", "172.17.0.2")}), Value::Null);
    plain["Labels"] = Value::Null;
    plain["State"] = json!("paused");
    let mut nameless = container("nameless", "net", both.clone(), json!([]));
    nameless["Names"] = json!([]);
    vec![
        container(
            "web",
            "net",
            both.clone(),
            json!([
                port(80, 8080, "tcp", Some("0.0.0.0")),
                port(80, 8080, "tcp", Some("::")),
                port(53, 53, "udp", Some("0.0.0.0")),
                port(443, 0, "tcp", None)
            ]),
        ),
        container("udp", "net", both, json!([port(53, 0, "udp", None)])),
        plain,
        nameless,
        container("side", "container:web", json!({}), json!([port(9100, 0, "tcp", None)])),
        container("beside", "container:side", json!({}), json!([])),
        container("orphan", "container:gone", json!({}), json!([])),
        container("host", "host", json!({"host": network("h", "")}), json!([])),
        container("none", "none", json!({"none": network("n0", "")}), json!([port(1, 0, "tcp", None)])),
        container("v6", "net", json!({"a": network("n1", "2001:db8::6")}), json!([port(90, 0, "tcp", None)])),
        container("stopped", "net", json!({"a": network("n1", "")}), json!([])),
        container("last", "net", json!({"a": network("n1", "172.20.0.9")}), json!([])),
    ]
}

#[test]
fn containers_of_an_engine_are_the_same() {
    let folder = folder();
    let accounts = Accounts::new([("127.0.0.1", engine as _)]);
    let shared = Arc::clone(&accounts);
    let front = Front::start(folder.path(), &[], move |request, reply| shared.answer(request, reply));
    let section = |account: &str, more: &str| {
        let text =
            format!("host: 'http://{}', authorization: {{credentials: {account}}}{more}", front.address);
        ("docker", "container_id", text)
    };
    let sections = [
        section("mine", ""),
        section("mine", ", match_first_network: false, port: 9101, host_networking_host: host.test"),
        section("mine", ", filters: [{name: status, values: [running]}]"),
        section("empty", ""),
        section("stranger", ""),
    ];
    let pair = Pair::start(folder.path(), &configuration(&sections));
    compare(&pair, &accounts, &["docker"], [34, 21], "172.20.0.9");
}

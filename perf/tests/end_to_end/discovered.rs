//! Service discovery: the same fake APIs for Hearth and Prometheus, and the same targets with the same
//! labels, before and after relabelling.

use crate::pages::{Page, serve};
use crate::setup::{folder, launch_hearth, launch_prometheus};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Every target of a server: its pool and its labels, those that were discovered and those that are left.
fn targets(client: &Client) -> Result<BTreeSet<String>, String> {
    let answer = client.get("/api/v1/targets", &[]).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
    let data = &value["data"];
    let list = |what: &str| data[what].as_array().cloned().unwrap_or_default();
    let active = list("activeTargets")
        .into_iter()
        .map(|t| format!("{} {} {} {}", t["scrapePool"], t["scrapeUrl"], t["labels"], t["discoveredLabels"]));
    let dropped = list("droppedTargets").into_iter().map(|t| format!("dropped {}", t["discoveredLabels"]));
    Ok(active.chain(dropped).collect())
}

/// Starts both with this configuration and waits until they have the same targets, at least `least`.
fn same_targets(folder: &Path, configuration: &str, least: usize) {
    let ours = launch_hearth(folder).config(configuration.to_owned()).start().expect("hearth starts");
    let theirs =
        launch_prometheus(folder).config(configuration.to_owned()).start().expect("prometheus starts");
    let both = || (targets(&ours.client), targets(&theirs.client));
    let waited = wait_until("the same targets", Duration::from_secs(60), || match both() {
        (Ok(ours), Ok(theirs)) => Ok(theirs.len() >= least && ours == theirs),
        _ => Ok(false),
    });
    if waited.is_err() {
        let (ours, theirs) = (both().0.expect("ours"), both().1.expect("theirs"));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&theirs).collect();
        panic!("{} targets of {least}\nmissing: {missing:#?}\nextra: {extra:#?}", theirs.len());
    }
}

#[test]
fn http_file_and_dns_targets_are_the_same() {
    let folder = folder();
    let groups = json!([
        {"targets": ["127.0.0.1:1", "h.example:2"], "labels": {"l": "v", "__meta_own": "o"}},
        {"targets": ["[::1]:3"]},
    ]);
    let api =
        serve(move |path| if path == "/groups" { Page::Json(groups.to_string()) } else { Page::Missing });
    let file = folder.path().join("t.yml");
    std::fs::write(&file, "- targets: [a:1, b:2]\n  labels: {x: y}\n- targets: [c:3]\n").expect("a file");
    let configuration = format!(
        "scrape_configs:
  - job_name: http
    http_sd_configs: [{{url: 'http://{api}/groups'}}]
    relabel_configs:
      - {{source_labels: [__meta_own], target_label: own}}
      - {{action: drop, source_labels: [__address__], regex: '\\[::1\\].*'}}
  - job_name: file
    file_sd_configs: [{{files: ['{}']}}]
  - job_name: dns
    dns_sd_configs: [{{names: [localhost], type: A, port: 9}}]
",
        file.display()
    );
    same_targets(folder.path(), &configuration, 6);
}

fn list(kind: &str, items: Vec<Value>) -> Page {
    let list = json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items});
    Page::Json(list.to_string())
}

fn pods() -> Vec<Value> {
    let pod = |name: &str, ip: &str, ready: &str| {
        json!({
            "metadata": {"name": name, "namespace": "n", "uid": format!("u-{name}"),
                "labels": {"app.kubernetes.io/name": "web", "x": ""}, "annotations": {"a/b": "é"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "controller": true, "apiVersion": "v1", "uid": "1"}]},
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "c", "image": "img:1", "ports": [
                    {"name": "http", "containerPort": 80, "protocol": "TCP"},
                    {"name": "more", "containerPort": 81, "protocol": "TCP"}]},
                {"name": "bare", "image": "img:2"}],
              "initContainers": [{"name": "side", "image": "img:3", "ports": [{"containerPort": 9, "protocol": "TCP"}]}]},
            "status": {"phase": "Running", "podIP": ip, "hostIP": "10.9.0.1",
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "c", "containerID": "docker://1", "image": "", "imageID": "", "ready": true, "restartCount": 0}]},
        })
    };
    vec![pod("a", "10.1.0.1", "True"), pod("b", "fd00::2", "False"), pod("pending", "", "Unknown")]
}

/// A cluster that answers lists and holds watches open.
fn cluster(path: &str) -> Page {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if query.contains("watch=true") || query.contains("watch=1") {
        return Page::Silence;
    }
    let reference = json!({"kind": "Pod", "name": "a", "namespace": "n"});
    match path {
        "/api/v1/pods" => list("Pod", pods()),
        "/api/v1/nodes" => list(
            "Node",
            vec![json!({
                "metadata": {"name": "node-1", "labels": {"zone": "z1"}, "annotations": {"n": "1"}},
                "spec": {"providerID": "p://1"},
                "status": {"addresses": [{"type": "ExternalIP", "address": "1.2.3.4"}, {"type": "InternalIP", "address": "10.9.0.1"},
                    {"type": "Hostname", "address": "node-1"}],
                  "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}},
            })],
        ),
        "/api/v1/services" => list(
            "Service",
            vec![
                json!({"metadata": {"name": "web", "namespace": "n", "labels": {"tier": "front"}, "annotations": {"s": "1"}},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.9", "loadBalancerIP": "9.9.9.9",
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}),
                json!({"metadata": {"name": "out", "namespace": "n"},
                "spec": {"type": "ExternalName", "externalName": "x.example", "ports": [{"port": 443, "protocol": "TCP"}]}}),
            ],
        ),
        "/api/v1/endpoints" => list(
            "Endpoints",
            vec![json!({
                "metadata": {"name": "web", "namespace": "n", "labels": {"e": "1"}, "annotations": {"f": "2"}},
                "subsets": [{"ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
                    "addresses": [{"ip": "10.1.0.1", "nodeName": "node-1", "targetRef": reference}],
                    "notReadyAddresses": [{"ip": "10.1.0.7", "hostname": "h"}]}],
            })],
        ),
        "/apis/discovery.k8s.io/v1/endpointslices" => list(
            "EndpointSlice",
            vec![json!({
                "metadata": {"name": "web-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}],
                "endpoints": [
                    {"addresses": ["10.1.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
                     "nodeName": "node-1", "zone": "z1", "hostname": "hh", "targetRef": reference,
                     "deprecatedTopology": {"kubernetes.io/hostname": "h"}},
                    {"addresses": ["10.1.0.8", "10.1.0.9"], "conditions": {"ready": false}}],
            })],
        ),
        "/apis/networking.k8s.io/v1/ingresses" => list(
            "Ingress",
            vec![json!({
                "metadata": {"name": "i", "namespace": "n", "labels": {"l": "1"}, "annotations": {"a": "2"}},
                "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["*.x.org"]}, {"hosts": ["y.org"]}],
                    "rules": [{"host": "a.x.org", "http": {"paths": [{"path": "/p", "pathType": "Prefix", "backend": {}}, {"pathType": "Prefix", "backend": {}}]}},
                        {"host": "a.b.x.org"}, {"host": "y.org"}, {"http": {"paths": []}}]},
            })],
        ),
        _ => Page::Missing,
    }
}

#[test]
fn kubernetes_targets_are_the_same_in_every_role() {
    let folder = folder();
    let api = serve(cluster);
    let mut configuration = "scrape_configs:\n".to_owned();
    for (role, attach) in [
        ("node", ""),
        ("pod", ", attach_metadata: {node: true}"),
        ("service", ""),
        ("endpoints", ", attach_metadata: {node: true}"),
        ("endpointslice", ", attach_metadata: {node: true}"),
        ("ingress", ""),
    ] {
        let section = format!("{{role: {role}, api_server: 'http://{api}'{attach}}}");
        configuration.push_str(&format!("  - job_name: {role}\n    kubernetes_sd_configs: [{section}]\n"));
    }
    same_targets(folder.path(), &configuration, 20);
}

#[test]
fn docker_targets_are_the_same() {
    let folder = folder();
    let api = serve(|path| {
        match path.split('?').next().unwrap_or_default() {
        "/_ping" => Page::Text(Arc::new("OK".into())),
        path if path.ends_with("/containers/json") => Page::Json(
            json!([
                {"Id": "a1", "Names": ["/web"], "Image": "nginx:1", "ImageID": "sha256:5", "Labels": {"com.x/y": "z"},
                 "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
                 "HostConfig": {"NetworkMode": "net"},
                 "NetworkSettings": {"Networks": {"b": {"NetworkID": "n2", "IPAddress": "10.0.0.9"}, "a": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}}}},
                {"Id": "b2", "Names": ["/side"], "Image": "i", "HostConfig": {"NetworkMode": "container:a1"},
                 "NetworkSettings": {"Networks": {}}, "Ports": []},
                {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
                 "NetworkSettings": {"Networks": {"host": {"NetworkID": "h", "IPAddress": ""}}}},
            ])
            .to_string(),
        ),
        path if path.ends_with("/networks") => Page::Json(
            json!([{"Id": "n1", "Name": "a", "Scope": "local", "Internal": false, "Ingress": true, "Labels": {"k": "v"}}]).to_string(),
        ),
        _ => Page::Missing,
    }
    });
    let configuration =
        format!("scrape_configs:\n  - job_name: docker\n    docker_sd_configs: [{{host: 'http://{api}'}}]\n");
    same_targets(folder.path(), &configuration, 3);
}

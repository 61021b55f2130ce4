//! A fake API server that answers lists and watches from a script, and the targets that come of it.

use crate::discovery::Wanted;
use crate::testing::{Answer, api, discovery, found, lines, section};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const POD: &str = r#"{"metadata": {"name": "NAME", "namespace": "n", "uid": "u-1",
  "labels": {"app.io/x": "web"}, "annotations": {"note": "é"},
  "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "controller": true}]},
 "spec": {"nodeName": "node-1",
  "containers": [
   {"name": "c", "image": "img:1", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]},
   {"name": "bare", "image": "img:2"}],
  "initContainers": [{"name": "side", "image": "img:3", "ports": [{"containerPort": 9, "protocol": "UDP"}]}]},
 "status": {"phase": "Running", "podIP": "IP", "hostIP": "10.9.0.1",
  "conditions": [{"type": "Ready", "status": "True"}],
  "containerStatuses": [{"name": "c", "containerID": "docker://1"}]}}"#;

const NODE: &str = r#"{"metadata": {"name": "node-1", "labels": {"zone": "z1"}},
 "spec": {"providerID": "p://1"},
 "status": {"addresses": [{"type": "ExternalIP", "address": "1.2.3.4"}, {"type": "InternalIP", "address": "10.9.0.1"},
   {"type": "InternalIP", "address": "10.9.0.2"}],
  "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
  "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}}"#;

const SERVICE: &str = r#"{"metadata": {"name": "web", "namespace": "n", "labels": {"tier": "front"}},
 "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.9", "loadBalancerIP": "9.9.9.9",
  "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}"#;

fn pod(name: &str, ip: &str) -> String {
    POD.replace("NAME", name).replace("IP\": \"IP\"", &format!("IP\": \"{ip}\""))
}

fn list(version: u64, more: &str, items: &[String]) -> Answer {
    let items = items.join(",");
    Answer::json(&format!(
        r#"{{"metadata": {{"resourceVersion": "{version}", "continue": "{more}"}}, "items": [{items}]}}"#
    ))
}

fn event(kind: &str, version: u64, object: &str) -> String {
    let versioned = object.replacen(
        "\"metadata\": {",
        &format!("\"metadata\": {{\"resourceVersion\": \"{version}\", "),
        1,
    );
    format!("{{\"type\": \"{kind}\", \"object\": {}}}\n", versioned.replace('\n', " "))
}

/// Waits until the addresses are these.
async fn wait_for(listener: &crate::discovery::Listener, expect: &[&str]) {
    let address = |line: &String| line.split('"').nth(1).unwrap_or_default().to_owned();
    let wait = async {
        loop {
            let groups = listener.watchers[0].groups();
            let now: Vec<String> =
                groups.map(|groups| lines(&groups).iter().map(address).collect()).unwrap_or_default();
            if now == expect {
                return;
            }
            listener.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("never {expect:?}"));
}

#[tokio::test]
async fn lists_and_watches_are_followed_through_pages_events_and_expiry() {
    let lists = AtomicUsize::new(0);
    let address = api(move |request| {
        let line = request.lines().next().unwrap_or_default();
        let has = |part: &str| line.contains(part);
        assert!(line.starts_with("GET /api/v1/namespaces/n/pods?labelSelector=a%3Db"), "{line}");
        if has("watch=true") {
            assert!(has("allowWatchBookmarks=true") && has("timeoutSeconds="), "{line}");
            return match () {
                () if has("resourceVersion=10") => Answer::json(
                    &(event("ADDED", 11, &pod("c", "10.1.0.3"))
                        + &event("MODIFIED", 12, &pod("a", "10.1.0.9"))
                        + &event("DELETED", 13, &pod("b", "10.1.0.2"))
                        + &event("BOOKMARK", 20, r#"{"metadata": {}}"#)),
                ),
                () if has("resourceVersion=20") => Answer::json(
                    "{\"type\": \"ERROR\", \"object\": {\"code\": 410, \"reason\": \"Expired\", \"message\": \"old\"}}\n",
                ),
                () if has("resourceVersion=30") => Answer::Whole("410 Gone".into(), Vec::new()),
                () => Answer::Silence,
            };
        }
        if has("continue=two") {
            return list(10, "", &[pod("b", "10.1.0.2")]);
        }
        match lists.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::Whole("500 Internal Server Error".into(), Vec::new()),
            1 => list(10, "two", &[pod("a", "10.1.0.1")]),
            2 => list(30, "", &[pod("d", "10.1.0.4")]),
            _ => list(40, "", &[pod("e", "10.1.0.5"), pod("f", "")]),
        }
    })
    .await;
    let yaml = format!(
        "{{role: pod, api_server: 'http://{address}', namespaces: {{names: [n]}}, \
         selectors: [{{role: pod, label: 'a=b'}}]}}"
    );
    let discovery = discovery(None);
    let listener = discovery.listen("j", [Wanted::Sd(section("kubernetes", &yaml))]);
    wait_for(&listener, &["10.1.0.5:80", "10.1.0.5", "10.1.0.5:9"]).await;
    let counters = &discovery.tools.counters;
    assert!(counters.kubernetes_events("pod", "add") >= 5);
    assert!(counters.kubernetes_events("pod", "delete") >= 3);
    assert!(counters.tally(crate::counters::Tally::KubernetesFailures).get() >= 1);
}

/// All targets of a role where each list has these objects and never changes.
async fn role(yaml: &str, objects: &'static [(&'static str, &'static str)]) -> Vec<String> {
    let address = api(move |request| {
        let line = request.lines().next().unwrap_or_default();
        let found = objects.iter().find(|(path, _)| line.starts_with(&format!("GET {path}?")));
        match found {
            _ if line.contains("watch=true") => Answer::Silence,
            Some((_, items)) => list(1, "", &[(*items).to_owned()]),
            None => Answer::Whole("403 Forbidden".into(), line.as_bytes().to_vec()),
        }
    })
    .await;
    found("kubernetes", &format!("{{api_server: 'http://{address}', {yaml}}}")).await
}

#[track_caller]
fn has(line: &str, parts: &[&str]) {
    for part in parts {
        let (name, value) = part.split_once('=').expect("name=value");
        let label = format!("__meta_kubernetes_{name}=\"{value}\"");
        assert!(line.contains(&label), "no {label} in {line}");
    }
}

#[tokio::test]
async fn pods_have_all_their_labels() {
    const SET: &str = r#"{"metadata": {"name": "web-5d", "namespace": "n",
      "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": true}]}}"#;
    let pods: &str = Box::leak(pod("a", "10.1.0.1").into_boxed_str());
    let objects: &'static [_] = Box::leak(Box::new([
        ("/api/v1/pods", pods),
        ("/api/v1/nodes", NODE),
        ("/apis/apps/v1/replicasets", SET),
        ("/api/v1/namespaces", r#"{"metadata": {"name": "n", "labels": {"team": "t"}}}"#),
    ]));
    let found =
        role("role: pod, attach_metadata: {node: true, deployment: true, namespace: true}", objects).await;
    assert_eq!(found.len(), 3);
    has(
        &found[0],
        &[
            "namespace=n",
            "namespace_label_team=t",
            "pod_name=a",
            "pod_ip=10.1.0.1",
            "pod_label_app_io_x=web",
            "pod_labelpresent_app_io_x=true",
            "pod_annotation_note=é",
            "pod_annotationpresent_note=true",
            "pod_container_init=false",
            "pod_container_name=c",
            "pod_container_id=docker://1",
            "pod_container_image=img:1",
            "pod_container_port_name=http",
            "pod_container_port_number=80",
            "pod_container_port_protocol=TCP",
            "pod_ready=true",
            "pod_phase=Running",
            "pod_node_name=node-1",
            "pod_host_ip=10.9.0.1",
            "pod_uid=u-1",
            "pod_controller_kind=ReplicaSet",
            "pod_controller_name=web-5d",
            "pod_deployment_name=web",
            "node_name=node-1",
            "node_label_zone=z1",
        ],
    );
    assert!(found[1].starts_with("{__address__=\"10.1.0.1\", "), "{}", found[1]);
    has(&found[2], &["pod_container_init=true", "pod_container_port_number=9"]);
}

#[tokio::test]
async fn nodes_services_and_ingresses_have_all_their_labels() {
    let nodes = role("role: node", &[("/api/v1/nodes", NODE)]).await;
    assert!(
        nodes[0].contains("__address__=\"10.9.0.1:10250\"") && nodes[0].contains(", instance=\"node-1\"")
    );
    has(
        &nodes[0],
        &[
            "node_name=node-1",
            "node_provider_id=p://1",
            "node_label_zone=z1",
            "node_address_InternalIP=10.9.0.1",
            "node_address_ExternalIP=1.2.3.4",
            "node_condition_ready=true",
            "node_condition_memorypressure=false",
        ],
    );
    let services = role("role: service", &[("/api/v1/services", SERVICE)]).await;
    assert!(services[0].contains("__address__=\"web.n.svc:80\""));
    has(
        &services[0],
        &[
            "namespace=n",
            "service_name=web",
            "service_label_tier=front",
            "service_type=LoadBalancer",
            "service_cluster_ip=10.0.0.9",
            "service_loadbalancer_ip=9.9.9.9",
            "service_port_name=http",
            "service_port_number=80",
            "service_port_protocol=TCP",
        ],
    );
    let ingress = r#"{"metadata": {"name": "i", "namespace": "n"}, "spec": {"ingressClassName": "nginx",
      "tls": [{"hosts": ["*.x.org"]}],
      "rules": [{"host": "a.x.org", "http": {"paths": [{"path": "/p"}, {}]}}, {"host": "x.org"}]}}"#;
    let ingresses =
        role("role: ingress", Box::leak(Box::new([("/apis/networking.k8s.io/v1/ingresses", ingress)]))).await;
    assert_eq!(ingresses.len(), 3);
    has(
        &ingresses[0],
        &[
            "ingress_name=i",
            "ingress_host=a.x.org",
            "ingress_class_name=nginx",
            "ingress_scheme=https",
            "ingress_path=/p",
        ],
    );
    has(&ingresses[1], &["ingress_path=/", "ingress_scheme=https"]);
    has(&ingresses[2], &["ingress_path=/", "ingress_scheme=http"]);
}

#[tokio::test]
async fn endpoints_and_slices_tell_of_service_and_pod() {
    const ENDPOINTS: &str = r#"{"metadata": {"name": "web", "namespace": "n", "labels": {"e": "1"}},
     "subsets": [{"ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
      "addresses": [{"ip": "10.1.0.1", "nodeName": "node-1", "targetRef": {"kind": "Pod", "name": "a", "namespace": "n"}}],
      "notReadyAddresses": [{"ip": "10.1.0.7", "hostname": "h"}]}]}"#;
    let pods: &str = Box::leak(pod("a", "10.1.0.1").into_boxed_str());
    let objects: &'static [_] = Box::leak(Box::new([
        ("/api/v1/endpoints", ENDPOINTS),
        ("/api/v1/services", SERVICE),
        ("/api/v1/pods", pods),
    ]));
    let found = role("role: endpoints", objects).await;
    assert_eq!(found.len(), 3, "{found:?}");
    let shared =
        ["endpoints_name=web", "endpoints_label_e=1", "service_name=web", "service_label_tier=front"];
    found.iter().for_each(|line| has(line, &shared));
    has(
        &found[0],
        &[
            "endpoint_ready=true",
            "endpoint_node_name=node-1",
            "endpoint_port_name=http",
            "endpoint_address_target_kind=Pod",
            "endpoint_address_target_name=a",
            "pod_name=a",
            "pod_container_name=c",
        ],
    );
    has(&found[1], &["endpoint_ready=false", "endpoint_hostname=h"]);
    assert!(
        found[2].starts_with("{__address__=\"10.1.0.1:9\""),
        "a port that no endpoint covers: {}",
        found[2]
    );

    const SLICE: &str = r#"{"metadata": {"name": "web-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
     "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}],
     "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
      "nodeName": "node-1", "zone": "z1", "targetRef": {"kind": "Pod", "name": "a", "namespace": "n"},
      "deprecatedTopology": {"kubernetes.io/hostname": "h"}}]}"#;
    let objects: &'static [_] = Box::leak(Box::new([
        ("/apis/discovery.k8s.io/v1/endpointslices", SLICE),
        ("/api/v1/services", SERVICE),
        ("/api/v1/pods", pods),
    ]));
    let found = role("role: endpointslice", objects).await;
    assert_eq!(found.len(), 2, "{found:?}");
    has(
        &found[0],
        &[
            "endpointslice_name=web-1",
            "endpointslice_address_type=IPv4",
            "endpointslice_port=80",
            "endpointslice_port_name=http",
            "endpointslice_port_app_protocol=http",
            "endpointslice_endpoint_conditions_ready=true",
            "endpointslice_endpoint_conditions_serving=true",
            "endpointslice_endpoint_conditions_terminating=false",
            "endpointslice_endpoint_node_name=node-1",
            "endpointslice_endpoint_zone=z1",
            "endpointslice_endpoint_topology_kubernetes_io_hostname=h",
            "endpointslice_address_target_name=a",
            "service_label_tier=front",
            "pod_container_port_name=http",
        ],
    );
}

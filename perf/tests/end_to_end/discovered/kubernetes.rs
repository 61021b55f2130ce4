//! Every role of a cluster that changes, breaks off, refuses and forgets.

use super::cluster::Cluster;
use super::{DEADLINE, Pair, targets};
use crate::setup::{folder, launch_hearth, launch_prometheus};
use hearth_perf::process::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

/// Jobs and what their sections say besides where the cluster is. Each sees its own part of it.
const JOBS: [(&str, &str); 13] = [
    ("node", "role: node"),
    ("node-selected", "role: node, selectors: [{role: node, label: 'zone=z1'}]"),
    ("pod", "role: pod"),
    ("pod-attached", "role: pod, attach_metadata: {node: true}"),
    ("pod-selected", "role: pod, selectors: [{role: pod, label: 'app=web', field: 'spec.nodeName=node-1'}]"),
    ("pod-within", "role: pod, namespaces: {names: [two, missing]}"),
    ("service", "role: service"),
    ("service-selected", "role: service, selectors: [{role: service, field: 'metadata.name=web'}]"),
    ("endpoints", "role: endpoints"),
    ("endpoints-attached", "role: endpoints, attach_metadata: {node: true}"),
    ("endpointslice", "role: endpointslice"),
    (
        "endpointslice-attached",
        "role: endpointslice, attach_metadata: {node: true}, namespaces: {names: [one]}, \
         selectors: [{role: endpointslice, label: 'kubernetes.io/service-name=web'}, {role: pod, label: 'app=web'}]",
    ),
    ("ingress", "role: ingress"),
];

/// Nobody is scraped: the address is kept in a label, and nothing listens where it points then.
fn configuration(address: &str) -> String {
    let job = |(name, section): &(&str, &str)| {
        format!(
            "  - job_name: {name}
    kubernetes_sd_configs: [{{api_server: 'http://{address}', {section}}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: found}}
      - {{action: labelmap, regex: '__meta_kubernetes_(.+)'}}
      - {{action: labeldrop, regex: 'node_condition_.+'}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs: String = JOBS.iter().map(job).collect();
    format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}")
}

fn owner(kind: &str, name: &str) -> Value {
    json!([
        {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "o", "controller": false},
        {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "c", "controller": true},
    ])
}

/// A pod in all its detail.
fn pod(namespace: &str, name: &str, ip: &str, app: &str, node: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "ownerReferences": owner("ReplicaSet", "web-5d"),
            "labels": {"app": app, "app.kubernetes.io/name": "ü", "Upper_Case-1": ""},
            "annotations": {"note": "a \"quoted\"\nline", "x/y": "1"},
        },
        "spec": {
            "nodeName": node, "hostNetwork": false,
            "containers": [
                {"name": "main", "image": "web:1", "ports": [
                    {"name": "http", "containerPort": 80, "protocol": "TCP"},
                    {"containerPort": 53, "protocol": "UDP"},
                    {"name": "dns", "containerPort": 53, "protocol": "TCP"},
                ]},
                {"name": "bare", "image": "side:2"},
            ],
            "initContainers": [
                {"name": "before", "image": "init:3"},
                {"name": "beside", "image": "side:4", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9000, "protocol": "TCP"}]},
            ],
        },
        "status": {
            "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "::1"}], "hostIP": "127.9.0.1", "phase": "Running",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "containerID": "containerd://1", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
            "initContainerStatuses": [{"name": "before", "containerID": "", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
        },
    })
}

fn node(name: &str, zone: &str, addresses: &[(&str, &str)]) -> Value {
    let addresses: Vec<_> =
        addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
    json!({
        "metadata": {"name": name, "labels": {"zone": zone, "kubernetes.io/os": "linux"}, "annotations": {"a.b/c": "d"}},
        "spec": {"providerID": format!("test:///{name}")},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "Unknown"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    })
}

fn named(namespace: &str, name: &str) -> Value {
    json!({"name": name, "namespace": namespace, "labels": {"tier.x": "front"}, "annotations": {"about": name}})
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"kind": kind, "name": name, "namespace": "one"})
}

/// One object or more of every kind, with what is odd about them.
fn fill(cluster: &Cluster) {
    let all = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "Hostname"];
    let addresses = all.map(|kind| (kind, if kind.ends_with("IP") { "127.9.0.1" } else { "n1.test" }));
    cluster.set("nodes", node("node-1", "z1", &addresses));
    cluster.set("nodes", node("node-2", "z2", &[("Hostname", "n2.test"), ("ExternalIP", "::1")]));
    cluster.set("nodes", node("node-3", "z1", &[("Hostname", "n3.test"), ("Hostname", "again.test")]));
    cluster.set("pods", pod("one", "web-a", "127.1.0.1", "web", "node-1"));
    cluster.set("pods", pod("one", "web-b", "::1", "web", "node-2"));
    cluster.set("pods", pod("two", "db", "127.1.0.3", "db", "node-1"));
    cluster.set("pods", pod("one", "pending", "", "web", "node-1"));
    let mut done = pod("two", "done", "127.1.0.4", "db", "node-9");
    done["status"]["phase"] = json!("Succeeded");
    done["status"]["conditions"] = json!([]);
    done["metadata"]["ownerReferences"] =
        json!([{"kind": "Job", "name": "j", "apiVersion": "batch/v1", "uid": "j"}]);
    cluster.set("pods", done);
    services(cluster);
    ingresses(cluster);
    endpoints(cluster);
    slices(cluster);
}

fn services(cluster: &Cluster) {
    let port =
        |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": 80});
    let service = |name: &str, spec: Value| json!({"metadata": named("one", name), "spec": spec});
    let ports = json!([port("http", 80), port("", 81)]);
    cluster.set(
        "services",
        service("web", json!({"type": "ClusterIP", "clusterIP": "127.2.0.1", "ports": ports})),
    );
    let balanced =
        json!({"type": "LoadBalancer", "clusterIP": "::1", "loadBalancerIP": "127.2.0.2", "ports": ports});
    cluster.set("services", service("balanced", balanced));
    let external = json!({"type": "ExternalName", "externalName": "db.test", "ports": ports});
    cluster.set("services", service("external", external));
    cluster.set("services", service("headless", json!({"type": "ClusterIP", "clusterIP": "None"})));
    let exposed = json!({"type": "NodePort", "clusterIP": "127.2.0.3", "ports": ports});
    cluster.set("services", json!({"metadata": {"name": "plain", "namespace": "two"}, "spec": exposed}));
}

fn ingresses(cluster: &Cluster) {
    let path = |path: &str| json!({"path": path, "pathType": "Prefix", "backend": {}});
    cluster.set(
        "ingresses",
        json!({"metadata": named("one", "web"), "spec": {
            "ingressClassName": "nginx", "tls": [{"hosts": ["*.x.test", "exact.test"]}, {}],
            "rules": [
                {"host": "a.x.test", "http": {"paths": [path("/p"), path(""), path("/q")]}},
                {"host": "a.b.x.test", "http": {"paths": [path("/")]}},
                {"host": "exact.test"},
                {"host": "x.test"},
                {"http": {"paths": [path("/all")]}},
            ],
        }}),
    );
    let spec = json!({"defaultBackend": {"service": {"name": "web"}}});
    cluster.set("ingresses", json!({"metadata": named("two", "default"), "spec": spec}));
}

fn endpoints(cluster: &Cluster) {
    cluster.set(
        "endpoints",
        json!({"metadata": named("one", "web"), "subsets": [
            {
                "addresses": [
                    {"ip": "127.1.0.1", "nodeName": "node-1", "targetRef": reference("Pod", "web-a")},
                    {"ip": "::1", "hostname": "web-b", "nodeName": "node-2", "targetRef": reference("Pod", "web-b")},
                ],
                "notReadyAddresses": [{"ip": "127.1.0.9", "targetRef": reference("Pod", "later")}],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 7000, "protocol": "TCP"}],
            },
            {"addresses": [{"ip": "127.1.0.8"}], "ports": [{"name": "side", "port": 9000, "protocol": "TCP", "appProtocol": "h2c"}]},
            {"addresses": [{"ip": "127.1.0.7", "nodeName": "gone", "targetRef": reference("Node", "node-1")},
                            {"ip": "127.1.0.5", "nodeName": "node-2", "targetRef": reference("Node", "node-1")}], "ports": [{"port": 7, "protocol": "SCTP"}]},
            {"addresses": [{"ip": "127.1.0.4"}]},
            {"addresses": [{"ip": "127.1.0.6", "targetRef": reference("Node", "node-3")}], "ports": [{"port": 6, "protocol": "UDP"}]},
        ]}),
    );
    cluster.set("endpoints", json!({"metadata": {"name": "alone", "namespace": "two"}}));
}

fn slices(cluster: &Cluster) {
    let meta = |name: &str, service: &str| {
        let mut meta = named("one", name);
        if !service.is_empty() {
            meta["labels"]["kubernetes.io/service-name"] = json!(service);
        }
        meta
    };
    cluster.set(
        "endpointslices",
        json!({"metadata": meta("web-1", "web"), "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}, {"name": "", "port": 9000, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["127.1.0.1", "127.1.0.11"], "conditions": {"ready": true, "serving": true, "terminating": false},
                 "nodeName": "node-1", "zone": "z1", "hostname": "a", "targetRef": reference("Pod", "web-a"),
                 "deprecatedTopology": {"kubernetes.io/hostname": "n1"}},
                {"addresses": ["127.1.0.9"], "conditions": {"ready": false, "serving": false, "terminating": true},
                 "targetRef": reference("Pod", "later")},
                {"addresses": ["127.9.0.1"], "conditions": {}, "nodeName": "node-2", "targetRef": reference("Node", "node-1")},
            ]}),
    );
    cluster.set(
        "endpointslices",
        json!({"metadata": meta("web-6", "web"), "addressType": "IPv6", "ports": [{"name": "all"}],
            "endpoints": [{"addresses": ["::1"], "nodeName": "gone", "targetRef": reference("Pod", "web-b")}]}),
    );
    cluster.set(
        "endpointslices",
        json!({"metadata": meta("named", ""), "addressType": "FQDN", "ports": [{"port": 443, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["h.test"], "conditions": {"ready": true}}]}),
    );
    cluster.set(
        "endpointslices",
        json!({"metadata": meta("empty", "web"), "addressType": "IPv4", "endpoints": [], "ports": []}),
    );
}

/// Changes something of every kind that every job shows, and returns what then must be in every job.
fn mark(cluster: &Cluster, step: &str) -> String {
    let marked = |mut object: Value| {
        object["metadata"]["labels"]["step"] = json!(step);
        object
    };
    let meta = |namespace: &str| json!({"metadata": named(namespace, "mark")});
    cluster.set("nodes", marked(node("mark", "z1", &[("InternalIP", "127.9.0.9")])));
    for namespace in ["one", "two"] {
        cluster.set("pods", marked(pod(namespace, "mark", "127.1.0.99", "web", "node-1")));
        let mut service = meta(namespace);
        service["spec"] =
            json!({"type": "ClusterIP", "clusterIP": "127.2.0.9", "ports": [{"port": 9, "protocol": "TCP"}]});
        cluster.set("services", marked(service));
        let mut endpoints = meta(namespace);
        endpoints["subsets"] =
            json!([{"addresses": [{"ip": "127.1.0.99"}], "ports": [{"port": 9, "protocol": "TCP"}]}]);
        cluster.set("endpoints", marked(endpoints));
        let mut slice = meta(namespace);
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!("web");
        slice["addressType"] = json!("IPv4");
        slice["endpoints"] = json!([{"addresses": ["127.1.0.99"], "conditions": {}}]);
        slice["ports"] = json!([{"port": 9, "protocol": "TCP"}]);
        cluster.set("endpointslices", marked(slice));
        let mut ingress = meta(namespace);
        ingress["spec"] = json!({"rules": [{"host": "mark.test"}]});
        cluster.set("ingresses", marked(ingress));
    }
    let mut service = json!({"metadata": named("three", "web")});
    service["spec"] =
        json!({"type": "ClusterIP", "clusterIP": "127.2.0.9", "ports": [{"port": 9, "protocol": "TCP"}]});
    cluster.set("services", marked(service));
    format!("_label_step\":\"{step}\"")
}

/// Every job shows the mark, and some target has each of these.
fn shows(targets: &BTreeSet<String>, mark: &str, parts: &[&str]) -> Result<(), String> {
    for (job, _) in JOBS {
        let of = format!("\"{job}\" ");
        if !targets.iter().any(|target| target.starts_with(&of) && target.contains(mark)) {
            return Err(format!("no {mark} in {job}"));
        }
    }
    match parts.iter().find(|part| !targets.iter().any(|target| target.contains(**part))) {
        Some(part) => Err(format!("no {part}")),
        None => Ok(()),
    }
}

#[test]
fn targets_of_a_cluster_stay_the_same() {
    let folder = folder();
    let cluster = Cluster::start(2);
    fill(&cluster);
    let first = mark(&cluster, "first");
    let pair = Pair::start(folder.path(), &configuration(&cluster.address));
    pair.agree("the first lists", |theirs| shows(theirs, &first, &["_pod_name\":\"web-b\""]));

    // Prometheus takes a pod's labels over into endpoints when those change, Hearth when the pod does: once
    // all has been seen, the endpoints are touched.
    let step = |what: &str, parts: &[&str]| {
        let mark = mark(&cluster, what);
        pair.wait(|theirs| shows(theirs, &mark, parts));
        ["endpoints", "endpointslices"].iter().for_each(|resource| cluster.touch(resource, what));
        let touched =
            ["endpoints", "endpointslice"].map(|kind| format!("_{kind}_annotation_touched\":\"{what}\""));
        pair.agree(what, |theirs| shows(theirs, &mark, &[&touched[0], &touched[1]]));
    };
    // Added, changed, and one whose labels no longer fit a selector.
    cluster.set("pods", pod("one", "later", "127.1.0.9", "web", "node-1"));
    cluster.set("pods", pod("one", "pending", "127.1.0.5", "web", "node-1"));
    cluster.set("pods", pod("one", "web-a", "127.1.0.1", "other", "node-1"));
    cluster.set("nodes", node("node-2", "z1", &[("InternalIP", "127.9.0.2")]));
    step("changed", &["_pod_name\":\"later\"", "127.1.0.5:80"]);

    cluster.remove("pods", "one/web-b");
    cluster.remove("services", "one/web");
    cluster.remove("nodes", "node-3");
    cluster.remove("endpoints", "two/alone");
    cluster.remove("ingresses", "two/default");
    cluster.remove("endpointslices", "one/web-6");
    step("removed", &[]);

    // A watch that breaks goes on from the last bookmark; refusals are waited out.
    for resource in ["pods", "nodes", "services", "endpoints", "endpointslices", "ingresses"] {
        cluster.bookmark(resource);
    }
    cluster.cut();
    services(&cluster);
    step("broken off", &["_service_name\":\"web\""]);
    cluster.refuse(30);
    cluster.cut();
    cluster.set("pods", pod("two", "refused", "127.1.0.6", "db", "node-2"));
    step("refused", &["_pod_name\":\"refused\""]);

    // What happened meanwhile is forgotten: everything is listed anew.
    cluster.outage(|cluster| {
        cluster.remove("pods", "two/db");
        cluster.remove("services", "two/plain");
        cluster.set("nodes", node("node-4", "z1", &[("InternalIP", "127.9.0.4")]));
        cluster.set("pods", pod("one", "web-b", "127.1.0.2", "web", "node-4"));
        cluster.compact();
    });
    step("forgotten", &["_node_name\":\"node-4\"", "127.1.0.2:80"]);
    for what in ["refused", "expired", "bookmark", "page", "watch"] {
        assert!(cluster.count(what) > 0, "nothing was {what}");
    }
}

const PODS: usize = 20_000;

/// What Hearth may take with all of them: 16 KiB a pod, its targets and whatever else a server needs included.
const MEMORY_BYTES: u64 = 16 * 1024 * PODS as u64;

fn small_pod(number: usize, app: &str) -> Value {
    let ip = format!("127.{}.{}.{}", 100 + number / 65_536, number / 256 % 256, number % 256);
    let mut pod = pod(
        ["one", "two"][number % 2],
        &format!("pod-{number}"),
        &ip,
        app,
        &format!("node-{}", number % 500),
    );
    pod["spec"]["initContainers"] = json!([]);
    let port = json!([{"name": "http", "containerPort": 80, "protocol": "TCP"}]);
    pod["spec"]["containers"] = json!([{
        "name": "main", "image": "web:1", "ports": port, "env": [{"name": "NOBODY_SHOWS_IT", "value": "x".repeat(4_000)}],
    }]);
    pod
}

#[test]
fn many_pods_take_little_memory() {
    let folder = folder();
    let cluster = Cluster::start(500);
    (0..PODS).for_each(|number| cluster.set("pods", small_pod(number, "web")));
    (0..500).for_each(|number| {
        cluster.set("nodes", node(&format!("node-{number}"), "z1", &[("InternalIP", "127.9.0.1")]))
    });
    // Where only the last one is kept, nothing else is held than what was discovered.
    let configuration = format!(
        "scrape_configs:
  - job_name: pods
    keep_dropped_targets: 1
    kubernetes_sd_configs: [{{api_server: 'http://{}', role: pod, attach_metadata: {{node: true}}}}]
    relabel_configs: [{{action: keep, source_labels: [__meta_kubernetes_pod_label_app], regex: last}},
      {{target_label: __address__, replacement: '127.0.0.1:1'}}]
",
        cluster.address
    );
    let mut figures = Vec::new();
    for launch in [launch_hearth(folder.path()), launch_prometheus(folder.path())] {
        cluster.set("pods", small_pod(PODS - 1, "web"));
        let start = Instant::now();
        let server = launch.config(configuration.clone()).start().expect("it starts");
        let found = format!("prometheus_sd_discovered_targets{{config=\"pods\",name=\"scrape\"}} {PODS}");
        wait_until("all pods", DEADLINE, || {
            let page = server.client.get("/metrics", &[])?.body;
            Ok(page.lines().any(|line| line == found || line == found.replace("20000", "2e+04")))
        })
        .expect("all pods are found");
        let (all, memory) = (start.elapsed(), server.memory().expect("a process has memory"));
        let start = Instant::now();
        cluster.set("pods", small_pod(PODS - 1, "last"));
        wait_until("the change", DEADLINE, || {
            Ok(targets(&server.client)?.iter().any(|target| target.contains("\"last\"")))
        })
        .expect("a change is seen");
        eprintln!(
            "{:?}: {PODS} pods after {:.1} s with {} MiB (at most {}), a change after {:.1} s, {:.1} s of CPU",
            server.launch().kind,
            all.as_secs_f64(),
            memory.anonymous_bytes >> 20,
            memory.peak_bytes >> 20,
            start.elapsed().as_secs_f64(),
            server.cpu_s().expect("a process has CPU time"),
        );
        figures.push(memory.peak_bytes);
    }
    assert!(figures[0] < MEMORY_BYTES && figures[0] < figures[1], "{figures:?} bytes");
}

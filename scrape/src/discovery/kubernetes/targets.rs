//! From objects to target groups, one function a role.

use super::objects::Meta as ObjectMeta;
use super::objects::{
    Container, ContainerStatus, EndpointAddress, EndpointPort, EndpointSlice, Endpoints, Ingress, Job,
    Namespace, Node, Pod, Reference, ReplicaSet, Service, SliceEndpoint, SlicePort,
};
use super::world::Looker;
use crate::config::KubernetesAttach;
use crate::discovery::TargetGroup;
use crate::discovery::meta::{Meta, host_port, is_full, sanitized};
use hearth_model::Labels;
use std::collections::BTreeMap;

const PREFIX: &str = "__meta_kubernetes_";

/// What a role's builder works with.
pub struct Builder<'a, 'b> {
    pub attach: &'a KubernetesAttach,
    pub looker: &'a mut Looker<'b>,
}

fn group(kind: &str, key: &str, meta: &Meta, targets: Vec<Labels>) -> TargetGroup {
    TargetGroup { source: format!("{kind}/{key}"), targets, labels: meta.labels() }
}

/// Labels and annotations of an object, and that they are there.
fn texts(meta: &mut Meta, kind: &str, object: &ObjectMeta) {
    for (what, texts) in [("label", &object.labels), ("annotation", &object.annotations)] {
        for (name, value) in texts {
            let name = sanitized(name);
            meta.set(&format!("{kind}_{what}_{name}"), value);
            meta.set(&format!("{kind}_{what}present_{name}"), "true");
        }
    }
}

fn object(meta: &mut Meta, kind: &str, object: &ObjectMeta) {
    meta.set(&format!("{kind}_name"), &object.name);
    texts(meta, kind, object);
}

/// The ports of one container, as labels.
fn container_port(meta: &mut Meta, container: &Container, init: bool, port: Option<(&str, u32, &str)>) {
    meta.set("pod_container_name", &container.name);
    meta.set("pod_container_image", &container.image);
    meta.show("pod_container_init", init);
    if let Some((name, number, protocol)) = port {
        meta.set("pod_container_port_name", name);
        meta.show("pod_container_port_number", number);
        meta.set("pod_container_port_protocol", protocol);
    }
}

/// Every container of a pod, with whether it is an init container.
fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let init = pod.spec.init_containers.iter().map(|container| (container, true));
    pod.spec.containers.iter().map(|container| (container, false)).chain(init)
}

impl<'b> Builder<'_, 'b> {
    fn namespace(&mut self, meta: &mut Meta, name: &str) {
        meta.set("namespace", name);
        if self.attach.namespace
            && let Some(namespace) = self.looker.get::<Namespace>(name)
        {
            texts(meta, "namespace", &namespace.metadata);
        }
    }

    fn node_labels(&mut self, meta: &mut Meta, name: &str) {
        if !self.attach.node || name.is_empty() {
            return;
        }
        if let Some(node) = self.looker.get::<Node>(name) {
            meta.set("node_name", name);
            texts(meta, "node", &node.metadata);
        }
    }

    fn pod_labels(&mut self, meta: &mut Meta, pod: &Pod) {
        object(meta, "pod", &pod.metadata);
        let ready = pod.status.conditions.iter().find(|condition| condition.r#type == "Ready");
        meta.set("pod_ready", ready.map_or("unknown".into(), |condition| condition.status.to_lowercase()));
        meta.set("pod_ip", &pod.status.pod_ip).set("pod_phase", &pod.status.phase);
        meta.set("pod_node_name", &pod.spec.node_name).set("pod_host_ip", &pod.status.host_ip);
        meta.set("pod_uid", &pod.metadata.uid);
        let Some(owner) = pod.metadata.controller() else { return };
        meta.set("pod_controller_kind", &owner.kind).set("pod_controller_name", &owner.name);
        let key = format!("{}/{}", pod.metadata.namespace, owner.name);
        if self.attach.deployment
            && owner.kind == "ReplicaSet"
            && let Some(set) = self.looker.get::<ReplicaSet>(&key)
            && let Some(above) = set.metadata.controller().filter(|above| above.kind == "Deployment")
        {
            meta.set("pod_deployment_name", &above.name);
        }
        if owner.kind == "Job" {
            if self.attach.job {
                meta.set("pod_job_name", &owner.name);
            }
            if self.attach.cronjob
                && let Some(job) = self.looker.get::<Job>(&key)
                && let Some(above) = job.metadata.controller().filter(|above| above.kind == "CronJob")
            {
                meta.set("pod_cronjob_name", &above.name);
            }
        }
    }

    pub fn pod(&mut self, key: &str) -> Option<TargetGroup> {
        let pod = self.looker.get::<Pod>(key)?;
        let mut meta = Meta::new(PREFIX);
        let ip = &pod.status.pod_ip;
        // A pod that is starting or was evicted has no address.
        if ip.is_empty() {
            return Some(group("pod", key, &meta, Vec::new()));
        }
        self.pod_labels(&mut meta, pod);
        self.namespace(&mut meta, &pod.metadata.namespace);
        self.node_labels(&mut meta, &pod.spec.node_name);
        let mut targets = Vec::new();
        for (container, init) in containers(pod) {
            let statuses =
                if init { &pod.status.init_container_statuses } else { &pod.status.container_statuses };
            let id = statuses.iter().find(|status: &&ContainerStatus| status.name == container.name);
            let mut target = |address: &str, port| {
                let mut meta = Meta::new(PREFIX).address(address);
                container_port(&mut meta, container, init, port);
                meta.maybe("pod_container_id", id.map(|status| &status.container_id));
                targets.push(meta.labels());
            };
            // Without ports the rules have to say one.
            if container.ports.is_empty() {
                target(ip, None);
            }
            for port in &container.ports {
                let number = port.container_port;
                target(&host_port(ip, number), Some((&port.name, number, &port.protocol)));
            }
        }
        Some(group("pod", key, &meta, targets))
    }

    pub fn service(&mut self, key: &str) -> Option<TargetGroup> {
        let service = self.looker.get::<Service>(key)?;
        let mut meta = Meta::new(PREFIX);
        self.service_labels(&mut meta, service);
        let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
        let target = |port: &super::objects::ServicePort| {
            let mut meta = Meta::new(PREFIX).address(&format!("{name}.{namespace}.svc:{}", port.port));
            meta.set("service_port_name", &port.name).show("service_port_number", port.port);
            meta.set("service_port_protocol", &port.protocol).set("service_type", &service.spec.r#type);
            match service.spec.r#type.as_str() {
                "ExternalName" => meta.set("service_external_name", &service.spec.external_name),
                _ => meta.set("service_cluster_ip", &service.spec.cluster_ip),
            };
            if service.spec.r#type == "LoadBalancer" {
                meta.set("service_loadbalancer_ip", &service.spec.load_balancer_ip);
            }
            meta.labels()
        };
        let targets = service.spec.ports.iter().map(target).collect();
        Some(group("svc", key, &meta, targets))
    }

    fn service_labels(&mut self, meta: &mut Meta, service: &Service) {
        self.namespace(meta, &service.metadata.namespace);
        object(meta, "service", &service.metadata);
    }

    pub fn node(&mut self, key: &str) -> Option<TargetGroup> {
        let node = self.looker.get::<Node>(key)?;
        let mut meta = Meta::new(PREFIX);
        object(&mut meta, "node", &node.metadata);
        meta.set("node_provider_id", &node.spec.provider_id);
        for condition in &node.status.conditions {
            let name = sanitized(&condition.r#type).to_lowercase();
            meta.set(&format!("node_condition_{name}"), condition.status.to_lowercase());
        }
        let order = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];
        let addresses = &node.status.addresses;
        let best = order.iter().find_map(|kind| addresses.iter().find(|a| a.r#type == *kind));
        let Some(best) = best else {
            tracing::warn!(node = key, "a node without an address is no target");
            return None;
        };
        let port = node.status.daemon_endpoints.kubelet_endpoint.port;
        let mut target = Meta::new(PREFIX).address(&host_port(&best.address, port));
        target.plain("instance", &node.metadata.name);
        let mut seen = Vec::new();
        for address in addresses {
            if !seen.contains(&&address.r#type) {
                seen.push(&address.r#type);
                target.set(&format!("node_address_{}", sanitized(&address.r#type)), &address.address);
            }
        }
        Some(group("node", key, &meta, vec![target.labels()]))
    }

    pub fn ingress(&mut self, key: &str) -> Option<TargetGroup> {
        let ingress = self.looker.get::<Ingress>(key)?;
        let mut meta = Meta::new(PREFIX);
        self.namespace(&mut meta, &ingress.metadata.namespace);
        object(&mut meta, "ingress", &ingress.metadata);
        meta.maybe("ingress_class_name", ingress.spec.ingress_class_name.as_ref());
        let patterns: Vec<&String> = ingress.spec.tls.iter().flat_map(|tls| &tls.hosts).collect();
        let mut targets = Vec::new();
        for rule in &ingress.spec.rules {
            let secure = patterns.iter().any(|pattern| host_matches(pattern, &rule.host));
            let mut paths: Vec<&str> = rule.http.paths.iter().map(|path| path.path.as_str()).collect();
            if paths.is_empty() {
                paths.push("/");
            }
            for path in paths {
                let mut target = Meta::new(PREFIX).address(&rule.host);
                target.set("ingress_host", &rule.host);
                target.set("ingress_scheme", if secure { "https" } else { "http" });
                target.set("ingress_path", if path.is_empty() { "/" } else { path });
                targets.push(target.labels());
            }
        }
        Some(group("ingress", key, &meta, targets))
    }

    pub fn endpoints(&mut self, key: &str) -> Option<TargetGroup> {
        let endpoints = self.looker.get::<Endpoints>(key)?;
        let mut meta = Meta::new(PREFIX);
        self.namespace(&mut meta, &endpoints.metadata.namespace);
        object(&mut meta, "endpoints", &endpoints.metadata);
        if let Some(service) = self.looker.get::<Service>(key) {
            self.service_labels(&mut meta, service);
        }
        let mut seen = SeenPods::default();
        let mut targets = Vec::new();
        for subset in &endpoints.subsets {
            for port in &subset.ports {
                let ready = subset.addresses.iter().map(|address| (address, true));
                let others = subset.not_ready_addresses.iter().map(|address| (address, false));
                for (address, ready) in ready.chain(others) {
                    if is_full(&targets) {
                        break;
                    }
                    targets.push(self.endpoint(address, port, ready, &mut seen));
                }
            }
        }
        self.uncovered(&seen, &mut targets);
        Some(group("endpoints", key, &meta, targets))
    }

    fn endpoint(
        &mut self,
        address: &EndpointAddress,
        port: &EndpointPort,
        ready: bool,
        seen: &mut SeenPods<'b>,
    ) -> Labels {
        let mut meta = Meta::new(PREFIX).address(&host_port(&address.ip, port.port));
        meta.set("endpoint_port_name", &port.name).set("endpoint_port_protocol", &port.protocol);
        meta.show("endpoint_ready", ready);
        if let Some(reference) = &address.target_ref {
            meta.set("endpoint_address_target_kind", &reference.kind);
            meta.set("endpoint_address_target_name", &reference.name);
        }
        meta.maybe("endpoint_node_name", address.node_name.as_ref())
            .set("endpoint_hostname", &address.hostname);
        let behind = address.target_ref.as_ref().filter(|reference| reference.kind == "Node");
        let behind = address.node_name.as_ref().or(behind.map(|reference| &reference.name));
        self.node_labels(&mut meta, behind.map_or("", String::as_str));
        self.pod_of(&mut meta, address.target_ref.as_ref(), Some(port.port), seen);
        meta.labels()
    }

    /// The labels of the pod behind an endpoint, and of its container with that port.
    fn pod_of(
        &mut self,
        meta: &mut Meta,
        reference: Option<&Reference>,
        port: Option<u32>,
        seen: &mut SeenPods<'b>,
    ) {
        let Some(reference) = reference.filter(|reference| reference.kind == "Pod") else { return };
        let key = format!("{}/{}", reference.namespace, reference.name);
        let Some(pod) = self.looker.get::<Pod>(&key) else { return };
        self.pod_labels(meta, pod);
        for (container, init) in containers(pod) {
            if let Some(found) = container.ports.iter().find(|p| Some(p.container_port) == port) {
                let port = (found.name.as_str(), found.container_port, found.protocol.as_str());
                container_port(meta, container, init, Some(port));
            }
        }
        seen.entry(key).or_insert_with(|| (pod, Vec::new())).1.extend(port);
    }

    /// Ports of the pods that no endpoint covers are targets too; of them no node is told.
    fn uncovered(&mut self, seen: &SeenPods<'_>, targets: &mut Vec<Labels>) {
        for (pod, covered) in seen.values().filter(|(pod, _)| !pod.status.pod_ip.is_empty()) {
            for (container, init) in containers(pod) {
                for port in container.ports.iter().filter(|port| !covered.contains(&port.container_port)) {
                    let number = port.container_port;
                    let mut meta = Meta::new(PREFIX).address(&host_port(&pod.status.pod_ip, number));
                    self.pod_labels(&mut meta, pod);
                    container_port(&mut meta, container, init, Some((&port.name, number, &port.protocol)));
                    targets.push(meta.labels());
                }
            }
        }
    }

    pub fn slice(&mut self, key: &str) -> Option<TargetGroup> {
        let slice = self.looker.get::<EndpointSlice>(key)?;
        let mut meta = Meta::new(PREFIX);
        self.namespace(&mut meta, &slice.metadata.namespace);
        object(&mut meta, "endpointslice", &slice.metadata);
        meta.set("endpointslice_address_type", &slice.address_type);
        if let Some(name) = slice.metadata.labels.get("kubernetes.io/service-name") {
            let service = format!("{}/{name}", slice.metadata.namespace);
            if let Some(service) = self.looker.get::<Service>(&service) {
                self.service_labels(&mut meta, service);
            }
        }
        let mut seen = SeenPods::default();
        let mut targets = Vec::new();
        for endpoint in &slice.endpoints {
            for port in &slice.ports {
                for address in &endpoint.addresses {
                    if is_full(&targets) {
                        break;
                    }
                    targets.push(self.slice_endpoint(address, endpoint, port, &mut seen));
                }
            }
        }
        self.uncovered(&seen, &mut targets);
        Some(group("endpointslice", key, &meta, targets))
    }

    fn slice_endpoint(
        &mut self,
        address: &str,
        endpoint: &SliceEndpoint,
        port: &SlicePort,
        seen: &mut SeenPods<'b>,
    ) -> Labels {
        let full = port.port.map_or_else(|| address.to_owned(), |number| host_port(address, number));
        let mut meta = Meta::new(PREFIX).address(&full);
        meta.maybe("endpointslice_port_name", port.name.as_ref());
        meta.maybe("endpointslice_port_protocol", port.protocol.as_ref());
        meta.maybe("endpointslice_port", port.port);
        meta.maybe("endpointslice_port_app_protocol", port.app_protocol.as_ref());
        let conditions = &endpoint.conditions;
        meta.maybe("endpointslice_endpoint_conditions_ready", conditions.ready);
        meta.maybe("endpointslice_endpoint_conditions_serving", conditions.serving);
        meta.maybe("endpointslice_endpoint_conditions_terminating", conditions.terminating);
        meta.maybe("endpointslice_endpoint_hostname", endpoint.hostname.as_ref());
        meta.maybe("endpointslice_endpoint_node_name", endpoint.node_name.as_ref());
        meta.maybe("endpointslice_endpoint_zone", endpoint.zone.as_ref());
        if let Some(reference) = &endpoint.target_ref {
            meta.set("endpointslice_address_target_kind", &reference.kind);
            meta.set("endpointslice_address_target_name", &reference.name);
        }
        for (name, value) in &endpoint.deprecated_topology {
            let name = sanitized(name);
            meta.set(&format!("endpointslice_endpoint_topology_{name}"), value);
            meta.set(&format!("endpointslice_endpoint_topology_present_{name}"), "true");
        }
        let reference = endpoint.target_ref.as_ref();
        let node = match reference.filter(|reference| reference.kind == "Node") {
            Some(reference) => reference.name.as_str(),
            None => endpoint.node_name.as_deref().unwrap_or_default(),
        };
        self.node_labels(&mut meta, node);
        self.pod_of(&mut meta, reference, port.port, seen);
        meta.labels()
    }
}

/// Pods behind endpoints, with the ports that endpoints cover.
type SeenPods<'p> = BTreeMap<String, (&'p Pod, Vec<u32>)>;

/// Whether a certificate's host, perhaps with a star as its first part, is for this host.
fn host_matches(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    let (Some(("*", domain)), Some((first, rest))) = (pattern.split_once('.'), host.split_once('.')) else {
        return false;
    };
    !first.is_empty() && domain == rest
}

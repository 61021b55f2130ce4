//! The objects of a cluster, cut down to what labels are made of: a pod of many kilobytes becomes some
//! hundred bytes, and a change that no label shows is no change.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use std::collections::BTreeMap;

/// Null where the API leaves a list or a map out.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Texts,
    #[serde(deserialize_with = "nullable")]
    pub annotations: Texts,
    #[serde(deserialize_with = "nullable")]
    pub owner_references: Vec<Owner>,
}

impl Meta {
    /// `namespace/name`, or the name of what has no namespace.
    pub fn key(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

/// Where an object's list is, and what it is called in figures.
pub trait Resource: for<'de> Deserialize<'de> + PartialEq + Send + 'static {
    /// The path up to the resource's version.
    const API: &'static str;
    const PLURAL: &'static str;
    const ROLE: &'static str;
    const NAMESPACED: bool = true;

    fn meta(&self) -> &Meta;
}

macro_rules! resources {
    ($($name:ident $api:literal $plural:literal $role:literal $namespaced:literal { $($field:ident : $type:ty),* $(,)? })*) => {
        $(
            #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
            #[serde(default, rename_all = "camelCase")]
            pub struct $name {
                pub metadata: Meta,
                $(
                    #[serde(deserialize_with = "nullable")]
                    pub $field: $type,
                )*
            }

            impl Resource for $name {
                const API: &'static str = $api;
                const PLURAL: &'static str = $plural;
                const ROLE: &'static str = $role;
                const NAMESPACED: bool = $namespaced;

                fn meta(&self) -> &Meta {
                    &self.metadata
                }
            }
        )*
    };
}

resources! {
    Pod "api/v1" "pods" "pod" true { spec: PodSpec, status: PodStatus }
    Service "api/v1" "services" "service" true { spec: ServiceSpec }
    Node "api/v1" "nodes" "node" false { spec: NodeSpec, status: NodeStatus }
    Namespace "api/v1" "namespaces" "namespace" false {}
    Endpoints "api/v1" "endpoints" "endpoints" true { subsets: Vec<Subset> }
    EndpointSlice "apis/discovery.k8s.io/v1" "endpointslices" "endpointslice" true {
        address_type: String,
        endpoints: Vec<SliceEndpoint>,
        ports: Vec<SlicePort>,
    }
    Ingress "apis/networking.k8s.io/v1" "ingresses" "ingress" true { spec: IngressSpec }
    ReplicaSet "apis/apps/v1" "replicasets" "replicaset" true {}
    Job "apis/batch/v1" "jobs" "job" true {}
}

/// Structs that the API may fill in part.
macro_rules! parts {
    ($($name:ident { $($field:ident : $type:ty $(= $json:literal)?),* $(,)? })*) => {
        $(
            #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
            #[serde(default, rename_all = "camelCase")]
            pub struct $name {
                $(
                    #[serde(deserialize_with = "nullable" $(, rename = $json)?)]
                    pub $field: $type,
                )*
            }
        )*
    };
}

parts! {
    PodSpec { node_name: String, containers: Vec<Container>, init_containers: Vec<Container> }
    PodStatus {
        pod_ip: String = "podIP",
        host_ip: String = "hostIP",
        phase: String,
        conditions: Vec<Condition>,
        container_statuses: Vec<ContainerStatus>,
        init_container_statuses: Vec<ContainerStatus>,
    }
    Container { name: String, image: String, ports: Vec<ContainerPort> }
    ContainerPort { name: String, container_port: u32, protocol: String }
    Condition { r#type: String, status: String }
    ServiceSpec {
        r#type: String,
        cluster_ip: String = "clusterIP",
        load_balancer_ip: String = "loadBalancerIP",
        external_name: String,
        ports: Vec<ServicePort>,
    }
    ServicePort { name: String, port: u32, protocol: String }
    NodeSpec { provider_id: String = "providerID" }
    NodeStatus { addresses: Vec<NodeAddress>, conditions: Vec<Condition>, daemon_endpoints: DaemonEndpoints }
    NodeAddress { r#type: String, address: String }
    DaemonEndpoints { kubelet_endpoint: KubeletEndpoint }
    KubeletEndpoint { port: u32 = "Port" }
    ContainerStatus { name: String, container_id: String = "containerID" }
    Subset { addresses: Vec<EndpointAddress>, not_ready_addresses: Vec<EndpointAddress>, ports: Vec<EndpointPort> }
    EndpointAddress {
        ip: String,
        hostname: String,
        node_name: Option<String>,
        target_ref: Option<Reference>,
    }
    EndpointPort { name: String, port: u32, protocol: String }
    Reference { kind: String, name: String, namespace: String }
    SliceEndpoint {
        addresses: Vec<String>,
        conditions: SliceConditions,
        hostname: Option<String>,
        node_name: Option<String>,
        zone: Option<String>,
        target_ref: Option<Reference>,
        deprecated_topology: Texts,
    }
    SliceConditions { ready: Option<bool>, serving: Option<bool>, terminating: Option<bool> }
    SlicePort { name: Option<String>, port: Option<u32>, protocol: Option<String>, app_protocol: Option<String> }
    IngressSpec { ingress_class_name: Option<String>, tls: Vec<IngressTls>, rules: Vec<IngressRule> }
    IngressTls { hosts: Vec<String> }
    IngressRule { host: String, http: IngressHttp }
    IngressHttp { paths: Vec<IngressPath> }
    IngressPath { path: String }
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Resource")]
pub struct Page<T> {
    #[serde(default)]
    pub metadata: PageMeta,
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    pub items: Vec<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PageMeta {
    pub resource_version: String,
    pub r#continue: String,
}

/// One line of a watch.
pub enum Event<T> {
    Set(T, String),
    Gone(T, String),
    Bookmark(String),
    /// The stream cannot go on from where it was.
    Expired,
    Failed(String),
    /// A kind of event that is newer than this server.
    Unknown,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

#[derive(Deserialize)]
struct Line<O> {
    object: O,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Versioned {
    metadata: PageMeta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
    reason: String,
    message: String,
}

/// Reads one line of a watch.
pub fn event<T: Resource>(line: &[u8]) -> Result<Event<T>, String> {
    let told = |e: serde_json::Error| format!("a watch event is not what was expected: {e}");
    let kind = serde_json::from_slice::<Kind>(line).map_err(told)?.r#type;
    let version = || {
        let line = serde_json::from_slice::<Line<Versioned>>(line).map_err(told)?;
        Ok::<_, String>(line.object.metadata.resource_version)
    };
    let object = || serde_json::from_slice::<Line<T>>(line).map_err(told).map(|line| line.object);
    Ok(match kind.as_str() {
        "ADDED" | "MODIFIED" => Event::Set(object()?, version()?),
        "DELETED" => Event::Gone(object()?, version()?),
        "BOOKMARK" => Event::Bookmark(version()?),
        "ERROR" => {
            let status = serde_json::from_slice::<Line<Status>>(line).map_err(told)?.object;
            if status.code == 410 || matches!(status.reason.as_str(), "Expired" | "Gone") {
                Event::Expired
            } else {
                Event::Failed(format!("{} {}", status.code, status.message))
            }
        }
        _ => {
            serde_json::from_slice::<Line<IgnoredAny>>(line).map_err(told)?;
            Event::Unknown
        }
    })
}

//! `kubernetes_sd_configs[]`.

use super::http::shown_url;
use crate::config::section::{Section, WithHttp, section};
use crate::config::{HttpConfig, redact_url};
use serde::{Deserialize, Serialize};

section! {
    /// Which namespaces; all where nothing is said.
    KubernetesNamespaces {
        own_namespace: flag,
        names: texts,
    }
}

section! {
    /// Which objects of one role.
    KubernetesSelector {
        role: text,
        label: text,
        field: text,
    }
}

section! {
    /// What else the labels of a target tell.
    KubernetesAttach {
        node: flag,
        namespace: flag,
        deployment: flag,
        job: flag,
        cronjob: flag,
    }
}

/// The API of one cluster, asked for one kind of object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSdConfig {
    #[serde(deserialize_with = "crate::config::scalar::read::text", serialize_with = "shown_url")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_server: String,
    #[serde(deserialize_with = "crate::config::scalar::read::text")]
    pub role: String,
    #[serde(
        deserialize_with = "crate::config::scalar::read::text",
        skip_serializing_if = "String::is_empty"
    )]
    pub kubeconfig_file: String,
    #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
    pub namespaces: KubernetesNamespaces,
    #[serde(
        deserialize_with = "crate::config::scalar::read::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub selectors: Vec<KubernetesSelector>,
    #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
    pub attach_metadata: KubernetesAttach,
}

/// A role and the roles that its selectors may be for.
const ROLES: &[(&str, &[&str])] = &[
    ("pod", &["pod"]),
    ("service", &["service"]),
    ("endpointslice", &["pod", "service", "endpointslice"]),
    ("endpoints", &["pod", "service", "endpoints"]),
    ("node", &["node"]),
    ("ingress", &["ingress"]),
];

/// A field selector is `field=value` parts; label selectors have a grammar of their own, which the API
/// checks.
fn check_fields(selector: &str) -> Result<(), String> {
    let parts = selector.split(',').filter(|part| !part.is_empty());
    match parts.into_iter().find(|part| !part.contains('=')) {
        Some(part) => Err(format!("invalid selector: '{selector}'; can't understand '{part}'")),
        None => Ok(()),
    }
}

impl Section for WithHttp<KubernetesSdConfig> {
    fn check(&mut self) -> Result<(), String> {
        let own = &self.own;
        let role = |name: &str| ROLES.iter().find(|(known, _)| *known == name);
        let unknown = |name: &str| format!("unknown Kubernetes SD role {name:?}");
        if own.role.is_empty() {
            return Err("role missing (one of: pod, service, endpoints, endpointslice, node, ingress)".into());
        }
        let (_, allowed) = role(&own.role).ok_or_else(|| unknown(&own.role))?;
        let custom = self.http != HttpConfig::default();
        let (server, file) = (!own.api_server.is_empty(), !own.kubeconfig_file.is_empty());
        let refused = [
            (server && file, "cannot use 'kubeconfig_file' and 'api_server' simultaneously"),
            (file && custom, "cannot use a custom HTTP client configuration together with 'kubeconfig_file'"),
            (
                !server && custom,
                "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
            ),
            (
                server && own.namespaces.own_namespace,
                "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
            ),
            (
                file && own.namespaces.own_namespace,
                "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
            ),
        ];
        if let Some((_, why)) = refused.iter().find(|(broken, _)| *broken) {
            return Err((*why).into());
        }
        if server {
            let url = &own.api_server;
            url::Url::parse(url).map_err(|e| format!("parse {:?}: {e}", redact_url(url)))?;
        }
        for (i, selector) in own.selectors.iter().enumerate() {
            role(&selector.role).ok_or_else(|| unknown(&selector.role))?;
            if own.selectors[..i].iter().any(|earlier| earlier.role == selector.role) {
                return Err(format!("duplicated selector role: {}", selector.role));
            }
            if !allowed.contains(&selector.role.as_str()) {
                return Err(format!("{} role supports only {} selectors", own.role, allowed.join(", ")));
            }
        }
        own.selectors.iter().try_for_each(|selector| check_fields(&selector.field))?;
        self.check_http()
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        each(&mut self.own.kubeconfig_file);
        self.http_paths(each);
    }
}

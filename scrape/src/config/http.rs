//! `<http_config>`: how a target is spoken to. Holds what was written; [`crate::fetch`] turns it into a
//! client. Must never print a password.

use super::scalar::{Secret, read, skip};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `basic_auth`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub username_file: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Secret::is_empty")]
    pub password: Secret,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub password_file: String,
}

/// `authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    #[serde(rename = "type", default, deserialize_with = "read::text")]
    pub kind: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Secret::is_empty")]
    pub credentials: Secret,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub credentials_file: String,
}

/// The grant that shows an assertion in the place of a secret.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `oauth2`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    #[serde(default, deserialize_with = "read::text")]
    pub client_id: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Secret::is_empty")]
    pub client_secret: Secret,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub client_secret_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_id: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Secret::is_empty")]
    pub client_certificate_key: Secret,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub grant_type: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub signature_algorithm: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub iss: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub audience: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, serde_json::Value>,
    #[serde(default, deserialize_with = "read::texts", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, deserialize_with = "read::text", serialize_with = "print_plain_url")]
    pub token_url: String,
    #[serde(default, deserialize_with = "read::text_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_params: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,
    #[serde(default, deserialize_with = "read::maybe_text", skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "print_url")]
    pub proxy_url: Option<String>,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    #[serde(default, deserialize_with = "read::flag", skip_serializing_if = "skip::unset")]
    pub proxy_from_environment: bool,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

/// `tls_config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub ca: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub cert: String,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Secret::is_empty")]
    pub key: Secret,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    #[serde(default, deserialize_with = "read::flag")]
    pub insecure_skip_verify: bool,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub min_version: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub max_version: String,
}

/// The values of one header, from three sources.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderValues {
    #[serde(default, deserialize_with = "read::texts", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    #[serde(default, deserialize_with = "read::texts", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// The whole of `<http_config>`; sections of `prometheus.yml` carry its fields inline.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<OAuth2>,
    pub tls_config: TlsConfig,
    pub follow_redirects: bool,
    pub enable_http2: bool,
    pub proxy_url: Option<String>,
    pub no_proxy: String,
    pub proxy_from_environment: bool,
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    pub http_headers: BTreeMap<String, HeaderValues>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy_url: None,
            no_proxy: String::new(),
            proxy_from_environment: false,
            proxy_connect_header: BTreeMap::new(),
            http_headers: BTreeMap::new(),
        }
    }
}

/// Headers that the client itself must set.
const RESERVED_HEADERS: [&str; 19] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
    "Transfer-Encoding",
];

impl TlsConfig {
    pub fn is_default(&self) -> bool {
        *self == TlsConfig::default()
    }

    /// Every file whose change makes a new client necessary.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        [&self.ca_file, &self.cert_file, &self.key_file]
            .into_iter()
            .map(String::as_str)
            .filter(|f| !f.is_empty())
    }

    fn check(&self) -> Result<(), String> {
        let pair = |inline: bool, file: &str, name: &str| {
            if inline && !file.is_empty() {
                return Err(format!("at most one of {name}, {name}_file & {name}_ref must be configured"));
            }
            Ok(inline || !file.is_empty())
        };
        pair(!self.ca.is_empty(), &self.ca_file, "ca")?;
        let cert = pair(!self.cert.is_empty(), &self.cert_file, "cert")?;
        let key = pair(!self.key.is_empty(), &self.key_file, "key")?;
        if cert != key {
            let (missing, given) = if cert { ("key", "client certificate") } else { ("cert", "client key") };
            return Err(format!(
                "exactly one of {missing} or {missing}_file must be configured when a {given} is configured"
            ));
        }
        for version in [&self.min_version, &self.max_version] {
            if !["", "TLS10", "TLS11", "TLS12", "TLS13"].contains(&version.as_str()) {
                return Err(format!("unknown TLS version: {version}"));
            }
        }
        Ok(())
    }
}

impl OAuth2 {
    /// Every file that its settings name, for paths to be made absolute.
    pub fn files_mut(&mut self) -> [&mut String; 5] {
        let tls = &mut self.tls_config;
        [
            &mut self.client_secret_file,
            &mut self.client_certificate_key_file,
            &mut tls.ca_file,
            &mut tls.cert_file,
            &mut tls.key_file,
        ]
    }

    fn check(&self) -> Result<(), String> {
        let both = |secret: &Secret, file: &str| !secret.is_empty() && !file.is_empty();
        if self.client_id.is_empty() {
            return Err("oauth2 client_id must be configured".into());
        }
        if self.token_url.is_empty() {
            return Err("oauth2 token_url must be configured".into());
        }
        if both(&self.client_secret, &self.client_secret_file) {
            return Err("at most one of oauth2 client_secret, client_secret_file & client_secret_ref must \
                        be configured"
                .into());
        }
        if both(&self.client_certificate_key, &self.client_certificate_key_file) {
            return Err("at most one of oauth2 client_certificate_key, client_certificate_key_file & \
                        client_certificate_key_ref must be configured"
                .into());
        }
        if !["", "client_credentials", JWT_BEARER].contains(&self.grant_type.as_str()) {
            return Err(format!("oauth2 grant_type {:?} is not known", self.grant_type));
        }
        if self.grant_type == JWT_BEARER {
            if self.client_certificate_key.is_empty() && self.client_certificate_key_file.is_empty() {
                return Err("oauth2 client_certificate_key or client_certificate_key_file must be \
                            configured with grant_type jwt-bearer"
                    .into());
            }
            if !["", "RS256", "RS384", "RS512"].contains(&self.signature_algorithm.as_str()) {
                return Err("oauth2 signature_algorithm must be one of RS256, RS384 or RS512".into());
            }
        }
        self.tls_config.check()
    }
}

impl HttpConfig {
    pub fn check(&self) -> Result<(), String> {
        let ways = [self.basic_auth.is_some(), self.authorization.is_some(), self.oauth2.is_some()];
        if ways.iter().filter(|set| **set).count() > 1 {
            return Err("at most one of basic_auth, oauth2 & authorization must be configured".into());
        }
        if let Some(basic) = &self.basic_auth {
            if !basic.username.is_empty() && !basic.username_file.is_empty() {
                return Err("at most one of basic_auth username, username_file & username_ref must be \
                            configured"
                    .into());
            }
            if !basic.password.is_empty() && !basic.password_file.is_empty() {
                return Err("at most one of basic_auth password, password_file & password_ref must be \
                            configured"
                    .into());
            }
        }
        if let Some(authorization) = &self.authorization {
            if !authorization.credentials.is_empty() && !authorization.credentials_file.is_empty() {
                return Err("at most one of authorization credentials & credentials_file must be \
                            configured"
                    .into());
            }
            if authorization.kind.trim().eq_ignore_ascii_case("basic") {
                return Err(
                    "authorization type cannot be set to \"basic\", use \"basic_auth\" instead".into()
                );
            }
        }
        if let Some(oauth2) = &self.oauth2 {
            oauth2.check()?;
        }
        self.tls_config.check()?;
        self.check_proxy()?;
        match self.http_headers.keys().find(|n| RESERVED_HEADERS.iter().any(|r| r.eq_ignore_ascii_case(n))) {
            Some(name) => Err(format!("setting header {name:?} is not allowed")),
            None => Ok(()),
        }
    }

    fn check_proxy(&self) -> Result<(), String> {
        let url = self.proxy_url.as_deref().is_some_and(|u| !u.is_empty());
        if !self.proxy_connect_header.is_empty() && !self.proxy_from_environment && !url {
            return Err("if proxy_connect_header is configured, proxy_url or proxy_from_environment must \
                        also be configured"
                .into());
        }
        if self.proxy_from_environment && url {
            return Err("if proxy_from_environment is configured, proxy_url must not be configured".into());
        }
        if self.proxy_from_environment && !self.no_proxy.is_empty() {
            return Err("if proxy_from_environment is configured, no_proxy must not be configured".into());
        }
        if !url && !self.no_proxy.is_empty() {
            return Err("if no_proxy is configured, proxy_url must also be configured".into());
        }
        Ok(())
    }

    /// Fields that were read but have no effect yet.
    pub fn unserved(&self) -> Vec<&'static str> {
        let mut out = Vec::new();
        if !self.tls_config.server_name.is_empty() {
            out.push("tls_config.server_name in the TLS greeting (the certificate is checked against it)");
        }
        if ["TLS10", "TLS11"].iter().any(|v| self.tls_config.min_version == *v) {
            out.push("tls_config.min_version below TLS12 (TLS12 is the oldest spoken)");
        }
        out
    }
}

/// A URL whose password is replaced, as Go prints it.
pub(crate) fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:xxxxx@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

pub(crate) fn print_url<S: serde::Serializer>(
    url: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redact_url(url.as_deref().unwrap_or_default()))
}

/// A URL may hold a password here too, even where Prometheus prints it.
fn print_plain_url<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redact_url(url))
}

//! The form of a discovery section: strict fields with defaults, checks, relative paths, and `<http_config>`
//! inline where a mechanism speaks HTTP. The fields of each mechanism stand in `discovery/`.

use super::http::HttpConfig;
use super::http::{Authorization, BasicAuth, HeaderValues, OAuth2, TlsConfig, print_url, redact_url};
use super::keys::HttpAside;
use super::scalar::{PromDuration, Secret, skip};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// One entry of a `*_sd_configs` list.
pub trait Section: Debug + Clone + PartialEq {
    /// Fills in what is left open and refuses what cannot work, with Prometheus' messages.
    fn check(&mut self) -> Result<(), String>;

    /// Hands over every path, so that relative ones can start at the configuration's directory.
    fn paths(&mut self, _each: &mut dyn FnMut(&mut String)) {}
}

/// A section with the fields of `<http_config>` among its own.
#[derive(Debug, Clone, PartialEq)]
pub struct WithHttp<T> {
    pub own: T,
    pub http: HttpConfig,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithHttp<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (own, http) = deserializer.deserialize_map(HttpAside::new())?;
        Ok(WithHttp { own, http })
    }
}

/// A section whose checks do not concern the `<http_config>` beside it.
pub trait HttpSection: Section {}

impl<T: HttpSection> Section for WithHttp<T> {
    fn check(&mut self) -> Result<(), String> {
        self.own.check()?;
        self.check_http()
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        self.own.paths(each);
        self.http_paths(each);
    }
}

impl<T> WithHttp<T> {
    pub(super) fn check_http(&mut self) -> Result<(), String> {
        if let Some(authorization) = &mut self.http.authorization
            && authorization.kind.is_empty()
        {
            authorization.kind = "Bearer".into();
        }
        self.http.check()
    }

    pub(super) fn http_paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        let http = &mut self.http;
        if let Some(basic) = &mut http.basic_auth {
            each(&mut basic.username_file);
            each(&mut basic.password_file);
        }
        if let Some(authorization) = &mut http.authorization {
            each(&mut authorization.credentials_file);
        }
        if let Some(oauth2) = &mut http.oauth2 {
            each(&mut oauth2.client_secret_file);
            tls_paths(&mut oauth2.tls_config, each);
        }
        tls_paths(&mut http.tls_config, each);
        http.http_headers.values_mut().flat_map(|header| &mut header.files).for_each(each);
    }
}

pub(super) fn tls_paths(tls: &mut TlsConfig, each: &mut dyn FnMut(&mut String)) {
    [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().for_each(each);
}

/// How `<http_config>` prints.
#[derive(Serialize)]
struct ShownHttp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_auth: &'a Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: &'a Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth2: &'a Option<OAuth2>,
    #[serde(skip_serializing_if = "no_tls")]
    tls_config: &'a TlsConfig,
    follow_redirects: bool,
    enable_http2: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "print_url_of")]
    proxy_url: &'a Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    no_proxy: &'a String,
    #[serde(skip_serializing_if = "skip::unset")]
    proxy_from_environment: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    proxy_connect_header: &'a BTreeMap<String, Vec<Secret>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    http_headers: &'a BTreeMap<String, HeaderValues>,
}

fn no_tls(tls: &&TlsConfig) -> bool {
    tls.is_default()
}

fn print_url_of<S: Serializer>(url: &&Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    print_url(url, serializer)
}

impl<T: Serialize> Serialize for WithHttp<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a, T> {
            #[serde(flatten)]
            http: ShownHttp<'a>,
            #[serde(flatten)]
            own: &'a T,
        }
        let http = &self.http;
        let shown = ShownHttp {
            basic_auth: &http.basic_auth,
            authorization: &http.authorization,
            oauth2: &http.oauth2,
            tls_config: &http.tls_config,
            follow_redirects: http.follow_redirects,
            enable_http2: http.enable_http2,
            proxy_url: &http.proxy_url,
            no_proxy: &http.no_proxy,
            proxy_from_environment: http.proxy_from_environment,
            proxy_connect_header: &http.proxy_connect_header,
            http_headers: &http.http_headers,
        };
        Shown { http: shown, own: &self.own }.serialize(serializer)
    }
}

/// A refresh interval of nothing would ask without a pause.
pub(super) fn check_interval(interval: PromDuration) -> Result<(), String> {
    if interval.ms > 0 { Ok(()) } else { Err("refresh_interval must be greater than zero".into()) }
}

/// A URL that can be asked.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("URL is missing".into());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !["http", "https"].contains(&scheme) {
        return Err("URL scheme must be 'http' or 'https'".into());
    }
    if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
        return Err("host is missing in URL".into());
    }
    url::Url::parse(url).map_err(|e| format!("parse {:?}: {e}", redact_url(url)))?;
    Ok(())
}

pub(super) fn check_port(port: u64) -> Result<(), String> {
    if port <= 65_535 { Ok(()) } else { Err(format!("invalid port {port}: at most 65535")) }
}

/// A struct of a section's own fields. Each field has a kind (`text`, `secret`, `flag`, `count`,
/// `duration`, `texts`, `map`, or a type in brackets) and, after `=`, a default other than nothing.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($field:ident : $kind:tt $(= $default:expr)?),* $(,)? }) => {
        section!(@build [$(#[$meta])* $name] [] [] $($field : $kind $(= $default)?,)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : text $(= $default:expr)?, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::text", skip_serializing_if = "String::is_empty")]
            pub $field: String,
        ] [$($d)* $field: section!(@default $($default)?),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : secret, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
            #[serde(skip_serializing_if = "crate::config::Secret::is_empty")]
            pub $field: crate::config::Secret,
        ] [$($d)* $field: Default::default(),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : flag $(= $default:expr)?, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::flag")]
            pub $field: bool,
        ] [$($d)* $field: section!(@default $($default)?),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : count $(= $default:expr)?, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::count")]
            pub $field: u64,
        ] [$($d)* $field: section!(@default $($default)?),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : duration $(= $default:expr)?, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
            pub $field: crate::config::PromDuration,
        ] [$($d)* $field: section!(@default $($default)?),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : texts, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::texts", skip_serializing_if = "Vec::is_empty")]
            pub $field: Vec<String>,
        ] [$($d)* $field: Vec::new(),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : map, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::text_map")]
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub $field: std::collections::BTreeMap<String, String>,
        ] [$($d)* $field: Default::default(),] $($rest)*);
    };
    (@build $head:tt [$($f:tt)*] [$($d:tt)*] $field:ident : [$type:ty] $(= $default:expr)?, $($rest:tt)*) => {
        section!(@build $head [$($f)*
            #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
            pub $field: $type,
        ] [$($d)* $field: section!(@default $($default)?),] $($rest)*);
    };
    (@build [$(#[$meta:meta])* $name:ident] [$($fields:tt)*] [$($defaults:tt)*]) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($fields)* }

        impl Default for $name {
            fn default() -> Self {
                $name { $($defaults)* }
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default.into() };
}

pub(super) use section;

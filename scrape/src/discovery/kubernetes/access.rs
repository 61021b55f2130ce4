//! How a cluster is reached: a URL in the section, a kubeconfig file, or what every pod is given.

use crate::config::{Authorization, BasicAuth, HttpConfig, KubernetesSdConfig, Secret, TlsConfig, WithHttp};
use crate::discovery::meta::host_port;
use crate::fetch::read_secret_file;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::Deserialize;
use std::path::Path;

const POD_FILES: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A cluster and whom it sees.
#[derive(Debug, PartialEq)]
pub struct Access {
    /// Without a slash at its end.
    pub server: String,
    pub http: HttpConfig,
    /// None: all.
    pub namespaces: Vec<String>,
}

impl Access {
    pub fn find(config: &WithHttp<KubernetesSdConfig>) -> Result<Access, String> {
        let own = &config.own;
        let (server, http) = if !own.api_server.is_empty() {
            (own.api_server.clone(), config.http.clone())
        } else if !own.kubeconfig_file.is_empty() {
            let path = &own.kubeconfig_file;
            let text =
                String::from_utf8(read_secret_file(path)?).map_err(|_| format!("{path} is not UTF-8"))?;
            kubeconfig(&text, Path::new(path).parent().unwrap_or(Path::new("")))
                .map_err(|e| format!("kubeconfig_file {path}: {e}"))?
        } else {
            in_pod(POD_FILES, &|name| std::env::var(name).ok())?
        };
        let mut namespaces = own.namespaces.names.clone();
        if own.namespaces.own_namespace {
            let name = read_secret_file(&format!("{POD_FILES}/namespace"))?;
            namespaces.push(String::from_utf8_lossy(&name).trim().to_owned());
        }
        Ok(Access { server: server.trim_end_matches('/').to_owned(), http, namespaces })
    }
}

/// The service account of the pod that this runs in. Its token changes; it is read for every request.
fn in_pod(files: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<(String, HttpConfig), String> {
    let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
    else {
        return Err("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and \
                    KUBERNETES_SERVICE_PORT must be defined"
            .into());
    };
    let authorization = Authorization {
        kind: "Bearer".into(),
        credentials_file: format!("{files}/token"),
        ..Authorization::default()
    };
    let http = HttpConfig {
        authorization: Some(authorization),
        tls_config: TlsConfig { ca_file: format!("{files}/ca.crt"), ..TlsConfig::default() },
        ..HttpConfig::default()
    };
    Ok((format!("https://{}", host_port(&host, port)), http))
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    current_context: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    insecure_skip_tls_verify: bool,
    tls_server_name: String,
    proxy_url: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    exec: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

/// The current context of a kubeconfig; relative paths start at `directory`.
pub fn kubeconfig(text: &str, directory: &Path) -> Result<(String, HttpConfig), String> {
    let file: File = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    let wanted = &file.current_context;
    let context = file.contexts.iter().find(|context| context.name == *wanted);
    let context = &context.ok_or_else(|| format!("there is no context {wanted:?}"))?.context;
    let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = &cluster.ok_or_else(|| format!("there is no cluster {:?}", context.cluster))?.cluster;
    if cluster.server.is_empty() {
        return Err(format!("cluster {:?} has no server", context.cluster));
    }
    let nobody = User::default();
    let user = match file.users.iter().find(|user| user.name == context.user) {
        Some(user) => &user.user,
        None if context.user.is_empty() => &nobody,
        None => return Err(format!("there is no user {:?}", context.user)),
    };
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err(format!(
            "user {:?} gets its credentials from a program (exec, auth-provider), which is not supported: use \
             a token, a tokenFile or a client certificate",
            context.user
        ));
    }
    let path = |path: &str| {
        if path.is_empty() { String::new() } else { directory.join(path).to_string_lossy().into_owned() }
    };
    let tls_config = TlsConfig {
        ca: pem(&cluster.certificate_authority_data, "certificate-authority-data")?,
        ca_file: if cluster.certificate_authority_data.is_empty() {
            path(&cluster.certificate_authority)
        } else {
            String::new()
        },
        cert: pem(&user.client_certificate_data, "client-certificate-data")?,
        cert_file: if user.client_certificate_data.is_empty() {
            path(&user.client_certificate)
        } else {
            String::new()
        },
        key: Secret::new(pem(&user.client_key_data, "client-key-data")?),
        key_file: if user.client_key_data.is_empty() { path(&user.client_key) } else { String::new() },
        server_name: cluster.tls_server_name.clone(),
        insecure_skip_verify: cluster.insecure_skip_tls_verify,
        ..TlsConfig::default()
    };
    let mut http = HttpConfig { tls_config, ..HttpConfig::default() };
    http.proxy_url = Some(cluster.proxy_url.clone()).filter(|url| !url.is_empty());
    if !user.token_file.is_empty() || !user.token.is_empty() {
        http.authorization = Some(Authorization {
            kind: "Bearer".into(),
            credentials_file: path(&user.token_file),
            credentials: if user.token_file.is_empty() {
                Secret::new(user.token.as_str())
            } else {
                Secret::default()
            },
        });
    } else if !user.username.is_empty() {
        http.basic_auth = Some(BasicAuth {
            username: user.username.clone(),
            password: Secret::new(user.password.as_str()),
            ..BasicAuth::default()
        });
    }
    http.check()?;
    Ok((cluster.server.clone(), http))
}

/// Text in base64, as kubeconfig files hold certificates.
fn pem(data: &str, what: &str) -> Result<String, String> {
    let bad = || format!("{what} is not the base64 of a PEM text");
    let bytes = BASE64.decode(data.trim()).map_err(|_| bad())?;
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_finds_its_cluster() {
        let set = |name: &str| Some(if name.ends_with("HOST") { "fd00::1" } else { "6443" }.to_owned());
        let (server, http) = in_pod("/f", &set).expect("set");
        assert_eq!(server, "https://[fd00::1]:6443");
        assert_eq!(http.authorization.expect("token").credentials_file, "/f/token");
        assert!(in_pod("/f", &|_| None).expect_err("unset").contains("KUBERNETES_SERVICE_HOST"));
    }

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: n}}, {name: d, context: {cluster: x, user: e}}]
clusters: [{name: k, cluster: {server: 'https://h:1/', certificate-authority-data: UEVNCg==, tls-server-name: s}}]
users:
- {name: u, user: {tokenFile: t, client-certificate: c.pem, client-key-data: S0VZ}}
- {name: e, user: {exec: {command: x}}}
";

    #[test]
    fn kubeconfig_files_are_read() {
        let (server, http) = kubeconfig(FILE, Path::new("/d")).expect("good");
        assert_eq!(server, "https://h:1/");
        let tls = &http.tls_config;
        assert_eq!((tls.ca.as_str(), tls.cert_file.as_str(), tls.key.reveal()), ("PEM\n", "/d/c.pem", "KEY"));
        assert_eq!(tls.server_name, "s");
        assert_eq!(http.authorization.expect("token").credentials_file, "/d/t");
        let bad = |text: &str, expect: &str| {
            let got = kubeconfig(text, Path::new("/")).expect_err(text);
            assert!(got.contains(expect), "{got}");
        };
        bad(&FILE.replace("current-context: c", "current-context: z"), "there is no context \"z\"");
        bad(&FILE.replace("current-context: c", "current-context: d"), "there is no cluster \"x\"");
        bad(&FILE.replace("user: u", "user: e"), "exec, auth-provider");
        bad(&FILE.replace("S0VZ", "x!"), "client-key-data is not the base64");
        bad("{", "");
    }
}

//! `stackit_sd_configs`: the servers or the PostgreSQL instances of one STACKIT project. A service account's key signs
//! what the token server takes; without one the section's `<http_config>` says how to ask.

use super::client::{Call, Client, escaped, form};
use super::meta::{Meta, host_port, sanitized};
use super::polling::Poll;
use super::signature::{base64url, rsa_sha512};
use super::{TargetGroup, Tools};
use crate::config::{PromDuration, StackitSdConfig, WithHttp};
use crate::fetch::{read_secret_file, secret};
use hearth_model::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

const TOKEN_SERVER: &str = "https://service-account.api.stackit.cloud/token";
const POSTGRES: &str = "https://postgres-flex-service.api.stackit.cloud";
const POSTGRES_METRICS: &str = "postgres-flex-metrics.api.stackit.cloud:443";
/// Life of what a key signs.
const ASSERTION_SECONDS: u64 = 600;
/// A token is asked for anew this long before it ends.
const EARLY: Duration = Duration::from_secs(60);

/// One project.
pub struct Stackit {
    config: StackitSdConfig,
    client: Client,
    /// Without the section's credentials: the token server is shown an assertion.
    bare: Client,
    token: Option<(String, Instant)>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Servers {
    items: Vec<Server>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Server {
    id: String,
    name: String,
    availability_zone: String,
    status: String,
    power_status: String,
    machine_type: String,
    labels: BTreeMap<String, serde_json::Value>,
    nics: Option<Vec<Nic>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Nic {
    network_name: String,
    ipv4: Option<String>,
    public_ip: Option<String>,
}

/// A service account's key, as the console gives it out.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Key {
    credentials: KeyCredentials,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct KeyCredentials {
    kid: String,
    iss: String,
    sub: String,
    aud: String,
    private_key: String,
}

/// Where the key is, as a file of credentials names it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct CredentialsFile {
    #[serde(rename = "STACKIT_SERVICE_ACCOUNT_KEY_PATH")]
    service_account_key_path: String,
    #[serde(rename = "STACKIT_PRIVATE_KEY_PATH")]
    private_key_path: String,
    #[serde(rename = "STACKIT_SERVICE_ACCOUNT_KEY")]
    service_account_key: String,
    #[serde(rename = "STACKIT_PRIVATE_KEY")]
    private_key: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

/// The servers of a project; one without an address is none.
pub fn servers(answer: &Servers, project: &str, port: u64) -> Vec<Labels> {
    let target = |server: &Server| {
        let filled = |ip: &Option<String>| ip.clone().filter(|ip| !ip.is_empty());
        let nics = server.nics.as_ref()?;
        let public = nics.iter().find_map(|nic| filled(&nic.public_ip));
        let ip = public.clone().or_else(|| nics.iter().find_map(|nic| filled(&nic.ipv4)))?;
        let mut meta = Meta::new("__meta_stackit_").address(&host_port(&ip, port));
        meta.set("project", project).set("id", &server.id).set("name", &server.name);
        meta.set("availability_zone", &server.availability_zone).set("status", &server.status);
        meta.set("power_status", &server.power_status).set("type", &server.machine_type);
        meta.maybe("public_ipv4", public);
        for nic in nics {
            if let Some(ip) = filled(&nic.ipv4) {
                meta.set(&format!("private_ipv4_{}", sanitized(&nic.network_name)), ip);
            }
        }
        for (name, value) in server.labels.iter().filter_map(|(name, value)| Some((name, value.as_str()?))) {
            let name = sanitized(name);
            meta.set(&format!("labelpresent_{name}"), "true").set(&format!("label_{name}"), value);
        }
        Some(meta.labels())
    };
    answer.items.iter().filter_map(target).collect()
}

/// The PostgreSQL instances of a project, all of which one host shows.
fn instances(answer: &Servers, project: &str, region: &str) -> Vec<Labels> {
    let target = |instance: &Server| {
        let mut meta = Meta::new("__meta_stackit_").address(POSTGRES_METRICS);
        let id = &instance.id;
        let path = format!("/v1alpha1/projects/{project}/regions/{region}/instances/{id}/advanced/metrics");
        meta.plain("__metrics_path__", &path).plain("__scheme__", "https");
        meta.set("project", project).set("id", id).set("name", &instance.name);
        meta.set("status", &instance.status).set("type", "postgres");
        meta.labels()
    };
    answer.items.iter().map(target).collect()
}

impl Stackit {
    pub fn new(config: &WithHttp<StackitSdConfig>, tools: &Tools) -> Stackit {
        let mut bare = config.http.clone();
        (bare.basic_auth, bare.authorization, bare.oauth2) = (None, None, None);
        Stackit {
            config: config.own.clone(),
            client: Client::new(&config.http, tools),
            bare: Client::new(&bare, tools),
            token: None,
        }
    }

    /// The key, with the private key that was given beside it where one was; none without a key.
    fn key(&self) -> Result<Option<KeyCredentials>, String> {
        let config = &self.config;
        let file = match config.credentials_file_path.as_str() {
            "" => CredentialsFile::default(),
            path => serde_json::from_slice(&read_secret_file(path)?).map_err(|e| format!("{path}: {e}"))?,
        };
        let or = |own: &str, other: &str| if own.is_empty() { other.to_owned() } else { own.to_owned() };
        let key = secret(
            &or(config.service_account_key.reveal(), &file.service_account_key),
            &or(&config.service_account_key_path, &file.service_account_key_path),
        )?;
        if key.is_empty() {
            return Ok(None);
        }
        let mut key: Key =
            serde_json::from_str(&key).map_err(|e| format!("the service account's key: {e}"))?;
        let private = secret(
            &or(config.private_key.reveal(), &file.private_key),
            &or(&config.private_key_path, &file.private_key_path),
        )?;
        if !private.is_empty() {
            key.credentials.private_key = private;
        }
        Ok(Some(key.credentials))
    }

    async fn token(&mut self) -> Result<Option<String>, String> {
        if let Some((token, until)) = &self.token
            && Instant::now() < *until
        {
            return Ok(Some(token.clone()));
        }
        let Some(key) = self.key()? else { return Ok(None) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let jti = format!("{:032x}", fastrand::u128(..));
        let claims = Claims {
            iss: &key.iss,
            sub: &key.sub,
            aud: &key.aud,
            jti,
            iat: now,
            exp: now + ASSERTION_SECONDS,
        };
        let header = serde_json::json!({"alg": "RS512", "typ": "JWT", "kid": key.kid});
        let claims = serde_json::to_vec(&claims).map_err(|e| e.to_string())?;
        let text = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(&claims));
        let assertion = format!("{text}.{}", base64url(&rsa_sha512(&key.private_key, text.as_bytes())?));
        let pairs = [
            ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
            ("assertion".to_owned(), assertion),
        ];
        let server = if self.config.token_url.is_empty() { TOKEN_SERVER } else { &self.config.token_url };
        let call =
            Call::post(server, form(&pairs)).header("content-type", "application/x-www-form-urlencoded");
        let granted: Granted = self.bare.json(call).await.map_err(|e| format!("no access token: {e}"))?;
        let life = Duration::from_secs(granted.expires_in).saturating_sub(EARLY);
        self.token = Some((granted.access_token.clone(), Instant::now() + life));
        Ok(Some(granted.access_token))
    }

    async fn list(&mut self, base: &str, path: &str) -> Result<Servers, String> {
        let base = if self.config.endpoint.is_empty() { base } else { &self.config.endpoint };
        let call = Call::get(format!("{}/{path}?details=true", base.trim_end_matches('/')));
        let call = match self.token().await? {
            Some(token) => call.header("authorization", &format!("Bearer {token}")),
            None => call,
        };
        self.client.json(call).await
    }
}

impl Poll for Stackit {
    const MECHANISM: &'static str = "stackit";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (project, region) = (self.config.project.clone(), self.config.region.clone());
        let targets = if self.config.role == "postgres" {
            let path = format!("v2/projects/{}/regions/{}/instances", escaped(&project), escaped(&region));
            instances(&self.list(POSTGRES, &path).await?, &project, &region)
        } else {
            let base = format!("https://iaas.api.{region}.stackit.cloud");
            let path = format!("v1/projects/{}/servers", escaped(&project));
            servers(&self.list(&base, &path).await?, &project, self.config.port)
        };
        Ok(vec![TargetGroup { source: "stackit".into(), targets, labels: Labels::empty() }])
    }
}

#[cfg(test)]
mod tests {
    use crate::discovery::signature::TEST_KEY;
    use crate::testing::{Answer, api, found};

    #[tokio::test]
    async fn servers_become_targets() {
        let address = api(|request| {
            if request.starts_with("POST /token ") {
                assert!(request.contains("assertion=") && request.contains("jwt-bearer"), "{request}");
                return Answer::json(r#"{"access_token": "granted", "expires_in": 3600}"#);
            }
            assert!(request.starts_with("GET /v1/projects/p%2F1/servers?details=true "), "{request}");
            assert!(request.to_lowercase().contains("authorization: bearer granted\r\n"), "{request}");
            Answer::json(
                r#"{"items": [{"id": "i", "name": "n", "availabilityZone": "eu01-1", "status": "ACTIVE", "powerStatus": "RUNNING", "machineType": "c1.2",
                    "labels": {"a-b": "v", "n": 5}, "nics": [{"networkName": "net-1", "ipv4": "10.0.0.1"}, {"networkName": "two", "ipv4": "10.0.1.1", "publicIp": "1.2.3.4"}]},
                    {"id": "none"}, {"id": "bare", "nics": []}]}"#,
            )
        })
        .await;
        let folder = tempfile::tempdir().expect("folder");
        let key = serde_json::json!({"credentials": {"kid": "k", "iss": "i", "sub": "s", "aud": "a", "privateKey": TEST_KEY}});
        let path = folder.path().join("key.json");
        std::fs::write(&path, key.to_string()).expect("written");
        let yaml = format!(
            "{{project: p/1, endpoint: 'http://{address}', token_url: 'http://{address}/token', service_account_key_path: {}}}",
            path.display()
        );
        assert_eq!(
            found("stackit", &yaml).await,
            [
                r#"{__address__="1.2.3.4:80", __meta_stackit_availability_zone="eu01-1", __meta_stackit_id="i", __meta_stackit_label_a_b="v", __meta_stackit_labelpresent_a_b="true", __meta_stackit_name="n", __meta_stackit_power_status="RUNNING", __meta_stackit_private_ipv4_net_1="10.0.0.1", __meta_stackit_private_ipv4_two="10.0.1.1", __meta_stackit_project="p/1", __meta_stackit_public_ipv4="1.2.3.4", __meta_stackit_status="ACTIVE", __meta_stackit_type="c1.2"}"#
            ]
        );
    }

    #[tokio::test]
    async fn postgres_instances_become_targets() {
        let address = api(|request| {
            assert!(
                request.starts_with("GET /v2/projects/p/regions/eu01/instances?details=true "),
                "{request}"
            );
            Answer::json(r#"{"items": [{"id": "i", "name": "n", "status": "READY"}]}"#)
        })
        .await;
        assert_eq!(
            found("stackit", &format!("{{role: postgres, project: p, endpoint: 'http://{address}'}}")).await,
            [
                r#"{__address__="postgres-flex-metrics.api.stackit.cloud:443", __meta_stackit_id="i", __meta_stackit_name="n", __meta_stackit_project="p", __meta_stackit_status="READY", __meta_stackit_type="postgres", __metrics_path__="/v1alpha1/projects/p/regions/eu01/instances/i/advanced/metrics", __scheme__="https"}"#
            ]
        );
    }
}

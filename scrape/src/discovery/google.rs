//! Access tokens of Google's APIs: for a key file (`GOOGLE_APPLICATION_CREDENTIALS`, else the one that `gcloud` leaves in
//! the home directory), or for the instance that this runs on (`GCE_METADATA_HOST`).

use super::Tools;
use super::client::{Call, Client, escaped, form};
use super::signature::{base64url, rsa_sha256};
use crate::config::HttpConfig;
use crate::fetch::read_secret_file;
use serde::Deserialize;
use std::time::{Duration, Instant, SystemTime};

const INSTANCE: &str = "metadata.google.internal";
/// Where `gcloud auth application-default login` puts a key, below the home directory.
const KEY_AT_HOME: &str = ".config/gcloud/application_default_credentials.json";
/// A token is asked for anew this long before it ends.
const EARLY: Duration = Duration::from_secs(60);
/// Life of what a key signs, the API's longest.
const ASSERTION_SECONDS: u64 = 3_600;

/// A token that renews itself.
pub struct Token {
    scope: &'static str,
    client: Client,
    /// For the instance, which no proxy leads to.
    direct: Client,
    instance: String,
    key_file: Option<String>,
    current: Option<(String, Instant)>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Key {
    r#type: String,
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

impl Token {
    pub fn new(scope: &'static str, http: &HttpConfig, tools: &Tools) -> Token {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let at_home = || set("HOME").map(|home| format!("{home}/{KEY_AT_HOME}"));
        let key_file = set("GOOGLE_APPLICATION_CREDENTIALS");
        let key_file = key_file.or_else(|| at_home().filter(|path| std::path::Path::new(path).is_file()));
        let host = set("GCE_METADATA_HOST").unwrap_or_else(|| INSTANCE.to_owned());
        Token {
            scope,
            client: Client::new(http, tools),
            direct: Client::new(&HttpConfig::default(), tools),
            instance: format!("http://{host}"),
            key_file,
            current: None,
        }
    }

    /// Asks the instance at this address, whatever the environment says.
    #[cfg(test)]
    pub fn ask_instance(&mut self, address: &str) {
        self.instance = address.to_owned();
        self.key_file = None;
    }

    /// A token that is good for some time.
    pub async fn get(&mut self) -> Result<String, String> {
        if let Some((token, until)) = &self.current
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let granted: Result<Granted, String> = match &self.key_file {
            Some(path) => self.client.json(self.by_key(&read_secret_file(path)?)?).await,
            None => {
                let scope = escaped(self.scope);
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                let call = Call::get(format!("{}/{path}?scopes={scope}", self.instance));
                self.direct.json(call.header("metadata-flavor", "Google")).await
            }
        };
        let granted = granted.map_err(|error| format!("no access token: {error}"))?;
        let life = Duration::from_secs(granted.expires_in).saturating_sub(EARLY);
        self.current = Some((granted.access_token.clone(), Instant::now() + life));
        Ok(granted.access_token)
    }

    fn by_key(&self, bytes: &[u8]) -> Result<Call, String> {
        let key: Key = serde_json::from_slice(bytes).map_err(|e| format!("the credentials file: {e}"))?;
        let uri = match key.token_uri.as_str() {
            "" => "https://oauth2.googleapis.com/token",
            given => given,
        };
        let pairs: Vec<(&str, String)> = match key.r#type.as_str() {
            "service_account" => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
                ("assertion", self.assertion(&key, uri)?),
            ],
            "authorized_user" => vec![
                ("grant_type", "refresh_token".into()),
                ("client_id", key.client_id),
                ("client_secret", key.client_secret),
                ("refresh_token", key.refresh_token),
            ],
            other => return Err(format!("credentials of type {other:?} are not supported")),
        };
        let pairs: Vec<(String, String)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Ok(Call::post(uri, form(&pairs)).header("content-type", "application/x-www-form-urlencoded"))
    }

    fn assertion(&self, key: &Key, audience: &str) -> Result<String, String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": key.private_key_id});
        let claims = serde_json::json!({
            "iss": key.client_email, "scope": self.scope, "aud": audience,
            "iat": now, "exp": now + ASSERTION_SECONDS,
        });
        let text = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        );
        Ok(format!("{text}.{}", base64url(&rsa_sha256(&key.private_key, text.as_bytes())?)))
    }
}

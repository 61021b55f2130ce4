//! Tokens by OAuth 2.0: with a client's secret (`client_credentials`), or with an assertion signed by its key
//! (`jwt-bearer`). One token serves all requests of a job until shortly before it ends.
//!
//! Never prints a secret or a token; the token's server is asked with `oauth2`'s own TLS and proxy settings.

use super::client::{Client, Response, basic};
use super::{read_secret_file, secret, sensitive};
use crate::config::{HttpConfig, JWT_BEARER, MAX_TOKEN_ANSWER_BYTES, OAuth2, TOKEN_MARGIN_S};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long a signed assertion holds, in seconds; and how far back it begins, for clocks that differ.
const ASSERTION_LIFE_S: u64 = 3_600;
const ASSERTION_SLACK_S: u64 = 10;

/// The tokens of one configuration.
pub struct Tokens {
    config: OAuth2,
    client: Client,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The token's server takes no credentials in the header.
    in_form: bool,
}

struct Token {
    header: HeaderValue,
    /// The secret that it was got with: another one needs another token.
    secret: String,
    ends: Option<Instant>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Some servers write a string.
    #[serde(default)]
    expires_in: Value,
}

impl Tokens {
    pub fn new(config: OAuth2) -> Result<Tokens, String> {
        let http = HttpConfig {
            tls_config: config.tls_config.clone(),
            proxy_url: config.proxy_url.clone().filter(|url| !url.is_empty()),
            no_proxy: config.no_proxy.clone(),
            proxy_from_environment: config.proxy_from_environment,
            proxy_connect_header: config.proxy_connect_header.clone(),
            ..HttpConfig::default()
        };
        let client = Client::new(&http, None).map_err(|error| format!("oauth2: {error}"))?;
        Ok(Tokens { config, client, held: Mutex::default() })
    }

    fn secret(&self) -> Result<String, String> {
        let config = &self.config;
        if config.grant_type == JWT_BEARER {
            let (inline, file) =
                (config.client_certificate_key.reveal(), &config.client_certificate_key_file);
            return if file.is_empty() {
                Ok(inline.to_owned())
            } else {
                String::from_utf8(read_secret_file(file)?).map_err(|_| format!("file {file} is not UTF-8"))
            };
        }
        secret(config.client_secret.reveal(), &config.client_secret_file)
    }

    /// Adds a token that holds.
    pub async fn authorize(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let secret = self.secret()?;
        let mut held = self.held.lock().await;
        let good = |token: &&Token| token.secret == secret && token.ends.is_none_or(|at| Instant::now() < at);
        let header = match held.token.as_ref().filter(good) {
            Some(token) => token.header.clone(),
            None => {
                let token =
                    self.fetch(&mut held, secret).await.map_err(|error| format!("oauth2: {error}"))?;
                held.token.insert(token).header.clone()
            }
        };
        headers.insert(AUTHORIZATION, header);
        Ok(())
    }

    async fn fetch(&self, held: &mut Held, secret: String) -> Result<Token, String> {
        let granted = if self.config.grant_type == JWT_BEARER {
            let assertion = assertion(&self.config, &secret, SystemTime::now())?;
            let form = self.form(vec![
                ("grant_type".to_owned(), JWT_BEARER.to_owned()),
                ("assertion".to_owned(), assertion),
            ]);
            read(self.ask(&form, None).await?).await?
        } else {
            self.by_secret(held, &secret).await?
        };
        let kind = if granted.token_type.is_empty() || granted.token_type.eq_ignore_ascii_case("bearer") {
            "Bearer"
        } else {
            &granted.token_type
        };
        let seconds = match &granted.expires_in {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        let life = |seconds: f64| Duration::from_secs_f64((seconds - TOKEN_MARGIN_S).clamp(0.0, 1e9));
        Ok(Token {
            header: sensitive(&format!("{kind} {}", granted.access_token), "the token")?,
            secret,
            ends: seconds.filter(|s: &f64| *s > 0.0).map(|seconds| Instant::now() + life(seconds)),
        })
    }

    /// Servers differ in where they take the client's credentials: the header is tried first.
    async fn by_secret(&self, held: &mut Held, secret: &str) -> Result<Granted, String> {
        let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if !self.config.scopes.is_empty() {
            form.push(("scope".to_owned(), self.config.scopes.join(" ")));
        }
        let form = self.form(form);
        if !held.in_form {
            let answer = self.ask(&form, Some(secret)).await?;
            if answer.status().is_success() {
                return read(answer).await;
            }
        }
        let mut with_credentials = form;
        with_credentials.push(("client_id".to_owned(), self.config.client_id.clone()));
        with_credentials.push(("client_secret".to_owned(), secret.to_owned()));
        let granted = read(self.ask(&with_credentials, None).await?).await?;
        held.in_form = true;
        Ok(granted)
    }

    fn form(&self, mut form: Vec<(String, String)>) -> Vec<(String, String)> {
        form.extend(self.config.endpoint_params.iter().map(|(name, value)| (name.clone(), value.clone())));
        form
    }

    async fn ask(&self, form: &[(String, String)], secret: Option<&str>) -> Result<Response, String> {
        let url = Url::parse(&self.config.token_url).map_err(|error| format!("token_url: {error}"))?;
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        if let Some(secret) = secret {
            // RFC 6749 has both parts form-encoded before they become a header.
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            headers.insert(AUTHORIZATION, basic(&encode(&self.config.client_id), &encode(secret))?);
        }
        let answer = self.client.send(Method::POST, &url, headers, encoded(form)).await;
        answer.map_err(|error| format!("cannot fetch token: {error}"))
    }
}

fn encoded(form: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The answer of the token's server.
async fn read(mut answer: Response) -> Result<Granted, String> {
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_TOKEN_ANSWER_BYTES {
            return Err(format!(
                "cannot fetch token: the answer has more than {MAX_TOKEN_ANSWER_BYTES} bytes"
            ));
        }
    }
    if !status.is_success() {
        return Err(format!("cannot fetch token: {status}"));
    }
    let granted: Granted =
        serde_json::from_slice(&body).map_err(|error| format!("cannot parse token answer: {error}"))?;
    if granted.access_token.is_empty() {
        return Err("server response missing access_token".into());
    }
    Ok(granted)
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The signed statement of who asks.
fn assertion(config: &OAuth2, key: &str, now: SystemTime) -> Result<String, String> {
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let issued_s = now_s.saturating_sub(ASSERTION_SLACK_S);
    let mut claims = serde_json::Map::from_iter(config.claims.clone());
    let issuer = if config.iss.is_empty() { &config.client_id } else { &config.iss };
    claims.insert("iss".into(), json!(issuer));
    claims.insert("sub".into(), json!(config.client_id));
    let audience = if config.audience.is_empty() { &config.token_url } else { &config.audience };
    claims.insert("aud".into(), json!(audience));
    claims.insert("iat".into(), json!(issued_s));
    claims.insert("exp".into(), json!(issued_s + ASSERTION_LIFE_S));
    if !config.scopes.is_empty() {
        claims.insert("scope".into(), json!(config.scopes.join(" ")));
    }
    let (name, padding): (&str, &dyn RsaEncoding) = match config.signature_algorithm.as_str() {
        "RS384" => ("RS384", &RSA_PKCS1_SHA384),
        "RS512" => ("RS512", &RSA_PKCS1_SHA512),
        _ => ("RS256", &RSA_PKCS1_SHA256),
    };
    let mut head = json!({"alg": name, "typ": "JWT"});
    if !config.client_certificate_key_id.is_empty() {
        head["kid"] = json!(config.client_certificate_key_id);
    }
    let signed = format!(
        "{}.{}",
        base64(head.to_string().as_bytes()),
        base64(Value::Object(claims).to_string().as_bytes())
    );
    let pair = match PrivateKeyDer::from_pem_slice(key.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("client_certificate_key is no RSA key in PEM".into()),
    };
    let pair = pair.map_err(|error| format!("client_certificate_key: {error}"))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "signing the assertion failed".to_owned())?;
    Ok(format!("{signed}.{}", base64(&signature)))
}

#[cfg(test)]
mod tests;

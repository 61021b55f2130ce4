//! `aws_sd_configs`, `ec2_sd_configs`, `lightsail_sd_configs`: one account in one region. [`Aws`] signs and
//! sends; each service is a file beside it.

pub mod ec2;
pub mod ecs;
pub mod elasticache;
pub mod lightsail;
pub mod msk;
pub mod rds;

pub use ec2::Ec2;
pub use ecs::Ecs;
pub use elasticache::ElastiCache;
pub use lightsail::Lightsail;
pub use msk::Msk;
pub use rds::Rds;

use super::Tools;
use super::client::{Answer, Call, Client};
use super::meta::Meta;
use super::xml::{self as tree, Element};
use crate::config::{AwsAccess, HttpConfig};
use bytes::Bytes;
use reqsign_aws_core::{
    AssumeRoleCredentialProvider, Credential, DefaultCredentialProvider, StaticCredentialProvider,
};
use reqsign_aws_v4::RequestSigner;
use reqsign_core::{Context, FileRead, HttpSend, OsEnv, Signer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where an instance asks about itself, and how long that may take where there is nobody to answer.
const INSTANCE_METADATA: &str = "http://169.254.169.254/latest";
const INSTANCE_METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Signed requests to one service.
pub struct Aws {
    access: AwsAccess,
    service: &'static str,
    client: Arc<Client>,
    /// Made at the first request, when the region is known.
    ready: Option<Ready>,
}

struct Ready {
    region: String,
    endpoint: String,
    signer: Signer<Credential>,
}

/// Credentials are fetched by the section's own client.
struct Sender(Arc<Client>);

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl HttpSend for Sender {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let call = Call::of(parts, body.to_vec()).timeout(INSTANCE_METADATA_TIMEOUT);
        let failed = |error: String| reqsign_core::Error::unexpected(error);
        let answer = self.0.ask(call).await.map_err(failed)?;
        let mut response = http::Response::new(Bytes::from(answer.body));
        *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        crate::fetch::read_secret_file(path).map_err(reqsign_core::Error::unexpected)
    }
}

impl Aws {
    pub fn new(access: AwsAccess, service: &'static str, http: &HttpConfig, tools: &Tools) -> Aws {
        Aws { access, service, client: Arc::new(Client::new(http, tools)), ready: None }
    }

    /// The region, known after the first request.
    pub fn region(&self) -> &str {
        self.ready.as_ref().map_or(&self.access.region, |ready| &ready.region)
    }

    /// From the section, the environment, or the instance that this runs on.
    async fn find_region(&self) -> Result<String, String> {
        if !self.access.region.is_empty() {
            return Ok(self.access.region.clone());
        }
        let set = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
        if let Some(region) = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")) {
            return Ok(region);
        }
        let missing =
            |error: String| format!("the configuration has no region and the instance tells none: {error}");
        let token = Call::put(format!("{INSTANCE_METADATA}/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "60")
            .timeout(INSTANCE_METADATA_TIMEOUT);
        let token = self.client.ask(token).await.and_then(Answer::success).map_err(missing)?;
        let region = Call::get(format!("{INSTANCE_METADATA}/meta-data/placement/region"))
            .header("x-aws-ec2-metadata-token", &String::from_utf8_lossy(&token.body))
            .timeout(INSTANCE_METADATA_TIMEOUT);
        let region = self.client.ask(region).await.and_then(Answer::success).map_err(missing)?;
        Ok(String::from_utf8_lossy(&region.body).trim().to_owned())
    }

    async fn make_ready(&mut self) -> Result<&Ready, String> {
        if self.ready.is_none() {
            let region = self.find_region().await?;
            let (access, service) = (&self.access, self.service);
            let context = Context::new()
                .with_http_send(Sender(Arc::clone(&self.client)))
                .with_file_read(Files)
                .with_env(OsEnv);
            let sign = |service: &str| RequestSigner::new(service, &region);
            let base = |service: &str| {
                if access.access_key.is_empty() && access.secret_key.is_empty() {
                    let mut chain = DefaultCredentialProvider::builder();
                    if !access.profile.is_empty() {
                        chain = chain.with_profile(access.profile.as_str());
                    }
                    Signer::new(context.clone(), chain.build(), sign(service))
                } else {
                    let fixed = StaticCredentialProvider::new(&access.access_key, access.secret_key.reveal());
                    Signer::new(context.clone(), fixed, sign(service))
                }
            };
            let signer = if access.role_arn.is_empty() {
                base(service)
            } else {
                let mut role = AssumeRoleCredentialProvider::new(access.role_arn.clone(), base("sts"))
                    .with_role_session_name("hearth".into())
                    .with_region(region.clone())
                    .with_regional_sts_endpoint();
                if !access.external_id.is_empty() {
                    role = role.with_external_id(access.external_id.clone());
                }
                Signer::new(context.clone(), role, sign(service))
            };
            let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            let endpoint = match access.endpoint.as_str() {
                "" => format!("https://{service}.{region}.{domain}"),
                given if given.contains("://") => given.trim_end_matches('/').to_owned(),
                given => format!("https://{}", given.trim_end_matches('/')),
            };
            self.ready = Some(Ready { region, endpoint, signer });
        }
        self.ready.as_ref().ok_or_else(|| "no signer".into())
    }

    /// One signed request; a success or the service's own words.
    async fn ask(&mut self, call: Call) -> Result<Answer, String> {
        self.make_ready().await?;
        let Some(ready) = &self.ready else { return Err("no signer".into()) };
        let body = call.body().to_vec();
        let call = call.within(&ready.endpoint).header("x-amz-content-sha256", &hex(&Sha256::digest(&body)));
        let mut parts = call.parts()?;
        ready
            .signer
            .sign(&mut parts, None)
            .await
            .map_err(|e| format!("signing for {}: {e}", self.service))?;
        let answer = self.client.ask(Call::of(parts, body)).await?;
        match answer.status {
            200..300 => Ok(answer),
            // Credentials may have changed; the next request looks for them anew.
            401 | 403 => {
                self.ready = None;
                answer.success()
            }
            _ => answer.success(),
        }
    }

    /// An action of a service with a query interface, answered in XML.
    pub async fn query<T: DeserializeOwned>(&mut self, form: &[(String, String)]) -> Result<T, String> {
        let body = super::client::form(form);
        let call =
            Call::post("/", body).header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let answer = self.ask(call).await?;
        xml(&answer.body)
    }

    /// An action of a service with a query interface, as a tree.
    pub async fn tree(
        &mut self,
        action: &str,
        version: &str,
        form: &[(String, String)],
        marker: Option<String>,
    ) -> Result<Element, String> {
        let own = [("Action".to_owned(), action.to_owned()), ("Version".into(), version.to_owned())];
        let marker = marker.map(|marker| ("Marker".to_owned(), marker));
        let pairs: Vec<_> = own.into_iter().chain(form.iter().cloned()).chain(marker).collect();
        let call = Call::post("/", super::client::form(&pairs))
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        tree::parse(&self.ask(call).await?.body)
    }

    /// A path of a service with a REST interface.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        self.ask(Call::get(path)).await?.json()
    }

    /// The same with a JSON body.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        self.ask(Call::post(path, body).header("content-type", "application/json")).await?.json()
    }

    /// An action of a service with a JSON interface.
    pub async fn json<T: DeserializeOwned>(
        &mut self,
        target: &str,
        version: &'static str,
        body: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let call = Call::post("/", body).header("content-type", version).header("x-amz-target", target);
        self.ask(call).await?.json()
    }
}

/// An XML answer.
pub fn xml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("the answer is not UTF-8: {e}"))?;
    quick_xml::de::from_str(text).map_err(|e| format!("the answer is not what was expected: {e}"))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The pairs of a tag list, however the service spells them.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Tag {
    #[serde(alias = "Key")]
    pub key: String,
    #[serde(alias = "Value")]
    pub value: String,
}

pub fn pairs(tags: &[Tag]) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().filter(|tag| !tag.key.is_empty()).map(|tag| (tag.key.as_str(), tag.value.as_str()))
}

/// Labels by a table of names and the paths of the elements that they are made of; times to the second.
pub fn describe(meta: &mut Meta, prefix: &str, table: &[(&str, &str)], element: &Element) {
    for (name, path) in table {
        if let Some(text) = element.text_at(path) {
            meta.set(&format!("{prefix}{name}"), to_the_second(text));
        }
    }
}

/// `2024-01-02T03:04:05.678Z` without the fraction; other text as it is.
fn to_the_second(text: &str) -> String {
    let shape = "dddd-dd-ddTdd:dd:dd.";
    let fits = |(byte, like): (u8, u8)| if like == b'd' { byte.is_ascii_digit() } else { byte == like };
    match text.split_at_checked(shape.len()) {
        Some((start, rest))
            if start.bytes().zip(shape.bytes()).all(fits)
                && rest
                    .strip_suffix('Z')
                    .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) =>
        {
            format!("{}Z", start.trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

/// The pairs of a tag list.
pub fn tags(list: &[Element]) -> impl Iterator<Item = (&str, &str)> {
    list.iter().filter_map(|tag| Some((tag.text_at("Key")?, tag.at("Value")?.text.as_str())))
}

//! `oci_sd_configs`: the running instances of Oracle's cloud, compartment by compartment. Requests are signed with a
//! user's RSA key, or with the one that the instance this runs on is given.

use super::aws::hex;
use super::client::{Answer, Call, Client, escaped, with_query};
use super::meta::{Meta, enclosed, host_port, sanitized};
use super::polling::Poll;
use super::signature::{base64, rsa_sha256};
use super::{TargetGroup, Tools, passphrase};
use crate::config::{MAX_DISCOVERY_PAGES, OciSdConfig, PromDuration, WithHttp};
use crate::fetch::{read_secret_file, secret};
use hearth_model::Labels;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Where an instance asks about itself.
const INSTANCE: &str = "http://169.254.169.254/opc/v2";
/// An instance's token is good for some twenty minutes.
const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// Compartments that are looked into.
const MAX_COMPARTMENTS: usize = 10_000;

/// One region.
pub struct Oci {
    config: OciSdConfig,
    client: Client,
    /// In the place of the API's hosts, in tests.
    base: Option<String>,
    signer: Option<(Signer, Instant)>,
}

/// Who signs.
struct Signer {
    key_id: String,
    key: String,
    tenancy: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Instance {
    id: String,
    display_name: String,
    shape: String,
    availability_domain: String,
    fault_domain: String,
    image_id: String,
    region: String,
    compartment_id: String,
    lifecycle_state: String,
    freeform_tags: BTreeMap<String, String>,
    defined_tags: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Attachment {
    vnic_id: Option<String>,
    lifecycle_state: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Vnic {
    id: String,
    is_primary: bool,
    private_ip: Option<String>,
    public_ip: Option<String>,
    hostname_label: Option<String>,
    ipv6_addresses: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Compartment {
    id: String,
    lifecycle_state: String,
}

#[derive(Deserialize)]
struct Federated {
    token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenClaims {
    res_tenant: String,
}

/// An instance by its network interfaces; none where the first has no address.
fn target(instance: &Instance, vnics: &[Vnic], tenancy: &str, port: u64) -> Option<Labels> {
    let primary = vnics.iter().find(|vnic| vnic.is_primary)?;
    let filled = |ip: &Option<String>| ip.clone().filter(|ip| !ip.is_empty());
    let ip = filled(&primary.private_ip).or_else(|| filled(&primary.public_ip))?;
    let mut meta = Meta::new("__meta_oci_").address(&host_port(&ip, port));
    meta.set("instance_id", &instance.id).set("instance_name", &instance.display_name);
    meta.set("instance_state", &instance.lifecycle_state).set("instance_shape", &instance.shape);
    meta.set("availability_domain", &instance.availability_domain);
    meta.set("fault_domain", &instance.fault_domain).set("region", &instance.region);
    meta.set("tenancy_id", tenancy).set("compartment_id", &instance.compartment_id);
    meta.set("image_id", &instance.image_id).set("vnic_id", &primary.id);
    meta.maybe("private_ip", filled(&primary.private_ip)).maybe("public_ip", filled(&primary.public_ip));
    meta.maybe("hostname_label", filled(&primary.hostname_label));
    if let Some(addresses) = primary.ipv6_addresses.as_ref().filter(|list| !list.is_empty()) {
        meta.set("ipv6_addresses", enclosed(addresses, ","));
    }
    let others = || vnics.iter().filter(|vnic| !vnic.is_primary);
    let lists = [
        ("secondary_private_ips", others().filter_map(|vnic| filled(&vnic.private_ip)).collect::<Vec<_>>()),
        ("secondary_public_ips", others().filter_map(|vnic| filled(&vnic.public_ip)).collect()),
    ];
    for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        meta.set(name, enclosed(list, ","));
    }
    meta.each("tag_", &instance.freeform_tags);
    for (space, tags) in &instance.defined_tags {
        let texts = tags.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
        meta.each(&format!("defined_tag_{}_", sanitized(space)), texts);
    }
    Some(meta.labels())
}

/// Instances of which one interface is known; for who attacks the parser.
pub fn instances(list: &[Instance]) -> Vec<Labels> {
    let vnic = Vnic { is_primary: true, private_ip: Some("10.0.0.1".into()), ..Vnic::default() };
    list.iter().filter_map(|instance| target(instance, std::slice::from_ref(&vnic), "t", 80)).collect()
}

/// `Date` as HTTP writes it.
fn http_date() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl Signer {
    /// Adds the signature over method, path, host and date, and over the body where there is one.
    fn sign(&self, url: &str, method: &str, body: &[u8], call: Call) -> Result<Call, String> {
        let parsed = url::Url::parse(url).map_err(|e| e.to_string())?;
        let host = parsed.host_str().unwrap_or_default();
        let host = parsed.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let path =
            parsed.query().map_or(parsed.path().to_owned(), |query| format!("{}?{query}", parsed.path()));
        let date = http_date();
        let mut names = String::from("date (request-target) host");
        let mut text = format!("date: {date}\n(request-target): {method} {path}\nhost: {host}");
        let mut call = call.header("date", &date);
        if method == "post" {
            let sum = base64(&Sha256::digest(body));
            names.push_str(" content-length content-type x-content-sha256");
            let length = body.len();
            text.push_str(&format!(
                "\ncontent-length: {length}\ncontent-type: application/json\nx-content-sha256: {sum}"
            ));
            call = call.header("content-type", "application/json").header("x-content-sha256", &sum);
        }
        let signature = base64(&rsa_sha256(&self.key, text.as_bytes())?);
        let key_id = &self.key_id;
        Ok(call.header(
            "authorization",
            &format!(
                "Signature version=\"1\",keyId=\"{key_id}\",algorithm=\"rsa-sha256\",headers=\"{names}\",signature=\"{signature}\""
            ),
        ))
    }
}

/// `AA:BB:..`, as certificates are named by.
fn fingerprint(pem: &[u8]) -> Result<String, String> {
    let der =
        CertificateDer::from_pem_slice(pem).map_err(|e| format!("the instance's certificate: {e:?}"))?;
    let sum =
        hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref()).to_uppercase();
    let pairs: Vec<&str> =
        sum.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    Ok(pairs.join(":"))
}

/// A PEM body without its armour, as a field of a JSON request.
fn bare(pem: &[u8]) -> String {
    String::from_utf8_lossy(pem).lines().filter(|line| !line.starts_with("-----")).collect()
}

/// What this user may not see looks like what is not there. A key that is not taken (401) is no answer about anything.
fn denied(status: u16) -> bool {
    matches!(status, 403 | 404)
}

impl Oci {
    pub fn new(config: &WithHttp<OciSdConfig>, tools: &Tools) -> Oci {
        Oci { config: config.own.clone(), client: Client::new(&config.http, tools), base: None, signer: None }
    }

    fn host(&self, service: &str) -> String {
        match &self.base {
            Some(base) => base.clone(),
            None => format!("https://{service}.{}.oraclecloud.com", self.config.region),
        }
    }

    async fn instance_says(&self, path: &str) -> Result<Vec<u8>, String> {
        let base = self.base.as_ref().map_or(INSTANCE.to_owned(), |base| format!("{base}/opc/v2"));
        let call = Call::get(format!("{base}/{path}")).header("authorization", "Bearer Oracle");
        let answer = self.client.ask(call.timeout(Duration::from_secs(5))).await.and_then(Answer::success);
        answer.map(|answer| answer.body).map_err(|error| format!("the instance tells no {path}: {error}"))
    }

    /// Trades the instance's certificate for a token that its own key goes with.
    async fn instance_principal(&self) -> Result<Signer, String> {
        let leaf = self.instance_says("identity/cert.pem").await?;
        let key = String::from_utf8_lossy(&self.instance_says("identity/key.pem").await?).into_owned();
        let intermediate = self.instance_says("identity/intermediate.pem").await?;
        let tenancy = certificate_tenancy(&leaf)?;
        let signer = Signer { key_id: format!("{tenancy}/fed-x509/{}", fingerprint(&leaf)?), key, tenancy };
        let public = base64(&super::signature::public_key(&signer.key)?);
        let body = serde_json::json!({
            "certificate": bare(&leaf), "publicKey": public, "intermediateCertificates": [bare(&intermediate)],
        });
        let (url, body) = (format!("{}/v1/x509", self.host("auth")), body.to_string().into_bytes());
        let call = signer.sign(&url, "post", &body, Call::post(&url, body.clone()))?;
        let federated: Federated = self.client.json(call).await?;
        let claims = federated.token.split('.').nth(1).and_then(super::signature::from_base64url);
        let claims: TokenClaims =
            claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let tenancy = if claims.res_tenant.is_empty() { signer.tenancy } else { claims.res_tenant };
        Ok(Signer { key_id: format!("ST${}", federated.token), key: signer.key, tenancy })
    }

    async fn make_signer(&mut self) -> Result<&Signer, String> {
        let fresh = self.signer.as_ref().is_some_and(|(_, until)| Instant::now() < *until);
        if !fresh {
            let config = &self.config;
            let signer = if config.auth == "instance_principal" {
                self.instance_principal().await?
            } else {
                let key = String::from_utf8_lossy(&read_secret_file(&config.key_file)?).into_owned();
                let passphrase = secret(config.key_passphrase.reveal(), &config.key_passphrase_file)?;
                // Hashing a passphrase takes its time by design.
                let unlock = move || passphrase::unlocked(&key, &passphrase);
                let key = tokio::task::spawn_blocking(unlock).await.map_err(|error| error.to_string())??;
                let key_id = format!("{}/{}/{}", config.tenancy, config.user, config.fingerprint);
                Signer { key_id, key, tenancy: config.tenancy.clone() }
            };
            self.signer = Some((signer, Instant::now() + TOKEN_LIFE));
        }
        self.signer.as_ref().map(|(signer, _)| signer).ok_or_else(|| "no signer".into())
    }

    async fn ask(&mut self, service: &str, path: &str) -> Result<Answer, String> {
        let url = format!("{}{path}", self.host(service));
        let call = self.make_signer().await?.sign(&url, "get", b"", Call::get(&url))?;
        self.client.ask(call).await
    }

    /// All pages of a list; none where this may not be seen.
    async fn list<T: DeserializeOwned>(
        &mut self,
        service: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Vec<T>>, String> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..MAX_DISCOVERY_PAGES {
            let pairs = query.iter().copied().chain([("page", token.as_str())]);
            let answer = self.ask(service, &with_query(path, pairs)).await?;
            if denied(answer.status) {
                return Ok(None);
            }
            token = answer.header("opc-next-page").to_owned();
            let answer = answer.success().map_err(|error| format!("{path}: {error}"))?;
            all.extend(answer.json::<Vec<T>>()?);
            if token.is_empty() {
                return Ok(Some(all));
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {path}"))
    }

    /// The compartments that are named, or all that can be seen.
    async fn compartments(&mut self) -> Result<Vec<String>, String> {
        if !self.config.compartments.is_empty() {
            return Ok(self.config.compartments.clone());
        }
        let root = self.make_signer().await?.tenancy.clone();
        let mut found = BTreeSet::from([root.clone()]);
        let mut queue = VecDeque::from([root.clone()]);
        let mut first = true;
        while let Some(parent) = queue.pop_front() {
            let query = [("compartmentId", parent.as_str())];
            let children: Option<Vec<Compartment>> =
                self.list("identity", "/20160918/compartments", &query).await?;
            if children.is_none() && std::mem::take(&mut first) && parent == root {
                return Err("the compartments of the tenancy may not be listed".into());
            }
            first = false;
            for child in children.unwrap_or_default() {
                if child.lifecycle_state == "ACTIVE" && found.insert(child.id.clone()) {
                    queue.push_back(child.id);
                }
            }
            if found.len() > MAX_COMPARTMENTS {
                return Err(format!("more than {MAX_COMPARTMENTS} compartments"));
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn vnics(&mut self, instance: &Instance) -> Result<Vec<Vnic>, String> {
        let query =
            [("compartmentId", instance.compartment_id.as_str()), ("instanceId", instance.id.as_str())];
        let attachments: Option<Vec<Attachment>> =
            self.list("iaas", "/20160918/vnicAttachments", &query).await?;
        let mut vnics = Vec::new();
        for attachment in attachments.unwrap_or_default() {
            let Some(id) = attachment.vnic_id.filter(|_| attachment.lifecycle_state == "ATTACHED") else {
                continue;
            };
            let answer = self.ask("iaas", &format!("/20160918/vnics/{}", escaped(&id))).await?;
            if !denied(answer.status) {
                vnics.push(answer.success()?.json()?);
            }
        }
        Ok(vnics)
    }

    async fn compartment(&mut self, id: &str) -> Result<Vec<Labels>, String> {
        let query = [("compartmentId", id), ("lifecycleState", "RUNNING")];
        let found: Option<Vec<Instance>> = self.list("iaas", "/20160918/instances", &query).await?;
        if found.is_none() && !self.config.compartments.is_empty() {
            return Err("it is named in the configuration, and is not there or may not be seen".into());
        }
        let mut targets = Vec::new();
        for instance in found.unwrap_or_default() {
            let vnics = self.vnics(&instance).await?;
            let tenancy = self.make_signer().await?.tenancy.clone();
            targets.extend(target(&instance, &vnics, &tenancy, self.config.port));
        }
        Ok(targets)
    }
}

/// The tenancy that an instance's certificate was made for: in its subject, as `opc-tenant:` or `opc-identity:`.
fn certificate_tenancy(pem: &[u8]) -> Result<String, String> {
    let der =
        CertificateDer::from_pem_slice(pem).map_err(|e| format!("the instance's certificate: {e:?}"))?;
    let found = ["opc-tenant:", "opc-identity:"].iter().find_map(|mark| {
        let at = memchr::memmem::find(&der, mark.as_bytes())?;
        // In DER the length of a string stands before it, in one byte where it is not long.
        let length = usize::from(*der.get(at.checked_sub(1)?)?);
        let id = der.get(at + mark.len()..at + length)?;
        Some(String::from_utf8_lossy(id).into_owned())
    });
    found.filter(|id| !id.is_empty()).ok_or_else(|| "the instance's certificate names no tenancy".into())
}

impl Poll for Oci {
    const MECHANISM: &'static str = "oci";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    /// A group for each compartment. One that was found and cannot be seen has no targets; any other failure keeps what is
    /// known.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let mut groups = Vec::new();
        for id in self.compartments().await? {
            let targets =
                self.compartment(&id).await.map_err(|error| format!("compartment {id}: {error}"))?;
            groups.push(TargetGroup { source: format!("OCI_{id}"), targets, labels: Labels::empty() });
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests;

//! One request to one target: connection, headers, credentials, redirects, and the body with its limit.
//!
//! Credentials and configured headers go to the host that the configuration names and never, by way of
//! a redirect, to another. A target of plain HTTP has a connection of its own ([`mod@line`]); TLS, proxies and
//! redirects go through the client that discovery uses too. Files with secrets are read again for every request, so
//! that a rotated password needs no reload; a changed certificate makes a new client.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod client;
mod dial;
mod line;
mod oauth2;
mod tls;

use crate::config::{
    HttpConfig, MAX_BODY_BYTES, MAX_REDIRECTS, MAX_SECRET_FILE_BYTES, PromDuration, ScrapeConfig, protocols,
};
use crate::target::Target;
use answer::AnswerError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use body::{Body, BodyError};
use client::{Client, Response, basic};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, header};
use line::LineError;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use url::Url;

/// Tells a target how long it may take.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Why a scrape brought no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The longer side of `body_size_limit`.
    BodyLimit,
    Timeout {
        url: String,
    },
    Status(String),
    Other(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::BodyLimit => f.write_str("body size limit exceeded"),
            FetchError::Timeout { url } => write!(f, "Get {url:?}: context deadline exceeded"),
            FetchError::Status(status) => write!(f, "server returned HTTP status {status}"),
            FetchError::Other(text) => f.write_str(text),
        }
    }
}

/// What a target answered.
#[derive(Debug)]
pub struct Fetched {
    /// Holds the body, and perhaps what stood around it.
    pub bytes: Vec<u8>,
    body: Range<usize>,
    pub content_type: String,
}

impl Fetched {
    /// Decompressed.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }
}

/// One target as it is asked: its address, and the connection to it.
pub struct Asked {
    url: Result<Url, String>,
    /// Goes into errors.
    shown: String,
    unix_socket: Option<String>,
    timeout: PromDuration,
    /// Whether it has native histograms, where its job says otherwise.
    native: Option<bool>,
    line: line::Line,
}

impl Asked {
    pub fn new(target: &Target) -> Asked {
        Asked {
            url: Url::parse(&target.url).map_err(|error| error.to_string()),
            shown: crate::config::redact_url(&target.url),
            unix_socket: target.unix_socket.clone(),
            timeout: target.timeout,
            native: target.histograms.own_native(),
            line: line::Line::default(),
        }
    }
}

/// What only the configured host gets.
pub(crate) struct Private {
    headers: HeaderMap,
    basic_auth: Option<(String, String)>,
}

impl Private {
    /// The configured values of a header take the place of others.
    pub fn add(&self, headers: &mut HeaderMap) -> Result<(), String> {
        self.headers.keys().for_each(|name| drop(headers.remove(name)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some((name, password)) = &self.basic_auth {
            headers.insert(header::AUTHORIZATION, basic(name, password)?);
        }
        Ok(())
    }

    /// The same as lines of a request.
    fn write(&self, request: &mut Vec<u8>) {
        for (name, value) in &self.headers {
            header_line(request, name.as_str(), value.as_bytes());
        }
        if let Some((name, password)) = &self.basic_auth {
            let credentials = STANDARD.encode(format!("{name}:{password}"));
            header_line(request, "authorization", format!("Basic {credentials}").as_bytes());
        }
    }
}

fn header_line(request: &mut Vec<u8>, name: &str, value: &[u8]) {
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(b": ");
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n");
}

/// A client and the state of the files it was built from.
struct Built {
    client: Client,
    stamps: Vec<Option<(SystemTime, u64)>>,
}

/// Connections and credentials by one `<http_config>`.
pub(crate) struct Connector {
    http: HttpConfig,
    /// Every connection goes to this socket, where one is given.
    unix_socket: Option<PathBuf>,
    built: Mutex<Built>,
    tokens: Option<oauth2::Tokens>,
}

/// Makes the requests of one job.
pub struct Fetcher {
    connector: Connector,
    accept: HeaderValue,
    /// The same for a target without native histograms and for one with them, where its job says otherwise.
    accept_otherwise: [HeaderValue; 2],
    accept_encoding: HeaderValue,
    user_agent: HeaderValue,
    limit_bytes: usize,
}

/// The content of a file that holds a secret or a certificate.
pub(crate) fn read_secret_file(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let at = |e: std::io::Error| format!("unable to read file {path}: {e}");
    std::fs::File::open(path)
        .map_err(at)?
        .take(MAX_SECRET_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(at)?;
    if bytes.len() as u64 > MAX_SECRET_FILE_BYTES {
        return Err(format!("file {path} is larger than {MAX_SECRET_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Inline text, or a file's without the white space around it.
pub(crate) fn secret(inline: &str, file: &str) -> Result<String, String> {
    if file.is_empty() {
        return Ok(inline.to_owned());
    }
    let text = String::from_utf8(read_secret_file(file)?).map_err(|_| format!("file {file} is not UTF-8"))?;
    Ok(text.trim().to_owned())
}

fn sensitive(text: &str, what: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("{what} holds characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn stamps(http: &HttpConfig) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path| std::fs::metadata(path).and_then(|m| Ok((m.modified()?, m.len()))).ok();
    http.tls_config.files().map(stamp).collect()
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// `Accept` for a target with or without native histograms. Only protobuf carries those; who named protocols has decided,
/// though.
fn accept_by(config: &ScrapeConfig, native: bool) -> String {
    if config.scrape_protocols == protocols(config.scrape_native_histograms) {
        return accept(config, &protocols(Some(native)));
    }
    accept(config, &config.scrape_protocols)
}

/// `Accept`: the protocols in their order, with falling weights.
fn accept(config: &ScrapeConfig, protocols: &[String]) -> String {
    let escaping = format!(";escaping={}", config.metric_name_escaping_scheme);
    let asked = protocols.iter().filter_map(|name| match name.as_str() {
        "PrometheusProto" => Some((
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            "",
        )),
        "OpenMetricsText1.0.0" => Some(("application/openmetrics-text;version=1.0.0", escaping.as_str())),
        "OpenMetricsText0.0.1" => Some(("application/openmetrics-text;version=0.0.1", "")),
        "PrometheusText1.0.0" => Some(("text/plain;version=1.0.0", escaping.as_str())),
        "PrometheusText0.0.4" => Some(("text/plain;version=0.0.4", "")),
        _ => None,
    });
    let mut text = String::new();
    let mut weight = crate::config::PROTOCOLS.len() + 1;
    for (media, escaping) in asked {
        text.push_str(&format!("{media}{escaping};q=0.{weight},"));
        weight -= 1;
    }
    text + &format!("*/*;q=0.{weight}")
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn body_error(error: BodyError) -> FetchError {
    match error {
        BodyError::TooLarge => FetchError::BodyLimit,
        BodyError::Gzip(text) => FetchError::Other(text),
    }
}

impl Connector {
    pub fn new(http: HttpConfig, unix_socket: Option<PathBuf>) -> Result<Connector, String> {
        let stamps = stamps(&http);
        let client = Client::new(&http, unix_socket.as_deref())?;
        let tokens = http.oauth2.clone().map(oauth2::Tokens::new).transpose()?;
        Ok(Connector { http, unix_socket, built: Mutex::new(Built { client, stamps }), tokens })
    }

    /// Whether a request may have to go through another server first.
    fn uses_proxy(&self) -> bool {
        self.http.proxy_from_environment || self.http.proxy_url.is_some()
    }

    pub fn follows_redirects(&self) -> bool {
        self.http.follow_redirects
    }

    /// The client, rebuilt where a certificate file changed.
    pub fn client(&self) -> Result<Client, String> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.http);
        if now != built.stamps {
            *built = Built { client: Client::new(&self.http, self.unix_socket.as_deref())?, stamps: now };
        }
        Ok(built.client.clone())
    }

    /// What the configured host gets with the next request.
    pub async fn private(&self) -> Result<Private, String> {
        let mut private = self.secrets()?;
        if let Some(tokens) = &self.tokens {
            tokens.authorize(&mut private.headers).await?;
        }
        Ok(private)
    }

    /// Read anew for every request.
    fn secrets(&self) -> Result<Private, String> {
        let mut headers = HeaderMap::new();
        let mut basic_auth = None;
        if let Some(basic) = &self.http.basic_auth {
            let name = secret(&basic.username, &basic.username_file)?;
            basic_auth = Some((name, secret(basic.password.reveal(), &basic.password_file)?));
        }
        if let Some(authorization) = &self.http.authorization {
            let credentials = secret(authorization.credentials.reveal(), &authorization.credentials_file)?;
            let value = format!("{} {credentials}", authorization.kind.trim());
            headers.insert(header::AUTHORIZATION, sensitive(&value, "authorization")?);
        }
        for (name, values) in &self.http.http_headers {
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("header {name:?}: {e}"))?;
            let plain = values.values.iter().map(|v| Ok(v.clone()));
            let secrets = values.secrets.iter().map(|v| Ok(v.reveal().to_owned()));
            let files = values.files.iter().map(|path| secret("", path));
            for text in plain.chain(secrets).chain(files) {
                headers.append(key.clone(), sensitive(&text?, name)?);
            }
        }
        Ok(Private { headers, basic_auth })
    }
}

impl Fetcher {
    pub fn new(config: &ScrapeConfig, user_agent: &str) -> Result<Fetcher, String> {
        let connector = Connector::new(config.http(), None)?;
        let limit = match config.body_size_limit.bytes {
            0 => MAX_BODY_BYTES,
            limit => limit.min(MAX_BODY_BYTES),
        };
        let plain = |text: &str| HeaderValue::from_str(text).map_err(|e| e.to_string());
        Ok(Fetcher {
            connector,
            accept: plain(&accept(config, &config.scrape_protocols))?,
            accept_otherwise: [plain(&accept_by(config, false))?, plain(&accept_by(config, true))?],
            accept_encoding: plain(if config.enable_compression { "gzip" } else { "identity" })?,
            user_agent: plain(user_agent)?,
            // As with Prometheus, a body of exactly the limit is over it.
            limit_bytes: limit as usize - 1,
        })
    }

    fn accept(&self, native: Option<bool>) -> &HeaderValue {
        native.map_or(&self.accept, |native| &self.accept_otherwise[usize::from(native)])
    }

    /// Asks a target and reads the answer into `buffer`'s memory; all of it within the target's timeout.
    pub async fn fetch(&self, asked: &mut Asked, buffer: Vec<u8>) -> Result<Fetched, FetchError> {
        match tokio::time::timeout(asked.timeout.std(), self.exchange(asked, buffer)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout { url: asked.shown.clone() }),
        }
    }

    async fn exchange(&self, asked: &mut Asked, mut buffer: Vec<u8>) -> Result<Fetched, FetchError> {
        let failed = |shown: &str, text: String| FetchError::Other(format!("Get {shown:?}: {text}"));
        let url = asked.url.clone().map_err(|text| failed(&asked.shown, text))?;
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        if plain && !self.connector.uses_proxy() {
            let private = self.connector.private().await.map_err(|text| failed(&asked.shown, text))?;
            let request = self.request(&url, asked, &private);
            // Compressed bytes may be a little more than what they stand for.
            let limit_bytes = self.limit_bytes.saturating_add(self.limit_bytes / 64 + 1_024);
            let socket = asked.unix_socket.as_deref();
            let answered = asked.line.ask(&url, socket, &request, limit_bytes, &mut buffer).await;
            let (head, body) = answered.map_err(|error| match error {
                LineError::Answer(AnswerError::TooLarge) => FetchError::BodyLimit,
                LineError::Answer(AnswerError::Malformed(what)) => {
                    failed(&asked.shown, format!("malformed HTTP response: {what}"))
                }
                LineError::Dial(text) | LineError::Broken(text) => failed(&asked.shown, text),
            })?;
            let moved = is_redirect(head.status) && !head.location.is_empty() && socket.is_none();
            if !moved || !self.connector.follows_redirects() {
                return self.unpacked(head, body, buffer);
            }
            let next = url.join(&head.location);
            let next = next.map_err(|e| failed(&asked.shown, format!("bad redirect: {e}")))?;
            return self.exchange_any(&url, next, asked, buffer).await;
        }
        if asked.unix_socket.is_some() {
            let text = "a unix socket is asked over plain HTTP and without a proxy only";
            return Err(failed(&asked.shown, text.into()));
        }
        self.exchange_any(&url, url.clone(), asked, buffer).await
    }

    fn request(&self, url: &Url, asked: &Asked, private: &Private) -> Vec<u8> {
        let mut request = Vec::with_capacity(1_024);
        request.extend_from_slice(b"GET ");
        request.extend_from_slice(url.path().as_bytes());
        if let Some(query) = url.query() {
            request.push(b'?');
            request.extend_from_slice(query.as_bytes());
        }
        request.extend_from_slice(b" HTTP/1.1\r\n");
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => header_line(&mut request, "host", format!("{host}:{port}").as_bytes()),
            None => header_line(&mut request, "host", host.as_bytes()),
        }
        header_line(&mut request, "accept", self.accept(asked.native).as_bytes());
        header_line(&mut request, "accept-encoding", self.accept_encoding.as_bytes());
        header_line(&mut request, "user-agent", self.user_agent.as_bytes());
        let seconds = asked.timeout.seconds().to_string();
        header_line(&mut request, TIMEOUT_HEADER.as_str(), seconds.as_bytes());
        private.write(&mut request);
        request.extend_from_slice(b"\r\n");
        request
    }

    fn unpacked(
        &self,
        head: answer::Head,
        body: Range<usize>,
        buffer: Vec<u8>,
    ) -> Result<Fetched, FetchError> {
        if head.status != 200 {
            let reason = StatusCode::from_u16(head.status).ok().and_then(|s| s.canonical_reason());
            let reason = reason.unwrap_or(&head.reason);
            return Err(FetchError::Status(format!("{} {reason}", head.status).trim_end().to_owned()));
        }
        if head.content_encoding == "gzip" {
            let mut unpacked = Body::new(Vec::new(), true, self.limit_bytes);
            unpacked.push(&buffer[body]).map_err(body_error)?;
            let bytes = unpacked.finish().map_err(body_error)?;
            return Ok(Fetched { body: 0..bytes.len(), bytes, content_type: head.content_type });
        }
        if body.len() > self.limit_bytes {
            return Err(FetchError::BodyLimit);
        }
        Ok(Fetched { bytes: buffer, body, content_type: head.content_type })
    }

    /// By the client that speaks everything, from `next` on; `first` is what the configuration names.
    async fn exchange_any(
        &self,
        first: &Url,
        next: Url,
        asked: &Asked,
        buffer: Vec<u8>,
    ) -> Result<Fetched, FetchError> {
        let mut response = self.follow(first, next, asked).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(FetchError::Status(format!("{} {reason}", status.as_u16()).trim_end().to_owned()));
        }
        let text_of = |name| {
            let value = response.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let (content_type, encoding) = (text_of(header::CONTENT_TYPE), text_of(header::CONTENT_ENCODING));
        let mut body = Body::new(buffer, encoding == "gzip", self.limit_bytes);
        while let Some(piece) = response.chunk().await.map_err(FetchError::Other)? {
            body.push(&piece).map_err(body_error)?;
        }
        let bytes = body.finish().map_err(body_error)?;
        Ok(Fetched { body: 0..bytes.len(), bytes, content_type })
    }

    async fn follow(&self, first: &Url, mut next: Url, asked: &Asked) -> Result<Response, FetchError> {
        let failed = |text: String| FetchError::Other(format!("Get {:?}: {text}", asked.shown));
        let client = self.connector.client().map_err(failed)?;
        let private = self.connector.private().await.map_err(failed)?;
        for _ in 0..=MAX_REDIRECTS {
            let seconds = asked.timeout.seconds().to_string();
            let mut headers = HeaderMap::from_iter([
                (header::ACCEPT, self.accept(asked.native).clone()),
                (header::ACCEPT_ENCODING, self.accept_encoding.clone()),
                (header::USER_AGENT, self.user_agent.clone()),
            ]);
            headers
                .insert(TIMEOUT_HEADER, HeaderValue::from_str(&seconds).map_err(|e| failed(e.to_string()))?);
            let downgraded = first.scheme() == "https" && next.scheme() != "https";
            if next.host() == first.host() && !downgraded {
                private.add(&mut headers).map_err(failed)?;
            }
            let response = client.send(Method::GET, &next, headers, Vec::new()).await.map_err(failed)?;
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            match location {
                Some(location)
                    if self.connector.follows_redirects() && is_redirect(response.status().as_u16()) =>
                {
                    next = next.join(location).map_err(|e| failed(format!("bad redirect: {e}")))?;
                }
                _ => return Ok(response),
            }
        }
        Err(failed(format!("stopped after {MAX_REDIRECTS} redirects")))
    }
}

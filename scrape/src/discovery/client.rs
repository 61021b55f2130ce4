//! Requests to discovery APIs: `<http_config>`, redirects, a time limit and a size limit for every answer.
//! Error texts name the URL without its password and never a header.

use super::{Tools, nulls};
use crate::config::{
    DISCOVERY_TIMEOUT_MS, HttpConfig, MAX_DISCOVERY_ANSWER_BYTES, MAX_ERROR_CHARS, MAX_REDIRECTS, redact_url,
};
use crate::fetch::Connector;
use crate::fetch::body::{Body, BodyError};
use crate::fetch::client::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Speaks to one API.
pub struct Client {
    http: HttpConfig,
    unix_socket: Option<PathBuf>,
    user_agent: Arc<str>,
    /// None until the first request: files that it needs may come later than the section.
    connector: Mutex<Option<Arc<Connector>>>,
}

/// One request.
pub struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
    timeout: Duration,
}

/// All of an answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    pub fn get(url: impl Into<String>) -> Call {
        Call::new(Method::GET, url)
    }

    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Call {
        let mut call = Call::new(Method::POST, url);
        call.body = body.into();
        call
    }

    pub fn put(url: impl Into<String>) -> Call {
        Call::new(Method::PUT, url)
    }

    /// A request that somebody else made.
    pub fn of(parts: http::request::Parts, body: Vec<u8>) -> Call {
        let mut call = Call::new(parts.method, parts.uri.to_string());
        (call.headers, call.body) = (parts.headers, body);
        call
    }

    /// The head of the request, for who signs it.
    pub fn parts(self) -> Result<http::request::Parts, String> {
        let mut request = http::Request::builder().method(self.method).uri(self.url);
        if let Some(headers) = request.headers_mut() {
            *headers = self.headers;
        }
        Ok(request.body(()).map_err(|e| e.to_string())?.into_parts().0)
    }

    /// A path becomes a URL of this server.
    pub fn within(mut self, server: &str) -> Call {
        self.url.insert_str(0, server);
        self
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn new(method: Method, url: impl Into<String>) -> Call {
        let timeout = Duration::from_millis(DISCOVERY_TIMEOUT_MS);
        Call { method, url: url.into(), headers: HeaderMap::new(), body: Vec::new(), timeout }
    }

    /// Adds a header; one that no header can carry is left out, and the other side will say what it lacks.
    pub fn header(mut self, name: &'static str, value: &str) -> Call {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Call {
        self.timeout = timeout;
        self
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body of a 2xx answer.
    pub fn success(self) -> Result<Answer, String> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let start: String = String::from_utf8_lossy(&self.body).chars().take(MAX_ERROR_CHARS / 4).collect();
        let reason = StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        let status = format!("server returned HTTP status {} {}", self.status, reason.unwrap_or_default());
        let status = status.trim_end();
        Err(if start.trim().is_empty() { status.to_owned() } else { format!("{status}: {}", start.trim()) })
    }

    /// What is null is read as if it were not there: APIs write it for empty lists and texts, too.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        nulls::from_slice(&self.body).map_err(|error| format!("the answer is not what was expected: {error}"))
    }
}

impl Client {
    pub fn new(http: &HttpConfig, tools: &Tools) -> Client {
        Client {
            http: http.clone(),
            unix_socket: None,
            user_agent: Arc::clone(&tools.user_agent),
            connector: Mutex::default(),
        }
    }

    /// Every connection goes to a Unix socket; the host of a URL is only said.
    pub fn on_socket(mut self, path: PathBuf) -> Client {
        self.unix_socket = Some(path);
        self
    }

    fn connector(&self) -> Result<Arc<Connector>, String> {
        let mut connector = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = &*connector {
            return Ok(Arc::clone(connector));
        }
        let new = Arc::new(Connector::new(self.http.clone(), self.unix_socket.clone())?);
        *connector = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Sends the request and follows redirects; the answer's body is still to be read. Credentials stay with
    /// the first host.
    pub async fn send(&self, call: &Call) -> Result<Response, String> {
        let failed =
            |text: String| format!("{} {:?}: {text}", method_word(&call.method), redact_url(&call.url));
        let connector = self.connector().map_err(failed)?;
        let client = connector.client().map_err(failed)?;
        let private = connector.private().await.map_err(failed)?;
        let first = Url::parse(&call.url).map_err(|e| failed(e.to_string()))?;
        let (mut next, mut method, mut body) = (first.clone(), call.method.clone(), call.body.clone());
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = HeaderMap::new();
            if next.origin() == first.origin() {
                headers.clone_from(&call.headers);
                private.add(&mut headers).map_err(failed)?;
            }
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            let agent = HeaderValue::from_str(&self.user_agent).map_err(|e| failed(e.to_string()))?;
            headers.entry(header::USER_AGENT).or_insert(agent);
            let response = client.send(method.clone(), &next, headers, body.clone()).await.map_err(failed)?;
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            match (location, response.status().as_u16()) {
                (Some(location), code @ (301 | 302 | 303 | 307 | 308)) if connector.follows_redirects() => {
                    if code < 307 && method != Method::GET {
                        method = Method::GET;
                        body.clear();
                    }
                    next = next.join(location).map_err(|e| failed(format!("bad redirect: {e}")))?;
                }
                _ => return Ok(response),
            }
        }
        Err(failed(format!("stopped after {MAX_REDIRECTS} redirects")))
    }

    /// Sends the request and reads all of the answer, within the call's time.
    pub async fn ask(&self, call: Call) -> Result<Answer, String> {
        match tokio::time::timeout(call.timeout, self.exchange(&call)).await {
            Ok(answer) => answer,
            Err(_) => {
                let (method, url) = (method_word(&call.method), redact_url(&call.url));
                Err(format!("{method} {url:?}: no whole answer within {:?}", call.timeout))
            }
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, String> {
        let response = self.send(call).await?;
        let shown = redact_url(&call.url);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response).await.map_err(|e| format!("reading the answer of {shown:?}: {e}"))?;
        Ok(Answer { status, headers, body })
    }

    /// The JSON of a 2xx answer.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, String> {
        let shown = redact_url(&call.url);
        let answer = self.ask(call.header("accept", "application/json")).await?;
        answer.success().and_then(|answer| answer.json()).map_err(|e| format!("{shown:?}: {e}"))
    }
}

fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::POST => "Post",
        Method::PUT => "Put",
        _ => "Get",
    }
}

/// A whole body, decompressed, within the limit.
pub async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let gzip = response.headers().get(header::CONTENT_ENCODING).is_some_and(|e| e == "gzip");
    let mut body = Body::new(Vec::new(), gzip, MAX_DISCOVERY_ANSWER_BYTES);
    let told = |error| match error {
        BodyError::TooLarge => format!("more than {MAX_DISCOVERY_ANSWER_BYTES} bytes"),
        BodyError::Gzip(text) => text,
    };
    while let Some(piece) = response.chunk().await? {
        body.push(&piece).map_err(told)?;
    }
    body.finish().map_err(told)
}

/// `text` for a URL's query or path segment.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A form as a body.
pub fn form(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// `base?a=1&b=2`; pairs with an empty value are left out.
pub fn with_query<'a>(base: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = base.to_owned();
    let mut separator = if base.contains('?') { '&' } else { '?' };
    for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        url.push_str(&format!("{separator}{}={}", escaped(name), escaped(value)));
        separator = '&';
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq, Default)]
    #[serde(default)]
    struct Thing {
        name: String,
        tags: Vec<String>,
        inner: Option<Box<Thing>>,
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let read = |text: &str| {
            Answer { status: 200, headers: HeaderMap::new(), body: text.as_bytes().to_vec() }
                .json::<Vec<Thing>>()
        };
        let inner = Some(Box::new(Thing { tags: vec!["b".into()], ..Thing::default() }));
        assert_eq!(
            read(r#"[{"name": null, "tags": null, "inner": {"name": null, "tags": ["b"], "inner": null}}]"#),
            Ok(vec![Thing { inner, ..Thing::default() }])
        );
        for (text, error) in [
            ("[{\"name\": 1}]", "invalid type: integer"),
            ("[null]", "invalid type: null"),
            ("{", "invalid type: map"),
            ("[{", "EOF"),
        ] {
            assert!(read(text).expect_err(text).contains(error), "{text}");
        }
    }
}

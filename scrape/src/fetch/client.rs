//! The HTTP client that speaks everything: TLS, HTTP/2, proxies, Unix sockets. One for each `<http_config>`; hyper
//! does the protocols and keeps the connections.
//!
//! The name in a TLS greeting, which the certificate must be for, is the configured `server_name` where there is
//! one, wherever the connection goes. Redirects, credentials and limits are the caller's business.

use super::dial::Dialer;
use super::{chain, sensitive, tls};
use crate::config::{HttpConfig, IDLE_CONNECTION_MS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Clones share the connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>,
    dialer: Dialer,
}

/// An answer whose body is still to be read.
pub(crate) struct Response {
    head: http::response::Parts,
    body: Incoming,
}

impl Response {
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The next piece of the body; none at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        while let Some(frame) = self.body.frame().await {
            // Trailers say nothing that anybody here wants to know.
            if let Ok(piece) = frame.map_err(|error| chain(&error))?.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

impl Client {
    pub fn new(http: &HttpConfig, unix_socket: Option<&Path>) -> Result<Client, String> {
        let name = &http.tls_config.server_name;
        let names: Arc<dyn ResolveServerName + Send + Sync> = if name.is_empty() {
            Arc::new(DefaultServerNameResolver::default())
        } else {
            let name = ServerName::try_from(name.clone());
            let name = name
                .map_err(|_| format!("server_name {:?} is not a valid name", http.tls_config.server_name))?;
            Arc::new(FixedServerNameResolver::new(name))
        };
        let dialer = Dialer::new(http, unix_socket, &names)?;
        let tls = tls::client_config(&http.tls_config, http.enable_http2)?;
        let connector = HttpsConnector::new(dialer.clone(), tls, false, names);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_CONNECTION_MS))
            .build(connector);
        Ok(Client { inner, dialer })
    }

    /// Sends a request; a user in the URL goes into the header, where that says nothing else.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Response, String> {
        let mut url = url.clone();
        if !url.username().is_empty() || url.password().is_some() {
            let plain =
                |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let (name, password) = (plain(url.username()), plain(url.password().unwrap_or_default()));
            if !headers.contains_key(AUTHORIZATION) {
                headers.insert(AUTHORIZATION, basic(&name, &password)?);
            }
            // A URL with a host has room for a user, and so can lose it.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        url.set_fragment(None);
        let uri: Uri = url.as_str().parse().map_err(|error| format!("the URL cannot be asked: {error}"))?;
        if let Some(credentials) = self.dialer.plain_proxy_credentials(&uri) {
            headers.insert(PROXY_AUTHORIZATION, credentials);
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(all) = request.headers_mut() {
            *all = headers;
        }
        let request = request.body(Full::new(body.into())).map_err(|error| error.to_string())?;
        let answer = self.inner.request(request).await.map_err(|error| chain(&error))?;
        let (head, body) = answer.into_parts();
        Ok(Response { head, body })
    }
}

/// The value of a header with a name and a password.
pub(crate) fn basic(name: &str, password: &str) -> Result<HeaderValue, String> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))), "basic_auth")
}

#[cfg(test)]
mod tests;

//! Where a connection goes before anything is said on it: straight to the host, to a Unix socket, or through a
//! proxy (HTTP, HTTPS, SOCKS 5), as `<http_config>` wants. Speaks no TLS to the host itself.

use super::{chain, sensitive, tls};
use crate::config::{HttpConfig, redact_url};
use futures_util::future::BoxFuture;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use std::io::{Error, IoSlice};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixStream;
use tower_service::Service;
use url::Url;

/// After this long without a byte a peer is asked whether it is still there, and this often until it is given up.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 3;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the connections of one client.
#[derive(Clone)]
pub(super) struct Dialer {
    straight: HttpConnector,
    unix_socket: Option<Arc<PathBuf>>,
    proxies: Option<Arc<Proxies>>,
}

struct Proxies {
    matcher: Matcher,
    /// To a proxy that is itself spoken to in TLS.
    secure: HttpsConnector<HttpConnector>,
    connect_headers: HeaderMap,
    /// This machine itself is asked without a proxy: always where exceptions are known, as with Prometheus.
    spares_loopback: bool,
}

impl Dialer {
    pub fn new(
        http: &HttpConfig,
        unix_socket: Option<&Path>,
        names: &Arc<dyn ResolveServerName + Send + Sync>,
    ) -> Result<Dialer, String> {
        let mut straight = HttpConnector::new();
        straight.enforce_http(false);
        straight.set_nodelay(true);
        straight.set_keepalive(Some(KEEPALIVE));
        straight.set_keepalive_interval(Some(KEEPALIVE));
        straight.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        let matcher = match http.proxy_url.as_deref().filter(|url| !url.is_empty()) {
            Some(url) => {
                check_proxy(url).map_err(|error| format!("proxy_url {:?}: {error}", redact_url(url)))?;
                Some(Matcher::builder().all(url).no(http.no_proxy.as_str()).build())
            }
            None => http.proxy_from_environment.then(Matcher::from_env),
        };
        let proxies = match matcher {
            Some(matcher) => {
                // Proxies are spoken to in HTTP/1.1.
                let tls = tls::client_config(&http.tls_config, false)?;
                let secure = HttpsConnector::new(straight.clone(), tls, false, Arc::clone(names));
                let connect_headers = connect_headers(http)?;
                let spares_loopback = http.proxy_from_environment || !http.no_proxy.is_empty();
                Some(Arc::new(Proxies { matcher, secure, connect_headers, spares_loopback }))
            }
            None => None,
        };
        let unix_socket = unix_socket.map(|path| Arc::new(path.to_owned()));
        Ok(Dialer { straight, unix_socket, proxies })
    }

    fn proxy(&self, uri: &Uri) -> Option<(Arc<Proxies>, Intercept)> {
        let proxies = self.proxies.as_ref().filter(|_| self.unix_socket.is_none())?;
        if proxies.spares_loopback && uri.host().is_some_and(is_loopback) {
            return None;
        }
        Some((Arc::clone(proxies), proxies.matcher.intercept(uri)?))
    }

    /// What a proxy wants to see with every request that it passes on in plain text.
    pub fn plain_proxy_credentials(&self, uri: &Uri) -> Option<HeaderValue> {
        self.proxy(uri)
            .filter(|_| uri.scheme_str() == Some("http"))
            .and_then(|(_, proxy)| proxy.basic_auth().cloned())
    }

    async fn dial(mut self, to: Uri) -> Result<Stream, BoxError> {
        if let Some(path) = &self.unix_socket {
            return Ok(Stream::new(TokioIo::new(UnixStream::connect(path.as_path()).await?)));
        }
        let Some((proxies, proxy)) = self.proxy(&to) else {
            return Ok(Stream::new(self.straight.call(to).await?));
        };
        let at = proxy.uri().clone();
        if let Some(kind @ ("socks5" | "socks5h")) = at.scheme_str() {
            let mut socks = SocksV5::new(at.clone(), self.straight).local_dns(kind == "socks5");
            if let Some((name, password)) = proxy.raw_auth() {
                socks = socks.with_auth(name.to_owned(), password.to_owned());
            }
            return Ok(Stream::new(socks.call(to).await.map_err(|error| told(&at, &error))?));
        }
        let mut secure = proxies.secure.clone();
        if to.scheme_str() == Some("http") {
            let stream = secure.call(at.clone()).await.map_err(|error| told(&at, &*error))?;
            return Ok(Stream { proxied: true, ..Stream::new(stream) });
        }
        let mut tunnel = Tunnel::new(at.clone(), secure).with_headers(proxies.connect_headers.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        Ok(Stream::new(tunnel.call(to).await.map_err(|error| told(&at, &error))?))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn told(proxy: &Uri, error: &dyn std::error::Error) -> BoxError {
    format!("proxy {}: {}", redact_url(&proxy.to_string()), chain(error)).into()
}

fn check_proxy(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" if url.has_host() => Ok(()),
        "http" | "https" | "socks5" | "socks5h" => Err("it names no host".into()),
        other => Err(format!("{other:?} is no kind of proxy: http, https, socks5 and socks5h are")),
    }
}

/// `proxy_connect_header`: what the proxy is told when it is asked for a tunnel.
fn connect_headers(http: &HttpConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in &http.proxy_connect_header {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("header {name:?}: {e}"))?;
        for value in values {
            headers.append(key.clone(), sensitive(value.reveal(), name)?);
        }
    }
    Ok(headers)
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.straight.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().dial(to))
    }
}

trait Io: Read + Write + Connection + Send + Unpin {}

impl<T: Read + Write + Connection + Send + Unpin> Io for T {}

/// Bytes to and from the other side, whatever lies between.
pub(super) struct Stream {
    io: Box<dyn Io>,
    /// A proxy takes requests for other hosts on it.
    proxied: bool,
}

impl Stream {
    fn new(io: impl Io + 'static) -> Stream {
        Stream { io: Box::new(io), proxied: false }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut *self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut *self.io).poll_write_vectored(context, slices)
    }
}

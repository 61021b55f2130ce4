//! Against real servers on the loopback: what they see of a greeting, and what goes through proxies.

use super::*;
use crate::config::{OAuth2, Secret, TlsConfig};
use crate::discovery::TargetGroup;
use crate::fetch::{Asked, Fetcher};
use crate::target::{Found, find};
use crate::testing::{Answer, config, target};
use hearth_model::Labels;
use http::Response as Answered;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, CertifiedKey, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What servers saw: names of greetings, and what was asked.
type Seen = Arc<Mutex<Vec<String>>>;

struct TlsServer {
    address: String,
    seen: Seen,
    /// In PEM: who signed the server's certificate, and a certificate and key of a client.
    ca: String,
    client: (String, String),
}

/// Serves with a certificate for these names; the name of each greeting and `{protocol} {host} {path}` of each
/// request are seen, and answered with what `answer` makes of the request's head. Clients need a certificate where that is wanted.
async fn tls_server(
    names: &[&str],
    client_certificates: bool,
    answer: impl Fn(&http::request::Parts) -> String + Send + Sync + 'static,
) -> TlsServer {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = Issuer::new(authority, authority_key);
    let signed = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let signing_key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        CertifiedKey { cert: params.signed_by(&signing_key, &issuer).expect("signed"), signing_key }
    };
    let (own, client) = (signed(names), signed(&["client.test"]));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = if client_certificates {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.der().clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut config = builder.with_single_cert(vec![own.cert.der().clone()], key).expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let seen = Seen::default();
    let (acceptor, told, answer) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, told, answer) = (acceptor.clone(), Arc::clone(&told), Arc::clone(&answer));
            tokio::spawn(serve(acceptor, socket, told, move |head| answer(head)));
        }
    });
    let client = (client.cert.pem(), client.signing_key.serialize_pem());
    TlsServer { address, seen, ca: root.pem(), client }
}

async fn serve(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    seen: Seen,
    answer: impl Fn(&http::request::Parts) -> String,
) {
    let Ok(start) = tokio_rustls::LazyConfigAcceptor::new(Default::default(), socket).await else { return };
    let name = start.client_hello().server_name().unwrap_or("-").to_owned();
    // Before the handshake goes on, so that nobody can have failed by then.
    seen.lock().expect("lock").push(format!("greeted as {name}"));
    let Ok(stream) = start.into_stream(Arc::clone(acceptor.config())).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let (head, _) = request.into_parts();
        let host = head.headers.get("host").and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default();
        seen.lock().expect("lock").push(format!("{:?} {host} {}", head.version, head.uri.path()));
        let answer = Answered::builder()
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(answer(&head))));
        async { Ok::<_, Infallible>(answer.expect("an answer")) }
    });
    // A client may hang up whenever it likes.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn plain_server() -> TlsServer {
    tls_server(&["metrics.test"], false, |_| "up 1\n".into()).await
}

fn with(tls_config: TlsConfig) -> HttpConfig {
    HttpConfig { tls_config, ..HttpConfig::default() }
}

impl TlsServer {
    fn named(&self, name: &str) -> TlsConfig {
        TlsConfig { ca: self.ca.clone(), server_name: name.into(), ..TlsConfig::default() }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("lock"))
    }

    /// The address's port behind another host.
    fn at(&self, host: &str) -> String {
        self.address.replace("127.0.0.1", host)
    }
}

async fn get(http: &HttpConfig, url: &str) -> Result<String, String> {
    let client = Client::new(http, None)?;
    let url = Url::parse(url).expect("a URL");
    let mut answer = client.send(Method::GET, &url, HeaderMap::new(), Vec::new()).await?;
    let mut text = String::new();
    while let Some(piece) = answer.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    Ok(text)
}

#[tokio::test]
async fn the_configured_name_is_greeted_with_and_checked_at_the_targets_address() {
    let server = plain_server().await;
    let url = format!("https://{}/metrics", server.address);
    let address = &server.address;
    assert_eq!(get(&with(server.named("metrics.test")), &url).await.expect("an answer"), "up 1\n");
    assert_eq!(server.seen(), ["greeted as metrics.test".to_owned(), format!("HTTP/2.0 {address} /metrics")]);
    let old = HttpConfig { enable_http2: false, ..with(server.named("metrics.test")) };
    get(&old, &url).await.expect("an answer");
    assert_eq!(server.seen(), ["greeted as metrics.test".to_owned(), format!("HTTP/1.1 {address} /metrics")]);

    // Another name is said, too, and what the server shows is then not for it.
    let error = get(&with(server.named("other.test")), &url).await.expect_err("another name");
    assert!(error.contains("certificate not valid for name \"other.test\""), "{error}");
    assert_eq!(server.seen(), ["greeted as other.test"]);
    // Without a name the address must be in the certificate; addresses are never said.
    let error = get(&with(server.named("")), &url).await.expect_err("no name");
    assert!(error.contains("certificate not valid for name \"127.0.0.1\""), "{error}");
    assert_eq!(server.seen(), ["greeted as -"]);
    // Where nothing is checked, the name is said all the same.
    let careless = TlsConfig { insecure_skip_verify: true, ca: String::new(), ..server.named("other.test") };
    get(&with(careless), &url).await.expect("an answer");
    assert_eq!(server.seen(), ["greeted as other.test".to_owned(), format!("HTTP/2.0 {address} /metrics")]);
    let error = get(&with(server.named("not a name")), &url).await.expect_err("no name");
    assert_eq!(error, "server_name \"not a name\" is not a valid name");
}

#[tokio::test]
async fn the_hosts_own_name_is_greeted_with_where_none_is_configured() {
    let server = tls_server(&["localhost", "127.0.0.1"], false, |_| String::new()).await;
    for (host, name) in [("localhost", "localhost"), ("127.0.0.1", "-")] {
        get(&with(server.named("")), &format!("https://{}/", server.at(host))).await.expect("an answer");
        assert_eq!(server.seen(), [format!("greeted as {name}"), format!("HTTP/2.0 {} /", server.at(host))]);
    }
}

#[tokio::test]
async fn certificates_of_clients_are_shown() {
    let server = tls_server(&["metrics.test"], true, |_| "up 1\n".into()).await;
    let url = format!("https://{}/", server.address);
    assert!(get(&with(server.named("metrics.test")), &url).await.is_err());
    let (cert, key) = server.client.clone();
    let tls = TlsConfig { cert, key: Secret::new(key), ..server.named("metrics.test") };
    assert_eq!(get(&with(tls), &url).await.expect("an answer"), "up 1\n");
}

#[tokio::test]
async fn scrapes_greet_with_the_name() {
    let server = plain_server().await;
    let tls = format!("{{server_name: metrics.test, ca: {:?}}}", server.ca);
    let config = config(&format!("scheme: https\ntls_config: {tls}"), "");
    let labels = Labels::from_pairs([("__address__", server.address.as_str())]);
    let Ok(Found::Active(target)) = find(&config, &[], &labels, &TargetGroup::default()) else {
        panic!("no target");
    };
    let fetcher = Fetcher::new(&config, "Hearth/test").expect("a fetcher");
    let fetched = fetcher.fetch(&mut Asked::new(&target), Vec::new()).await.expect("a page");
    assert_eq!(fetched.body(), b"up 1\n");
    assert_eq!(
        server.seen(),
        ["greeted as metrics.test".to_owned(), format!("HTTP/2.0 {} /metrics", server.address)]
    );
}

#[tokio::test]
async fn discovery_greets_with_the_name() {
    let server = tls_server(&["api.test"], false, |_| "[{\"targets\": [\"a:1\"]}]".into()).await;
    let yaml = format!(
        "{{url: 'https://{}/sd', tls_config: {{server_name: api.test, ca: {:?}}}}}",
        server.address, server.ca
    );
    assert_eq!(crate::testing::found("http", &yaml).await.len(), 1);
    assert_eq!(server.seen(), ["greeted as api.test".to_owned(), format!("HTTP/2.0 {} /sd", server.address)]);
}

#[tokio::test]
async fn tokens_are_asked_for_with_their_own_name() {
    let tokens = tls_server(&["tokens.test"], false, |_| {
        "{\"access_token\": \"t\", \"token_type\": \"bearer\"}".into()
    })
    .await;
    let oauth2 = OAuth2 {
        client_id: "me".into(),
        client_secret: Secret::new("secret"),
        token_url: format!("https://{}/token", tokens.address),
        tls_config: tokens.named("tokens.test"),
        ..OAuth2::default()
    };
    let held = crate::fetch::oauth2::Tokens::new(oauth2).expect("a configuration");
    let mut headers = HeaderMap::new();
    held.authorize(&mut headers).await.expect("a token");
    assert_eq!(headers[AUTHORIZATION], "Bearer t");
    assert_eq!(
        tokens.seen(),
        ["greeted as tokens.test".to_owned(), format!("HTTP/2.0 {} /token", tokens.address)]
    );
}

/// A proxy that makes tunnels, and what it was asked.
async fn tunnel() -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let seen = Seen::default();
    let shown = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a head"));
            }
            let head = String::from_utf8(head).expect("text");
            let to = head.split(' ').nth(1).expect("a host").to_owned();
            shown.lock().expect("lock").push(head.to_lowercase());
            let mut other = TcpStream::connect(to).await.expect("the host");
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
            tokio::spawn(async move { copy_bidirectional(&mut socket, &mut other).await });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn tunnels_go_to_the_address_and_the_greeting_says_the_name() {
    let server = plain_server().await;
    let (proxy, asked) = tunnel().await;
    let http = HttpConfig {
        proxy_url: Some(format!("http://user:pass@{proxy}")),
        proxy_connect_header: [("X-Team".into(), vec![Secret::new("a"), Secret::new("b")])].into(),
        ..with(server.named("metrics.test"))
    };
    let url = format!("https://{}/metrics", server.address);
    assert_eq!(get(&http, &url).await.expect("an answer"), "up 1\n");
    assert_eq!(
        server.seen(),
        ["greeted as metrics.test".to_owned(), format!("HTTP/2.0 {} /metrics", server.address)]
    );
    let head = asked.lock().expect("lock").remove(0);
    assert!(head.starts_with(&format!("connect {} http/1.1\r\n", server.address)), "{head}");
    for line in ["proxy-authorization: basic dxnlcjpwyxnz\r\n", "x-team: a\r\n", "x-team: b\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    // With exceptions of any kind, this machine is one.
    for exceptions in ["127.0.0.0/8", "else.test"] {
        let around = HttpConfig { no_proxy: exceptions.into(), ..http.clone() };
        get(&around, &url).await.expect("an answer");
        assert!(asked.lock().expect("lock").is_empty());
    }
}

#[tokio::test]
async fn proxies_of_plain_requests_get_all_of_the_url() {
    let (proxy, asked) = target(vec![Answer::text("up 1\n")]).await;
    let http = HttpConfig { proxy_url: Some(format!("http://user:pass@{proxy}/")), ..HttpConfig::default() };
    assert_eq!(get(&http, "http://h.test:81/metrics?a=b").await.expect("an answer"), "up 1\n");
    let head = asked.lock().expect("lock").remove(0).to_lowercase();
    assert!(head.starts_with("get http://h.test:81/metrics?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("host: h.test:81\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
}

#[tokio::test]
async fn socks_goes_to_the_address_or_leaves_the_name_to_the_proxy() {
    let server = plain_server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let proxy = listener.local_addr().expect("address").to_string();
    let (seen, port) = (Seen::default(), server.address.rsplit(':').next().expect("a port").to_owned());
    let shown = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = [0; 2];
            socket.read_exact(&mut bytes).await.expect("methods");
            let mut methods = vec![0; bytes[1].into()];
            socket.read_exact(&mut methods).await.expect("methods");
            socket.write_all(&[5, 0]).await.expect("no credentials");
            let mut asked = [0; 4];
            socket.read_exact(&mut asked).await.expect("a request");
            let mut host = match asked[3] {
                1 => vec![0; 4],
                _ => vec![0; socket.read_u8().await.expect("a length").into()],
            };
            socket.read_exact(&mut host).await.expect("a host");
            socket.read_u16().await.expect("a port");
            shown.lock().expect("lock").push(format!("{host:?}"));
            let mut other = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("the host");
            socket.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await.expect("an answer");
            tokio::spawn(async move { copy_bidirectional(&mut socket, &mut other).await });
        }
    });
    for (scheme, host, asked) in [
        ("socks5", "127.0.0.1", format!("{:?}", [127, 0, 0, 1])),
        ("socks5h", "h.test", format!("{:?}", b"h.test")),
    ] {
        let http = HttpConfig {
            proxy_url: Some(format!("{scheme}://{proxy}")),
            ..with(server.named("metrics.test"))
        };
        get(&http, &format!("https://{}/", server.at(host))).await.expect("an answer");
        assert_eq!(
            server.seen(),
            ["greeted as metrics.test".to_owned(), format!("HTTP/2.0 {} /", server.at(host))]
        );
        assert_eq!(seen.lock().expect("lock").remove(0), asked);
    }
    for (url, why) in
        [("ftp://p.test", "no kind of proxy"), ("p.test:80", "no kind of proxy"), ("http://", "host")]
    {
        let http = HttpConfig { proxy_url: Some(url.into()), ..HttpConfig::default() };
        let error = Client::new(&http, None).err().expect("no proxy");
        assert!(error.contains(why), "{url}: {error}");
    }
}

#[tokio::test]
async fn users_of_urls_become_headers() {
    let (address, asked) = target(vec![Answer::text("")]).await;
    get(&HttpConfig::default(), &format!("http://me:p%40ss@{address}/x#part")).await.expect("an answer");
    let head = asked.lock().expect("lock").remove(0);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: basic bwu6cebzcw==\r\n"), "{head}");
}

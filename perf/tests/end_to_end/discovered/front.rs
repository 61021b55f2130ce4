//! The public network inside a test: an address that is a proxy (`CONNECT`) to every host, a server in TLS and a plain one at
//! once, with certificates of an authority of its own. Behind it stands one handler, which tells hosts apart by their name.
//! Serves nothing of its own.

use super::api::{Handle, accept, converse};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Error, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a handshake in TLS begins with; no request does.
const HANDSHAKE: u8 = 22;

/// Where everything of that network is found.
pub struct Front {
    /// Of the proxy, and of both servers.
    pub address: String,
    /// Who certifies all hosts, in PEM.
    pub authority: PathBuf,
}

impl Front {
    /// `hosts` are all that there are; `127.0.0.1` is one of them.
    pub fn start(folder: &Path, hosts: &[&str], handle: impl Handle) -> Front {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("an authority");
        let authority = folder.join("authority.pem");
        std::fs::write(&authority, issuer.pem()).expect("a file");

        let names: Vec<String> = hosts.iter().chain(&["127.0.0.1"]).map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(names).expect("names of hosts");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate").der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key));
        let config = Arc::new(config.expect("a certificate and its key"));
        let address = accept(move |mut connection| {
            let mut first = [0];
            connection.peek(&mut first)?;
            if first == *b"C" {
                tunnel(&mut connection)?;
            } else if first != [HANDSHAKE] {
                return converse(connection, &handle);
            }
            let session = ServerConnection::new(Arc::clone(&config)).map_err(Error::other)?;
            converse(StreamOwned::new(session, connection), &handle)
        });
        Front { address, authority }
    }

    /// What `<http_config>` needs to come here, inside a map.
    pub fn http(&self) -> String {
        format!(
            "proxy_url: 'http://{}', tls_config: {{ca_file: '{}'}}",
            self.address,
            self.authority.display()
        )
    }
}

/// Says that the connection leads to a host, whichever was asked for.
fn tunnel(connection: &mut TcpStream) -> Result<(), Error> {
    // Nobody greets the host before the proxy has answered, so that nothing is read too far.
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    connection.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
}

//! TLS towards targets: what `tls_config` says, as a rustls configuration. ring does the arithmetic. The name that
//! a certificate must be for is the client's business.

use super::read_secret_file;
use crate::config::TlsConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version};
use std::sync::{Arc, OnceLock};

/// The machine's trusted roots, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "cannot read a trusted root certificate of this machine");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    }))
}

/// Inline text, or the content of a file; none where neither is set.
fn pem(inline: &str, file: &str) -> Result<Option<Vec<u8>>, String> {
    match (inline, file) {
        ("", "") => Ok(None),
        ("", file) => read_secret_file(file).map(Some),
        (inline, _) => Ok(Some(inline.as_bytes().to_vec())),
    }
}

fn certificates(bytes: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match parsed {
        Ok(list) if list.is_empty() => Err(format!("{what} holds no certificate")),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("{what}: {error:?}")),
    }
}

fn roots(tls: &TlsConfig) -> Result<Arc<RootCertStore>, String> {
    let Some(bytes) = pem(&tls.ca, &tls.ca_file)? else { return Ok(system_roots()) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&bytes, "the CA")? {
        roots.add(certificate).map_err(|e| format!("the CA: {e}"))?;
    }
    Ok(Arc::new(roots))
}

/// Versions between the two bounds, oldest first.
fn versions(tls: &TlsConfig) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
    let number = |name: &str, default| match name {
        "TLS10" => 10,
        "TLS11" => 11,
        "TLS12" => 12,
        "TLS13" => 13,
        _ => default,
    };
    let (low, high) = (number(&tls.min_version, 12), number(&tls.max_version, 13));
    let known = [(12, &version::TLS12), (13, &version::TLS13)];
    let chosen: Vec<_> =
        known.into_iter().filter(|(n, _)| (low..=high).contains(n)).map(|(_, v)| v).collect();
    if chosen.is_empty() {
        Err("no TLS version is left between min_version and max_version".into())
    } else {
        Ok(chosen)
    }
}

/// The client's side of every handshake with this configuration.
pub fn client_config(tls: &TlsConfig, http2: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)
        .map_err(|e| e.to_string())?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerifier { provider }))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let certificate = pem(&tls.cert, &tls.cert_file)?;
    let key = pem(tls.key.reveal(), &tls.key_file)?;
    let mut config = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| format!("the client key: {e:?}"))?;
            builder
                .with_client_auth_cert(certificates(&certificate, "the client certificate")?, key)
                .map_err(|e| format!("the client certificate: {e}"))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols =
        if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

/// `insecure_skip_verify`: any certificate will do. The handshake's signatures are still checked.
#[derive(Debug)]
struct NoVerifier {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

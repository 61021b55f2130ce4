//! Signatures with RSA keys in PEM, as several clouds want them.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

pub fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn key_pair(pem: &str) -> Result<RsaKeyPair, String> {
    if pem.contains("ENCRYPTED") {
        return Err("the private key is encrypted: only a key without a passphrase can be used here".into());
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| format!("the private key: {e:?}"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("the private key is no RSA key".into()),
    };
    pair.map_err(|e| format!("the private key: {e}"))
}

fn sign(pem: &str, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, String> {
    let pair = key_pair(pem)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .map_err(|e| format!("signing: {e}"))?;
    Ok(signature)
}

/// PKCS#1 v1.5 over SHA-256.
pub fn rsa_sha256(pem: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    sign(pem, &RSA_PKCS1_SHA256, message)
}

/// PKCS#1 v1.5 over SHA-512.
pub fn rsa_sha512(pem: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    sign(pem, &RSA_PKCS1_SHA512, message)
}

/// The public half of a private key, as certificates carry it (RFC 5280's SubjectPublicKeyInfo, in DER).
pub fn public_key(pem: &str) -> Result<Vec<u8>, String> {
    // The algorithm: rsaEncryption, without parameters.
    const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let tagged = |tag: u8, content: &[u8]| {
        let length = content.len().to_be_bytes();
        let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        let mut out = vec![tag];
        match content.len() {
            short @ ..128 => out.push(short as u8),
            _ => {
                out.push(0x80 | length.len() as u8);
                out.extend(length);
            }
        }
        out.extend_from_slice(content);
        out
    };
    let pair = key_pair(pem)?;
    let bits = tagged(3, &[&[0], pair.public_key().as_ref()].concat());
    Ok(tagged(0x30, &[&RSA[..], &bits].concat()))
}

/// A key for tests alone.
#[cfg(test)]
pub const TEST_KEY: &str = include_str!("test-key.pem");

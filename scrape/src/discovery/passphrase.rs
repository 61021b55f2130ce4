//! Private keys with a passphrase: PKCS #8 (PBES2, RFC 8018) as OpenSSL writes it today, and the traditional PEM of
//! older versions (`Proc-Type: 4,ENCRYPTED`). What comes out is the same key in PEM without one; it is never logged.

use crate::config::{MAX_KEY_ITERATIONS, MAX_KEY_SCRYPT_BYTES};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use md5::{Digest, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;

const WRONG: &str = "the private key cannot be decrypted: the passphrase is wrong, or the file is damaged";

/// The key in PEM without a passphrase; one that has none comes back as it is.
pub fn unlocked(pem: &str, passphrase: &str) -> Result<String, String> {
    let Some((label, block)) = encrypted_block(pem) else { return Ok(pem.to_owned()) };
    if passphrase.is_empty() {
        return Err("the private key is encrypted, and no key_passphrase is configured".into());
    }
    let (headers, body) = match block.trim_start().split_once("\n\n") {
        Some(parts) if label != PKCS8 => parts,
        _ => ("", block),
    };
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = BASE64.decode(body).map_err(|error| format!("the private key is no PEM: {error}"))?;
    if label == PKCS8 {
        let der = pkcs8(&bytes, passphrase)?;
        return Ok(armoured("PRIVATE KEY", &der));
    }
    Ok(armoured(label, &traditional(headers, bytes, passphrase)?))
}

const PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// The first block that is encrypted: its label, and what is between its armour.
fn encrypted_block(pem: &str) -> Option<(&str, &str)> {
    let mut rest = pem;
    loop {
        let (label, after) = rest.split_once("-----BEGIN ")?.1.split_once("-----")?;
        let (block, next) = after.split_once("-----END ")?;
        if label == PKCS8 || (label.ends_with("PRIVATE KEY") && block.contains("4,ENCRYPTED")) {
            return Some((label, block));
        }
        rest = next;
    }
}

fn pkcs8(bytes: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
    let key = EncryptedPrivateKeyInfoRef::try_from(bytes)
        .map_err(|error| format!("the private key is no encrypted PKCS #8: {error}"))?;
    let EncryptionScheme::Pbes2(scheme) = &key.encryption_algorithm else {
        return Err(
            "the private key is encrypted by an old scheme (PKCS #5 v1): write it anew with PBES2".into()
        );
    };
    let dear = match &scheme.kdf {
        Kdf::Pbkdf2(params) => params.iteration_count > MAX_KEY_ITERATIONS,
        Kdf::Scrypt(params) => {
            // RFC 7914: 128 * r * N bytes, filled p times.
            let bytes = 128 * u64::from(params.block_size) * u64::from(params.parallelization);
            bytes.saturating_mul(params.cost_parameter) > MAX_KEY_SCRYPT_BYTES
        }
        _ => false,
    };
    if dear {
        return Err(format!(
            "the private key asks for more work than is done: {MAX_KEY_ITERATIONS} rounds of PBKDF2 or \
             {MAX_KEY_SCRYPT_BYTES} bytes of scrypt"
        ));
    }
    key.decrypt(passphrase).map(|key| key.as_bytes().to_vec()).map_err(|_| WRONG.to_owned())
}

/// OpenSSL's own scheme: the key is MD5 over the passphrase and the first eight bytes of the initial vector, again and
/// again with the sum before.
fn traditional(headers: &str, mut bytes: Vec<u8>, passphrase: &str) -> Result<Vec<u8>, String> {
    let how = headers.lines().find_map(|line| line.strip_prefix("DEK-Info:"));
    let how = how.ok_or("the private key is encrypted, but does not say how")?;
    let (cipher, vector) =
        how.trim().split_once(',').ok_or("the private key has a DEK-Info without a vector")?;
    let vector =
        hex(vector).ok_or("the private key has a DEK-Info with a vector that is no hexadecimal number")?;
    let key = |length: usize| {
        let (mut key, mut sum) = (Vec::new(), Vec::new());
        while key.len() < length {
            let salt = &vector[..vector.len().min(8)];
            sum =
                Md5::new().chain_update(&sum).chain_update(passphrase).chain_update(salt).finalize().to_vec();
            key.extend_from_slice(&sum);
        }
        key.truncate(length);
        key
    };
    macro_rules! decrypt {
        ($cipher:ty, $length:literal) => {
            cbc::Decryptor::<$cipher>::new_from_slices(&key($length), &vector)
                .map_err(|_| "the private key has a DEK-Info whose vector has the wrong length")?
                .decrypt_padded::<Pkcs7>(&mut bytes)
                .map(<[u8]>::to_vec)
                .map_err(|_| WRONG.to_owned())
        };
    }
    match cipher.trim() {
        "AES-128-CBC" => decrypt!(aes::Aes128, 16),
        "AES-192-CBC" => decrypt!(aes::Aes192, 24),
        "AES-256-CBC" => decrypt!(aes::Aes256, 32),
        "DES-EDE3-CBC" => decrypt!(des::TdesEde3, 24),
        other => Err(format!("the private key is encrypted with {other:?}: write it anew with AES-256-CBC")),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

fn armoured(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in BASE64.encode(der).as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::signature::{TEST_KEY, public_key};

    /// The key of the tests, encrypted in every way that is read, with the passphrase `s e cret`.
    const KEYS: &str = include_str!("passphrase/keys.pem");

    fn keys() -> impl Iterator<Item = (&'static str, String)> {
        KEYS.split_inclusive("PRIVATE KEY-----\n")
            .collect::<Vec<_>>()
            .chunks(2)
            .map(<[&str]>::concat)
            .map(|block| {
                let name = KEYS.lines().find(|line| block.starts_with(*line)).expect("a name");
                (name, block)
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn keys_are_unlocked_by_their_passphrase_alone() {
        let public = public_key(TEST_KEY).expect("a key");
        let mut count = 0;
        for (name, pem) in keys() {
            let found = unlocked(&pem, "s e cret").unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(public_key(&found).as_ref(), Ok(&public), "{name}");
            assert!(unlocked(&pem, "").expect_err(name).contains("no key_passphrase"), "{name}");
            // One padding in 256 fits by chance: then the key itself is nonsense.
            let wrong = unlocked(&pem, "wrong").and_then(|pem| public_key(&pem));
            assert!(wrong.is_err(), "{name}");
            count += 1;
        }
        assert_eq!(count, 7);
        assert_eq!(unlocked(TEST_KEY, "unused").as_deref(), Ok(TEST_KEY));
    }

    #[test]
    fn a_key_file_costs_no_more_than_its_limit() {
        let of_scrypt = |pem: &String| {
            let der = BASE64.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
            // r = 8 and p = 1, one behind the other.
            let at = der.as_ref().ok()?.windows(6).position(|part| part == [2, 1, 8, 2, 1, 1])?;
            Some((der.ok()?, at))
        };
        let keys = keys().map(|(_, block)| block[block.find("-----BEGIN").expect("a block")..].to_owned());
        let (mut der, at) =
            keys.filter(|pem| pem.contains(PKCS8)).find_map(|pem| of_scrypt(&pem)).expect("one");
        assert!(unlocked(&armoured(PKCS8, &der), "s e cret").is_ok());
        der[at + 5] = 127;
        let error = unlocked(&armoured(PKCS8, &der), "s e cret").expect_err("2 GiB");
        assert!(error.contains("more work than is done"), "{error}");
    }

    #[test]
    fn damaged_keys_are_errors() {
        let traditional = keys().find(|(name, _)| name.contains("Traditional")).expect("one").1;
        for (from, to, error) in [
            ("AES-128-CBC", "RC2-64-CBC", "encrypted with \"RC2-64-CBC\""),
            ("AES-128-CBC,", "AES-128-CBC", "without a vector"),
            ("AES-128-CBC,", "AES-128-CBC,xy", "no hexadecimal number"),
            ("AES-128-CBC,", "AES-128-CBC,00", "wrong length"),
            ("DEK-Info", "Else", "does not say how"),
        ] {
            let pem = traditional.replace(from, to);
            let found = unlocked(&pem, "s e cret").expect_err(to);
            assert!(found.contains(error), "{found}");
        }
        let block = |body: &str| format!("-----BEGIN {PKCS8}-----\n{body}\n-----END {PKCS8}-----\n");
        assert!(unlocked(&block("*"), "p").expect_err("no base64").contains("no PEM"));
        assert!(unlocked(&block("MAA="), "p").expect_err("no key").contains("no encrypted PKCS #8"));
    }
}

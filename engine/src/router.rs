//! Who owns a series: its key's hash, and the shard that follows from it. Decided by the key and the data
//! directory alone, so that a series lives in exactly one shard, for ever.

use twox_hash::XxHash3_128;

/// Bytes of secret that XXH3 takes.
const SECRET_BYTES: usize = 192;

/// Hashes keys under a data directory's seed: nobody who sends keys can foresee where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    secret: [u8; SECRET_BYTES],
    shards: usize,
}

impl Router {
    /// `shards` is a power of two.
    pub fn new(seed: u64, shards: usize) -> Router {
        assert!(shards.is_power_of_two());
        Router { secret: xxhash_rust::const_xxh3::const_custom_default_secret(seed), shards }
    }

    /// The key's identity. The lower half is for tables inside a shard.
    pub fn hash(&self, key: &[u8]) -> u128 {
        let Ok(hash) = XxHash3_128::oneshot_with_secret(&self.secret, key) else {
            unreachable!("a secret of {SECRET_BYTES} bytes is long enough")
        };
        hash
    }

    pub fn shard(&self, hash: u128) -> usize {
        (hash >> 64) as usize & (self.shards - 1)
    }

    pub fn shards(&self) -> usize {
        self.shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_goes_the_same_way_in_every_release() {
        // These numbers are part of the format: they must not change with a library or a machine.
        let router = Router::new(0x00d1_ce5e_ed00_0001, 8);
        let long = "x".repeat(500);
        let shards = ["", "up", "a key of a length in between", &long]
            .map(|k| router.shard(router.hash(k.as_bytes())));
        assert_eq!(shards, SHARDS);
        assert_eq!(router.hash(b"up"), UP);
        assert_ne!(Router::new(2, 8).hash(b"up"), UP);
    }

    #[test]
    fn all_machines_hash_alike() {
        let router = Router::new(7, 1);
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(2_000).collect();
        for length in (0..600).chain([1_023, 1_024, 1_025, 2_000]) {
            let plain = xxhash_rust::xxh3::xxh3_128_with_secret(&text[..length], &router.secret);
            assert_eq!(router.hash(&text[..length]), plain, "{length} bytes");
        }
    }

    const SHARDS: [usize; 4] = [5, 6, 6, 7];
    const UP: u128 = 21874007501440635755156248485972690172;
}

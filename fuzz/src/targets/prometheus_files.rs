//! Prometheus' small files: a block's description and tombstones, mapped chunks of the head, a chunk in its frame.

use hearth_engine::prometheus::meta::Meta;
use hearth_engine::prometheus::ulid::Ulid;
use hearth_engine::prometheus::{chunks, head_chunks, tombstones};

pub fn run(data: &[u8]) {
    if let Ok(meta) = Meta::parse(data) {
        assert_eq!(Meta::parse(&meta.print()), Ok(meta), "a description reads back");
    }
    if let Ok(stones) = tombstones::parse(data) {
        assert_eq!(tombstones::parse(&tombstones::print(&stones)), Ok(stones), "tombstones read back");
    }
    if let Ok(ulid) = String::from_utf8_lossy(data).parse::<Ulid>() {
        assert_eq!(ulid.to_string().parse(), Ok(ulid), "a name reads back");
    }
    let mut seen = 0;
    if let Err((offset, _)) = head_chunks::read(data, |chunk| seen += chunk.data.len()) {
        assert!(offset <= data.len() as u64);
    }
    assert!(seen <= data.len());
    if let Ok((_, inner, length)) = chunks::read(data) {
        assert!(inner.len() < length && length <= data.len());
    }
}

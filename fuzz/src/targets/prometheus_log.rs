//! Prometheus' log: a segment's records, and the bytes as a record of their own.

use hearth_engine::prometheus::record;
use hearth_engine::prometheus::wal::Unpacker;

pub fn run(data: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut entries = 0;
        // A record that does not fit together is refused from there on.
        let _ = record::read(bytes, |_| entries += 1);
        assert!(entries <= bytes.len(), "an entry takes a byte at least");
    };
    read(data);
    Unpacker::default().read(data, read, |damage| assert!(damage.offset <= data.len() as u64));
}

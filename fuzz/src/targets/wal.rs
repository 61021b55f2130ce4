//! The log's frames and records: any bytes may be on a disk.

use hearth_engine::wal::frame::{self, Next};
use hearth_engine::wal::record::{Record, RecordReader};

fn records(payload: &[u8]) {
    for record in RecordReader::new(payload) {
        let entries = match record {
            Ok(Record::Samples(samples)) => samples.count(),
            Ok(Record::Strings(strings)) => strings.count(),
            Ok(Record::Row(row)) => row.pairs().count() + row.closed().count(),
            _ => continue,
        };
        assert!(entries <= payload.len(), "an entry takes a byte at least");
    }
}

/// Frames, stepping over damage, always forward; and the bytes as a payload of their own, because chance
/// does not find a checksum.
pub fn run(data: &[u8]) {
    let mut at = 0;
    loop {
        let before = at;
        match frame::next(data, at) {
            Next::Frame(frame) => {
                records(frame.payload);
                at = frame.end;
            }
            Next::Damage { resume: Some(resume) } => at = resume,
            Next::Damage { resume: None } | Next::End => break,
        }
        assert!(at > before && at <= data.len());
    }
    records(data);
}

//! A block's parts by themselves, because chance does not find a checksum; and the bytes as directory and body of a block
//! whose checksums hold.

use hearth_engine::block::file::{Directory, PageSums};
use hearth_engine::block::{Block, Buffers, first, labels, postings};
use hearth_engine::bytes::Reader;
use hearth_engine::chunk::columns::FloatColumns;
use hearth_engine::disk::mapped::Mapped;
use hearth_model::TimeRange;

/// Bytes of a directory that names no sources.
const DIRECTORY_BYTES: usize = 252;
/// Series that are read: a block may say that it has any number.
const SERIES: u32 = 64;

pub fn run(data: &[u8]) {
    for read in [labels::read, first::labels] {
        let (mut reader, mut pairs) = (Reader::new(data), Vec::new());
        while !reader.is_empty() && read(&mut reader, &mut pairs).is_some() {}
    }
    for ids in [postings::read(data), first::postings(data)].into_iter().flatten() {
        assert!(ids.is_empty() == ids.max().is_none());
    }
    let _ = first::chunks(data, &mut Vec::new());
    let _ = whole(data);
}

/// How many series were readable; none where the bytes are no block.
fn whole(data: &[u8]) -> Option<u32> {
    let (directory, body) = data.split_at_checked(DIRECTORY_BYTES)?;
    let directory = Directory::parse(directory)?;
    let mut sums = PageSums::default();
    sums.add(body);
    let mut file = body.to_vec();
    file.extend_from_slice(&sums.tail(body.len() as u64, &directory));
    let Directory { shard, number, seed, .. } = directory;
    let block = Block::open(Mapped::memory(&file), shard, number, seed).ok()?;
    let mut readable = 0;
    let (mut pairs, mut buffers) = (Vec::new(), Buffers::default());
    let (mut floats, mut histograms) = (FloatColumns::default(), Vec::new());
    for series in 0..block.series_count().min(SERIES) {
        if block.pairs(series, &mut pairs).is_ok() {
            let _ = pairs.iter().try_for_each(|symbol| block.text(*symbol).map(drop));
        }
        let _ = block.hash(series);
        floats.restart();
        histograms.clear();
        let read = block.read(series, TimeRange::ALL, &mut buffers, &mut floats, &mut histograms);
        readable += u32::from(read.is_ok() && !floats.times.is_empty());
        assert_eq!(floats.times.len(), floats.values.len());
    }
    let ids = (0..block.series_count().min(SERIES)).collect();
    for name in ["__name__", "instance", "a"] {
        let Ok(values) = block.values(name) else { continue };
        // Each has an entry of eight bytes.
        for value in values.take(data.len() / 8) {
            let _ = block.value(value).and_then(|symbol| block.text(symbol).map(drop));
            let _ = block.intersects(value, &ids);
        }
    }
    Some(readable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_block() {
        let target = crate::TARGETS.iter().find(|target| target.name == "block").expect("is listed");
        assert!(target.seeds.iter().any(|seed| whole(seed) == Some(3)));
    }
}

//! A block's index, version 2, for writing: once, from front to back.
//!
//! 1. The symbols, sorted, before any series.
//! 2. Series in the order of their labels.
//! 3. [`IndexWriter::finish`]: postings of all series and of each label pair, their table, the contents. The two
//!    sections that nobody reads any more are left out.

use super::FormatError;
use super::index::{ALIGNMENT, ChunkMeta, MAGIC, Toc, VERSION, push_series};
use crate::bytes::push_varint;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// An index that is being written.
pub struct IndexWriter {
    out: BufWriter<File>,
    at: u64,
    toc: Toc,
    symbols: Vec<String>,
    /// Series of each label pair, by symbols; those of all under no pair.
    postings: BTreeMap<Option<(u32, u32)>, Vec<u32>>,
    entry: Vec<u8>,
}

fn too_large(what: &'static str) -> io::Error {
    io::Error::other(FormatError::Damaged(what))
}

impl IndexWriter {
    /// `symbols` are sorted and distinct.
    pub fn create(path: &Path, symbols: Vec<String>) -> io::Result<IndexWriter> {
        let out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        let mut writer = IndexWriter {
            out,
            at: 0,
            toc: Toc::default(),
            symbols,
            postings: BTreeMap::new(),
            entry: Vec::new(),
        };
        writer.write(&MAGIC.to_be_bytes())?;
        writer.write(&[VERSION])?;
        writer.toc.symbols = writer.at;
        let mut body = (writer.symbols.len() as u32).to_be_bytes().to_vec();
        for symbol in &writer.symbols {
            push_varint(&mut body, symbol.len() as u64);
            body.extend_from_slice(symbol.as_bytes());
        }
        writer.section(&body)?;
        writer.pad(ALIGNMENT)?;
        writer.toc.series = writer.at;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let zeros = [0; ALIGNMENT as usize];
        let count = (self.at.next_multiple_of(alignment) - self.at) as usize;
        self.write(&zeros[..count])
    }

    /// A body behind its length and before its checksum.
    fn section(&mut self, body: &[u8]) -> io::Result<()> {
        let length =
            u32::try_from(body.len()).map_err(|_| too_large("a section would outgrow its length"))?;
        self.write(&length.to_be_bytes())?;
        self.write(body)?;
        self.write(&crc32c::crc32c(body).to_be_bytes())
    }

    /// The next series.
    pub fn series(&mut self, pairs: &[u32], chunks: &[ChunkMeta]) -> io::Result<()> {
        self.pad(ALIGNMENT)?;
        let reference = u32::try_from(self.at / ALIGNMENT)
            .map_err(|_| too_large("the index would outgrow its references"))?;
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        push_series(&mut entry, pairs, chunks);
        self.write(&entry)?;
        self.entry = entry;
        self.postings.entry(None).or_default().push(reference);
        for pair in pairs.chunks_exact(2) {
            self.postings.entry(Some((pair[0], pair[1]))).or_default().push(reference);
        }
        Ok(())
    }

    /// Writes all that is left and syncs; how long the file is.
    pub fn finish(mut self) -> io::Result<u64> {
        let mut postings = std::mem::take(&mut self.postings);
        postings.entry(None).or_default();
        self.pad(4)?;
        self.toc.postings = self.at;
        let mut table = (postings.len() as u32).to_be_bytes().to_vec();
        for (pair, series) in postings {
            self.pad(4)?;
            let text = |symbol: u32| self.symbols.get(symbol as usize).map_or("", String::as_str);
            let (name, value) = pair.map_or(("", ""), |(name, value)| (text(name), text(value)));
            table.push(2);
            for part in [name, value] {
                push_varint(&mut table, part.len() as u64);
                table.extend_from_slice(part.as_bytes());
            }
            push_varint(&mut table, self.at);
            let mut body = (series.len() as u32).to_be_bytes().to_vec();
            body.extend(series.iter().flat_map(|reference| reference.to_be_bytes()));
            self.section(&body)?;
        }
        self.toc.postings_offset_table = self.at;
        self.section(&table)?;
        self.write(&self.toc.print())?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::index::{Index, SeriesEntry};

    fn chunk(min_ms: i64, max_ms: i64, reference: u64) -> ChunkMeta {
        ChunkMeta { min_ms, max_ms, reference }
    }

    #[test]
    fn an_index_reads_back_and_damage_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("index");
        let symbols = ["__name__", "a", "job", "up"].map(str::to_owned).to_vec();
        let mut writer = IndexWriter::create(&path, symbols).expect("creates");
        let first = [chunk(-5, 10, 8), chunk(11, 20, 90), chunk(25, 30, 1 << 32 | 8)];
        writer.series(&[0, 3, 2, 1], &first).expect("writes");
        writer.series(&[0, 3, 2, 3], &[chunk(0, 0, 7)]).expect("writes");
        let length = writer.finish().expect("finishes");
        let index = Index::open(&path).expect("opens");
        assert_eq!((index.symbol(2), index.symbol(4), index.len_bytes()), (Some("job"), None, length));
        let (mut walk, mut series, mut found) = (index.walk(), SeriesEntry::default(), Vec::new());
        while walk.next(&mut series).expect("reads") {
            found.push(series.clone());
        }
        assert_eq!(
            (found.len(), &found[0].pairs[..], &found[0].chunks[..]),
            (2, &[0, 3, 2, 1][..], &first[..])
        );
        let mut lists = Vec::new();
        index.postings_table(|name, value, at| lists.push((format!("{name}={value}"), at))).expect("reads");
        let of = |at: usize| index.postings(lists[at].1).expect("reads");
        let all = vec![found[0].reference as u32, found[1].reference as u32];
        assert_eq!((lists[0].0.as_str(), of(0)), ("=", all.clone()));
        assert_eq!((lists[1].0.as_str(), of(1)), ("__name__=up", all.clone()));
        assert_eq!((lists[3].0.as_str(), of(3)), ("job=up", all[1..].to_vec()));
        let bytes = std::fs::read(&path).expect("reads");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x11;
            // What pads is under no checksum; all else is refused or read as it was.
            let Ok(index) = Index::of_bytes(damaged) else { continue };
            let (mut walk, mut read) = (index.walk(), Vec::new());
            while walk.next(&mut series).is_ok_and(|more| more) {
                read.push(series.clone());
            }
            assert!(read.iter().zip(&found).all(|(one, other)| one == other), "byte {at}");
        }
    }
}

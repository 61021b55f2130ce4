//! What `dm-log-writes` noted, and the disks that it may have left: its format is that of Linux'
//! `drivers/md/dm-log-writes.c`.
//!
//! A superblock, then entries one behind the other: a header in a sector of its own, then the sectors that were
//! written. Entries stand in the order in which they became durable or, those between two flushes, completed; what no
//! flush followed is not in it at all.

use fastrand::Rng;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const SECTOR_BYTES: usize = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One thing that was noted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// First sector on the disk.
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data stands in the log.
    at: u64,
    /// The text of a mark.
    pub mark: Option<String>,
}

impl Entry {
    fn is(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn len_bytes(&self) -> usize {
        if self.is(DISCARD) { 0 } else { self.sectors as usize * SECTOR_BYTES }
    }
}

/// How the disk behaves.
#[derive(Debug, Clone, Copy)]
pub struct Medium {
    /// It takes flushes for a suggestion.
    pub lies: bool,
    /// What it writes whole or not at all.
    pub whole_bytes: usize,
}

/// The log of one boot.
#[derive(Debug)]
pub struct Writes {
    log: File,
    pub entries: Vec<Entry>,
}

/// What became of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cut {
    /// The first entry that the disk never saw.
    pub at: usize,
    /// Entries that no flush had followed, and how many of them are gone or torn.
    pub unflushed: usize,
    pub gone: usize,
    pub torn: usize,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Writes {
    /// Reads the log. Only what stood in it when its superblock was last written counts: the machine was killed
    /// while it wrote.
    pub fn read(path: &Path) -> Result<Writes, String> {
        let say = |what: String| format!("{}: {what}", path.display());
        let log = File::open(path).map_err(|error| say(error.to_string()))?;
        let mut sector = [0; SECTOR_BYTES];
        let mut read = |at: u64| {
            log.read_exact_at(&mut sector, at).map_err(|error| say(error.to_string()))?;
            Ok::<_, String>(sector)
        };
        let head = read(0)?;
        let mut entries = Vec::new();
        // Nothing was marked or written through before the cut.
        let count = if number(&head, 0) == MAGIC { number(&head, 16) } else { 0 };
        let mut at = SECTOR_BYTES as u64;
        for entry in 0..count {
            let head = read(at)?;
            let (sectors, flags) = (number(&head, 8), number(&head, 16));
            if sectors == 0 && flags == 0 {
                return Err(say(format!("entry {entry} of {count} is empty")));
            }
            let text = head.get(32..32 + number(&head, 24) as usize);
            let mark = (flags & MARK != 0)
                .then(|| String::from_utf8_lossy(text.unwrap_or_default()).trim_end_matches('\0').to_owned());
            at += SECTOR_BYTES as u64;
            let found = Entry { sector: number(&head, 0), sectors, flags, at, mark };
            at += found.len_bytes() as u64;
            entries.push(found);
        }
        Ok(Writes { log, entries })
    }

    /// Cuts the power at a moment of chance and leaves the disk as it may be then.
    pub fn cut(&self, disk: &Path, rng: &mut Rng, medium: Medium) -> Result<Cut, String> {
        let Medium { lies, whole_bytes } = medium;
        // Often at the very end, where the machine was killed, or not long before.
        let all = self.entries.len();
        let at = match rng.u8(0..3) {
            0 => all,
            1 => rng.usize(all / 4 * 3..=all),
            _ => rng.usize(0..=all),
        };
        let flushed = self.entries[..at].iter().rposition(|entry| entry.is(FLUSH)).map_or(0, |last| last + 1);
        let flushed = if lies { rng.usize(0..=flushed) } else { flushed };
        let mut cut = Cut { at, unflushed: at - flushed, ..Cut::default() };
        // All, none, or any of what is in the cache.
        let keep_percent = [0, 50, 90, 100][rng.usize(0..4)];
        let device = File::options().write(true).open(disk);
        let device = device.map_err(|error| format!("{}: {error}", disk.display()))?;
        for (number, entry) in self.entries[..at].iter().enumerate() {
            let sure = number < flushed || (entry.is(FUA) && !lies);
            if !sure && rng.u8(0..100) >= keep_percent {
                cut.gone += 1;
                continue;
            }
            let torn = !sure && entry.len_bytes() > whole_bytes && rng.u8(0..8) == 0;
            cut.torn += usize::from(torn);
            let torn = torn.then_some((&mut *rng, whole_bytes));
            self.apply(entry, &device, torn).map_err(|error| error.to_string())?;
        }
        Ok(cut)
    }

    /// Writes an entry to the disk; of a torn one some of its parts, each so long.
    fn apply(&self, entry: &Entry, device: &File, torn: Option<(&mut Rng, usize)>) -> std::io::Result<()> {
        let to = entry.sector * SECTOR_BYTES as u64;
        if entry.is(DISCARD) {
            let zeros = [0; SECTOR_BYTES];
            for sector in 0..entry.sectors {
                device.write_all_at(&zeros, to + sector * SECTOR_BYTES as u64)?;
            }
            return Ok(());
        }
        let mut bytes = vec![0; entry.len_bytes()];
        self.log.read_exact_at(&mut bytes, entry.at)?;
        let Some((rng, part_bytes)) = torn else { return device.write_all_at(&bytes, to) };
        for (number, part) in bytes.chunks(part_bytes).enumerate().filter(|_| rng.bool()) {
            device.write_all_at(part, to + (number * part_bytes) as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A log with these entries: sector, flags, a byte that fills each written sector or the mark's text.
    fn log(folder: &Path, entries: &[(u64, u64, &str)]) -> PathBuf {
        let mut bytes = vec![0; SECTOR_BYTES];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&1u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        for (sector, flags, text) in entries {
            let mut head = [0; SECTOR_BYTES];
            let data = if flags & (MARK | FLUSH) != 0 { 0 } else { text.len() };
            head[..8].copy_from_slice(&sector.to_le_bytes());
            head[8..16].copy_from_slice(&(data as u64).to_le_bytes());
            head[16..24].copy_from_slice(&flags.to_le_bytes());
            if flags & MARK != 0 {
                head[24..32].copy_from_slice(&(text.len() as u64).to_le_bytes());
                head[32..32 + text.len()].copy_from_slice(text.as_bytes());
            }
            bytes.extend_from_slice(&head);
            text.bytes().take(data).for_each(|byte| bytes.extend_from_slice(&[byte; SECTOR_BYTES]));
        }
        let path = folder.join("log");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    const HONEST: Medium = Medium { lies: false, whole_bytes: SECTOR_BYTES };

    /// What stands in each of the disk's first sectors.
    fn sectors(disk: &Path) -> String {
        let bytes = std::fs::read(disk).unwrap();
        let same = |part: &[u8]| part.iter().all(|b| *b == part[0]);
        bytes.chunks(SECTOR_BYTES).map(|p| if same(p) { char::from(p[0].max(b'.')) } else { '?' }).collect()
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let entries =
            [(0, 0, "ab"), (1, 0, "c"), (0, FLUSH, ""), (9, MARK, "7"), (2, FUA, "d"), (3, 0, "efg")];
        let writes = Writes::read(&log(folder.path(), &entries)).unwrap();
        assert_eq!(writes.entries[3].mark.as_deref(), Some("7"));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let disk = folder.path().join("disk");
            std::fs::write(&disk, [b'.'; 6 * SECTOR_BYTES]).unwrap();
            let cut = writes.cut(&disk, &mut Rng::with_seed(seed), HONEST).unwrap();
            let found = sectors(&disk);
            if cut.at > 2 {
                assert!(found.starts_with("ac"), "seed {seed}: {cut:?} left {found}");
            }
            if cut.at > 4 {
                assert!(found.starts_with("acd"), "seed {seed}: {cut:?} left {found}");
            }
            seen.insert(found);
        }
        // Before and behind the flush, with and without the cache, whole and torn.
        for expect in ["......", "ab....", ".c....", "ac....", "acd...", "acdefg", "acd.f."] {
            assert!(seen.contains(expect), "{expect} is not in {seen:?}");
        }
    }

    #[test]
    fn what_a_disk_writes_whole_is_not_torn() {
        let folder = tempfile::tempdir().unwrap();
        let writes = Writes::read(&log(folder.path(), &[(0, 0, "abcd")])).unwrap();
        let medium = Medium { whole_bytes: 2 * SECTOR_BYTES, ..HONEST };
        let disk = folder.path().join("disk");
        let found: std::collections::BTreeSet<String> = (0..500)
            .map(|seed| {
                std::fs::write(&disk, [b'.'; 4 * SECTOR_BYTES]).unwrap();
                writes.cut(&disk, &mut Rng::with_seed(seed), medium).unwrap();
                sectors(&disk)
            })
            .collect();
        assert!(found.iter().eq(["....", "..cd", "ab..", "abcd"]), "{found:?}");
    }

    #[test]
    fn a_lying_disk_forgets_what_was_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let writes = Writes::read(&log(folder.path(), &[(0, 0, "a"), (0, FLUSH, "")])).unwrap();
        let disk = folder.path().join("disk");
        let forgotten = (0..50).filter(|seed| {
            std::fs::write(&disk, [b'.'; SECTOR_BYTES]).unwrap();
            let cut = writes.cut(&disk, &mut Rng::with_seed(*seed), Medium { lies: true, ..HONEST }).unwrap();
            cut.at == 2 && sectors(&disk) == "."
        });
        assert!(forgotten.count() > 0);
    }

    #[test]
    fn a_log_without_a_superblock_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [0; SECTOR_BYTES]).unwrap();
        assert_eq!(Writes::read(&path).unwrap().entries, []);
    }
}

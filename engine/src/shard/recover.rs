//! A shard's start: its head, exemplars and metadata out of its checkpoint and its log.

use super::references::References;
use crate::disk::Disk;
use crate::exemplars::Exemplars;
use crate::head::rows::RowRestorer;
use crate::head::{Fate, Head};
use crate::index::symbols::Symbol;
use crate::metadata::MetadataTable;
use crate::router::Router;
use crate::wal::commit::CommitOptions;
use crate::wal::record::Record;
use crate::wal::replay::{Replay, ReplayError, Replayed};
use crate::wal::row::Row;
use ahash::{AHashMap, AHashSet};
use hearth_model::{TimeRange, key};
use std::time::{Duration, Instant};

/// What a recovery did.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    pub replayed: Replayed,
    pub time: Duration,
    pub series: u64,
    pub samples: u64,
    /// Samples whose series is not in the log: its record was lost with a damaged frame.
    pub orphans: u64,
    /// Samples that are in blocks already.
    pub flushed: u64,
    /// Samples that the head did not take (older than what is there already).
    pub refused: u64,
    /// Series that came out of a checkpoint.
    pub rows: u64,
    /// What of a checkpoint did not decode.
    pub bad_chunks: u64,
}

/// What a recovery fills; empty before.
pub struct Filled<'a> {
    pub head: &'a mut Head,
    pub exemplars: &'a mut Exemplars,
    pub metadata: &'a mut MetadataTable,
}

/// Fills an empty head.
struct Filler<'a> {
    head: &'a mut Head,
    exemplars: &'a mut Exemplars,
    metadata: &'a mut MetadataTable,
    router: &'a Router,
    by_reference: References,
    restorer: RowRestorer,
    /// Of the rows at hand.
    strings: Vec<Symbol>,
    unknown: AHashSet<u32>,
    /// References beside a series' own that samples go by.
    others: AHashMap<u32, u32>,
    recovery: Recovery,
}

impl Filler<'_> {
    fn series(&mut self, reference: u32, raw: &[u8]) {
        self.head.reserve_reference(reference);
        let Ok(decoded) = key::decode_key(raw) else {
            tracing::warn!(reference, "series record in log has no valid labels");
            return;
        };
        let hash = self.router.hash(raw);
        // A checkpoint and the segments after it may both name a series.
        let id = match self.head.find(hash, None) {
            Some(id) => id,
            None => self.head.create(hash, decoded.pairs.iter().copied(), Some(reference)),
        };
        self.by_reference.set(reference, id);
    }

    fn row(&mut self, row: &Row<'_>) {
        self.head.reserve_reference(row.reference);
        let Some((id, restored)) = self.restorer.restore(self.head, row, &self.strings) else {
            tracing::warn!(reference = row.reference, "a checkpoint's row is not a series");
            self.recovery.bad_chunks += 1;
            return;
        };
        self.by_reference.set(row.reference, id);
        self.recovery.rows += 1;
        self.recovery.samples += restored.samples;
        self.recovery.bad_chunks += restored.bad_chunks;
    }

    fn delete(&mut self, range: TimeRange, references: Vec<u32>) {
        for id in references.into_iter().filter_map(|reference| self.by_reference.get(reference)) {
            self.head.delete(id, range);
            self.exemplars.delete(self.head.hash(id), range);
        }
    }

    /// Whether the sample is in a block. Its series may be gone from the log: its reference is not given
    /// again for as long as there is a trace of it.
    fn is_flushed(&mut self, reference: u32, time: i64) -> bool {
        let flushed = self.head.refuses(time);
        if flushed {
            self.recovery.flushed += 1;
            self.head.reserve_reference(reference);
        }
        flushed
    }

    fn id(&mut self, reference: u32) -> Option<u32> {
        let id = self.by_reference.get(reference);
        if let Some(id) = id
            && self.head.reference(id) != reference
        {
            self.others.insert(reference, id);
        }
        if id.is_none() {
            self.recovery.orphans += 1;
            if self.unknown.insert(reference) {
                // Its number must not be given to another series: these samples stay in the log.
                self.head.reserve_reference(reference);
            }
        }
        id
    }

    fn record(&mut self, record: Record<'_>) -> Option<i64> {
        match record {
            Record::Series { reference, key } => {
                self.series(reference, key);
                None
            }
            Record::Samples(samples) => {
                let mut max_ms = None;
                for sample in samples {
                    let Ok((reference, time, value)) = sample else {
                        tracing::warn!("samples record in log ends early");
                        break;
                    };
                    max_ms = max_ms.max(Some(time));
                    if self.is_flushed(reference, time) {
                        continue;
                    }
                    if let Some(id) = self.id(reference) {
                        let fate = self.head.append(id, time, value);
                        self.count(fate);
                    }
                }
                max_ms
            }
            Record::Histogram { reference, time, histogram } => {
                if !self.is_flushed(reference, time)
                    && let Some(id) = self.id(reference)
                {
                    let fate = self.head.append_histogram(id, time, &histogram);
                    self.count(fate);
                }
                Some(time)
            }
            Record::Deletion { range, references } => {
                self.delete(range, references);
                None
            }
            Record::State(state) => {
                self.head.reserve_reference(state.next_reference.saturating_sub(1));
                None
            }
            Record::Strings(strings) => {
                self.strings.clear();
                for text in strings {
                    let Ok(text) = text else {
                        tracing::warn!("strings of a checkpoint end early");
                        self.recovery.bad_chunks += 1;
                        break;
                    };
                    self.strings.push(self.head.intern(text));
                }
                None
            }
            Record::Row(row) => {
                self.row(&row);
                None
            }
            Record::End { .. } => None,
            other => {
                self.beside_samples(other);
                None
            }
        }
    }

    /// Exemplars and metadata.
    fn beside_samples(&mut self, record: Record<'_>) {
        match record {
            Record::Exemplar { key, exemplar } => {
                if let Ok(decoded) = key::decode_key(key) {
                    self.exemplars.restore(self.router.hash(key), || decoded.labels(), &exemplar);
                }
            }
            Record::ExemplarDeletion { range, keys } => {
                for key in keys {
                    self.exemplars.delete(self.router.hash(key), range);
                }
            }
            Record::Metadata(metadata) => {
                self.metadata.say(&metadata);
            }
            _ => {}
        }
    }

    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Taken => self.recovery.samples += 1,
            Fate::Repeated => {}
            Fate::Refused(_) => self.recovery.refused += 1,
        }
    }
}

/// Reads the shard's log into the head.
pub fn recover<D: Disk>(
    disk: &D,
    options: &CommitOptions,
    router: &Router,
    into: Filled<'_>,
) -> Result<Recovery, ReplayError> {
    let started = Instant::now();
    let Filled { head, exemplars, metadata } = into;
    let mut filler = Filler {
        head,
        exemplars,
        metadata,
        router,
        by_reference: References::default(),
        restorer: RowRestorer::default(),
        strings: Vec::new(),
        unknown: AHashSet::new(),
        others: AHashMap::new(),
        recovery: Recovery::default(),
    };
    let replayed = Replay {
        disk,
        directory: &options.directory,
        shard: options.shard,
        seed: options.seed,
        sink: |record: Record<'_>| filler.record(record),
    }
    .run()?;
    let others = filler.others.into_iter().collect();
    let mut recovery = filler.recovery;
    recovery.replayed = replayed;
    recovery.series = u64::from(head.series_count());
    head.set_other_references(others);
    recovery.time = started.elapsed();
    Ok(recovery)
}

//! From head to block: the oldest stretch of the head is written as a block, and then leaves memory and log.
//!
//! 1. Samples older than the *cut* are refused from now on: what is written stays complete.
//! 2. The series with samples before the cut are sorted by label set and written, a few at a time.
//! 3. The block is given its name, and in one step readers to come find it and look at the head only from
//!    the cut on. Whatever goes wrong before that leaves everything as it was.
//! 4. Log segments that are all older than the cut may go.
//! 5. Once the readers from before have left, the head gives the memory back, and series that have no samples
//!    any more leave it.

use super::keeper::Keeper;
use super::sorting::sort;
use crate::block::file::Directory;
use crate::block::writer::{BlockWriter, SortedSymbols};
use crate::disk::{Disk, names};
use crate::head::read::Scratch;
use crate::index::symbols::Symbol;
use crate::pace::Pace;
use hearth_kernels::codec::Effort;
use hearth_model::{Labels, TimeRange};
use std::io;
use std::path::Path;

/// Symbols of the head that are not in the block.
const ABSENT: u32 = u32::MAX;

/// The series of a block to come.
#[derive(Default)]
struct Chosen {
    /// In the order of their label sets.
    ids: Vec<u32>,
    /// Symbol of the head -> symbol of the block.
    ranks: Vec<u32>,
    symbols: SortedSymbols,
}

impl<D: Disk, P: Pace> Keeper<D, P> {
    /// Writes all samples before `cut_ms` as a block. See the module's head.
    pub(super) async fn flush(&self, cut_ms: i64) -> io::Result<()> {
        let range = TimeRange::new(self.state.head_from_ms.get(), cut_ms - 1);
        self.state.head.borrow_mut().refuse_before(cut_ms);
        let number = self.state.blocks.take_number();
        let unfinished =
            names::block(&self.state.blocks.directory(), number).with_extension(names::UNFINISHED);
        let Some((writer, written)) = self.write_head(range, cut_ms, number, &unfinished).await? else {
            self.state.head.borrow_mut().find_oldest(cut_ms);
            return Ok(());
        };
        self.adopt(writer, written, number, &unfinished, |_| {
            self.state.head_from_ms.set(cut_ms);
        })
        .await?;
        self.state.queue.expire_before(cut_ms);
        // However little is written: what is in the log by now can go with a later cut.
        self.state.queue.cut_segment();
        self.state.readers.earlier_left().await;
        self.truncate(cut_ms).await;
        self.collect().await;
        self.state.pressed.set(false);
        Ok(())
    }

    /// Writes the head's samples within the range to a block's unfinished file, and tells how that went;
    /// nothing where there are none.
    pub(super) async fn write_head(
        &self,
        range: TimeRange,
        cut_ms: i64,
        number: u64,
        unfinished: &Path,
    ) -> io::Result<Option<(BlockWriter<D>, io::Result<()>)>> {
        let Chosen { ids, ranks, symbols } = self.choose(range).await?;
        if ids.is_empty() {
            return Ok(None);
        }
        let directory = Directory {
            shard: self.state.owner.shard,
            number,
            seed: self.state.owner.seed,
            cut_ms,
            ..Directory::default()
        };
        let mut writer = BlockWriter::create(&self.disk, unfinished, directory, symbols, Effort::Fast)?;
        let mut written = Ok(());
        let (mut scratch, mut pairs) = (Scratch::default(), Vec::new());
        for id in ids {
            let hash = {
                let head = self.state.head.borrow();
                head.read_floats(id, range, &mut scratch);
                writer.push_floats(&scratch.floats.times, &scratch.floats.values);
                writer.push_histograms(head.histograms(id, range));
                pairs.clear();
                pairs.extend(head.symbols_of(id).flatten().map(|symbol| ranks[symbol as usize]));
                head.hash(id)
            };
            written = writer.end_series(hash, &pairs).await;
            if written.is_err() {
                break;
            }
            self.pace.pause().await;
        }
        Ok(Some((writer, written)))
    }

    /// The series with samples in the range, and their strings, both sorted.
    async fn choose(&self, range: TimeRange) -> io::Result<Chosen> {
        let mut chosen = Chosen::default();
        let mut used: Vec<Symbol> = Vec::new();
        let count = self.state.head.borrow().rows();
        chosen.ranks = vec![ABSENT; self.state.head.borrow().index().symbols.count()];
        for id in 0..count {
            {
                let head = self.state.head.borrow();
                if head.is_living(id) && head.overlaps(id, range) {
                    chosen.ids.push(id);
                    for symbol in head.symbols_of(id).flatten() {
                        let rank = &mut chosen.ranks[symbol as usize];
                        if *rank == ABSENT {
                            *rank = 0;
                            used.push(symbol);
                        }
                    }
                }
            }
            self.pace.pause().await;
        }
        sort(&mut used, &self.pace, |a, b| {
            let head = self.state.head.borrow();
            let symbols = &head.index().symbols;
            symbols.text(a).cmp(symbols.text(b))
        })
        .await;
        for symbol in used {
            {
                let head = self.state.head.borrow();
                let text = head.index().symbols.text(symbol);
                if !chosen.symbols.has_room(text.len()) {
                    return Err(io::Error::other("the block's label text would outgrow its offsets"));
                }
                chosen.ranks[symbol as usize] = chosen.symbols.push(text);
            }
            self.pace.pause().await;
        }
        let mut ids = std::mem::take(&mut chosen.ids);
        sort(&mut ids, &self.pace, |a, b| {
            let head = self.state.head.borrow();
            let ranks = |id| head.symbols_of(id).flatten().map(|s| chosen.ranks[s as usize]);
            ranks(a).cmp(ranks(b))
        })
        .await;
        chosen.ids = ids;
        Ok(chosen)
    }

    /// Takes the series without samples out of the head.
    async fn collect(&self) {
        let count = self.state.head.borrow().rows();
        let mut ended = Vec::new();
        for id in 0..count {
            {
                let mut head = self.state.head.borrow_mut();
                if head.is_idle(id) {
                    let census = &self.state.store.census;
                    let labels = if census.counts_names() { head.labels_of(id) } else { Labels::empty() };
                    census.remove(&labels);
                    head.unlink(id);
                    ended.push(id);
                }
            }
            self.pace.pause().await;
        }
        self.state.readers.earlier_left().await;
        for id in ended {
            self.state.head.borrow_mut().free(id);
            self.pace.pause().await;
        }
    }

    /// Gives the memory of what is in a block now back, a few series at a time.
    async fn truncate(&self, cut_ms: i64) {
        let count = self.state.head.borrow().rows();
        for id in 0..count {
            self.state.head.borrow_mut().truncate(id, cut_ms);
            self.pace.pause().await;
        }
        self.state.head.borrow_mut().truncated(cut_ms);
    }
}

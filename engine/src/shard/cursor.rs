//! Walks the series of a selection: each once, its samples out of blocks and head in order of time.

use super::groups::Groups;
use super::sources::{Merged, Place, Sources};
use super::view::View;
use crate::block::Buffers;
use crate::chunk::histogram::Timed;
use crate::head::read::Scratch;
use crate::pace::Pace;
use hearth_model::context::Reservation;
use hearth_model::store::{Columns, Select, SeriesCursor, ShardView};
use hearth_model::{Labels, StoreError};
use std::collections::VecDeque;
use std::rc::Rc;

/// The series in the order they come out.
enum Order {
    /// Only one source has any.
    One {
        source: u16,
        ids: roaring::bitmap::IntoIter,
        /// Those that come next: what their reading will need is already on its way from memory.
        ahead: VecDeque<u32>,
    },
    Many {
        merged: Merged,
        at: usize,
    },
    Listed(std::vec::IntoIter<Vec<Place>>),
}

/// What of a shard's data is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Blocks,
    Head,
}

impl Part {
    fn has(self, block: bool) -> bool {
        match self {
            Part::All => true,
            Part::Blocks => block,
            Part::Head => !block,
        }
    }
}

/// Series that memory is asked for before they are read.
const AHEAD: usize = 2;

/// Work between two looks at the clock: samples, and for each series as much as so many of them take, some microseconds.
const WORK_AT_ONCE: usize = 4 * WORK_OF_SERIES;
const WORK_OF_SERIES: usize = 1_024;

/// See the module's head.
pub struct Cursor<P> {
    view: View<P>,
    sources: Rc<Sources>,
    count: usize,
    order: Order,
    groups: Groups,
    /// Places of the series at hand.
    places: Vec<Place>,
    scratch: Scratch,
    buffers: Buffers,
    histograms: Vec<Timed>,
    times_id: u64,
    /// Work that is left until then, see [`WORK_AT_ONCE`].
    due: usize,
    reservation: Reservation,
}

impl<P: Pace> Cursor<P> {
    pub async fn new(view: View<P>, select: Select) -> Result<Cursor<P>, StoreError> {
        let sources = view.sources(select.range);
        let mut found = Vec::new();
        let mut reservation = view.context().reserve(std::mem::size_of::<Self>())?;
        for source in 0..sources.count() {
            let ids = sources.select(source, &select.matchers);
            reservation.grow(ids.serialized_size())?;
            if !ids.is_empty() {
                found.push((source, ids));
            }
            view.breathe().await?;
        }
        let (order, count) = if found.len() <= 1 {
            let (source, ids) = found.pop().unwrap_or_default();
            let count = ids.len() as usize;
            (Order::One { source, ids: ids.into_iter(), ahead: VecDeque::new() }, count)
        } else {
            let merged = view.merge(&sources, found, &mut reservation).await?;
            let count = merged.len();
            (Order::Many { merged, at: 0 }, count)
        };
        Ok(Cursor {
            groups: Groups::new(&sources, select.projection),
            view,
            sources,
            count,
            order,
            places: Vec::new(),
            scratch: Scratch::default(),
            buffers: Buffers::default(),
            histograms: Vec::new(),
            times_id: 0,
            due: 0,
            reservation,
        })
    }

    /// As [`Cursor::new`], the series in the order of their labels, and of each only what `part` says: for who
    /// brings several shards together.
    pub async fn sorted(view: View<P>, select: Select, part: Part) -> Result<Cursor<P>, StoreError> {
        let mut cursor = Cursor::new(view, select).await?;
        let mut keyed: Vec<(Labels, Vec<Place>)> = Vec::new();
        while cursor.take() {
            let sources = &cursor.sources;
            let wanted = |place: &&Place| part.has(sources.block(place.0).is_some());
            let places: Vec<Place> = cursor.places.iter().filter(wanted).copied().collect();
            if let Some(last) = places.last() {
                keyed.push((sources.labels(*last), places));
            }
            cursor.view.breathe().await?;
        }
        keyed.sort_unstable();
        let lists: Vec<_> = keyed.into_iter().map(|(_, places)| places).collect();
        cursor.count = lists.len();
        cursor.order = Order::Listed(lists.into_iter());
        Ok(cursor)
    }

    /// Takes the next series' places; `false` at the end.
    fn take(&mut self) -> bool {
        self.places.clear();
        match &mut self.order {
            Order::One { source, ids, ahead } => {
                ahead.extend(ids.take(AHEAD + 1 - ahead.len()));
                self.places.extend(ahead.pop_front().map(|id| (*source, id)));
                for (i, id) in ahead.iter().enumerate() {
                    self.sources.prefetch((*source, *id), i == 0);
                }
            }
            Order::Many { merged, at } => {
                self.places.extend(merged.places(*at));
                *at += 1;
                for next in 0..AHEAD {
                    merged.places(*at + next).for_each(|place| self.sources.prefetch(place, next == 0));
                }
            }
            Order::Listed(lists) => self.places.extend(lists.next().into_iter().flatten()),
        }
        !self.places.is_empty()
    }

    /// Reads the samples; returns whether the times are those of the series before.
    fn read(&mut self) -> bool {
        self.scratch.floats.begin();
        self.histograms.clear();
        let mut ordered = true;
        for (source, series) in &self.places {
            let before = (self.scratch.floats.values.len(), self.histograms.len());
            if let Some(block) = self.sources.block(*source) {
                let floats = &mut self.scratch.floats;
                // What the block could not give, it has counted.
                let _ =
                    block.read(*series, self.sources.range, &mut self.buffers, floats, &mut self.histograms);
            } else {
                let range = self.sources.head_range();
                let head = self.sources.state().head.borrow();
                head.append_floats(*series, range, &mut self.scratch);
                self.histograms.extend_from_slice(head.histograms(*series, range));
            }
            let floats = &self.scratch.floats;
            ordered &= follows(&floats.times[..floats.values.len()], before.0, |t| *t)
                && follows(&self.histograms, before.1, |(t, _)| *t);
        }
        let same = self.scratch.floats.end();
        if !ordered {
            self.scratch.floats.put_in_order(&mut self.histograms);
        }
        same && ordered
    }
}

/// Whether what stands from `at` on comes after what stands before.
fn follows<T>(column: &[T], at: usize, time: impl Fn(&T) -> i64) -> bool {
    match (at.checked_sub(1).and_then(|last| column.get(last)), column.get(at)) {
        (Some(last), Some(first)) => time(last) < time(first),
        _ => true,
    }
}

impl<P: Pace> SeriesCursor for Cursor<P> {
    fn series_count(&self) -> usize {
        self.count
    }

    async fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        loop {
            if self.due == 0 {
                self.view.breathe().await?;
                self.due = WORK_AT_ONCE;
            }
            if !self.take() {
                return Ok(false);
            }
            let same = self.read();
            let floats = &mut self.scratch.floats;
            self.due = self.due.saturating_sub(WORK_OF_SERIES + floats.values.len() + self.histograms.len());
            if floats.times.is_empty() && self.histograms.is_empty() {
                floats.restart();
                continue;
            }
            // The newest source knows the labels as well as any, and its symbols are met most.
            let place = self.places.last().copied().unwrap_or_default();
            let Some((group, bytes)) = self.groups.number(&self.sources, place) else {
                floats.restart();
                continue;
            };
            std::mem::swap(&mut out.histograms, &mut self.histograms);
            // The caller passes the same buffers: equal times need not be looked at again.
            let kept = self.times_id != 0 && out.times_id == self.times_id;
            if !kept || (!same && out.times != floats.times) {
                self.times_id += 1;
                out.times.clone_from(&floats.times);
            }
            out.times_id = self.times_id;
            std::mem::swap(&mut out.values, &mut floats.values);
            out.starts.clear();
            out.histogram_starts.clear();
            out.group = group;
            self.reservation.grow_small(bytes)?;
            return Ok(true);
        }
    }

    fn group_labels(&self, group: u32) -> Labels {
        self.groups.labels(&self.sources, group)
    }

    fn visit_labels(&self, each: impl FnMut(&str, &str)) {
        if let Some(place) = self.places.last() {
            self.sources.visit_texts(place.0, self.groups.last_pairs(), each);
        }
    }
}

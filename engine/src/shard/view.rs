//! What a job sees of its shard: series by matchers, their samples as columns, names and values.
//!
//! The head is borrowed between two awaits only; a series that comes into being during a query is not
//! seen by cursors that exist already.

use super::ShardState;
use super::runtime::Runtime;
use crate::head::Head;
use crate::head::read::Scratch;
use crate::index::symbols::Symbol;
use ahash::{AHashMap, AHashSet};
use hearth_model::context::Reservation;
use hearth_model::store::{Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{Labels, Matcher, QueryContext, StoreError, TimeRange};
use roaring::RoaringBitmap;
use std::rc::Rc;
use std::sync::Arc;

/// A shard and its thread, as a job finds them.
#[derive(Clone)]
pub struct Place {
    pub state: Rc<ShardState>,
    pub runtime: Runtime,
}

/// See the module's head.
#[derive(Clone)]
pub struct HeadView {
    place: Place,
    context: QueryContext,
}

impl HeadView {
    pub fn new(place: Place, context: QueryContext) -> Self {
        HeadView { place, context }
    }

    fn head(&self) -> std::cell::Ref<'_, Head> {
        self.place.state.head.borrow()
    }

    async fn breathe(&self) -> Result<(), StoreError> {
        self.place.runtime.yield_if_needed().await;
        self.context.check()
    }

    fn matching(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let head = self.head();
        head.index().select(matchers, head.series_count())
    }

    /// The series that match any of the sets; all where there is no set.
    async fn matching_any(&self, sets: &[Arc<[Matcher]>]) -> Result<RoaringBitmap, StoreError> {
        if sets.is_empty() {
            return Ok((0..self.head().series_count()).collect());
        }
        let mut all = RoaringBitmap::new();
        for set in sets {
            all |= self.matching(set);
            self.breathe().await?;
        }
        Ok(all)
    }

    fn has_samples_in(&self, range: TimeRange) -> bool {
        let head = self.head();
        match (head.figures.min_ms, head.figures.max_ms) {
            (Some(min), Some(max)) => TimeRange::new(min, max).overlaps(range),
            _ => false,
        }
    }
}

impl ShardView for HeadView {
    type Cursor = HeadCursor;

    fn context(&self) -> &QueryContext {
        &self.context
    }

    async fn select(&self, select: Select) -> Result<HeadCursor, StoreError> {
        self.breathe().await?;
        let ids = self.matching(&select.matchers);
        let mut reservation = self.context.reserve(ids.serialized_size())?;
        let groups = Groups::new(&self.head(), select.projection);
        reservation.grow(std::mem::size_of::<HeadCursor>())?;
        Ok(HeadCursor {
            view: self.clone(),
            count: ids.len() as usize,
            ids: ids.into_iter(),
            range: select.range,
            groups,
            scratch: Scratch::default(),
            times_id: 0,
            reservation,
        })
    }

    async fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, StoreError> {
        let mut out = Vec::new();
        let mut held = self.context.reserve(0)?;
        for id in self.matching_any(sets).await? {
            if out.len() >= limit {
                break;
            }
            self.breathe().await?;
            let head = self.head();
            if head.overlaps(id, range) {
                let labels = head.labels_of(id);
                held.grow(labels.size_bytes() + std::mem::size_of::<Labels>())?;
                out.push(labels);
            }
        }
        Ok(out)
    }

    async fn label_names(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        if !self.has_samples_in(range) {
            return Ok(Vec::new());
        }
        if sets.is_empty() {
            return Ok(self.head().index().names().map(|(name, _)| name.to_owned()).collect());
        }
        let mut names = AHashSet::<Symbol>::new();
        for id in self.matching_any(sets).await? {
            self.breathe().await?;
            let head = self.head();
            if head.overlaps(id, range) {
                names.extend(head.symbols_of(id).iter().step_by(2));
            }
        }
        let head = self.head();
        Ok(names.into_iter().map(|s| head.index().symbols.text(s).to_owned()).collect())
    }

    async fn label_values(
        &self,
        name: &str,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        if !self.has_samples_in(range) {
            return Ok(Vec::new());
        }
        let matching = if sets.is_empty() { None } else { Some(self.matching_any(sets).await?) };
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            self.breathe().await?;
            let head = self.head();
            let values = head.index().label(name).map_or(&[][..], |l| &l.values);
            if at >= values.len() {
                return Ok(out);
            }
            // A slice of values between two looks at the clock.
            let slice = &values[at..values.len().min(at + 256)];
            at += slice.len();
            let wanted = slice.iter().filter(|(_, p)| matching.as_ref().is_none_or(|ids| p.intersects(ids)));
            out.extend(wanted.map(|(value, _)| head.index().symbols.text(*value).to_owned()));
        }
    }

    async fn pause(&self) -> Result<(), StoreError> {
        self.breathe().await
    }
}

/// Numbers the groups of a projection without touching a string.
enum Groups {
    /// Group number -> series.
    All(Vec<u32>),
    Projected {
        names: AHashSet<Symbol>,
        keep: bool,
        numbers: AHashMap<Box<[Symbol]>, u32>,
        keys: Vec<Box<[Symbol]>>,
        key: Vec<Symbol>,
    },
}

impl Groups {
    fn new(head: &Head, projection: Projection) -> Groups {
        let (names, keep) = match projection {
            Projection::All => return Groups::All(Vec::new()),
            Projection::Only(names) => (names, true),
            Projection::Without(names) => (names, false),
        };
        // A name that no series has cannot be in a label set.
        let names = names.iter().filter_map(|n| head.index().symbols.find(n)).collect();
        Groups::Projected { names, keep, numbers: AHashMap::new(), keys: Vec::new(), key: Vec::new() }
    }

    /// The series' group, and the bytes that a new one cost.
    fn number(&mut self, head: &Head, id: u32) -> (u32, usize) {
        match self {
            Groups::All(ids) => {
                ids.push(id);
                (ids.len() as u32 - 1, std::mem::size_of::<u32>())
            }
            Groups::Projected { names, keep, numbers, keys, key } => {
                key.clear();
                for pair in head.symbols_of(id).chunks_exact(2) {
                    if names.contains(&pair[0]) == *keep {
                        key.extend_from_slice(pair);
                    }
                }
                if let Some(number) = numbers.get(key.as_slice()) {
                    return (*number, 0);
                }
                let number = keys.len() as u32;
                let boxed: Box<[Symbol]> = key.as_slice().into();
                numbers.insert(boxed.clone(), number);
                keys.push(boxed);
                (number, 2 * std::mem::size_of_val(key.as_slice()) + 64)
            }
        }
    }
}

/// Walks the series of a selection.
pub struct HeadCursor {
    view: HeadView,
    count: usize,
    ids: roaring::bitmap::IntoIter,
    range: TimeRange,
    groups: Groups,
    scratch: Scratch,
    times_id: u64,
    reservation: Reservation,
}

impl SeriesCursor for HeadCursor {
    fn series_count(&self) -> usize {
        self.count
    }

    async fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        loop {
            self.view.breathe().await?;
            let Some(id) = self.ids.next() else { return Ok(false) };
            let head = self.view.place.state.head.borrow();
            head.read_floats(id, self.range, &mut self.scratch);
            let histograms = head.histograms(id, self.range);
            if self.scratch.times.is_empty() && histograms.is_empty() {
                continue;
            }
            out.histograms.clear();
            out.histograms.extend_from_slice(histograms);
            // The caller passes the same buffers: equal times need not be looked at again.
            if self.times_id == 0 || out.times_id != self.times_id || out.times != self.scratch.times {
                self.times_id += 1;
                std::mem::swap(&mut out.times, &mut self.scratch.times);
            }
            out.times_id = self.times_id;
            std::mem::swap(&mut out.values, &mut self.scratch.values);
            let (group, bytes) = self.groups.number(&head, id);
            out.group = group;
            self.reservation.grow(bytes)?;
            return Ok(true);
        }
    }

    fn group_labels(&self, group: u32) -> Labels {
        let head = self.view.place.state.head.borrow();
        match &self.groups {
            Groups::All(ids) => ids.get(group as usize).map_or_else(Labels::empty, |id| head.labels_of(*id)),
            Groups::Projected { keys, .. } => {
                keys.get(group as usize).map_or_else(Labels::empty, |key| head.labels(key))
            }
        }
    }
}

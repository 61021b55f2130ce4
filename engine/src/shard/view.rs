//! What a job sees of its shard: series by matchers, their samples as columns, names and values; out of
//! blocks and head as if they were one.
//!
//! The head is borrowed between two awaits only; a series that comes into being during a query is not
//! seen by cursors that exist already.

use super::ShardState;
use super::cursor::Cursor;
use super::runtime::Runtime;
use super::sources::{Merged, Sources};
use crate::block::Buffers;
use crate::index::symbols::Symbol;
use crate::pace::Pace;
use ahash::AHashSet;
use hearth_model::context::Reservation;
use hearth_model::metadata::MetricMetadata;
use hearth_model::store::{Select, SeriesExemplars, ShardView};
use hearth_model::{Labels, Matcher, QueryContext, StoreError, TimeRange};
use roaring::RoaringBitmap;
use std::rc::Rc;
use std::sync::Arc;

/// A shard and its thread, as a job finds them.
#[derive(Clone)]
pub struct Place<P = Runtime> {
    pub state: Rc<ShardState>,
    pub pace: P,
}

/// See the module's head.
#[derive(Clone)]
pub struct View<P = Runtime> {
    place: Place<P>,
    context: QueryContext,
}

/// Ids between two looks at the clock, which cost as much as one of them.
const IDS_AT_ONCE: usize = 16;

impl<P: Pace> View<P> {
    pub fn new(place: Place<P>, context: QueryContext) -> Self {
        View { place, context }
    }

    pub(super) async fn breathe(&self) -> Result<(), StoreError> {
        self.place.pace.pause().await;
        self.context.check()
    }

    pub(super) fn sources(&self, range: TimeRange) -> Rc<Sources> {
        Rc::new(Sources::new(&self.place.state, range))
    }

    /// Brings the series of several sources together.
    pub(super) async fn merge(
        &self,
        sources: &Sources,
        found: Vec<(u16, RoaringBitmap)>,
        reservation: &mut Reservation,
    ) -> Result<Merged, StoreError> {
        let mut merged = Merged::default();
        for (source, ids) in found {
            for (i, id) in ids.into_iter().enumerate() {
                reservation.grow_small(Merged::SERIES_BYTES)?;
                merged.add(sources, (source, id));
                if i % IDS_AT_ONCE == 0 {
                    self.breathe().await?;
                }
            }
        }
        merged.finish();
        Ok(merged)
    }

    /// Of each source, the series that match any of the sets; all where there is no set.
    async fn matching(
        &self,
        sources: &Sources,
        sets: &[Arc<[Matcher]>],
    ) -> Result<Vec<(u16, RoaringBitmap)>, StoreError> {
        let mut found = Vec::new();
        for source in 0..sources.count() {
            let mut ids = if sets.is_empty() { sources.all(source) } else { RoaringBitmap::new() };
            for set in sets {
                ids |= sources.select(source, set);
                self.breathe().await?;
            }
            found.push((source, ids));
        }
        Ok(found)
    }

    /// Names of all series of a source, whatever their times.
    async fn all_names(
        &self,
        sources: &Sources,
        source: u16,
        out: &mut AHashSet<String>,
    ) -> Result<(), StoreError> {
        let names: Vec<String> = match sources.block(source) {
            Some(block) => {
                let names = (0..block.name_count()).filter_map(|at| block.text(block.name(at).ok()?).ok());
                names.map(str::to_owned).collect()
            }
            None => self.place.state.head.borrow().index().names().map(|(name, _)| name.to_owned()).collect(),
        };
        let Some(ids) = sources.remaining(source) else {
            out.extend(names);
            return Ok(());
        };
        for name in names {
            let mut values = AHashSet::new();
            self.values(sources, source, &name, Some(&ids), &mut values).await?;
            if !values.is_empty() {
                out.insert(name);
            }
        }
        Ok(())
    }

    /// A source's values of a label, of the series in `ids` where there are any.
    async fn values(
        &self,
        sources: &Sources,
        source: u16,
        name: &str,
        ids: Option<&RoaringBitmap>,
        out: &mut AHashSet<String>,
    ) -> Result<(), StoreError> {
        if let Some(block) = sources.block(source) {
            for at in block.values(name).unwrap_or_default() {
                self.breathe().await?;
                if ids.is_none_or(|ids| block.intersects(at, ids).unwrap_or(false))
                    && let Ok(text) = block.value(at).and_then(|symbol| block.text(symbol))
                {
                    out.insert(text.to_owned());
                }
            }
            return Ok(());
        }
        // Values come and go between two looks at the clock; their strings stay while a reader is here.
        let all: Vec<Symbol> = {
            let head = self.place.state.head.borrow();
            head.index()
                .label(name)
                .map_or(Vec::new(), |l| l.values.iter().map(|(value, _)| *value).collect())
        };
        for slice in all.chunks(256) {
            self.breathe().await?;
            let head = self.place.state.head.borrow();
            let Some(label) = head.index().label(name) else { return Ok(()) };
            let wanted = slice.iter().filter(|value| {
                ids.is_none_or(|ids| label.postings(**value).is_some_and(|p| p.intersects(ids)))
            });
            out.extend(wanted.map(|value| head.index().symbols.text(*value).to_owned()));
        }
        Ok(())
    }
}

impl<P: Pace> ShardView for View<P> {
    type Cursor = Cursor<P>;

    fn context(&self) -> &QueryContext {
        &self.context
    }

    async fn select(&self, select: Select) -> Result<Cursor<P>, StoreError> {
        self.breathe().await?;
        Cursor::new(self.clone(), select).await
    }

    async fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, StoreError> {
        let sources = self.sources(range);
        let mut held = self.context.reserve(0)?;
        let found = self.matching(&sources, sets).await?;
        let merged = self.merge(&sources, found, &mut held).await?;
        let (mut out, mut pairs, mut buffers) = (Vec::new(), Vec::new(), Buffers::default());
        for at in 0..merged.len() {
            if out.len() >= limit {
                break;
            }
            self.breathe().await?;
            let mut places = merged.places(at);
            let wanted =
                |place: &_| sources.overlaps(*place, &mut buffers) && sources.pairs(*place, &mut pairs);
            if let Some(place) = places.find(wanted) {
                let labels = sources.labels(place);
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
        let sources = self.sources(range);
        let mut out = AHashSet::new();
        if sets.is_empty() {
            for source in 0..sources.count() {
                self.all_names(&sources, source, &mut out).await?;
            }
            return Ok(out.into_iter().collect());
        }
        let (mut pairs, mut buffers) = (Vec::new(), Buffers::default());
        for (source, ids) in self.matching(&sources, sets).await? {
            let mut names = AHashSet::<Symbol>::new();
            for id in ids {
                self.breathe().await?;
                if sources.overlaps((source, id), &mut buffers) && sources.pairs((source, id), &mut pairs) {
                    names.extend(pairs.iter().step_by(2));
                }
            }
            out.extend(names.into_iter().map(|name| sources.text(source, name, str::to_owned)));
        }
        Ok(out.into_iter().collect())
    }

    async fn label_values(
        &self,
        name: &str,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        let sources = self.sources(range);
        let mut out = AHashSet::new();
        if sets.is_empty() {
            for source in 0..sources.count() {
                let ids = sources.remaining(source);
                self.values(&sources, source, name, ids.as_ref(), &mut out).await?;
            }
        } else {
            for (source, mut ids) in self.matching(&sources, sets).await? {
                if let Some(remaining) = sources.remaining(source) {
                    ids &= remaining;
                }
                self.values(&sources, source, name, Some(&ids), &mut out).await?;
            }
        }
        Ok(out.into_iter().collect())
    }

    async fn exemplars(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, StoreError> {
        let (mut out, mut held) = (Vec::new(), self.context.reserve(0)?);
        let state = &self.place.state;
        let series = state.exemplars.borrow().series();
        for slice in series.chunks(64) {
            self.breathe().await?;
            let all = state.exemplars.borrow();
            for (labels, found) in slice.iter().filter_map(|series| all.of(*series)) {
                let matches = |set: &Arc<[Matcher]>| set.iter().all(|m| m.matches(labels.value(&m.name)));
                if !sets.iter().any(matches) {
                    continue;
                }
                let exemplars: Vec<_> = found.filter(|e| range.contains(e.timestamp_ms)).cloned().collect();
                if exemplars.is_empty() {
                    continue;
                }
                let bytes = exemplars.iter().map(|e| e.labels.size_bytes() + std::mem::size_of_val(e));
                held.grow(labels.size_bytes() + bytes.sum::<usize>())?;
                out.push(SeriesExemplars { labels: labels.clone(), exemplars });
            }
        }
        Ok(out)
    }

    async fn metadata(&self, metric: Option<&str>) -> Result<Vec<MetricMetadata>, StoreError> {
        let table = self.place.state.metadata.borrow();
        let found: Vec<MetricMetadata> = match metric {
            Some(name) => table.get(name).cloned().into_iter().collect(),
            None => table.all().cloned().collect(),
        };
        // The texts are the table's own.
        self.context.reserve(std::mem::size_of_val(found.as_slice()))?;
        Ok(found)
    }

    async fn pause(&self) -> Result<(), StoreError> {
        self.breathe().await
    }
}

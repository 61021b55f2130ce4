//! Walks the series that replicas make together, in the order of their labels.

use super::merge::merge;
use crate::context::{QueryContext, Reservation};
use crate::label::Labels;
use crate::store::{Columns, Projection, SeriesCursor, StoreError};
use std::collections::HashMap;
use std::vec::IntoIter;

/// A stored series: one replica of what is shown.
#[derive(Debug)]
pub struct Member {
    /// Its labels but those of replicas.
    shared: Labels,
    /// Those of replicas.
    own: Labels,
    columns: Columns,
    _held: Reservation,
}

impl Member {
    pub(super) fn new(
        shared: Labels,
        own: Labels,
        columns: Columns,
        context: &QueryContext,
    ) -> Result<Member, StoreError> {
        let labels = shared.size_bytes() + own.size_bytes();
        let bytes = std::mem::size_of::<Member>() + labels + size_bytes(&columns);
        let held = context.reserve(bytes)?;
        Ok(Member { shared, own, columns, _held: held })
    }
}

fn size_bytes(columns: &Columns) -> usize {
    let histograms: usize = columns.histograms.iter().map(|(_, h)| 16 + h.size_bytes()).sum();
    let starts = columns.starts.capacity() + columns.histogram_starts.capacity();
    8 * (columns.times.capacity() + columns.values.capacity() + starts) + histograms
}

/// A shard's own cursor, or that over merged replicas.
pub enum ReplicaCursor<C> {
    Shard(C),
    Merged(Box<Merged>),
}

/// See the module's head.
pub struct Merged {
    members: IntoIter<Member>,
    projection: Projection,
    context: QueryContext,
    series: usize,
    /// Of the series that came last.
    labels: Labels,
    groups: HashMap<Labels, u32>,
    group_labels: Vec<Labels>,
    times_id: u64,
    last_times: Vec<i64>,
    held: Reservation,
    /// What of `held` stands for the caller's columns: the largest series so far.
    columns_bytes: usize,
}

impl Merged {
    pub(super) fn new(
        mut members: Vec<Member>,
        projection: Projection,
        context: QueryContext,
    ) -> Result<Merged, StoreError> {
        members.sort_unstable_by(|a, b| a.shared.cmp(&b.shared).then_with(|| a.own.cmp(&b.own)));
        let series = members.chunk_by(|a, b| a.shared == b.shared).count();
        let held = context.reserve(0)?;
        Ok(Merged {
            members: members.into_iter(),
            projection,
            context,
            series,
            labels: Labels::empty(),
            groups: HashMap::new(),
            group_labels: Vec::new(),
            times_id: 0,
            last_times: Vec::new(),
            held,
            columns_bytes: 0,
        })
    }

    fn group(&mut self) -> Result<u32, StoreError> {
        let projected = self.projection.apply(&self.labels);
        if self.projection != Projection::All
            && let Some(&group) = self.groups.get(&projected)
        {
            return Ok(group);
        }
        self.held.grow(2 * (std::mem::size_of::<Labels>() + projected.size_bytes()))?;
        let group = self.group_labels.len() as u32;
        if self.projection != Projection::All {
            self.groups.insert(projected.clone(), group);
        }
        self.group_labels.push(projected);
        Ok(group)
    }

    fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        self.context.check()?;
        let Some(first) = self.members.next() else { return Ok(false) };
        *out = first.columns;
        while self.members.as_slice().first().is_some_and(|next| next.shared == first.shared) {
            let Some(next) = self.members.next() else { break };
            *out = merge(out, &next.columns);
        }
        let bytes = size_bytes(out);
        if bytes > self.columns_bytes {
            self.held.grow(bytes - self.columns_bytes)?;
            self.columns_bytes = bytes;
        }
        self.labels = first.shared;
        out.group = self.group()?;
        if self.times_id == 0 || self.last_times != out.times {
            self.times_id += 1;
            self.last_times.clone_from(&out.times);
        }
        out.times_id = self.times_id;
        Ok(true)
    }
}

impl<C: SeriesCursor> SeriesCursor for ReplicaCursor<C> {
    fn series_count(&self) -> usize {
        match self {
            ReplicaCursor::Shard(cursor) => cursor.series_count(),
            ReplicaCursor::Merged(merged) => merged.series,
        }
    }

    async fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        match self {
            ReplicaCursor::Shard(cursor) => cursor.next(out).await,
            ReplicaCursor::Merged(merged) => {
                out.clear();
                merged.next(out)
            }
        }
    }

    fn group_labels(&self, group: u32) -> Labels {
        match self {
            ReplicaCursor::Shard(cursor) => cursor.group_labels(group),
            ReplicaCursor::Merged(merged) => merged.group_labels[group as usize].clone(),
        }
    }

    fn visit_labels(&self, mut each: impl FnMut(&str, &str)) {
        match self {
            ReplicaCursor::Shard(cursor) => cursor.visit_labels(each),
            ReplicaCursor::Merged(merged) => {
                merged.labels.iter().for_each(|(name, value)| each(name, value));
            }
        }
    }
}

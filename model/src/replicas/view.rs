//! What a job sees: a shard as it is, or all shards as one whose replicas are merged. Names and values of labels are
//! told as they are stored, so that replicas can still be found.

use super::cursor::{Member, Merged, ReplicaCursor};
use crate::context::QueryContext;
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::metadata::MetricMetadata;
use crate::range::TimeRange;
use crate::store::{
    Columns, Projection, Scatter, Select, SeriesCursor, SeriesExemplars, ShardView, StoreError,
};
use std::future::Future;
use std::sync::Arc;

/// See the module's head.
#[derive(Clone)]
pub struct ReplicaView<S: Scatter> {
    seen: Seen<S>,
}

#[derive(Clone)]
enum Seen<S: Scatter> {
    Shard(S::View),
    All(All<S>),
}

#[derive(Clone)]
struct All<S> {
    store: S,
    context: QueryContext,
    labels: Arc<[String]>,
}

impl<S: Scatter> ReplicaView<S> {
    pub(super) fn plain(view: S::View) -> ReplicaView<S> {
        ReplicaView { seen: Seen::Shard(view) }
    }

    pub(super) fn merged(store: S, context: QueryContext, labels: Arc<[String]>) -> ReplicaView<S> {
        ReplicaView { seen: Seen::All(All { store, context, labels }) }
    }
}

/// The labels but those of replicas.
pub(super) fn shared(labels: &Labels, replicas: &[String]) -> Labels {
    labels.filter(|name| replicas.iter().all(|replica| replica != name))
}

/// Reads what the selection has on one shard.
async fn read<V: ShardView>(
    view: V,
    select: Select,
    replicas: Arc<[String]>,
) -> Result<Vec<Member>, StoreError> {
    let mut cursor = view.select(Select { projection: Projection::All, ..select }).await?;
    let mut members = Vec::new();
    loop {
        let mut columns = Columns::default();
        if !cursor.next(&mut columns).await? {
            return Ok(members);
        }
        let labels = cursor.group_labels(columns.group);
        let own = labels.filter(|name| replicas.iter().any(|replica| replica == name));
        let shared = shared(&labels, &replicas);
        members.push(Member::new(shared, own, columns, view.context())?);
    }
}

impl<S: Scatter> All<S> {
    /// The same of each shard, in their order.
    async fn of_each<T, J, F>(&self, job: J) -> Result<Vec<T>, StoreError>
    where
        J: Fn(S::View) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<T>, StoreError>> + 'static,
        T: Send + 'static,
    {
        let found = self.store.scatter(self.context.clone(), job).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn select(&self, select: Select) -> Result<Merged, StoreError> {
        let (wanted, replicas) = (select.clone(), self.labels.clone());
        let members = self.of_each(move |view| read(view, wanted.clone(), replicas.clone())).await?;
        Merged::new(members, select.projection, self.context.clone())
    }

    async fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, StoreError> {
        let (sets, replicas) = (sets.to_vec(), self.labels.clone());
        let mut found = self
            .of_each(move |view| {
                let (sets, replicas) = (sets.clone(), replicas.clone());
                async move {
                    let found = view.series(&sets, range, usize::MAX).await?;
                    Ok(found.iter().map(|labels| shared(labels, &replicas)).collect())
                }
            })
            .await?;
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    /// Exemplars of all replicas, each once.
    async fn exemplars(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, StoreError> {
        let sets = sets.to_vec();
        let mut found = self
            .of_each(move |view| {
                let sets = sets.clone();
                async move { view.exemplars(&sets, range).await }
            })
            .await?;
        for one in &mut found {
            one.labels = shared(&one.labels, &self.labels);
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut joined: Vec<SeriesExemplars> = Vec::new();
        for one in found {
            match joined.last_mut().filter(|last| last.labels == one.labels) {
                Some(last) => last.exemplars.extend(one.exemplars),
                None => joined.push(one),
            }
        }
        for one in &mut joined {
            one.exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
            one.exemplars.dedup();
        }
        Ok(joined)
    }
}

impl<S: Scatter> ShardView for ReplicaView<S> {
    type Cursor = ReplicaCursor<<S::View as ShardView>::Cursor>;

    fn context(&self) -> &QueryContext {
        match &self.seen {
            Seen::Shard(view) => view.context(),
            Seen::All(all) => &all.context,
        }
    }

    async fn select(&self, select: Select) -> Result<Self::Cursor, StoreError> {
        match &self.seen {
            Seen::Shard(view) => Ok(ReplicaCursor::Shard(view.select(select).await?)),
            Seen::All(all) => Ok(ReplicaCursor::Merged(Box::new(all.select(select).await?))),
        }
    }

    async fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.series(sets, range, limit).await,
            Seen::All(all) => all.series(sets, range, limit).await,
        }
    }

    async fn label_names(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.label_names(sets, range).await,
            Seen::All(all) => {
                let sets = sets.to_vec();
                let names = move |view: S::View| {
                    let sets = sets.clone();
                    async move { view.label_names(&sets, range).await }
                };
                all.of_each(names).await.map(distinct)
            }
        }
    }

    async fn label_values(
        &self,
        name: &str,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.label_values(name, sets, range).await,
            Seen::All(all) => {
                let (name, sets) = (name.to_owned(), sets.to_vec());
                let values = move |view: S::View| {
                    let (name, sets) = (name.clone(), sets.clone());
                    async move { view.label_values(&name, &sets, range).await }
                };
                all.of_each(values).await.map(distinct)
            }
        }
    }

    async fn exemplars(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.exemplars(sets, range).await,
            Seen::All(all) => all.exemplars(sets, range).await,
        }
    }

    async fn metadata(&self, metric: Option<&str>) -> Result<Vec<MetricMetadata>, StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.metadata(metric).await,
            Seen::All(all) => {
                let metric = metric.map(str::to_owned);
                let known = move |view: S::View| {
                    let metric = metric.clone();
                    async move { view.metadata(metric.as_deref()).await }
                };
                all.of_each(known).await
            }
        }
    }

    async fn pause(&self) -> Result<(), StoreError> {
        match &self.seen {
            Seen::Shard(view) => view.pause().await,
            // The thread is the job's own.
            Seen::All(all) => all.context.check(),
        }
    }
}

fn distinct(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

//! Pairs of servers that scrape the same and write here: of each cluster one replica is believed, the writes of the
//! others are taken and dropped, until the believed one has been silent for too long. What is stored has no replica
//! label, so that a change of the replica goes on with the same series.
//!
//! A request is judged by its first series, as its sender puts the same external labels on all of them.

use crate::config::{MAX_CLUSTERS, MAX_REPLICA_LABEL_BYTES};
use crate::metrics::Counter;
use hearth_model::WriteBatch;
use hearth_model::key::{decode_key, push_key};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How replicas are told apart.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    pub cluster_label: String,
    pub replica_label: String,
    /// Silence after which another replica is believed.
    pub failover: Duration,
}

/// The replica that is believed.
struct Elected {
    replica: String,
    last: Instant,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not of a replica, or of the believed one: to be stored.
    Store,
    /// Of another one: so many samples are not stored.
    Drop(u64),
    /// There are too many clusters to follow another one.
    Refuse(String),
}

/// See the module's head.
pub struct Replicas {
    options: ReplicaOptions,
    clusters: Mutex<BTreeMap<String, Elected>>,
    pub elections: Counter,
    pub dropped: Counter,
    pub refused: Counter,
}

fn samples(batch: &WriteBatch) -> u64 {
    (batch.samples.len() + batch.histograms.len()) as u64
}

impl Replicas {
    pub fn new(options: ReplicaOptions) -> Replicas {
        Replicas {
            options,
            clusters: Mutex::default(),
            elections: Counter::default(),
            dropped: Counter::default(),
            refused: Counter::default(),
        }
    }

    fn clusters(&self) -> MutexGuard<'_, BTreeMap<String, Elected>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a request that arrives now; one that is to be stored loses its replica label.
    pub fn judge(&self, batch: &mut WriteBatch, now: Instant) -> Verdict {
        let Some(first) = batch.series.first() else { return Verdict::Store };
        let Ok(decoded) = decode_key(batch.key(first)) else { return Verdict::Store };
        let labels = decoded.labels();
        let cluster = labels.value(&self.options.cluster_label);
        let replica = labels.value(&self.options.replica_label);
        if cluster.is_empty() || replica.is_empty() {
            return Verdict::Store;
        }
        let verdict = self.elect(cluster, replica, now, samples(batch));
        match &verdict {
            Verdict::Store => self.strip(batch),
            Verdict::Drop(count) => self.dropped.add(*count),
            Verdict::Refuse(_) => self.refused.add(samples(batch)),
        }
        verdict
    }

    fn elect(&self, cluster: &str, replica: &str, now: Instant, samples: u64) -> Verdict {
        if cluster.len().max(replica.len()) > MAX_REPLICA_LABEL_BYTES {
            return Verdict::Refuse(format!(
                "the labels {} and {} may have {MAX_REPLICA_LABEL_BYTES} bytes",
                self.options.cluster_label, self.options.replica_label
            ));
        }
        let mut clusters = self.clusters();
        let silent = |elected: &Elected| now.saturating_duration_since(elected.last) > self.options.failover;
        if !clusters.contains_key(cluster) && clusters.len() >= MAX_CLUSTERS {
            // Those that nobody writes for any more make room.
            clusters.retain(|_, elected| !silent(elected));
            if clusters.len() >= MAX_CLUSTERS {
                return Verdict::Refuse(format!(
                    "cluster {cluster:?}: replicas of {MAX_CLUSTERS} clusters are followed, the most there may be"
                ));
            }
        }
        match clusters.get_mut(cluster) {
            Some(elected) if elected.replica == replica => elected.last = now.max(elected.last),
            Some(elected) if !silent(elected) => return Verdict::Drop(samples),
            known => {
                let before = known.map(|elected| elected.replica.as_str()).unwrap_or_default();
                tracing::info!(component = "web", cluster, replica, before, "Believing a replica");
                self.elections.add(1);
                clusters.insert(cluster.to_owned(), Elected { replica: replica.to_owned(), last: now });
            }
        }
        Verdict::Store
    }

    /// Takes the replica label off every series; keys that cannot be read stay, and the store refuses them.
    fn strip(&self, batch: &mut WriteBatch) {
        let name = self.options.replica_label.as_str();
        let mut keys = Vec::with_capacity(batch.keys.len());
        for series in &mut batch.series {
            let raw = &batch.keys[series.key.start as usize..series.key.end as usize];
            let start = keys.len();
            match decode_key(raw) {
                Ok(decoded) => {
                    push_key(&mut keys, decoded.pairs.into_iter().filter(|(other, _)| *other != name))
                }
                Err(_) => keys.extend_from_slice(raw),
            }
            series.key = start as u32..keys.len() as u32;
        }
        batch.keys = keys;
    }

    /// How many clusters have a replica that is believed.
    pub fn followed(&self) -> usize {
        self.clusters().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::{Labels, Sample};

    fn batch(labels: &str) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for series in labels.split(';') {
            let pairs = series.split_whitespace().filter_map(|pair| pair.split_once('='));
            batch.push(&Labels::from_pairs(pairs), &[Sample { timestamp_ms: 1, value: 1.0 }]);
        }
        batch
    }

    fn stored(batch: &WriteBatch) -> Vec<String> {
        batch.series.iter().map(|s| decode_key(batch.key(s)).expect("a key").labels().to_string()).collect()
    }

    fn replicas() -> Replicas {
        Replicas::new(ReplicaOptions {
            cluster_label: "cluster".into(),
            replica_label: "__replica__".into(),
            failover: Duration::from_secs(30),
        })
    }

    #[test]
    fn one_replica_is_believed_until_it_is_silent() {
        let (replicas, start) = (replicas(), Instant::now());
        let judge = |labels: &str, second: u64| {
            let mut batch = batch(labels);
            let verdict = replicas.judge(&mut batch, start + Duration::from_secs(second));
            (verdict, stored(&batch))
        };
        let (a, b) = ("__name__=m cluster=c __replica__=a", "__name__=m cluster=c __replica__=b");
        let stripped = || (Verdict::Store, vec![r#"m{cluster="c"}"#.to_owned()]);
        assert_eq!(judge(a, 0), stripped());
        assert_eq!(judge(b, 1).0, Verdict::Drop(1));
        assert_eq!(judge(a, 20), stripped());
        assert_eq!(judge(b, 50).0, Verdict::Drop(1));
        assert_eq!(judge(b, 51), stripped());
        assert_eq!(judge(a, 52).0, Verdict::Drop(1));
        // Another cluster has a replica of its own; who has no labels is not concerned.
        assert_eq!(
            judge("__name__=m cluster=d __replica__=a;__name__=n __replica__=a", 53).1,
            [r#"m{cluster="d"}"#, "n"]
        );
        assert_eq!(
            judge("__name__=m __replica__=a", 54),
            (Verdict::Store, vec![r#"m{__replica__="a"}"#.into()])
        );
        assert_eq!((replicas.elections.get(), replicas.dropped.get(), replicas.followed()), (3, 3, 2));
    }

    #[test]
    fn clusters_are_bounded() {
        let (replicas, start) = (replicas(), Instant::now());
        let judge = |cluster: usize, second: u64| {
            let mut batch = batch(&format!("__name__=m cluster={cluster} __replica__=a"));
            replicas.judge(&mut batch, start + Duration::from_secs(second))
        };
        assert!((0..MAX_CLUSTERS).all(|cluster| judge(cluster, 0) == Verdict::Store));
        assert!(
            matches!(judge(MAX_CLUSTERS, 1), Verdict::Refuse(why) if why.contains("the most there may be"))
        );
        assert_eq!(judge(MAX_CLUSTERS, 31), Verdict::Store);
        assert_eq!(replicas.followed(), 1);
        let long = "x".repeat(MAX_REPLICA_LABEL_BYTES + 1);
        let mut batch = batch(&format!("__name__=m cluster=c __replica__={long}"));
        assert!(matches!(replicas.judge(&mut batch, start), Verdict::Refuse(_)));
    }
}

//! A push gateway: what short-lived jobs hand in, kept by groups until it is replaced, deleted or too old,
//! and scraped as one more job, without a network between.
//!
//! [`Gateway`] is the front: it takes pushes and gives out what there is. [`group`] has the nouns, [`body`]
//! reads what was pushed, [`path`] reads where it goes, [`persist`] keeps it over a restart, [`view`] shows
//! it. Nothing here serves HTTP or stores samples.
//!
//! Invariants:
//! 1. A series is in one group only, and a family has one type in all groups, unless checks are off.
//! 2. A group is replaced as a whole: who looks at one never sees half a push.

mod body;
mod group;
mod path;
mod persist;
mod view;

pub use body::Encoding;
pub use group::{Family, Group, Labels, Pushed, Value};
pub use persist::PersistError;
pub use view::{exposition, groups_json};

use crate::config::{MAX_PUSH_GROUPS, MAX_PUSH_SAMPLES};
use crate::counters::{Counter, single};
use crate::scraper::Clock;
use crate::status::{Family as MetricFamily, FamilyKind};
use hearth_wire::metadata::MetricType;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a gateway behaves.
#[derive(Clone)]
pub struct GatewayOptions {
    pub clock: Clock,
    /// The job that its groups are scraped as.
    pub job: String,
    /// Milliseconds that a group lives after its last push where the push does not say; none: for ever.
    pub ttl_ms: Option<i64>,
    /// Refuse pushes that contradict what is there.
    pub check: bool,
    /// Read escaped label names (`U__…`) in paths as the names they stand for.
    pub utf8_names: bool,
}

/// What a push does to what its group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing of it stays.
    Replace,
    /// Families of other names stay.
    Update,
}

/// Why a push was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushError {
    /// The path does not name a group.
    Path(String),
    /// The body cannot be read, or contradicts what is there.
    Body(String),
    /// There is no room.
    Full(String),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (PushError::Path(text) | PushError::Body(text) | PushError::Full(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for PushError {}

/// One push.
pub struct Push<'a> {
    pub group: Labels,
    pub mode: Mode,
    pub body: &'a [u8],
    pub content_type: &'a str,
    pub encoding: Encoding,
    /// Milliseconds that the group lives from now on; none: as the gateway has it.
    pub ttl_ms: Option<i64>,
}

#[derive(Default)]
struct Held {
    groups: BTreeMap<Labels, Arc<Group>>,
    /// Of every series in any group, by its spelling's hash, how often it is there.
    series: HashMap<u64, u32>,
    /// Of every family in any group, how many have it as which type.
    kinds: HashMap<String, Vec<(MetricType, u32)>>,
    /// Groups that grow too old, the first of them first.
    ends: BTreeSet<(i64, Labels)>,
    samples: usize,
    changes: u64,
}

#[derive(Default)]
struct Counters {
    taken: Counter,
    refused: Counter,
    deleted: Counter,
    expired: Counter,
}

/// Groups of pushed metrics.
pub struct Gateway {
    options: GatewayOptions,
    held: Mutex<Held>,
    counters: Counters,
}

impl Gateway {
    pub fn new(options: GatewayOptions) -> Gateway {
        Gateway { options, held: Mutex::default(), counters: Counters::default() }
    }

    pub fn options(&self) -> &GatewayOptions {
        &self.options
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        (self.options.clock)()
    }

    /// The group that a path names, as it stands behind `/metrics/`: `job/a/instance@base64/Yg`.
    pub fn group_of(&self, path: &str) -> Result<Labels, PushError> {
        path::group(path, self.options.utf8_names).map_err(PushError::Path)
    }

    /// Takes a push, or notes that the group had one that failed.
    pub fn push(&self, push: &Push<'_>) -> Result<(), PushError> {
        let now_ms = self.now_ms();
        let outcome = self.take(push, now_ms);
        match &outcome {
            Ok(()) => self.counters.taken.add(1),
            Err(_) => self.counters.refused.add(1),
        }
        outcome
    }

    fn take(&self, push: &Push<'_>, now_ms: i64) -> Result<(), PushError> {
        // Reading may take long: nobody waits for it.
        let families = body::families(push, now_ms).map_err(PushError::Body)?;
        let mut held = self.held();
        held.expire(now_ms, &self.counters.expired);
        let before = held.groups.get(&push.group).cloned();
        let mut group = match &before {
            Some(group) => Group::clone(group),
            None => Group::new(push.group.clone()),
        };
        if push.mode == Mode::Replace {
            group.families.clear();
        }
        group.families.extend(families);
        let checked = held.check(&group, before.as_deref(), self.options.check);
        if let Err(error @ PushError::Body(_)) = &checked {
            let mut failed = before.as_deref().map_or_else(|| Group::new(push.group.clone()), Group::clone);
            failed.failed_ms = Some(now_ms);
            failed.expires_ms = self.expiry(push, now_ms);
            if before.is_some() || held.groups.len() < MAX_PUSH_GROUPS {
                held.put(failed);
            }
            return Err(error.clone());
        }
        checked?;
        group.pushed_ms = Some(now_ms);
        group.expires_ms = self.expiry(push, now_ms);
        held.put(group);
        Ok(())
    }

    fn expiry(&self, push: &Push<'_>, now_ms: i64) -> Option<i64> {
        push.ttl_ms.or(self.options.ttl_ms).map(|ttl_ms| now_ms.saturating_add(ttl_ms))
    }

    /// Deletes exactly this group; that there is none is no error.
    pub fn delete(&self, group: &Labels) {
        let mut held = self.held();
        if held.remove(group) {
            self.counters.deleted.add(1);
        }
    }

    /// Deletes everything.
    pub fn wipe(&self) {
        let mut held = self.held();
        let changes = held.changes + 1;
        self.counters.deleted.add(held.groups.len() as u64);
        *held = Held { changes, ..Held::default() };
    }

    /// All groups that are not too old, by their labels.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        let now_ms = self.now_ms();
        let mut held = self.held();
        held.expire(now_ms, &self.counters.expired);
        held.groups.values().cloned().collect()
    }

    pub(crate) fn metrics(&self) -> Vec<MetricFamily> {
        let (groups, samples) = {
            let held = self.held();
            (held.groups.len(), held.samples)
        };
        let counter =
            |name, help, value: &Counter| single(name, help, FamilyKind::Counter, value.get() as f64);
        vec![
            single("hearth_push_groups", "Groups of pushed metrics.", FamilyKind::Gauge, groups as f64),
            single("hearth_push_series", "Series of pushed metrics.", FamilyKind::Gauge, samples as f64),
            counter("hearth_push_requests_taken_total", "Pushes that were taken.", &self.counters.taken),
            counter(
                "hearth_push_requests_refused_total",
                "Pushes that were refused.",
                &self.counters.refused,
            ),
            counter("hearth_push_groups_deleted_total", "Groups that were deleted.", &self.counters.deleted),
            counter(
                "hearth_push_groups_expired_total",
                "Groups that were not pushed again within their time to live.",
                &self.counters.expired,
            ),
        ]
    }
}

impl Held {
    fn put(&mut self, group: Group) {
        self.remove(&group.labels);
        for hash in group.series_hashes() {
            *self.series.entry(hash).or_default() += 1;
        }
        for (name, family) in &group.families {
            let kinds = self.kinds.entry(name.clone()).or_default();
            match kinds.iter_mut().find(|(kind, _)| *kind == family.kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((family.kind, 1)),
            }
        }
        if let Some(at_ms) = group.expires_ms {
            self.ends.insert((at_ms, group.labels.clone()));
        }
        self.samples += group.sample_count();
        self.groups.insert(group.labels.clone(), Arc::new(group));
        self.changes += 1;
    }

    fn remove(&mut self, labels: &Labels) -> bool {
        let Some(group) = self.groups.remove(labels) else { return false };
        for hash in group.series_hashes() {
            if let Some(count) = self.series.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    self.series.remove(&hash);
                }
            }
        }
        for (name, family) in &group.families {
            let Some(kinds) = self.kinds.get_mut(name.as_str()) else { continue };
            if let Some((_, count)) = kinds.iter_mut().find(|(kind, _)| *kind == family.kind) {
                *count -= 1;
            }
            kinds.retain(|(_, count)| *count > 0);
            if kinds.is_empty() {
                self.kinds.remove(name.as_str());
            }
        }
        if let Some(at_ms) = group.expires_ms {
            self.ends.remove(&(at_ms, labels.clone()));
        }
        self.samples -= group.sample_count();
        self.changes += 1;
        true
    }

    fn expire(&mut self, now_ms: i64, expired: &Counter) {
        let gone = self.ends.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        let gone: Vec<Labels> = gone.map(|(_, labels)| labels.clone()).collect();
        for labels in &gone {
            self.remove(labels);
        }
        expired.add(gone.len() as u64);
    }

    /// Room, and where wanted agreement with all other groups.
    fn check(&self, group: &Group, before: Option<&Group>, agreement: bool) -> Result<(), PushError> {
        if before.is_none() && self.groups.len() >= MAX_PUSH_GROUPS {
            return Err(PushError::Full(format!(
                "there are {MAX_PUSH_GROUPS} groups, the most that are kept"
            )));
        }
        let others = self.samples - before.map_or(0, Group::sample_count);
        if others + group.sample_count() > MAX_PUSH_SAMPLES {
            return Err(PushError::Full(format!("more than {MAX_PUSH_SAMPLES} series would be kept")));
        }
        if !agreement {
            return Ok(());
        }
        let mut own: HashMap<u64, u32> = HashMap::new();
        for hash in before.iter().flat_map(|group| group.series_hashes()) {
            *own.entry(hash).or_default() += 1;
        }
        for (name, family) in &group.families {
            let mut seen = std::collections::HashSet::new();
            for pushed in &family.samples {
                let hash = group::hash(&pushed.series);
                let elsewhere =
                    self.series.get(&hash).copied().unwrap_or(0) - own.get(&hash).copied().unwrap_or(0);
                if !seen.insert(hash) || elsewhere > 0 {
                    let series = String::from_utf8_lossy(&pushed.series);
                    return Err(PushError::Body(format!(
                        "collected metric {name:?} {{ {series} }} was collected before with the same name and label values"
                    )));
                }
            }
            let own = before.and_then(|group| group.families.get(name)).map(|family| family.kind);
            let rival = self
                .kinds
                .get(name.as_str())
                .into_iter()
                .flatten()
                .find(|(kind, count)| *kind != family.kind && *count > u32::from(own == Some(*kind)));
            if let Some((theirs, _)) = rival {
                return Err(PushError::Body(format!(
                    "metric family {name:?} is a {} here and a {} in another group",
                    family.kind.name(),
                    theirs.name()
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

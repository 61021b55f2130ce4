//! What is known of a cluster: a table for each kind of object, filled by one reflector for each namespace,
//! and which target groups a change concerns.
//!
//! Invariants:
//! 1. a table is ready when every reflector of its kind has brought a whole list;
//! 2. a group is dirty when its own object changed, or one that was looked up to build it;
//! 3. an object that is set to what it was already changes nothing.

use super::objects::{
    EndpointSlice, Endpoints, Ingress, Job, Namespace, Node, Pod, ReplicaSet, Resource, Service,
};
use crate::counters::DiscoveryCounters;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Objects of one kind, by `namespace/name`.
pub struct Table<T> {
    objects: BTreeMap<String, T>,
    /// Reflectors that have not brought a list yet.
    pub pending: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { objects: BTreeMap::new(), pending: 0 }
    }
}

/// Every table; those of kinds that a role does not need stay empty.
#[derive(Default)]
pub struct Tables {
    pub pods: Table<Pod>,
    pub services: Table<Service>,
    pub nodes: Table<Node>,
    pub namespaces: Table<Namespace>,
    pub endpoints: Table<Endpoints>,
    pub slices: Table<EndpointSlice>,
    pub ingresses: Table<Ingress>,
    pub replica_sets: Table<ReplicaSet>,
    pub jobs: Table<Job>,
}

/// Finds the table of a kind.
pub trait Kept: Resource + Sized {
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

macro_rules! kept {
    ($($type:ident $field:ident)*) => {
        $(impl Kept for $type {
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }
            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
        })*

        impl Tables {
            fn ready(&self) -> bool {
                $(self.$field.pending == 0)&&*
            }
        }
    };
}

kept! {
    Pod pods
    Service services
    Node nodes
    Namespace namespaces
    Endpoints endpoints
    EndpointSlice slices
    Ingress ingresses
    ReplicaSet replica_sets
    Job jobs
}

/// An object, by kind and key.
type Thing = (&'static str, String);

/// Remembers what was looked up while a group was built.
pub struct Looker<'a> {
    tables: &'a Tables,
    seen: BTreeSet<Thing>,
}

impl<'a> Looker<'a> {
    pub fn get<T: Kept>(&mut self, key: &str) -> Option<&'a T> {
        self.seen.insert((T::PLURAL, key.to_owned()));
        T::table(self.tables).objects.get(key)
    }
}

/// The tables, and what has to be built anew.
pub struct World {
    tables: Tables,
    counters: Arc<DiscoveryCounters>,
    /// The kind whose objects are groups.
    main: &'static str,
    /// Groups that looked at a thing.
    links: HashMap<Thing, BTreeSet<String>>,
    /// What a group looked at.
    looked: HashMap<String, BTreeSet<Thing>>,
    dirty: BTreeSet<String>,
}

impl World {
    pub fn new(main: &'static str, counters: Arc<DiscoveryCounters>) -> World {
        World {
            tables: Tables::default(),
            counters,
            main,
            links: HashMap::new(),
            looked: HashMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// One more reflector will bring objects of this kind.
    pub fn expect<T: Kept>(&mut self) {
        T::table_mut(&mut self.tables).pending += 1;
    }

    pub fn ready(&self) -> bool {
        self.tables.ready()
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn touch<T: Kept>(&mut self, key: &str, event: &'static str) {
        self.counters.kubernetes_event(T::ROLE, event);
        if self.main == T::PLURAL {
            self.dirty.insert(key.to_owned());
        }
        if let Some(groups) = self.links.get(&(T::PLURAL, key.to_owned())) {
            self.dirty.extend(groups.iter().cloned());
        }
    }

    pub fn set<T: Kept>(&mut self, object: T) {
        let key = object.meta().key();
        let table = &mut T::table_mut(&mut self.tables).objects;
        let event = match table.get(&key) {
            Some(old) if *old == object => return self.counters.kubernetes_event(T::ROLE, "update"),
            Some(_) => "update",
            None => "add",
        };
        table.insert(key.clone(), object);
        self.touch::<T>(&key, event);
    }

    pub fn remove<T: Kept>(&mut self, key: &str) {
        if T::table_mut(&mut self.tables).objects.remove(key).is_some() {
            self.touch::<T>(key, "delete");
        }
    }

    /// Takes over a whole list of one namespace (all where it is empty).
    pub fn replace<T: Kept>(&mut self, namespace: &str, list: Vec<T>, first: bool) {
        let keys: BTreeSet<String> = list.iter().map(|object| object.meta().key()).collect();
        let table = T::table_mut(&mut self.tables);
        if first {
            table.pending = table.pending.saturating_sub(1);
        }
        let within =
            |key: &String| namespace.is_empty() || key.split_once('/').is_some_and(|(of, _)| of == namespace);
        let gone: Vec<String> =
            table.objects.keys().filter(|key| within(key) && !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove::<T>(key));
        list.into_iter().for_each(|object| self.set(object));
    }

    /// Builds every dirty group; `build` gets a group's key and says what it holds, none where its object
    /// is gone.
    pub fn rebuild<G>(&mut self, mut build: impl FnMut(&str, &mut Looker<'_>) -> G) -> Vec<(String, G)> {
        let mut out = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let mut looker = Looker { tables: &self.tables, seen: BTreeSet::new() };
            let group = build(&key, &mut looker);
            let seen = looker.seen;
            for thing in self.looked.remove(&key).unwrap_or_default().difference(&seen) {
                if let Some(groups) = self.links.get_mut(thing) {
                    groups.remove(&key);
                    if groups.is_empty() {
                        self.links.remove(thing);
                    }
                }
            }
            for thing in &seen {
                self.links.entry(thing.clone()).or_default().insert(key.clone());
            }
            self.looked.insert(key.clone(), seen);
            out.push((key, group));
        }
        out
    }

    /// Forgets what a group that is gone looked at.
    pub fn forget(&mut self, key: &str) {
        for thing in self.looked.remove(key).unwrap_or_default() {
            if let Some(groups) = self.links.get_mut(&thing) {
                groups.remove(key);
                if groups.is_empty() {
                    self.links.remove(&thing);
                }
            }
        }
    }
}

//! The ids of the series that share a label pair: a list while short, a bitmap beyond.

use roaring::RoaringBitmap;
use std::ops::Range;

/// Ids in a list cost 4 bytes each and no header; from here on a bitmap's containers are smaller.
const LIST_IDS: usize = 32;

/// Ascending series ids.
#[derive(Debug, Default)]
pub enum Postings {
    #[default]
    None,
    /// Most pairs of a high-cardinality label have exactly one series.
    One(u32),
    List(Vec<u32>),
    Bitmap(Box<Ids>),
}

/// A bitmap, and the ids that came last where each followed the one before: these are put into it together. Series
/// of one target come one after the other, and nearly all of their labels are the same.
#[derive(Debug, Default)]
pub struct Ids {
    bitmap: RoaringBitmap,
    /// None of it is in the bitmap, and all that is there is smaller or larger.
    run: Range<u32>,
}

impl Ids {
    #[inline]
    fn push(&mut self, id: u32) {
        if id == self.run.end && !self.run.is_empty() && id < u32::MAX {
            self.run.end += 1;
            return;
        }
        self.settle();
        if id < u32::MAX && self.bitmap.max().is_none_or(|last| last < id) {
            self.run = id..id + 1;
        } else {
            self.bitmap.insert(id);
        }
    }

    /// Puts the run into the bitmap.
    fn settle(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.len() == 1 {
            self.bitmap.insert(run.start);
        } else {
            self.bitmap.insert_range(run);
        }
    }

    fn len(&self) -> u64 {
        self.bitmap.len() + self.run.len() as u64
    }
}

impl Postings {
    /// Adds an id that is not there.
    pub fn push(&mut self, id: u32) {
        match self {
            Postings::None => *self = Postings::One(id),
            Postings::One(other) => *self = Postings::List(vec![id.min(*other), id.max(*other)]),
            Postings::List(ids) if ids.len() < LIST_IDS => {
                let at = ids.partition_point(|before| *before < id);
                ids.insert(at, id);
            }
            Postings::List(ids) => {
                let mut all = Ids { bitmap: ids.iter().copied().collect(), run: 0..0 };
                all.push(id);
                *self = Postings::Bitmap(Box::new(all));
            }
            Postings::Bitmap(ids) => ids.push(id),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Postings::None => 0,
            Postings::One(_) => 1,
            Postings::List(ids) => ids.len() as u64,
            Postings::Bitmap(ids) => ids.len(),
        }
    }

    /// Whether there are none; a bitmap's ids are not counted for it.
    pub fn is_empty(&self) -> bool {
        match self {
            Postings::None => true,
            Postings::One(_) => false,
            Postings::List(ids) => ids.is_empty(),
            Postings::Bitmap(ids) => ids.bitmap.is_empty() && ids.run.is_empty(),
        }
    }

    /// Takes an id out.
    pub fn remove(&mut self, id: u32) {
        match self {
            Postings::None => {}
            Postings::One(only) if *only == id => *self = Postings::None,
            Postings::One(_) => {}
            Postings::List(ids) => {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    *self = Postings::None;
                }
            }
            Postings::Bitmap(ids) => {
                ids.settle();
                ids.bitmap.remove(id);
                if ids.bitmap.is_empty() {
                    *self = Postings::None;
                }
            }
        }
    }

    /// All ids, ascending.
    pub fn ids(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Postings::None => Box::new(std::iter::empty()),
            Postings::One(id) => Box::new(std::iter::once(*id)),
            Postings::List(ids) => Box::new(ids.iter().copied()),
            Postings::Bitmap(ids) => Box::new(ids.bitmap.iter().chain(ids.run.clone())),
        }
    }

    pub fn union_into(&self, out: &mut RoaringBitmap) {
        match self {
            Postings::None => {}
            Postings::One(id) => {
                out.insert(*id);
            }
            Postings::List(ids) => out.extend(ids.iter().copied()),
            Postings::Bitmap(ids) => {
                *out |= &ids.bitmap;
                out.insert_range(ids.run.clone());
            }
        }
    }

    pub fn intersects(&self, other: &RoaringBitmap) -> bool {
        match self {
            Postings::None => false,
            Postings::One(id) => other.contains(*id),
            Postings::List(ids) => ids.iter().any(|id| other.contains(*id)),
            Postings::Bitmap(ids) => {
                let run = !ids.run.is_empty() && other.range_cardinality(ids.run.clone()) > 0;
                run || !ids.bitmap.is_disjoint(other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_holds_the_same_ids() {
        for count in [0u32, 1, 2, 31, 32, 33, 34, 1000] {
            let mut postings = Postings::default();
            (0..count).for_each(|id| postings.push(id * 3));
            let mut all = RoaringBitmap::new();
            postings.union_into(&mut all);
            assert_eq!(postings.len(), u64::from(count));
            assert!(all.iter().eq((0..count).map(|id| id * 3)));
            let third: RoaringBitmap = [0, 1].into_iter().collect();
            assert_eq!(postings.intersects(&third), count > 0);
            assert!(!postings.intersects(&[1, 2].into_iter().collect()));
        }
    }

    #[test]
    fn ids_come_and_go_in_any_order() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut postings, mut expect) = (Postings::default(), std::collections::BTreeSet::new());
        for _ in 0..5_000 {
            let id = random.u32(0..60);
            if expect.remove(&id) {
                postings.remove(id);
            } else if expect.len() < 3 || random.u32(0..3) > 0 {
                // Runs, too.
                for id in (id..id + random.u32(1..4)).filter(|id| expect.insert(*id)).collect::<Vec<_>>() {
                    postings.push(id);
                }
            }
            let other: RoaringBitmap = (0..3).map(|_| random.u32(0..70)).collect();
            assert_eq!(postings.intersects(&other), expect.iter().any(|id| other.contains(*id)));
            let mut all = RoaringBitmap::new();
            postings.union_into(&mut all);
            assert!(all.iter().eq(expect.iter().copied()));
            assert!(postings.ids().eq(expect.iter().copied()) && postings.len() == expect.len() as u64);
            assert_eq!(postings.is_empty(), expect.is_empty());
        }
    }
}

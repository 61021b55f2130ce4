//! The ids of the series that share a label pair: a list while short, a bitmap beyond.

use roaring::RoaringBitmap;

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
    Bitmap(Box<RoaringBitmap>),
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
                let mut bitmap: RoaringBitmap = ids.iter().copied().collect();
                bitmap.insert(id);
                *self = Postings::Bitmap(Box::new(bitmap));
            }
            Postings::Bitmap(bitmap) => {
                bitmap.insert(id);
            }
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Postings::None => 0,
            Postings::One(_) => 1,
            Postings::List(ids) => ids.len() as u64,
            Postings::Bitmap(bitmap) => bitmap.len(),
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
            Postings::Bitmap(bitmap) => {
                bitmap.remove(id);
                if bitmap.is_empty() {
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
            Postings::Bitmap(bitmap) => Box::new(bitmap.iter()),
        }
    }

    pub fn union_into(&self, out: &mut RoaringBitmap) {
        match self {
            Postings::None => {}
            Postings::One(id) => {
                out.insert(*id);
            }
            Postings::List(ids) => out.extend(ids.iter().copied()),
            Postings::Bitmap(bitmap) => *out |= bitmap.as_ref(),
        }
    }

    pub fn intersects(&self, other: &RoaringBitmap) -> bool {
        match self {
            Postings::None => false,
            Postings::One(id) => other.contains(*id),
            Postings::List(ids) => ids.iter().any(|id| other.contains(*id)),
            Postings::Bitmap(bitmap) => !bitmap.is_disjoint(other),
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
                expect.insert(id);
                postings.push(id);
            }
            assert!(postings.ids().eq(expect.iter().copied()) && postings.len() == expect.len() as u64);
        }
    }
}

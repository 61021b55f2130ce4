//! Series that ended leave the head, and what they held is used again: their row, their place among the
//! label sets, their strings.
//!
//! In two steps, so that a reader in the middle of its work is not misled: first a series is *unlinked* (no
//! write and no later reader finds it), then, once the readers from before have left, its row is *freed*.

use super::Head;
use super::labels::Place;
use super::series::Series;
use hearth_model::{Labels, TimeRange};

impl Head {
    /// Whether the series is there and has no sample, nor the log one that was deleted.
    pub fn is_idle(&self, id: u32) -> bool {
        let unused = self.series[id as usize].living && !self.overlaps(id, TimeRange::ALL);
        unused && self.deleted_until(id).is_none()
    }

    /// Takes a series out of the table and the index.
    pub fn unlink(&mut self, id: u32) {
        let series = &mut self.series[id as usize];
        series.living = false;
        let hash = series.hash;
        if let Ok(entry) = self.table.find_entry(super::table_hash(hash), |found| *found == id) {
            entry.remove();
        }
        let labels = self.labels.get(series.labels());
        self.index.remove(id, labels);
        self.living.remove(id);
        self.other_references.retain(|(_, of)| *of != id);
        self.figures.removed += 1;
    }

    /// Gives an unlinked series' row to others.
    pub fn free(&mut self, id: u32) {
        let mut row = std::mem::replace(&mut self.series[id as usize], Series::new(0, 0, Place::NONE));
        self.series[id as usize].living = false;
        self.chunk_bytes -= row.release(&mut self.streams);
        self.labels.release(row.labels(), |symbol| self.index.symbols.release(symbol));
        self.free_rows.push(id);
        if self.labels.is_mostly_garbage() {
            let places = self.series.iter_mut().map(Series::labels_mut);
            self.labels.rewrite(places.filter(|place| **place != Place::NONE));
        }
    }

    /// Unlinks and frees all series without samples: while there are no readers.
    pub fn collect_idle(&mut self) {
        for id in 0..self.rows() {
            if self.is_idle(id) {
                self.unlink(id);
                self.free(id);
            }
        }
    }

    /// Calls `with` for the labels of each series that is found.
    pub fn each_living(&self, mut with: impl FnMut(Labels)) {
        (0..self.rows()).filter(|id| self.is_living(*id)).for_each(|id| with(self.labels_of(id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::{MatchOp, Matcher};

    fn labels(i: u32) -> Labels {
        Labels::from_pairs([("__name__", "up".to_owned()), ("instance", format!("host-{i}"))])
    }

    #[test]
    fn what_ended_is_used_again() {
        let mut head = Head::default();
        let mut size_bytes = 0;
        for round in 0..300u32 {
            for i in 0..100 {
                let id = head.create(u128::from(round * 100 + i + 1), &labels(round * 100 + i), None);
                head.append(id, i64::from(round), 1.0);
                assert_eq!(head.labels_of(id), labels(round * 100 + i));
            }
            assert_eq!((head.series_count(), head.index().symbols.in_use()), (100, 103));
            let host = Matcher::new(MatchOp::Regex, "instance", "host-.*7").expect("valid");
            assert_eq!(head.select(&[host]).len(), 10);
            assert_eq!(head.select(&[]).len(), 100);
            let ids: Vec<u32> = head.select(&[]).iter().collect();
            let first = head.labels_of(ids[0]);
            for id in &ids {
                head.truncate(*id, i64::MAX);
                assert!(head.is_idle(*id));
                head.unlink(*id);
            }
            assert_eq!((head.find(u128::from(round * 100 + 1), Some(0)), head.series_count()), (None, 0));
            assert_eq!(head.labels_of(ids[0]), first, "a reader from before knows it still");
            ids.iter().for_each(|id| head.free(*id));
            match round {
                0..5 => size_bytes = head.size_bytes(),
                // Text may lie unused for a while before it is written anew.
                _ => assert!(
                    head.size_bytes() <= size_bytes + (1 << 17),
                    "round {round}: {} bytes",
                    head.size_bytes()
                ),
            }
        }
        assert_eq!(head.rows(), 100);
    }
}

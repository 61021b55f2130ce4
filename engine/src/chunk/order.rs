//! A series' samples out of several places, in order of time.
//!
//! Blocks never overlap, but for what a fault left behind: then a time that two of them have counts once.

use super::histogram::Timed;

/// Sorts by time where that is needed; a time is kept once, as a float rather than as a histogram.
pub fn put_in_order(times: &mut Vec<i64>, values: &mut Vec<f64>, histograms: &mut Vec<Timed>) {
    if !times.is_sorted_by(|a, b| a < b) {
        let mut rows: Vec<(i64, f64)> = times.drain(..).zip(values.drain(..)).collect();
        rows.sort_by_key(|(t, _)| *t);
        rows.dedup_by_key(|(t, _)| *t);
        times.extend(rows.iter().map(|(t, _)| *t));
        values.extend(rows.iter().map(|(_, v)| *v));
    }
    if !histograms.is_sorted_by(|a, b| a.0 < b.0) {
        histograms.sort_by_key(|(t, _)| *t);
        histograms.dedup_by_key(|(t, _)| *t);
    }
    if !histograms.is_empty() && !times.is_empty() {
        histograms.retain(|(t, _)| times.binary_search(t).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::Histogram;
    use std::sync::Arc;

    #[test]
    fn each_time_is_kept_once_and_in_order() {
        let (mut times, mut values) = (vec![1, 5, 9, 3, 5], vec![1.0, 5.0, 9.0, 3.0, 5.0]);
        let mut histograms = [7, 9, 2, 7].map(|t| (t, Arc::new(Histogram::stale()))).to_vec();
        put_in_order(&mut times, &mut values, &mut histograms);
        assert_eq!((times, values), (vec![1, 3, 5, 9], vec![1.0, 3.0, 5.0, 9.0]));
        assert_eq!(histograms.iter().map(|h| h.0).collect::<Vec<_>>(), [2, 7]);
    }
}

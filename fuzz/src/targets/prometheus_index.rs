//! Prometheus' index as a file, and its parts by themselves, because chance does not find a checksum.

use hearth_engine::prometheus::block::labels;
use hearth_engine::prometheus::index::{Index, SeriesEntry, parse_symbols, push_series, read_series};

pub fn run(data: &[u8]) {
    let _ = parse_symbols(data);
    let mut series = SeriesEntry::default();
    if read_series(data, &mut series).is_some() {
        let mut written = Vec::new();
        push_series(&mut written, &series.pairs, &series.chunks);
    }
    let Ok(index) = Index::of_bytes(data.to_vec()) else { return };
    let mut walk = index.walk();
    let mut steps = 0;
    while walk.next(&mut series).is_ok_and(|more| more) {
        let _ = labels(&index, &series.pairs);
        steps += 1;
        assert!(steps <= data.len(), "a series takes a byte at least");
    }
    let mut lists = Vec::new();
    let _ = index.postings_table(|_, _, at| lists.push(at));
    for at in lists {
        let _ = index.postings(at);
    }
}

//! A recording of the real node_exporter, as `perf/bytes` takes one before it measures.

use crate::setup::peer;
use hearth_perf::prepared::Source;
use hearth_perf::recorded::{Player, Recording, record};
use std::time::Duration;

#[test]
fn a_recording_is_taken_and_played_by_several_hosts() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    record(&peer("prometheus-node-exporter"), &pages, 3, Duration::from_millis(100)).expect("recorded");
    let recording = Recording::read(&pages).expect("it reads back");
    assert_eq!(recording.pages, 3);
    let mut player = Player::new(recording, 2);
    let of_both = player.len();
    assert!(of_both > 200 && of_both.is_multiple_of(2), "{of_both} series");
    let clock = (0..of_both)
        .find(|series| contains(player.labels(*series), b"node_time_seconds"))
        .expect("a series that every exporter has");
    let before = player.value(clock);
    player.advance();
    assert!(player.value(clock) > before, "time goes on");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

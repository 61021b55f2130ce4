//! A server with nothing to scrape rests.

use crate::setup::{folder, launch_hearth};
use std::time::{Duration, Instant};

/// The most of one core that an idle server may use. Far above what it needs, so that a busy machine does
/// not fail the test; a loop that spins is a hundred times over it.
const MOST_OF_A_CORE: f64 = 0.01;

/// Long enough that a hundredth of a second of CPU, the unit it is counted in, weighs little.
const WATCHED: Duration = Duration::from_secs(20);

/// Start-up work may still run for a moment after a server is ready.
const SETTLED: Duration = Duration::from_secs(3);

#[test]
fn an_idle_server_uses_less_than_a_hundredth_of_a_core() {
    let folder = folder();
    let server = launch_hearth(folder.path()).start().expect("hearth starts");
    std::thread::sleep(SETTLED);
    let (began, before_s) = (Instant::now(), server.cpu_s().expect("/proc can be read"));
    std::thread::sleep(WATCHED);
    let used_s = server.cpu_s().expect("/proc can be read") - before_s;
    let share = used_s / began.elapsed().as_secs_f64();
    println!("{:.2} % of a core", share * 100.0);
    assert!(share < MOST_OF_A_CORE, "idle, it used {:.2} % of a core", share * 100.0);
    server.stop().expect("it ends when asked to");
}

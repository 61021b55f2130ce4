//! How long the medium takes, as far as a thread can tell: the time of a call without what the thread then waited for
//! a processor, which says nothing of the medium and much of the machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Longer than what the kernel writes there: three numbers.
const TEXT_BYTES: usize = 80;

/// For the thread that made it.
pub struct Stopwatch {
    /// Where the kernel counts for this thread, if it does.
    counts: Option<File>,
}

impl Stopwatch {
    pub fn new() -> Stopwatch {
        Stopwatch { counts: File::open("/proc/thread-self/schedstat").ok() }
    }

    /// What `work` gives, and whether the medium took longer than that for it.
    pub fn time<T>(&self, patience: Duration, work: impl FnOnce() -> T) -> (T, bool) {
        let (started, waited) = (Instant::now(), self.waited());
        let done = work();
        let took = started.elapsed();
        // The kernel is only asked again where that may change the answer.
        (done, took > patience && took.saturating_sub(self.waited().saturating_sub(waited)) > patience)
    }

    /// So long has the thread waited for a processor while it was ready.
    fn waited(&self) -> Duration {
        let mut text = [0; TEXT_BYTES];
        let read = self.counts.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        Duration::from_nanos(read.and_then(|length| second_number(&text[..length])).unwrap_or(0))
    }
}

/// Of nanoseconds on a processor, nanoseconds of waiting for one, and turns.
fn second_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_is_read() {
        assert_eq!(second_number(b"146641250 109544 4\n"), Some(109_544));
        for text in [&b""[..], b"1", b"1 x 2", b"\xff 2"] {
            assert_eq!(second_number(text), None);
        }
    }

    #[test]
    fn what_a_thread_waits_for_is_the_mediums_time() {
        let nap = Duration::from_millis(5);
        let work = || {
            std::thread::sleep(nap);
            7
        };
        for watch in [Stopwatch::new(), Stopwatch { counts: None }] {
            // Two clocks are compared, which may differ by a little.
            assert_eq!(watch.time(nap * 9 / 10, work), (7, true));
            assert_eq!(watch.time(Duration::MAX, work), (7, false));
        }
    }
}

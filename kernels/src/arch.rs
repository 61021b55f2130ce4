//! What is asked of the machine itself: which vector instructions it has (detected once, used by every kernel), memory
//! ahead of its use, and turns on its processors.

use std::io;
use std::sync::LazyLock;
use std::time::Duration;

/// The machine's best instruction set.
pub(crate) static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// What was found, for the log.
pub fn detected() -> &'static str {
    match *ARCH {
        pulp::Arch::Scalar => "scalar",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pulp::Arch::V3(_) => "avx2",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pulp::Arch::V4(_) => "avx512",
        #[allow(unreachable_patterns)] // which other variants exist depends on the target
        _ => "vector",
    }
}

/// Vector instructions that a kernel may use where the machine has them. Less than all serves tests, which
/// compare each with the scalar specification, and measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Scalar,
    Avx2,
    Avx512,
}

impl Level {
    pub const WIDEST: Level = Level::Avx512;

    pub const ALL: [Level; 3] = [Level::Scalar, Level::Avx2, Level::Avx512];
}

/// Asks the processor for what stands here, before it is needed; it says nothing about what is there.
#[inline]
pub fn prefetch<T: ?Sized>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and it faults on no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// How a thread uses its processor, which the scheduler is told: a thread of short turns runs as soon as it wakes, before
/// those with work for long ones. Its share of the processors stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Takes in requests and sends answers, or gives way often, which costs the rest of a turn: [`SHORT_TURN`].
    Short,
    /// Has work at length: [`LONG_TURN`].
    Long,
}

/// The shortest that Linux grants.
const SHORT_TURN: Duration = Duration::from_micros(100);
/// Twice what Linux gives by itself, and below its tick.
const LONG_TURN: Duration = Duration::from_millis(3);

impl Turns {
    /// Asks for them for the calling thread. A thread with another policy than the ordinary one keeps it; a kernel
    /// without such turns (before Linux 6.12) takes no notice. A container may forbid to ask.
    pub fn ask(self) -> io::Result<()> {
        ask_for_turns(match self {
            Turns::Short => SHORT_TURN,
            Turns::Long => LONG_TURN,
        })
    }
}

#[cfg(target_os = "linux")]
fn ask_for_turns(length: Duration) -> io::Result<()> {
    let size = size_of::<libc::sched_attr>() as u32;
    let mut wanted = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `size` bytes of the structure, which is alive and ours alone.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut wanted, size, 0) };
    if known != 0 {
        return Err(io::Error::last_os_error());
    }
    if wanted.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    wanted.size = size;
    wanted.sched_runtime = length.as_nanos() as u64;
    // SAFETY: the kernel reads at most the size that the structure names.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_turns(_length: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_for_turns_and_keeps_what_else_it_has() {
        let policy_and_nice = || {
            // SAFETY: both ask of the calling thread and take no memory of ours.
            unsafe { (libc::sched_getscheduler(0), libc::getpriority(libc::PRIO_PROCESS, 0)) }
        };
        let before = policy_and_nice();
        for turns in [Turns::Short, Turns::Long] {
            if let Err(error) = turns.ask() {
                eprintln!("{turns:?} turns are not granted here: {error}");
            }
            assert_eq!(policy_and_nice(), before);
        }
    }
}

//! Which vector instructions this machine has: detected once, used by every kernel.

use std::sync::LazyLock;

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

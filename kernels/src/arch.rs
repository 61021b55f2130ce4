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

//! Whether this kernel lets us use io_uring: asked once, with a ring of our own, before glommio is
//! touched (containers forbid it by default, and a runtime that finds out too late cannot fall back).

use io_uring::{IoUring, Probe, opcode};

/// What glommio and the log need. A kernel without one of these is treated as one without io_uring.
const NEEDED: [(u8, &str); 10] = [
    (opcode::Nop::CODE, "NOP"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::PollRemove::CODE, "POLL_REMOVE"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "TIMEOUT_REMOVE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
];
/// glommio registers about this much locked memory for each executor.
const LOCKED_MEMORY_BYTES: u64 = 512 << 10;

/// `Err` names what is missing.
pub fn io_uring() -> Result<(), String> {
    let ring = IoUring::new(4).map_err(|e| format!("io_uring_setup: {e}"))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|e| format!("io_uring probe: {e}"))?;
    if let Some((_, name)) = NEEDED.iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(format!("the kernel's io_uring lacks {name}"));
    }
    raise_locked_memory()
}

/// Raises the soft limit to the hard one; an error when that is too little.
fn raise_locked_memory() -> Result<(), String> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Memlock);
    let enough = |value: Option<u64>| value.is_none_or(|bytes| bytes >= LOCKED_MEMORY_BYTES);
    if enough(limit.current) {
        return Ok(());
    }
    limit.current = limit.maximum;
    if !enough(limit.maximum) || setrlimit(Resource::Memlock, limit).is_err() {
        let have = limit.maximum.unwrap_or(u64::MAX);
        return Err(format!(
            "locked memory limit of {have} bytes, {LOCKED_MEMORY_BYTES} are needed (ulimit -l)"
        ));
    }
    Ok(())
}

//! Pages that go bad under a mapping. Where the medium cannot give a page that was mapped (it failed since it was last
//! read, or somebody cut the file), touching it raises SIGBUS, which would end the process. Here the signal's handler
//! puts a page of zeros in its place and counts; who read meanwhile throws away what it read.
//!
//! Rules:
//! 1. only addresses within mappings that are [`watch`]ed are our business; anything else goes to the handler that was
//!    there before, and so ends the process as ever;
//! 2. the handler makes one system call and touches atomics, nothing else: it may interrupt anything;
//! 3. who reads a mapping asks [`count`] before and after: where the two differ, nothing of what it read counts.

use rustix::mm::{MapFlags, ProtFlags};
use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Mappings at one time; further ones are not watched, and not made ([`watch`] says so). Each costs 16 bytes.
const SLOTS: usize = 1 << 15;

/// One watched mapping: its first address, 0 where there is none, and the one behind its last.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
}

static WATCHED: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; SLOTS];
/// Slots from this one on were never used.
static USED: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Pages that went bad under a mapping, since the start.
#[inline]
pub fn count() -> u64 {
    COUNT.load(Ordering::Acquire)
}

/// A mapping that is watched for as long as this lives.
#[derive(Debug)]
pub struct Watch {
    slot: usize,
}

/// Watches a mapping; none where too many are watched already.
pub fn watch(addresses: Range<usize>) -> Option<Watch> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    for (slot, place) in WATCHED.iter().enumerate() {
        // 1: taken, and no address of a mapping.
        if place.start.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            place.end.store(addresses.end, Ordering::Release);
            place.start.store(addresses.start, Ordering::Release);
            USED.fetch_max(slot + 1, Ordering::AcqRel);
            return Some(Watch { slot });
        }
    }
    None
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED[self.slot].start.store(0, Ordering::Release);
    }
}

fn is_watched(address: usize) -> bool {
    let used = USED.load(Ordering::Acquire);
    WATCHED[..used.min(SLOTS)].iter().any(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        let end = slot.end.load(Ordering::Acquire);
        // A slot that changed meanwhile is none of a mapping that somebody is reading.
        start > 1 && start <= address && address < end && slot.start.load(Ordering::Acquire) == start
    })
}

/// What SIGBUS did before.
static PREVIOUS_HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_TAKES_INFO: AtomicUsize = AtomicUsize::new(0);
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

fn install() {
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
    // SAFETY: zeroed is a valid sigaction, every field is a number or a pointer that may be null; the handler keeps
    // to what a handler may do (rule 2) and has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        let mut previous: libc::sigaction = std::mem::zeroed();
        // Before ours is there, so that a signal right then finds it.
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) == 0 {
            PREVIOUS_HANDLER.store(previous.sa_sigaction, Ordering::Release);
            PREVIOUS_TAKES_INFO
                .store(usize::from(previous.sa_flags & libc::SA_SIGINFO != 0), Ordering::Release);
        }
        if libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0 {
            let error = std::io::Error::last_os_error();
            tracing::warn!(%error, "SIGBUS cannot be handled: a page that goes bad ends the process");
        }
    }
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo that lives as long as the handler runs, and SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if is_watched(address) {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = address & !(page_bytes - 1);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the page lies in a mapping of ours, which lives as long as the reader that was interrupted; reading
        // zeros instead of what is not there is what that reader is prepared for (rule 3). rustix makes the system
        // call itself: errno is untouched.
        let put = unsafe {
            rustix::mm::mmap_anonymous(page as *mut core::ffi::c_void, page_bytes, ProtFlags::READ, flags)
        };
        if put.is_ok() {
            COUNT.fetch_add(1, Ordering::AcqRel);
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS_HANDLER.load(Ordering::Acquire);
    // SAFETY: the address was a handler's when it was asked for, of the kind that its flags said; resetting to the
    // default is allowed in a handler, and the instruction that faulted then ends the process.
    unsafe {
        if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
        } else if PREVIOUS_TAKES_INFO.load(Ordering::Acquire) != 0 {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            std::mem::transmute::<usize, Handler>(previous)(signal, info, context);
        } else {
            std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(previous)(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mapped::Mapped;
    use super::*;
    use std::fs::File;

    /// A file that was cut under its mapping: what is gone reads as zeros and is counted, what is there is there.
    #[test]
    fn a_page_that_is_gone_is_counted_and_no_end() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("file");
        let page = rustix::param::page_size();
        std::fs::write(&path, vec![7u8; 4 * page]).expect("writes");
        let mapped = Mapped::open(&path).expect("maps");
        assert_eq!((mapped.bytes()[0], mapped.bytes()[3 * page]), (7, 7));
        let before = count();
        File::options().write(true).open(&path).expect("opens").set_len(page as u64).expect("cuts");
        let sum: u64 = mapped.bytes().iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!((sum, count() - before), (7 * page as u64, 3));
        assert!(mapped.read_at(2 * page, &mut [0; 8]).is_err());
        let start = mapped.bytes().as_ptr() as usize;
        assert!(is_watched(start) && !is_watched(start + 4 * page));
        drop(mapped);
        assert!(!is_watched(start));
    }
}

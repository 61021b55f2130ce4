//! jemalloc, tuned so that memory which a burst needed goes back to the system soon. The feature
//! `jemalloc` is on by default; without it (no `make` at hand) the system's allocator serves.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Time after which unused pages are given back, in milliseconds.
#[cfg(feature = "jemalloc")]
const DECAY_MS: isize = 2_000;

/// Gives unused pages back from a background thread, so that no request pays for it.
#[cfg(feature = "jemalloc")]
pub fn tune() {
    use tikv_jemalloc_ctl::{Access, AsName, background_thread};
    if let Err(error) = background_thread::write(true) {
        tracing::debug!(err = %error, "the allocator has no background thread");
    }
    for name in ["arenas.dirty_decay_ms\0", "arenas.muzzy_decay_ms\0"] {
        if let Err(error) = name.name().write(DECAY_MS) {
            tracing::debug!(err = %error, "the allocator's decay could not be set");
        }
    }
}

#[cfg(not(feature = "jemalloc"))]
pub fn tune() {}

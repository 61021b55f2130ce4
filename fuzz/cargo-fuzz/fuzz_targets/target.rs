//! The one libFuzzer binary: it runs the target that `HEARTH_FUZZ_TARGET` names. What the target does
//! stands in the workspace, where every toolchain tests it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static NAME: LazyLock<String> = LazyLock::new(|| {
    std::env::var("HEARTH_FUZZ_TARGET").expect("HEARTH_FUZZ_TARGET names the target to run")
});

fuzz_target!(|data: &[u8]| hearth_fuzz::run(&NAME, data));

//! One target per parser of foreign bytes: a function that takes anything at all and must neither panic,
//! nor hang, nor allocate without a limit.
//!
//! A target is a file in `targets/` with `pub fn run(data: &[u8])`, and a line in [`TARGETS`]; seeds are
//! the files in `fuzz/corpus/NAME/`. Two things run them: `tests/replay.rs`, on any toolchain, with the
//! seeds and some thousands of mutations of them, in every test run; and libFuzzer, guided by coverage,
//! through the package in `fuzz/cargo-fuzz`, which alone needs a nightly toolchain.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod targets;

/// A parser under attack.
pub struct Target {
    /// Also the name of its folder of seeds.
    pub name: &'static str,
    /// Panics where the parser has a fault; a clean error of the parser is a pass.
    pub run: fn(&[u8]),
    /// Seeds in the code, for a target without a folder.
    pub seeds: &'static [&'static [u8]],
}

/// Every target. The replay test and libFuzzer's binary both read this table.
pub const TARGETS: &[Target] = &[
    Target {
        name: "label_key",
        run: targets::label_key::run,
        seeds: &[b"", b"\x0a\x10\x0a\x08__name__\x12\x02up"],
    },
    Target {
        name: "wal",
        run: targets::wal::run,
        seeds: &[b"HFRM\0\0\0\0", b"\x01\x03\0\0\0\x01ab\x02\x04\0\0\0\x02\x02\x3f\xf0"],
    },
    Target {
        name: "promql",
        run: targets::promql::run,
        seeds: &[
            b"sum by (a) (rate(x{b=\"c\",d=~\"e.*\"}[5m] offset 1m)) / on (a) group_left (f) -(y @ end())",
            b"histogram_quantile(0.9, {\"my.metric\",'l.x'!=`v`}[1h:step()*2] offset -(min_of(1h, 2^3))) # c",
            b"a == bool ignoring(b) fill_left(-Inf) 0x1F or topk without () (1_000, b anchored) </ 1h30m",
        ],
    },
];

/// Runs the target of that name.
///
/// # Panics
/// Where the parser has a fault, or no target has the name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target is called {name:?}")).run)(data);
}

//! Words that stay behind a fence: which folder alone may say them in code, and who must forbid unsafe
//! code outright.

use crate::tokens::{self, Leaf};
use crate::tree::Tree;

/// A word and the folders whose code may say it: crates, where their names stand for them, and `unsafe`.
const WORDS: &[(&str, &[&str])] = &[
    ("glommio", &["engine/src/disk", "engine/src/shard"]),
    ("io_uring", &["engine/src/disk", "engine/src/shard"]),
    ("axum", &["api", "server"]),
    ("pulp", &["kernels"]),
    ("unsafe", &["kernels", "engine/src/disk"]),
    ("hearth_engine", &["engine", "server", "bench", "fuzz", "perf"]),
];

/// Crates whose code never says `tokio`.
const NO_TOKIO: &[&str] = &["model", "kernels", "wire", "engine", "promql"];

/// Only here may code name `std::arch` or `core::arch`.
const ARCH: &str = "kernels";

/// Crates that may do without `#![forbid(unsafe_code)]`: the two fences for danger, and the binary, which
/// sets the allocator.
const MAY_BE_UNSAFE: &[&str] = &["kernels", "engine", "server"];

/// Findings over all sources.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.sources() {
        let tokens = match tokens::parse(text) {
            Ok(tokens) => tokens,
            Err(error) => {
                findings.push(format!("{path}: {error}"));
                continue;
            }
        };
        let leaves = tokens::leaves(&tokens);
        findings.extend(words(path, &leaves));
        findings.extend(arch(path, &leaves));
        findings.extend(forbids_unsafe(path, &leaves));
    }
    findings
}

fn inside(path: &str, folder: &str) -> bool {
    let file = format!("{folder}.rs");
    path == file || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn words(path: &str, leaves: &[Leaf]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, leaf) in leaves.iter().enumerate() {
        if leaf.text != "unsafe" && !names_a_crate(leaves, at) {
            continue;
        }
        if leaf.text == "tokio" && NO_TOKIO.iter().any(|folder| inside(path, folder)) {
            findings.push(format!("{path}:{}: `tokio` behind the fence", leaf.line));
        }
        let Some((word, folders)) = WORDS.iter().find(|(word, _)| leaf.text == *word) else { continue };
        if !folders.iter().any(|folder| inside(path, folder)) {
            findings.push(format!("{path}:{}: `{word}` outside {folders:?}", leaf.line));
        }
    }
    findings
}

/// Whether the word at `at` stands where a crate's name does: at the head of a path or after `use`. A
/// function or variable of our own may bear the name.
fn names_a_crate(leaves: &[Leaf], at: usize) -> bool {
    let text = |at: usize| leaves.get(at).map_or("", |leaf| leaf.text.as_str());
    let before = at.checked_sub(1).map_or("", text);
    let heads_path = text(at + 1) == ":" && text(at + 2) == ":" && before != ":";
    heads_path || before == "use" || before == "crate"
}

fn arch(path: &str, leaves: &[Leaf]) -> Vec<String> {
    if inside(path, ARCH) {
        return Vec::new();
    }
    leaves
        .windows(4)
        .filter(|four| {
            (four[0].text == "std" || four[0].text == "core")
                && four[1].text == ":"
                && four[2].text == ":"
                && four[3].text == "arch"
        })
        .map(|four| format!("{path}:{}: `{}::arch` outside {ARCH}", four[0].line, four[0].text))
        .collect()
}

/// Library roots, except where unsafe code has its place, say `#![forbid(unsafe_code)]`.
fn forbids_unsafe(path: &str, leaves: &[Leaf]) -> Option<String> {
    let folder = path.strip_suffix("/src/lib.rs")?;
    if MAY_BE_UNSAFE.contains(&folder) || folder.contains('/') {
        return None;
    }
    let said = leaves
        .windows(3)
        .any(|three| three[0].text == "!" && three[1].text == "forbid" && three[2].text == "unsafe_code");
    (!said).then(|| format!("{path}: says no `#![forbid(unsafe_code)]`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(path: &str, text: &str, expect: &[&str]) {
        let found = check(&Tree::of(&[(path, text)]));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn words_stay_in_their_folders() {
        check_one("engine/src/disk/ring.rs", "use io_uring::IoUring;", &[]);
        check_one("engine/src/disk.rs", "use io_uring::IoUring;", &[]);
        check_one("engine/src/diskette.rs", "use io_uring::IoUring;", &["engine/src/diskette.rs:1"]);
        check_one("scrape/src/fetch.rs", "\nuse axum::Router;", &["scrape/src/fetch.rs:2: `axum`"]);
        check_one("engine/src/handle.rs", "use glommio::X; // glommio", &["`glommio`"]);
        check_one("engine/src/handle.rs", "use glommio as g;", &["`glommio`"]);
        check_one("engine/src/handle.rs", "if probe::io_uring() { flags.io_uring = true }", &[]);
        check_one("wire/src/x.rs", "fn a() { unsafe { b() } }", &["`unsafe`"]);
        check_one("api/src/x.rs", "// unsafe\nfn a() { \"unsafe\" }", &[]);
        check_one("promql/src/x.rs", "#[tokio::test] fn a() {}", &["`tokio`"]);
    }

    #[test]
    fn arch_stays_in_kernels() {
        check_one("kernels/src/a.rs", "use std::arch::x86_64;", &[]);
        check_one("engine/src/a.rs", "use std::arch::x86_64;", &["`std::arch`"]);
        check_one("engine/src/a.rs", "use core::arch::x86_64;", &["`core::arch`"]);
    }

    #[test]
    fn libraries_forbid_unsafe_code() {
        check_one("wire/src/lib.rs", "#![forbid(unsafe_code)]", &[]);
        check_one("wire/src/lib.rs", "#![deny(unsafe_code)]", &["forbid"]);
        check_one("kernels/src/lib.rs", "", &[]);
    }

    #[test]
    fn broken_source_is_a_finding() {
        check_one("wire/src/a.rs", "fn a( {", &["wire/src/a.rs"]);
    }
}

//! The repository obeys the house: every scanner of this crate, run on the tree it stands in. A failure
//! prints every finding; mend the place it names, not the scanner.

use hearth_scripts::{edges, fences, lengths, names, paths, places, reach, tree::Tree};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many allowances `exceptions.txt` holds. Lower this with the list; never raise it.
const EXCEPTIONS: usize = 0;

/// Tests run in their package's folder. What the compiler knew of it would be another checkout's where two share a
/// folder of builds.
fn root() -> PathBuf {
    Path::new("..").canonicalize().expect("the crate stands in the repository")
}

fn tree() -> Tree {
    let tree = Tree::read(&root()).expect("the repository can be read");
    assert!(tree.sources().count() > 10, "the tree that was read has hardly a source");
    tree
}

/// What cargo knows of the workspace's packages.
fn metadata() -> Value {
    metadata_of("Cargo.toml")
}

fn metadata_of(manifest: &str) -> Value {
    let output = Command::new(std::env::var_os("CARGO").expect("cargo runs its tests"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", manifest])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

#[track_caller]
fn no_findings(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n  {}\n", findings.len(), findings.join("\n  "));
}

#[test]
fn crates_use_only_what_the_layout_allows() {
    no_findings(edges::check(&metadata()));
}

#[test]
fn words_stay_behind_their_fences() {
    no_findings(fences::check(&tree()));
}

#[test]
fn files_and_functions_are_short_and_open_with_their_purpose() {
    let tree = tree();
    let exceptions = tree.text("scripts/exceptions.txt").expect("the list of exceptions is there");
    no_findings(lengths::check(&tree, exceptions));
    assert_eq!(lengths::count(exceptions), EXCEPTIONS, "the list of exceptions only shrinks");
}

#[test]
fn names_have_a_subject() {
    no_findings(names::check(&tree()));
}

#[test]
fn every_file_is_reached() {
    let root = root();
    // The one package outside the workspace counts, too.
    let both = [metadata(), metadata_of("fuzz/cargo-fuzz/Cargo.toml")];
    let mut roots = Vec::new();
    for package in both.iter().flat_map(|found| found["packages"].as_array()).flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let path = Path::new(target["src_path"].as_str().expect("a target has a source path"));
            let path = path.strip_prefix(&root).expect("targets lie in the repository");
            roots.push(path.to_str().expect("paths are UTF-8").to_string());
        }
    }
    no_findings(reach::check(&tree(), &roots));
}

#[test]
fn paths_in_readmes_exist() {
    no_findings(paths::check(&tree()));
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    no_findings(places::check(&tree(), &hosts_of_this_machine()));
}

/// The package mirrors that this machine's tools are set up with.
fn hosts_of_this_machine() -> Vec<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list"), PathBuf::from("/etc/pip.conf")];
    for folder in ["/etc/apt/sources.list.d", "/etc/apt/apt.conf.d"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    if let Some(home) = std::env::home_dir() {
        files.extend([".cargo/config.toml", ".cargo/config", ".npmrc"].map(|name| home.join(name)));
    }
    let texts = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.flat_map(|text| places::hosts_in(&text)).collect()
}

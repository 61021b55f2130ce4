//! Files that nothing reaches: Rust sources outside every target's module tree, and other files that no
//! other file names.

use crate::tokens;
use crate::tree::Tree;
use std::collections::BTreeSet;

/// Files at the top, and names anywhere, that tools find by themselves.
const FOUND_BY_TOOLS: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "NOTICE",
    ".gitignore",
    ".gitattributes",
    "clippy.toml",
    "rustfmt.toml",
    "rust-toolchain.toml",
    "deny.toml",
    ".config/nextest.toml",
    ".cargo/config.toml",
    ".ci/run",
];

/// Findings over the tree; `roots` are the targets' source paths, relative to the tree's root.
pub fn check(tree: &Tree, roots: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<String> = roots.to_vec();
    while let Some(path) = waiting.pop() {
        let is_root = roots.contains(&path);
        let Some(text) = tree.text(&path) else { continue };
        if !reached.insert(path.clone()) {
            continue;
        }
        let Ok(tokens) = tokens::parse(text) else {
            findings.push(format!("{path}: cannot be read as Rust"));
            continue;
        };
        let (folder, _) = path.rsplit_once('/').unwrap_or(("", &path));
        for include in tokens::includes(&tokens) {
            waiting.push(join(folder, &include));
        }
        for module in tokens::file_modules(&tokens) {
            waiting.extend(places(&path, is_root, &module));
        }
    }
    for (path, _) in tree.sources() {
        if !reached.contains(path) {
            findings.push(format!("{path}: no target reaches it"));
        }
    }
    findings.extend(unnamed(tree));
    findings
}

/// Where a `mod name;` in the file at `path` may have its file.
fn places(path: &str, is_root: bool, module: &tokens::FileModule) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let mut base = folder.to_string();
    if !is_root && stem != "mod" {
        base = join(&base, stem);
    }
    if let Some(said) = &module.path {
        // Outside inline modules a `#[path]` is relative to the file's own folder.
        let from = if module.within.is_empty() { folder } else { base.as_str() };
        return vec![join(&module.within.iter().fold(from.to_string(), |at, name| join(&at, name)), said)];
    }
    for name in &module.within {
        base = join(&base, name);
    }
    vec![join(&base, &format!("{}.rs", module.name)), join(&base, &format!("{}/mod.rs", module.name))]
}

fn join(folder: &str, rest: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Files that are not Rust and that no other file names, neither by their own name nor by their folder's
/// (a test that reads a whole folder names the folder).
fn unnamed(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, _) in tree.files() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path.ends_with(".rs") || FOUND_BY_TOOLS.contains(&path) || FOUND_BY_TOOLS.contains(&name) {
            continue;
        }
        let crate_of = folder.split('/').next().unwrap_or_default();
        let within = folder.strip_prefix(crate_of).unwrap_or_default().trim_start_matches('/');
        let named = tree.files().any(|(other, text)| {
            other != path
                && other != "CHANGELOG.md"
                && (says(text, name) || (!within.is_empty() && says(text, within)))
        });
        if !named {
            findings.push(format!("{path}: no file names it"));
        }
    }
    findings
}

/// Whether the text has the name with no letter, digit, `_` or `-` grown onto either end.
fn says(text: &str, name: &str) -> bool {
    let grows = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(grows)
            && !text[at + name.len()..].chars().next().is_some_and(grows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_all(files: &[(&str, &str)], roots: &[&str], expect: &[&str]) {
        let roots: Vec<_> = roots.iter().map(|root| root.to_string()).collect();
        let found = check(&Tree::of(files), &roots);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn modules_are_followed() {
        let files = [
            ("a/src/lib.rs", "mod b; mod c; #[path = \"odd.rs\"] mod d; mod e { mod f; }"),
            ("a/src/b.rs", "mod inner; include!(\"table.rs\");"),
            ("a/src/b/inner.rs", ""),
            ("a/src/table.rs", ""),
            ("a/src/c/mod.rs", "mod deep;"),
            ("a/src/c/deep.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/e/f.rs", ""),
            ("a/tests/it/main.rs", "mod case;"),
            ("a/tests/it/case.rs", ""),
        ];
        check_all(&files, &["a/src/lib.rs", "a/tests/it/main.rs"], &[]);
    }

    #[test]
    fn dead_sources_are_named() {
        let files = [("a/src/lib.rs", "// mod old;"), ("a/src/old.rs", "mod older;"), ("a/src/older.rs", "")];
        check_all(&files, &["a/src/lib.rs"], &["a/src/old.rs", "a/src/older.rs"]);
    }

    #[test]
    fn other_files_are_named_somewhere() {
        let files = [("scripts/run", ""), ("README.md", "Start it with `scripts/run`."), ("scripts/old", "")];
        check_all(&files, &[], &["scripts/old"]);
        let files = [("a/src/lib.rs", "read(\"tests/pages\")"), ("a/tests/pages/one.txt", "")];
        check_all(&files, &["a/src/lib.rs"], &[]);
        let files = [("a/tests/pages/one.txt", ""), ("CHANGELOG.md", "one.txt")];
        check_all(&files, &[], &["one.txt"]);
    }
}

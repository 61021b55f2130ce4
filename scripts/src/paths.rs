//! Every path that a README names exists: a map that leads astray is worse than none.

use crate::tree::Tree;

/// Endings that make a word a path even without a folder in front.
const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".txt", ".yml", ".yaml"];

/// Names of files that a reader makes, not ones the repository has.
const READERS_OWN: &[&str] = &["prometheus.yml"];

/// Findings over every `README.md`; paths count from the root or from the README's own folder.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        let Some(folder) = path.strip_suffix("README.md") else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in candidates(line) {
                for named in spread(word) {
                    if is_path(tree, &named) && !exists(tree, folder, &named) {
                        findings.push(format!("{path}:{}: {named} does not exist", number + 1));
                    }
                }
            }
        }
    }
    findings
}

/// Whether a path leads somewhere from the root or the README's folder; a bare file name may be that of a
/// file in any folder ("each crate's `config.rs`").
fn exists(tree: &Tree, folder: &str, named: &str) -> bool {
    let anywhere = !named.contains('/') && tree.files().any(|(path, _)| path.ends_with(&format!("/{named}")));
    anywhere || tree.has(named) || tree.has(&format!("{folder}{named}"))
}

/// The words of a line, freed of Markdown and punctuation.
fn candidates(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| letter.is_whitespace() || "`()[]|<>\"'=;".contains(letter))
        .map(|word| word.trim_end_matches([',', '.', ':']).trim_start_matches("./"))
        .filter(|word| !word.is_empty())
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn spread(word: &str) -> Vec<String> {
    let (Some(open), Some(close)) = (word.find('{'), word.find('}')) else { return vec![word.to_string()] };
    if close < open {
        return vec![word.to_string()];
    }
    let (before, after) = (&word[..open], &word[close + 1..]);
    word[open + 1..close].split(',').map(|part| format!("{before}{}{after}", part.trim())).collect()
}

/// Whether a word claims to be a path of this repository: it begins with a file or folder at the top and
/// goes on, or it has a known ending.
fn is_path(tree: &Tree, word: &str) -> bool {
    let shaped = word.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
    if !shaped || word.starts_with(['/', '-']) || word.contains("..") || READERS_OWN.contains(&word) {
        return false;
    }
    if ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending)) {
        return true;
    }
    match word.split_once('/') {
        // "kernels/" is a path whatever it names; "and/or" is none.
        Some((_, "")) => true,
        Some((first, _)) => tree.has(first),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(readme: &str, expect: &[&str]) {
        let tree = Tree::of(&[
            ("README.md", readme),
            ("a/src/lib.rs", ""),
            ("a/src/disk/mod.rs", ""),
            ("a/README.md", "`src/lib.rs`"),
            ("scripts/run", ""),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn true_paths_pass() {
        check_one(
            "`a/src/lib.rs` [b](a/src/{disk,lib.rs}), scripts/run --flag `a/`.\n    ./scripts/run",
            &[],
        );
        check_one("`lib.rs`", &[]);
        check_one("and/or, application/json, /metrics, `--config.file=prometheus.yml`, 1.5", &[]);
    }

    #[test]
    fn false_paths_are_named() {
        check_one("\n`a/src/gone.rs`", &["README.md:2: a/src/gone.rs"]);
        check_one("gone/ is a folder", &["gone/"]);
        check_one("see (GONE.md)", &["GONE.md"]);
        check_one("`a/src/{disk,ring}/`", &["a/src/ring/"]);
        check_one("scripts/go", &["scripts/go"]);
    }
}

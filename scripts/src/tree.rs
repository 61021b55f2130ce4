//! What the scanners look at: the files that git tracks, or would track after an add, with their text.
//! It reads the repository once and never writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A snapshot of the repository: path relative to its root, with `/` between the parts, to text.
/// Files that are not UTF-8 have the empty text.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the repository that `root` is the top of.
    pub fn read(root: &Path) -> Result<Tree, String> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("git ls-files: {error}"))?;
        if !listed.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
        }
        let mut files = BTreeMap::new();
        for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
            // A tracked file that is deleted but not yet committed is gone for the checks, too.
            let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
            files.insert(path.to_string(), String::from_utf8(bytes).unwrap_or_default());
        }
        Ok(Tree { files })
    }

    /// A tree made of the given files, for tests of the scanners.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect() }
    }

    /// Every file: path and text, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust sources among them.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file, or a folder with a file in it, has this path.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.contains_key(path)
            || self.files.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_files_and_folders() {
        let tree = Tree::of(&[("a/b.rs", ""), ("a-c", ""), ("top.md", "x")]);
        assert!(tree.has("a") && tree.has("a/") && tree.has("a/b.rs") && tree.has("top.md"));
        assert!(!tree.has("a/c") && !tree.has("b.rs") && !tree.has("to"));
        assert_eq!(tree.sources().map(|(path, _)| path).collect::<Vec<_>>(), ["a/b.rs"]);
    }
}

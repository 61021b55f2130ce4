//! Names that say nothing: words that no file, folder, module or type may carry.

use crate::tokens;
use crate::tree::Tree;

/// Each of these is a room without a subject; name the subject instead.
const BANNED: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager", "part2", "v2"];

/// Formats that carry a version in their name: "remote write v2" is theirs, not a second room beside the
/// first.
const MAY_SAY_V2: &[&str] = &["wire/"];

/// Findings over all files and the definitions in all sources.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for part in path.split('/') {
            findings.extend(banned(path, part).map(|word| format!("{path}: `{word}` in a file's name")));
        }
        if !path.ends_with(".rs") {
            continue;
        }
        let Ok(tokens) = tokens::parse(text) else { continue };
        for definition in tokens::definitions(&tokens) {
            let found = banned(path, &definition.name);
            findings.extend(
                found.map(|word| format!("{path}:{}: `{word}` in `{}`", definition.line, definition.name)),
            );
        }
    }
    findings
}

fn banned(path: &str, name: &str) -> Option<&'static str> {
    let words = words_of(name);
    let found = BANNED.iter().find(|banned| words.iter().any(|word| word == *banned))?;
    let exempt = *found == "v2" && MAY_SAY_V2.iter().any(|folder| path.starts_with(folder));
    (!exempt).then_some(*found)
}

/// The lower-case words of a snake_case, kebab-case, dotted or CamelCase name.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for letter in name.chars() {
        let starts_word = letter.is_uppercase() && before_is_lower;
        if (!letter.is_alphanumeric() || starts_word) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        before_is_lower = letter.is_lowercase() || letter.is_numeric();
    }
    words
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
    fn files_have_a_subject() {
        check_one("wire/src/exposition.rs", "", &[]);
        check_one("wire/src/utility_meter.rs", "", &[]);
        check_one("wire/src/utils.rs", "", &["`utils`"]);
        check_one("wire/src/test-helpers/a.rs", "", &["`helpers`"]);
        check_one("engine/src/head_v2.rs", "", &["`v2`"]);
        check_one("wire/src/remote_write_v2.rs", "", &[]);
    }

    #[test]
    fn types_and_modules_have_a_subject() {
        check_one("a/src/b.rs", "struct TargetManager; fn common() {}", &["`TargetManager`"]);
        check_one("a/src/b.rs", "mod helpers { }", &["`helpers`"]);
        check_one("a/src/b.rs", "use other::util; // misc", &[]);
    }
}

//! How long files and functions may be, and what each file opens with.
//!
//! The few that are longer stand in one list, which only shrinks: an entry that is not needed, or that
//! allows more lines than the item has, is itself a finding.

use crate::tokens;
use crate::tree::Tree;

/// Lines a file may have: beyond that nobody keeps it in their head. Split by noun.
pub const FILE_LINES: usize = 1000;

/// Lines a function may have, `fn` and closing brace counted: what fits on a screen.
pub const FUNCTION_LINES: usize = 70;

/// An allowance: `file PATH LINES` or `function PATH NAME LINES`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    /// `PATH` or `PATH NAME`.
    item: String,
    lines: usize,
}

/// Findings over all sources; `exceptions` is the list's text.
pub fn check(tree: &Tree, exceptions: &str) -> Vec<String> {
    let (mut files, mut functions, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for (number, line) in exceptions.lines().enumerate() {
        match parse_exception(line) {
            Ok(None) => {}
            Ok(Some((true, exception))) => files.push(exception),
            Ok(Some((false, exception))) => functions.push(exception),
            Err(error) => findings.push(format!("exceptions, line {}: {error}", number + 1)),
        }
    }
    let mut file_sizes = Vec::new();
    let mut function_sizes = Vec::new();
    for (path, text) in tree.sources() {
        if !text.starts_with("//!") {
            findings.push(format!("{path}: does not open with `//!`"));
        }
        file_sizes.push((path.to_string(), text.lines().count()));
        let Ok(tokens) = tokens::parse(text) else {
            findings.push(format!("{path}: cannot be read as Rust"));
            continue;
        };
        for function in tokens::functions(&tokens) {
            function_sizes.push((format!("{path} {}", function.name), function.lines));
        }
    }
    findings.extend(ratchet("file", FILE_LINES, &file_sizes, &files));
    findings.extend(ratchet("function", FUNCTION_LINES, &function_sizes, &functions));
    findings
}

/// How many allowances the list's text makes.
pub fn count(exceptions: &str) -> usize {
    exceptions.lines().filter(|line| matches!(parse_exception(line), Ok(Some(_)))).count()
}

fn parse_exception(line: &str) -> Result<Option<(bool, Exception)>, String> {
    let line = line.split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    let words: Vec<_> = line.split_whitespace().collect();
    let (is_file, item, lines) = match words.as_slice() {
        ["file", path, lines] => (true, path.to_string(), lines),
        ["function", path, name, lines] => (false, format!("{path} {name}"), lines),
        _ => return Err(format!("{line:?} is neither `file PATH LINES` nor `function PATH NAME LINES`")),
    };
    let lines = lines.parse().map_err(|_| format!("{lines:?} is not a number of lines"))?;
    Ok(Some((is_file, Exception { item, lines })))
}

/// Items over the limit that have no allowance, and allowances that are looser than needed.
fn ratchet(kind: &str, limit: usize, sizes: &[(String, usize)], allowed: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    for (item, lines) in sizes {
        let allowance = allowed.iter().find(|exception| exception.item == *item);
        let most = allowance.map_or(limit, |exception| exception.lines.max(limit));
        if *lines > most {
            findings.push(format!("{kind} {item}: {lines} lines, {most} are allowed"));
        }
    }
    for exception in allowed {
        let longest = sizes.iter().filter(|(item, _)| *item == exception.item).map(|(_, lines)| *lines).max();
        match longest {
            None => findings.push(format!("exceptions: {kind} {} does not exist", exception.item)),
            Some(lines) if lines <= limit => {
                findings.push(format!("exceptions: {kind} {} is short enough without", exception.item));
            }
            Some(lines) if lines < exception.lines => findings.push(format!(
                "exceptions: {kind} {} has only {lines} lines; lower its allowance of {}",
                exception.item, exception.lines
            )),
            Some(_) => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_of(lines: usize) -> String {
        format!("//! x\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[track_caller]
    fn check_one(text: &str, exceptions: &str, expect: &[&str]) {
        let found = check(&Tree::of(&[("a/src/b.rs", text)]), exceptions);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        check_one("//! What it is for.\n", "", &[]);
        check_one("// What it is for.\n", "", &["does not open"]);
        check_one("", "", &["does not open"]);
    }

    #[test]
    fn functions_have_a_ceiling() {
        check_one(&function_of(70), "", &[]);
        check_one(&function_of(71), "", &["function a/src/b.rs long: 71 lines"]);
        check_one(&function_of(80), "function a/src/b.rs long 80 # a table", &[]);
        check_one(&function_of(81), "function a/src/b.rs long 80", &["81 lines, 80 are allowed"]);
    }

    #[test]
    fn files_have_a_ceiling() {
        let text = format!("//! x\n{}", "use a;\n".repeat(1000));
        check_one(&text, "", &["file a/src/b.rs: 1001 lines"]);
        check_one(&text, "file a/src/b.rs 1001", &[]);
        check_one(&text, "file a/src/b.rs 1100", &["has only 1001 lines"]);
    }

    #[test]
    fn the_list_only_shrinks() {
        check_one(&function_of(75), "function a/src/b.rs long 80", &["has only 75 lines"]);
        check_one(&function_of(60), "function a/src/b.rs long 80", &["short enough"]);
        check_one(&function_of(60), "function a/src/b.rs gone 80", &["does not exist"]);
        check_one(&function_of(60), "everything", &["line 1"]);
        assert_eq!(count("# none\n\nfile a 1001\nfunction a b 71\n"), 2);
    }
}

//! Rust source as tokens with line numbers, so that no scanner mistakes a comment or a string for code.
//! It knows tokens and the few shapes the checks ask for, never what the code means.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One leaf of the token tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub text: String,
    /// 1-based.
    pub line: usize,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The line of `fn`, 1-based.
    pub line: usize,
    /// From the line of `fn` to that of the closing brace, both counted.
    pub lines: usize,
}

/// A `mod name;` that stands for a file: its name, its `#[path]`, and the inline modules around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileModule {
    pub name: String,
    pub path: Option<String>,
    pub within: Vec<String>,
}

/// A type, trait or module that the source gives a name to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub line: usize,
}

/// Parses a file's tokens; the error names the line.
pub fn parse(source: &str) -> Result<TokenStream, String> {
    source.parse::<TokenStream>().map_err(|error| format!("line {}: {error}", error.span().start().line))
}

/// Every identifier, literal and punctuation mark, groups opened, in the order of the text.
pub fn leaves(tokens: &TokenStream) -> Vec<Leaf> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for tree in level {
            if !matches!(tree, TokenTree::Group(_)) {
                let start = tree.span().start();
                found.push((start.column, Leaf { text: tree.to_string(), line: start.line }));
            }
        }
    });
    found.sort_by_key(|(column, leaf)| (leaf.line, *column));
    found.into_iter().map(|(_, leaf)| leaf).collect()
}

/// Every function that has a body, nested ones and those inside macros included.
pub fn functions(tokens: &TokenStream) -> Vec<Function> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for (at, tree) in level.iter().enumerate() {
            if !is_word(tree, "fn") {
                continue;
            }
            let Some(TokenTree::Ident(name)) = level.get(at + 1) else { continue };
            let Some(end) = body_end(&level[at + 2..]) else { continue };
            let line = tree.span().start().line;
            found.push(Function { name: name.to_string(), line, lines: end - line + 1 });
        }
    });
    found
}

/// The line on which the first braces after a signature close; none where a `;` comes first.
fn body_end(rest: &[TokenTree]) -> Option<usize> {
    for tree in rest {
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return Some(group.span_close().end().line);
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => return None,
            _ => {}
        }
    }
    None
}

/// Every `mod name;`.
pub fn file_modules(tokens: &TokenStream) -> Vec<FileModule> {
    let mut found = Vec::new();
    collect_file_modules(&level_of(tokens), &mut Vec::new(), &mut found);
    found
}

fn collect_file_modules(level: &[TokenTree], within: &mut Vec<String>, found: &mut Vec<FileModule>) {
    let mut path = None;
    for (at, tree) in level.iter().enumerate() {
        if let Some(said) = path_attribute(level, at) {
            path = Some(said);
        }
        if !is_word(tree, "mod") {
            continue;
        }
        let Some(TokenTree::Ident(name)) = level.get(at + 1) else { continue };
        match level.get(at + 2) {
            Some(TokenTree::Punct(mark)) if mark.as_char() == ';' => {
                found.push(FileModule { name: name.to_string(), path: path.take(), within: within.clone() });
            }
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
                within.push(name.to_string());
                collect_file_modules(&level_of(&body.stream()), within, found);
                within.pop();
                path = None;
            }
            _ => {}
        }
    }
}

/// What `#[path = "…"]` says, where the group at `at` is that attribute.
fn path_attribute(level: &[TokenTree], at: usize) -> Option<String> {
    let TokenTree::Group(group) = &level[at] else { return None };
    let attribute = level_of(&group.stream());
    match attribute.as_slice() {
        [word, TokenTree::Punct(_), TokenTree::Literal(text)] if is_word(word, "path") => {
            Some(text.to_string().trim_matches('"').to_string())
        }
        _ => None,
    }
}

/// The files that `include!("…")` takes in as source.
pub fn includes(tokens: &TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for three in level.windows(3) {
            let [word, _, TokenTree::Group(argument)] = three else { continue };
            if !is_word(word, "include") {
                continue;
            }
            if let [TokenTree::Literal(text)] = level_of(&argument.stream()).as_slice() {
                found.push(text.to_string().trim_matches('"').to_string());
            }
        }
    });
    found
}

/// Every struct, enum, union, trait, type alias and inline module that is named.
pub fn definitions(tokens: &TokenStream) -> Vec<Definition> {
    const KINDS: [&str; 6] = ["struct", "enum", "union", "trait", "type", "mod"];
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for two in level.windows(2) {
            let [kind, TokenTree::Ident(name)] = two else { continue };
            if KINDS.iter().any(|word| is_word(kind, word)) {
                found.push(Definition { name: name.to_string(), line: name.span().start().line });
            }
        }
    });
    found
}

fn is_word(tree: &TokenTree, word: &str) -> bool {
    matches!(tree, TokenTree::Ident(ident) if ident == word)
}

fn level_of(tokens: &TokenStream) -> Vec<TokenTree> {
    tokens.clone().into_iter().collect()
}

/// Calls `visit` with the tokens of each nesting level, outer before inner. A work list instead of a
/// recursion: generated tables may nest deeply.
fn each_level(tokens: &TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let mut waiting = vec![tokens.clone()];
    while let Some(stream) = waiting.pop() {
        let level = level_of(&stream);
        visit(&level);
        for tree in level {
            if let TokenTree::Group(group) = tree {
                waiting.push(group.stream());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(source: &str) -> TokenStream {
        parse(source).unwrap()
    }

    #[test]
    fn counts_lines_from_fn_to_the_closing_brace() {
        let source = "trait T { fn a(); }\nfn b() {\n  // }\n  let c = \"}\";\n  fn inner() {}\n}\n";
        let mut found = functions(&parsed(source));
        found.sort_by_key(|function| function.line);
        let said: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(said, [("b", 2, 5), ("inner", 5, 1)]);
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let words: Vec<_> =
            leaves(&parsed("// unsafe\nlet a = \"unsafe\"; b")).into_iter().map(|l| l.text).collect();
        assert_eq!(words, ["let", "a", "=", "\"unsafe\"", ";", "b"]);
    }

    #[test]
    fn finds_file_modules_wherever_they_stand() {
        let source = "mod a; #[path = \"x/y.rs\"] mod b; mod c { pub mod d; } mod e { }";
        let found = file_modules(&parsed(source));
        let said: Vec<_> =
            found.iter().map(|m| (m.name.as_str(), m.path.as_deref(), m.within.join("/"))).collect();
        assert_eq!(
            said,
            [("a", None, String::new()), ("b", Some("x/y.rs"), String::new()), ("d", None, "c".to_string())]
        );
    }

    #[test]
    fn finds_includes_and_definitions() {
        let tokens = parsed("include!(\"table.rs\"); struct A; pub enum B {} fn f() { struct C; }");
        assert_eq!(includes(&tokens), ["table.rs"]);
        let names: Vec<_> = definitions(&tokens).into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["A", "B", "C"]);
    }

    #[test]
    fn says_where_source_is_broken() {
        assert!(parse("fn a() {\n (").unwrap_err().contains("line"));
    }
}

//! `$NAME` and `${NAME}` in external labels, with the grammar of Go's `os.Expand`, and `$$` for a dollar.

/// Replaces every variable by what `lookup` says.
pub fn expand(text: &str, lookup: &mut dyn FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, used) = variable(rest);
        match name {
            Some("$") => out.push('$'),
            Some(name) => out.push_str(&lookup(name)),
            // A dollar before something that is no name stays; one before a broken bracket goes.
            None if used == 0 => out.push('$'),
            None => {}
        }
        rest = &rest[used..];
    }
    out + rest
}

/// The name after a dollar, and how many bytes it takes.
fn variable(rest: &str) -> (Option<&str>, usize) {
    let special = |c: char| c.is_ascii_digit() || "*#$@!?-".contains(c);
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(first) = rest.chars().next() else { return (None, 0) };
    if let Some(inner) = rest.strip_prefix('{') {
        return match inner.find('}') {
            Some(0) => (None, 2),
            Some(end) if inner[..end].chars().all(part) || (end == 1 && inner.starts_with(special)) => {
                (Some(&inner[..end]), end + 2)
            }
            _ => (None, 1),
        };
    }
    if special(first) {
        return (Some(&rest[..1]), 1);
    }
    let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
    if end == 0 { (None, 0) } else { (Some(&rest[..end]), end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let mut lookup = |name: &str| format!("<{name}>");
        assert_eq!(expand(text, &mut lookup), expect);
    }

    #[test]
    fn variables_of_every_form() {
        check("plain", "plain");
        check("a-$HOST.b", "a-<HOST>.b");
        check("${HOST}x", "<HOST>x");
        check("$$HOME and $$", "$HOME and $");
        check("5$ and $é", "5$ and $é");
        check("${} ${", " ");
        check("$1x", "<1>x");
    }
}

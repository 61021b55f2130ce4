//! Go's quoting, as error texts and string literals have it.

use hearth_model::label::write_quoted;

/// `%q` of a text.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    // Writing to a String does not fail.
    let _ = write_quoted(&mut out, text);
    out
}

/// `%q` of a text, cut to its first ten characters when it is longer than ten bytes.
pub fn quote_cut(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text);
    }
    let cut = text.char_indices().nth(10).map_or(text.len(), |(at, _)| at);
    quote(&text[..cut]) + "..."
}

/// `%q` of a character; the end of the input shows as the replacement character.
pub fn quote_char(c: Option<char>) -> String {
    match c {
        None => "'\u{fffd}'".into(),
        Some('\'') => "'\\''".into(),
        Some('"') => "'\"'".into(),
        Some(c) => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// `%#U` of a character.
pub fn code_point(c: char) -> String {
    let quoted = quote(c.encode_utf8(&mut [0; 4]));
    let printable = !quoted[1..].starts_with('\\') || matches!(c, '"' | '\\');
    let shown = if printable { format!(" '{c}'") } else { String::new() };
    format!("U+{:04X}{shown}", c as u32)
}

/// The text a string literal stands for; `None` when the escapes in it make no UTF-8 text. The lexer
/// has already seen that every escape is complete.
pub fn unquote(literal: &str) -> Option<String> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if literal.starts_with('`') || !inner.contains('\\') {
        return Some(inner.to_string());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = unescape(&rest[at + 1..], &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok()
}

/// Appends what the escape stands for (its backslash is already gone); returns what follows it.
fn unescape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let simple = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '\'' | '"' => Some(kind as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some(rest);
    }
    let (digits, radix, rest) = match kind {
        'x' => (rest.get(..2)?, 16, rest.get(2..)?),
        'u' => (rest.get(..4)?, 16, rest.get(4..)?),
        'U' => (rest.get(..8)?, 16, rest.get(8..)?),
        '0'..='7' => (text.get(..3)?, 8, text.get(3..)?),
        _ => return None,
    };
    let code = u32::from_str_radix(digits, radix).ok()?;
    if matches!(kind, 'u' | 'U') {
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(code).ok()?);
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_escapes_are_read() {
        let check = |literal: &str, expect: Option<&str>| {
            assert_eq!(unquote(literal).as_deref(), expect, "{literal}");
        };
        check(r#""a\tb""#, Some("a\tb"));
        check(r#"'it\'s'"#, Some("it's"));
        check(r"`a\tb`", Some(r"a\tb"));
        check(r#""\xc3\xa9\u00e9\U0001F600\101""#, Some("éé😀A"));
        check(r#""\xff""#, None);
        check(r#""\400""#, None);
        check(r#""\ud800""#, None);
    }

    #[test]
    fn long_texts_are_cut_at_ten_characters() {
        assert_eq!(quote_cut("0123456789"), "\"0123456789\"");
        assert_eq!(quote_cut("0123456789a"), "\"0123456789\"...");
        assert_eq!(quote_cut("ééééééé"), "\"ééééééé\"...");
        assert_eq!(quote_char(Some('\n')), r"'\n'");
        assert_eq!(code_point('q'), "U+0071 'q'");
        assert_eq!(code_point('\n'), "U+000A");
    }

    #[test]
    fn what_go_does_not_print_is_escaped() {
        assert_eq!(quote("\u{200b}é\u{a0}e\u{301}\u{e0001}日"), "\"\\u200bé\\u00a0e\u{301}\\U000e0001日\"");
        assert_eq!(quote_char(Some('\u{a0}')), "'\\u00a0'");
    }
}

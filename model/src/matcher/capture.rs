//! Expressions whose groups are of interest, and the templates that are filled with them, as Go's
//! `Regexp.Expand` does: what relabelling and `label_replace` need.

use super::re2;
use super::regex::{Error, Regex, compile};
use super::shape;
use crate::label::MAX_PART_BYTES;
use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, Span};
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};
use std::sync::LazyLock;

/// Groups (the whole match too) whose bounds are kept without an allocation.
const INLINE_GROUPS: usize = 16;

/// A compiled expression that remembers its groups; it matches whole values only.
#[derive(Debug, Clone)]
pub struct CaptureRegex {
    regex: Regex,
    groups: Groups,
    /// By number of the group; the first is the whole match.
    names: Vec<Option<String>>,
}

#[derive(Debug, Clone)]
enum Groups {
    /// Every group spans the whole value, as in `(.*)`, or there is none.
    Whole,
    Found(meta::Regex),
}

impl CaptureRegex {
    /// Compiles `^(?s:source)$` as it stands, as Prometheus does wherever it is not a matcher: so that
    /// errors show it in this form, and `a)|(?:b` is valid.
    pub fn new(source: &str) -> Result<CaptureRegex, Error> {
        let wrapped = format!("^(?s:{source})$");
        let parsed = re2::parse(&wrapped, false)?;
        let whole = parsed.groups.len() == 1 || is_one_group(&parsed.hir);
        let regex = Regex::build(source, parsed.hir.clone())?;
        let groups = match regex.automaton() {
            _ if whole => Groups::Whole,
            Some(automaton) => Groups::Found(automaton.clone()),
            None => Groups::Found(compile(&wrapped, parsed.hir)?),
        };
        Ok(CaptureRegex { regex, groups, names: parsed.groups })
    }

    pub fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// The pattern as it was given.
    pub fn source(&self) -> &str {
        self.regex.source()
    }

    /// Prepares a template for [`CaptureRegex::expand`] of this expression.
    pub fn template(&self, text: &str) -> Template {
        Template::new(text, &self.names)
    }

    /// Appends the template, filled with the groups of `value`, to `out`; `false`, and nothing appended,
    /// where the expression does not match. What is longer than a label can be may end early, but still
    /// longer than that.
    pub fn expand(&self, value: &str, template: &Template, out: &mut String) -> bool {
        if !self.regex.is_match(value) {
            return false;
        }
        match (&template.pieces[..], &self.groups) {
            ([], _) => {}
            ([Piece::Text(text)], _) => out.push_str(text),
            (pieces, Groups::Whole) => fill(pieces, out, |_| Some(value)),
            (pieces, Groups::Found(automaton)) => {
                let slots = 2 * self.names.len();
                let (mut inline, mut many) = ([None; 2 * INLINE_GROUPS], Vec::new());
                let bounds: &mut [Option<NonMaxUsize>] = match inline.get_mut(..slots) {
                    Some(bounds) => bounds,
                    None => {
                        many.resize(slots, None);
                        &mut many
                    }
                };
                automaton.search_slots(&Input::new(value), bounds);
                fill(pieces, out, |group| {
                    let at = |slot: usize| bounds.get(slot).copied().flatten().map(NonMaxUsize::get);
                    let span = Span { start: at(2 * group)?, end: at(2 * group + 1)? };
                    value.get(span.range())
                });
            }
        }
        true
    }
}

/// Whether the whole is one group around `.*` or the like.
fn is_one_group(hir: &Hir) -> bool {
    let [only] = shape::unanchored(hir) else { return false };
    matches!(only.kind(), HirKind::Capture(capture) if shape::is_gap(&capture.sub))
}

/// Stops once the text is longer than any label may be: a template of many references would otherwise
/// multiply a long value without bound.
fn fill<'v>(pieces: &[Piece], out: &mut String, group: impl Fn(usize) -> Option<&'v str>) {
    for piece in pieces {
        if out.len() > MAX_PART_BYTES {
            return;
        }
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Groups(numbers) => {
                out.push_str(numbers.iter().find_map(|n| group(*n)).unwrap_or_default())
            }
        }
    }
}

/// A replacement: text, and references to groups of one expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The first of these groups that took part in the match; a name may stand for several.
    Groups(Vec<usize>),
}

impl Template {
    /// `$1`, `$name` and the same in braces refer to groups, `$$` is a dollar sign, and so is a `$` that
    /// begins nothing of these. A name reaches as far as it can, and one that no group has is empty.
    fn new(text: &str, names: &[Option<String>]) -> Template {
        let mut template = Template { pieces: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            template.push_text(before);
            if let Some(after) = after.strip_prefix('$') {
                template.push_text("$");
                rest = after;
            } else if let Some((name, after)) = take_reference(after) {
                template.push_groups(groups_of(name, names));
                rest = after;
            } else {
                template.push_text("$");
                rest = after;
            }
        }
        template.push_text(rest);
        template
    }

    /// Whether it refers to no group: the text is then the same for every value.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn push_groups(&mut self, groups: Vec<usize>) {
        if !groups.is_empty() {
            self.pieces.push(Piece::Groups(groups));
        }
    }
}

/// The name after a `$`, with or without braces, and what follows it.
fn take_reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let end = text.find(|c| !is_name_char(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// A letter, a decimal digit or an underscore, of any script.
fn is_name_char(c: char) -> bool {
    static NAME: LazyLock<ClassUnicode> =
        LazyLock::new(|| match regex_syntax::parse(r"[\p{L}\p{Nd}_]").map(Hir::into_kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => class,
            _ => ClassUnicode::empty(),
        });
    if c.is_ascii() {
        return c == '_' || c.is_ascii_alphanumeric();
    }
    let at = NAME.ranges().partition_point(|range| range.end() < c);
    NAME.ranges().get(at).is_some_and(|range| range.start() <= c)
}

/// A name of digits alone (no leading zero) is a number, any other stands for the groups that have it.
fn groups_of(name: &str, names: &[Option<String>]) -> Vec<usize> {
    let leading_zero = name.len() > 1 && name.starts_with('0');
    if name.bytes().all(|b| b.is_ascii_digit()) && !leading_zero {
        let number = name.parse().ok().filter(|n| *n < names.len());
        return number.into_iter().collect();
    }
    let having = names.iter().enumerate().filter(|(_, n)| n.as_deref() == Some(name));
    having.map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked of Prometheus 3.5 (`label_replace`).
    #[track_caller]
    fn check(source: &str, value: &str, template: &str, expect: Option<&str>) {
        let regex = CaptureRegex::new(source).unwrap_or_else(|error| panic!("{error}"));
        let mut out = String::new();
        let matched = regex.expand(value, &regex.template(template), &mut out);
        assert_eq!(matched.then_some(out.as_str()), expect, "{source} on {value:?} with {template}");
        assert!(matched || out.is_empty());
    }

    #[test]
    fn templates_are_filled_as_go_does() {
        check("(.*)", "ab", "$1", Some("ab"));
        check("(.*)", "ab", "$1x", Some(""));
        check("(.*)", "ab", "${1}x", Some("abx"));
        check("(.*)", "ab", "$$1", Some("$1"));
        check("(.*)", "ab", "$", Some("$"));
        check("(.*)", "ab", "a$-b", Some("a$-b"));
        check("(.*)", "ab", "${1", Some("${1"));
        check("(.*)", "ab", "${}", Some("${}"));
        check("(.*)", "ab", "$01|$0|$2", Some("|ab|"));
        check("(.*)", "ab", "$é", Some(""));
        check("(.*)", "ab", "$1é", Some(""));
        check("(.*)", "ab", "$1²", Some("ab²"));
        check("(.*)", "ab", "plain", Some("plain"));
        check("x(.*)", "ab", "plain", None);
    }

    #[test]
    fn groups_are_found_as_go_does() {
        check("(a)|b", "b", "<$1>", Some("<>"));
        check("(?P<n>a)(?P<n>b)", "ab", "$n", Some("a"));
        check("(?P<n>x)?(?P<n>b)", "b", "$n", Some("b"));
        check("(a|ab)(c|bcd)(d*)", "abcd", "$1-$2-$3", Some("a-bcd-"));
        check("(?U)(a+)(a*)", "aaa", "$1-$2", Some("a-aa"));
        check("(a+?)(a*)", "aaa", "$1-$2", Some("a-aa"));
        check("(a*)+", "aa", "<$1>", Some("<aa>"));
        check("(|a)+", "aa", "<$1>", Some("<a>"));
        check("(foo|bar)-.*", "bar-1", "$1", Some("bar"));
        check("((.*))", "ab", "$1$2$3", Some("abab"));
        check("a)(b", "ab", "<$1>", Some("<b>"));
        check("a|b)|(?:c", "c", "<$1>", Some("<>"));
        check(&"(.)".repeat(40), &"0123456789".repeat(4), "$40$11", Some("90"));
    }

    #[test]
    fn errors_show_the_wrapped_pattern() {
        let error = |source| CaptureRegex::new(source).expect_err("invalid").to_string();
        assert_eq!(error("("), "error parsing regexp: missing closing ): `^(?s:()$`");
        assert_eq!(error("[a"), "error parsing regexp: missing closing ]: `[a)$`");
        assert_eq!(error("a**"), "error parsing regexp: invalid nested repetition operator: `**`");
    }
}

//! Names in the letters that a reader can take: what a scraper asks for in `Accept` with `escaping=`.

use hearth_model::label::is_classic_metric_name;
use std::borrow::Cow;

/// How names outside the classic alphabet are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escaping {
    /// As they are, quoted.
    AllowUtf8,
    /// Every other character becomes an underscore.
    #[default]
    Underscores,
    /// Reversible for dots: `_dot_`; underscores double.
    Dots,
    /// Reversible: `U__`, then each other character as its code.
    Values,
}

impl Escaping {
    pub fn name(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    fn named(name: &str) -> Option<Escaping> {
        [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values]
            .into_iter()
            .find(|escaping| escaping.name() == name)
    }

    /// The escaping that the `Accept` header asks of somebody who writes text 0.0.4 only: of the first
    /// clause, by preference, that this format satisfies, else of the last that names one.
    pub fn accepted(header: &str) -> Escaping {
        let mut clauses: Vec<Clause> = header.split(',').map(Clause::read).collect();
        clauses.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let mut chosen = Escaping::default();
        for clause in clauses {
            chosen = clause.escaping.unwrap_or(chosen);
            if clause.is_text {
                break;
            }
        }
        chosen
    }

    /// A metric's or a label's name as a reader gets it.
    pub fn escape(self, name: &str) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || is_classic_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut out = String::with_capacity(name.len() + 8);
        if self == Escaping::Values {
            out.push_str("U__");
        }
        for (at, character) in name.char_indices() {
            let classic = character.is_ascii_alphabetic()
                || matches!(character, '_' | ':')
                || (at > 0 && character.is_ascii_digit());
            match (self, character) {
                (Escaping::Dots | Escaping::Values, '_') => out.push_str("__"),
                (Escaping::Dots, '.') => out.push_str("_dot_"),
                (_, character) if classic => out.push(character),
                (Escaping::Dots, _) => out.push_str("__"),
                (Escaping::Values, character) => out.push_str(&format!("_{:x}_", u32::from(character))),
                _ => out.push('_'),
            }
        }
        Cow::Owned(out)
    }
}

/// Undoes [`Escaping::Values`]: `U__` begins an escaped name, `__` is an underscore, `_2e_` the character
/// with that code. A name that is not well escaped stays as it is.
pub fn unescape_values(name: &str) -> Cow<'_, str> {
    let Some(mut rest) = name.strip_prefix("U__") else { return Cow::Borrowed(name) };
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let Some((code, tail)) = rest.split_once('_') else { return Cow::Borrowed(name) };
        let character =
            u32::from_str_radix(code, 16).ok().filter(|_| code.len() <= 6).and_then(char::from_u32);
        let Some(character) = character else { return Cow::Borrowed(name) };
        out.push(character);
        rest = tail;
    }
    Cow::Owned(out + rest)
}

/// One clause of an `Accept` header.
struct Clause {
    is_text: bool,
    escaping: Option<Escaping>,
    weight: f64,
}

impl Clause {
    fn read(text: &str) -> Clause {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let (mut version, mut escaping, mut weight) = ("", None, 1.0);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "version" => version = value.trim(),
                "escaping" => escaping = Escaping::named(value.trim()),
                // A weight that is no number is none at all.
                "q" => weight = value.trim().parse().unwrap_or(1.0),
                _ => {}
            }
        }
        let is_text = kind.eq_ignore_ascii_case("text/plain") && matches!(version, "" | "0.0.4");
        Clause { is_text, escaping, weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_asked() {
        let check = |escaping: Escaping, name: &str, expect: &str| {
            assert_eq!(escaping.escape(name), expect, "{name}");
        };
        for escaping in [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values] {
            check(escaping, "a_classic:name_0", "a_classic:name_0");
        }
        check(Escaping::AllowUtf8, "a.b", "a.b");
        check(Escaping::Underscores, "0a.b-ü", "_a_b__");
        check(Escaping::Dots, "a.b_c-d", "a_dot_b__c__d");
        check(Escaping::Values, "a.b_cü", "U__a_2e_b__c_fc_");
    }

    #[test]
    fn escaped_names_come_back() {
        for name in ["a.b_cü", "0 ", "__", "plain"] {
            assert_eq!(unescape_values(&Escaping::Values.escape(name)), name);
        }
        for broken in ["U__a_zz_b", "U__a_2e", "U__a_1234567_"] {
            assert_eq!(unescape_values(broken), broken);
        }
    }

    #[test]
    fn the_preferred_clause_decides() {
        let check =
            |header: &str, expect: Escaping| assert_eq!(Escaping::accepted(header), expect, "{header}");
        check("", Escaping::Underscores);
        check("*/*", Escaping::Underscores);
        check("text/plain;version=0.0.4;escaping=allow-utf-8", Escaping::AllowUtf8);
        check("text/plain; version=1.0.0; escaping=allow-utf-8", Escaping::AllowUtf8);
        check("text/plain;escaping=dots;q=0.2, text/plain;escaping=values;q=0.7", Escaping::Values);
        check(
            "application/openmetrics-text;escaping=allow-utf-8,text/plain;version=0.0.4",
            Escaping::AllowUtf8,
        );
        check("text/plain;escaping=nonsense", Escaping::Underscores);
    }
}

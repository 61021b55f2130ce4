//! JSON of APIs that write `null` where a list or a text is empty: a member whose value is null is as good as none. Such
//! text is read a second time, without those members, which takes as much memory again as the answer for that while.
//!
//! Invariant: what is no JSON stays none. Entries of lists that are null stay, too.

use serde::de::DeserializeOwned;

/// Deeper JSON is read by nobody here; serde_json's own number.
const MAX_DEPTH: usize = 128;

/// Reads JSON; the error is that of the text as it came.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| match serde_json::from_slice(&without_nulls(text)) {
        Ok(found) => Ok(found),
        Err(_) => Err(error),
    })
}

/// The text without members that are null.
pub fn without_nulls(text: &[u8]) -> Vec<u8> {
    let mut scan = Scan { out: Vec::with_capacity(text.len()), open: Vec::new(), key: None, value_of: None };
    let mut rest = text;
    while let Some(first) = rest.first() {
        let length = match first {
            b'"' => string_length(rest),
            b'n' if rest.starts_with(b"null") => 4,
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        if scan.open.len() > MAX_DEPTH {
            scan.out.extend_from_slice(rest);
            break;
        }
        rest = scan.take(token, after);
    }
    scan.out
}

/// With both quotes; all that is left where the second is missing.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |at| at + 2)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What follows the spaces.
fn trimmed(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    &text[spaces..]
}

struct Scan {
    out: Vec<u8>,
    /// The first byte of every object and list around.
    open: Vec<u8>,
    /// Where the last token begins in `out`, if it is a text that may name a member.
    key: Option<usize>,
    /// Where the member begins whose value comes next.
    value_of: Option<usize>,
}

impl Scan {
    /// Takes one token over, or leaves the member that it ends out. Gives what is still to be read.
    fn take<'a>(&mut self, token: &[u8], after: &'a [u8]) -> &'a [u8] {
        match token {
            [byte] if is_space(*byte) => {}
            b":" => self.value_of = self.key.take(),
            b"null" => {
                if let Some(rest) = self.value_of.take().and_then(|member| self.leave_out(member, after)) {
                    return rest;
                }
                self.key = None;
            }
            _ => {
                self.value_of = None;
                self.key = (token[0] == b'"' && self.names_a_member()).then_some(self.out.len());
                match token {
                    b"{" | b"[" => self.open.push(token[0]),
                    b"}" | b"]" => {
                        self.open.pop();
                    }
                    _ => {}
                }
            }
        }
        self.out.extend_from_slice(token);
        after
    }

    fn last(&self) -> Option<u8> {
        self.out.iter().rev().copied().find(|byte| !is_space(*byte))
    }

    /// Whether a text would stand where a member begins.
    fn names_a_member(&self) -> bool {
        self.open.last() == Some(&b'{') && matches!(self.last(), Some(b'{' | b','))
    }

    /// Takes the member back, with the comma before it, or that after it where it is the first. None where it is
    /// none, because something else follows than may.
    fn leave_out<'a>(&mut self, member: usize, after: &'a [u8]) -> Option<&'a [u8]> {
        let next = trimmed(after);
        let ends = next.first() == Some(&b'}');
        if !ends && next.first() != Some(&b',') {
            return None;
        }
        // A name that cannot be read is no JSON.
        let name = &self.out[member..member + string_length(&self.out[member..])];
        serde_json::from_slice::<String>(name).ok()?;
        let before = self.out[..member].iter().rposition(|byte| !is_space(*byte))?;
        let (kept, rest) = match self.out[before] {
            b',' => (before, after),
            _ if ends => (before + 1, after),
            _ => (before + 1, Some(trimmed(&next[1..])).filter(|rest| rest.first() == Some(&b'"'))?),
        };
        self.out.truncate(kept);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn text(text: &str) -> String {
        String::from_utf8(without_nulls(text.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn members_that_are_null_are_left_out() {
        for (given, expected) in [
            (r#"{"a": null}"#, "{}"),
            (r#"{"a": null, "b": 1, "c": null}"#, r#"{"b": 1}"#),
            (r#"{"a": 1, "b": null, "c": null, "d": 2}"#, r#"{"a": 1, "d": 2}"#),
            (r#"[null, {"n": {"a":null,"b":null}}, "null"]"#, r#"[null, {"n": {}}, "null"]"#),
            (r#"{"a\\": "\"a\":null", "b\"": null}"#, r#"{"a\\": "\"a\":null"}"#),
            (" null ", " null "),
        ] {
            assert_eq!(text(given), expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for given in [
            r#"{"a": null,}"#,
            r#"{"a": null "b": 1}"#,
            r#"{"b": 1,, "a": null}"#,
            r#"{"b": 1 "a": null}"#,
            r#""a": null, 5"#,
            r#"[1, "a": null, 5]"#,
            r#"["a": null]"#,
            r#"{"a": nullx}"#,
            r#"{"a": null, 5}"#,
            r#"{"a": null"#,
            r#"{"a": null]"#,
            r#"{"a": null, "b"}"#,
            r#"{"a: null}"#,
            r#"{"a":: null}"#,
            "{\"a\"\u{1}: null}",
            "{\"\u{1}\": null}",
            r#"{"\ud800": null}"#,
        ] {
            assert!(serde_json::from_str::<Value>(&text(given)).is_err(), "{given}: {}", text(given));
        }
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(Value::Bool(true)),
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\{}:, n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            let members = proptest::collection::btree_map("[a-c\"\\\\:, ]{0,3}", inner.clone(), 0..5);
            prop_oneof![
                proptest::collection::vec(inner, 0..5).prop_map(Value::from),
                members.prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    fn expected(tree: Value) -> Value {
        match tree {
            Value::Object(members) => {
                let there = members.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(there.map(|(name, value)| (name, expected(value))).collect())
            }
            Value::Array(list) => Value::Array(list.into_iter().map(expected).collect()),
            other => other,
        }
    }

    proptest! {
        #[test]
        fn trees_lose_their_null_members_and_nothing_else(tree in tree(), pretty in any::<bool>()) {
            let shown = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) };
            let kept = without_nulls(shown.expect("JSON").as_bytes());
            prop_assert_eq!(serde_json::from_slice::<Value>(&kept).expect("JSON"), expected(tree));
        }

        #[test]
        fn nothing_becomes_json(text in "[{}\\[\\],:\"an1 ]{0,12}|(\\{|\\[|\"a\"|:|null|,|\\}|\\]| |1){0,12}") {
            if serde_json::from_str::<Value>(&text).is_err() {
                prop_assert!(serde_json::from_slice::<Value>(&without_nulls(text.as_bytes())).is_err());
            }
        }
    }
}

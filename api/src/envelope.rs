//! The frame around every JSON answer: `{status, data, errorType, error, warnings, infos}`.

use crate::config::MAX_ANNOTATIONS;
use crate::error::ErrorType;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hearth_model::Labels;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::io;

pub const JSON: &str = "application/json";

/// What an answer says beside its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Notes {
    /// `,"warnings":[…],"infos":[…]}`, each part only where there is something: the end of an envelope.
    pub fn close(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if texts.is_empty() {
                continue;
            }
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_json(&mut out, &capped(texts, name));
        }
        out.push(b'}');
        out
    }
}

pub const TRUNCATED: &str = "results truncated due to limit";

/// At most ten texts and one that counts the rest; lists that were capped before come with eleven.
fn capped(texts: &[String], name: &str) -> Vec<String> {
    if texts.len() <= MAX_ANNOTATIONS + 1 {
        return texts.to_vec();
    }
    let mut out = texts[..MAX_ANNOTATIONS].to_vec();
    let what = if name == "infos" { "info" } else { "warning" };
    out.push(format!("{} more {what} annotations omitted", texts.len() - MAX_ANNOTATIONS));
    out
}

/// Strings and numbers as Go's encoder writes them: what could open a tag or end a script is escaped, so that an
/// answer is harmless inside a page.
struct GoStrings;

impl serde_json::ser::Formatter for GoStrings {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (head, tail) = rest.split_at(at);
            writer.write_all(head.as_bytes())?;
            let mut characters = tail.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    /// Without an exponent between a millionth and 10^21, as Go prints numbers.
    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut out = Vec::new();
        hearth_model::number::write_result(&mut out, value);
        writer.write_all(&out)
    }
}

/// Appends a value as JSON.
pub fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoStrings);
    value.serialize(&mut serializer).expect("in-memory values of ours always print");
}

/// A label set as a JSON object. Prometheus writes these with a printer of its own, which leaves `<`, `>`
/// and `&` as they are.
pub struct LabelObject<'a>(pub &'a Labels);

impl Serialize for LabelObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Vec::new();
        hearth_wire::json::write_labels(&mut out, self.0);
        let out = String::from_utf8(out).expect("labels are text");
        RawValue::from_string(out).expect("JSON by construction").serialize(serializer)
    }
}

pub fn success(data: &impl Serialize) -> Response {
    success_with(data, &Notes::default())
}

pub fn success_with(data: &impl Serialize, notes: &Notes) -> Response {
    let mut body = br#"{"status":"success","data":"#.to_vec();
    write_json(&mut body, data);
    body.extend_from_slice(&notes.close());
    json(StatusCode::OK, Body::from(body))
}

pub fn failure(kind: ErrorType, text: &str) -> Response {
    let mut body = br#"{"status":"error","errorType":""#.to_vec();
    body.extend_from_slice(kind.text().as_bytes());
    body.extend_from_slice(br#"","error":"#);
    write_json(&mut body, &text);
    body.push(b'}');
    json(kind.status(), Body::from(body))
}

pub fn json(status: StatusCode, body: Body) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_capped_and_left_out_where_empty() {
        assert_eq!(Notes::default().close(), b"}");
        let notes = Notes { warnings: vec!["a<b".into()], infos: (0..12).map(|i| i.to_string()).collect() };
        let expect = concat!(
            r#","warnings":["a\u003cb"],"#,
            r#""infos":["0","1","2","3","4","5","6","7","8","9","2 more info annotations omitted"]}"#
        );
        assert_eq!(String::from_utf8(notes.close()).expect("text"), expect);
    }

    #[test]
    fn texts_are_escaped_for_pages_and_label_sets_are_not() {
        let labels = Labels::from_pairs([("a", "<b>&\"")]);
        let mut out = Vec::new();
        write_json(&mut out, &("<b>&\"\u{2028}", LabelObject(&labels), 0.00002, 1.0));
        let expect = r#"["\u003cb\u003e\u0026\"\u2028",{"a":"<b>&\""},0.00002,1]"#;
        assert_eq!(String::from_utf8(out).expect("text"), expect);
    }
}

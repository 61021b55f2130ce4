//! XML answers as a tree, for those that are read by tables of names or nest without an end. Depth and size are
//! bounded; attributes and namespaces are of no interest to anybody here.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Elements within each other.
const MAX_DEPTH: usize = 64;

/// One element: its text without that of its children, and those.
#[derive(Debug, Default, PartialEq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Down a path such as `Endpoint/Port`.
    pub fn at(&self, path: &str) -> Option<&Element> {
        path.split('/').try_fold(self, |element, name| element.child(name))
    }

    /// The text at a path; none where there is no such element, or nothing in it.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The entries of the list at a path.
    pub fn list(&self, path: &str) -> &[Element] {
        self.at(path).map_or(&[], |element| &element.children)
    }
}

fn resolved(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(found) = reference.resolve_char_ref().map_err(|e| e.to_string())? {
        return Ok(found);
    }
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(format!("the entity {other:?} is not known")),
    }
}

/// The outermost element.
pub fn parse(bytes: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("the answer is not UTF-8: {e}"))?;
    let mut reader = Reader::from_str(text);
    // The root's parent is at the bottom.
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|e| format!("the answer is no XML: {e}"))?;
        let depth = open.len();
        let Some(top) = open.last_mut() else { break };
        match event {
            Event::Start(start) if depth > MAX_DEPTH => {
                return Err(format!("{:?} is nested deeper than {MAX_DEPTH}", start.local_name()));
            }
            Event::Start(start) => {
                open.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::Empty(start) => {
                top.children
                    .push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::End(_) => {
                let mut done = open.pop().unwrap_or_default();
                if !done.children.is_empty() || done.text.trim().is_empty() {
                    done.text = done.text.trim().to_owned();
                }
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return Err("an element ends that did not begin".into()),
                }
            }
            Event::Text(text) => top.text.push_str(&text.xml10_content()),
            Event::CData(text) => top.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => top.text.push(resolved(&reference)?),
            Event::Eof => break,
            _ => {}
        }
    }
    match (open.len(), open.pop()) {
        (1, Some(mut bottom)) if bottom.children.len() == 1 => {
            bottom.children.pop().ok_or_else(|| "no XML".to_owned())
        }
        _ => Err("the answer is no whole XML document".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_and_bounded() {
        let tree = parse(b"<?xml version='1.0'?><r xmlns='x'><a b='c'>1 &lt; &#50;<![CDATA[<]]></a><l><m/> <m>x</m></l></r>");
        let tree = tree.expect("XML");
        assert_eq!(tree.text_at("a"), Some("1 < 2<"));
        assert_eq!((tree.text_at("l/m"), tree.list("l").len(), tree.list("none").len()), (None, 2, 0));
        let deep = "<a>".repeat(MAX_DEPTH + 1);
        assert!(parse(deep.as_bytes()).expect_err("deep").contains("nested deeper than 64"));
        for bad in ["", "<a>", "</a>", "<a/><b/>", "<a>&b;</a>", "\u{1}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

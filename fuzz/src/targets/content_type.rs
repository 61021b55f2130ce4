//! The `Content-Type` a target sends. A fallback must help exactly where a header is no good.

use hearth_wire::exposition::{Format, Protocol};

pub fn run(data: &[u8]) {
    let header = String::from_utf8_lossy(data);
    let fallback = Protocol::Lines(Format::Text);
    let helped = Protocol::from_content_type(&header, Some(fallback));
    assert_eq!(helped, Ok(Protocol::from_content_type(&header, None).unwrap_or(fallback)));
}

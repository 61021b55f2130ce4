//! The `Content-Type` a target sends. A fallback must help exactly where a header is no good.

use hearth_wire::exposition::{ContentTypeError, Format};

pub fn run(data: &[u8]) {
    let header = String::from_utf8_lossy(data);
    let plain = Format::from_content_type(&header, None);
    let helped = Format::from_content_type(&header, Some(Format::Text));
    match plain {
        Ok(format) => assert_eq!(helped, Ok(format)),
        Err(ContentTypeError::Protobuf) => assert_eq!(helped, Err(ContentTypeError::Protobuf)),
        Err(_) => assert_eq!(helped, Ok(Format::Text)),
    }
}

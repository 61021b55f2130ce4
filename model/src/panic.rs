//! What a panic said, for who catches it at the edge of its work.

use std::any::Any;

/// The text, where there is one.
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_kinds_of_text_are_found() {
        let said = |work: fn()| {
            let panic = std::panic::catch_unwind(work).expect_err("panics");
            super::text(&*panic).to_owned()
        };
        assert_eq!(said(|| panic!("as it is")), "as it is");
        assert_eq!(said(|| panic!("put {}", "together")), "put together");
        assert_eq!(said(|| std::panic::panic_any(7)), "panic");
    }
}

//! A query as text. What parses must print to a text that parses to the same print, in one line and in
//! many; the tree must be written as JSON and its durations computed without a panic.

use hearth_promql::syntax::{self, ParseOptions, QueryTimes};

const TIMES: QueryTimes = QueryTimes { start_ms: 50_000, end_ms: 60_000, step_ms: 5_000 };

pub fn run(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    // Only the absence of a panic is asked of it.
    let _ = syntax::parse_metric_selector(query);
    for options in [ParseOptions::ALL, ParseOptions::default()] {
        let Ok(mut tree) = syntax::parse(query, &options) else { continue };
        assert!(syntax::json::to_json(&tree).starts_with('{'));
        let printed = tree.to_string();
        for text in [&printed, &syntax::format(&tree)] {
            match syntax::parse(text, &options) {
                Ok(again) => assert_eq!(again.to_string(), printed, "no fixed point of {query:?}"),
                Err(e) => assert!(is_allowed(&e.message), "{query:?} printed as {text:?}: {e}"),
            }
        }
        // An impossible duration is an answer.
        let _ = syntax::resolve_durations(&mut tree, TIMES);
    }
}

/// Lengths are printed to the millisecond, and a range of none is refused; and what is printed can be a
/// little longer or, by the sign of `+Inf`, deeper than what was read, and so beyond a limit.
fn is_allowed(message: &str) -> bool {
    let beyond = message.contains("longer than the limit") || message.contains("levels deep");
    beyond || message == "duration must be greater than 0"
}

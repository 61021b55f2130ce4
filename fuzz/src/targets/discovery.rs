//! Answers of discovery APIs. Each parser gets everything: an API may answer with anything.

use hearth_scrape::payload::PARSERS;

pub fn run(data: &[u8]) {
    for (mechanism, parse) in PARSERS {
        if let Ok(targets) = parse(data) {
            // Ports by addresses, at the worst.
            assert!(
                targets <= data.len().pow(2),
                "{mechanism} makes {targets} targets of {} bytes",
                data.len()
            );
        }
    }
}

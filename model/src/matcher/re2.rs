//! RE2's dialect, as Go's regexp reads it, brought into the dialect of the regex crates.

//! What the newer Prometheus that Hearth follows says otherwise than the 3.5 that it is compared with. Each
//! line is a change of theirs, not a licence of ours; everything else must be equal.

/// Of warnings and infos: the text as both versions have it, or nothing where only the newer one has it.
pub fn annotation(text: &str) -> Option<String> {
    // Later versions also say it for functions that sort.
    if text.contains("sort is ineffective for range queries") {
        return None;
    }
    // 3.5 names a metric even where there is no name.
    Some(text.replace(" for metric name \"\"", ""))
}

/// Of errors: the text as both versions have it.
pub fn error(text: &str) -> &str {
    // Which of several groups is found first is nobody's promise.
    const DUPLICATES: &str = "found duplicate series for the match group";
    if text.starts_with(DUPLICATES) {
        return DUPLICATES;
    }
    text
}

/// How far apart two equal values may lie, relative to the larger: room for sums in another order. 3.5 adds
/// up the variance over series without compensation, which leaves fewer digits.
pub fn tolerance(query: &str) -> f64 {
    let over_series = ["stddev", "stdvar"].iter().any(|name| {
        query.match_indices(name).any(|(at, _)| !query[at + name.len()..].starts_with("_over_time"))
    });
    if over_series { 1e-6 } else { 1e-12 }
}

/// Errors that later versions raise elsewhere. They look at the parameter of `topk` and its like before
/// anything else, 3.5 at each step that has series, in other words; and they refuse several matches where a
/// comparison filters all but one of them away.
pub fn is_raised_elsewhere(text: &str) -> bool {
    text.starts_with("multiple matches for labels: many-to-one matching must be explicit")
        || text == "Parameter value is NaN"
        || (text.starts_with("Scalar value ") && text.ends_with("flows int64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_put_aside() {
        assert_eq!(annotation("a for metric name \"\" (1:2)").as_deref(), Some("a (1:2)"));
        assert_eq!(annotation("a for metric name \"b\"").as_deref(), Some("a for metric name \"b\""));
        assert_eq!(
            error("found duplicate series for the match group {} on: [a, b]"),
            "found duplicate series for the match group"
        );
        assert!(
            is_raised_elsewhere("Scalar value -Inf underflows int64")
                && !is_raised_elsewhere("Scalar value 5")
        );
        assert_eq!((tolerance("stddev_over_time(a[1m])"), tolerance("stdvar by (x) (a)")), (1e-12, 1e-6));
    }
}

//! What the newer Prometheus that Hearth follows says otherwise than the 3.5 that it is compared with. Each
//! line is a change of theirs, not a licence of ours; everything else must be equal.

use hearth_promql::syntax::ast::{At, Expr};
use hearth_promql::syntax::duration::Duration;
use hearth_promql::syntax::{ParseOptions, parse};
use serde_json::Value;

/// Of warnings and infos: the text as both versions have it, or nothing where only the newer one has it.
pub fn annotation(query: &str, text: &str) -> Option<String> {
    const ONLY_NEWER: [&str; 3] = [
        // Also for functions that sort.
        "sort is ineffective for range queries",
        "conflicting counter resets during histogram",
        "mismatched custom buckets were reconciled",
    ];
    // Among those that are too many to be shown is one of the newer version's.
    if text.ends_with("annotations omitted") && query.contains("sort") {
        return Some("annotations omitted".to_owned());
    }
    // 3.5 does not make a gauge of a negated histogram.
    let negated = text.contains("this native histogram metric is not a") && query.contains('-');
    if negated || ONLY_NEWER.iter().any(|newer| text.contains(newer)) {
        return None;
    }
    // 3.5 names a metric even where there is no name.
    let mut text = text.replace(" for metric name \"\"", "");
    // Of several metrics, the one named is that of a series that has nothing to do with it.
    if text.contains("exponential and custom buckets") {
        text = text.replacen(" for metric name \"", "\0", 1);
        if let (Some(from), Some(to)) = (text.find('\0'), text.rfind(" (")) {
            text.replace_range(from..to, "");
        }
    }
    // Of what an operator met at one step, only what it met last is told, and which that is depends on the order in
    // which series were created: they are told apart by the place alone.
    if text.contains("encountered for binary operator") {
        if let (Some(from), Some(to)) = (text.rfind("\": "), text.rfind(" (")) {
            text.replace_range(from + 1..to, "");
        }
        text = text.replace("incompatible bucket layout", "incompatible sample types");
    }
    // Later versions say how far the buckets of a classic histogram had to be lifted.
    if let (Some(from), Some(to)) = (text.find(", from buckets "), text.rfind(" (")) {
        text.replace_range(from..to, "");
    }
    Some(text)
}

/// The whole answer cannot be compared, for a reason that lies with 3.5:
///
/// * It gives nothing where custom buckets of different bounds meet; later versions bring them together
///   and say so.
/// * Under load it now and then overwrites the buckets of a native histogram that is still in use, which
///   leaves them with another sum than the count.
/// * Where only counts are asked for it takes the custom buckets away and then does not add what is left.
pub fn is_incomparable(query: &str, theirs: &Value) -> bool {
    let counts_only = ["histogram_count", "histogram_sum", "histogram_avg"].iter().any(|f| query.contains(f));
    let warnings = theirs["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut texts =
        warnings.chain(theirs["infos"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let refused = |text: &str| {
        // Where there are too many to be shown, it may be among the rest.
        let hidden = text.ends_with("annotations omitted") && query.contains("native_custom");
        text.contains("incompatible custom buckets")
            || hidden
            || (counts_only && text.contains("incompatible bucket layout"))
    };
    texts.any(refused) || has_broken_histogram(&theirs["data"])
}

/// Some histogram in it has buckets that do not add up to its count.
fn has_broken_histogram(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(has_broken_histogram),
        Value::Object(object) => is_broken(object) || object.values().any(has_broken_histogram),
        _ => false,
    }
}

fn is_broken(object: &serde_json::Map<String, Value>) -> bool {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let Some(count) = object.get("count").and_then(number) else { return false };
    let buckets = object.get("buckets").and_then(Value::as_array).into_iter().flatten();
    let sizes: Vec<f64> = buckets.filter_map(|bucket| number(&bucket[3])).collect();
    let (sum, magnitude) = (sizes.iter().sum::<f64>(), sizes.iter().map(|size| size.abs()).sum::<f64>());
    (sum - count).abs() > 1e-9 * magnitude.max(count.abs())
}

/// Whether another of their lists has it: of what an operator met at one step only the last is told, be it an info or a
/// warning.
pub fn is_told_otherwise(text: &str, theirs: &[String]) -> bool {
    let plain = |text: &str| text.split_once(": ").map_or(text, |(_, text)| text).to_owned();
    text.contains("encountered for binary operator") && theirs.iter().any(|other| plain(other) == plain(text))
}

/// Of errors: the text as both versions have it.
pub fn error(text: &str) -> String {
    // Which of several groups is found first is nobody's promise.
    const DUPLICATES: &str = "found duplicate series for the match group";
    if text.starts_with(DUPLICATES) {
        return DUPLICATES.to_owned();
    }
    // A word that has no name is told by its number in the grammar, which has grown since.
    text.replace("<Item 57402>", "<Item 57400>")
}

/// 3.5 does not look into the parameter of an aggregation before it runs: it reads what is pinned there by
/// `@ start()` or `@ end()` at each step, and evaluates the whole aggregation once where only its input is
/// the same at every step. And it carries the slope of a histogram back to below zero, where that falls as
/// often as a gauge does.
pub fn asks_what_changed(query: &str) -> bool {
    // An angle or a dividend far larger than its last exact digit: not a change, but nothing to compare.
    let angle = ["sin(", "cos(", "tan("].iter().any(|f| query.contains(f));
    // The index puts contradicting matchers into its own order, but only where it has data at that time.
    let contradicts = query.contains(r#"job!="api",job="api""#) || query.contains(r#"job="api",job!="api""#);
    if (query.contains("absent") && contradicts) || (query.contains("atanh(") && query.contains("tanh(")) {
        return true;
    }
    let computed = ["atan2", "sinh", "cosh", "tanh", "exp(", "ln(", "log"].iter().any(|f| query.contains(f));
    // The slope of what is constant but for the last digit of such a function.
    let slope = ["deriv(", "predict_linear("].iter().any(|f| query.contains(f));
    if slope && (angle || computed || query.contains("atan") || query.contains("asin")) {
        return true;
    }
    // Which labels there are, and how many have one, depends on each digit of a value.
    if query.contains("count_values")
        && (computed || angle || query.contains("atan(") || query.contains("asin("))
    {
        return true;
    }
    if query.contains('%') && computed {
        return true;
    }
    if angle && ["^", "exp(", "sinh(", "cosh("].iter().any(|f| query.contains(f)) {
        return true;
    }
    let differs = query.contains("native") && query.contains("delta(");
    let falls = (query.contains("native_gauge") || differs)
        && (query.contains("rate(") || query.contains("increase("));
    let changed = |expr: Expr| has_pinned_parameter(&expr) || has_lost_offset(&expr);
    falls || parse(query, &ParseOptions::ALL).is_ok_and(changed)
}

fn has_pinned_parameter(expr: &Expr) -> bool {
    let pinned = match expr {
        Expr::Aggregate(aggregate) => aggregate.param.as_deref().is_some_and(|param| {
            let changes = !matches!(param.unwrap_paren(), Expr::Number(_) | Expr::String(_));
            is_pinned(param) || (changes && never_changes(&aggregate.expr))
        }),
        _ => false,
    };
    pinned || expr.children().any(has_pinned_parameter)
}

/// 3.5 loses the offset of a selector that `timestamp` looks at where it is pinned, too.
fn has_lost_offset(expr: &Expr) -> bool {
    let lost = match expr {
        Expr::Call(call) if call.func.name == "timestamp" => {
            let selector = call.args.first().map(Expr::unwrap_paren);
            matches!(selector, Some(Expr::Vector(s)) if s.at.is_some() && s.offset != Duration::ZERO)
        }
        _ => false,
    };
    lost || expr.children().any(has_lost_offset)
}

/// Every selector within is pinned, or there is none.
fn never_changes(expr: &Expr) -> bool {
    match expr {
        Expr::Vector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some(),
        _ => expr.children().all(never_changes),
    }
}

/// Some selector within is pinned to an end of the query.
fn is_pinned(expr: &Expr) -> bool {
    let at = match expr {
        Expr::Vector(selector) => selector.at,
        Expr::Matrix(matrix) => matrix.selector.at,
        Expr::Subquery(subquery) => subquery.at,
        _ => None,
    };
    matches!(at, Some(At::Start | At::End)) || expr.children().any(is_pinned)
}

/// Where nothing blows up rounding.
pub const EXACT: f64 = 1e-12;

/// What two equal values may differ by.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Relative to the larger.
    pub relative: f64,
    /// The exponential of x86 builds of Go overflows from 1023.5 times the logarithm of 2 on, where the result
    /// is finite still; those of other processors do not.
    pub overflows_early: bool,
}

/// Results of an exponential beyond this, or half of it, are out of reach of what overflows early.
pub const EARLY_OVERFLOW: f64 = 1.27e308;

/// Room for sums in another order. 3.5 adds up the variance over series without compensation, which leaves
/// fewer digits.
pub fn tolerance(query: &str) -> Tolerance {
    let overflows_early = ["exp(", "sinh(", "cosh("].iter().any(|f| query.contains(f));
    Tolerance { relative: relative(query), overflows_early }
}

fn relative(query: &str) -> f64 {
    let over_series = ["stddev", "stdvar"].iter().any(|name| {
        query.match_indices(name).any(|(at, _)| !query[at + name.len()..].starts_with("_over_time"))
    });
    // Go computes these by itself, and the last digit is not always ours; what is computed from them may
    // blow it up. 3.5 adds up histograms without compensation, and a remainder shows only the last digits.
    let inexact = ["sin", "cos", "tan", "exp(", "ln(", "log", "^"].iter().any(|f| query.contains(f))
        || (query.contains("native") && query.contains('%'));
    // The last digit of what was added up in another order, beside a variance far below the square of the values.
    let over_sums = ["stddev_over_time", "stdvar_over_time"].iter().any(|f| query.contains(f))
        && ["avg", "sum"].iter().any(|f| query.contains(f))
        && query.contains("ts_of_");
    match (over_series || over_sums, inexact) {
        (true, _) => 1e-6,
        (_, true) => 1e-9,
        _ => EXACT,
    }
}

/// Errors that later versions raise elsewhere. They look at the parameter of `topk` and its like before
/// anything else, 3.5 at each step that has series, in other words; and they refuse several matches where a
/// comparison filters all but one of them away.
pub fn is_raised_elsewhere(text: &str) -> bool {
    text.starts_with("multiple matches for labels: many-to-one matching must be explicit")
        || text == "Parameter value is NaN"
        // Durations may also be `step()` and `range()` in later versions, which word this otherwise.
        || text.contains("expected number or duration")
        // It called every sign in the place of a colon a colon, and failed itself on some half-made operands.
        || text.contains("unexpected colon '")
        // It had no `min_of(…, …)` in durations.
        || text.ends_with("unexpected character in duration expression: ','")
        || text.ends_with("unexpected error")
        || (text.starts_with("Scalar value ") && text.ends_with("flows int64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changed_is_put_aside() {
        let annotation = |text| annotation("x", text);
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
        let lifted = "fixed (see x) for metric name \"b\", from buckets 1 to 2, over 3 samples (1:2)";
        assert_eq!(annotation(lifted).as_deref(), Some("fixed (see x) for metric name \"b\" (1:2)"));
        assert!(
            asks_what_changed("1 + quantile(scalar(a @ end()), b)")
                && !asks_what_changed("quantile(1, b @ end())")
        );
        assert!(asks_what_changed("quantile(time(), b @ 5)") && !asks_what_changed("quantile(time(), b)"));
        let types =
            "incompatible sample types encountered for binary operator \">\": histogram > float (1:2)";
        let told = "incompatible sample types encountered for binary operator \">\" (1:2)";
        assert_eq!(annotation(types).as_deref(), Some(told));
        assert!(
            asks_what_changed("timestamp((m offset 7m @ 5))")
                && !asks_what_changed("timestamp(m @ 5) + (m offset 1m)")
        );
        let histogram = |count| json!({"result": [[1, {"count": count, "buckets": [[0, "1", "2", "3"]]}]]});
        assert!(has_broken_histogram(&histogram("4")) && !has_broken_histogram(&histogram("3")));
        assert_eq!((relative("stddev_over_time(a[1m])"), relative("stdvar by (x) (a)")), (1e-12, 1e-6));
    }
}

//! Compares two answers of the query interface down to labels, types, kinds of errors and annotations,
//! values to a relative 1e-12 (see
//! [`versions::tolerance`]).

use crate::servers::Verdict;
use crate::versions::{self, Tolerance};
use hearth_perf::http::Answer;
use serde_json::Value;
use std::collections::BTreeMap;

/// Findings shown at most: one wrong window breaks every series alike.
const MAX_FINDINGS: usize = 6;

/// What differs in the two answers to `query`.
pub fn compare(query: &str, ours: &Answer, theirs: &Answer) -> Result<Verdict, String> {
    let read = |answer: &Answer| -> Result<Value, String> {
        serde_json::from_str(&answer.body).map_err(|error| format!("{query}: {error}: {}", answer.body))
    };
    let (our_status, their_status) = (ours.status, theirs.status);
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    let outcome = outcome(&theirs);
    let mut findings = Vec::new();
    if versions::is_incomparable(query, &theirs) || versions::asks_what_changed(query) {
        return Ok(Verdict { outcome: "what cannot be compared", findings });
    }
    let (our_error, their_error) = (error_of(&ours), error_of(&theirs));
    if versions::is_raised_elsewhere(our_error) || versions::is_raised_elsewhere(their_error) {
        return Ok(Verdict { outcome, findings });
    }
    let same_error = versions::error(our_error) == versions::error(their_error);
    if our_status != their_status || ours["errorType"] != theirs["errorType"] || !same_error {
        findings.push(format!(
            "status {our_status} {} {our_error:?} instead of {their_status} {} {their_error:?}",
            ours["errorType"], theirs["errorType"]
        ));
        return Ok(Verdict { outcome, findings });
    }
    if outcome == ERROR {
        return Ok(Verdict { outcome, findings });
    }
    for (kind, other) in [("warnings", "infos"), ("infos", "warnings")] {
        let otherwise = texts(query, &theirs[other]);
        let (mut ours, mut theirs) = (texts(query, &ours[kind]), texts(query, &theirs[kind]));
        ours.retain(|text| theirs.contains(text) || !versions::is_told_otherwise(text, &otherwise));
        // Where there are too many, which ones are shown is chance.
        let too_many = |texts: &[String]| texts.iter().any(|text| text.ends_with("annotations omitted"));
        if too_many(&ours) && too_many(&theirs) {
            for texts in [&mut ours, &mut theirs] {
                texts.retain(|text| text.ends_with("annotations omitted"));
            }
        }
        if ours != theirs {
            findings.push(format!("{kind} {ours:?} instead of {theirs:?}"));
        }
    }
    compare_data(query, &ours["data"], &theirs["data"], &mut findings);
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    findings.truncate(MAX_FINDINGS);
    if more > 0 {
        findings.push(format!("and {more} more"));
    }
    Ok(Verdict { outcome, findings })
}

const ERROR: &str = "an error";

fn outcome(answer: &Value) -> &'static str {
    if answer["status"] != "success" {
        return ERROR;
    }
    match answer["data"]["result"].as_array() {
        Some(series) if series.is_empty() => "nothing",
        _ => "values",
    }
}

fn error_of(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_default()
}

/// Annotations, their order put aside.
fn texts(query: &str, list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let texts = texts.filter_map(|text| versions::annotation(query, text));
    let mut texts: Vec<String> = texts.map(|text| rounded(&text)).collect();
    texts.sort_unstable();
    // What the versions tell apart may have become one.
    texts.dedup();
    texts
}

fn compare_data(query: &str, ours: &Value, theirs: &Value, findings: &mut Vec<String>) {
    if ours["resultType"] != theirs["resultType"] {
        findings.push(format!("type {} instead of {}", ours["resultType"], theirs["resultType"]));
        return;
    }
    let tolerance = versions::tolerance(query);
    let (Some(our_list), Some(their_list)) = (ours["result"].as_array(), theirs["result"].as_array()) else {
        findings.push(format!("{ours} instead of {theirs}"));
        return;
    };
    if ours["resultType"] == "scalar" || ours["resultType"] == "string" {
        compare_points("", &ours["result"], &theirs["result"], tolerance, findings);
        return;
    }
    let (our_series, their_series) = (by_labels(query, our_list), by_labels(query, their_list));
    for (labels, theirs) in &their_series {
        match our_series.get(labels) {
            None => findings.push(format!("{labels}: missing, {theirs}")),
            Some(ours) => compare_series(labels, ours, theirs, tolerance, findings),
        }
    }
    for (labels, ours) in our_series.iter().filter(|(labels, _)| !their_series.contains_key(*labels)) {
        findings.push(format!("{labels}: extra, {ours}"));
    }
    if our_list.len() != our_series.len() {
        findings.push("a label set comes twice".to_string());
    }
    if findings.is_empty() && ours["resultType"] == "vector" {
        compare_order(query, our_list, their_list, findings);
    }
}

fn by_labels<'v>(query: &str, series: &'v [Value]) -> BTreeMap<String, &'v Value> {
    // serde_json keeps an object's members sorted, so equal label sets print equally.
    let labels = |series: &Value| match query.contains("count_values") {
        true => rounded(&series["metric"].to_string()),
        false => series["metric"].to_string(),
    };
    let mut by_labels = BTreeMap::new();
    for series in series {
        let labels = labels(series);
        let same = (1..).map(|n| format!("{labels} #{n}"));
        let free = [labels.clone()].into_iter().chain(same).find(|key| !by_labels.contains_key(key));
        // Without rounding a label set that comes twice is to be noticed.
        let key = free.filter(|_| query.contains("count_values")).unwrap_or(labels);
        by_labels.insert(key, series);
    }
    by_labels
}

/// The text with its numbers to eleven digits: values in labels and texts are compared as values are.
fn rounded(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let (mut out, mut rest) = (String::new(), text);
    while let Some(from) = rest.find(is_digit) {
        let number = &rest[from..];
        let number = &number[..number.find(|c| !is_digit(c)).unwrap_or(number.len())];
        out += &rest[..from];
        out += &number.parse::<f64>().map_or(number.to_owned(), |value| format!("{value:.10e}"));
        rest = &rest[from + number.len()..];
    }
    out + rest
}

/// Where the query sorts, the order counts: of values, since equal ones come in any order, or of labels.
fn compare_order(query: &str, ours: &[Value], theirs: &[Value], findings: &mut Vec<String>) {
    let differs = |ours: &Value, theirs: &Value| {
        if query.starts_with("sort_by_label") {
            ours["metric"] != theirs["metric"]
        } else {
            !same(&ours["value"][1], &theirs["value"][1], versions::tolerance(query))
        }
    };
    // Prometheus does not tell a missing label from any other text, and its order then is none.
    let labels = |series: &Value| series["metric"].as_object().map_or(0, |labels| labels.len());
    let alike = theirs.windows(2).all(|pair| labels(&pair[0]) == labels(&pair[1]));
    if query.starts_with("sort_by_label") && !alike {
        return;
    }
    if query.starts_with("sort") && ours.iter().zip(theirs).any(|(ours, theirs)| differs(ours, theirs)) {
        findings.push("the order differs".to_string());
    }
}

fn compare_series(
    labels: &str,
    ours: &Value,
    theirs: &Value,
    tolerance: Tolerance,
    findings: &mut Vec<String>,
) {
    for kind in ["value", "histogram"] {
        compare_points(labels, &ours[kind], &theirs[kind], tolerance, findings);
    }
    for kind in ["values", "histograms"] {
        let points = |series: &Value| series[kind].as_array().cloned().unwrap_or_default();
        let (ours, theirs) = (points(ours), points(theirs));
        if ours.len() != theirs.len() {
            findings.push(format!("{labels}: {} {kind} instead of {}", ours.len(), theirs.len()));
            continue;
        }
        let before = findings.len();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            compare_points(labels, ours, theirs, tolerance, findings);
            if findings.len() > before {
                break;
            }
        }
    }
}

fn compare_points(
    labels: &str,
    ours: &Value,
    theirs: &Value,
    tolerance: Tolerance,
    findings: &mut Vec<String>,
) {
    let times = (ours[0].as_f64(), theirs[0].as_f64());
    if times.0 != times.1 || !same(&ours[1], &theirs[1], tolerance) {
        findings.push(format!("{labels}: {ours} instead of {theirs}"));
    }
}

/// Whether two values are equal: numbers in texts, or histograms made of such numbers.
fn same(ours: &Value, theirs: &Value, tolerance: Tolerance) -> bool {
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => same_number(ours, theirs, tolerance),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs, tolerance))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(key, ours)| theirs.get(key).is_some_and(|theirs| same(ours, theirs, tolerance)))
        }
        _ => ours == theirs,
    }
}

fn same_number(ours: &str, theirs: &str, tolerance: Tolerance) -> bool {
    if ours == theirs {
        return true;
    }
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(ours), Ok(theirs)) => {
            // What is left of a difference of nearly equal numbers is rounding, and no digit of it counts.
            let noise = if tolerance.relative > versions::EXACT { 1e-14 } else { 0.0 };
            let early = tolerance.overflows_early && theirs.is_infinite();
            let room = (tolerance.relative * ours.abs().max(theirs.abs())).max(noise);
            let close = ours.is_finite() && theirs.is_finite() && (ours - theirs).abs() <= room;
            close || (early && ours.is_finite() && ours * theirs.signum() > versions::EARLY_OVERFLOW / 2.0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(query: &str, ours: &Value, theirs: &Value, expect: &[&str]) {
        let answer = |body: &Value| Answer { status: 200, body: body.to_string(), retry_after_s: None };
        let found = compare(query, &answer(ours), &answer(theirs)).expect("both are JSON").findings;
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    fn vector(values: &[(&str, &str)]) -> Value {
        let result: Vec<_> =
            values.iter().map(|(a, value)| json!({"metric": {"a": a}, "value": [1.0, value]})).collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": result}})
    }

    #[test]
    fn values_count_to_twelve_digits() {
        check("x", &vector(&[("x", "1.00000000000001")]), &vector(&[("x", "1")]), &[]);
        check("x", &vector(&[("x", "1.0000000001")]), &vector(&[("x", "1")]), &["1.0000000001"]);
        let (largest, infinite) = (vector(&[("x", "1.3e308")]), vector(&[("x", "+Inf")]));
        check("exp(x)", &largest, &infinite, &[]);
        check("exp(x)", &vector(&[("x", "1e307")]), &infinite, &["1e307"]);
        check("x", &largest, &infinite, &["1.3e308"]);
        check("x", &vector(&[("x", "NaN")]), &vector(&[("x", "1")]), &["NaN"]);
        check("x", &vector(&[("x", "1")]), &vector(&[("y", "1")]), &["missing", "extra"]);
    }

    #[test]
    fn order_counts_only_where_the_query_sorts() {
        let (one, two) = (vector(&[("x", "1"), ("y", "2")]), vector(&[("y", "2"), ("x", "1")]));
        check("x", &one, &two, &[]);
        check("sort(x)", &one, &two, &["order"]);
    }

    #[test]
    fn values_in_labels_count_as_values() {
        let (one, two) = (vector(&[("3.761740510352456", "1")]), vector(&[("3.7617405103524564", "1")]));
        check("count_values(\"a\", x)", &one, &two, &[]);
        check("x", &one, &two, &["missing", "extra"]);
    }

    #[test]
    fn annotations_count() {
        let mut ours = vector(&[]);
        ours["warnings"] = json!(["a"]);
        check("x", &ours, &vector(&[]), &["warnings"]);
        let told = |level: &str, what: &str| {
            json!([format!(
                "PromQL {level}: incompatible {what} encountered for binary operator \"+\" (1:2)"
            )])
        };
        let mut theirs = vector(&[]);
        theirs["warnings"] = told("warning", "bucket layout");
        ours["warnings"] = theirs["warnings"].clone();
        ours["infos"] = told("info", "sample types");
        check("x", &ours, &theirs, &[]);
        check("x", &ours, &vector(&[]), &["warnings", "infos"]);
    }
}

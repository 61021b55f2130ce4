//! Compares what two servers answer to one query: the same series, the same times, values equal to a
//! relative 1e-9 (sums may add in another order). Order counts only where the caller says so.

use serde_json::Value;
use std::collections::BTreeMap;

/// How far apart two equal values may lie, relative to the larger.
const RELATIVE: f64 = 1e-9;

/// Differences shown at most: one wrong window breaks every series alike.
const MAX_SHOWN: usize = 8;

/// Labels as text, and the values by time as text.
type Answered = BTreeMap<String, Vec<(String, String)>>;

/// What differs between two `data` objects of `query` or `query_range`; empty where they agree.
pub fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    if ours["resultType"] != theirs["resultType"] {
        return vec![format!("type {} instead of {}", ours["resultType"], theirs["resultType"])];
    }
    let (ours, theirs) = match (answered(ours), answered(theirs)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => return ours.err().into_iter().chain(theirs.err()).collect(),
    };
    let mut found = Vec::new();
    for (labels, expected) in &theirs {
        match ours.get(labels) {
            None => found.push(format!("{labels}: missing")),
            Some(values) => found.extend(differing_values(labels, values, expected)),
        }
    }
    found.extend(
        ours.keys().filter(|labels| !theirs.contains_key(*labels)).map(|labels| format!("{labels}: extra")),
    );
    let more = found.len().saturating_sub(MAX_SHOWN);
    found.truncate(MAX_SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn differing_values(labels: &str, ours: &[(String, String)], theirs: &[(String, String)]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{labels}: {} points instead of {}", ours.len(), theirs.len()));
    }
    let pairs = ours.iter().zip(theirs);
    pairs.into_iter().find(|(ours, theirs)| ours.0 != theirs.0 || !same(&ours.1, &theirs.1)).map(
        |(ours, theirs)| {
            format!("{labels}: {} at {} instead of {} at {}", ours.1, ours.0, theirs.1, theirs.0)
        },
    )
}

/// Whether two printed values are the same number.
fn same(one: &str, two: &str) -> bool {
    if one == two {
        return true;
    }
    match (one.parse::<f64>(), two.parse::<f64>()) {
        (Ok(one), Ok(two)) => (one - two).abs() <= RELATIVE * one.abs().max(two.abs()),
        _ => false,
    }
}

fn answered(data: &Value) -> Result<Answered, String> {
    let result = &data["result"];
    if data["resultType"] == "scalar" || data["resultType"] == "string" {
        return Ok(BTreeMap::from([(String::new(), vec![point(result)?])]));
    }
    let mut answered = Answered::new();
    for series in result.as_array().ok_or_else(|| format!("no result in {data}"))? {
        let points = match series["values"].as_array() {
            Some(values) => values.iter().map(point).collect::<Result<_, _>>()?,
            None => vec![point(&series["value"])?],
        };
        // serde_json keeps an object's members sorted, so equal label sets print equally.
        let labels = series["metric"].to_string();
        if answered.insert(labels.clone(), points).is_some() {
            return Err(format!("{labels} comes twice"));
        }
    }
    Ok(answered)
}

fn point(pair: &Value) -> Result<(String, String), String> {
    match (&pair[0], pair[1].as_str()) {
        (Value::Number(time), Some(value)) => Ok((time_text(time.as_f64()), value.to_string())),
        _ => Err(format!("{pair} is not a time with a value")),
    }
}

/// 5, 5.0 and 5.000 are one time.
fn time_text(time_s: Option<f64>) -> String {
    time_s.map_or_else(|| "no time".to_string(), |time_s| format!("{time_s:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vector(values: &[(&str, &str)]) -> Value {
        let result: Vec<_> =
            values.iter().map(|(a, value)| json!({"metric": {"a": a}, "value": [1.0, value]})).collect();
        json!({ "resultType": "vector", "result": result })
    }

    #[track_caller]
    fn check(ours: &Value, theirs: &Value, expect: &[&str]) {
        let found = differences(ours, theirs);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn order_and_rounding_do_not_matter() {
        let ours = vector(&[("x", "1.0000000000001"), ("y", "NaN"), ("z", "+Inf")]);
        check(&ours, &vector(&[("z", "+Inf"), ("y", "NaN"), ("x", "1")]), &[]);
    }

    #[test]
    fn series_and_values_do() {
        check(&vector(&[("x", "1")]), &vector(&[("y", "1")]), &["missing", "extra"]);
        check(&vector(&[("x", "1.00001")]), &vector(&[("x", "1")]), &["1.00001"]);
        check(&vector(&[("x", "NaN")]), &vector(&[("x", "1")]), &["NaN"]);
        check(&vector(&[("x", "0")]), &vector(&[("x", "1e-300")]), &["1e-300"]);
        check(&vector(&[("x", "1"), ("x", "1")]), &vector(&[("x", "1")]), &["twice"]);
        check(&json!({"resultType": "matrix"}), &vector(&[]), &["type"]);
    }

    #[test]
    fn every_point_counts() {
        let matrix =
            |values: Value| json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]});
        check(&matrix(json!([[1, "1"], [2, "2"]])), &matrix(json!([[1.0, "1"], [2.0, "2"]])), &[]);
        check(&matrix(json!([[1, "1"]])), &matrix(json!([[1, "1"], [2, "2"]])), &["1 points instead of 2"]);
        check(&matrix(json!([[2, "1"]])), &matrix(json!([[1, "1"]])), &["2.000"]);
    }
}

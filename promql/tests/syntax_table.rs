//! `testdata/syntax.jsonl`: about nine hundred queries, good and bad, with what a real Prometheus 3.5
//! answered to each (`format_query`, `parse_query`, or the error). Where 3.14 is known to answer
//! otherwise, or where we choose to, the line says what was observed and why ours is different.

use hearth_promql::syntax::{ParseOptions, format, json, parse};
use serde_json::Value;

const TABLE: &str = include_str!("../testdata/syntax.jsonl");

/// The peer that answered had these flags; extended selectors and fills are younger than it.
const OPTIONS: ParseOptions =
    ParseOptions { extended_range_selectors: false, fill_modifiers: false, ..ParseOptions::ALL };

/// Removes what younger versions added.
fn as_of_3_5(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            for younger in ["anchored", "smoothed", "fillValues"] {
                fields.remove(younger);
            }
            fields.values_mut().for_each(as_of_3_5);
        }
        Value::Array(items) => items.iter_mut().for_each(as_of_3_5),
        _ => {}
    }
}

/// What is wrong with our answer to one line of the table.
fn difference(line: &str) -> Option<String> {
    let case: Value = serde_json::from_str(line).expect("a line of the table is JSON");
    let query = case["query"].as_str().expect("every case has a query");
    let complain =
        |ours: &str, expect: &Value| Some(format!("{query}\n  ours:   {ours}\n  expect: {expect}"));
    match parse(query, &OPTIONS) {
        Err(e) if case["error"].as_str() == Some(&e.to_string()) => None,
        Err(e) => complain(&e.to_string(), &case),
        Ok(expr) => {
            let printed = format(&expr);
            if case["format"].as_str() != Some(&printed) {
                return complain(&printed, &case);
            }
            let mut tree: Value = serde_json::from_str(&json::to_json(&expr)).expect("the tree is JSON");
            as_of_3_5(&mut tree);
            if tree != case["tree"] {
                return complain(&tree.to_string(), &case["tree"]);
            }
            let again = parse(&printed, &OPTIONS).map(|e| format(&e));
            let fixed = again.as_deref() == Ok(&printed);
            if fixed { None } else { complain(&format!("{again:?}"), &Value::from(printed)) }
        }
    }
}

#[test]
fn queries_are_read_and_printed_as_prometheus_does() {
    let differences: Vec<String> = TABLE.lines().filter_map(difference).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(TABLE.lines().count() > 900);
}

//! Rule files in, rules or faults out.

use super::*;

fn read(text: &str) -> Result<RuleFile, RuleFileError> {
    parse("r.yml", text, &ParseOptions::default())
}

#[track_caller]
fn refused(text: &str, expect: &[&str]) {
    assert_eq!(read(text).expect_err("refused").faults, expect);
}

#[test]
fn rules_are_read() {
    let file = read(
        "groups:\n- name: g\n  interval: 30s\n  labels: {team: a, x: group}\n  rules:\n\
         \x20 - record: job:up:sum\n    expr: sum(up)by(job)\n    labels: {x: '5'}\n\
         \x20 - alert: Down\n    expr: up == 0\n    for: 5m\n    annotations: {summary: '{{ $labels.job }}'}\n\
         - name: empty\n",
    )
    .expect("valid");
    assert_eq!(file.rule_count(), 2);
    let rules = &file.groups[0].rules;
    assert_eq!((rules[0].name.as_str(), rules[0].expr.as_str()), ("job:up:sum", "sum by (job) (up)"));
    assert_eq!(rules[0].labels["x"], "5");
    assert_eq!(rules[1].labels["team"], "a");
    assert!(matches!(&rules[1].kind, RuleKind::Alerting { for_ms: 300_000, .. }));
    assert_eq!(file.groups[0].interval_ms, Some(30_000));
    assert_eq!(read("").expect("empty").groups, []);
    assert_eq!(read("groups:\n").expect("empty").groups, []);
}

#[test]
fn anchors_and_merge_keys_work() {
    let file = read(
        "groups:\n- name: g\n  rules:\n  - &first\n    record: a\n    expr: up\n    labels: &l {x: y}\n\
         \x20 - <<: *first\n    record: b\n  - record: c\n    expr: up\n    labels: *l\n",
    )
    .expect("valid");
    let names: Vec<_> =
        file.groups[0].rules.iter().map(|r| (r.name.as_str(), r.labels["x"].as_str())).collect();
    assert_eq!(names, [("a", "y"), ("b", "y"), ("c", "y")]);
}

#[test]
fn shapes_are_strict() {
    refused(
        "groups: [{name: a, foo: 1}]",
        &[
            "r.yml:1:20: unknown field `foo`, expected one of name, interval, query_offset, limit, labels, rules",
        ],
    );
    refused("groups: [{name: a, interval: 5x}]", &["r.yml:1:30: unknown unit \"x\" in duration \"5x\""]);
    let repeated = read("groups:\n- name: x\n  name: y\n").expect_err("refused").to_string();
    assert!(repeated.starts_with("r.yml:3:3: duplicate mapping key: name"), "{repeated}");
    let second = read("groups: []\n---\ngroups: []\n").expect_err("refused").to_string();
    assert!(second.contains("multiple YAML documents"), "{second}");
    let deep = read(&"[".repeat(100_000)).expect_err("refused").to_string();
    assert!(deep.len() < 500, "{deep}");
}

#[test]
fn faults_have_prometheus_words() {
    refused(
        "groups:\n- name: a\n  rules:\n  - alert: x\n    expr: foo bar\n  - record: b\n    expr: sum)\n",
        &[
            "r.yml:5:11: group \"a\", rule 1, \"x\": could not parse expression: 1:5: parse error: unexpected identifier \"bar\"",
            "r.yml:7:11: group \"a\", rule 2, \"b\": could not parse expression: 1:5: parse error: unexpected right parenthesis ')'",
        ],
    );
    refused("groups: [{name: a},{name: a}]", &["r.yml:1:27: groupname: \"a\" is repeated in the same file"]);
    refused("groups: [{name: ''}]", &["r.yml:1:17: Groupname must not be empty"]);
    refused(
        "groups: [{name: a, rules: [{record: x, alert: y, expr: up}]}]",
        &["r.yml:1:37: group \"a\", rule 1, \"y\": only one of 'record' and 'alert' must be set"],
    );
    refused(
        "groups: [{name: a, rules: [{record: x}]}]",
        &["r.yml:1:37: group \"a\", rule 1, \"x\": field 'expr' must be set in rule"],
    );
    refused(
        "groups: [{name: a, rules: [{record: 'a{x}', expr: up, for: 5m, labels: {__name__: d}}]}]",
        &[
            "r.yml:1:37: group \"a\", rule 1, \"a{x}\": invalid field 'for' in recording rule",
            "r.yml:1:37: group \"a\", rule 1, \"a{x}\": braces present in the recording rule name; should it be in expr?: a{x}",
            "r.yml:1:37: group \"a\", rule 1, \"a{x}\": invalid label name: __name__",
        ],
    );
}

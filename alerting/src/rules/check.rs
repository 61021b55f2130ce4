//! What makes a well-shaped rule file wrong, in Prometheus' words.

use super::yaml::{File, Group, Rule};
use hearth_model::label::METRIC_NAME;
use hearth_promql::syntax::ParseOptions;
use serde_saphyr::Spanned;
use std::collections::BTreeSet;

/// All faults of a file, each `line:column: what`.
pub fn faults(file: &File, options: &ParseOptions) -> Vec<String> {
    let mut out = Vec::new();
    let mut names = BTreeSet::new();
    for group in &file.groups {
        let name = &group.name.value;
        if name.is_empty() {
            out.push(format!("{}Groupname must not be empty", place(&group.name)));
        }
        if !names.insert(name) {
            out.push(format!("{}groupname: \"{name}\" is repeated in the same file", place(&group.name)));
        }
        for label in group.labels.keys().filter(|label| !is_label(label)) {
            out.push(format!("{}invalid label name: {label}", place(&group.name)));
        }
        for (index, rule) in group.rules.iter().enumerate() {
            let mut found = Vec::new();
            rule_faults(rule, options, &mut found);
            out.extend(found.into_iter().map(|(at, what)| {
                format!(
                    "{at}group {:?}, rule {}, {:?}: {what}",
                    group_name(group),
                    index + 1,
                    rule_name(rule)
                )
            }));
        }
    }
    out
}

fn group_name(group: &Group) -> &str {
    &group.name.value
}

fn rule_name(rule: &Rule) -> &str {
    if rule.alert.value.is_empty() { &rule.record.value } else { &rule.alert.value }
}

/// ` `, or `line:column: ` where the value stands.
fn place(value: &Spanned<String>) -> String {
    let at = value.referenced;
    if at == serde_saphyr::Location::UNKNOWN {
        " ".to_owned()
    } else {
        format!("{}:{}: ", at.line(), at.column())
    }
}

fn is_label(name: &str) -> bool {
    !name.is_empty() && name != METRIC_NAME
}

fn rule_faults(rule: &Rule, options: &ParseOptions, out: &mut Vec<(String, String)>) {
    let (record, alert) = (&rule.record, &rule.alert);
    let name = if alert.value.is_empty() { record } else { alert };
    let mut say = |at: &Spanned<String>, what: String| out.push((place(at), what));
    match (record.value.is_empty(), alert.value.is_empty()) {
        (false, false) => say(record, "only one of 'record' and 'alert' must be set".to_owned()),
        (true, true) => say(&rule.expr, "one of 'record' or 'alert' must be set".to_owned()),
        _ => {}
    }
    if rule.expr.value.is_empty() {
        say(name, "field 'expr' must be set in rule".to_owned());
    } else if let Err(error) = hearth_promql::syntax::parse(&rule.expr.value, options) {
        say(&rule.expr, format!("could not parse expression: {error}"));
    }
    if !record.value.is_empty() {
        for (set, field) in [
            (!rule.annotations.is_empty(), "annotations"),
            (rule.for_.is_some_and(|d| d.ms != 0), "for"),
            (rule.keep_firing_for.is_some_and(|d| d.ms != 0), "keep_firing_for"),
        ] {
            if set {
                say(record, format!("invalid field '{field}' in recording rule"));
            }
        }
        if record.value.contains(['{', '}']) {
            let what = "braces present in the recording rule name; should it be in expr?";
            say(record, format!("{what}: {}", record.value));
        }
    }
    for label in rule.labels.keys().filter(|label| !is_label(label)) {
        say(name, format!("invalid label name: {label}"));
    }
    for annotation in rule.annotations.keys().filter(|name| name.is_empty()) {
        say(name, format!("invalid annotation name: {annotation}"));
    }
}

//! Rules and labels in, labels out; the messages were asked of Prometheus 3.5.

use super::*;

fn rules(yaml: &str) -> Vec<Rule> {
    let configs: Vec<RelabelConfig> = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    configs.iter().map(|config| config.rule().unwrap_or_else(|e| panic!("{e}"))).collect()
}

fn labels(text: &str) -> Labels {
    let pairs = text.split(", ").filter(|pair| !pair.is_empty());
    Labels::from_pairs(pairs.map(|pair| pair.split_once('=').expect("name=value")))
}

/// Labels as `a=1, b=2`; "dropped" when they are.
#[track_caller]
fn check(yaml: &str, input: &str, expect: &str) {
    let (rules, input) = (rules(yaml), labels(input));
    let text = |labels: &Labels| {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    };
    let whole = relabel(&input, &rules);
    assert_eq!(whole.as_ref().map_or("dropped".to_owned(), text), expect, "{yaml}");
    let mut builder = LabelsBuilder::from(&input);
    let kept = apply(&rules, &mut builder);
    assert_eq!(kept.then(|| builder.build()), whole, "in place, {yaml}");
}

#[test]
fn replace() {
    check("[{target_label: x, replacement: y}]", "a=1", "a=1, x=y");
    check("[{source_labels: [a], target_label: b}]", "a=1", "a=1, b=1");
    check("[{source_labels: [a, b], target_label: c}]", "a=1, b=2", "a=1, b=2, c=1;2");
    check("[{source_labels: [a, b], separator: '-', target_label: c}]", "a=1", "a=1, c=1-");
    check(
        "[{source_labels: [a], regex: 'f(.*)r', target_label: b, replacement: 'x${1}y$1'}]",
        "a=foor",
        "a=foor, b=xooyoo",
    );
    check("[{source_labels: [a], regex: 'f', target_label: b}]", "a=foo", "a=foo");
    check(
        "[{source_labels: [a], regex: '(f)(.*)', target_label: '${1}_$2', replacement: '$$1$2'}]",
        "a=fo",
        "a=fo, f_o=$1o",
    );
    check(
        "[{source_labels: [a], regex: '(?P<n>.*)', target_label: 'x-$n', replacement: é}]",
        "a=b.c",
        "a=b.c, x-b.c=é",
    );
    check("[{source_labels: [a], target_label: b, replacement: ''}]", "a=1, b=2", "a=1");
    check("[{source_labels: [a], target_label: '$2', replacement: x}]", "a=1", "a=1");
    check("[{source_labels: [none], target_label: a}]", "a=1", "");
    check("[{source_labels: [a], regex: 'x.y', target_label: b, replacement: z}]", "a=x\ny", "a=x\ny, b=z");
}

#[test]
fn keep_and_drop() {
    check("[{source_labels: [a], regex: 'f.*', action: keep}]", "a=foo", "a=foo");
    check("[{source_labels: [a], regex: 'f.*', action: keep}]", "a=bar", "dropped");
    check("[{source_labels: [a], regex: 'f', action: keep}]", "a=foo", "dropped");
    check("[{source_labels: [a, b], regex: '1;2', action: drop}]", "a=1, b=2", "dropped");
    check("[{source_labels: [a, b], regex: '1;2', action: drop}]", "a=1, b=3", "a=1, b=3");
    check("[{source_labels: [a], target_label: b, action: keepequal}]", "a=1, b=1", "a=1, b=1");
    check("[{source_labels: [a], target_label: b, action: keepequal}]", "a=1, b=2", "dropped");
    check("[{source_labels: [a], target_label: b, action: dropequal}]", "a=1, b=1", "dropped");
    check("[{source_labels: [a, b], target_label: c, action: dropequal}]", "a=1, b=2, c=1;2", "dropped");
    check(
        "[{target_label: x, replacement: y}, {source_labels: [x], regex: y, action: drop}]",
        "a=1",
        "dropped",
    );
}

#[test]
fn the_other_actions() {
    check("[{source_labels: [a], target_label: b, action: lowercase}]", "a=FoO ÄΣİ", "a=FoO ÄΣİ, b=foo äσi");
    check("[{source_labels: [a], target_label: b, action: Uppercase}]", "a=foo äß", "a=foo äß, b=FOO Äß");
    check("[{source_labels: [a], target_label: b, modulus: 8, action: hashmod}]", "a=bar", "a=bar, b=2");
    check(
        "[{source_labels: [a, b], target_label: c, modulus: 1000, action: hashmod}]",
        "a=a, b=b",
        "a=a, b=b, c=74",
    );
    check("[{regex: 'm_(.*)', action: labelmap}]", "m_a=1, m_b=2, x=3", "a=1, b=2, m_a=1, m_b=2, x=3");
    check("[{regex: 'm_(.*)', replacement: 'n.$1', action: labelmap}]", "m_a=1", "m_a=1, n.a=1");
    check("[{regex: 'm_(.*)', action: labelmap}]", "m_=1", "m_=1");
    check("[{regex: 'm_.*', action: labeldrop}]", "m_a=1, n=2", "n=2");
    check("[{regex: 'm_.*', action: labelkeep}]", "m_a=1, n=2", "m_a=1");
    check("[{regex: 'm_.*', action: labelkeep}]", "n=2", "");
    check("[]", "a=1", "a=1");
}

#[test]
fn what_changes_nothing_gives_the_same_labels_back() {
    let rules =
        rules("[{regex: 'x.*', action: labeldrop}, {source_labels: [a], regex: 'z', target_label: b}]");
    let before = labels("a=1");
    let after = relabel(&before, &rules).expect("kept");
    assert!(std::ptr::eq(before.value("a"), after.value("a")));
}

#[track_caller]
fn refuse(yaml: &str, expect: &str) {
    match serde_yaml::from_str::<RelabelConfig>(yaml) {
        Ok(config) => panic!("{yaml} is accepted as {config:?}"),
        Err(error) => assert!(error.to_string().contains(expect), "{yaml}: {error}"),
    }
}

#[test]
fn invalid_rules_are_refused_in_prometheus_words() {
    refuse("{}", "relabel configuration for replace action requires 'target_label' value");
    refuse("{action: Foo}", "unknown relabel action \"Foo\"");
    refuse("{action: ''}", "unknown relabel action \"\"");
    refuse("{action: null}", "relabel action cannot be empty");
    refuse(
        "{action: hashmod, target_label: a}",
        "relabel configuration for hashmod requires non-zero modulus",
    );
    refuse(
        "{action: hashmod, modulus: 3}",
        "relabel configuration for hashmod action requires 'target_label' value",
    );
    refuse("{action: hashmod, modulus: -3, target_label: a}", "modulus");
    refuse("{action: lowercase}", "relabel configuration for lowercase action requires 'target_label' value");
    refuse(
        "{action: uppercase, target_label: a, replacement: x}",
        "'replacement' can not be set for uppercase action",
    );
    refuse("{action: labelmap, replacement: ''}", "\"\" is invalid 'replacement' for labelmap action");
    refuse(
        "{action: labeldrop, target_label: b}",
        "labeldrop action requires only 'regex', and no other fields",
    );
    refuse(
        "{action: labelkeep, separator: ','}",
        "labelkeep action requires only 'regex', and no other fields",
    );
    refuse(
        "{action: keepequal, target_label: b, replacement: x}",
        "'replacement' can not be set for keepequal action",
    );
    let only = "action requires only 'source_labels' and `target_label`, and no other fields";
    refuse("{action: keepequal, target_label: b, regex: x}", &format!("keepequal {only}"));
    refuse("{action: dropequal, target_label: b, modulus: 1}", &format!("dropequal {only}"));
    refuse("{action: keep, regex: '('}", "error parsing regexp: missing closing ): `^(?s:()$`");
    refuse("{source_labels: [''], target_label: x}", "\"\" is not a valid label name");
    refuse("{action: keep, foo: x}", "foo");
    refuse("{source_labels: a, target_label: x}", "source_labels");
}

#[test]
fn rules_print_as_prometheus_prints_them() {
    let check = |yaml: &str, expect: &str| {
        let config: RelabelConfig = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
        assert_eq!(serde_yaml::to_string(&config).expect("prints"), expect);
    };
    check(
        "{source_labels: [a, b-c], target_label: x, regex: 1.10, replacement: 0x10, separator: ''}",
        "source_labels:\n- a\n- b-c\nregex: '1.10'\ntarget_label: x\nreplacement: '0x10'\naction: replace\n",
    );
    check(
        "{target_label: x, regex: (.*)}",
        "separator: ;\nregex: (.*)\ntarget_label: x\nreplacement: $1\naction: replace\n",
    );
    check(
        "{action: Keep, regex: null, source_labels: [a], separator: null}",
        "source_labels:\n- a\nregex: null\nreplacement: $1\naction: keep\n",
    );
    check(
        "{target_label: 5, replacement: ~, source_labels: [1], action: hashmod, modulus: 0x10}",
        "source_labels:\n- '1'\nseparator: ;\nmodulus: 16\ntarget_label: '5'\naction: hashmod\n",
    );
}

#[test]
fn what_no_label_can_hold_is_not_set() {
    let long = "x".repeat(MAX_PART_BYTES);
    let many = format!("[{{source_labels: [a], target_label: b, replacement: '{}'}}]", "$1".repeat(1_000));
    let rules = rules(&many);
    let kept = relabel(&Labels::from_pairs([("a", long.as_str())]), &rules).expect("kept");
    assert_eq!((kept.len(), kept.value("b")), (1, ""));
}

/// Rules of any text on labels of any text: nothing may panic.
#[test]
fn any_rule_on_any_labels_is_answered() {
    let seed = std::env::var("HEARTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("HEARTH_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let parts =
        ["a", "b", "(", ")", ".*", "$1", "${1}", "$", "{", "é", "", "|", "__name__", "(.*)", "\n", "$$"];
    let mut text = |most: usize| -> String {
        (0..rng.usize(..=most)).map(|_| parts[rng.usize(..parts.len())]).collect()
    };
    let mut tried = 0;
    for round in 0..20_000 {
        let config = RelabelConfig {
            source_labels: vec![text(1), text(1)],
            separator: text(1),
            regex: Some(text(4)).filter(|regex| !regex.is_empty()),
            modulus: round % 3,
            target_label: text(2),
            replacement: text(3),
            action: Action::ALL[round as usize % Action::ALL.len()],
        };
        let Ok(rule) = config.rule() else { continue };
        let pairs = [("a", text(2)), ("b", text(2)), ("__name__", text(2))];
        let before = Labels::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_str())));
        let after = relabel(&before, &[rule.clone(), rule]);
        tried += usize::from(after.is_some());
    }
    assert!(tried > 500, "only {tried} rules were valid");
}

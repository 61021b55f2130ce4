//! Command lines in, values or errors out.

use super::parse::UsageError;
use super::table::{FLAGS, Kind};
use super::*;
use hearth_model::duration_text;

fn run(arguments: &[&str]) -> Result<Flags, UsageError> {
    match parse(arguments.iter().map(|a| (*a).to_owned()))? {
        Parsed::Run(flags) => Ok(flags),
        other => panic!("not a run: {other:?}"),
    }
}

#[track_caller]
fn check(arguments: &[&str], name: &str, expect: &str) {
    assert_eq!(run(arguments).expect("valid").texts(name).join(","), expect);
}

#[track_caller]
fn refused(arguments: &[&str], expect: &str) {
    assert_eq!(run(arguments).expect_err("refused").text, expect);
}

#[test]
fn every_form_of_a_flag() {
    check(&[], "web.listen-address", "0.0.0.0:9090");
    check(&["--web.listen-address=a:1", "--web.listen-address", "b:2"], "web.listen-address", "a:1,b:2");
    check(&["--web.enable-lifecycle"], "web.enable-lifecycle", "true");
    check(&["--no-auto-gomaxprocs"], "auto-gomaxprocs", "false");
    check(&["--query.timeout=90s"], "query.timeout", "1m30s");
    check(&["--query.max-samples=5e7"], "query.max-samples", "50000000");
    check(&["--storage.tsdb.retention.size=512MB"], "storage.tsdb.retention.size", "512MB");
    check(&["--config.file="], "config.file", "");
    check(&["--log.level", "debug", "--"], "log.level", "debug");
}

#[test]
fn refusals_name_the_flag() {
    refused(&["--nosuch"], "unknown long flag '--nosuch'");
    refused(
        &["--web.listen-addres=x"],
        "unknown long flag '--web.listen-addres', did you mean '--web.listen-address'?",
    );
    refused(&["--no-config.file"], "unknown long flag '--no-config.file', did you mean '--config.file'?");
    refused(&["-x"], "unknown short flag '-x'");
    refused(&["extra"], "unexpected extra");
    refused(&["--web.enable-lifecycle=foo"], "unexpected foo");
    refused(&["--config.file"], "expected argument for flag '--config.file'");
    refused(&["--config.file", "--agent"], "expected argument for flag '--config.file'");
    refused(&["--config.file=a", "--config.file=b"], "flag 'config.file' cannot be repeated");
    refused(&["--query.timeout=foo"], "not a valid duration string: \"foo\"");
    refused(&["--log.level=foo"], "unrecognized log level foo");
    refused(&["--web.max-connections=x"], "strconv.ParseFloat: parsing \"x\": invalid syntax");
    refused(&["--storage.tsdb.retention.size=5"], "units: unknown unit  in 5");
    refused(&["--storage.wal.ack=maybe"], "enum value must be one of synced,written,memory, got 'maybe'");
    assert_eq!(run(&["--log.level=foo"]).expect_err("refused").exit_code, 2);
    assert_eq!(run(&["--nosuch"]).expect_err("refused").exit_code, 1);
}

#[test]
fn argument_files_are_read() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("args");
    std::fs::write(&path, "# comment\n--log.format=json\n\n--web.enable-lifecycle\n").expect("written");
    let flags = run(&[&format!("@{}", path.display())]).expect("valid");
    assert!(flags.switch("web.enable-lifecycle"));
    assert_eq!(flags.text("log.format"), "json");
    let itself = format!("@{}", path.display());
    std::fs::write(&path, &itself).expect("written");
    assert!(run(&[&itself]).expect_err("refused").text.ends_with("nested too deeply"));
}

#[test]
fn the_table_agrees_with_itself() {
    for flag in FLAGS {
        assert_eq!(FLAGS.iter().filter(|f| f.name == flag.name).count(), 1, "{}", flag.name);
        match flag.kind {
            Kind::Switch => assert!(["true", "false"].contains(&flag.default), "{}", flag.name),
            Kind::Duration => {
                let ms = parse_duration_ms(flag.default).expect("a duration");
                assert_eq!(duration_text(ms), flag.default);
            }
            Kind::OneOf(choices) | Kind::SomeOf(choices) => assert!(choices.contains(&flag.default)),
            _ => {}
        }
        assert!(flag.hidden || !flag.help.is_empty(), "{} has no help", flag.name);
    }
}

#[test]
fn what_has_no_effect_is_told_once() {
    let flags = run(&["--agent", "--storage.tsdb.min-block-duration=2h", "--log.level=warn"]).expect("valid");
    let names: Vec<&str> = flags.without_effect().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["agent", "storage.tsdb.min-block-duration"]);
}

#[test]
fn help_names_every_flag_in_eighty_columns() {
    let Ok(Parsed::Help(text)) = parse(["--help-long".to_owned()]) else { panic!("no help") };
    for flag in FLAGS {
        assert!(text.contains(flag.name), "{}", flag.name);
    }
    let long = text.lines().filter(|line| !line.contains("--")).find(|line| line.chars().count() > 80);
    assert_eq!(long, None);
}

#[test]
fn features_are_sorted_out() {
    let flags = run(&["--enable-feature=promql-experimental-functions,foo", "--enable-feature=old-ui"]);
    let features = Features::of(&flags.expect("valid"));
    assert!(features.experimental_functions && !features.per_step_stats);
    assert_eq!(
        features.warnings,
        [
            ("Unknown option for --enable-feature", "foo".to_owned()),
            ("This option for --enable-feature has no effect yet", "old-ui".to_owned()),
        ]
    );
    let flags = run(&["--enable-feature=promql-delayed-name-removal,promql-binop-fill-modifiers"]);
    let features = Features::of(&flags.expect("valid"));
    assert!(features.delayed_name_removal && features.fill_modifiers && !features.type_and_unit_labels);
    assert_eq!(features.warnings, []);
}

//! Pushes in, the page that a scrape sees or the refusal out.

use super::*;
use std::sync::atomic::{AtomicI64, Ordering};

struct Rig {
    gateway: Gateway,
    now_ms: Arc<AtomicI64>,
}

fn rig(check: bool) -> Rig {
    let now_ms = Arc::new(AtomicI64::new(5_000));
    let clock = Arc::clone(&now_ms);
    let options = GatewayOptions {
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        job: "pushgateway".into(),
        ttl_ms: None,
        check,
        utf8_names: false,
    };
    Rig { gateway: Gateway::new(options), now_ms }
}

impl Rig {
    fn push(&self, path: &str, mode: Mode, body: &str, ttl_ms: Option<i64>) -> Result<(), PushError> {
        let group = self.gateway.group_of(path)?;
        let (body, encoding) = (body.as_bytes(), Encoding::Plain);
        self.gateway.push(&Push { group, mode, body, content_type: "text/plain", encoding, ttl_ms })
    }

    /// The page without comments and times.
    fn page(&self) -> String {
        let page = String::from_utf8(exposition(&self.gateway.groups())).expect("text");
        let lines = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("push_"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn times(&self) -> String {
        let page = String::from_utf8(exposition(&self.gateway.groups())).expect("text");
        page.lines().filter(|line| line.starts_with("push_")).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn pushes_replace_or_update_their_group() {
    let rig = rig(true);
    let check = |mode, path: &str, body: &str, expect: &str| {
        rig.push(path, mode, body, None).expect(body);
        assert_eq!(rig.page(), expect, "{body}");
    };
    check(
        Mode::Replace,
        "job/a",
        "x 1\ny{l=\"1\",job=\"z\"} 2\n",
        "x{job=\"a\",instance=\"\"} 1\ny{job=\"a\",l=\"1\",instance=\"\"} 2",
    );
    check(
        Mode::Update,
        "job/a",
        "x 3\n",
        "x{job=\"a\",instance=\"\"} 3\ny{job=\"a\",l=\"1\",instance=\"\"} 2",
    );
    check(Mode::Replace, "job/a", "x 4\n", "x{job=\"a\",instance=\"\"} 4");
    check(
        Mode::Update,
        "job/a/instance/i",
        "x 5\n",
        "x{instance=\"i\",job=\"a\"} 5\nx{job=\"a\",instance=\"\"} 4",
    );
    check(Mode::Replace, "job/a", "", "x{instance=\"i\",job=\"a\"} 5");
    rig.now_ms.store(9_000, Ordering::Relaxed);
    check(Mode::Update, "job/a/instance/i", "", "x{instance=\"i\",job=\"a\"} 5");
    let times = "push_time_seconds{instance=\"i\",job=\"a\"} 9\npush_time_seconds{job=\"a\",instance=\"\"} 5
push_failure_time_seconds{instance=\"i\",job=\"a\"} 0\npush_failure_time_seconds{job=\"a\",instance=\"\"} 0";
    assert_eq!(rig.times(), times);
    rig.gateway.delete(&rig.gateway.group_of("job/a").expect("path"));
    assert_eq!(rig.gateway.groups().len(), 1);
    rig.gateway.wipe();
    assert_eq!(rig.page(), "");
}

#[test]
fn what_contradicts_is_refused_and_noted() {
    let rig = rig(true);
    let refused = |path: &str, body: &str, expect: &str| {
        let error = rig.push(path, Mode::Update, body, None).expect_err(body).to_string();
        assert!(error.contains(expect), "{error}");
    };
    rig.push("job/a", Mode::Replace, "# TYPE x counter\nx{l=\"1\"} 1\n", None).expect("first");
    refused("job/b", "# TYPE x gauge\nx 1\n", "is a gauge here and a counter in another group");
    refused(
        "job/a/l/1",
        "# TYPE x counter\nx 1\n",
        "was collected before with the same name and label values",
    );
    refused("job/a", "y 1\ny 2\n", "was collected before");
    refused("job/a", "y 1 5\n", "pushed metrics must not have timestamps");
    refused("job/a", "y{ 1\n", "line 1");
    refused("job", "y 1\n", "odd number");
    assert_eq!(rig.page(), "x{job=\"a\",l=\"1\",instance=\"\"} 1");
    assert!(rig.times().contains("push_failure_time_seconds{job=\"b\",instance=\"\"} 5"), "{}", rig.times());
    // A type may change where nobody else has the family.
    rig.push("job/a", Mode::Replace, "# TYPE x gauge\nx 1\n", None).expect("alone");
    let loose = super::tests::rig(false);
    loose.push("job/a", Mode::Replace, "# TYPE x counter\nx 1\n", None).expect("first");
    loose.push("job/b", Mode::Replace, "# TYPE x gauge\nx 1\n", None).expect("unchecked");
}

#[test]
fn groups_end_after_their_time() {
    let rig = rig(true);
    rig.push("job/a", Mode::Replace, "x 1\n", Some(1_000)).expect("push");
    rig.push("job/b", Mode::Replace, "x 1\n", None).expect("push");
    rig.now_ms.store(5_999, Ordering::Relaxed);
    assert_eq!(rig.gateway.groups().len(), 2);
    rig.now_ms.store(6_000, Ordering::Relaxed);
    assert_eq!(rig.page(), "x{job=\"b\",instance=\"\"} 1");
}

#[test]
fn groups_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("groups");
    let rig = rig(true);
    rig.gateway.load(&path).expect("nothing is no error");
    rig.push("job/a", Mode::Replace, "# HELP h H.\n# TYPE h histogram\nh_sum NaN\nh_count 1\n", None)
        .expect("push");
    let saved = rig.gateway.save(&path, None).expect("saved");
    let before = (rig.page(), rig.times(), groups_json(&rig.gateway.groups()));
    rig.gateway.wipe();
    rig.gateway.load(&path).expect("loaded");
    assert_eq!((rig.page(), rig.times(), groups_json(&rig.gateway.groups())), before);
    assert!(rig.gateway.save(&path, Some(saved)).is_ok());
    std::fs::write(&path, b"{").expect("written");
    assert!(matches!(rig.gateway.load(&path), Err(PersistError::Content(_))));
    assert_eq!(rig.gateway.groups().len(), 1);
}

#[test]
fn the_json_is_pushgateways() {
    let rig = rig(true);
    let body =
        "# HELP s S.\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 3\ns_count 4\n# TYPE g gauge\ng 1.5\n";
    rig.push("job/a", Mode::Replace, body, None).expect("push");
    let json = groups_json(&rig.gateway.groups());
    let expect = serde_json::json!([{
        "labels": {"job": "a"},
        "last_push_successful": true,
        "g": {"time_stamp": "1970-01-01T00:00:05Z", "type": "GAUGE", "help": "",
            "metrics": [{"labels": {"job": "a", "instance": ""}, "value": "1.5"}]},
        "s": {"time_stamp": "1970-01-01T00:00:05Z", "type": "SUMMARY", "help": "S.",
            "metrics": [{"labels": {"job": "a", "instance": ""}, "quantiles": {"0.5": "2"}, "sum": "3", "count": "4"}]},
        "push_time_seconds": {"time_stamp": "1970-01-01T00:00:05Z", "type": "GAUGE",
            "help": "Last Unix time when changing this group in the Pushgateway succeeded.",
            "metrics": [{"labels": {"job": "a", "instance": ""}, "value": "5"}]},
        "push_failure_time_seconds": {"time_stamp": "1970-01-01T00:00:05Z", "type": "GAUGE",
            "help": "Last Unix time when changing this group in the Pushgateway failed.",
            "metrics": [{"labels": {"job": "a", "instance": ""}, "value": "0"}]},
    }]);
    assert_eq!(json, expect);
}

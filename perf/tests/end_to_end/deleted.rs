//! The admin API beside the real one: series deleted from both, in memory and in blocks, tombstones cleaned,
//! snapshots made; both answer the same and then hold the same. A kill does not bring anything back.

use crate::setup::{RECEIVER, folder, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::answer::differences;
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::{Launch, Server, wait_until};
use hearth_perf::request::{Encoder, label_bytes};
use serde_json::Value;
use std::time::Duration;

const ADMIN: &str = "--web.enable-admin-api";
const STEP_MS: i64 = 60_000;
const HOURS: i64 = 6;
const SERIES: usize = 20;

/// Every series' samples from one time to another; half an hour in a request, as Prometheus takes no sample
/// that is much older than its newest.
fn write(clients: &[&Client], start_ms: i64, end_ms: i64) {
    let times: Vec<i64> = (start_ms..end_ms).step_by(STEP_MS as usize).collect();
    for times in times.chunks(30) {
        let mut request = Encoder::default();
        for series in 0..SERIES {
            let (instance, name) = (format!("host-{series:02}"), format!("m_{}", series % 2));
            let labels = label_bytes([("__name__", name.as_str()), ("instance", instance.as_str())]);
            let value = |time: i64| (time % 1_000_003) as f64 + series as f64;
            request.push(&labels, &times.iter().map(|time| (*time, value(*time))).collect::<Vec<_>>());
        }
        let body = request.finish().expect("it is encoded").to_vec();
        for client in clients {
            let answer = client.remote_write(&body).expect("it answers");
            assert!((200..300).contains(&answer.status), "{}", answer.body);
        }
    }
}

/// Both hold the same samples and show the same series.
fn check_same(ours: &Client, theirs: &Client, end_ms: i64, what: &str) {
    for query in [r#"{__name__=~"m_.*"}[10h]"#, "sum(m_0)", "count_over_time(m_1[3h])"] {
        let ask = |client: &Client| client.instant(query, end_ms).expect("it answers");
        let wrong = differences(&ask(ours), &ask(theirs));
        assert!(wrong.is_empty(), "{what}: {query}: {wrong:#?}");
    }
    // Prometheus lists series of its head that have lost all their samples; no reader needs those.
    let series = ours.data("/api/v1/series", &[("match[]", r#"{__name__=~"m_.*"}"#)]).expect("it answers");
    let held =
        theirs.instant(r#"group by (__name__, instance) (last_over_time({__name__=~"m_.*"}[10h]))"#, end_ms);
    let held = held.expect("it answers");
    assert_eq!(sorted(series, |one| one), sorted(held["result"].clone(), |one| &one["metric"]), "{what}");
    let federated =
        |client: &Client| client.get("/federate", &[("match[]", "m_0")]).expect("it answers").body;
    assert_eq!(federated(ours), federated(theirs), "{what}");
}

fn sorted(list: Value, of: fn(&Value) -> &Value) -> Vec<String> {
    let mut all: Vec<String> =
        list.as_array().expect("a list").iter().map(|one| of(one).to_string()).collect();
    all.sort();
    all
}

/// Both answer the same, to the byte.
fn check_answers(ours: &Client, theirs: &Client, path: &str, form: &[(&str, &str)], status: u16) {
    let path = format!("/api/v1/admin/tsdb/{path}");
    let ask = |client: &Client| {
        let answer = client.post_form(&path, form).expect("it answers");
        (answer.status, answer.body)
    };
    let answer = ask(ours);
    assert_eq!(answer, ask(theirs), "{path} {form:?}");
    assert_eq!(answer.0, status, "{path} {form:?}: {}", answer.1);
}

fn start(folder: &std::path::Path) -> (Launch, Server, Server) {
    let launch = launch_hearth(folder).flag(RECEIVER).flag(ADMIN).flag("--storage.tsdb.retention.time=1d");
    let ours = launch.start().expect("hearth starts");
    let theirs = launch_prometheus(folder).flag(RECEIVER).flag(ADMIN).start().expect("prometheus starts");
    (launch, ours, theirs)
}

fn blocks(client: &Client) -> f64 {
    let page = client.get("/metrics", &[]).expect("it answers").body;
    let line = page.lines().find_map(|line| line.strip_prefix("prometheus_tsdb_blocks_loaded "));
    line.expect("the metric is there").parse().expect("a number")
}

#[test]
fn what_is_deleted_from_both_is_gone_from_both() {
    let folder = folder();
    let (launch, ours, theirs) = start(folder.path());
    let end_ms = now_ms() / STEP_MS * STEP_MS - 10 * STEP_MS;
    let at = |minutes: i64| seconds(end_ms + minutes * STEP_MS);
    write(&[&ours.client, &theirs.client], end_ms - HOURS * 3_600_000, end_ms);
    let written = wait_until("blocks", Duration::from_secs(60), || Ok(blocks(&ours.client) >= 1.0));
    written.expect("the oldest becomes blocks");
    check_same(&ours.client, &theirs.client, end_ms, "before");
    for (form, what) in [
        (vec![("match[]", r#"{instance="host-03"}"#)], "a series"),
        (vec![("match[]", "m_0"), ("start", &*at(-300)), ("end", &*at(-290))], "an hour of the past"),
        (vec![("match[]", r#"m_1{instance=~"host-0.*"}"#), ("start", &*at(-60))], "up to now"),
        (vec![("match[]", r#"{instance="host-10"}"#), ("match[]", r#"{instance="host-11"}"#)], "two sets"),
        (vec![("match[]", r#"{instance="nobody"}"#)], "nothing"),
        (vec![("match[]", r#"{instance="host-12"}"#), ("start", &*at(-5)), ("end", &*at(60))], "and more"),
        (vec![("match[]", r#"{instance="host-13"}"#), ("start", &*at(5)), ("end", &*at(-5))], "backwards"),
    ] {
        check_answers(&ours.client, &theirs.client, "delete_series", &form, 204);
        check_same(&ours.client, &theirs.client, end_ms, what);
    }
    ours.kill().expect("the process can be killed");
    let ours = launch.start().expect("hearth starts again");
    check_same(&ours.client, &theirs.client, end_ms, "after a kill");
    // What comes later is there, in a range that was deleted to its end too.
    write(&[&ours.client, &theirs.client], end_ms, end_ms + 8 * STEP_MS);
    check_same(&ours.client, &theirs.client, end_ms + 8 * STEP_MS, "written later");
    check_answers(&ours.client, &theirs.client, "clean_tombstones", &[], 204);
    check_same(&ours.client, &theirs.client, end_ms + 8 * STEP_MS, "cleaned");
    for everything in ["{}", r#"{__name__=~".*"}"#] {
        check_answers(&ours.client, &theirs.client, "delete_series", &[("match[]", everything)], 204);
        check_same(&ours.client, &theirs.client, end_ms + 8 * STEP_MS, everything);
    }
}

#[test]
fn a_snapshot_can_be_served_by_itself() {
    let folder = folder();
    let (launch, ours, theirs) = start(folder.path());
    let end_ms = now_ms() / STEP_MS * STEP_MS - 10 * STEP_MS;
    write(&[&ours.client, &theirs.client], end_ms - HOURS * 3_600_000, end_ms);
    let delete = [("match[]", r#"{instance="host-03"}"#)];
    check_answers(&ours.client, &theirs.client, "delete_series", &delete, 204);
    let snapshot = |client: &Client, form: &[(&str, &str)]| {
        let data = client.data("/api/v1/admin/tsdb/snapshot", form).expect("it is made");
        data["name"].as_str().expect("it has a name").to_owned()
    };
    let names = [snapshot(&ours.client, &[]), snapshot(&theirs.client, &[("skip_head", "false")])];
    for name in &names {
        let (time, rest) = name.split_once('-').expect("a time and more");
        assert!(time.len() == 16 && time.contains('T') && time.ends_with('Z') && rest.len() == 16, "{name}");
    }
    check_answers(&ours.client, &theirs.client, "snapshot", &[("skip_head", "maybe")], 400);
    for answer in ["delete_series?match[]=x{", "delete_series", "delete_series?match[]=x&start=y"] {
        check_answers(&ours.client, &theirs.client, answer, &[], 400);
    }
    let taken = ours.launch().data().join("snapshots").join(&names[0]);
    ours.stop().expect("it ends");
    let moved = launch.data().with_extension("moved");
    std::fs::rename(&taken, &moved).expect("it can be moved");
    std::fs::remove_dir_all(launch.data()).expect("the data can be removed");
    std::fs::rename(&moved, launch.data()).expect("it can be put in place");
    let ours = launch.start().expect("hearth starts on the snapshot");
    check_same(&ours.client, &theirs.client, end_ms, "out of the snapshot");
    write(&[&ours.client, &theirs.client], end_ms, end_ms + 8 * STEP_MS);
    check_same(&ours.client, &theirs.client, end_ms + 8 * STEP_MS, "written later");
}

/// Without the flag nothing is deleted, and both say why.
#[test]
fn admin_actions_need_the_flag() {
    let folder = folder();
    let ours = launch_hearth(folder.path()).start().expect("hearth starts");
    let theirs = launch_prometheus(folder.path()).start().expect("prometheus starts");
    for action in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        check_answers(&ours.client, &theirs.client, action, &[], 500);
        let path = format!("/api/v1/admin/tsdb/{}", action.split('?').next().expect("a path"));
        let get = |client: &Client| client.get(&path, &[]).expect("it answers");
        assert_eq!((get(&ours.client).status, get(&theirs.client).status), (405, 405), "{path}");
    }
}

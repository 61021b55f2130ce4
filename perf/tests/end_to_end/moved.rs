//! Moving house beside the real Prometheus: Hearth opens a data directory that it left and answers as it did, and
//! Prometheus and promtool read what Hearth exports.

mod arrived;
mod awaited;
mod beside;
mod requests;

use crate::setup::{RECEIVER, folder, hearth, launch_hearth, launch_prometheus, now_ms, peer};
use hearth_perf::answer::differences;
use hearth_perf::http::Client;
use hearth_perf::process::{Launch, wait_until};
use requests::{late, steps};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const INTERVAL_MS: i64 = 15_000;
/// Steps that go into blocks, and steps that stay in the log.
const IN_BLOCKS: i64 = 480;
const IN_LOG: i64 = 240;

const CONFIG: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 2h\n";

fn server(folder: &Path, name: &str) -> Launch {
    launch_prometheus(&folder.join(name))
        .config(CONFIG)
        .flag(RECEIVER)
        .flag("--web.enable-admin-api")
        .flag("--enable-feature=native-histograms")
        .flag("--storage.tsdb.retention.time=10y")
}

fn send(client: &Client, body: &[u8]) {
    let answer = client.remote_write(body).expect("it answers");
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.body);
}

fn fill(client: &Client, start_ms: i64, from: i64, to: i64) {
    for first in (from..to).step_by(40) {
        send(client, &steps(start_ms, INTERVAL_MS, first, (first + 40).min(to)));
    }
}

/// Makes a data directory of Prometheus': blocks with histograms, a log, samples out of order, deletions in both.
/// Returns the launch that left it, and what it answers.
fn left_behind(folder: &Path, start_ms: i64, queries: &[Asked]) -> (Launch, Vec<Value>) {
    let first = server(folder, "first");
    let running = first.start().expect("prometheus starts");
    fill(&running.client, start_ms, 0, IN_BLOCKS);
    let made = running.client.data("/api/v1/admin/tsdb/snapshot", &[]).expect("a snapshot is made");
    running.stop().expect("it ends when asked to");
    let name = made["name"].as_str().expect("the snapshot has a name");
    // The first one's log is packed with snappy, this one's otherwise.
    let second = server(folder, "second").flag("--storage.tsdb.wal-compression-type=zstd");
    std::fs::create_dir_all(second.data().parent().expect("a folder")).expect("makes");
    std::fs::rename(first.data().join("snapshots").join(name), second.data()).expect("moves");
    let running = second.start().expect("prometheus starts on the snapshot");
    fill(&running.client, start_ms, IN_BLOCKS, IN_BLOCKS + IN_LOG);
    let end_ms = start_ms + (IN_BLOCKS + IN_LOG) * INTERVAL_MS;
    // Within what is in the log, and within what is in a block.
    for back_ms in [1_200_000, 5_400_000] {
        let times: Vec<i64> = (0..30).map(|i| end_ms - back_ms - i * 17_000 + 5_001).collect();
        send(&running.client, &late(&times));
    }
    let time = |step: i64| hearth_perf::http::seconds(start_ms + step * INTERVAL_MS);
    let (from, to) = (time(IN_BLOCKS - 60), time(IN_BLOCKS + 60));
    let form = [("match[]", "gone"), ("start", from.as_str()), ("end", to.as_str())];
    let answer = running.client.post_form("/api/v1/admin/tsdb/delete_series", &form).expect("it answers");
    assert_eq!(answer.status, 204, "{}", answer.body);
    let answers = ask_all(&running.client, queries);
    running.stop().expect("it ends when asked to");
    (second, answers)
}

/// A query, and its form.
struct Asked {
    path: &'static str,
    form: Vec<(&'static str, String)>,
}

fn queries(start_ms: i64) -> Vec<Asked> {
    let end = IN_BLOCKS + IN_LOG;
    let time = |step: i64| hearth_perf::http::seconds(start_ms + step * INTERVAL_MS);
    let floats = ["m", "m{s=\"0\"}", "m{s=~\"[3-5]\"}", "m{s!=\"5\"}"];
    let over = [
        "rate",
        "increase",
        "avg_over_time",
        "count_over_time",
        "last_over_time",
        "max_over_time",
        "changes",
    ];
    let natives = ["h", "h{kind=\"0\"}", "h{kind=~\"[12]\"}", "h{kind=\"3\"}"];
    let of_natives = [
        "histogram_count(X)",
        "histogram_sum(X)",
        "histogram_quantile(0.9, rate(X[10m]))",
        "histogram_avg(increase(X[10m]))",
        "count_over_time(X[10m])",
        "histogram_fraction(0, 1, X)",
    ];
    let mut expressions: Vec<String> = Vec::new();
    for selector in floats {
        expressions.push(selector.to_owned());
        expressions.extend(over.iter().map(|f| format!("{f}({selector}[7m])")));
    }
    expressions.push("sum by (s) (rate(m[5m]))".to_owned());
    expressions.push("count({__name__=~\"m|h\"})".to_owned());
    for selector in natives {
        expressions.extend(of_natives.iter().map(|f| f.replace('X', selector)));
    }
    let mut all = Vec::new();
    for expression in &expressions {
        for step in [IN_BLOCKS / 3, IN_BLOCKS - 2, IN_BLOCKS + 50, end - 1] {
            let form = vec![("query", expression.clone()), ("time", time(step))];
            all.push(Asked { path: "/api/v1/query", form });
        }
        let form = vec![
            ("query", expression.clone()),
            ("start", time(0)),
            ("end", time(end)),
            ("step", "97".to_owned()),
        ];
        all.push(Asked { path: "/api/v1/query_range", form });
    }
    for selector in ["m[1h]", "m{s=\"0\"}[4h]", "gone[5h]"] {
        let form = vec![("query", selector.to_owned()), ("time", time(end))];
        all.push(Asked { path: "/api/v1/query", form });
    }
    all
}

fn ask(client: &Client, asked: &Asked) -> Value {
    let form: Vec<(&str, &str)> = asked.form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.data(asked.path, &form).unwrap_or_else(|error| panic!("{:?}: {error}", asked.form))
}

fn ask_all(client: &Client, queries: &[Asked]) -> Vec<Value> {
    queries.iter().map(|asked| ask(client, asked)).collect()
}

#[track_caller]
fn compare(client: &Client, queries: &[Asked], expect: &[Value]) {
    let mut wrong = Vec::new();
    for (asked, theirs) in queries.iter().zip(expect) {
        let found = differences(&ask(client, asked), theirs);
        if !found.is_empty() {
            wrong.push(format!("{:?}:\n  {}", asked.form, found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} queries differ:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
}

/// Exit status and output of a command.
fn run(binary: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary).args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors)
}

fn lines(text: &str, of: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().filter(|line| line.contains(of)).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("reads");
        let path = to.join(entry.file_name());
        if entry.file_type().expect("reads").is_dir() {
            copy(&entry.path(), &path);
        } else {
            std::fs::copy(entry.path(), path).expect("copies");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// `tsdb dump` without the command's own messages.
fn dump(binary: &Path, data: &Path) -> String {
    let (code, text) = run(binary, &["tsdb", "dump", text(data)]);
    assert_eq!(code, Some(0), "{text}");
    text
}

/// A series of promtool's dump is that of ours. It leaves out the first two histograms of a series.
fn same_dumps(ours: &str, theirs: &str) {
    let (our_floats, their_floats) = (lines(ours, ", s="), lines(theirs, ", s="));
    let only = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|line| others.binary_search(line).is_err()).cloned().collect()
    };
    let (extra, missing) = (only(&our_floats, &their_floats), only(&their_floats, &our_floats));
    assert!(extra.is_empty() && missing.is_empty(), "floats: extra {extra:?}, missing {missing:?}");
    let (ours, theirs) = (lines(ours, "__name__=\"h\""), lines(theirs, "__name__=\"h\""));
    let missing = only(&theirs, &ours);
    assert!(missing.is_empty() && !theirs.is_empty(), "histograms: missing {missing:?}");
    assert!(ours.len() - theirs.len() <= 2 * 4, "{} histograms instead of {}", theirs.len(), ours.len());
}

/// However often a takeover is killed, and wherever: in the end everything is there, once.
fn killed_on_the_way(folder: &Path, left: &Path, expect: &str) {
    let launch = launch_hearth(&folder.join("killed"))
        .flag("--storage.tsdb.retention.time=10y")
        .flag("--storage.takeover.wait")
        .flag("--storage.takeover.originals=remove");
    copy(left, &launch.data());
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..12 {
        // It does not end by itself: it is killed after this time.
        let ended = launch.run_to_end(Duration::from_millis(random.u64(10..400)));
        assert!(ended.is_err_and(|error| error.contains("it did not end")));
    }
    let running = launch.start().expect("hearth starts");
    running.stop().expect("it ends when asked to");
    assert_eq!(dump(&hearth(), &launch.data()), expect);
    let (code, told) = run(&hearth(), &["tsdb", "verify", text(&launch.data())]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn what_prometheus_left_is_taken_over_and_goes_back() {
    let folder = folder();
    let start_ms = now_ms() / INTERVAL_MS * INTERVAL_MS - (IN_BLOCKS + IN_LOG) * INTERVAL_MS;
    let queries = queries(start_ms);
    assert!(queries.len() >= 200, "{} queries", queries.len());
    let (left, expect) = left_behind(folder.path(), start_ms, &queries);
    let (promtool, hearth_binary) = (peer("promtool"), hearth());

    let data = left.data();
    // The files as they are, read by ours.
    same_dumps(&dump(&hearth_binary, &left.data()), &dump(&promtool, &left.data()));
    let (code, text_of) = run(&hearth_binary, &["tsdb", "verify", text(&left.data())]);
    assert_eq!(code, Some(0), "{text_of}");
    for arguments in [&["tsdb", "list"][..], &["tsdb", "list", "-r"]] {
        let at = [arguments, &[text(&data)]].concat();
        assert_eq!(run(&hearth_binary, &at), run(&promtool, &at));
    }
    let at = ["tsdb", "analyze", text(&data)];
    let (ours, theirs) = (run(&hearth_binary, &at).1, run(&promtool, &at).1);
    // Where counts are equal, the order of the lines is free.
    assert_eq!(lines(&ours, ""), lines(&theirs, ""));

    // Taken over: the same answers.
    let launch = launch_hearth(folder.path()).flag("--storage.tsdb.retention.time=10y");
    copy(&left.data(), &launch.data());
    let running = launch.start().expect("hearth starts on it");
    wait_until("all blocks to be converted", Duration::from_secs(300), || {
        let page = running.client.get("/metrics", &[])?.body;
        Ok(page.lines().any(|line| line == "hearth_takeover_blocks_pending 0"))
    })
    .expect("it ends");
    compare(&running.client, &queries, &expect);
    running.stop().expect("it ends when asked to");
    let running = launch.start().expect("hearth starts again");
    compare(&running.client, &queries, &expect);
    running.stop().expect("it ends when asked to");
    let whole = dump(&hearth_binary, &launch.data());
    assert_eq!(whole, dump(&hearth_binary, &left.data()));
    assert_eq!(
        whole,
        dump(&hearth_binary, &launch.data().join("prometheus")),
        "the originals are as they were"
    );

    killed_on_the_way(folder.path(), &left.data(), &whole);

    // And back: promtool and Prometheus read what is exported.
    let back = server(folder.path(), "back");
    // promtool wants a log beside the blocks, however empty.
    std::fs::create_dir_all(back.data().join("wal")).expect("makes");
    let (code, told) = run(&hearth_binary, &["tsdb", "export", text(&launch.data()), text(&back.data())]);
    assert_eq!(code, Some(0), "{told}");
    same_dumps(&whole, &dump(&promtool, &back.data()));
    assert_eq!(dump(&hearth_binary, &back.data()), whole);
    let (code, analyzed) = run(&promtool, &["tsdb", "analyze", "--extended", text(&back.data())]);
    assert_eq!(code, Some(0), "{analyzed}");
    let running = back.start().expect("prometheus starts on what was exported");
    compare(&running.client, &queries, &expect);
    running.stop().expect("it ends when asked to");

    // Another number of shards holds the same.
    let (code, told) = run(&hearth_binary, &["tsdb", "reshard", "--shards=8", text(&launch.data())]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(dump(&hearth_binary, &launch.data()), whole);
    let running = launch.start().expect("hearth starts with more shards");
    compare(&running.client, &queries, &expect);
    running.stop().expect("it ends when asked to");
}

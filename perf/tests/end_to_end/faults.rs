//! A machine that runs out of things under a running server: of room on the disk, of file descriptors, of the right to
//! use io_uring. It says so, loses nothing that it acknowledged, and is whole again by itself when the machine is.

use crate::setup::{RECEIVER, folder, hearth, launch_hearth, now_ms};
use hearth_perf::http::Client;
use hearth_perf::process::{Launch, Server, wait_until};
use hearth_perf::request::{Encoder, label_bytes};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server must be whole again this long after its machine is.
const RECOVERY: Duration = Duration::from_secs(10);
const SERIES: usize = 2_000;

/// A script that stands for the server's binary.
fn wrapped(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("wrapped");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script can be written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    path
}

/// One sample for each series, with values that take all of their bytes.
struct Writer {
    labels: Vec<Vec<u8>>,
    start_ms: i64,
    rounds: usize,
    acknowledged: usize,
}

impl Writer {
    fn new() -> Writer {
        let label = |number: usize| label_bytes([("__name__", "faulty"), ("number", &number.to_string())]);
        Writer {
            labels: (0..SERIES).map(label).collect(),
            start_ms: now_ms() - 1_800_000,
            rounds: 0,
            acknowledged: 0,
        }
    }

    /// Sends a round; its status, and after how many seconds to come again.
    fn send(&mut self, client: &Client) -> (u16, Option<u64>) {
        let (time_ms, mut encoder) = (self.start_ms + self.rounds as i64 * 100, Encoder::default());
        self.rounds += 1;
        for (number, labels) in self.labels.iter().enumerate() {
            encoder.push(labels, &[(time_ms, 1.0 / (self.rounds * SERIES + number) as f64)]);
        }
        let answer = client.remote_write(encoder.finish().expect("is encoded")).expect("it answers");
        self.acknowledged += if answer.status == 204 { SERIES } else { 0 };
        (answer.status, answer.retry_after_s)
    }

    /// All that was acknowledged is there; and nothing that was never sent.
    fn check(&self, server: &Server) {
        let query = "sum(count_over_time(faulty[2h]))";
        let held = server.client.number(query, now_ms()).expect("it answers").unwrap_or(0.0) as usize;
        assert!(held >= self.acknowledged, "{held} samples of {} acknowledged", self.acknowledged);
        assert!(held <= self.rounds * SERIES, "{held} samples of {} rounds", self.rounds);
    }
}

/// A mount namespace with a small file system of its own; it goes with this value.
struct SmallDisk {
    holder: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// None where this machine gives nobody a mount namespace.
    fn mount(path: &Path, megabytes: usize) -> Option<SmallDisk> {
        std::fs::create_dir_all(path).expect("a directory can be made");
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m tmpfs {0} && touch {0}/there && exec sleep 1000",
            path.display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        let mut disk = SmallDisk { holder: command.spawn().ok()?, path: path.to_owned() };
        let mounted = wait_until("a file system is mounted", Duration::from_secs(10), || {
            if disk.holder.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err("it ended".to_owned());
            }
            Ok(disk.inside().join("there").exists())
        });
        mounted.is_ok().then_some(disk)
    }

    /// The file system as it is seen from outside.
    fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path.strip_prefix("/").expect("is absolute"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Gone already where mounting failed.
        let _gone = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_recovered_from() {
    let folder = folder();
    let launch = launch_hearth(folder.path()).flag(RECEIVER);
    let Some(disk) = SmallDisk::mount(&launch.data(), 14) else {
        println!("SKIPPED: no mount namespace is to be had here");
        return;
    };
    let ballast = disk.inside().join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("there is room");
    let enter = format!("exec nsenter -m -t {} {} \"$@\"", disk.holder.id(), hearth().display());
    let launch = Launch { binary: wrapped(folder.path(), &enter), ..launch };
    let (mut writer, server) = (Writer::new(), launch.start().expect("hearth starts"));
    let refused = (0..5_000).map(|_| writer.send(&server.client)).find(|(status, _)| *status != 204);
    let (status, retry_after_s) = refused.expect("some time the disk is full");
    assert_eq!(status, 503);
    assert!(retry_after_s.is_some_and(|seconds| (1..=30).contains(&seconds)), "{retry_after_s:?}");
    assert!(writer.acknowledged > 10 * SERIES);
    // Reads go on, and what is refused is not shown as stored later.
    writer.check(&server);
    let metrics = server.client.get("/metrics", &[]).expect("it answers").body;
    assert!(metrics.contains("hearth_storage_read_only 1\n"), "{metrics}");
    // A start needs no room.
    server.kill().expect("it can be killed");
    let server = launch.start().expect("hearth starts on a full disk");
    writer.check(&server);
    (0..50).map(|_| writer.send(&server.client)).find(|(status, _)| *status == 503).expect("full again");
    std::fs::remove_file(&ballast).expect("the ballast is there");
    wait_until("writes are taken again", RECOVERY, || Ok(writer.send(&server.client).0 == 204))
        .expect("without anybody's help");
    writer.check(&server);
    server.kill().expect("it can be killed");
    let server = launch.start().expect("hearth starts again");
    writer.check(&server);
    assert!(!server.log().contains("panicked at"), "{}", server.log());
    server.stop().expect("it ends when asked to");
}

#[test]
fn a_server_without_file_descriptors_lives_on() {
    let folder = folder();
    let script = |files: usize| format!("ulimit -n {files}; exec {} \"$@\"", hearth().display());
    let launch = launch_hearth(folder.path()).flag(RECEIVER);
    let launch = Launch { binary: wrapped(folder.path(), &script(64)), ..launch };
    let (mut writer, server) = (Writer::new(), launch.start().expect("hearth starts with few files"));
    assert_eq!(writer.send(&server.client).0, 204);
    let connect = |_| {
        let mut stream = TcpStream::connect(server.address()).expect("the kernel takes it");
        write!(stream, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n").expect("the kernel takes it");
        stream
    };
    let held: Vec<TcpStream> = (0..100).map(connect).collect();
    let told = || Ok(server.log().contains("Accepting a connection failed"));
    wait_until("the server says that it cannot accept", Duration::from_secs(30), told).expect("it runs out");
    // Who is connected already is served.
    assert_eq!(writer.send(&server.client).0, 204);
    writer.check(&server);
    let mut first = &held[0];
    write!(first, "Connection: close\r\n\r\n").expect("it is open");
    let mut answer = String::new();
    first.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(held);
    let fresh = Client::new(server.client.base());
    let healthy = || Ok(fresh.get("/-/healthy", &[]).is_ok_and(|answer| answer.status == 200));
    wait_until("new connections are served", RECOVERY, healthy).expect("without anybody's help");
    assert_eq!(writer.send(&fresh).0, 204);
    writer.check(&server);
    assert!(!server.log().contains("panicked at"), "{}", server.log());
    server.stop().expect("it ends when asked to");
    // With too few of them it does not start, and says why.
    let launch = Launch { binary: wrapped(folder.path(), &script(9)), ..launch };
    let (status, log) = launch.run_to_end(Duration::from_secs(30)).expect("it ends");
    assert!(!status.success() && log.contains("Too many open files"), "{log}");
}

#[test]
fn without_io_uring_the_log_is_written_with_plain_calls() {
    let folder = folder();
    // A kernel that gives no memory for rings is as good as one without them.
    let script = format!("ulimit -l 0; exec {} \"$@\"", hearth().display());
    let launch = launch_hearth(folder.path()).flag(RECEIVER);
    let launch = Launch { binary: wrapped(folder.path(), &script), ..launch };
    let (mut writer, server) = (Writer::new(), launch.start().expect("hearth starts without io_uring"));
    assert!(server.log().contains("io_uring cannot be used here"), "{}", server.log());
    assert!((0..5).all(|_| writer.send(&server.client).0 == 204));
    server.kill().expect("it can be killed");
    let server = launch.start().expect("hearth starts again");
    writer.check(&server);
    server.stop().expect("it ends when asked to");
    // Asked for by name, it is an error to be without.
    let asked = launch.flag("--storage.io=uring");
    let (status, log) = asked.run_to_end(Duration::from_secs(30)).expect("it ends");
    assert!(!status.success() && log.contains("io_uring was asked for and cannot be used"), "{log}");
}

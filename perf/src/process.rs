//! A server under test as a process: started on a free port with its own folder, waited for, measured
//! from /proc, and never left behind.

use crate::http::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is not ready after this long never will be; replaying a large log takes some seconds.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// A server that has not ended this long after being asked to is killed, and that is an error.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// Between choosing a free port and the server's bind another process can take it; then another is tried.
const PORT_TRIES: usize = 5;

/// What a server is, which decides its flags and how it says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hearth,
    Prometheus,
    VictoriaMetrics,
    NodeExporter,
    Pushgateway,
    BlackboxExporter,
}

/// How to start a server, again and again on the same data.
#[derive(Debug, Clone)]
pub struct Launch {
    pub kind: Kind,
    pub binary: PathBuf,
    /// Holds the data, the configuration and the log.
    pub folder: PathBuf,
    /// The configuration file's text, for those that read one.
    pub config: String,
    pub flags: Vec<String>,
    /// Variables that it finds beside those of this process.
    pub environment: Vec<(String, String)>,
}

impl Launch {
    pub fn new(kind: Kind, binary: PathBuf, folder: &Path) -> Launch {
        Launch {
            kind,
            binary,
            folder: folder.to_path_buf(),
            config: String::new(),
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub fn config(mut self, text: impl Into<String>) -> Launch {
        self.config = text.into();
        self
    }

    pub fn flag(mut self, flag: impl Into<String>) -> Launch {
        self.flags.push(flag.into());
        self
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Launch {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The command that starts it on that port; output goes to the end of the log.
    fn command(&self, port: u16) -> Result<Command, String> {
        let make = |error: std::io::Error| format!("{}: {error}", self.folder.display());
        std::fs::create_dir_all(&self.folder).map_err(make)?;
        let config = self.folder.join("prometheus.yml");
        std::fs::write(&config, &self.config).map_err(make)?;
        let log = File::options().create(true).append(true).open(self.log()).map_err(make)?;
        let mut command = Command::new(&self.binary);
        let listen = format!("127.0.0.1:{port}");
        match self.kind {
            Kind::Hearth | Kind::Prometheus => command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", self.data().display()))
                .arg(format!("--web.listen-address={listen}")),
            Kind::VictoriaMetrics => command
                .arg(format!("-storageDataPath={}", self.data().display()))
                .arg(format!("-httpListenAddr={listen}")),
            Kind::NodeExporter | Kind::Pushgateway | Kind::BlackboxExporter => {
                command.arg(format!("--web.listen-address={listen}"))
            }
        };
        command.args(&self.flags).current_dir(&self.folder).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().map_err(make)?).stderr(log);
        Ok(command)
    }

    /// Runs it to its end, as for a configuration that it must refuse: exit status and what it printed.
    pub fn run_to_end(&self, deadline: Duration) -> Result<(std::process::ExitStatus, String), String> {
        let mut child = self.command(free_port()?)?.spawn().map_err(|error| self.says(&error.to_string()))?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Ok((status, self.log_text()));
            }
            if began.elapsed() > deadline {
                let _already_gone = child.kill();
                let _reaped = child.wait();
                return Err(self.says("it did not end"));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Result<Server, String> {
        let mut last = String::new();
        for _ in 0..PORT_TRIES {
            match self.start_on(free_port()?) {
                Ok(server) => return Ok(server),
                Err(error) if error.contains("address already in use") => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn start_on(&self, port: u16) -> Result<Server, String> {
        let began = Instant::now();
        let child = self.command(port)?.spawn().map_err(|error| self.says(&error.to_string()))?;
        let client = Client::new(format!("http://127.0.0.1:{port}"));
        let mut server = Server { launch: self.clone(), child, port, client, ready_s: 0.0 };
        let path = match self.kind {
            Kind::Hearth | Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
            Kind::NodeExporter => "/",
            Kind::Pushgateway => "/-/ready",
            Kind::BlackboxExporter => "/-/healthy",
        };
        loop {
            if server.client.get(path, &[]).is_ok_and(|answer| answer.status == 200) {
                server.ready_s = began.elapsed().as_secs_f64();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().map_err(|error| error.to_string())? {
                return Err(self.says(&format!("it ended before it was ready: {status}")));
            }
            if began.elapsed() > READY_DEADLINE {
                return Err(self.says("it did not get ready"));
            }
            std::thread::sleep(POLL);
        }
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// An error's text: what happened, to which server, and the end of its log.
    fn says(&self, what: &str) -> String {
        let log = self.log_text();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n    ");
        format!("{}: {what}; the end of its log:\n    {tail}", self.binary.display())
    }
}

/// A running server; it dies with this value.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    child: Child,
    pub port: u16,
    pub client: Client,
    /// From start to ready.
    pub ready_s: f64,
}

/// What a process holds in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident and not backed by a file: what the process itself asked for.
    pub anonymous_bytes: u64,
    pub resident_bytes: u64,
    /// The most that was resident since the start, or since [`Server::forget_peak`].
    pub peak_bytes: u64,
}

impl Server {
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything it has printed, earlier starts in the same folder included.
    pub fn log(&self) -> String {
        self.launch.log_text()
    }

    /// Seconds of CPU that it has used, user and system, all threads, ended ones included.
    pub fn cpu_s(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        cpu_ticks(&text)
            .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
            .ok_or_else(|| format!("{path}: cannot be read: {text}"))
    }

    pub fn memory(&self) -> Result<Memory, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let field = |name| kibibytes(&text, name).ok_or_else(|| format!("{path}: no {name}"));
        Ok(Memory {
            anonymous_bytes: field("RssAnon:")?,
            resident_bytes: field("VmRSS:")?,
            peak_bytes: field("VmHWM:")?,
        })
    }

    /// Starts the count of the most that was resident anew; what is resident now.
    pub fn forget_peak(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&path, "5").map_err(|error| format!("{path}: {error}"))?;
        Ok(self.memory()?.resident_bytes)
    }

    /// Bytes that its data takes on the medium.
    pub fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.launch.data())
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as a power cut would: no handler runs.
    pub fn kill(mut self) -> Result<(), String> {
        self.child.kill().map_err(|error| error.to_string())?;
        self.child.wait().map(drop).map_err(|error| error.to_string())
    }

    /// Something to kill it with from another thread, at a moment of that thread's choosing.
    pub fn killer(&self) -> Killer {
        Killer { pid: Pid::from_child(&self.child) }
    }

    /// Asks it to end and waits for that; an error where it does not or says that it failed.
    pub fn stop(mut self) -> Result<f64, String> {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|error| error.to_string())?;
        while began.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                let clean = status.success();
                return if clean {
                    Ok(began.elapsed().as_secs_f64())
                } else {
                    Err(self.launch.says(&status.to_string()))
                };
            }
            std::thread::sleep(POLL);
        }
        Err(self.launch.says("it did not end when asked to"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.launch.says("it ran while the test failed"));
        }
    }
}

/// Kills a server that another thread owns and has not waited for yet.
#[derive(Debug, Clone, Copy)]
pub struct Killer {
    pid: Pid,
}

impl Killer {
    pub fn kill(self) -> Result<(), String> {
        kill_process(self.pid, Signal::KILL).map_err(|error| error.to_string())
    }
}

/// A port that nothing listens on now.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Looks at `condition` until it holds; the error after `deadline` says what was waited for.
pub fn wait_until(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let began = Instant::now();
    loop {
        if condition()? {
            return Ok(());
        }
        if began.elapsed() > deadline {
            return Err(format!("waited {} s in vain: {what}", deadline.as_secs()));
        }
        std::thread::sleep(POLL);
    }
}

/// User and system ticks in the text of `/proc/PID/stat`. The name in parentheses may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Bytes that a file, or a folder with everything in it, takes on the medium.
pub fn disk_bytes(path: &Path) -> u64 {
    // A file that a merge removes between listing and asking counts as gone.
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let stat = "12 (a) b) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("12 (a"), None);
        assert_eq!(kibibytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12 << 10));
    }
}

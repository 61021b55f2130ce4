//! A machine of user-mode Linux: booted with two disks, listened to on its console, and killed.
//!
//! Its root is this machine's own file system (hostfs), so every program is there; it must write to its disks and to
//! the shared folder alone.

use super::writes::{Medium, SECTOR_BYTES};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What every line of the guest's begins with; the kernel writes to the same console.
pub const SAYS: &str = "@cut ";
/// No boot takes longer to say the next thing.
const SILENCE: Duration = Duration::from_secs(120);
const MEMORY: &str = "mem=640M";

/// How the machine is made.
#[derive(Debug, Clone)]
pub struct Build {
    /// Shared with the guest; holds the disks, too.
    pub folder: PathBuf,
    /// `ext4` or `xfs`.
    pub filesystem: String,
}

impl Build {
    /// The disk as it is between two boots.
    pub fn base(&self) -> PathBuf {
        self.folder.join("base.img")
    }

    /// The disk that a boot writes to, whose content afterwards nobody looks at.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch.img")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("log.img")
    }

    /// Where the guest mounts its disk.
    pub fn mount(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// How the disk behaves. XFS takes for granted that it writes blocks of metadata whole: its recovery passes over a
    /// block whose head says that it is newer than the log, so that what was torn stays torn, and the next mount fails.
    /// It gets a disk with sectors as large as these blocks; ext4 replays whole blocks, whatever it finds.
    pub fn medium(&self, lies: bool) -> Medium {
        let whole_bytes = if self.filesystem == "xfs" { 8 * SECTOR_BYTES } else { SECTOR_BYTES };
        Medium { lies, whole_bytes }
    }

    /// A new disk with an empty file system.
    pub fn format(&self, disk_bytes: u64) -> Result<(), String> {
        let base = self.base();
        empty_file(&base, disk_bytes)?;
        let (program, flags): (_, &[&str]) = match self.filesystem.as_str() {
            "ext4" => ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            "xfs" => ("mkfs.xfs", &["-q", "-f", "-s", "size=4096"]),
            other => return Err(format!("{other:?} is not one of ext4, xfs")),
        };
        run(Command::new(program).args(flags).arg(&base))
    }

    /// Boots the machine; its guest is `guest` with the folder as argument.
    pub fn boot(&self, guest: &Path, log_bytes: u64) -> Result<Machine, String> {
        run(Command::new("cp").arg("--sparse=always").arg(self.base()).arg(self.scratch()))?;
        empty_file(&self.log(), log_bytes)?;
        std::fs::create_dir_all(self.mount()).map_err(|error| error.to_string())?;
        let init = self.folder.join("init");
        std::fs::write(&init, self.script(guest)).map_err(|error| error.to_string())?;
        run(Command::new("chmod").arg("755").arg(&init))?;
        let file = |disk: PathBuf| disk.display().to_string();
        let mut command = Command::new("linux.uml");
        command
            .args([MEMORY, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"])
            .args(["con=null", "con0=null,fd:1", "random.trust_cpu=on"])
            .arg(format!("uml_dir={}/", self.folder.join("uml").display()))
            .arg(format!("ubda={}", file(self.scratch())))
            .arg(format!("ubdb={}", file(self.log())))
            .arg(format!("init={}", init.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn().map_err(|error| format!("linux.uml: {error}"))?;
        Machine::listen(child)
    }

    /// The first program of the guest.
    fn script(&self, guest: &Path) -> String {
        let (folder, mount) = (self.folder.display(), self.mount().display().to_string());
        let (filesystem, guest) = (&self.filesystem, guest.display());
        format!(
            "#!/bin/sh\n\
             export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/nowhere\n\
             fail() {{ echo \"{SAYS}failed: $*\"; sleep 600; }}\n\
             mount -t proc proc /proc && mount -t sysfs sysfs /sys || fail mounting /proc\n\
             modules=/usr/lib/uml/modules/$(uname -r)/kernel/drivers/md\n\
             insmod $modules/dm-mod.ko && insmod $modules/dm-log-writes.ko || fail insmod\n\
             for disk in ubda ubdb; do echo none > /sys/block/$disk/queue/scheduler; done\n\
             ip link set lo up || fail network\n\
             sectors=$(cat /sys/block/ubda/size)\n\
             dmsetup create cut --noudevsync --table \"0 $sectors log-writes /dev/ubda /dev/ubdb\" || fail dmsetup\n\
             mount -t {filesystem} /dev/dm-0 {mount} || fail mounting the disk\n\
             echo \"{SAYS}mounted\"\n\
             {guest} --role guest --folder {folder} || fail guest\n\
             sleep 600\n"
        )
    }
}

fn empty_file(path: &Path, len_bytes: u64) -> Result<(), String> {
    // Anew: what it held is no part of it.
    let made = std::fs::File::create(path).and_then(|file| file.set_len(len_bytes));
    made.map_err(|error| format!("{}: {error}", path.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// A machine that runs. It dies with this value.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    console: Receiver<String>,
    /// The end of what was on the console, for whoever wants to know what went wrong.
    heard: Vec<String>,
}

impl Machine {
    fn listen(mut child: Child) -> Result<Machine, String> {
        let output = child.stdout.take().ok_or("the machine has no console")?;
        let (send, console) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output);
            let mut line = Vec::new();
            // Ends when all of the machine's processes are gone.
            while matches!(lines.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Ok(Machine { child, console, heard: Vec::new() })
    }

    /// The next thing that the guest says, by then at the latest; none where it says nothing until then.
    pub fn next(&mut self, until: Instant) -> Result<Option<String>, String> {
        loop {
            match self.console.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let said = line.find(SAYS).map(|at| line[at + SAYS.len()..].to_owned());
                    self.heard.push(line);
                    if let Some(said) = said {
                        return if said.starts_with("failed") {
                            Err(self.says(&said))
                        } else {
                            Ok(Some(said))
                        };
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(self.says("the machine ended by itself")),
            }
        }
    }

    /// Waits until the guest says something that begins with `what`; all it said until then, that included.
    pub fn wait_for(&mut self, what: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        loop {
            let Some(said) = self.next(Instant::now() + SILENCE)? else {
                return Err(self.says(&format!("waited for {what:?} in vain")));
            };
            let found = said.starts_with(what);
            all.push(said);
            if found {
                return Ok(all);
            }
        }
    }

    /// Cuts the power. What the guest had said until then is returned.
    pub fn cut(mut self) -> Result<Vec<String>, String> {
        self.kill()?;
        let mut all = Vec::new();
        while let Ok(line) = self.console.recv() {
            all.extend(line.find(SAYS).map(|at| line[at + SAYS.len()..].to_owned()));
        }
        Ok(all)
    }

    fn kill(&mut self) -> Result<(), String> {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).map_err(|error| error.to_string())?;
        self.child.wait().map(drop).map_err(|error| error.to_string())
    }

    fn says(&self, what: &str) -> String {
        let tail = self.heard[self.heard.len().saturating_sub(60)..].join("\n    ");
        format!("{what}; the end of the console:\n    {tail}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Gone already where the power was cut.
        let _gone = self.kill();
    }
}

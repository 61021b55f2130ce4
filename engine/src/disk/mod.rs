//! The medium: all that touches files. Three forms of one contract: [`ring`] (io_uring), [`blocking`]
//! (plain system calls), both of which write as [`writer`] says, and [`simulated`] (memory that forgets what
//! was not synced).
//!
//! Assumption about the medium: what was written before a successful `fdatasync` stays; a name is durable
//! once its directory was synced. A failed sync tells nothing about what reached the medium, so nobody
//! asks the same file again.

pub mod blocking;
pub mod faults;
pub mod mapped;
pub mod names;
pub mod probe;
mod reserve;
pub mod ring;
pub mod simulated;
mod stopwatch;
mod writer;

use mapped::Mapped;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// Samples and labels are for the server alone: what a directory and a file of ours let others do, before
/// the process' own mask.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o640;

/// An append-only file.
pub trait Log: 'static {
    /// Appends all of `bytes`; with `sync`, they and all before are on stable storage when it is done.
    /// The buffer comes back for reuse. After an error the file's end is unknown: use a new one.
    fn append(&mut self, bytes: Vec<u8>, sync: bool) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Brings what was appended to stable storage.
    fn sync(&mut self) -> impl Future<Output = io::Result<()>>;
}

/// A place for files. The provided methods work on the real file system.
pub trait Disk: Clone + 'static {
    type Log: Log;

    /// A new, empty, durable-by-name log; fails when the name exists. Until somebody has cut them off durably, a crash
    /// may leave zeros behind its end: room that it wrote ahead.
    fn create_log(&self, path: &Path) -> io::Result<Self::Log>;

    /// The same for a file that is written once: nothing ever is behind its end.
    fn create_file(&self, path: &Path) -> io::Result<Self::Log>;

    /// File names in a directory, sorted; none where the directory is not there.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        match fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    names.push(entry?.file_name().to_string_lossy().into_owned());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    /// Opens a sealed file for reading in place.
    fn map(&self, path: &Path) -> io::Result<Mapped> {
        Mapped::open(path)
    }

    /// Makes a directory and its parents, durable by name.
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        path.parent().map_or(Ok(()), sync_directory)
    }

    /// Puts a whole file in place: either all of it is there afterwards or what was there before.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(names::UNFINISHED);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.rename(&unfinished, path)
    }

    /// Waits: on the real disks real time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// Cuts a file's end off, durably.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    }

    /// Gives a finished file its name, durably.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), sync_directory)
    }

    /// Gives a sealed file a second name, durably; where the file system cannot do that, a copy.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                fs::copy(from, to)?;
                File::open(to)?.sync_all()?;
            }
            linked => linked?,
        }
        to.parent().map_or(Ok(()), sync_directory)
    }

    /// Size of the file system that a path lies on.
    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        let told = rustix::fs::statvfs(path)?;
        Ok(told.f_blocks.saturating_mul(told.f_frsize))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        path.parent().map_or(Ok(()), sync_directory)
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// A new file for appending, its name synced.
fn new_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    path.parent().map_or(Ok(()), sync_directory)?;
    Ok(file)
}

/// Milliseconds since the Unix epoch by the machine's clock.
pub fn wall_clock_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// The memory this process may use: the smallest limit of its control groups, or the machine's.
pub fn memory_limit_bytes() -> u64 {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let info = rustix::system::sysinfo();
    let machine = info.totalram as u64 * u64::from(info.mem_unit);
    [
        own_group("memory.max").and_then(|p| read(&p)),
        read("/sys/fs/cgroup/memory.max"),
        read("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ]
    .into_iter()
    .flatten()
    .fold(machine, u64::min)
}

/// A file of this process' own control group (version 2).
fn own_group(file: &str) -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{}/{file}", path.trim_end_matches('/')))
}

/// Cores this process may run on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

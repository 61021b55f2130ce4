//! Power cuts: a whole machine (user-mode Linux, a real kernel with ext4 or xfs) whose power is cut again and again
//! while the server on it acknowledges remote writes, and whose disk then holds what a disk may hold.
//!
//! One *life* is a new disk and some cuts. Each cut goes like this:
//! 1. [`machine`] boots; the disk is a file of this machine, seen through `dm-log-writes`, which notes every write,
//!    flush and mark in their order in a second file;
//! 2. [`guest`], which runs in there, starts the server, reads everything back and compares it with what was ever
//!    acknowledged; then it sends, and puts a mark into the order of writes behind what was acknowledged;
//! 3. at a moment of chance the machine is killed;
//! 4. [`writes`] makes the disk of the next boot: up to some write of chance, of which all before the last flush is
//!    kept, and of what is behind it (in the disk's volatile cache) any part, torn by sectors;
//! 5. what was acknowledged before the marks up to there counts as acknowledged ([`life`]).
//!
//! So nothing that the server did not bring to stable storage itself is sure to survive; only what it
//! acknowledged has to. All chance comes from a seed, but for the machine's own timing.

pub mod guest;
pub mod life;
pub mod machine;
pub mod writes;

use crate::request::label_bytes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Series of a request, one sample each.
pub const SERIES: usize = 64;
/// Between the times of two requests: a boot's worth of them spans more than a block does.
pub const STEP_MS: i64 = 4_000;
/// Numbers of requests that each boot has for itself.
pub const REQUESTS_PER_BOOT: u64 = 5_000;
/// What the guest is told, in the folder that host and guest share.
const PLAN: &str = "plan.json";

/// What the guest is to do in one boot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The server's binary, and flags for it.
    pub server: PathBuf,
    pub flags: Vec<String>,
    /// Where the disk is mounted.
    pub disk: PathBuf,
    /// The time of request 0.
    pub start_ms: i64,
    /// The number of this boot in its life.
    pub boot: u64,
    /// Numbers of the requests acknowledged so far, in the order of their acknowledgements.
    pub acknowledged: Vec<u64>,
}

impl Plan {
    pub fn write(&self, folder: &Path) -> Result<(), String> {
        let plan = json!({
            "server": self.server, "flags": self.flags, "disk": self.disk, "start_ms": self.start_ms,
            "boot": self.boot, "acknowledged": self.acknowledged,
        });
        let path = folder.join(PLAN);
        std::fs::write(&path, plan.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn read(folder: &Path) -> Result<Plan, String> {
        let path = folder.join(PLAN);
        let say = |what: &str| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| say(&error.to_string()))?;
        let plan: Value = serde_json::from_str(&text).map_err(|error| say(&error.to_string()))?;
        let word = |name: &str| plan[name].as_str().ok_or_else(|| say(name)).map(str::to_owned);
        let list = |name: &str| plan[name].as_array().ok_or_else(|| say(name));
        Ok(Plan {
            server: word("server")?.into(),
            flags: list("flags")?.iter().filter_map(|flag| Some(flag.as_str()?.to_owned())).collect(),
            disk: word("disk")?.into(),
            start_ms: plan["start_ms"].as_i64().ok_or_else(|| say("start_ms"))?,
            boot: plan["boot"].as_u64().ok_or_else(|| say("boot"))?,
            acknowledged: list("acknowledged")?.iter().filter_map(Value::as_u64).collect(),
        })
    }

    /// Nothing, for nobody.
    fn empty() -> Plan {
        let (server, disk) = (PathBuf::new(), PathBuf::new());
        Plan { server, flags: Vec::new(), disk, start_ms: 0, boot: 0, acknowledged: Vec::new() }
    }

    pub fn time_ms(&self, request: u64) -> i64 {
        self.start_ms + request as i64 * STEP_MS
    }
}

/// The value of a series in a request: a whole number that no other series or request has.
pub fn value(request: u64, series: usize) -> f64 {
    let mut z = (request << 8 | series as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Half of them take few bytes, as most of what people store does.
    if request.is_multiple_of(2) { (z >> 50) as f64 } else { (z >> 11) as f64 }
}

/// A series' labels, as a request has them.
pub fn labels(series: usize) -> Vec<u8> {
    label_bytes([("__name__", "power_cut"), ("series", &series.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            server: "/bin/hearth".into(),
            flags: vec!["--a=b".into()],
            disk: "/mnt".into(),
            start_ms: 5,
            boot: 2,
            acknowledged: vec![3, 1, 2],
        };
        plan.write(folder.path()).unwrap();
        assert_eq!(Plan::read(folder.path()).unwrap(), plan);
        assert_eq!(plan.time_ms(2), 5 + 2 * STEP_MS);
    }

    #[test]
    fn values_are_whole_numbers_that_json_carries() {
        for request in 0..100 {
            let value = value(request, 7);
            assert_eq!(value, value.trunc());
            assert!(value < 9e15);
        }
    }
}

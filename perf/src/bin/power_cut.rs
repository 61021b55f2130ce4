//! Cuts the power of a machine again and again while the server on it acknowledges remote writes: `scripts/power-cut`
//! builds and finds what this needs; `power_cut --help` lists the flags. Inside the machine the same binary has the
//! role of the guest.
#![forbid(unsafe_code)]

use hearth_perf::flags::{Flag, Flags};
use hearth_perf::power_cut::guest;
use hearth_perf::power_cut::life::{self, Course, Tally};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const FLAGS: &[Flag] = &[
    ("hearth", "", "the binary of Hearth"),
    ("cuts", "200", "how often the power is cut"),
    ("cuts-per-life", "12", "cuts until there is a new disk"),
    ("seed", "", "of all chance; the time where there is none"),
    ("filesystems", "ext4,xfs", "in turns, one for each life"),
    ("io", "auto,threads", "in turns, one for each life"),
    ("ack", "synced", "how durable a write is before it is acknowledged"),
    ("disk", "honest", "honest, or lying: it forgets what it was told to keep"),
    ("expect", "nothing-lost", "nothing-lost, or losses: an error where there are none"),
    ("role", "host", "host, or guest: what runs inside the machine"),
    ("folder", "", "where the disks are; a temporary one where it is not said"),
];

fn main() -> ExitCode {
    match power_cut() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host hears what the guest prints.
            println!("{}failed: {error}", hearth_perf::power_cut::machine::SAYS);
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn power_cut() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    if flags.text("role") == "guest" {
        return guest::run(Path::new(flags.text("folder")));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let seed = match flags.text("seed") {
        "" => now.as_millis() as u64,
        _ => flags.number("seed")?,
    };
    let temporary = tempfile::Builder::new().prefix("hearth-power-cut").tempdir();
    let temporary = temporary.map_err(|error| error.to_string())?;
    let folder = match flags.text("folder") {
        "" => temporary.path().to_path_buf(),
        folder => PathBuf::from(folder),
    };
    let list = |name: &str| flags.text(name).split(',').map(str::to_owned).collect::<Vec<_>>();
    let absolute = |path: &Path| std::fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()));
    let course = Course {
        folder: absolute(&folder)?,
        guest: std::env::current_exe().map_err(|error| error.to_string())?,
        server: absolute(Path::new(flags.text("hearth")))?,
        cuts: flags.number("cuts")?,
        cuts_per_life: flags.number::<usize>("cuts-per-life")?.max(1),
        seed,
        filesystems: list("filesystems"),
        io: list("io"),
        ack: flags.text("ack").to_owned(),
        lies: flags.text("disk") == "lying",
    };
    println!("seed {seed}");
    let began = Instant::now();
    let tally = life::run(&course, |line| println!("{line}"))?;
    println!("{}", summary(&tally, began.elapsed().as_secs_f64()));
    judge(&tally, flags.text("expect") == "losses", &course.ack)
}

fn summary(tally: &Tally, seconds: f64) -> String {
    let backends: Vec<String> = tally.backends.iter().map(|(name, n)| format!("{n} x {name}")).collect();
    format!(
        "{} cuts in {} lives ({} of them during recovery), {seconds:.0} s: {} samples acknowledged, {} lost \
         ({} holes), {} wrong, {} starts refused; {} samples read back; of {} unflushed writes {} gone and {} torn; \
         slowest start {:.2} s; {}",
        tally.cuts,
        tally.lives,
        tally.early,
        tally.acknowledged,
        tally.lost,
        tally.holes,
        tally.wrong,
        tally.refused,
        tally.read_back,
        tally.writes.unflushed,
        tally.writes.gone,
        tally.writes.torn,
        tally.slowest_ready_s,
        backends.join(", "),
    )
}

fn judge(tally: &Tally, losses_expected: bool, ack: &str) -> Result<(), String> {
    if losses_expected {
        return match tally.lost + tally.refused {
            0 => Err("nothing was lost: this run would not notice a server that does not sync".to_owned()),
            _ if tally.wrong > 0 || tally.holes > 0 && ack == "written" => {
                Err("losses are no suffix, or something is wrong".to_owned())
            }
            _ => Ok(()),
        };
    }
    match tally.lost + tally.wrong + tally.refused {
        0 if tally.acknowledged > 0 => Ok(()),
        0 => Err("nothing was acknowledged: the run proves nothing".to_owned()),
        _ => Err("something was lost, wrong, or refused".to_owned()),
    }
}

//! The host's side: lives of a disk, cut after cut, and what came of them.

use super::guest::Verdict;
use super::machine::{Build, Machine};
use super::writes::{Cut, Writes};
use super::{Plan, REQUESTS_PER_BOOT, SERIES};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// XFS makes none smaller than 300 MB. The files are sparse.
const DISK_BYTES: u64 = 512 << 20;
const LOG_BYTES: u64 = 4 << 30;
/// Positions by which the order of two acknowledgements may be mistaken: several senders note them.
const ORDER_SLACK: usize = 16;

/// What to do.
#[derive(Debug, Clone)]
pub struct Course {
    pub folder: PathBuf,
    /// The binary that has the guest's role, and the server's.
    pub guest: PathBuf,
    pub server: PathBuf,
    pub cuts: usize,
    pub cuts_per_life: usize,
    pub seed: u64,
    /// Taken in turns, one for each life.
    pub filesystems: Vec<String>,
    pub io: Vec<String>,
    pub ack: String,
    /// The disk does not keep what it was told to.
    pub lies: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub cuts: usize,
    /// Of these, before the server had begun to send: while the file system or the server recovered.
    pub early: usize,
    pub lives: usize,
    pub acknowledged: usize,
    pub read_back: usize,
    pub lost: usize,
    /// Acknowledged before another one that is lost, and there: where losses must be a suffix there are none.
    pub holes: usize,
    pub wrong: usize,
    /// Boots after which the disk could not be mounted, or the server did not start.
    pub refused: usize,
    pub writes: Cut,
    pub backends: BTreeMap<String, usize>,
    pub slowest_ready_s: f64,
}

/// One life under way.
struct Life<'a> {
    course: &'a Course,
    build: Build,
    plan: Plan,
}

/// Goes through the course; `told` gets a line for each cut.
pub fn run(course: &Course, mut told: impl FnMut(&str)) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut rng = Rng::with_seed(course.seed);
    while tally.cuts < course.cuts {
        let number = tally.lives;
        let of = |all: &[String]| all[number % all.len()].clone();
        let (filesystem, io) = (of(&course.filesystems), of(&course.io));
        let boots = course.cuts_per_life.min(course.cuts - tally.cuts);
        told(&format!("life {number}: {filesystem}, io {io}, {boots} cuts"));
        let build = Build { folder: course.folder.clone(), filesystem };
        build.format(DISK_BYTES)?;
        let flags = [
            "--web.enable-remote-write-receiver".to_owned(),
            "--web.enable-admin-api".to_owned(),
            "--storage.shards=2".to_owned(),
            "--storage.wal.checkpoint-size=256KB".to_owned(),
            "--storage.tsdb.retention.time=10y".to_owned(),
            format!("--storage.io={io}"),
            format!("--storage.wal.ack={}", course.ack),
        ];
        let plan = Plan {
            server: course.server.clone(),
            flags: flags.to_vec(),
            disk: build.mount(),
            start_ms: start_ms(boots)?,
            boot: 0,
            acknowledged: Vec::new(),
        };
        tally.lives += 1;
        Life { course, build, plan }.live(boots, &mut rng, &mut tally, &mut told)?;
    }
    Ok(tally)
}

/// A time from which on that many boots end before now.
fn start_ms(boots: usize) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let span = Plan { start_ms: 0, ..Plan::empty() }.time_ms((boots as u64 + 2) * REQUESTS_PER_BOOT);
    Ok((now.as_millis() as i64 - span) / 1000 * 1000)
}

impl Life<'_> {
    fn live(
        mut self,
        boots: usize,
        rng: &mut Rng,
        tally: &mut Tally,
        told: &mut impl FnMut(&str),
    ) -> Result<(), String> {
        for _ in 0..boots {
            self.plan.write(&self.build.folder)?;
            let mut machine = self.build.boot(&self.course.guest, LOG_BYTES)?;
            let said = match self.until_cut(&mut machine, rng, tally) {
                Ok(early) => {
                    tally.early += usize::from(early);
                    machine.cut()?
                }
                Err(error) => {
                    told(&format!("refused: {error}"));
                    tally.refused += 1;
                    return Ok(());
                }
            };
            tally.cuts += 1;
            let writes = Writes::read(&self.build.log())?;
            let cut = writes.cut(&self.build.base(), rng, self.build.medium(self.course.lies))?;
            let added = self.acknowledge(&said, &writes, cut.at);
            tally.acknowledged += added * SERIES;
            tally.writes.unflushed += cut.unflushed;
            tally.writes.gone += cut.gone;
            tally.writes.torn += cut.torn;
            told(&format!(
                "cut {}: at write {} of {}, {} unflushed ({} gone, {} torn), {added} more requests acknowledged",
                tally.cuts,
                cut.at,
                writes.entries.len(),
                cut.unflushed,
                cut.gone,
                cut.torn,
            ));
            self.plan.boot += 1;
        }
        self.last_look(tally, told)
    }

    /// Lets the machine run to a moment of chance. Returns whether that came before it began to send.
    fn until_cut(&mut self, machine: &mut Machine, rng: &mut Rng, tally: &mut Tally) -> Result<bool, String> {
        machine.wait_for("starting")?;
        if self.plan.boot > 0 && rng.u8(0..5) == 0 {
            let until = Instant::now() + Duration::from_millis(rng.u64(0..700));
            while let Some(said) = machine.next(until)? {
                self.note(&said, tally);
            }
            return Ok(true);
        }
        for said in machine.wait_for("sending")? {
            self.note(&said, tally);
        }
        std::thread::sleep(Duration::from_millis(rng.u64(50..4000)));
        Ok(false)
    }

    /// Counts what the guest says of the server's start and of what was read back.
    fn note(&mut self, said: &str, tally: &mut Tally) {
        if let Some(rest) = said.strip_prefix("ready ") {
            let (seconds, backend) = rest.split_once(' ').unwrap_or((rest, ""));
            *tally.backends.entry(backend.to_owned()).or_default() += 1;
            tally.slowest_ready_s = tally.slowest_ready_s.max(seconds.parse().unwrap_or(0.0));
        }
        let Some(verdict) = Verdict::heard(said) else { return };
        tally.read_back += verdict.samples;
        tally.wrong += verdict.wrong.len();
        if verdict.lost.is_empty() && verdict.wrong.is_empty() {
            return;
        }
        eprintln!("boot {}: lost {:?}, wrong {:?}", self.plan.boot, verdict.lost, verdict.wrong.first());
        tally.lost += verdict.lost.len() * SERIES;
        tally.holes += holes(&self.plan.acknowledged, &verdict.lost);
        // Counted once.
        self.plan.acknowledged.retain(|request| !verdict.lost.contains(request));
    }

    /// Adds what was acknowledged, and marked before the cut; returns how many requests.
    fn acknowledge(&mut self, said: &[String], writes: &Writes, at: usize) -> usize {
        let seen: Vec<&str> = writes.entries[..at].iter().filter_map(|e| e.mark.as_deref()).collect();
        let before = self.plan.acknowledged.len();
        for line in said {
            let mut words = line.split(' ');
            let (Some("mark"), Some(mark), Some(list)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if seen.contains(&mark) {
                self.plan
                    .acknowledged
                    .extend(list.split(',').filter_map(|number| number.parse::<u64>().ok()));
            }
        }
        self.plan.acknowledged.len() - before
    }

    /// Boots once more, so that the last cut is looked at, too.
    fn last_look(&mut self, tally: &mut Tally, told: &mut impl FnMut(&str)) -> Result<(), String> {
        self.plan.write(&self.build.folder)?;
        let mut machine = self.build.boot(&self.course.guest, LOG_BYTES)?;
        match machine.wait_for("sending") {
            Ok(all) => all.iter().for_each(|said| self.note(said, tally)),
            Err(error) => {
                told(&format!("refused: {error}"));
                tally.refused += 1;
            }
        }
        Ok(())
    }
}

/// How many of the requests that are there were acknowledged after one that is lost: with a suffix lost there are
/// none, but for what the senders noted out of order.
fn holes(acknowledged: &[u64], lost: &[u64]) -> usize {
    let Some(first) = acknowledged.iter().position(|request| lost.contains(request)) else { return 0 };
    let behind = acknowledged[first..].iter().filter(|request| !lost.contains(request)).count();
    behind.saturating_sub(ORDER_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_suffix_has_no_holes() {
        let all: Vec<u64> = (0..100).collect();
        assert_eq!(holes(&all, &all[50..]), 0);
        assert_eq!(holes(&all, &[]), 0);
        assert_eq!(holes(&all, &[10]), 89 - ORDER_SLACK);
        assert_eq!(holes(&[1, 2, 4, 3], &[3]), 0);
    }
}

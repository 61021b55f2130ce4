//! Bytes a sample, index included, of blocks that Hearth and its peers make of the same data. `perf/bytes` builds and
//! finds what this needs; `bytes --help` lists the flags.
//!
//! 1. A recording is not played twice, unless that is asked for: what repeats itself flatters who looks for
//!    repetitions. Data ends with a whole block of the length asked for: two hours, or a day, that lies behind; a part of one
//!    where its length is less.
//! 2. Hearth gets one more sample of each series three hours later: what came before then goes into blocks, and these
//!    are brought together, by themselves. What counts are its files of blocks.
//! 3. Prometheus keeps all of it in its head, which a snapshot makes one block of.
//! 4. VictoriaMetrics is asked to merge; what counts are data and index, without caches.
#![forbid(unsafe_code)]

use hearth_perf::flags::{self, Flag, Flags};
use hearth_perf::load;
use hearth_perf::prepared::{Plan, Prepared, Source};
use hearth_perf::process::{Kind, Server, wait_until};
use hearth_perf::recorded::{self, Player, Recording};
use hearth_perf::report::{Better, Table};
use hearth_perf::request::Encoder;
use hearth_perf::run::{self, Entrant};
use hearth_perf::series::Fleet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FLAGS: &[Flag] = &[
    ("servers", "hearth:written,prometheus,victoriametrics", "who takes part"),
    ("hearth", "", "the binary of Hearth"),
    ("peers", "", "the folder that scripts/peers filled"),
    ("pages", "", "folder with recorded pages of node_exporter; empty: record some first"),
    ("record", "480", "pages to record, one each interval"),
    ("repeat", "no", "yes: play a recording again where it is shorter than the data"),
    ("hosts", "4", "that play the recording"),
    ("series", "4000", "of the load generator's mix"),
    ("hours", "2,24", "lengths of the data: blocks of two hours and of a day"),
    ("interval-s", "15", "between two samples of a series"),
    ("seed", "1", "of the mix"),
    ("folder", "", "where the data goes; a temporary folder if empty"),
];

const HOUR_MS: i64 = 3_600_000;
/// Merges of small data take seconds.
const MERGE_DEADLINE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    flags::ended(bytes())
}

fn bytes() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let entrants = Entrant::all(&flags)?;
    let folder = run::folder(&flags, "hearth-bytes")?;
    let pages = pages(&flags, folder.path())?;
    let repeat = flags.text("repeat") == "yes";
    let mut columns = vec![Vec::new(); entrants.len()];
    for hours in flags.text("hours").split(',') {
        let hours: i64 = hours.parse().map_err(|_| format!("--hours: {hours:?} is not such a number"))?;
        for data in ["node_exporter", "mix"] {
            let mut source: Box<dyn Source> = match data {
                "mix" => Box::new(Fleet::new(flags.number("series")?, flags.number("seed")?)),
                _ => Box::new(Player::new(Recording::read(&pages)?, flags.number("hosts")?)),
            };
            let plan = plan(&flags, source.len(), hours)?;
            if data != "mix" && plan.rounds > Recording::read(&pages)?.pages && !repeat {
                eprintln!("{data}, {hours} h: left out, the recording is shorter");
                continue;
            }
            let prepared = Prepared::of(plan, &mut *source, &folder.path().join("load"))?;
            for (entrant, column) in entrants.iter().zip(&mut columns) {
                let home = tempfile::tempdir_in(folder.path()).map_err(|error| error.to_string())?;
                eprintln!("{data}, {hours} h, {} samples: {}", plan.samples(), entrant.name);
                let bytes = measure(entrant, &prepared, &*source, home.path())?;
                let figure = format!("{data}, {hours} h, bytes a sample");
                column.push((figure, Better::Less, bytes as f64 / plan.samples() as f64));
            }
        }
    }
    let mut table = Table::default();
    entrants.iter().zip(&columns).for_each(|(entrant, column)| table.column(&entrant.name, column));
    print!("{}", table.markdown());
    Ok(())
}

fn pages(flags: &Flags, folder: &Path) -> Result<PathBuf, String> {
    if !flags.text("pages").is_empty() {
        return Ok(PathBuf::from(flags.text("pages")));
    }
    let (pages, interval_s) = (flags.number("record")?, flags.number::<u64>("interval-s")?);
    let into = folder.join("pages");
    eprintln!("recording {pages} pages of node_exporter, {} s", pages as u64 * interval_s);
    let binary = Path::new(flags.text("peers")).join("bin/prometheus-node-exporter");
    recorded::record(&binary, &into, pages, Duration::from_secs(interval_s))?;
    Ok(into)
}

/// A whole block that lies behind: it begins and ends at a multiple of its length.
fn plan(flags: &Flags, series: usize, hours: i64) -> Result<Plan, String> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_millis();
    let (interval_ms, length_ms) = (flags.number::<i64>("interval-s")? * 1000, hours * HOUR_MS);
    let end_ms = (now_ms as i64 - 3 * HOUR_MS) / length_ms * length_ms;
    Ok(Plan {
        series,
        rounds: (length_ms / interval_ms) as usize,
        interval_ms,
        samples_per_request: 2000,
        end_ms: end_ms - interval_ms,
        seed: flags.number("seed")?,
    })
}

fn measure(
    entrant: &Entrant,
    prepared: &Prepared,
    source: &dyn Source,
    folder: &Path,
) -> Result<u64, String> {
    let mut launch = entrant.launch(&folder.join("server"));
    if entrant.kind == Kind::Prometheus {
        launch = launch.flag("--web.enable-admin-api").flag("--storage.tsdb.min-block-duration=14d");
        launch = launch.flag("--storage.tsdb.max-block-duration=14d");
    }
    let server = launch.start()?;
    load::send(prepared, server.client.base(), 1)?;
    let data = launch.data();
    match entrant.kind {
        Kind::Hearth => {
            cut(&server, prepared, source)?;
            let settled = || {
                let one = blocks(&data).is_some_and(|blocks| blocks.values().all(|count| *count == 1));
                // The first of several is alone for a while, too.
                Ok(one && in_memory_from(&server)? > prepared.plan.end_ms)
            };
            wait_until("one block a shard", MERGE_DEADLINE, settled)?;
            server.stop()?;
            Ok(length_bytes(&data, &|path| path.extension().is_some_and(|end| end == "block")))
        }
        Kind::Prometheus => {
            let made = server.client.data("/api/v1/admin/tsdb/snapshot", &[])?;
            let name = made["name"].as_str().ok_or("the snapshot has no name")?;
            let bytes = length_bytes(&data.join("snapshots").join(name), &|_| true);
            server.stop().map(|_| bytes)
        }
        _ => {
            server.client.get("/internal/force_flush", &[])?;
            server.client.get("/internal/force_merge", &[])?;
            let merged = || {
                let page = server.client.get("/metrics", &[])?.body;
                let none =
                    |name: &str| page.lines().filter(|l| l.starts_with(name)).all(|l| l.ends_with(" 0"));
                Ok(none("vm_active_force_merges") && none("vm_active_merges{type=\"storage"))
            };
            wait_until("the merge", MERGE_DEADLINE, merged)?;
            server.stop()?;
            Ok(["data", "indexdb", "metadata"]
                .map(|part| length_bytes(&data.join(part), &|_| true))
                .iter()
                .sum())
        }
    }
}

/// One more sample of each series, three hours later.
fn cut(server: &Server, prepared: &Prepared, source: &dyn Source) -> Result<(), String> {
    let time_ms = prepared.plan.end_ms + prepared.plan.interval_ms + 3 * HOUR_MS - 1;
    let mut encoder = Encoder::default();
    for number in 0..source.len() {
        encoder.push(source.labels(number), &[(time_ms, source.value(number))]);
    }
    let answer = server.client.remote_write(encoder.finish()?)?;
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(answer.body) }
}

/// The time of the oldest sample that is in no block.
fn in_memory_from(server: &Server) -> Result<i64, String> {
    const NAME: &str = "prometheus_tsdb_head_min_time ";
    let page = server.client.get("/metrics", &[])?.body;
    let value = page.lines().find_map(|line| line.strip_prefix(NAME)).ok_or("no time of the head")?;
    value.parse::<f64>().map(|time| time as i64).map_err(|error| format!("{NAME}{value}: {error}"))
}

/// How many blocks each shard has; none while one is being written or a shard has none.
fn blocks(data: &Path) -> Option<std::collections::BTreeMap<PathBuf, usize>> {
    let mut found = std::collections::BTreeMap::new();
    for shard in std::fs::read_dir(data).ok()?.flatten().map(|entry| entry.path().join("blocks")) {
        let Ok(entries) = std::fs::read_dir(&shard) else { continue };
        let names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        if names.is_empty() || names.iter().any(|name| name.extension().is_none_or(|end| end != "block")) {
            return None;
        }
        found.insert(shard, names.len());
    }
    (!found.is_empty()).then_some(found)
}

/// Lengths of the files below a folder that are wanted: of small files a medium takes more.
fn length_bytes(path: &Path, wanted: &dyn Fn(&Path) -> bool) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => length_bytes(&entry.path(), wanted),
        Ok(metadata) if wanted(&entry.path()) => metadata.len(),
        _ => 0,
    };
    entries.map(of).sum()
}

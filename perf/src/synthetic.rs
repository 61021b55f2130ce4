//! Many targets in one process: a made-up page for whoever asks, and a note of who asked when. Values change from
//! scrape to scrape as they do in life.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Pages served in turn.
const PAGES: usize = 16;

/// Stack of a thread that serves one connection.
const STACK_BYTES: usize = 128 << 10;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A value to each series, in the text format.
    Plain,
    /// The same with the time of each sample, one for each group of twenty: as who watches containers writes it.
    Timestamps,
    /// OpenMetrics.
    OpenMetrics,
    /// OpenMetrics, one sample in ten with an exemplar, and others from scrape to scrape: as instrumented services do.
    Exemplars,
    /// Protobuf, as who shows native histograms writes it.
    Protobuf,
}

impl std::str::FromStr for Form {
    type Err = String;

    fn from_str(name: &str) -> Result<Form, String> {
        match name {
            "plain" => Ok(Form::Plain),
            "timestamps" => Ok(Form::Timestamps),
            "openmetrics" => Ok(Form::OpenMetrics),
            "exemplars" => Ok(Form::Exemplars),
            "protobuf" => Ok(Form::Protobuf),
            _ => Err(format!("{name:?} is none of plain, timestamps, openmetrics, exemplars, protobuf")),
        }
    }
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Form::Plain | Form::Timestamps => "text/plain; version=0.0.4",
            Form::OpenMetrics | Form::Exemplars => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
            Form::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// What stands behind a value.
    fn behind(self, sample: usize, turn: usize) -> String {
        match self {
            Form::Timestamps => format!(" {}", TIME),
            Form::Exemplars if (sample + turn).is_multiple_of(10) => {
                format!(" # {{trace_id=\"{:032x}\"}} 0.{sample}", sample * 7_919 + turn)
            }
            _ => String::new(),
        }
    }

    fn end(self) -> &'static str {
        match self {
            Form::Plain | Form::Timestamps | Form::Protobuf => "",
            Form::OpenMetrics | Form::Exemplars => "# EOF\n",
        }
    }
}

/// Stands in a page where a time is to be.
const TIME: &str = "TTTTTTTTTTTTT";

/// Puts times into a page: that of the scrape, but for what each group is older.
fn date(page: &mut [u8], now_ms: u64) {
    let mut at = 0;
    let mut times = 0;
    while let Some(found) = memchr::memmem::find(&page[at..], TIME.as_bytes()) {
        at += found;
        let time = (now_ms - times / 20 * 37 % 5_000).to_string();
        page[at..at + TIME.len()].copy_from_slice(time.as_bytes());
        times += 1;
    }
}

/// Series of a metric.
const MEMBERS: usize = 20;

/// The value of a sample, as text, and what its series' label `device` ends in.
fn sample(series: usize, i: usize, turn: usize, others: usize) -> (String, String) {
    let value = match i / MEMBERS % 3 {
        0 => (i * 1_000 + turn * (i % 7)).to_string(),
        1 => format!("{:.3}", 0.37 * (i + turn * 3) as f64),
        _ => i.to_string(),
    };
    let other = (series / 2..series / 2 + others).contains(&i);
    (value, if other { format!("-{turn}") } else { String::new() })
}

/// Counters and gauges with the labels that exporters have; what changes is what changes in life. `others` of the series,
/// in the middle of the page, are others in each turn.
pub fn page(form: Form, series: usize, turn: usize, others: usize) -> Vec<u8> {
    if form == Form::Protobuf {
        return families(series, turn, others);
    }
    let mut out = String::new();
    for i in 0..series {
        let (metric, member) = (i / MEMBERS, i % MEMBERS);
        if member == 0 {
            let suffix = if form.end().is_empty() { "_total" } else { "" };
            out.push_str(&format!("# HELP synthetic_metric_{metric}{suffix} A made-up metric.\n"));
            out.push_str(&format!("# TYPE synthetic_metric_{metric}{suffix} counter\n"));
        }
        let (value, generation) = sample(series, i, turn, others);
        out.push_str(&format!(
            "synthetic_metric_{metric}_total{{cpu=\"{member}\",mode=\"user\",device=\"disk{member}{generation}\"}} {value}{}\n",
            form.behind(i, turn)
        ));
    }
    (out + form.end()).into_bytes()
}

/// The same in protobuf: messages `MetricFamily`, each behind its length.
fn families(series: usize, turn: usize, others: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for first in (0..series).step_by(MEMBERS) {
        let mut family = Vec::new();
        field(&mut family, 1, format!("synthetic_metric_{}_total", first / MEMBERS).as_bytes());
        field(&mut family, 2, b"A made-up metric.");
        // A counter.
        family.extend([3 << 3, 0]);
        for i in first..(first + MEMBERS).min(series) {
            let (value, generation) = sample(series, i, turn, others);
            let member = i % MEMBERS;
            let mut metric = Vec::new();
            for (name, value) in [
                ("cpu", member.to_string()),
                ("mode", "user".into()),
                ("device", format!("disk{member}{generation}")),
            ] {
                let mut pair = Vec::new();
                field(&mut pair, 1, name.as_bytes());
                field(&mut pair, 2, value.as_bytes());
                field(&mut metric, 1, &pair);
            }
            let mut counter = vec![1 << 3 | 1];
            counter.extend(value.parse::<f64>().unwrap_or_default().to_le_bytes());
            field(&mut metric, 3, &counter);
            field(&mut family, 4, &metric);
        }
        length(&mut out, family.len());
        out.extend(family);
    }
    out
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// What all connections share.
struct Shared {
    form: Form,
    pages: Vec<Vec<u8>>,
    given: AtomicUsize,
    /// Milliseconds of each scrape since [`Exporter::begin`], by path.
    times: Mutex<(Instant, HashMap<String, Vec<f64>>)>,
}

/// The targets.
pub struct Exporter {
    shared: Arc<Shared>,
    port: u16,
    samples: usize,
}

/// What came in since the beginning.
pub struct Seen {
    pub scrapes: usize,
    /// Scrapes that a target of the first so many should have had, and had not.
    pub left_out: usize,
    /// The longest time between two scrapes of one of them.
    pub longest_gap_ms: f64,
    /// Against the target's own beat, ascending.
    late_ms: Vec<f64>,
}

impl Seen {
    /// The lateness that `share` of all scrapes do not exceed.
    pub fn late_ms(&self, share: f64) -> f64 {
        let last = self.late_ms.len().saturating_sub(1);
        self.late_ms.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

impl Exporter {
    /// Made pages of so many series, so many of them others in each page.
    pub fn made(form: Form, series: usize, others: usize) -> Result<Exporter, String> {
        Exporter::of(form, (0..PAGES).map(|turn| page(form, series, turn, others)).collect(), series)
    }

    /// A page that is there, in the text format.
    pub fn recorded(page: String) -> Result<Exporter, String> {
        let samples = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        Exporter::of(Form::Plain, vec![page.into_bytes()], samples)
    }

    fn of(form: Form, pages: Vec<Vec<u8>>, samples: usize) -> Result<Exporter, String> {
        // Every address of the loopback network leads here.
        let listener = TcpListener::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let times = Mutex::new((Instant::now(), HashMap::new()));
        let shared = Arc::new(Shared { form, pages, given: AtomicUsize::new(0), times });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                let serve = std::thread::Builder::new().stack_size(STACK_BYTES);
                // A server that ends hangs up; where no thread can be had, the connection is dropped.
                let _served = serve.spawn(move || drop(shared.answer(connection)));
            }
        });
        Ok(Exporter { shared, port, samples })
    }

    /// Samples of a page.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Where a target answers: each on an address of its own.
    pub fn address(&self, target: usize) -> String {
        format!("127.1.{}.{}:{}", target / 250, target % 250 + 1, self.port)
    }

    /// Scrapes count from now on.
    pub fn begin(&self) {
        let mut times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        *times = (Instant::now(), HashMap::new());
    }

    /// Of targets with the paths `/0` to `/targets-1`, scraped every `interval_ms`.
    pub fn seen(&self, interval_ms: f64, targets: usize) -> Seen {
        let times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = times.0.elapsed().as_secs_f64() * 1e3;
        let mut seen = Seen { scrapes: 0, left_out: 0, longest_gap_ms: 0.0, late_ms: Vec::new() };
        let (due, mut known) = ((elapsed_ms / interval_ms) as usize, 0);
        for (path, times) in &times.1 {
            seen.scrapes += times.len();
            if !path.trim_start_matches('/').parse::<usize>().is_ok_and(|number| number < targets) {
                continue;
            }
            known += 1;
            seen.left_out += due.saturating_sub(times.len());
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
            seen.longest_gap_ms = gaps.fold(seen.longest_gap_ms, f64::max);
            // A scrape is never early, so the earliest shows the beat.
            let beat = times.iter().map(|time| time.rem_euclid(interval_ms)).collect::<Vec<_>>();
            let first = beat.first().copied().unwrap_or_default();
            let shift =
                |beat: f64| (beat - first + interval_ms * 1.5).rem_euclid(interval_ms) - interval_ms / 2.0;
            let earliest = beat.iter().map(|beat| shift(*beat)).fold(0.0, f64::min);
            seen.late_ms.extend(beat.iter().map(|beat| shift(*beat) - earliest));
        }
        seen.left_out += targets.saturating_sub(known) * due;
        seen.late_ms.sort_by(f64::total_cmp);
        seen
    }
}

impl Shared {
    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let mut lines = BufReader::new(connection.try_clone()?);
        let (mut line, mut path) = (String::new(), String::new());
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(rest) = line.strip_prefix("GET ") {
                rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
            }
            if line.len() > 2 {
                continue;
            }
            self.note(&path);
            let page = &self.pages[self.given.fetch_add(1, Ordering::Relaxed) % self.pages.len()];
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
                self.form.content_type(),
                page.len()
            );
            let mut answer = [head.as_bytes(), page.as_slice()].concat();
            if self.form == Form::Timestamps {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                date(&mut answer, now.as_millis() as u64);
            }
            connection.write_all(&answer)?;
        }
    }

    fn note(&self, path: &str) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = times.0.elapsed().as_secs_f64() * 1e3;
        match times.1.get_mut(path) {
            Some(list) => list.push(now_ms),
            None => drop(times.1.insert(path.to_owned(), vec![now_ms])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All forms say the same.
    #[test]
    fn pages_have_as_many_samples_as_asked() {
        let lines = |form| {
            let page = String::from_utf8(page(form, 45, 3, 2)).expect("text");
            page.lines().filter(|line| !line.starts_with('#')).count()
        };
        for form in [Form::Plain, Form::Timestamps, Form::OpenMetrics, Form::Exemplars] {
            assert_eq!(lines(form), 45, "{form:?}");
        }
        let mut page = page(Form::Timestamps, 25, 0, 0);
        date(&mut page, 1_700_000_000_000);
        let page = String::from_utf8(page).expect("text");
        assert!(
            page.contains(" 1700000000000\n") && page.contains(" 1699999999963\n") && !page.contains("TTT"),
            "{page}"
        );
    }

    #[test]
    fn lateness_is_against_the_beat_of_each_target() {
        let exporter = Exporter::made(Form::Plain, 25, 1).expect("a port");
        assert_eq!(exporter.samples(), 25);
        let began = Instant::now() - std::time::Duration::from_millis(3_500);
        let lists = [("/0", vec![990.0, 1990.0, 3020.0]), ("/1", vec![5.0, 1000.0]), ("/9", vec![7.0])];
        let times = lists.map(|(path, times)| (path.to_owned(), times)).into_iter().collect();
        *exporter.shared.times.lock().expect("whole") = (began, times);
        let seen = exporter.seen(1_000.0, 3);
        assert_eq!((seen.scrapes, seen.left_out), (6, 1 + 3));
        assert_eq!((seen.late_ms(0.0), seen.late_ms(1.0)), (0.0, 30.0));
        assert_eq!((seen.late_ms.len(), seen.longest_gap_ms), (5, 1_030.0));
    }
}

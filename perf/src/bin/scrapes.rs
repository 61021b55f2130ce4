//! How many samples a second of its CPU a server scrapes: many targets with a page of a thousand series each,
//! kept-alive connections, one server after the other. `scrapes --help` lists the flags.
#![forbid(unsafe_code)]

use hearth_perf::flags::{Flag, Flags};
use hearth_perf::process::{Kind, Launch};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const FLAGS: &[Flag] = &[
    ("hearth", "hearth", "the binary to measure"),
    ("prometheus", "", "another one to measure beside it"),
    ("targets", "50", "targets"),
    ("series", "1000", "series of each target"),
    ("interval-ms", "1000", "between two scrapes of a target"),
    ("warm-s", "10", "seconds before measuring"),
    ("seconds", "30", "seconds to measure"),
    ("page", "", "a recorded page to serve in the place of a made one"),
];

/// Pages served in turn, so that values change from scrape to scrape.
const PAGES: usize = 16;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Counters and gauges with the labels that exporters have; what changes is what changes in life.
fn page(series: usize, turn: usize) -> String {
    let mut out = String::new();
    for i in 0..series {
        let (metric, member) = (i / 20, i % 20);
        if member == 0 {
            out.push_str(&format!("# HELP synthetic_metric_{metric}_total A made-up metric.\n"));
            out.push_str(&format!("# TYPE synthetic_metric_{metric}_total counter\n"));
        }
        let value = match metric % 3 {
            0 => (i * 1_000 + turn * (i % 7)).to_string(),
            1 => format!("{:.3}", 0.37 * (i + turn * 3) as f64),
            _ => i.to_string(),
        };
        out.push_str(&format!(
            "synthetic_metric_{metric}_total{{cpu=\"{member}\",mode=\"user\",device=\"disk{member}\"}} {value}\n"
        ));
    }
    out
}

fn serve(pages: Vec<String>) -> Result<(String, Arc<AtomicUsize>), String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?.to_string();
    let given = Arc::new(AtomicUsize::new(0));
    let (pages, count) = (Arc::new(pages), Arc::clone(&given));
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (pages, count) = (Arc::clone(&pages), Arc::clone(&count));
            // A server that ends hangs up.
            std::thread::spawn(move || drop(answer(connection, &pages, &count)));
        }
    });
    Ok((address, given))
}

fn answer(mut connection: TcpStream, pages: &[String], count: &AtomicUsize) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut lines = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.len() > 2 {
            continue;
        }
        let page = &pages[count.fetch_add(1, Ordering::Relaxed) % pages.len()];
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        connection.write_all(&[head.as_bytes(), page.as_bytes()].concat())?;
    }
}

fn configuration(flags: &Flags, address: &str) -> Result<String, String> {
    let interval = flags.text("interval-ms");
    let mut out = format!(
        "global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms}}\nscrape_configs:\n- job_name: load\n  static_configs:\n"
    );
    for target in 0..flags.number::<usize>("targets")? {
        out.push_str(&format!(
            "  - {{targets: ['{address}'], labels: {{__metrics_path__: /{target}, instance: 'target-{target}'}}}}\n"
        ));
    }
    Ok(out)
}

fn measure(kind: Kind, binary: &str, flags: &Flags, folder: &Path) -> Result<f64, String> {
    let recorded = flags.text("page");
    let series: usize = flags.number("series")?;
    let pages: Vec<String> = match recorded {
        "" => (0..PAGES).map(|turn| page(series, turn)).collect(),
        path => vec![std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?],
    };
    let samples = pages[0].lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let (address, given) = serve(pages)?;
    let launch = Launch::new(kind, PathBuf::from(binary), folder).config(configuration(flags, &address)?);
    let server = launch.start()?;
    std::thread::sleep(Duration::from_secs(flags.number("warm-s")?));
    let (began, cpu_s, scrapes) = (Instant::now(), server.cpu_s()?, given.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_secs(flags.number("seconds")?));
    let (cpu_s, scrapes) = (server.cpu_s()? - cpu_s, given.load(Ordering::Relaxed) - scrapes);
    let rate = (scrapes * samples) as f64 / cpu_s;
    println!(
        "{kind:?}: {scrapes} scrapes of {samples} samples in {:.1} s, {cpu_s:.2} s of CPU, {rate:.0} samples per CPU-second, {} MiB resident",
        began.elapsed().as_secs_f64(),
        server.memory()?.resident_bytes >> 20,
    );
    server.stop().map(|_| rate)
}

fn run() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ours = measure(Kind::Hearth, flags.text("hearth"), &flags, &folder.path().join("hearth"))?;
    if !flags.text("prometheus").is_empty() {
        let other = folder.path().join("prometheus");
        let theirs = measure(Kind::Prometheus, flags.text("prometheus"), &flags, &other)?;
        println!("ratio {:.1}", ours / theirs);
    }
    Ok(())
}

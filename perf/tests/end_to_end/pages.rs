//! A small HTTP server inside a test that serves pages to scrape: recorded ones, the same to everybody who
//! asks for the same turn, and ones that never end.

use hearth_perf::http::Client;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a path serves.
pub enum Page {
    Text(Arc<String>),
    Json(String),
    /// Lines without end, this many bytes a second at most.
    Endless {
        bytes_per_second: usize,
    },
    Missing,
}

/// Serves until the test's process ends; each connection has a thread. Returns the address.
pub fn serve(page_of: impl Fn(&str) -> Page + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    let page_of = Arc::new(page_of);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let page_of = page_of.clone();
            // A scraper may hang up whenever it likes.
            std::thread::spawn(move || drop(answer(connection, &*page_of)));
        }
    });
    address
}

fn answer(mut connection: TcpStream, page_of: &dyn Fn(&str) -> Page) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut lines = BufReader::new(connection.try_clone()?);
    loop {
        let mut request = String::new();
        if lines.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while lines.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        match page_of(path) {
            Page::Text(text) => {
                let head = head(&format!("200 OK\r\nContent-Length: {}", text.len()));
                connection.write_all(&[head.as_bytes(), text.as_bytes()].concat())?;
            }
            Page::Json(text) => {
                let head = json_head(&format!("Content-Length: {}", text.len()));
                connection.write_all(&[head.as_bytes(), text.as_bytes()].concat())?;
            }
            Page::Missing => connection.write_all(head("404 Not Found\r\nContent-Length: 0").as_bytes())?,
            Page::Endless { bytes_per_second } => return pour(connection, bytes_per_second),
        }
    }
}

fn head(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\r\n")
}

fn json_head(more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\r\n\r\n")
}

fn pour(mut connection: TcpStream, bytes_per_second: usize) -> std::io::Result<()> {
    connection.write_all(head("200 OK\r\nConnection: close").as_bytes())?;
    let pause = Duration::from_millis(5);
    let mut number = 0u64;
    loop {
        let mut text = String::new();
        while text.len() < bytes_per_second / 200 {
            number += 1;
            text.push_str(&format!("endless_metric{{number=\"{number}\"}} {number}\n"));
        }
        connection.write_all(text.as_bytes())?;
        std::thread::sleep(pause);
    }
}

/// Pages of a real exporter, recorded turn by turn: whoever comes to turn n first has it fetched, and
/// everybody gets the same page for the same turn, each sample with the turn's own timestamp, so that two
/// scrapers with different clocks store equal samples.
pub struct Recording {
    exporter: Client,
    pub start_ms: i64,
    pub interval_ms: i64,
    turns: Mutex<Turns>,
}

#[derive(Default)]
struct Turns {
    pages: Vec<Arc<String>>,
    /// How many pages each path has been given.
    given: HashMap<String, usize>,
}

impl Recording {
    pub fn new(exporter: Client, start_ms: i64, interval_ms: i64) -> Recording {
        Recording { exporter, start_ms, interval_ms, turns: Mutex::default() }
    }

    /// The next page for this path.
    pub fn next(&self, path: &str) -> Arc<String> {
        let mut turns = self.turns.lock().expect("no scraper panicked");
        let turn = turns.given.get(path).copied().unwrap_or(0);
        if turn == turns.pages.len() {
            let page = self.exporter.get("/metrics", &[]).expect("node_exporter answers");
            let time_ms = self.start_ms + turn as i64 * self.interval_ms;
            turns.pages.push(Arc::new(stamped(&page.body, time_ms)));
        }
        turns.given.insert(path.to_string(), turn + 1);
        turns.pages[turn].clone()
    }

    /// How many pages this path has been given.
    pub fn given(&self, path: &str) -> usize {
        self.turns.lock().expect("no scraper panicked").given.get(path).copied().unwrap_or(0)
    }
}

/// The page with a timestamp on every sample.
fn stamped(page: &str, time_ms: i64) -> String {
    let mut text = String::with_capacity(page.len() * 2);
    for line in page.lines() {
        text.push_str(line);
        if !line.is_empty() && !line.starts_with('#') {
            text.push_str(&format!(" {time_ms}"));
        }
        text.push('\n');
    }
    text
}

#[test]
fn stamps_samples_only() {
    assert_eq!(stamped("# HELP a b\na{x=\"1 2\"} 3\n", 5), "# HELP a b\na{x=\"1 2\"} 3 5\n");
}

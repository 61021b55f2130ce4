//! An exporter that misbehaves by plan: each path has a list of answers, and each scraper gets them one
//! after the other, whatever the time, so that two scrapers can be compared turn by turn.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What one turn brings.
#[derive(Clone)]
pub enum Answer {
    Page {
        /// Empty: no such header.
        content_type: &'static str,
        gzip: bool,
        body: Vec<u8>,
    },
    Status(&'static str),
    /// The connection closes without a word.
    Nothing,
    /// The connection stays open without a word.
    Silence,
    /// These bytes again and again.
    Endless(Vec<u8>),
}

pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

pub fn page(content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Page { content_type, gzip: false, body: body.into() }
}

pub fn text(body: &str) -> Answer {
    page(TEXT, body)
}

/// Bytes that are a gzip stream already.
pub fn gzipped(body: Vec<u8>) -> Answer {
    Answer::Page { content_type: TEXT, gzip: true, body }
}

/// Serves until the test's process ends; `/SCRAPER/NAME` gives `SCRAPER` the next answer of `NAME`, the
/// last one for ever. Returns the address.
pub fn serve(plans: HashMap<String, Vec<Answer>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    let plans = Arc::new(plans);
    let turns: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (plans, turns) = (plans.clone(), turns.clone());
            // A scraper may hang up whenever it likes.
            std::thread::spawn(move || drop(answer(connection, &plans, &turns)));
        }
    });
    address
}

fn answer(
    mut connection: TcpStream,
    plans: &HashMap<String, Vec<Answer>>,
    turns: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?);
    let mut request = String::new();
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some(plan) = plans.get(name) else { return connection.write_all(head("404 Not Found").as_bytes()) };
    let turn = {
        let mut turns = turns.lock().expect("no thread panicked");
        let turn = turns.entry(path).or_default();
        *turn += 1;
        *turn - 1
    };
    match &plan[turn.min(plan.len() - 1)] {
        Answer::Page { content_type, gzip, body } => {
            let mut status = format!("200 OK\r\nContent-Length: {}", body.len());
            if !content_type.is_empty() {
                status.push_str(&format!("\r\nContent-Type: {content_type}"));
            }
            if *gzip {
                status.push_str("\r\nContent-Encoding: gzip");
            }
            connection.write_all(&[head(&status).into_bytes(), body.clone()].concat())
        }
        Answer::Status(status) => connection.write_all(head(status).as_bytes()),
        Answer::Nothing => Ok(()),
        Answer::Silence => {
            connection.set_read_timeout(Some(Duration::from_secs(60)))?;
            // Until the scraper gives up.
            connection.read(&mut [0]).map(drop)
        }
        Answer::Endless(piece) => {
            connection.write_all(head(&format!("200 OK\r\nContent-Type: {TEXT}")).as_bytes())?;
            loop {
                connection.write_all(piece)?;
            }
        }
    }
}

/// No connection is used twice: a scraper may try again where a kept one breaks, and would skip a turn.
fn head(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")
}

/// Protobuf, field by field.
#[derive(Default, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut n: u64) -> Message {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
        self
    }

    fn tag(self, field: u64, wire: u64) -> Message {
        self.varint(field << 3 | wire)
    }

    pub fn int(self, field: u64, n: u64) -> Message {
        self.tag(field, 0).varint(n)
    }

    pub fn signed(self, field: u64, n: i64) -> Message {
        self.int(field, ((n << 1) ^ (n >> 63)) as u64)
    }

    pub fn float(self, field: u64, n: f64) -> Message {
        let mut message = self.tag(field, 1);
        message.0.extend(n.to_le_bytes());
        message
    }

    pub fn bytes(self, field: u64, bytes: &[u8]) -> Message {
        let mut message = self.tag(field, 2).varint(bytes.len() as u64);
        message.0.extend(bytes);
        message
    }

    pub fn text(self, field: u64, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, inner: Message) -> Message {
        self.bytes(field, &inner.0)
    }

    /// The message behind its length.
    pub fn delimited(self) -> Vec<u8> {
        let mut out = Message::default().varint(self.0.len() as u64);
        out.0.extend(self.0);
        out.0
    }
}

//! A small HTTP server inside a test for APIs that are discovered from: whole requests in, answers and
//! streams that go on out. Serves nothing of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// No request here is larger.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What was asked.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    /// A parameter of the query; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        value(&self.query, name)
    }

    /// By the name in lower case.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The value of the first pair with that name; empty where there is none.
pub fn value<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// The pairs of a query or a form.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (plain(name), plain(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn plain(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (out, rest) = match (first, byte) {
            (b'%', Some(byte)) => ([out, vec![byte]].concat(), &more[2..]),
            (b'+', _) => ([out, vec![b' ']].concat(), more),
            _ => ([out, vec![*first]].concat(), more),
        };
    }
    String::from_utf8(out).expect("queries are UTF-8")
}

/// A connection, encrypted or not.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The other side of one request.
pub struct Reply<'a> {
    connection: &'a mut dyn Stream,
}

impl Reply<'_> {
    pub fn whole(&mut self, status: &str, headers: &[(&str, &str)], body: &str) -> Result<(), Error> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.connection.write_all(&[head.as_bytes(), body.as_bytes()].concat())
    }

    pub fn json(&mut self, status: &str, body: &str) -> Result<(), Error> {
        self.whole(status, &[("Content-Type", "application/json")], body)
    }

    /// Begins an answer whose end is not known yet.
    pub fn begin(&mut self) -> Result<(), Error> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.connection.write_all(head.as_bytes())
    }

    pub fn line(&mut self, text: &str) -> Result<(), Error> {
        self.connection.write_all(format!("{:x}\r\n{text}\n\r\n", text.len() + 1).as_bytes())
    }
}

/// Answers a request. One that fails, as one that wants the connection gone does, closes it.
pub trait Handle: Fn(&Request, &mut Reply<'_>) -> Result<(), Error> + Send + Sync + 'static {}

impl<T: Fn(&Request, &mut Reply<'_>) -> Result<(), Error> + Send + Sync + 'static> Handle for T {}

/// Serves until the test's process ends; each connection has a thread. Returns the address.
pub fn serve(handle: impl Handle) -> String {
    accept(move |connection| converse(connection, &handle))
}

/// Gives each connection a thread, until the test's process ends. Returns the address.
pub fn accept(each: impl Fn(TcpStream) -> Result<(), Error> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let each = Arc::clone(&each);
            // Clients hang up whenever they like.
            std::thread::spawn(move || drop(connection.set_nodelay(true).and_then(|()| each(connection))));
        }
    });
    address
}

/// Answers the requests of one connection.
pub fn converse(connection: impl Stream, handle: &impl Handle) -> Result<(), Error> {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader)? {
        handle(&request, &mut Reply { connection: reader.get_mut() })?;
        reader.get_mut().flush()?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> Result<Option<Request>, Error> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    assert!(length <= MAX_BODY_BYTES, "a request of {length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method: method.to_owned(),
        path: plain(path),
        query: pairs(query),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

#[test]
fn pairs_are_decoded() {
    let found = pairs("a=b%2Fc&d=e+f&g&h=%zz");
    let expect = [("a", "b/c"), ("d", "e f"), ("g", ""), ("h", "%zz")];
    assert_eq!(found, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

//! A target's own connection, for plain HTTP: kept from scrape to scrape, read into the buffer that the parser works
//! on, without a task, a pool or a copy between. What needs more (TLS, a proxy, a redirect) goes another way.
//!
//! A kept connection that turns out to be closed is opened anew once; nothing else is tried again.

use super::answer::{Answer, AnswerError, Head};
use crate::config::IDLE_CONNECTION_MS;
use reqwest::Url;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

/// So long an address is tried while there is another one.
const NEXT_ADDRESS_MS: u64 = 300;
/// Bytes that a buffer takes at least before a read.
const READ_BYTES: usize = 16 << 10;

trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

struct Kept {
    socket: Box<dyn Socket>,
    used: Instant,
}

/// See the module's head. Must be asked for one target only.
#[derive(Default)]
pub struct Line {
    kept: Option<Kept>,
}

/// What went wrong on the way.
pub enum LineError {
    Answer(AnswerError),
    Dial(String),
    Broken(String),
}

/// An answer: its head, and where in the buffer its body stands.
pub type Answered = (Head, Range<usize>);

/// How far an exchange came.
enum Failed {
    /// No byte came back: a connection that the other side had closed looks like this.
    Unanswered(String),
    For(LineError),
}

impl Line {
    /// Sends a request and reads the answer into `buffer`, which is emptied before.
    pub async fn ask(
        &mut self,
        url: &Url,
        unix_socket: Option<&str>,
        request: &[u8],
        limit_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Answered, LineError> {
        let idle = Duration::from_millis(IDLE_CONNECTION_MS);
        // Whoever drops this future in the middle leaves no half-used connection behind.
        if let Some(mut kept) = self.kept.take().filter(|kept| kept.used.elapsed() < idle) {
            match exchange(&mut *kept.socket, request, limit_bytes, buffer).await {
                Ok(answered) => return Ok(self.keep(kept.socket, answered)),
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Unanswered(_)) => {}
            }
        }
        let mut socket = dial(url, unix_socket).await.map_err(LineError::Dial)?;
        match exchange(&mut *socket, request, limit_bytes, buffer).await {
            Ok(answered) => Ok(self.keep(socket, answered)),
            Err(Failed::For(error)) => Err(error),
            Err(Failed::Unanswered(text)) => Err(LineError::Broken(text)),
        }
    }

    fn keep(&mut self, socket: Box<dyn Socket>, answered: Answered) -> Answered {
        self.kept = answered.0.keeps.then(|| Kept { socket, used: Instant::now() });
        answered
    }
}

async fn exchange(
    socket: &mut dyn Socket,
    request: &[u8],
    limit_bytes: usize,
    buffer: &mut Vec<u8>,
) -> Result<Answered, Failed> {
    buffer.clear();
    socket.write_all(request).await.map_err(|error| Failed::Unanswered(error.to_string()))?;
    let mut answer = Answer::new(limit_bytes);
    loop {
        let missing = answer.missing(buffer);
        if buffer.capacity() - buffer.len() < missing.min(READ_BYTES) {
            buffer.reserve(missing.max(READ_BYTES));
        }
        let broken = |text: String, buffer: &[u8]| match buffer.is_empty() {
            true => Failed::Unanswered(text),
            false => Failed::For(LineError::Broken(text)),
        };
        match socket.read_buf(buffer).await {
            Ok(0) if answer.closed() => break,
            Ok(0) => return Err(broken("the connection was closed within the answer".into(), buffer)),
            Ok(_) => {}
            Err(error) => return Err(broken(error.to_string(), buffer)),
        }
        if answer.read(buffer).map_err(|error| Failed::For(LineError::Answer(error)))? {
            break;
        }
    }
    answer.take().ok_or_else(|| Failed::Unanswered("no answer".into()))
}

async fn dial(url: &Url, unix_socket: Option<&str>) -> Result<Box<dyn Socket>, String> {
    if let Some(path) = unix_socket {
        let socket = UnixStream::connect(path).await.map_err(|error| format!("dial unix {path}: {error}"))?;
        return Ok(Box::new(socket));
    }
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match bare.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let found = tokio::net::lookup_host((bare, port)).await;
            found.map_err(|error| format!("dial tcp: lookup {host}: {error}"))?.collect()
        }
    };
    let mut failed = format!("dial tcp: lookup {host}: no such host");
    for (index, address) in addresses.iter().enumerate() {
        let says = |error: io::Error| format!("dial tcp {address}: {error}");
        let dialled = match index + 1 < addresses.len() {
            true => {
                match timeout(Duration::from_millis(NEXT_ADDRESS_MS), TcpStream::connect(address)).await {
                    Ok(dialled) => dialled,
                    Err(_) => continue,
                }
            }
            false => TcpStream::connect(address).await,
        };
        match dialled {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(says)?;
                return Ok(Box::new(socket));
            }
            Err(error) => failed = says(error),
        }
    }
    Err(failed)
}

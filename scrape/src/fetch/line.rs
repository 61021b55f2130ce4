//! A target's own connection, for plain HTTP: kept from scrape to scrape, read into the buffer that the parser works
//! on, without a task, a pool or a copy between. What needs more (TLS, a proxy, a redirect) goes another way.
//!
//! A kept connection that turns out to be closed is opened anew once; nothing else is tried again.

use super::answer::{Answer, AnswerError, Head};
use crate::config::IDLE_CONNECTION_MS;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use url::Url;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::{TcpListener, UnixListener};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Answers so many requests on each connection, then hangs up.
    async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin, requests: usize) {
        for _ in 0..requests {
            let mut request = vec![0; REQUEST.len()];
            if socket.read_exact(&mut request).await.is_err() || socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }

    async fn ask(line: &mut Line, url: &str, socket: Option<&str>) -> Result<String, String> {
        let (url, mut buffer) = (Url::parse(url).expect("a URL"), Vec::new());
        match line.ask(&url, socket, REQUEST, 100, &mut buffer).await {
            Ok((head, body)) => {
                let text = String::from_utf8_lossy(&buffer[body]).into_owned();
                Ok(format!("{} {text}", head.status))
            }
            Err(LineError::Answer(error)) => Err(format!("{error:?}")),
            Err(LineError::Dial(text) | LineError::Broken(text)) => Err(text),
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_opened_anew_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}/", listener.local_addr().expect("address"));
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // The first connection is good for two requests, the second one for one, later ones for none.
                let requests = 2usize.saturating_sub(count.fetch_add(1, Ordering::SeqCst));
                tokio::spawn(answer(socket, requests));
            }
        });
        let mut line = Line::default();
        for expect in [1, 1, 2] {
            assert_eq!(ask(&mut line, &url, None).await.as_deref(), Ok("200 up 1\n"));
            assert_eq!(opened.load(Ordering::SeqCst), expect);
        }
        // The kept one is closed, and so is the new one before it answers.
        assert!(ask(&mut line, &url, None).await.is_err());
        assert_eq!(opened.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn sockets_of_both_kinds_are_dialled() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket").display().to_string();
        let listener = UnixListener::bind(&path).expect("bind");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, 1));
            }
        });
        let mut line = Line::default();
        assert_eq!(ask(&mut line, "http://nobody.invalid/", Some(&path)).await.as_deref(), Ok("200 up 1\n"));
        let gone = format!("{path}.gone");
        let error = ask(&mut Line::default(), "http://x/", Some(&gone)).await.expect_err("no socket");
        assert!(error.starts_with(&format!("dial unix {gone}: ")), "{error}");
        let error = ask(&mut Line::default(), "http://[::1]:1/", None).await.expect_err("no server");
        assert!(error.starts_with("dial tcp [::1]:1: "), "{error}");
    }
}

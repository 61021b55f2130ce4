//! An HTTP/1.1 answer, read as its bytes come in: where its head ends and what it says, where its body ends. A
//! chunked body is put together in place, so that no byte is copied to another buffer. Knows nothing of sockets.

use httparse::{EMPTY_HEADER, Response, Status};
use std::ops::Range;

/// Bytes of a head, lines that announce chunks and trailers included.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Headers of an answer.
const MAX_HEADERS: usize = 128;

/// What an answer's head says of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    pub status: u16,
    pub reason: String,
    pub content_type: String,
    pub content_encoding: String,
    pub location: String,
    /// The connection can be used again.
    pub keeps: bool,
}

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    Bytes(usize),
    Chunks,
    UntilClosed,
}

/// Where the reading of chunks has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Chunk {
    /// At the line that says how long the next one is.
    Size,
    /// Within one, so many bytes before its end.
    Data(usize),
    /// Behind the last one.
    Trailer,
}

/// An answer on its way in.
#[derive(Debug)]
pub struct Answer {
    head: Option<(Head, Framing)>,
    body: Range<usize>,
    /// What was looked at already, in a chunked body.
    at: usize,
    chunk: Chunk,
    limit_bytes: usize,
}

/// Why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    TooLarge,
    Malformed(&'static str),
}

fn malformed<T>(what: &'static str) -> Result<T, AnswerError> {
    Err(AnswerError::Malformed(what))
}

impl Answer {
    /// Takes a body of at most that many bytes, as it comes over the wire.
    pub fn new(limit_bytes: usize) -> Answer {
        Answer { head: None, body: 0..0, at: 0, chunk: Chunk::Size, limit_bytes }
    }

    /// How many bytes are to come at least, as far as that is known.
    pub fn missing(&self, bytes: &[u8]) -> usize {
        match self.head {
            Some((_, Framing::Bytes(length))) => (self.body.start + length).saturating_sub(bytes.len()),
            _ => 1,
        }
    }

    /// Looks at what has come in, in all: `bytes` must only have grown, apart from what this changed. True once
    /// the answer is complete.
    pub fn read(&mut self, bytes: &mut Vec<u8>) -> Result<bool, AnswerError> {
        while self.head.is_none() {
            if !self.read_head(bytes)? {
                return Ok(false);
            }
        }
        match self.head {
            Some((_, Framing::Bytes(length))) => {
                self.body.end = bytes.len().min(self.body.start + length);
                if let Some((head, _)) = &mut self.head {
                    // Nobody asked for more than one answer.
                    head.keeps &= bytes.len() <= self.body.start + length;
                }
                Ok(self.body.len() == length)
            }
            Some((_, Framing::Chunks)) => self.read_chunks(bytes),
            _ => {
                self.body.end = bytes.len();
                self.check_size()?;
                Ok(false)
            }
        }
    }

    /// The connection was closed: whether the answer is complete that way.
    pub fn closed(&self) -> bool {
        matches!(self.head, Some((_, Framing::UntilClosed)))
    }

    /// Head and place of the body of a complete answer.
    pub fn take(self) -> Option<(Head, Range<usize>)> {
        self.head.map(|(head, _)| (head, self.body))
    }

    fn check_size(&self) -> Result<(), AnswerError> {
        if self.body.len() > self.limit_bytes { Err(AnswerError::TooLarge) } else { Ok(()) }
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<bool, AnswerError> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = Response::new(&mut headers);
        let rest = &bytes[self.body.start..];
        let length = match response.parse(rest) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if rest.len() > MAX_HEAD_BYTES => return malformed("the head is too long"),
            Ok(Status::Partial) => return Ok(false),
            Err(httparse::Error::TooManyHeaders) => return malformed("too many headers"),
            Err(_) => return malformed("not an HTTP answer"),
        };
        let status = response.code.unwrap_or_default();
        self.body = self.body.start + length..self.body.start + length;
        self.at = self.body.start;
        if self.at > MAX_HEAD_BYTES {
            return malformed("the head is too long");
        }
        if (100..200).contains(&status) {
            return if status == 101 { malformed("the server changes the protocol") } else { Ok(true) };
        }
        let mut head = Head {
            status,
            reason: response.reason.unwrap_or_default().to_owned(),
            keeps: response.version == Some(1),
            ..Head::default()
        };
        let mut framing = framing(&mut head, response.headers)?;
        let long = !matches!(framing, Framing::Bytes(length) if length <= self.limit_bytes);
        if matches!(status, 204 | 304) {
            framing = Framing::Bytes(0);
        } else if status != 200 && long {
            // Nobody reads it: the end of the connection is cheaper.
            (framing, head.keeps) = (Framing::Bytes(0), false);
        }
        head.keeps &= framing != Framing::UntilClosed;
        if matches!(framing, Framing::Bytes(length) if length > self.limit_bytes) {
            return Err(AnswerError::TooLarge);
        }
        self.head = Some((head, framing));
        Ok(true)
    }

    fn read_chunks(&mut self, bytes: &mut Vec<u8>) -> Result<bool, AnswerError> {
        loop {
            if let Chunk::Data(left) = self.chunk {
                let there = left.min(bytes.len() - self.at);
                bytes.copy_within(self.at..self.at + there, self.body.end);
                self.body.end += there;
                self.at += there;
                self.check_size()?;
                if there < left {
                    self.chunk = Chunk::Data(left - there);
                    // What is between was copied to the front: new bytes may come where it ends.
                    bytes.truncate(self.body.end);
                    self.at = self.body.end;
                    return Ok(false);
                }
                let Some(end) = bytes.get(self.at..self.at + 2) else {
                    self.chunk = Chunk::Data(0);
                    return Ok(false);
                };
                if end != b"\r\n" {
                    return malformed("a chunk is longer than it says");
                }
                self.at += 2;
                self.chunk = Chunk::Size;
            }
            let rest = &bytes[self.at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                if rest.len() > MAX_HEAD_BYTES {
                    return malformed("a line between chunks is too long");
                }
                // Lines that were read are not kept: however many there are, they take no memory.
                let left = rest.len();
                bytes.copy_within(self.at.., self.body.end);
                bytes.truncate(self.body.end + left);
                self.at = self.body.end;
                return Ok(false);
            };
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            match self.chunk {
                Chunk::Trailer if line.is_empty() => {
                    if let Some((head, _)) = &mut self.head {
                        head.keeps &= self.at + end + 1 == bytes.len();
                    }
                    return Ok(true);
                }
                Chunk::Trailer => {}
                _ => {
                    self.chunk = match chunk_size(line)? {
                        0 => Chunk::Trailer,
                        size => Chunk::Data(size),
                    }
                }
            }
            self.at += end + 1;
        }
    }
}

/// Hexadecimal digits, and what may follow a semicolon.
fn chunk_size(line: &[u8]) -> Result<usize, AnswerError> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    if text.is_empty() || text.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return malformed("a chunk without its size");
    }
    usize::from_str_radix(text, 16).or(malformed("a chunk without its size"))
}

fn framing(head: &mut Head, headers: &[httparse::Header<'_>]) -> Result<Framing, AnswerError> {
    let (mut length, mut chunked) = (None, false);
    for header in headers {
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        match header.name {
            name if name.eq_ignore_ascii_case("content-length") => {
                let digits = value.bytes().all(|b| b.is_ascii_digit());
                let Some(bytes) = value.parse::<usize>().ok().filter(|_| digits) else {
                    return malformed("a Content-Length that is no number");
                };
                if length.is_some_and(|other| other != bytes) {
                    return malformed("more than one Content-Length");
                }
                length = Some(bytes);
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                if !value.eq_ignore_ascii_case("chunked") {
                    return malformed("a Transfer-Encoding that is not known");
                }
                chunked = true;
            }
            name if name.eq_ignore_ascii_case("connection") => {
                head.keeps &= !value.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"));
            }
            name if name.eq_ignore_ascii_case("content-type") => value.clone_into(&mut head.content_type),
            name if name.eq_ignore_ascii_case("content-encoding") => {
                value.clone_into(&mut head.content_encoding)
            }
            name if name.eq_ignore_ascii_case("location") => value.clone_into(&mut head.location),
            _ => {}
        }
    }
    Ok(match length {
        _ if chunked => Framing::Chunks,
        Some(bytes) => Framing::Bytes(bytes),
        None => Framing::UntilClosed,
    })
}

/// What anything at all is as an answer that comes in pieces of that many bytes: its head and its body, where it is
/// complete. For who attacks the parser.
pub fn read_pieces(data: &[u8], piece_bytes: usize) -> Option<(Head, Vec<u8>)> {
    let mut answer = Answer::new(1 << 20);
    let mut bytes = Vec::new();
    for piece in data.chunks(piece_bytes.max(1)) {
        bytes.extend_from_slice(piece);
        if answer.read(&mut bytes).ok()? {
            break;
        }
    }
    let (head, body) = answer.take()?;
    Some((head, bytes.get(body)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that goes on for ever in lines around its chunks, or behind them, takes no more memory for it.
    #[test]
    fn lines_between_chunks_are_not_kept() {
        for (lines, most) in
            [("1;a=bcdefghijklmnopqrstuvwxyz\r\nx\r\n", 1_000), ("A-Trailer: of no use\r\n", 0)]
        {
            let mut answer = Answer::new(2_000);
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            if most == 0 {
                bytes.extend_from_slice(b"0\r\n");
            }
            for _ in 0..1_000 {
                bytes.extend_from_slice(lines.as_bytes());
                assert_eq!(answer.read(&mut bytes), Ok(false));
                assert!(bytes.len() < 200 + most, "{} bytes are held", bytes.len());
            }
            assert_eq!(answer.body.len(), most);
        }
    }

    /// The answer in pieces of every length; its body, and whether the connection is kept.
    #[track_caller]
    fn check(text: &str, expect: Result<(&str, bool), AnswerError>) {
        for piece in 1..=text.len() {
            let mut answer = Answer::new(100);
            let (mut bytes, mut done) = (Vec::new(), Ok(false));
            for part in text.as_bytes().chunks(piece) {
                bytes.extend_from_slice(part);
                done = answer.read(&mut bytes);
                if done != Ok(false) {
                    break;
                }
            }
            let got = done.map(|done| {
                assert!(done || answer.closed(), "{text} is not complete in pieces of {piece}");
                let (head, body) = answer.take().expect("a head");
                (String::from_utf8(bytes[body].to_vec()).expect("text"), head.keeps)
            });
            assert_eq!(
                got,
                expect.clone().map(|(body, keeps)| (body.to_owned(), keeps)),
                "{text} by {piece}"
            );
        }
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n", Ok(("up 1\n", true)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nup", Ok(("up", false)));
        check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nup", Ok(("up", false)));
        check("HTTP/1.1 200 OK\r\n\r\nup 1", Ok(("up 1", false)));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok(("", true)));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length: 1\r\n\r\nx", Ok(("x", true)));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}3\r\nup \r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), Ok(("up 0123456789", true)));
        check(&format!("{chunked}0\r\nX-Sum: 1\r\n\r\n"), Ok(("", true)));
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        let malformed = |what| Err(AnswerError::Malformed(what));
        check("SSH-2.0-OpenSSH\r\n\r\n", malformed("not an HTTP answer"));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            malformed("more than one Content-Length"),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            malformed("a Content-Length that is no number"),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", Err(AnswerError::TooLarge));
        check(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101)), Err(AnswerError::TooLarge));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}ffffffff0\r\n"), malformed("a chunk without its size"));
        check(&format!("{chunked}-1\r\n"), malformed("a chunk without its size"));
        check(&format!("{chunked}1\r\nxyz"), malformed("a chunk is longer than it says"));
        check(&format!("{chunked}65\r\n{}\r\n", "x".repeat(101)), Err(AnswerError::TooLarge));
    }
}

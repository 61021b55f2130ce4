//! Lets through what people type: `curl 'host/api/v1/query?query=up{job="x"}'` sends quotes and angle
//! brackets as they are. Prometheus takes that, the HTTP library refuses it, so these three characters are
//! percent-encoded in the first line of a connection, before the library sees them. Programs that keep a
//! connection open encode their requests; later lines are left alone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once while the first line is not over.
const SCRATCH_BYTES: usize = 4_096;

pub struct Lenient<S> {
    inner: S,
    in_first_line: bool,
    /// Read and encoded, not handed on yet: at most three times the scratch.
    pending: Vec<u8>,
}

impl<S> Lenient<S> {
    pub fn new(inner: S) -> Lenient<S> {
        Lenient { inner, in_first_line: true, pending: Vec::new() }
    }

    fn encode(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'"' if self.in_first_line => self.pending.extend_from_slice(b"%22"),
                b'<' if self.in_first_line => self.pending.extend_from_slice(b"%3C"),
                b'>' if self.in_first_line => self.pending.extend_from_slice(b"%3E"),
                _ => self.pending.push(byte),
            }
            self.in_first_line &= byte != b'\n';
        }
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = buffer.remaining().min(self.pending.len());
        buffer.put_slice(&self.pending[..count]);
        self.pending.drain(..count);
        if self.pending.is_empty() && !self.in_first_line {
            self.pending = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() && !self.in_first_line {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        if self.pending.is_empty() {
            let mut scratch = [0; SCRATCH_BYTES];
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
            self.encode(read.filled());
        }
        self.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn check(sent: &str, expect: &str) {
        let mut read = String::new();
        let mut stream = Lenient::new(sent.as_bytes());
        stream.read_to_string(&mut read).await.expect("read");
        assert_eq!(read, expect);
    }

    #[tokio::test]
    async fn only_the_first_line_changes() {
        let sent = "GET /q?query=up{a=\"<x>\"} HTTP/1.1\r\nx: \"<y>\"\r\n\r\nGET /\"";
        let expect = "GET /q?query=up{a=%22%3Cx%3E%22} HTTP/1.1\r\nx: \"<y>\"\r\n\r\nGET /\"";
        check(sent, expect).await;
        check("", "").await;
        let long = "\"".repeat(10_000);
        check(&long, &"%22".repeat(10_000)).await;
        check(&format!("\n{long}"), &format!("\n{long}")).await;
    }
}

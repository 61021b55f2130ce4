//! One session with one ZooKeeper server: requests in batches, watches as they come, pings between. A session that
//! breaks is not taken up again: the next one reads everything anew.

use super::jute::{self, Packet};
use crate::config::MAX_ZOOKEEPER_PACKET_BYTES;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Requests under way at a time.
const BATCH_REQUESTS: usize = 256;
/// The event that says that the session itself is over.
const EXPIRED: i32 = -112;

/// See the module's head.
pub struct Session {
    socket: TcpStream,
    /// Received, not looked at yet.
    input: Vec<u8>,
    patience: Duration,
    heard: Instant,
    xid: i32,
    events: VecDeque<Event>,
}

/// A watch went off.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: i32,
    pub path: String,
}

/// What became of a request.
pub type Answer = Result<Vec<u8>, i32>;

impl Session {
    pub async fn open(server: &str, wanted: Duration) -> Result<Session, String> {
        let dialled = timeout(wanted, TcpStream::connect(server)).await;
        let dialled = dialled.map_err(|_| format!("{server}: no connection within {wanted:?}"))?;
        let socket = dialled.map_err(|e| format!("{server}: {e}"))?;
        let heard = Instant::now();
        let (input, events) = (Vec::new(), VecDeque::new());
        let mut session = Session { socket, input, patience: wanted, heard, xid: 0, events };
        let wanted_ms = i32::try_from(wanted.as_millis()).unwrap_or(i32::MAX);
        let failed = |e: String| format!("{server}: {e}");
        session.write(&jute::connect(wanted_ms)).await.map_err(failed)?;
        let answer = session.packet_within().await.map_err(failed)?;
        match jute::session_ms(&answer).map_err(failed)? {
            Some(granted_ms) => session.patience = Duration::from_millis(granted_ms),
            None => return Err(format!("{server}: the session was refused")),
        }
        Ok(session)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = timeout(self.patience, self.socket.write_all(bytes)).await;
        written.map_err(|_| "the server takes nothing".to_owned())?.map_err(|e| e.to_string())
    }

    /// A whole packet of the input, its length taken off.
    fn split_packet(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some(length) = self.input.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_ZOOKEEPER_PACKET_BYTES {
            return Err(format!("a packet of {length} bytes, the limit is {MAX_ZOOKEEPER_PACKET_BYTES}"));
        }
        if self.input.len() < 4 + length {
            return Ok(None);
        }
        let packet = self.input[4..4 + length].to_vec();
        self.input.drain(..4 + length);
        Ok(Some(packet))
    }

    /// Dropping the future loses nothing.
    async fn packet(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(packet) = self.split_packet()? {
                self.heard = Instant::now();
                return Ok(packet);
            }
            match self.socket.read_buf(&mut self.input).await {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn packet_within(&mut self) -> Result<Vec<u8>, String> {
        let patience = self.patience;
        timeout(patience, self.packet()).await.map_err(|_| format!("no answer within {patience:?}"))?
    }

    /// Takes events and pongs; gives answers.
    fn sort(&mut self, bytes: &[u8]) -> Result<Option<(i32, Answer)>, String> {
        match jute::packet(bytes)? {
            Packet::Pong => Ok(None),
            Packet::Event { state: EXPIRED, .. } => Err("the session expired".into()),
            Packet::Event { kind, path, .. } => {
                self.events.push_back(Event { kind, path: path.to_owned() });
                Ok(None)
            }
            Packet::Answer { xid, error: jute::OK, body } => Ok(Some((xid, Ok(body.to_vec())))),
            Packet::Answer { xid, error, .. } => Ok(Some((xid, Err(error)))),
        }
    }

    /// Asks all of these about their nodes and watches them; answers in the requests' order.
    pub async fn ask(&mut self, requests: &[(i32, &str)]) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH_REQUESTS) {
            let mut bytes = Vec::new();
            let first = self.xid;
            for (kind, path) in batch {
                bytes.extend(jute::watching(self.xid, *kind, path));
                self.xid = self.xid.checked_add(1).unwrap_or(0);
            }
            self.write(&bytes).await?;
            let mut expected = first;
            for _ in batch {
                let answer = loop {
                    let packet = self.packet_within().await?;
                    if let Some((xid, answer)) = self.sort(&packet)? {
                        if xid != expected {
                            return Err(format!("answer {xid} came in the place of {expected}"));
                        }
                        break answer;
                    }
                };
                expected = expected.checked_add(1).unwrap_or(0);
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    /// Waits for watches to go off and gives all that did; pings meanwhile.
    pub async fn events(&mut self) -> Result<Vec<Event>, String> {
        while self.events.is_empty() {
            let due = Instant::now() + self.patience / 3;
            tokio::select! {
                packet = self.packet() => {
                    let packet = packet?;
                    if let Some((xid, _)) = self.sort(&packet)? {
                        return Err(format!("answer {xid} came to no request"));
                    }
                }
                () = sleep_until(due) => {
                    if self.heard.elapsed() > self.patience {
                        return Err(format!("no sign of life within {:?}", self.patience));
                    }
                    self.write(&jute::ping()).await?;
                }
            }
        }
        // What is there already comes along: a restart of many members is one change.
        while let Some(packet) = self.split_packet()? {
            self.sort(&packet)?;
        }
        Ok(self.events.drain(..).collect())
    }
}

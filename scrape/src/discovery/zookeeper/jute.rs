//! ZooKeeper's packets: requests out, answers and events in. Every length is checked against what is there; nothing is
//! allocated by what a length claims.

/// Kinds of requests.
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const GET_CHILDREN: i32 = 8;
pub const PING: i32 = 11;

/// Numbers of packets that answer no numbered request.
pub const EVENT_XID: i32 = -1;
pub const PING_XID: i32 = -2;

/// Error codes of answers.
pub const OK: i32 = 0;
pub const NO_NODE: i32 = -101;
/// Whoever asks may not read the node.
pub const NO_AUTH: i32 = -102;

/// A packet being read.
pub struct Reader<'a>(&'a [u8]);

fn short() -> String {
    "a packet of ZooKeeper's ends too early".into()
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn int(&mut self) -> Result<i32, String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*bytes))
    }

    pub fn long(&mut self) -> Result<i64, String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(i64::from_be_bytes(*bytes))
    }

    /// Absent where its length is -1.
    pub fn buffer(&mut self) -> Result<&'a [u8], String> {
        let length = self.int()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    pub fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.buffer()?).map_err(|_| "a text of ZooKeeper's is not UTF-8".into())
    }

    pub fn texts(&mut self) -> Result<Vec<&'a str>, String> {
        let count = self.int()?;
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.text()?);
        }
        Ok(texts)
    }
}

/// What comes from the server once the session is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Packet<'a> {
    /// A watch: something happened to this node.
    Event {
        kind: i32,
        state: i32,
        path: &'a str,
    },
    Pong,
    Answer {
        xid: i32,
        error: i32,
        body: &'a [u8],
    },
}

/// Reads one packet without its length.
pub fn packet(bytes: &[u8]) -> Result<Packet<'_>, String> {
    let mut reader = Reader::new(bytes);
    let (xid, _zxid, error) = (reader.int()?, reader.long()?, reader.int()?);
    match xid {
        EVENT_XID => {
            let (kind, state) = (reader.int()?, reader.int()?);
            Ok(Packet::Event { kind, state, path: reader.text()? })
        }
        PING_XID => Ok(Packet::Pong),
        xid => Ok(Packet::Answer { xid, error, body: reader.0 }),
    }
}

/// The session's length in milliseconds, of the answer to [`connect`]; none where the server refused it.
pub fn session_ms(bytes: &[u8]) -> Result<Option<u64>, String> {
    let mut reader = Reader::new(bytes);
    let (_version, timeout_ms) = (reader.int()?, reader.int()?);
    Ok(u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0))
}

/// With its length in front.
fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// The first packet of a session that is new.
pub fn connect(timeout_ms: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&0i64.to_be_bytes());
    body.extend_from_slice(&timeout_ms.to_be_bytes());
    body.extend_from_slice(&0i64.to_be_bytes());
    body.extend_from_slice(&16i32.to_be_bytes());
    body.extend_from_slice(&[0; 16]);
    framed(&body)
}

pub fn ping() -> Vec<u8> {
    framed(&[PING_XID.to_be_bytes(), PING.to_be_bytes()].concat())
}

/// A request about a node, which is watched from then on.
pub fn watching(xid: i32, kind: i32, path: &str) -> Vec<u8> {
    let mut body = [xid.to_be_bytes(), kind.to_be_bytes(), (path.len() as i32).to_be_bytes()].concat();
    body.extend_from_slice(path.as_bytes());
    body.push(1);
    framed(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_back_and_short_ones_are_refused() {
        let event =
            [&(-1i32).to_be_bytes()[..], &[0; 8], &[0; 4], &[0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2], b"/a"];
        let event = event.concat();
        assert_eq!(packet(&event), Ok(Packet::Event { kind: 4, state: 3, path: "/a" }));
        for length in 0..event.len() {
            assert!(packet(&event[..length]).is_err(), "{length}");
        }
        let mut list = Reader::new(b"\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff");
        assert_eq!(list.texts(), Ok(vec!["a", ""]));
        assert!(Reader::new(b"\x7f\xff\xff\xff\0\0\0\0").texts().is_err());
        assert_eq!(session_ms(&[0, 0, 0, 0, 0, 0, 0x27, 0x10]), Ok(Some(10_000)));
        assert_eq!(session_ms(&[0; 8]), Ok(None));
        assert_eq!(watching(7, GET_DATA, "/a"), b"\0\0\0\x0f\0\0\0\x07\0\0\0\x04\0\0\0\x02/a\x01");
    }
}

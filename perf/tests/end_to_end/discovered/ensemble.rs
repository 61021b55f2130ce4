//! A server of ZooKeeper inside a test, as far as its readers go: sessions, reads, watches that go off once, pings, and
//! outages, after which every session has expired. The test writes.

use super::api::accept;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// No reader's packet is larger.
const MAX_PACKET_BYTES: usize = 1 << 20;

const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const PING: i32 = 11;
const GET_CHILDREN_2: i32 = 12;
const SET_WATCHES: i32 = 101;
const CLOSE: i32 = -11;

const NO_NODE: i32 = -101;

/// What a watch tells.
const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

#[derive(Clone, Default)]
pub struct Ensemble {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: i64,
    nodes: BTreeMap<String, Vec<u8>>,
    sessions: BTreeMap<i64, Session>,
    last_session: i64,
    down: bool,
}

struct Session {
    connection: TcpStream,
    /// Who wants to hear of a node and its data.
    data: BTreeSet<String>,
    /// Who wants to hear of a node's children.
    children: BTreeSet<String>,
}

/// What is sent, piece by piece.
#[derive(Default)]
struct Packet(Vec<u8>);

impl Packet {
    fn answer(xid: i32, version: i64, error: i32) -> Packet {
        Packet::default().int(xid).long(version).int(error)
    }

    fn int(mut self, value: i32) -> Packet {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn long(mut self, value: i64) -> Packet {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn buffer(self, bytes: &[u8]) -> Packet {
        let mut packet = self.int(bytes.len() as i32);
        packet.0.extend(bytes);
        packet
    }

    /// What is told of every node; nobody here looks at more than that it is there.
    fn stat(mut self) -> Packet {
        self.0.extend([0; 68]);
        self
    }

    fn send(self, to: &mut impl Write) -> Result<(), Error> {
        to.write_all(&Packet::default().buffer(&self.0).0)
    }
}

/// What is read, piece by piece.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn int(&mut self) -> i32 {
        let (number, rest) = self.0.split_first_chunk().expect("a whole packet");
        self.0 = rest;
        i32::from_be_bytes(*number)
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.int()).expect("a length");
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).expect("a path")
    }

    fn flag(&mut self) -> bool {
        self.0 == [1]
    }
}

fn receive(from: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    assert!(length <= MAX_PACKET_BYTES, "a packet of {length} bytes");
    let mut packet = vec![0; length];
    from.read_exact(&mut packet)?;
    Ok(packet)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl State {
    /// A watch goes off, for each session once.
    fn tell(&mut self, kind: i32, path: &str) {
        for session in self.sessions.values_mut() {
            let of_data = kind != CHILDREN_CHANGED && session.data.remove(path);
            let of_children = [DELETED, CHILDREN_CHANGED].contains(&kind) && session.children.remove(path);
            if of_data || of_children {
                let event = Packet::answer(-1, -1, 0).int(kind).int(3).buffer(path.as_bytes());
                // Whoever has hung up is told nothing.
                let _gone = event.send(&mut session.connection);
            }
        }
    }

    fn read(&mut self, id: i64, xid: i32, kind: i32, path: &str, watches: bool) -> Packet {
        let session = self.sessions.get_mut(&id).expect("a session");
        let data = self.nodes.get(path);
        if watches && (data.is_some() || kind == EXISTS) {
            let watched =
                if [EXISTS, GET_DATA].contains(&kind) { &mut session.data } else { &mut session.children };
            watched.insert(path.to_owned());
        }
        let Some(data) = data else { return Packet::answer(xid, self.version, NO_NODE) };
        let packet = Packet::answer(xid, self.version, 0);
        match kind {
            EXISTS => packet.stat(),
            GET_DATA => packet.buffer(data).stat(),
            _ => {
                let names: Vec<&str> = self
                    .nodes
                    .keys()
                    .filter(|node| parent(node) == path)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .filter_map(|node| node.rsplit('/').next())
                    .collect();
                let packet = names
                    .iter()
                    .fold(packet.int(names.len() as i32), |packet, name| packet.buffer(name.as_bytes()));
                if kind == GET_CHILDREN_2 { packet.stat() } else { packet }
            }
        }
    }
}

impl Ensemble {
    /// Serves until the test's process ends. Returns the address.
    pub fn serve(&self) -> String {
        let shared = self.clone();
        accept(move |connection| shared.converse(connection))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no session panicked")
    }

    fn converse(&self, mut connection: TcpStream) -> Result<(), Error> {
        let greeting = receive(&mut connection)?;
        // Version 4 bytes, last version seen 8, timeout 4, session 8.
        let timeout_ms = Parts(&greeting[12..]).int();
        let known = greeting[16..24] != [0; 8];
        let id = {
            let mut state = self.lock();
            if state.down {
                return Err(Error::from(ErrorKind::ConnectionReset));
            }
            if known {
                return Packet::default().int(0).int(0).long(0).buffer(&[0; 16]).send(&mut connection);
            }
            state.last_session += 1;
            let id = state.last_session;
            let session = Session {
                connection: connection.try_clone()?,
                data: BTreeSet::new(),
                children: BTreeSet::new(),
            };
            state.sessions.insert(id, session);
            Packet::default().int(0).int(timeout_ms).long(id).buffer(&[0; 16]).send(&mut connection)?;
            id
        };
        let ended = self.session(id, &mut connection);
        self.lock().sessions.remove(&id);
        ended
    }

    fn session(&self, id: i64, connection: &mut TcpStream) -> Result<(), Error> {
        loop {
            let packet = receive(connection)?;
            let mut parts = Parts(&packet);
            let (xid, kind) = (parts.int(), parts.int());
            let mut state = self.lock();
            let answer = match kind {
                PING | SET_WATCHES => Packet::answer(xid, state.version, 0),
                CLOSE => return Packet::answer(xid, state.version, 0).send(connection),
                EXISTS | GET_DATA | GET_CHILDREN | GET_CHILDREN_2 => {
                    let path = parts.text();
                    state.read(id, xid, kind, &path, parts.flag())
                }
                other => panic!("a reader asks for {other}"),
            };
            // Under the lock, so that no watch overtakes what it is about.
            answer.send(connection)?;
        }
    }

    /// Creates a node, or changes one.
    pub fn set(&self, path: &str, data: impl Into<Vec<u8>>) {
        let mut state = self.lock();
        state.version += 1;
        match state.nodes.insert(path.to_owned(), data.into()) {
            Some(_) => state.tell(DATA_CHANGED, path),
            None => {
                state.tell(CREATED, path);
                state.tell(CHILDREN_CHANGED, parent(path));
            }
        }
    }

    pub fn remove(&self, path: &str) {
        let mut state = self.lock();
        state.version += 1;
        assert!(state.nodes.remove(path).is_some(), "there is no {path}");
        state.tell(DELETED, path);
        state.tell(CHILDREN_CHANGED, parent(path));
    }

    /// Nobody is answered while `change` runs, and no session outlives it.
    pub fn outage(&self, change: impl FnOnce(&Ensemble)) {
        let mut state = self.lock();
        state.down = true;
        for (_, session) in std::mem::take(&mut state.sessions) {
            // Whoever has hung up already is gone, too.
            let _gone = session.connection.shutdown(Shutdown::Both);
        }
        drop(state);
        change(self);
        self.lock().down = false;
    }
}

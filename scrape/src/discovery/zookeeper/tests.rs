//! The mechanism against a small server that speaks the protocol.

use super::jute::{EXISTS, GET_CHILDREN, GET_DATA, NO_NODE, PING, PING_XID, Reader};
use crate::discovery::Wanted;
use crate::testing::{discovery, lines, section};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

const MEMBER: &str = r#"{"serviceEndpoint": {"host": "h", "port": 80}, "additionalEndpoints": {"ad-min": {"host": "h", "port": 81}}, "status": "ALIVE", "shard": 3}"#;

/// Nodes with their data, and a watch going off for whoever watches.
#[derive(Clone)]
struct World {
    nodes: Arc<Mutex<BTreeMap<String, String>>>,
    events: broadcast::Sender<(i32, String)>,
}

fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent.to_owned(),
        _ => "/".into(),
    }
}

impl World {
    fn put(&self, path: &str, data: &str) {
        let new = self.nodes.lock().expect("lock").insert(path.into(), data.into()).is_none();
        let _nobody = self.events.send((if new { 1 } else { 3 }, path.into()));
        if new {
            let _nobody = self.events.send((4, parent(path)));
        }
    }

    fn delete(&self, path: &str) {
        self.nodes.lock().expect("lock").remove(path);
        let _nobody = self.events.send((2, path.into()));
        let _nobody = self.events.send((4, parent(path)));
    }

    /// An error code and a body.
    fn answer(&self, kind: i32, path: &str) -> (i32, Vec<u8>) {
        let nodes = self.nodes.lock().expect("lock");
        let sized = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat();
        match (kind, nodes.get(path)) {
            (_, None) => (NO_NODE, Vec::new()),
            (GET_DATA, Some(data)) => (0, [sized(data.as_bytes()), vec![0; 68]].concat()),
            (GET_CHILDREN, _) => {
                let names: Vec<&str> = nodes
                    .keys()
                    .filter(|other| *other != path && parent(other) == path)
                    .filter_map(|other| other.rsplit('/').next())
                    .collect();
                let mut body = (names.len() as i32).to_be_bytes().to_vec();
                names.iter().for_each(|name| body.extend(sized(name.as_bytes())));
                (0, body)
            }
            _ => (0, vec![0; 68]),
        }
    }

    async fn serve(self, mut socket: TcpStream) -> std::io::Result<()> {
        let mut events = self.events.subscribe();
        let mut watched = HashSet::new();
        let framed = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
        let (mut read, mut write) = socket.split();
        let mut first = true;
        loop {
            let mut length = [0; 4];
            tokio::select! {
                event = events.recv() => {
                    let Ok((kind, path)) = event else { return Ok(()) };
                    if !watched.remove(&(kind == 4, path.clone())) {
                        continue;
                    }
                    let mut body = (-1i32).to_be_bytes().to_vec();
                    body.extend([0; 12]);
                    body.extend(kind.to_be_bytes());
                    body.extend(3i32.to_be_bytes());
                    body.extend((path.len() as i32).to_be_bytes());
                    body.extend(path.as_bytes());
                    write.write_all(&framed(&body)).await?;
                    continue;
                }
                // Requests come whole, so nothing is lost where the other arm wins.
                ready = read.readable() => ready?,
            }
            read.read_exact(&mut length).await?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            read.read_exact(&mut body).await?;
            if std::mem::take(&mut first) {
                let mut answer = vec![0; 4];
                answer.extend(600i32.to_be_bytes());
                answer.extend([0; 28]);
                write.write_all(&framed(&answer)).await?;
                continue;
            }
            let mut request = Reader::new(&body);
            let (xid, kind) = (request.int().expect("xid"), request.int().expect("kind"));
            let (error, answer) = match kind {
                PING => (0, Vec::new()),
                _ => {
                    let path = request.text().expect("path").to_owned();
                    watched.insert((kind == GET_CHILDREN, path.clone()));
                    assert!([EXISTS, GET_DATA, GET_CHILDREN].contains(&kind));
                    self.answer(kind, &path)
                }
            };
            assert!(xid >= 0 || (xid, kind) == (PING_XID, PING));
            let mut body = xid.to_be_bytes().to_vec();
            body.extend([0; 8]);
            body.extend(error.to_be_bytes());
            body.extend(answer);
            write.write_all(&framed(&body)).await?;
        }
    }
}

#[tokio::test]
async fn members_are_followed() {
    let world = World { nodes: Arc::default(), events: broadcast::channel(100).0 };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let serving = world.clone();
    let kill = Arc::new(tokio::sync::Notify::new());
    let killed = Arc::clone(&kill);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::select! {
                ended = serving.clone().serve(socket) => drop(ended),
                () = killed.notified() => {}
            }
        }
    });
    world.put("/s", "");
    world.put("/s/a", "");
    world.put("/s/a/1", MEMBER);
    world.put("/s/a/broken", "{");
    let yaml = format!("{{servers: ['{address}'], paths: [/s/, /later]}}");
    let found = discovery(None).listen("j", [Wanted::Sd(section("serverset", &yaml))]);
    let wait = async |expect: &[&str]| {
        for _ in 0..50 {
            tokio::time::timeout(std::time::Duration::from_secs(30), found.changed()).await.expect("news");
            let groups = found.watchers[0].groups().expect("groups");
            let now = lines(&groups);
            if now.iter().map(|line| line.split('"').nth(1).unwrap_or_default()).eq(expect.iter().copied()) {
                return now;
            }
        }
        panic!("never {expect:?}");
    };
    assert_eq!(
        wait(&["h:80"]).await,
        [
            r#"{__address__="h:80", __meta_serverset_endpoint_host="h", __meta_serverset_endpoint_host_ad_min="h", __meta_serverset_endpoint_port="80", __meta_serverset_endpoint_port_ad_min="81", __meta_serverset_path="/s/a/1", __meta_serverset_shard="3", __meta_serverset_status="ALIVE"}"#
        ]
    );
    // Another below a node that was there; one below a path that was not.
    world.put("/s/a/2", &MEMBER.replace("80", "82"));
    wait(&["h:80", "h:82"]).await;
    world.put("/later", &MEMBER.replace("80", "83"));
    wait(&["h:83", "h:80", "h:82"]).await;
    world.put("/s/a/1", &MEMBER.replace("80", "84"));
    wait(&["h:83", "h:84", "h:82"]).await;
    world.delete("/s/a/1");
    wait(&["h:83", "h:82"]).await;
    world.put("/s/a/1", MEMBER);
    wait(&["h:83", "h:80", "h:82"]).await;
    // The session breaks; nothing vanishes, and the next one sees what happened meanwhile.
    kill.notify_one();
    world.put("/s/a/3", &MEMBER.replace("80", "85"));
    wait(&["h:83", "h:80", "h:82", "h:85"]).await;
}

#[test]
fn nerve_members_become_targets() {
    let labels = super::nerve(br#"{"host": "10.0.0.1", "port": 9, "name": "i-1", "weight": 5}"#, "/n/1")
        .expect("a member");
    assert_eq!(
        labels.to_string(),
        r#"{__address__="10.0.0.1:9", __meta_nerve_endpoint_host="10.0.0.1", __meta_nerve_endpoint_name="i-1", __meta_nerve_endpoint_port="9", __meta_nerve_path="/n/1"}"#
    );
    assert_eq!(super::nerve(b"", "/n"), None);
}

//! The log with plain writes: each log has a helper thread, so that a slow disk does not stop the shard.

use super::{Disk, Log, create_file};
use futures_channel::oneshot;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// Files through the plain system calls.
#[derive(Debug, Clone, Copy)]
pub struct BlockingDisk;

struct Order {
    bytes: Vec<u8>,
    sync: bool,
    reply: oneshot::Sender<(io::Result<()>, Vec<u8>)>,
}

/// See the module's head. The helper thread ends with the log.
pub struct BlockingLog {
    orders: flume::Sender<Order>,
}

impl Disk for BlockingDisk {
    type Log = BlockingLog;

    fn create_log(&self, path: &Path) -> io::Result<BlockingLog> {
        let file = create_file(path)?;
        let (orders, inbox) = flume::bounded(1);
        std::thread::Builder::new().name("hearth-log".into()).spawn(move || serve(file, &inbox))?;
        Ok(BlockingLog { orders })
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

fn serve(mut file: File, inbox: &flume::Receiver<Order>) {
    for Order { bytes, sync, reply } in inbox.iter() {
        let mut result = file.write_all(&bytes);
        if result.is_ok() && sync {
            result = file.sync_data();
        }
        // The one who asked may be gone; the bytes are written all the same.
        let _ = reply.send((result, bytes));
    }
}

fn gone() -> io::Error {
    io::Error::other("the log's helper thread is gone")
}

impl Log for BlockingLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let (reply, answer) = oneshot::channel();
        if self.orders.send(Order { bytes, sync, reply }).is_err() {
            return (Err(gone()), Vec::new());
        }
        answer.await.unwrap_or_else(|_| (Err(gone()), Vec::new()))
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.append(Vec::new(), true).await.0
    }
}

//! A log's writes: on the shard's own thread for as long as the medium answers at once, on a helper thread
//! beyond.
//!
//! Handing a commit to another thread and waking up for its result costs more than the commit itself where
//! the medium is quick: a write goes into the page cache, and a small sync takes a tenth of a
//! millisecond. So the shard does both itself, and measures. Once one took longer than
//! [`config::LOG_PATIENCE`] the next [`config::LOG_WARY_COMMITS`] go to the helper thread, which waits for the
//! medium so that the shard does not; and a sync of much data always does.

use super::Log;
use crate::config;
use futures_channel::oneshot;
use hearth_kernels::arch::Turns;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

/// How the helper thread writes: all of `bytes` at offset `at`, and with `sync` brings the file to stable
/// storage.
pub trait Writer: 'static {
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()>;
}

/// Makes a helper's writer, on the helper's thread.
pub type MakeWriter = fn(Arc<File>) -> io::Result<Box<dyn Writer>>;

struct Order {
    at: u64,
    bytes: Vec<u8>,
    sync: bool,
    reply: oneshot::Sender<(io::Result<()>, Vec<u8>)>,
}

/// A log file. Its helper thread is started when it is first needed, and ends with the log.
pub struct WriterLog {
    file: Arc<File>,
    length: u64,
    /// Bytes that no sync was asked for yet.
    unsynced_bytes: u64,
    /// Commits that the helper is to do before the shard tries again.
    wary: u32,
    make: MakeWriter,
    helper: Option<flume::Sender<Order>>,
}

impl WriterLog {
    pub fn new(file: File, make: MakeWriter) -> WriterLog {
        WriterLog { file: Arc::new(file), length: 0, unsynced_bytes: 0, wary: 0, make, helper: None }
    }

    /// Writes here and now.
    fn at_once(&self, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    async fn by_helper(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let helper = match &self.helper {
            Some(helper) => helper.clone(),
            None => match start(self.file.clone(), self.make) {
                Ok(helper) => self.helper.insert(helper).clone(),
                Err(error) => return (Err(error), bytes),
            },
        };
        let (reply, answer) = oneshot::channel();
        let order = Order { at: self.length, bytes, sync, reply };
        if helper.send_async(order).await.is_err() {
            return (Err(gone()), Vec::new());
        }
        answer.await.unwrap_or_else(|_| (Err(gone()), Vec::new()))
    }
}

fn start(file: Arc<File>, make: MakeWriter) -> io::Result<flume::Sender<Order>> {
    let (orders, inbox) = flume::bounded::<Order>(1);
    let work = move || {
        // Before the writer is made: the kernel's own threads that work for a ring inherit these turns. Where they are
        // refused it only runs later, which was told when the cores asked for theirs.
        let _ = Turns::Short.ask();
        let mut writer = make(file);
        for Order { at, bytes, sync, reply } in inbox.iter() {
            let result = match &mut writer {
                Ok(writer) => writer.write(at, &bytes, sync),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // The one who asked may be gone; the bytes are written all the same.
            let _ = reply.send((result, bytes));
        }
    };
    std::thread::Builder::new().name("hearth-log".into()).spawn(work)?;
    Ok(orders)
}

fn gone() -> io::Error {
    io::Error::other("the log's helper thread is gone")
}

impl Log for WriterLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let length = bytes.len() as u64;
        let pending_bytes = self.unsynced_bytes + length;
        let small = !sync || pending_bytes <= config::LOG_QUICK_SYNC_BYTES;
        let started = Instant::now();
        let (result, bytes) = if small && self.wary == 0 {
            (self.at_once(&bytes, sync), bytes)
        } else {
            self.by_helper(bytes, sync).await
        };
        if small {
            let slow = started.elapsed() > config::LOG_PATIENCE;
            self.wary = if slow { config::LOG_WARY_COMMITS } else { self.wary.saturating_sub(1) };
        }
        self.length += length;
        self.unsynced_bytes = if sync { 0 } else { pending_bytes };
        (result, bytes)
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.append(Vec::new(), true).await.0
    }
}

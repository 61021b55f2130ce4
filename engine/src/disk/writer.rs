//! A log's helper thread: it waits for the medium so that the shard does not. The shard hands it a
//! buffer and goes on; a one-shot message brings the buffer and the result back.

use super::Log;
use futures_channel::oneshot;
use std::io;

/// How the thread writes: appends all of `bytes`, and with `sync` brings the file to stable storage.
pub trait Writer: Send + 'static {
    fn write(&mut self, bytes: &[u8], sync: bool) -> io::Result<()>;
}

struct Order {
    bytes: Vec<u8>,
    sync: bool,
    reply: oneshot::Sender<(io::Result<()>, Vec<u8>)>,
}

/// A log behind a helper thread. The thread ends with the log.
pub struct WriterLog {
    orders: flume::Sender<Order>,
}

impl WriterLog {
    pub fn start(writer: impl Writer) -> io::Result<WriterLog> {
        let (orders, inbox) = flume::bounded(1);
        std::thread::Builder::new().name("hearth-log".into()).spawn(move || serve(writer, &inbox))?;
        Ok(WriterLog { orders })
    }
}

fn serve(mut writer: impl Writer, inbox: &flume::Receiver<Order>) {
    for Order { bytes, sync, reply } in inbox.iter() {
        let result = writer.write(&bytes, sync);
        // The one who asked may be gone; the bytes are written all the same.
        let _ = reply.send((result, bytes));
    }
}

fn gone() -> io::Error {
    io::Error::other("the log's helper thread is gone")
}

impl Log for WriterLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        let (reply, answer) = oneshot::channel();
        if self.orders.send_async(Order { bytes, sync, reply }).await.is_err() {
            return (Err(gone()), Vec::new());
        }
        answer.await.unwrap_or_else(|_| (Err(gone()), Vec::new()))
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.append(Vec::new(), true).await.0
    }
}

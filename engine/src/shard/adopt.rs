//! What was made elsewhere, for this shard: a block gets its name and is shown to readers; exemplars and metadata are
//! taken as a start takes them, and logged.

use super::ShardState;
use super::append::bounded;
use super::request::{AdoptRequest, RestoreRequest};
use crate::disk::blocking::BlockingDisk;
use hearth_model::{Ack, StoreError, key};

impl ShardState {
    pub(super) fn adopt_block(&self, request: AdoptRequest) {
        let AdoptRequest { number, unfinished, reply } = request;
        let adopted = self.blocks.adopt(&BlockingDisk, &unfinished, number, self.owner);
        let result = adopted.map(|block| {
            let oldest_ms = block.range().min_ms;
            self.blocks.publish(block);
            // Whoever keeps results must look again.
            self.store.watermarks.changed(self.number, oldest_ms);
        });
        // Who asked may be gone; the block is here all the same.
        let _ = reply.send(result.map_err(|error| StoreError::Io(error.to_string())));
    }

    pub(super) fn restore(&self, request: RestoreRequest) {
        let RestoreRequest { beside, reply } = request;
        if let Some(error) = self.refuses_writes() {
            // Who asked may be gone.
            let _ = reply.send(Err(error));
            return;
        }
        self.queue.with_open(|commit| {
            let (mut exemplars, mut metadata) = (self.exemplars.borrow_mut(), self.metadata.borrow_mut());
            for (raw, exemplar) in &beside.exemplars {
                if let Ok(decoded) = key::decode_key(raw) {
                    exemplars.restore(self.store.router.hash(raw), || decoded.labels(), exemplar);
                    commit.push_exemplar(raw, exemplar);
                }
            }
            for said in beside.metadata.iter().map(bounded) {
                if metadata.say(&said) {
                    commit.push_metadata(&said);
                }
            }
        });
        self.queue.submit(Ack::Memory, Box::new(move |result| drop(reply.send(result))));
    }
}

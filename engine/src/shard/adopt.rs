//! A block that was made elsewhere, for this shard: it gets its name and is shown to readers.

use super::ShardState;
use super::request::AdoptRequest;
use crate::disk::blocking::BlockingDisk;
use hearth_model::StoreError;

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
}

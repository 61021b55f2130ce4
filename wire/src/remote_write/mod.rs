//! Remote write: what other Prometheus servers and agents push. One snappy block around one protobuf
//! message; [`Decoder`] turns it into a [`WriteBatch`], [`Encoder`] the other way round.
//!
//! Nothing is allocated per series or per float sample: the decompressed message itself becomes the
//! batch's arena of keys, each series' key being the range where its labels lie. Labels are not looked
//! into here: the store does that once for each new series (see [`hearth_model::key`]), a known one is
//! found by its bytes.
//!
//! Each version of the message has its own walk (`v1`; the message of 2.0, with its table of symbols,
//! goes beside it); decompression, histograms, errors and limits are shared.

mod encode;
mod error;
mod histogram;
mod v1;

pub use crate::protobuf::Malformed;
pub use encode::{Encoder, encode_request};
pub use error::DecodeError;

use crate::config::{Limits, MAX_DECODED_BYTES};
use crate::metadata::Metadata;
use crate::protobuf::Fault;
use hearth_model::WriteBatch;

/// What a request held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Size of the decompressed message.
    pub decoded_bytes: usize,
    /// Series with at least one sample, histogram or exemplar: others say nothing and are left out.
    pub series: usize,
    pub samples: usize,
    pub histograms: usize,
    pub exemplars: usize,
    pub metadata: usize,
    /// Exemplars left out because their labels are not valid or too long. Their samples are not affected.
    pub exemplars_refused: usize,
    /// Metadata entries left out because they are not valid UTF-8.
    pub metadata_refused: usize,
}

/// Decodes requests, one after the other; keeps scratch memory between them.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    snappy: snap::raw::Decoder,
    scratch: v1::Scratch,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(Limits::default())
    }
}

impl Decoder {
    pub fn new(limits: Limits) -> Self {
        assert!(limits.decoded_bytes <= MAX_DECODED_BYTES, "decoded_bytes above {MAX_DECODED_BYTES}");
        Decoder { limits, snappy: snap::raw::Decoder::new(), scratch: v1::Scratch::default() }
    }

    /// Decodes a request body as it came (compressed), replacing what is in `into`. After an error the
    /// batch is empty.
    ///
    /// Hand in a batch as it came back from the store, without clearing it: bytes that are already there
    /// need not be zeroed before the message is decompressed over them.
    pub fn decode(&mut self, body: &[u8], into: &mut WriteBatch) -> Result<Summary, DecodeError> {
        let mut keys = std::mem::take(&mut into.keys);
        into.clear();
        let outcome = self.decompress(body, &mut keys).and_then(|()| self.walk(&mut keys, into));
        into.keys = keys;
        if outcome.is_err() {
            into.clear();
            self.scratch.clear();
        }
        outcome
    }

    /// The same for a message that is not compressed.
    pub fn decode_message(&mut self, message: &[u8], into: &mut WriteBatch) -> Result<Summary, DecodeError> {
        into.clear();
        self.check_size(message.len() as u64)?;
        let mut keys = std::mem::take(&mut into.keys);
        keys.extend_from_slice(message);
        let outcome = self.walk(&mut keys, into);
        into.keys = keys;
        if outcome.is_err() {
            into.clear();
            self.scratch.clear();
        }
        outcome
    }

    /// Metadata of the message decoded last, borrowed from the batch it was decoded into.
    pub fn metadata<'a>(&'a self, batch: &'a WriteBatch) -> impl Iterator<Item = Metadata<'a>> {
        self.scratch.metadata(&batch.keys)
    }

    fn check_size(&self, decoded_bytes: u64) -> Result<(), DecodeError> {
        let limit_bytes = self.limits.decoded_bytes;
        if decoded_bytes > limit_bytes as u64 {
            return Err(DecodeError::TooLarge { decoded_bytes, limit_bytes });
        }
        Ok(())
    }

    fn decompress(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let corrupt = |error: snap::Error| DecodeError::Snappy(error.to_string());
        // The length is only a claim: no memory before it has passed.
        let decoded_bytes = match snap::raw::decompress_len(body).map_err(corrupt)? {
            0 if body.is_empty() => return Err(corrupt(snap::Error::Empty)),
            length => length,
        };
        self.check_size(decoded_bytes as u64)?;
        out.resize(decoded_bytes, 0);
        self.snappy.decompress(body, out).map(drop).map_err(corrupt)
    }

    fn walk(&mut self, keys: &mut Vec<u8>, into: &mut WriteBatch) -> Result<Summary, DecodeError> {
        let decoded_bytes = keys.len();
        match v1::walk(keys, &self.limits, &mut self.scratch, into) {
            Ok(summary) => Ok(Summary { decoded_bytes, ..summary }),
            Err(v1::Stop::Fault(Fault { offset, what })) => Err(DecodeError::Malformed {
                field: error::path_of(&keys[..decoded_bytes], offset),
                offset,
                what,
            }),
            Err(v1::Stop::Limit { offset, name, limit }) => Err(DecodeError::Limit {
                field: error::path_of(&keys[..decoded_bytes], offset),
                offset,
                name,
                limit,
            }),
        }
    }
}

#[cfg(test)]
mod tests;

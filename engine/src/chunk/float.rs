//! Float samples of a block's chunks: times and values apart, so that series which were measured together
//! share their times.

use super::{BadChunk, MAX_CHUNK_SAMPLES};
use hearth_kernels::codec::{Effort, times, values};

/// Appends a chunk of times: ascending, between one and [`MAX_CHUNK_SAMPLES`].
pub fn encode_times(column: &[i64], out: &mut Vec<u8>) {
    times::encode(column, out);
}

/// Appends a chunk of values.
pub fn encode_values(column: &[f64], effort: Effort, out: &mut Vec<u8>) {
    values::encode(column, effort, out);
}

/// Appends the times of the chunk that `bytes` begin with and returns its length; on an error `out` is as it
/// was.
pub fn decode_times(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<usize, BadChunk> {
    let start = out.len();
    let read = times::decode(bytes, out).map_err(|_| BadChunk)?;
    let column = &out[start..];
    if column.len() != count || !column.is_sorted_by(|a, b| a < b) {
        out.truncate(start);
        return Err(BadChunk);
    }
    Ok(read)
}

/// Appends the values of the chunk that `bytes` begin with; on an error `out` is as it was.
pub fn decode_values(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), BadChunk> {
    let start = out.len();
    values::decode(bytes, out).map_err(|_| BadChunk)?;
    if out.len() - start != count {
        out.truncate(start);
        return Err(BadChunk);
    }
    Ok(())
}

const _: () = assert!(MAX_CHUNK_SAMPLES <= hearth_kernels::codec::CHUNK_SAMPLES_MAX);

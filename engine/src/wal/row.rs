//! A series as a checkpoint holds it: its labels and its floats, as they lie in memory.
//! ```text
//! reference varint | hash of the key u128 | pairs varint, name and value varint each (numbers within the
//! frame's strings record) | closed chunks varint, each: oldest zigzag varint, newest against oldest varint,
//! length varint, bytes | samples of the open chunk varint; where there are any: oldest zigzag varint, encoder's
//! state 37 bytes, length varint, bytes
//! ```
//! Nothing here looks into a chunk: who takes the row checks that it decodes.

use crate::bytes::{Reader, push_varint, unzigzag, zigzag};
use hearth_kernels::codec::gorilla::STATE_BYTES;

/// A closed chunk of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedPart<'a> {
    pub min_ms: i64,
    pub max_ms: i64,
    pub bytes: &'a [u8],
}

/// The chunk of a row that takes the next sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPart<'a> {
    pub min_ms: i64,
    pub count: u16,
    pub state: &'a [u8; STATE_BYTES],
    pub bytes: &'a [u8],
}

/// See the module's head.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    pub reference: u32,
    pub hash: u128,
    pairs: Reader<'a>,
    closed: Reader<'a>,
    pub open: Option<OpenPart<'a>>,
}

/// What begins a row: who it is.
pub fn push_identity(
    out: &mut Vec<u8>,
    reference: u32,
    hash: u128,
    pairs: impl ExactSizeIterator<Item = u32>,
) {
    push_varint(out, u64::from(reference));
    out.extend_from_slice(&hash.to_le_bytes());
    push_varint(out, pairs.len() as u64);
    pairs.for_each(|string| push_varint(out, u64::from(string)));
}

pub fn push_closed<'a>(out: &mut Vec<u8>, chunks: impl ExactSizeIterator<Item = ClosedPart<'a>>) {
    push_varint(out, chunks.len() as u64);
    for chunk in chunks {
        push_varint(out, zigzag(chunk.min_ms));
        push_varint(out, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
        push_varint(out, chunk.bytes.len() as u64);
        out.extend_from_slice(chunk.bytes);
    }
}

pub fn push_open(out: &mut Vec<u8>, chunk: Option<OpenPart<'_>>) {
    let Some(chunk) = chunk else {
        push_varint(out, 0);
        return;
    };
    push_varint(out, u64::from(chunk.count));
    push_varint(out, zigzag(chunk.min_ms));
    out.extend_from_slice(chunk.state);
    push_varint(out, chunk.bytes.len() as u64);
    out.extend_from_slice(chunk.bytes);
}

fn closed_part<'a>(body: &mut Reader<'a>) -> Option<ClosedPart<'a>> {
    let min_ms = unzigzag(body.varint()?);
    let max_ms = min_ms.wrapping_add(body.varint()? as i64);
    let length = usize::try_from(body.varint()?).ok()?;
    Some(ClosedPart { min_ms, max_ms, bytes: body.bytes(length)? })
}

fn open_part<'a>(body: &mut Reader<'a>) -> Option<Option<OpenPart<'a>>> {
    let count = body.varint()?.try_into().ok()?;
    if count == 0 {
        return Some(None);
    }
    let min_ms = unzigzag(body.varint()?);
    let state = body.bytes(STATE_BYTES)?.first_chunk()?;
    let length = usize::try_from(body.varint()?).ok()?;
    Some(Some(OpenPart { min_ms, count, state, bytes: body.bytes(length)? }))
}

/// What `count` items of `body` occupy: a reader of them alone.
fn span<'a, T>(
    body: &mut Reader<'a>,
    count: u64,
    mut item: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Reader<'a>> {
    let all = body.rest();
    for _ in 0..count {
        item(body)?;
    }
    Some(Reader::new(&all[..all.len() - body.rest().len()]))
}

impl<'a> Row<'a> {
    /// Reads a row that fills `body`.
    pub fn read(body: &mut Reader<'a>) -> Option<Row<'a>> {
        let reference = body.varint_u32()?;
        let hash = u128::from_le_bytes(*body.bytes(16)?.first_chunk()?);
        let pairs = body.varint()?;
        let pairs = (pairs % 2 == 0).then(|| span(body, pairs, Reader::varint_u32))??;
        let chunks = body.varint()?;
        let closed = span(body, chunks, closed_part)?;
        let open = open_part(body)?;
        body.is_empty().then_some(Row { reference, hash, pairs, closed, open })
    }

    /// Numbers of its names and values within the frame's strings.
    pub fn pairs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut pairs = self.pairs.clone();
        std::iter::from_fn(move || pairs.varint_u32())
    }

    pub fn closed(&self) -> impl Iterator<Item = ClosedPart<'a>> + use<'a> {
        let mut closed = self.closed.clone();
        std::iter::from_fn(move || closed_part(&mut closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_no_part_of_one_does() {
        let closed = [
            ClosedPart { min_ms: -5, max_ms: 70, bytes: b"first" },
            ClosedPart { min_ms: 71, max_ms: 71, bytes: b"" },
        ];
        let open = OpenPart { min_ms: 80, count: 3, state: &[7; STATE_BYTES], bytes: b"open" };
        for open in [None, Some(open)] {
            let mut out = Vec::new();
            push_identity(&mut out, 300, u128::MAX - 1, [0, 1, 0, 200].into_iter());
            push_closed(&mut out, closed.into_iter());
            push_open(&mut out, open);
            let row = Row::read(&mut Reader::new(&out)).expect("whole");
            assert_eq!((row.reference, row.hash, row.open), (300, u128::MAX - 1, open));
            assert_eq!(row.pairs().collect::<Vec<_>>(), [0, 1, 0, 200]);
            assert!(row.closed().eq(closed));
            for cut in 0..out.len() {
                assert_eq!(Row::read(&mut Reader::new(&out[..cut])), None, "cut at {cut}");
            }
        }
    }
}

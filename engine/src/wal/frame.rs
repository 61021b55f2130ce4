//! Segments and frames: how commits lie in files, and how damage is told from an end.
//!
//! A segment is a header and frames; a frame is one commit. Frames are numbered through all segments of
//! a shard; a number that was seen before (a commit written again after a failure) is skipped at replay,
//! a number left out means that something is lost.

/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"HEARTHWL";
/// First bytes of a checkpoint: same frames, but they stand for all segments before it.
pub const CHECKPOINT_MAGIC: [u8; 8] = *b"HEARTHCP";
/// What is written. Version 1 had no samples in checkpoints.
pub const FORMAT_VERSION: u32 = 2;
pub const SEGMENT_HEADER_BYTES: usize = 40;
pub const FRAME_MAGIC: [u8; 4] = *b"HFRM";
pub const FRAME_HEADER_BYTES: usize = 20;
/// A frame never is larger (the open commit's limit and one request's records are far below); a length
/// beyond is damage.
pub const MAX_FRAME_BYTES: usize = 1 << 30;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub shard: u32,
    pub segment: u64,
    /// The data directory's hash seed: a segment of another directory is not taken for ours.
    pub seed: u64,
}

/// ```text
/// magic 8 | version u32 | shard u32 | segment u64 | seed u64 | zero u32 | crc32c of the 36 before u32
/// ```
pub fn segment_header(magic: [u8; 8], header: SegmentHeader) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = [0; SEGMENT_HEADER_BYTES];
    out[..8].copy_from_slice(&magic);
    out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&header.shard.to_le_bytes());
    out[16..24].copy_from_slice(&header.segment.to_le_bytes());
    out[24..32].copy_from_slice(&header.seed.to_le_bytes());
    let crc = crc32c::crc32c(&out[..36]);
    out[36..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What is wrong with a segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderError {
    Damaged,
    /// Written by a later Hearth.
    Version(u32),
    /// Of another shard, place or data directory.
    Foreign,
}

/// The version in a header that is as expected.
pub fn read_segment_header(magic: [u8; 8], bytes: &[u8], expect: SegmentHeader) -> Result<u32, HeaderError> {
    let header = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderError::Damaged)?;
    if header[..8] != magic || u32_at(header, 36) != Some(crc32c::crc32c(&header[..36])) {
        return Err(HeaderError::Damaged);
    }
    let version = u32_at(header, 8).unwrap_or(0);
    if !(1..=FORMAT_VERSION).contains(&version) {
        return Err(HeaderError::Version(version));
    }
    let found = SegmentHeader {
        shard: u32_at(header, 12).unwrap_or(u32::MAX),
        segment: u64_at(header, 16).unwrap_or(u64::MAX),
        seed: u64_at(header, 24).unwrap_or(0),
    };
    if found == expect { Ok(version) } else { Err(HeaderError::Foreign) }
}

/// Fills in the header of a frame whose payload starts at [`FRAME_HEADER_BYTES`].
/// ```text
/// magic 4 | payload length u32 | number u64 | crc32c of length, number and payload u32 | payload
/// ```
pub fn seal(frame: &mut [u8], number: u64) {
    let length = (frame.len() - FRAME_HEADER_BYTES) as u32;
    frame[..4].copy_from_slice(&FRAME_MAGIC);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[4..16]), &frame[FRAME_HEADER_BYTES..]);
    frame[16..20].copy_from_slice(&crc.to_le_bytes());
}

/// One frame found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    pub number: u64,
    pub payload: &'a [u8],
    /// Offset of the byte behind it.
    pub end: usize,
}

/// What is at an offset of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Frame(Frame<'a>),
    /// The bytes end here, or zeros are all that follows: room for more frames.
    End,
    /// No whole frame is here; the next one, if any, starts at the offset given.
    Damage {
        resume: Option<usize>,
    },
}

fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let header = rest.get(..FRAME_HEADER_BYTES)?;
    if header[..4] != FRAME_MAGIC {
        return None;
    }
    let length = u32_at(header, 4)? as usize;
    if length > MAX_FRAME_BYTES {
        return None;
    }
    let payload = rest.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[4..16]), payload);
    if u32_at(header, 16)? != crc {
        return None;
    }
    Some(Frame { number: u64_at(header, 8)?, payload, end: at + FRAME_HEADER_BYTES + length })
}

/// The length of the frame that begins with `header`, by its own word.
pub fn claimed_bytes(header: &[u8]) -> Option<usize> {
    let length = u32_at(header.get(..FRAME_HEADER_BYTES)?, 4)? as usize;
    (header[..4] == FRAME_MAGIC && length <= MAX_FRAME_BYTES).then_some(FRAME_HEADER_BYTES + length)
}

/// Reads the frame at `at`; looks for the next whole one when there is damage.
pub fn next(bytes: &[u8], at: usize) -> Next<'_> {
    if at >= bytes.len() {
        return Next::End;
    }
    if let Some(frame) = frame_at(bytes, at) {
        return Next::Frame(frame);
    }
    if bytes[at..].iter().all(|byte| *byte == 0) {
        return Next::End;
    }
    let mut from = at + 1;
    while let Some(found) = find_magic(bytes, from) {
        if frame_at(bytes, found).is_some() {
            return Next::Damage { resume: Some(found) };
        }
        from = found + 1;
    }
    Next::Damage { resume: None }
}

fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(FRAME_MAGIC.len()).position(|w| w == FRAME_MAGIC).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; FRAME_HEADER_BYTES];
        out.extend_from_slice(payload);
        seal(&mut out, number);
        out
    }

    #[test]
    fn frames_read_back_and_damage_is_stepped_over() {
        let mut bytes = frame(1, b"first");
        let second = bytes.len();
        bytes.extend(frame(2, b"second"));
        let third = bytes.len();
        bytes.extend(frame(3, b""));
        assert_eq!(next(&bytes, 0), Next::Frame(Frame { number: 1, payload: b"first", end: second }));
        assert_eq!(next(&bytes, third), Next::Frame(Frame { number: 3, payload: b"", end: bytes.len() }));
        assert_eq!(next(&bytes, bytes.len()), Next::End);
        for at in second..third {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(next(&bad, second), Next::Damage { resume: Some(third) }, "byte {at}");
        }
        for cut in second + 1..third {
            assert_eq!(next(&bytes[..cut], second), Next::Damage { resume: None });
            let torn = [&bytes[..cut], &[0; 30]].concat();
            let found = Next::Damage { resume: None };
            assert_eq!((next(&torn, second), next(&torn, cut)), (found, Next::End), "cut off at {cut}");
        }
    }

    #[test]
    fn a_header_says_whose_it_is() {
        let ours = SegmentHeader { shard: 1, segment: 7, seed: 99 };
        let bytes = segment_header(SEGMENT_MAGIC, ours);
        let read = |bytes: &[u8], expect| read_segment_header(SEGMENT_MAGIC, bytes, expect);
        assert_eq!(read(&bytes, ours), Ok(FORMAT_VERSION));
        assert_eq!(read(&bytes, SegmentHeader { seed: 98, ..ours }), Err(HeaderError::Foreign));
        assert_eq!(read(&bytes[..39], ours), Err(HeaderError::Damaged));
        assert_eq!(read_segment_header(CHECKPOINT_MAGIC, &bytes, ours), Err(HeaderError::Damaged));
    }
}

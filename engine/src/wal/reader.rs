//! A log file read frame by frame, in as much memory as its largest frame takes.
//!
//! Only where there is damage is the rest of the file read whole, to look for the next frame in it. Sectors that the
//! medium does not give count as zeros: what they held fails its checksum, and the rest is read.

use super::frame::{self, FRAME_HEADER_BYTES, Frame, Next};
use crate::disk::mapped::Mapped;
use std::io;

/// Bytes read at once: few calls, little memory.
const WINDOW_BYTES: usize = 1 << 20;
/// What a medium gives or does not give.
const SECTOR_BYTES: usize = 512;

/// See the module's head.
pub struct FileReader {
    file: Mapped,
    window: Vec<u8>,
    /// Where the window begins within the file.
    start: usize,
    unreadable: bool,
}

impl FileReader {
    pub fn new(file: Mapped) -> FileReader {
        FileReader { file, window: Vec::new(), start: 0, unreadable: false }
    }

    /// Whether the medium did not give some part of it.
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    pub fn len_bytes(&self) -> usize {
        self.file.len_bytes()
    }

    /// The bytes from `at` on: so many, or as many as there are.
    pub fn bytes(&mut self, at: usize, length: usize) -> io::Result<&[u8]> {
        let length = length.min(self.file.len_bytes().saturating_sub(at));
        if length == 0 {
            // Behind the end there is nothing to read, and nothing to fail.
            return Ok(&[]);
        }
        let inside = at >= self.start && at + length <= self.start + self.window.len();
        if !inside {
            let rest = self.file.len_bytes().saturating_sub(at);
            self.window.resize(length.max(WINDOW_BYTES).min(rest), 0);
            self.start = at;
            let read = self.fill();
            if read.is_err() {
                self.window.clear();
            }
            read?;
        }
        Ok(&self.window[at - self.start..][..length])
    }

    /// Reads what the window is over, sector by sector where the medium does not give all of it.
    fn fill(&mut self) -> io::Result<()> {
        let is_bad = |error: &io::Error| error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        match self.file.read_at(self.start, &mut self.window) {
            Err(error) if is_bad(&error) => {}
            read => return read,
        }
        self.unreadable = true;
        for (number, sector) in self.window.chunks_mut(SECTOR_BYTES).enumerate() {
            match self.file.read_at(self.start + number * SECTOR_BYTES, sector) {
                Err(error) if is_bad(&error) => sector.fill(0),
                read => read?,
            }
        }
        Ok(())
    }

    /// What is at `at`, its offsets within the file.
    pub fn next(&mut self, at: usize) -> io::Result<Next<'_>> {
        let rest = self.file.len_bytes().saturating_sub(at);
        let header = self.bytes(at, FRAME_HEADER_BYTES)?;
        let length = frame::claimed_bytes(header).filter(|length| *length <= rest).unwrap_or(rest);
        let mut found = Found::of(frame::next(self.bytes(at, length)?, 0));
        if matches!(found, Found::Damage { .. }) && length < rest {
            // As long as it claims, and yet no frame: the next one may be behind that.
            found = Found::of(frame::next(self.bytes(at, rest)?, 0));
        }
        Ok(match found {
            Found::Frame { number, end } => {
                let payload = &self.window[at - self.start..][FRAME_HEADER_BYTES..end];
                Next::Frame(Frame { number, payload, end: at + end })
            }
            Found::Damage { resume } => Next::Damage { resume: resume.map(|resume| at + resume) },
            Found::End => Next::End,
        })
    }
}

/// What was found, without its bytes.
enum Found {
    Frame { number: u64, end: usize },
    Damage { resume: Option<usize> },
    End,
}

impl Found {
    fn of(next: Next<'_>) -> Found {
        match next {
            Next::Frame(frame) => Found::Frame { number: frame.number, end: frame.end },
            Next::Damage { resume } => Found::Damage { resume },
            Next::End => Found::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::frame::seal;

    fn frame(number: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![number as u8; FRAME_HEADER_BYTES + bytes];
        seal(&mut out, number);
        out
    }

    #[test]
    fn behind_the_end_there_is_nothing() {
        for file in [&[][..], &[7; 9]] {
            let mut reader = FileReader::new(Mapped::memory(file));
            assert!(matches!(reader.next(40), Ok(Next::End)));
            assert_eq!(reader.bytes(40, 20).expect("nothing"), &[] as &[u8]);
        }
    }

    /// Numbers of the frames, and where damage begins and ends.
    fn read(file: &[u8]) -> (Vec<u64>, Vec<(usize, Option<usize>)>) {
        let mut reader = FileReader::new(Mapped::memory(file));
        let (mut numbers, mut damages, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            match reader.next(at).expect("reads") {
                Next::Frame(frame) => {
                    assert!(frame.payload.iter().all(|b| *b == frame.number as u8));
                    numbers.push(frame.number);
                    at = frame.end;
                }
                Next::Damage { resume } => {
                    damages.push((at, resume));
                    match resume {
                        Some(resume) => at = resume,
                        None => return (numbers, damages),
                    }
                }
                Next::End => return (numbers, damages),
            }
        }
    }

    #[test]
    fn frames_beyond_the_window_and_damage_read_as_in_one_piece() {
        let sizes = [10, WINDOW_BYTES, 3 * WINDOW_BYTES / 2, 0, WINDOW_BYTES - 7, 40];
        let file: Vec<u8> = sizes.iter().enumerate().flat_map(|(i, s)| frame(i as u64 + 1, *s)).collect();
        let all: Vec<u64> = (1..=sizes.len() as u64).collect();
        assert_eq!(read(&file), (all, vec![]));
        let third = 2 * FRAME_HEADER_BYTES + sizes[0] + sizes[1];
        let fourth = third + FRAME_HEADER_BYTES + sizes[2];
        // A byte of the payload, of the length, of the magic.
        for byte in [third + WINDOW_BYTES, third + 6, third + 7, third] {
            let mut bad = file.clone();
            bad[byte] ^= 0x81;
            assert_eq!(read(&bad), (vec![1, 2, 4, 5, 6], vec![(third, Some(fourth))]), "byte {byte}");
        }
        let cut = &file[..file.len() - 1];
        let last = file.len() - FRAME_HEADER_BYTES - 40;
        assert_eq!(read(cut), (vec![1, 2, 3, 4, 5], vec![(last, None)]));
    }
}

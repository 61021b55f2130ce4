//! A sealed file for reading: mapped into memory, or (simulated) held in it.
//!
//! A page that the medium cannot give raises a signal when it is touched through the map, which [`super::faults`]
//! handles: it reads as zeros and is counted. What was not read before is read through [`Mapped::read_at`], which gives
//! an error instead.

use super::faults::{self, Watch};
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

/// See the module's head.
pub struct Mapped(Form);

enum Form {
    /// Its bytes, and which of them cannot be read.
    Memory(Rc<[u8]>, Range<usize>),
    /// Dropped in this order: a mapping is watched for less long than it is there, and never when it is another's.
    Map { _watch: Watch, pages: Pages, file: File },
}

/// A mapping of ours.
struct Pages {
    address: *const u8,
    length: usize,
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: whoever made this made the mapping, and no slice of it is left.
        let result = unsafe { rustix::mm::munmap(self.address.cast_mut().cast(), self.length) };
        debug_assert!(result.is_ok(), "a mapping of ours was not there");
    }
}

impl Mapped {
    pub fn memory(bytes: &[u8]) -> Mapped {
        Mapped::memory_with_hole(bytes, 0..0)
    }

    /// A file that the medium does not give all of.
    pub fn memory_with_hole(bytes: &[u8], unreadable: Range<usize>) -> Mapped {
        Mapped(Form::Memory(bytes.into(), unreadable))
    }

    pub fn open(path: &Path) -> io::Result<Mapped> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(Mapped::memory(&[]));
        }
        // SAFETY: a new private mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0)
        }?;
        let pages = Pages { address: address.cast::<u8>().cast_const(), length };
        let Some(watch) = faults::watch(pages.address as usize..pages.address as usize + length) else {
            return Err(io::Error::other("too many files are mapped"));
        };
        Ok(Mapped(Form::Map { _watch: watch, pages, file }))
    }

    pub fn len_bytes(&self) -> usize {
        match &self.0 {
            Form::Memory(bytes, _) => bytes.len(),
            Form::Map { pages, .. } => pages.length,
        }
    }

    /// The file's bytes. Who has not read a part before asks [`Mapped::read_at`] first; what was read while
    /// [`faults::count`] changed does not count.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Memory(bytes, _) => bytes,
            // SAFETY: the mapping is as long as that and lives as long as self. The file is sealed: nobody
            // writes to it while the server holds the data directory's lock. A page that is gone nevertheless
            // becomes zeros under the reader's hands, and the reader's work is thrown away.
            Form::Map { pages, .. } => unsafe { std::slice::from_raw_parts(pages.address, pages.length) },
        }
    }

    /// Fills `buffer` from `offset` on, or tells why the medium did not give it.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        match &self.0 {
            Form::Memory(bytes, unreadable) => {
                if offset < unreadable.end && unreadable.start < offset + buffer.len() {
                    return Err(rustix::io::Errno::IO.into());
                }
                let part = bytes.get(offset..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Form::Map { file, .. } => file.read_exact_at(buffer, offset as u64),
        }
    }
}

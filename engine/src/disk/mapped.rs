//! A sealed file for reading: mapped into memory, or (simulated) held in it.
//!
//! A page that the medium cannot give ends the process when it is touched through the map, so what was not
//! read before is read through [`Mapped::read_at`], which gives an error instead.

use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

/// See the module's head.
pub struct Mapped(Form);

enum Form {
    Memory(Rc<[u8]>),
    Map { address: *const u8, length: usize, file: File },
}

impl Mapped {
    pub fn memory(bytes: &[u8]) -> Mapped {
        Mapped(Form::Memory(bytes.into()))
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
        Ok(Mapped(Form::Map { address: address.cast::<u8>().cast_const(), length, file }))
    }

    pub fn len_bytes(&self) -> usize {
        match &self.0 {
            Form::Memory(bytes) => bytes.len(),
            Form::Map { length, .. } => *length,
        }
    }

    /// The file's bytes. Who has not read a part before asks [`Mapped::read_at`] first.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Memory(bytes) => bytes,
            // SAFETY: the mapping is as long as that and lives as long as self. The file is sealed: nobody
            // writes to it or cuts it while the server holds the data directory's lock.
            Form::Map { address, length, .. } => unsafe { std::slice::from_raw_parts(*address, *length) },
        }
    }

    /// Fills `buffer` from `offset` on, or tells why the medium did not give it.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        match &self.0 {
            Form::Memory(bytes) => {
                let part = bytes.get(offset..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Form::Map { file, .. } => file.read_exact_at(buffer, offset as u64),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Form::Map { address, length, .. } = &self.0 {
            // SAFETY: the mapping is ours, and no slice of it outlives self.
            let result = unsafe { rustix::mm::munmap(address.cast_mut().cast(), *length) };
            debug_assert!(result.is_ok(), "a mapping of ours was not there");
        }
    }
}

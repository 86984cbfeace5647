//! Files as memory. The only unsafe code of the engine.

#![expect(unsafe_code, reason = "a slice of mapped memory cannot be made without; see `RealMap::bytes`")]

use std::fs::File;
use std::io;
use std::slice;

use memmap2::{MmapOptions, MmapRaw};

use crate::fs::Map;

/// A read-only mapping of the beginning of a file. Stays valid when the file is removed or closed.
#[derive(Debug)]
pub(super) struct RealMap(MmapRaw);

impl RealMap {
    pub(super) fn new(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(Self(MmapOptions::new().len(length).map_raw_read_only(file)?))
    }
}

impl Map for RealMap {
    fn bytes(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(length)?;
        if end > self.0.len() {
            return None;
        }
        // SAFETY: the range lies within the mapping, which lives as long as `self`, and bytes need no alignment. Nobody changes them
        // while the slice lives: they belong to a record that is applied, and the engine, which holds the directory's lock, never
        // writes at the same place of a segment twice and never cuts a segment below an applied record. No slice is ever made of
        // the parts of the mapping that are still being written, or that lie behind the end of the file.
        Some(unsafe { slice::from_raw_parts(self.0.as_ptr().add(offset), length) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mapping_shows_what_is_written_later_and_ends_where_it_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let map = RealMap::new(&file, 100).unwrap();
        file.write_all(b"hello").unwrap();
        drop(file);
        assert_eq!(map.bytes(1, 3), Some(b"ell".as_slice()));
        assert_eq!(map.bytes(98, 2), Some([0, 0].as_slice()));
        for (offset, length) in [(99, 2), (101, 0), (u64::MAX, 1), (1, usize::MAX)] {
            assert_eq!(map.bytes(offset, length), None);
        }
    }
}

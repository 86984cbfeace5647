//! The operating system's file system.

use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom};
use rustix::io::Errno;

use self::map::RealMap;
use super::{File, Fs, Lock, Map};

mod map;

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

/// `pwritev` takes at most this many parts at once.
const PARTS_MAX: usize = 1024;

#[derive(Debug)]
struct RealFile(fs::File);

#[derive(Debug)]
struct RealLock {
    /// Closing it gives the lock up.
    _file: fs::File,
}

impl Lock for RealLock {}

impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(PathBuf::from)
            .collect();
        fs::create_dir_all(dir)?;
        for created in missing {
            match created.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent)?,
                _ => self.sync_dir(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut offset = offset;
        for parts in parts.chunks(PARTS_MAX) {
            offset = write_parts(&self.0, offset, parts)?;
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        // Moves the file's own position, which nobody uses.
        match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
            Err(error) => Err(error.into()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.length()? < length => self.set_length(length),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn map(&self, length: u64) -> io::Result<Option<Arc<dyn Map>>> {
        Ok(Some(Arc::new(RealMap::new(&self.0, length)?)))
    }

    fn sync_data(&self) -> io::Result<()> {
        // Not retried when interrupted: see `File::sync_data`.
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}

/// Writes the parts and returns the offset behind them.
fn write_parts(file: &fs::File, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<u64> {
    let mut taken = loop {
        match rustix::io::pwritev(file, parts, offset) {
            Ok(taken) => break taken,
            Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    };
    for part in parts {
        // A short write is rare (a full disk, more than 2 GiB): what is left goes out part by part.
        if taken < part.len() {
            file.write_all_at(part.get(taken..).unwrap_or_default(), offset + taken as u64)?;
        }
        taken = taken.saturating_sub(part.len());
        offset += part.len() as u64;
    }
    Ok(offset)
}

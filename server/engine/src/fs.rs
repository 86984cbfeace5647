//! All file access of the engine, behind two small traits.
//!
//! [`RealFs`] is the operating system. [`MemFs`] keeps everything in memory and can lose power: tests and the simulator run the
//! production engine on it. Nothing else in this crate opens, writes or removes a file.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

mod mem;
mod real;

pub use mem::{FaultKind, MemFs};
pub use real::RealFs;

/// A file system as far as the engine needs one.
///
/// What a call changed survives a crash of the *process* as soon as it returned. It survives a loss of *power* only after
/// [`File::sync_data`] for the content and length of a file, and [`Fs::sync_dir`] for created, renamed and removed names.
pub trait Fs: fmt::Debug + Send + Sync {
    /// Creates a directory and its missing parents, durably.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, sorted. Subdirectories are left out.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, else whatever the operating system answers.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none, else whatever the operating system answers.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what has the name `to`. At no time is there no file of that name.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Who has it open can go on reading it.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// Whatever the operating system answers. After an error nothing may be assumed about what is durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file, creating it if there is none, until the lock is dropped or the process ends. `None` if it is locked already.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A held lock on a file; released when dropped.
pub trait Lock: fmt::Debug + Send + Sync {}

/// An open file. Many threads may use it at once.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads bytes from `offset` on into `buffer` and returns how many there were: fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `parts` one after the other from `offset` on, with one call to the operating system unless it takes less.
    ///
    /// # Errors
    /// Whatever the operating system answers. Any part of the bytes may have been written then.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// The first offset from `offset` on at which the file may hold anything but zeros; `None` if there is none. Spares reading what
    /// was reserved and never written.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or extends it with zeros without reserving room for them.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Reserves room for `length` bytes; new ones read as zeros.
    ///
    /// # Errors
    /// `StorageFull` if there is not that much room. A file system that cannot reserve just extends the file.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Maps the first `length` bytes into memory. What is written later shows there too. `None` if this file cannot be mapped.
    ///
    /// Where the disk fails to deliver what a mapping shows, the operating system ends the process: there is no error to return.
    ///
    /// # Errors
    /// Whatever the operating system answers.
    fn map(&self, length: u64) -> io::Result<Option<Arc<dyn Map>>>;

    /// Makes the file's content and length durable (fdatasync).
    ///
    /// # Errors
    /// Whatever the operating system answers. After an error the content must be taken for lost: a second attempt proves nothing,
    /// because the kernel forgets which pages it failed to write.
    fn sync_data(&self) -> io::Result<()>;
}

/// A file's content as memory, for reading without a call to the operating system.
pub trait Map: fmt::Debug + Send + Sync {
    /// Bytes of the file that were written before and are never written again; `None` if they are not within the mapping.
    fn bytes(&self, offset: u64, length: usize) -> Option<&[u8]>;
}

/// Reads exactly `buffer.len()` bytes.
///
/// # Errors
/// `UnexpectedEof` if the file ends before, else whatever the file answers.
pub(crate) fn read_exact_at(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file.read_at(offset, buffer)? {
        n if n == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A whole small file.
///
/// # Errors
/// Whatever the file system answers.
pub(crate) fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let length = usize::try_from(file.length()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    read_exact_at(&*file, 0, &mut bytes)?;
    Ok(bytes)
}

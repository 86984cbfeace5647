//! A file system in memory that can crash, lose power, run full and fail.
//!
//! It keeps what an operating system keeps apart: the page cache, which a crash of the process leaves alone, and the disk, which
//! holds a sector or a name for certain only after the matching sync. After [`MemFs::lose_power`] every sector and every directory
//! operation that was not synced is there or not, as the seed has it: writes are torn and reordered as real disks do it. A failed
//! sync leaves its sectors clean but not durable, as Linux does.
//!
//! Everything is a function of the calls and the seeds, so a failing test can be replayed.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::inode::Inode;
use self::random::Random;
use super::{File, Fs, Lock, Map};

mod inode;
mod random;

/// A kind of call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Reading from a file.
    Read,
    /// Writing to a file; a part of the bytes is written.
    Write,
    /// Syncing a file's content.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Reserving room for a file.
    Allocate,
    /// Creating a file.
    Create,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

/// A file system in memory. Clones are the same file system; [`MemFs::fork`] makes another.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Names as every process sees them.
    names: BTreeMap<PathBuf, u64>,
    /// Names that survive a loss of power for certain.
    durable_names: BTreeMap<PathBuf, u64>,
    /// What has happened to names since their directory was synced, in order.
    name_changes: Vec<NameChange>,
    locks: BTreeMap<PathBuf, u64>,
    /// Files and locks opened before the last crash belong to a process that is gone.
    boot: u64,
    faults: BTreeMap<FaultKind, Fault>,
    /// Most bytes all files together may have; `None` is no limit.
    capacity: Option<u64>,
    mutations: u64,
    /// When so many mutations have been done, everything fails until the crash is carried out.
    halt_at: Option<u64>,
}

#[derive(Clone, Debug)]
struct Fault {
    skip: u64,
    error: io::ErrorKind,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug)]
struct MemFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    boot: u64,
}

#[derive(Debug)]
struct MemLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    boot: u64,
}

impl MemFs {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy of the whole state, open files excluded.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut disk = self.disk.lock().clone();
        disk.locks.clear();
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// The process is gone: its files are closed and its locks released. Nothing it wrote is lost.
    pub fn crash_process(&self) {
        self.disk.lock().reboot();
    }

    /// The power was lost: of everything that was not synced, a part drawn from the seed is lost.
    pub fn lose_power(&self, seed: u64) {
        let mut disk = self.disk.lock();
        disk.reboot();
        disk.lose_power(&mut Random::new(seed));
    }

    /// The call number `skip` (from 0) of this kind, counted from now, fails with `error`; once.
    pub fn fail(&self, kind: FaultKind, skip: u64, error: io::ErrorKind) {
        self.disk.lock().faults.insert(kind, Fault { skip, error });
    }

    /// Limits what all files together may hold, in bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity = bytes;
    }

    /// Lets `mutations` more changing calls succeed and then none of any kind, as if the machine stopped there. A crash ends it.
    pub fn halt_after(&self, mutations: u64) {
        let mut disk = self.disk.lock();
        disk.halt_at = Some(disk.mutations + mutations);
    }

    /// How many changing calls were made so far.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.disk.lock().mutations
    }

    /// The content of a file; `None` if there is none.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        let inode = disk.inodes.get(disk.names.get(path)?)?;
        Some(inode.content().to_vec())
    }

    /// Puts a file with this content on the disk, durably, whatever was there before.
    pub fn set_content(&self, path: &Path, content: &[u8]) {
        let mut disk = self.disk.lock();
        let number = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(number, Inode::durable(content.to_vec()));
        disk.names.insert(path.to_path_buf(), number);
        disk.durable_names.insert(path.to_path_buf(), number);
    }

    /// Inverts one bit of a file, on the disk and in the page cache. False if the file has no such bit.
    #[must_use]
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut disk = self.disk.lock();
        let Some(number) = disk.names.get(path).copied() else { return false };
        disk.inodes.get_mut(&number).is_some_and(|inode| inode.flip_bit(offset, bit))
    }
}

impl Disk {
    fn reboot(&mut self) {
        self.boot += 1;
        self.locks.clear();
        self.faults.clear();
        self.halt_at = None;
    }

    fn lose_power(&mut self, random: &mut Random) {
        let mut names = self.durable_names.clone();
        for change in std::mem::take(&mut self.name_changes) {
            if random.coin() {
                change.apply(&mut names);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
        for inode in self.inodes.values_mut() {
            inode.lose_power(random);
        }
        self.drop_unnamed();
    }

    /// Without an open file, content without a name is gone.
    fn drop_unnamed(&mut self) {
        let named: Vec<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, _| named.contains(number));
    }

    fn check_running(&self, boot: u64) -> io::Result<()> {
        let halted = self.halt_at.is_some_and(|at| self.mutations >= at);
        if halted || boot != self.boot {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(())
    }

    /// Counts a changing call and lets the injected fault of its kind happen.
    fn begin_change(&mut self, boot: u64, kind: FaultKind) -> io::Result<()> {
        self.check_running(boot)?;
        self.mutations += 1;
        self.fault(kind)
    }

    fn fault(&mut self, kind: FaultKind) -> io::Result<()> {
        let Some(fault) = self.faults.get_mut(&kind) else { return Ok(()) };
        if let Some(skip) = fault.skip.checked_sub(1) {
            fault.skip = skip;
            return Ok(());
        }
        let error = fault.error;
        self.faults.remove(&kind);
        Err(error.into())
    }

    fn check_room(&self, number: u64, length: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let others = self.inodes.iter().filter(|(other, _)| **other != number);
        let used: u64 = others.map(|(_, inode)| inode.length()).sum();
        let grows = self.inodes.get(&number).is_none_or(|inode| inode.length() < length);
        if grows && used + length > capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl NameChange {
    /// Skips a change whose file never became durable under its name.
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, number) => {
                names.insert(path.clone(), *number);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        path.parent() == Some(dir)
    }
}

impl Fs for MemFs {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        let disk = self.disk.lock();
        disk.check_running(disk.boot)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        disk.check_running(disk.boot)?;
        let files = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(files.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        let boot = disk.boot;
        disk.begin_change(boot, FaultKind::Create)?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(number, Inode::default());
        disk.names.insert(path.to_path_buf(), number);
        disk.name_changes.push(NameChange::Create(path.to_path_buf(), number));
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), inode: number, boot }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.disk.lock();
        disk.check_running(disk.boot)?;
        let inode = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), inode, boot: disk.boot }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let boot = disk.boot;
        disk.begin_change(boot, FaultKind::Rename)?;
        let number = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_path_buf(), number);
        disk.name_changes.push(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let boot = disk.boot;
        disk.begin_change(boot, FaultKind::Remove)?;
        disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        disk.name_changes.push(NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let boot = disk.boot;
        disk.begin_change(boot, FaultKind::SyncDir)?;
        let mut durable = std::mem::take(&mut disk.durable_names);
        let (synced, rest) = std::mem::take(&mut disk.name_changes).into_iter().partition(|change| change.is_in(dir));
        let synced: Vec<NameChange> = synced;
        synced.iter().for_each(|change| change.apply(&mut durable));
        disk.name_changes = rest;
        disk.durable_names = durable;
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut disk = self.disk.lock();
        let boot = disk.boot;
        disk.check_running(boot)?;
        if disk.locks.contains_key(path) {
            return Ok(None);
        }
        disk.locks.insert(path.to_path_buf(), boot);
        Ok(Some(Box::new(MemLock { disk: Arc::clone(&self.disk), path: path.to_path_buf(), boot })))
    }
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        // A lock of an earlier boot was released by the crash; the entry, if any, is somebody else's.
        if disk.boot == self.boot {
            disk.locks.remove(&self.path);
        }
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.check_running(self.boot)?;
        disk.fault(FaultKind::Read)?;
        Ok(disk.inode(self.inode)?.read(offset, buffer))
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut disk = self.disk.lock();
        disk.check_room(self.inode, offset + bytes.len() as u64)?;
        let outcome = disk.begin_change(self.boot, FaultKind::Write);
        if outcome.is_err() {
            disk.check_running(self.boot)?;
        }
        let written = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        disk.inode(self.inode)?.write(offset, bytes.get(..written).unwrap_or_default());
        outcome
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let mut disk = self.disk.lock();
        disk.check_running(self.boot)?;
        Ok(disk.inode(self.inode)?.next_data(offset))
    }

    fn length(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.check_running(self.boot)?;
        Ok(disk.inode(self.inode)?.length())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check_room(self.inode, length)?;
        disk.begin_change(self.boot, FaultKind::Write)?;
        disk.inode(self.inode)?.set_length(length);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check_room(self.inode, length)?;
        disk.begin_change(self.boot, FaultKind::Allocate)?;
        let inode = disk.inode(self.inode)?;
        if inode.length() < length {
            inode.set_length(length);
        }
        Ok(())
    }

    fn map(&self, _length: u64) -> io::Result<Option<Arc<dyn Map>>> {
        // Faults could not be injected into memory.
        Ok(None)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let outcome = disk.begin_change(self.boot, FaultKind::Sync);
        if outcome.is_err() {
            disk.check_running(self.boot)?;
            disk.inode(self.inode)?.fail_sync();
            return outcome;
        }
        disk.inode(self.inode)?.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

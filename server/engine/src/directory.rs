//! A replica's directory: who may use it, whose it is, and which files in it are ours.

use std::io;
use std::path::{Path, PathBuf};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{ClusterId, Epoch, GroupId, Lineage, StorageId};

use crate::error::DirectoryError;
use crate::fs::{Fs, Lock};
use crate::options::ReplicaIdentity;
use crate::segment;
use crate::state_file::{self, Lines, Parsed, TEMPORARY};

const META: &str = "META";
const MANIFEST: &str = "MANIFEST";
const LOCK: &str = "LOCK";
/// Its presence says that a write or flush failed.
const POISON: &str = "POISON";
/// What `META` is called while the directory is being emptied.
const DISCARDED: &str = "META.discarded";

const META_FORMAT: u32 = 1;
const MANIFEST_FORMAT: u32 = 1;

/// A locked directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    _lock: Box<dyn Lock>,
}

/// What a replica must not forget besides its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) identity: ReplicaIdentity,
    pub(crate) epoch: Epoch,
    pub(crate) lineage: Lineage,
}

/// Which segments make up the log. The single point at which the set of files changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Number of the next segment to be created. Never used again, whatever becomes of that segment.
    pub(crate) next: u32,
    /// The segments of the log, in its order. The last is the active one.
    pub(crate) log: Vec<u32>,
    /// Segments that are no longer part of the log and may be removed.
    pub(crate) dropped: Vec<u32>,
}

impl Directory {
    /// Takes the directory, creating it if there is none.
    pub(crate) fn lock(fs: &dyn Fs, path: &Path) -> Result<Self, DirectoryError> {
        let io = |error| DirectoryError::Io { path: path.to_path_buf(), error };
        fs.create_dir_all(path).map_err(io)?;
        match fs.lock(&path.join(LOCK)).map_err(io)? {
            Some(lock) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
            None => Err(DirectoryError::Locked { dir: path.to_path_buf() }),
        }
    }

    pub(crate) fn segment_path(&self, id: u32) -> PathBuf {
        self.path.join(segment::file_name(id))
    }

    pub(crate) fn io(&self, error: io::Error) -> DirectoryError {
        DirectoryError::Io { path: self.path.clone(), error }
    }

    pub(crate) fn missing(&self, name: &str) -> DirectoryError {
        DirectoryError::Missing { path: self.path.join(name) }
    }

    pub(crate) fn list(&self, fs: &dyn Fs) -> Result<Vec<String>, DirectoryError> {
        fs.list(&self.path).map_err(|error| self.io(error))
    }

    pub(crate) fn remove(&self, fs: &dyn Fs, name: &str) -> Result<(), DirectoryError> {
        match fs.remove(&self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DirectoryError::Io { path: self.path.join(name), error })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_poison(&self, fs: &dyn Fs) -> Result<(), DirectoryError> {
        let path = self.path.join(POISON);
        match crate::fs::read_file(fs, &path) {
            Ok(_) if is_broken(Rule::C41) => Ok(()),
            Ok(reason) => Err(DirectoryError::Poisoned {
                dir: self.path.clone(),
                reason: String::from_utf8_lossy(&reason).trim_end().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DirectoryError::Io { path, error }),
        }
    }
}

/// Leaves a note that the directory must not be trusted, durably.
pub(crate) fn leave_poison(fs: &dyn Fs, dir: &Path, reason: &str) -> io::Result<()> {
    let path = dir.join(POISON);
    let file = match fs.create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs.open(&path)?,
        created => created?,
    };
    // The first reason counts; a second note only makes sure of the first.
    if file.length()? == 0 {
        file.write_at(0, &[io::IoSlice::new(format!("{reason}\n").as_bytes())])?;
    }
    file.sync_data()?;
    fs.sync_dir(dir)
}

/// Files that are ours but carry nothing: what an interrupted replacement left behind.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).is_some_and(|of| of == META || of == MANIFEST)
}

/// Files that are ours and are read by name.
pub(crate) fn is_known(name: &str) -> bool {
    matches!(name, META | MANIFEST | LOCK | POISON)
}

impl Meta {
    pub(crate) fn read(fs: &dyn Fs, dir: &Directory) -> Result<Option<Self>, DirectoryError> {
        let Some(mut parsed) = Parsed::read(fs, &dir.path, META, "replica", META_FORMAT)? else { return Ok(None) };
        let identity = ReplicaIdentity {
            cluster: parsed.take("cluster")?,
            group: parsed.take("group")?,
            storage: parsed.take("storage")?,
        };
        let meta = Self { identity, epoch: Epoch(parsed.take("epoch")?), lineage: Lineage(parsed.take("lineage")?) };
        parsed.finish()?;
        Ok(Some(meta))
    }

    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Directory) -> io::Result<()> {
        let mut lines = Lines::new("replica", META_FORMAT);
        lines.push("cluster", self.identity.cluster);
        lines.push("group", self.identity.group);
        lines.push("storage", self.identity.storage);
        lines.push("epoch", self.epoch);
        lines.push("lineage", self.lineage);
        state_file::replace(fs, &dir.path, META, &lines)
    }
}

impl Manifest {
    pub(crate) fn read(fs: &dyn Fs, dir: &Directory) -> Result<Option<Self>, DirectoryError> {
        let Some(mut parsed) = Parsed::read(fs, &dir.path, MANIFEST, "manifest", MANIFEST_FORMAT)? else {
            return Ok(None);
        };
        let next = parsed.take("next")?;
        let mut manifest = Self { next, log: Vec::new(), dropped: Vec::new() };
        while let Some(id) = parsed.take_if("log")? {
            manifest.log.push(id);
        }
        while let Some(id) = parsed.take_if("dropped")? {
            manifest.dropped.push(id);
        }
        let sorted = manifest.log.is_sorted_by(|a, b| a < b) && manifest.log.last().is_none_or(|last| *last < next);
        if !sorted || manifest.log.is_empty() {
            return Err(parsed.damaged("its segments are not in order".to_owned()));
        }
        parsed.finish()?;
        Ok(Some(manifest))
    }

    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Directory) -> io::Result<()> {
        let mut lines = Lines::new("manifest", MANIFEST_FORMAT);
        lines.push("next", self.next);
        self.log.iter().for_each(|id| lines.push("log", id));
        self.dropped.iter().for_each(|id| lines.push("dropped", id));
        state_file::replace(fs, &dir.path, MANIFEST, &lines)
    }
}

/// Whose replica a directory holds; `None` if it holds none. Takes the directory for as long as it reads.
///
/// # Errors
/// [`DirectoryError::Locked`], [`DirectoryError::Damaged`], [`DirectoryError::Format`], [`DirectoryError::Io`].
pub fn identity(fs: &dyn Fs, dir: &Path) -> Result<Option<ReplicaIdentity>, DirectoryError> {
    let dir = Directory::lock(fs, dir)?;
    Ok(Meta::read(fs, &dir)?.map(|meta| meta.identity))
}

/// Gives the replica in a directory another storage incarnation: its log stays as a source to catch up from, but it speaks as a new
/// replica from now on. Lifts a poisoning, because nobody relies on the old incarnation any more.
///
/// # Errors
/// [`DirectoryError::Missing`] if the directory holds no replica, [`DirectoryError::Foreign`] if it holds one of another cluster or
/// group, and as [`identity`].
pub fn assign_storage(
    fs: &dyn Fs,
    dir: &Path,
    cluster: ClusterId,
    group: GroupId,
    storage: StorageId,
) -> Result<(), DirectoryError> {
    let dir = Directory::lock(fs, dir)?;
    let mut meta = Meta::read(fs, &dir)?.ok_or_else(|| dir.missing(META))?;
    let expected = ReplicaIdentity { cluster, group, storage };
    if (meta.identity.cluster, meta.identity.group) != (cluster, group) {
        return Err(foreign(&dir, meta.identity, expected));
    }
    meta.identity = expected;
    meta.write(fs, &dir).map_err(|error| dir.io(error))?;
    dir.remove(fs, POISON)?;
    fs.sync_dir(&dir.path).map_err(|error| dir.io(error))
}

/// Empties a replica's directory, so that it can be built anew from a snapshot or from the beginning of the log. Interrupted, it is
/// completed by the next `open`.
///
/// # Errors
/// As [`assign_storage`]. A directory without a replica is left alone.
pub fn discard(fs: &dyn Fs, dir: &Path, cluster: ClusterId, group: GroupId) -> Result<(), DirectoryError> {
    let dir = Directory::lock(fs, dir)?;
    if let Some(meta) = Meta::read(fs, &dir)? {
        if (meta.identity.cluster, meta.identity.group) != (cluster, group) {
            return Err(foreign(&dir, meta.identity, ReplicaIdentity { cluster, group, ..meta.identity }));
        }
        fs.rename(&dir.path.join(META), &dir.path.join(DISCARDED)).map_err(|error| dir.io(error))?;
        fs.sync_dir(&dir.path).map_err(|error| dir.io(error))?;
    }
    finish_discard(fs, &dir)
}

/// Completes what [`discard`] began, if it began.
pub(crate) fn finish_discard(fs: &dyn Fs, dir: &Directory) -> Result<(), DirectoryError> {
    let names = dir.list(fs)?;
    if !names.iter().any(|name| name == DISCARDED) {
        return Ok(());
    }
    for name in &names {
        let ours = segment::parse_file_name(name).is_some() || is_temporary(name) || name == MANIFEST || name == POISON;
        if ours {
            dir.remove(fs, name)?;
        }
    }
    // The marker goes last, and only after everything it stands for is gone for certain.
    fs.sync_dir(&dir.path).map_err(|error| dir.io(error))?;
    dir.remove(fs, DISCARDED)?;
    fs.sync_dir(&dir.path).map_err(|error| dir.io(error))
}

pub(crate) fn foreign(dir: &Directory, found: ReplicaIdentity, expected: ReplicaIdentity) -> DirectoryError {
    DirectoryError::Foreign { dir: dir.path.clone(), found: Box::new(found), expected: Box::new(expected) }
}

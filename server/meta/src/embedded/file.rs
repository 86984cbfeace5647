//! The file of an embedded store: one line of header, then the state as JSON.
//!
//! ```text
//! simplekv-meta 1 crc32=0a1b2c3d bytes=1234\n
//! {"revision":17,"last_session":3,"entries":[…]}
//! ```
//!
//! It is replaced as a whole: written beside, flushed, renamed, directory flushed. What is found is either the state before a
//! change or after it; anything else is damage, and is refused rather than guessed at.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use simplekv_types::Revision;

use crate::{Entry, Model, SessionId};

const MAGIC: &str = "simplekv-meta 1";

/// Why an embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it was written. It is left untouched.
    #[error("{path} is damaged ({reason}): restore it from a backup, or move it away to begin with an empty cluster")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Why a state was not saved.
#[derive(Debug)]
pub(super) enum SaveError {
    /// The file is as it was.
    NotReplaced(io::Error),
    /// The file is as it was or replaced; a power loss may decide.
    Uncertain(io::Error),
}

impl SaveError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::NotReplaced(error) | Self::Uncertain(error) => error,
        }
    }
}

/// The file, open for this process alone.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    fresh: PathBuf,
    directory: File,
    /// Held, not used: the lock ends with it.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    revision: Revision,
    last_session: u64,
    entries: Vec<SavedEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedEntry {
    key: String,
    created: Revision,
    modified: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    value: SavedValue,
}

/// Values are JSON in practice and legible then; a store has to keep any bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedValue {
    Text(String),
    Bytes(Vec<u8>),
}

impl StateFile {
    /// Locks the file at `path` and reads it; an empty model if it does not exist.
    pub(super) fn open(path: &Path) -> Result<(Self, Model), OpenError> {
        let io = |error| OpenError::io(path, error);
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, "lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::open(parent).map_err(io)?;
        let model = match std::fs::read(path) {
            Ok(bytes) => parse(&bytes).map_err(|reason| OpenError::Corrupt { path: path.to_owned(), reason })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Model::default(),
            Err(error) => return Err(io(error)),
        };
        Ok((Self { path: path.to_owned(), fresh: beside(path, "new"), directory, _lock: lock }, model))
    }

    /// Replaces the file. Blocks until it is on disk.
    pub(super) fn save(&self, model: &Model) -> Result<(), SaveError> {
        // A failed flush leaves only the file beside untrusted, and the next attempt writes that anew.
        write_fresh(&self.fresh, &render(model)).map_err(SaveError::NotReplaced)?;
        std::fs::rename(&self.fresh, &self.path).map_err(SaveError::Uncertain)?;
        self.directory.sync_all().map_err(SaveError::Uncertain)
    }
}

fn write_fresh(path: &Path, content: &[u8]) -> io::Result<()> {
    // Removed first: writing into what an earlier attempt left could flush pages that once failed to.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn render(model: &Model) -> Vec<u8> {
    let listing = model.list("");
    let entries = listing.entries.into_iter().map(|entry| SavedEntry {
        value: match std::str::from_utf8(&entry.value) {
            Ok(text) => SavedValue::Text(text.to_owned()),
            Err(_) => SavedValue::Bytes(entry.value.to_vec()),
        },
        key: entry.key,
        created: entry.created,
        modified: entry.modified,
        session: entry.session.map(|session| session.0),
    });
    let saved = Saved { revision: listing.revision, last_session: model.last_session().0, entries: entries.collect() };
    let body = serde_json::to_vec(&saved).expect("texts and numbers are always JSON");
    let mut content = format!("{MAGIC} crc32={:08x} bytes={}\n", crc32fast::hash(&body), body.len()).into_bytes();
    content.extend_from_slice(&body);
    content
}

fn parse(content: &[u8]) -> Result<Model, String> {
    let end = content.iter().position(|&byte| byte == b'\n').ok_or("it has no header")?;
    let (header, body) = content.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    if !header.starts_with(MAGIC) {
        return Err(format!("its header is `{}`, expected `{MAGIC} …`", header.escape_debug()));
    }
    let expected = format!("{MAGIC} crc32={:08x} bytes={}", crc32fast::hash(body), body.len());
    if header != expected {
        return Err(format!("its header says `{}`, its content is `{expected}`", header.escape_debug()));
    }
    let saved: Saved = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let entries = saved.entries.into_iter().map(|entry| Entry {
        key: entry.key,
        value: match entry.value {
            SavedValue::Text(text) => Bytes::from(text),
            SavedValue::Bytes(bytes) => Bytes::from(bytes),
        },
        created: entry.created,
        modified: entry.modified,
        session: entry.session.map(SessionId),
    });
    Model::restore(saved.revision, SessionId(saved.last_session), entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Txn;

    fn model() -> Model {
        let mut model = Model::default();
        let session = model.open_session();
        let txn = Txn::new().put("/skv/a", "{}").put("/skv/b", vec![0xff, 0x00]).put_in(session, "/skv/c", "3");
        model.txn(&txn).unwrap();
        model
    }

    #[test]
    fn what_was_saved_is_read() {
        let content = render(&model());
        assert_eq!(parse(&content), Ok(model()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let content = render(&model());
        for at in 0..content.len() {
            for bit in 0..8 {
                let mut damaged = content.clone();
                damaged[at] ^= 1 << bit;
                assert!(parse(&damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(parse(&content[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_unfinished_replacement_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        let (file, _) = StateFile::open(&path).unwrap();
        file.save(&model()).unwrap();
        std::fs::write(&file.fresh, "half").unwrap();
        drop(file);
        let (file, found) = StateFile::open(&path).unwrap();
        assert_eq!(found, model());
        file.save(&found).unwrap();
        assert!(!file.fresh.exists());
    }

    #[test]
    fn a_file_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        let first = StateFile::open(&path).unwrap();
        assert!(matches!(StateFile::open(&path), Err(OpenError::InUse { .. })));
        drop(first);
        StateFile::open(&path).unwrap();
    }
}

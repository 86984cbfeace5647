//! The small files beside the log: lines of text with a checksum, replaced as a whole or not at all.

use std::fmt::{Display, Write};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::checksum::crc32c;
use crate::error::DirectoryError;
use crate::fs::{Fs, read_file};

/// What a file being written is called until it takes the place of the old one.
pub(crate) const TEMPORARY: &str = ".new";

/// The lines of a state file: a title with the format, then `key value` pairs in a fixed order.
#[derive(Debug)]
pub(crate) struct Lines {
    text: String,
}

impl Lines {
    pub(crate) fn new(title: &str, format: u32) -> Self {
        Self { text: format!("simplekv {title} {format}\n") }
    }

    pub(crate) fn push(&mut self, key: &str, value: impl Display) {
        writeln!(self.text, "{key} {value}").expect("writing to a string cannot fail");
    }

    fn sealed(&self) -> String {
        format!("{}{}\n", self.text, seal_of(&self.text))
    }
}

/// The last line of a file with this text before it.
fn seal_of(text: &str) -> String {
    format!("crc32c {:08x}", crc32c(text.as_bytes()))
}

/// Replaces `dir/name`, durably. If it fails the old file is still there.
///
/// # Errors
/// `StorageFull` if there was no room and nothing was changed. After any other error nothing may be assumed about the disk.
pub(crate) fn replace(fs: &dyn Fs, dir: &Path, name: &str, lines: &Lines) -> io::Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    match fs.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let file = fs.create_new(&temporary)?;
    file.write_at(0, &[IoSlice::new(lines.sealed().as_bytes())])?;
    // A disk that turns out to be full only now has failed a flush, which is something else than having no room.
    file.sync_data().map_err(io::Error::other)?;
    fs.rename(&temporary, &dir.join(name)).map_err(io::Error::other)?;
    fs.sync_dir(dir).map_err(io::Error::other)
}

/// A state file that was read back, verified but not yet understood.
#[derive(Debug)]
pub(crate) struct Parsed {
    path: PathBuf,
    lines: Vec<(String, String)>,
    next: usize,
}

impl Parsed {
    /// Reads `dir/name`; `None` if there is none.
    ///
    /// # Errors
    /// [`DirectoryError::Damaged`], [`DirectoryError::Format`], [`DirectoryError::Io`].
    pub(crate) fn read(
        fs: &dyn Fs,
        dir: &Path,
        name: &str,
        title: &str,
        format: u32,
    ) -> Result<Option<Self>, DirectoryError> {
        let path = dir.join(name);
        let bytes = match read_file(fs, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DirectoryError::Io { path, error }),
            Ok(bytes) => bytes,
        };
        let damaged = |what: &str| DirectoryError::Damaged { path: path.clone(), what: what.to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        let (covered, seal) =
            text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')).ok_or_else(|| damaged("it is cut off"))?;
        if seal != seal_of(text.get(..covered.len() + 1).unwrap_or_default()) {
            return Err(damaged("its checksum does not match"));
        }
        let mut lines = covered.lines();
        let found = lines
            .next()
            .and_then(|line| line.strip_prefix("simplekv ")?.strip_prefix(title)?.trim().parse::<u32>().ok());
        match found {
            Some(found) if found > format => return Err(DirectoryError::Format { path, found, supported: format }),
            Some(_) => (),
            None => return Err(damaged("its first line is another file's")),
        }
        let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let lines = lines.map(pair).collect::<Option<_>>().ok_or_else(|| damaged("a line has no value"))?;
        Ok(Some(Self { path, lines, next: 0 }))
    }

    /// The value of the next line, which must be of this key.
    pub(crate) fn take<T: FromStr>(&mut self, key: &str) -> Result<T, DirectoryError> {
        self.take_if(key)?.ok_or_else(|| self.damaged(format!("`{key}` is missing")))
    }

    /// The value of the next line if it is of this key.
    pub(crate) fn take_if<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, DirectoryError> {
        let Some((_, value)) = self.lines.get(self.next).filter(|(found, _)| found == key) else { return Ok(None) };
        let value = value.parse().map_err(|_| self.damaged(format!("`{key} {value}` makes no sense")))?;
        self.next += 1;
        Ok(Some(value))
    }

    /// Everything must have been taken.
    pub(crate) fn finish(self) -> Result<(), DirectoryError> {
        match self.lines.get(self.next) {
            None => Ok(()),
            Some((key, _)) => Err(self.damaged(format!("`{key}` is unknown here"))),
        }
    }

    pub(crate) fn damaged(&self, what: String) -> DirectoryError {
        DirectoryError::Damaged { path: self.path.clone(), what }
    }
}

//! Histories as files of JSON lines.
//!
//! The first line may be a head, `{"history":1,"about":"…"}`: the version of the format, and a sentence for people. Every other line
//! is an operation; docs/histories.md describes its fields.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::Deserialize;

use crate::line::{self, LineError};
use crate::operation::Operation;

/// The version of the format this reads and writes.
const VERSION: u32 = 1;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself cannot.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is of a version that this does not know.
    #[error("line 1: version {0} of the format is unknown, expected {VERSION}")]
    Version(u32),
    /// A line is no operation.
    #[error("line {number}: {source}")]
    Line {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: LineError,
    },
}

#[derive(Deserialize)]
struct Head {
    history: u32,
}

/// Reads a whole history.
///
/// # Errors
/// At the first line that is no operation.
pub fn read(input: impl BufRead) -> Result<Vec<Operation>, ReadError> {
    let mut history = Vec::new();
    for (number, text) in (1..).zip(input.lines()) {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        if number == 1
            && let Ok(Head { history }) = serde_json::from_str(&text)
        {
            if history != VERSION {
                return Err(ReadError::Version(history));
            }
            continue;
        }
        history.push(line::parse(&text).map_err(|source| ReadError::Line { number, source })?);
    }
    Ok(history)
}

/// Writes a history while it happens: every operation is handed over whole, so a file ends behind the last of them, whatever ends the
/// writer.
#[derive(Debug)]
pub struct Writer<W = File> {
    output: W,
}

impl Writer {
    /// A new file in place of the one that has the name; `about` says what it is a history of.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, about: &str) -> io::Result<Self> {
        Self::new(File::create(path)?, about)
    }
}

impl<W: Write> Writer<W> {
    /// Writes to `output`; `about` says what it is a history of.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(mut output: W, about: &str) -> io::Result<Self> {
        let head = serde_json::json!({ "history": VERSION, "about": about });
        output.write_all(format!("{head}\n").as_bytes())?;
        Ok(Self { output })
    }

    /// Adds an operation that has ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, operation: &Operation) -> io::Result<()> {
        let mut text = line::write(operation)?;
        text.push('\n');
        self.output.write_all(text.as_bytes())
    }
}

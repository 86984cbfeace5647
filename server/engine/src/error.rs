//! Why an operation was refused or failed: one enum per operation, facts with data.

use std::io;
use std::path::PathBuf;

use simplekv_types::{Epoch, GroupTime, Lineage, Lsn, Slot};

use crate::frame::BadFrame;
use crate::options::ReplicaIdentity;
use crate::record::BadRecord;

/// Why a replica's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process, or another engine of this one, has the directory.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory holds another replica.
    #[error("{} holds {found}, not {expected}", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose replica it holds.
        found: Box<ReplicaIdentity>,
        /// Whose replica was to be opened.
        expected: Box<ReplicaIdentity>,
    },
    /// A write or flush failed in an earlier run. What is on disk may be less than what was believed to be there.
    #[error("{} was poisoned: {reason}", dir.display())]
    Poisoned {
        /// The directory.
        dir: PathBuf,
        /// What failed.
        reason: String,
    },
    /// A file that must be there is not, while others are.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A small file (`META`, `MANIFEST`) does not say what it must.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file was written by a newer version.
    #[error("{} has format {found}, this version reads up to {supported}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this code reads.
        supported: u32,
    },
    /// A segment with records in it that the manifest does not know: the manifest is older than the log. Nothing was deleted.
    #[error("{} holds records, but the manifest does not list it", path.display())]
    Unlisted {
        /// The segment.
        path: PathBuf,
    },
    /// What was found could not be flushed. The directory is poisoned.
    #[error("{}: {error}", dir.display())]
    Flush {
        /// The directory.
        dir: PathBuf,
        /// What failed.
        error: FlushError,
    },
    /// The operating system failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it answered.
        error: io::Error,
    },
}

/// Why an engine does not open. Nothing was lost by the attempt, and another can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A record that had been flushed is not intact. This is not the torn end of a log: nothing was cut.
    #[error(
        "{}: corrupt at offset {offset}, from record {lsn} on ({reason}), although the log was flushed up to record {flushed}", path.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Number of the segment.
        segment: u64,
        /// Where the damage begins in it, in bytes.
        offset: u64,
        /// The first record lost to it.
        lsn: Lsn,
        /// How far the log had been flushed, as far as the rest of it tells.
        flushed: Lsn,
        /// What is wrong there.
        reason: BadFrame,
    },
    /// An intact frame says something that cannot follow what stands before it.
    #[error("{}: the frame at offset {offset} does not fit: {what}", path.display())]
    Inconsistent {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins, in bytes.
        offset: u64,
        /// What does not fit.
        what: String,
    },
}

/// Why batches were not appended. Unless the error is `Io`, none of them is in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A write or flush has failed before: nothing is accepted any more.
    #[error("the log is poisoned")]
    Poisoned,
    /// There is no room for another segment. The log is intact, and appending can be tried again.
    #[error("no room for {bytes} bytes of log")]
    NoSpace {
        /// What was needed, in bytes.
        bytes: u64,
    },
    /// A batch does not begin where the log ends.
    #[error("a batch at record {base}, but the log ends at {log_end}")]
    NotContiguous {
        /// The batch's first record.
        base: Lsn,
        /// Where it would have to begin.
        log_end: Lsn,
    },
    /// A batch's epoch, lineage or group time is below that of the record before, or its high watermark is beyond its base.
    #[error(
        "a batch of lineage {lineage}, epoch {epoch}, time {time} and high watermark {high_watermark} cannot follow at {base}"
    )]
    OutOfOrder {
        /// The batch's first record.
        base: Lsn,
        /// Its lineage.
        lineage: Lineage,
        /// Its epoch.
        epoch: Epoch,
        /// Its group time.
        time: GroupTime,
        /// Its high watermark.
        high_watermark: Lsn,
    },
    /// A batch holds no records, or not as many as it says, or numbers them otherwise, or is larger than a batch may be.
    #[error("the batch at record {base} is malformed: {what}")]
    Malformed {
        /// The batch's first record.
        base: Lsn,
        /// What is wrong.
        what: &'static str,
    },
    /// A record of a batch is not intact.
    #[error("record {lsn} is bad: {reason}")]
    BadRecord {
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        reason: BadRecord,
    },
    /// A record is of a kind that has its number but no meaning yet.
    #[error("record {lsn} is of kind {kind}, which this version does not apply")]
    Unsupported {
        /// The record.
        lsn: Lsn,
        /// Number of its kind.
        kind: u8,
    },
    /// Writing failed. The log is poisoned; any part of the batches may be in it.
    #[error("writing the log failed, it is poisoned: {0}")]
    Io(#[source] io::Error),
}

/// Why a change other than an append failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write or flush has failed before: nothing is accepted any more.
    #[error("the log is poisoned")]
    Poisoned,
    /// There is no room for another segment. Nothing was changed.
    #[error("no room for {bytes} bytes of log")]
    NoSpace {
        /// What was needed, in bytes.
        bytes: u64,
    },
    /// Writing or flushing failed. The log is poisoned.
    #[error("writing failed, the log is poisoned: {0}")]
    Io(#[source] io::Error),
}

/// Why a flush failed. The log is poisoned: a second attempt would prove nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// A write or flush has failed before.
    #[error("the log is poisoned")]
    Poisoned,
    /// This flush failed.
    #[error("flushing segment {segment} failed, the log is poisoned: {error}")]
    Io {
        /// Number of the segment.
        segment: u64,
        /// What the operating system answered.
        error: io::Error,
    },
}

/// Why a value could not be read. What is returned otherwise is what was written, never anything else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The record is not intact.
    #[error("segment {segment}, offset {offset}, slot {slot}: record {lsn} is corrupt: {reason}")]
    Corrupt {
        /// Number of the segment.
        segment: u64,
        /// Where the record begins in it, in bytes.
        offset: u64,
        /// The key's slot.
        slot: Slot,
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        reason: BadRecord,
    },
    /// An intact record is there, but another one.
    #[error("segment {segment}, offset {offset}, slot {slot}: record {found} stands where record {lsn} was written")]
    Misplaced {
        /// Number of the segment.
        segment: u64,
        /// Where the record begins in it, in bytes.
        offset: u64,
        /// The key's slot.
        slot: Slot,
        /// The record that belongs there.
        lsn: Lsn,
        /// The record that is there.
        found: Lsn,
    },
    /// The operating system failed.
    #[error("segment {segment}, offset {offset}, slot {slot}: {error}")]
    Io {
        /// Number of the segment.
        segment: u64,
        /// Where the record begins in it, in bytes.
        offset: u64,
        /// The key's slot.
        slot: Slot,
        /// What it answered.
        error: io::Error,
    },
}

/// Why batches could not be read back from the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadLogError {
    /// The raw log no longer goes back that far: a snapshot is needed.
    #[error("the log begins at record {log_start} only")]
    BelowLogStart {
        /// The first record that can still be read.
        log_start: Lsn,
    },
    /// A frame is not intact.
    #[error("segment {segment}, offset {offset}: the log is corrupt: {reason}")]
    Corrupt {
        /// Number of the segment.
        segment: u64,
        /// Where the frame begins in it, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: BadFrame,
    },
    /// The operating system failed.
    #[error("segment {segment}: {error}")]
    Io {
        /// Number of the segment.
        segment: u64,
        /// What it answered.
        error: io::Error,
    },
}

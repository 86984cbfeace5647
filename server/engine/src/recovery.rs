//! Opening a replica: what the log says, how far it can be trusted, and where it goes on.
//!
//! The log is read front to back until the first frame that is not intact. If anything behind says that this part had been flushed,
//! the log is corrupt and nothing is touched: cutting it there would lose records that others were told are safe. If nothing says
//! so, a crash tore the last writes, and the log is cut there. That a later frame is intact proves nothing by itself, because a disk
//! writes in any order.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simplekv_types::Lsn;

use crate::applied::Applied;
use crate::directory::{self, Directory, Manifest, Meta};
use crate::engine::Recovered;
use crate::error::OpenError;
use crate::flush::FlushState;
use crate::frame::Link;
use crate::fs::Fs;
use crate::log::{Active, Log};
use crate::options::{Options, ReplicaIdentity};

use self::chain::Chain;
use self::scan::{Ending, Scan};

mod chain;
mod files;
mod scan;

/// How a log was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was no replica in the directory; there is an empty one now.
    Fresh,
    /// The log is whole.
    Clean,
    /// The last writes were torn by a crash, and cut.
    TornTail {
        /// Number of the segment in which the log was cut.
        segment: u64,
        /// Where it was cut, in bytes.
        offset: u64,
        /// The first record that is gone, if there ever was one.
        lsn: Lsn,
        /// Whether something that was written later is whole. A loss of power can leave a log like that, since a disk writes in any
        /// order; a crash of the process alone cannot, since each write is complete before the next one begins.
        followed: bool,
    },
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How the log was found.
    pub verdict: Verdict,
    /// Records read.
    pub records: u64,
    /// Bytes of log read.
    pub bytes: u64,
    /// Bytes cut off behind the end of the log.
    pub cut_bytes: u64,
    /// How long the start took.
    pub duration: Duration,
    /// Everything below is applied: it is known to be committed.
    pub applied: Lsn,
    /// Where the log ends.
    pub log_end: Lsn,
    /// How far the log says that it was flushed.
    pub flushed_end: Lsn,
    /// Files in the directory that are not the engine's. They were left alone.
    pub unknown_files: Vec<String>,
}

/// Opens a replica and reads its log.
pub(crate) fn recover(
    fs: Arc<dyn Fs>,
    path: &Path,
    identity: ReplicaIdentity,
    options: &Options,
    replay: &mut dyn FnMut(Applied<'_>),
) -> Result<(Recovered, Recovery), OpenError> {
    let started = Instant::now();
    let options = &options.clamped();
    let dir = Directory::lock(&*fs, path)?;
    directory::finish_discard(&*fs, &dir)?;
    let found = Meta::read(&*fs, &dir)?;
    if let Some(meta) = found.filter(|meta| meta.identity != identity) {
        return Err(directory::foreign(&dir, meta.identity, identity).into());
    }
    dir.check_poison(&*fs)?;
    let meta = match found {
        Some(meta) => meta,
        None => files::create(&*fs, &dir, identity, options)?,
    };
    let (manifest, unknown_files) = files::account(&*fs, &dir)?;
    let chain = Chain::open(&*fs, &dir, &identity, &manifest)?;
    let mut scan = Scan::new(options);
    let ending = scan.read(&chain, &dir, replay)?;
    let mut recovery = Recovery {
        verdict: if found.is_some() { Verdict::Clean } else { Verdict::Fresh },
        records: scan.records(),
        bytes: scan.bytes(),
        cut_bytes: 0,
        duration: Duration::ZERO,
        applied: scan.applied(),
        log_end: scan.log_end(),
        flushed_end: scan.flushed().lsn,
        unknown_files,
    };
    if let Ending::Torn { at, cut_bytes, followed, .. } = ending {
        recovery.cut_bytes = cut_bytes;
        recovery.verdict = Verdict::TornTail { segment: at.segment, offset: at.offset, lsn: at.lsn, followed };
    }
    let recovered = resume(fs, dir, meta, options, manifest, &chain, scan, &ending)?;
    recovery.duration = started.elapsed();
    Ok((recovered, recovery))
}

/// Puts together what the scan found, and makes sure that what is appended next follows what was found and nothing else.
#[expect(clippy::too_many_arguments, reason = "everything a start has gathered, used once")]
fn resume(
    fs: Arc<dyn Fs>,
    dir: Directory,
    meta: Meta,
    options: &Options,
    manifest: Manifest,
    chain: &Chain,
    scan: Scan,
    ending: &Ending,
) -> Result<Recovered, OpenError> {
    let (at, checksum) = match ending {
        Ending::Clean { at, checksum } | Ending::Torn { at, checksum, .. } => (*at, *checksum),
    };
    let last = chain.get(at.segment).expect("the scan ended in a segment of the chain");
    let active = Active { segment: last.segment.clone(), offset: at.offset, capacity: last.file_bytes, checksum };
    let unsynced = chain.since(scan.flushed().segment, at);
    let written = active.position(scan.log_end());
    let flush = FlushState::new(written, scan.flushed(), unsynced);
    let mut log = Log::new(fs, dir, meta.identity, options.segment_bytes, manifest, active);
    let mut found = scan.finish();
    if matches!(ending, Ending::Torn { .. }) {
        // What stands behind the cut must never be read as the continuation of what is written next: that begins elsewhere.
        let from = found.history.last();
        let link = Link { from: at, lineage: from.lineage, epoch: from.epoch, time: from.time };
        let new = log.roll(&link, checksum, None, 0).map_err(|error| log.dir().io(error))?;
        log.tidy(&last.segment, at.offset);
        found.map.roll(new.segment.clone(), at, new.offset);
        found.keydir.add_segment(new.segment.id, new.segment.file);
    }
    let scan::Found { hasher, keydir, map, queue, history, applied_last } = found;
    Ok(Recovered { log, meta, hasher, keydir, map, flush, queue, history, applied_last })
}

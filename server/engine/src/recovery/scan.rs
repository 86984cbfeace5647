//! Reading the log front to back.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use simplekv_types::Lsn;

use super::chain::{Chain, Linked};
use crate::applied::Applied;
use crate::directory::Directory;
use crate::engine::{History, Last, PendingBatch, take_apart};
use crate::error::{AppendError, DirectoryError, OpenError};
use crate::frame::{ALIGNMENT, BadFrame, FrameKind, Link, Position, framed_bytes, read_batch};
use crate::key_hash::KeyHasher;
use crate::keydir::Keydir;
use crate::log::{FramePlace, batch_bytes};
use crate::log_map::LogMap;
use crate::options::Options;
use crate::record::Layout;
use crate::segment::{FIRST_FRAME, Frame, Frames, Stop};

/// Expired keys removed after each batch while the log is read.
const REAP_KEYS: usize = 1024;

/// How many bytes of what looks like frames are looked at to find out whether one of them is.
const SEARCH_BYTES: u64 = 64 << 20;

/// What is known of the log up to where it was read.
#[derive(Debug)]
pub(super) struct Scan {
    found: Found,
    log_end: Lsn,
    flushed: Position,
    /// Greatest high watermark of any batch: everything below is committed.
    committed: Lsn,
    records: u64,
    bytes: u64,
}

/// What the log says.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) hasher: KeyHasher,
    pub(super) keydir: Keydir,
    pub(super) map: LogMap,
    /// Batches not known to be committed.
    pub(super) queue: VecDeque<PendingBatch>,
    pub(super) history: History,
    pub(super) applied_last: Last,
}

/// Where the log ends, and why.
#[derive(Debug)]
pub(super) enum Ending {
    /// Nothing was ever written behind.
    Clean { at: Position, checksum: u32 },
    /// Something was written behind, and it is not whole.
    Torn { at: Position, checksum: u32, cut_bytes: u64, followed: bool },
}

impl Scan {
    pub(super) fn new(options: &Options) -> Self {
        let hasher = KeyHasher::new(options.hash_seed);
        let found = Found {
            keydir: Keydir::new(hasher.clone(), options.mapped_bytes),
            hasher,
            map: LogMap::new(options.tail_bytes),
            queue: VecDeque::new(),
            history: History::default(),
            applied_last: Last::default(),
        };
        let flushed = Position { lsn: Lsn::ZERO, segment: 0, offset: 0 };
        Self { found, log_end: Lsn::ZERO, flushed, committed: Lsn::ZERO, records: 0, bytes: 0 }
    }

    pub(super) fn log_end(&self) -> Lsn {
        self.log_end
    }

    pub(super) fn applied(&self) -> Lsn {
        self.found.keydir.applied()
    }

    pub(super) fn flushed(&self) -> Position {
        self.flushed
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(mut self) -> Found {
        while self.found.keydir.reap(REAP_KEYS, &mut |_| ()) {}
        self.found
    }

    /// Reads the chain up to its end or the first frame that is not intact.
    pub(super) fn read(
        &mut self,
        chain: &Chain,
        dir: &Directory,
        replay: &mut dyn FnMut(Applied<'_>),
    ) -> Result<Ending, OpenError> {
        let mut checksum = None;
        for (index, linked) in chain.segments().iter().enumerate() {
            self.found.keydir.add_segment(linked.segment.id, linked.segment.file.clone());
            let mut frames = Frames::new(&linked.segment, FIRST_FRAME, linked.end, checksum);
            let reason = loop {
                match frames.next() {
                    Ok(Some(frame)) => self.on_frame(linked, &frame, dir, replay)?,
                    Ok(None) => break None,
                    Err(Stop::Bad(reason)) => break Some(reason),
                    Err(Stop::Io(error)) => return Err(io_error(dir, linked, error)),
                }
            };
            checksum = frames.previous();
            self.bytes += frames.offset() - FIRST_FRAME;
            let at = Position { lsn: self.log_end, segment: u64::from(linked.segment.id), offset: frames.offset() };
            let is_last = index + 1 == chain.segments().len();
            match (reason, checksum) {
                (Some(reason), Some(checksum)) if at.offset > FIRST_FRAME => {
                    return judge(chain, index, at, checksum, reason, dir);
                }
                // The link was intact a moment ago; that it does not follow its predecessor is no torn write.
                (Some(reason), _) => return Err(corrupt(dir, linked, at, self.log_end, reason)),
                (None, Some(checksum)) if is_last => return Ok(Ending::Clean { at, checksum }),
                (None, _) => (),
            }
        }
        unreachable!("a manifest lists at least one segment, and every segment has a link")
    }

    fn on_frame(
        &mut self,
        linked: &Linked,
        frame: &Frame<'_>,
        dir: &Directory,
        replay: &mut dyn FnMut(Applied<'_>),
    ) -> Result<(), OpenError> {
        let inconsistent = |what: String| {
            let path = dir.segment_path(linked.segment.id);
            OpenError::Inconsistent { path, offset: frame.offset, what }
        };
        match frame.kind {
            FrameKind::Batch => {
                let batch = self.on_batch(linked, frame);
                batch.map_err(|error| {
                    inconsistent(error.map_or("its header is cut off".to_owned(), |error| error.to_string()))
                })?;
                self.apply_committed(replay);
            }
            FrameKind::Sync => match Position::decode(frame.payload) {
                Some(flushed) if flushed.lsn <= self.log_end => self.flushed = self.flushed.max(flushed),
                _ => return Err(inconsistent(format!("it claims a flush beyond {}", self.log_end))),
            },
            FrameKind::Trunc => {
                if frame.payload != self.log_end.0.to_le_bytes() {
                    return Err(inconsistent(format!("it truncates elsewhere than at {}", self.log_end)));
                }
            }
            FrameKind::Link => match Link::decode(frame.payload) {
                Some(link) if link.from.lsn == self.log_end && frame.offset == FIRST_FRAME => {
                    self.found.map.roll(
                        linked.segment.clone(),
                        link.from,
                        frame.offset + framed_bytes(frame.payload.len()),
                    );
                }
                _ => return Err(inconsistent(format!("it continues elsewhere than at {}", self.log_end))),
            },
        }
        Ok(())
    }

    fn on_batch(&mut self, linked: &Linked, frame: &Frame<'_>) -> Result<(), Option<AppendError>> {
        let batch = read_batch(frame.payload, Bytes::copy_from_slice).ok_or(None)?;
        self.found.history.last().check(&batch, self.log_end)?;
        let items = take_apart(&batch, &self.found.hasher)?;
        self.log_end = batch.end();
        self.committed = self.committed.max(batch.high_watermark);
        self.records += u64::from(batch.count);
        self.found.history.push(&batch);
        self.found.map.push(batch.clone(), frame.offset, frame.offset + batch_bytes(&batch));
        let place = FramePlace { segment: linked.segment.id, offset: frame.offset, previous: frame.previous };
        self.found.queue.push_back(PendingBatch::new(batch, place, items));
        Ok(())
    }

    fn apply_committed(&mut self, replay: &mut dyn FnMut(Applied<'_>)) {
        let Found { keydir, queue, applied_last, .. } = &mut self.found;
        while let Some(mut pending) = queue.pop_front_if(|pending| pending.batch.end() <= self.committed) {
            pending.apply(keydir, usize::MAX, is_replayed, replay);
            *applied_last = Last::of(&pending.batch);
            keydir.reap(REAP_KEYS, &mut |_| ());
        }
    }
}

/// Whether the caller rebuilds something of its own from the record.
fn is_replayed(record: &Layout<'_>) -> bool {
    !(record.changes_key() || record.changes_element()) || record.origin.is_some()
}

/// What it means that the frame at `at`, in the segment `index` of the chain, is not intact.
fn judge(
    chain: &Chain,
    index: usize,
    at: Position,
    checksum: u32,
    reason: BadFrame,
    dir: &Directory,
) -> Result<Ending, OpenError> {
    let (linked, later) =
        chain.segments().get(index..).and_then(<[_]>::split_first).expect("the segment is in the chain");
    let written = |linked: &Linked, from| {
        Frames::written_end(&linked.segment, from, linked.end).map_err(|error| io_error(dir, linked, error))
    };
    let mut cut_bytes = written(linked, at.offset)? - at.offset;
    if later.is_empty() && cut_bytes == 0 {
        return Ok(Ending::Clean { at, checksum });
    }
    if let Some(flushed) = flushed_beyond(linked, at.offset, at).map_err(|error| io_error(dir, linked, error))? {
        return Err(corrupt(dir, linked, at, flushed, reason));
    }
    for other in later {
        if let Some(flushed) = flushed_beyond(other, FIRST_FRAME, at).map_err(|error| io_error(dir, other, error))? {
            return Err(corrupt(dir, linked, at, flushed, reason));
        }
        cut_bytes += written(other, FIRST_FRAME)? - FIRST_FRAME;
    }
    let followed = !later.is_empty() || {
        let mut behind = Frames::new(&linked.segment, at.offset + ALIGNMENT, at.offset + cut_bytes, None);
        behind.has_intact(SEARCH_BYTES).map_err(|error| io_error(dir, linked, error))?
    };
    Ok(Ending::Torn { at, checksum, cut_bytes, followed })
}

/// The greatest flush that an intact frame of the segment, from `from` on, says went beyond `at`.
fn flushed_beyond(linked: &Linked, from: u64, at: Position) -> Result<Option<Lsn>, io::Error> {
    let written = Frames::written_end(&linked.segment, from, linked.end)?;
    let mut frames = Frames::new(&linked.segment, from, written, None);
    let mut flushed: Option<Lsn> = None;
    loop {
        match frames.find_flush() {
            Ok(Some(sync)) => {
                // Segments are numbered in the order of the log.
                if sync.lsn > at.lsn || (sync.segment, sync.offset) > (at.segment, at.offset) {
                    flushed = flushed.max(Some(sync.lsn));
                }
            }
            Ok(None) | Err(Stop::Bad(_)) => return Ok(flushed),
            Err(Stop::Io(error)) => return Err(error),
        }
    }
}

fn corrupt(dir: &Directory, linked: &Linked, at: Position, flushed: Lsn, reason: BadFrame) -> OpenError {
    OpenError::Corrupt {
        path: dir.segment_path(linked.segment.id),
        segment: at.segment,
        offset: at.offset,
        lsn: at.lsn,
        flushed,
        reason,
    }
}

fn io_error(dir: &Directory, linked: &Linked, error: io::Error) -> OpenError {
    DirectoryError::Io { path: dir.segment_path(linked.segment.id), error }.into()
}

//! The single writer of one replica.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use parking_lot::RwLock;
use simplekv_types::{Batch, Epoch, FlushPolicy, GroupTime, Lineage, Lsn, Slot};

use crate::applied::{Applied, Change};
use crate::directory::Meta;
use crate::error::{AppendError, DirectoryError, FlushError, LogError, OpenError, ReadLogError};
use crate::flush::Flusher;
use crate::frame::Position;
use crate::fs::Fs;
use crate::log::{FramePlace, Log, SYNC_BYTES, batch_bytes};
use crate::log_map::LogReader;
use crate::options::{Options, ReplicaIdentity};
use crate::pending::{Overlay, Pending};
use crate::reader::{Reader, SegmentStats};
use crate::record::Record;
use crate::recovery::{self, Recovery};

pub(crate) use self::history::{History, Last};
pub(crate) use self::queue::{PendingBatch, take_apart};
pub(crate) use self::shared::{Recovered, Shared};

mod history;
mod queue;
mod shared;
mod steps;

/// At most about so many records are applied, or expired keys removed, while readers wait.
const APPLY_RECORDS: usize = 256;
/// At most about so many expired keys, or elements of what was deleted, are removed by one call of [`Engine::apply_to`], or twice as many
/// as it applies records: whoever waits for what is applied waits for this too, and what comes must not outgrow what goes.
const REAP_KEYS: usize = 1024;
/// No single write to a segment is larger, unless one batch is.
const WRITE_BYTES_MAX: u64 = 1 << 30;

/// The storage of one replica: its log, its pending batches and its keydir.
///
/// Every method that takes `&mut self` is called by one thread at a time; [`Reader`], [`LogReader`] and [`Flusher`] work beside it
/// from any thread. LSNs are exclusive watermarks throughout.
///
/// Invariant: `applied <= log_end` and `flushed_end <= log_end`; `applied` never falls.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    log: Log,
    meta: Meta,
    /// Appended, not applied, contiguous up to `log_end`.
    queue: VecDeque<PendingBatch>,
    log_end: Lsn,
    history: History,
    /// How far the log says itself that it is flushed.
    recorded_flush: Lsn,
    /// What the last applied record was written with.
    applied_last: Last,
    /// Where the batches of the current append are; kept for its memory.
    frames: Vec<FramePlace>,
}

impl Engine {
    /// Opens the replica in a directory, creating an empty one if there is none: [`Recovery::verdict`] says so, and a caller that
    /// expected to find data must not go on under the same storage incarnation.
    ///
    /// Reads the whole log. Everything known to be committed is applied, later batches are pending. `replay` is shown, in the order
    /// of the log, every committed record that is more than the put or deletion of a key, and those that came with a slot move.
    ///
    /// Under `always` everything found is flushed again when this returns: an earlier process may have written it and not lived to
    /// flush it. Under the other policies only what the log itself says is known to be flushed.
    ///
    /// A torn end of the log is cut; whoever relies on a mark of clean shutdown must have removed it before.
    ///
    /// # Errors
    /// [`OpenError`]. The directory is left as it was, except that leftovers of interrupted work may be gone.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        identity: ReplicaIdentity,
        options: &Options,
        replay: &mut dyn FnMut(Applied<'_>),
    ) -> Result<(Self, Recovery), OpenError> {
        let (recovered, recovery) = recovery::recover(fs, dir, identity, options, replay)?;
        let engine = Self::new(recovered);
        if options.flush == FlushPolicy::Always {
            engine.flusher().flush().map_err(|error| DirectoryError::Flush { dir: dir.to_path_buf(), error })?;
        }
        Ok((engine, recovery))
    }

    fn new(recovered: Recovered) -> Self {
        let Recovered { log, meta, hasher, keydir, map, flush, queue, history, applied_last } = recovered;
        let (applied, longest) = (keydir.applied(), keydir.longest());
        let log_end = queue.back().map_or(applied, |last| last.batch.end());
        let mut overlay = Overlay::default();
        queue.iter().for_each(|pending| overlay.push(&pending.batch, Arc::clone(&pending.items), pending.applied));
        let recorded_flush = flush.flushed().lsn;
        let shared = Shared {
            hasher,
            keydir: RwLock::new(keydir),
            overlay: RwLock::new(overlay),
            log: RwLock::new(map),
            flush,
            applied: AtomicU64::new(applied.0),
            longest: AtomicU32::new(longest),
            poisoned: AtomicBool::new(false),
            fs: log.shared_fs(),
            dir: log.dir().path.clone(),
        };
        Self {
            shared: Arc::new(shared),
            log,
            meta,
            queue,
            log_end,
            history,
            recorded_flush,
            applied_last,
            frames: Vec::new(),
        }
    }

    /// Appends batches with one write. They are in the log and pending when this returns, and survive any crash of the process.
    ///
    /// # Errors
    /// [`AppendError`]. After `Io` the engine is poisoned. After any other error none of the batches is appended, unless they are
    /// more than 1 GiB together: then `log_end` tells which are.
    pub fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let mut rest = batches;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |batch: &&Batch| {
                bytes += batch_bytes(batch);
                bytes <= WRITE_BYTES_MAX
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            self.append_together(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Applies what is committed: moves pending batches that end at or below `high_watermark` into the keydir, batch by batch, and
    /// removes keys whose time has come. `sink` is shown every record right after it took effect and every key that is removed, while
    /// readers are still kept out: what it changes is seen together with the record, and it must neither read through a [`Reader`] nor
    /// take long.
    ///
    /// Called again with the same high watermark it only goes on removing expired keys; true if there are more of them.
    pub fn apply_to(&mut self, high_watermark: Lsn, sink: &mut dyn FnMut(Change<'_>)) -> bool {
        let before = self.applied();
        while self.apply_some(high_watermark, sink) {}
        let records = usize::try_from(self.applied().0 - before.0).unwrap_or(usize::MAX);
        for _ in 0..REAP_KEYS.max(records.saturating_mul(2)).div_ceil(APPLY_RECORDS) {
            if !self.shared.keydir.write().reap(APPLY_RECORDS, &mut |key| sink(Change::Expired { key })) {
                return false;
            }
        }
        true
    }

    /// Cuts the log back to `lsn`: records from there on are gone for good, also for a later crash of any kind. The log goes on in a
    /// new segment; nothing is overwritten.
    ///
    /// # Panics
    /// Unless `lsn` is where a batch begins or the log ends, and not below what is applied: a committed record is never truncated.
    ///
    /// # Errors
    /// [`LogError`]. After `NoSpace` nothing is truncated, after `Io` the engine is poisoned.
    pub fn truncate_to(&mut self, lsn: Lsn) -> Result<(), LogError> {
        let applied = self.applied();
        assert!(applied <= lsn && lsn <= self.log_end, "truncating {applied}..{} to {lsn}", self.log_end);
        if self.is_poisoned() {
            return Err(LogError::Poisoned);
        }
        if lsn == self.log_end {
            return Ok(());
        }
        let kept = self.queue.partition_point(|pending| pending.batch.base < lsn);
        let cut = self.queue.get(kept).filter(|pending| pending.batch.base == lsn);
        let cut = cut.expect("truncation is at a batch boundary").frame;
        let last = kept
            .checked_sub(1)
            .and_then(|kept| self.queue.get(kept))
            .map_or(self.applied_last, |kept| Last::of(&kept.batch));
        let from = Position { lsn, segment: u64::from(cut.segment), offset: cut.offset };
        self.continue_at(from, last, cut.previous, Some(lsn), 0)?;
        self.queue.truncate(kept);
        self.log_end = lsn;
        self.history.truncate(lsn, last);
        self.recorded_flush = self.recorded_flush.min(lsn);
        self.shared.flush.truncated(from);
        let mut overlay = self.shared.overlay.write();
        overlay.clear();
        self.queue.iter().for_each(|pending| overlay.push(&pending.batch, Arc::clone(&pending.items), pending.applied));
        Ok(())
    }

    /// Batches from the one that contains `from` on, as [`LogReader::read`]. Blocks on the disk unless they are recent.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub fn read_log(&self, from: Lsn, max_bytes: usize) -> Result<Vec<Batch>, ReadLogError> {
        self.log_reader().read(from, max_bytes)
    }

    /// Remembers an epoch and a lineage, durably, whatever the log says.
    ///
    /// # Panics
    /// If either falls.
    ///
    /// # Errors
    /// [`LogError`]. After `NoSpace` the old ones are remembered, after `Io` the engine is poisoned.
    pub fn persist_epoch(&mut self, epoch: Epoch, lineage: Lineage) -> Result<(), LogError> {
        let Meta { epoch: had, lineage: was, .. } = self.meta;
        assert!(had <= epoch && was <= lineage, "epoch {epoch} of lineage {lineage} after {had} of {was}");
        if self.is_poisoned() {
            return Err(LogError::Poisoned);
        }
        let meta = Meta { epoch, lineage, ..self.meta };
        match meta.write(self.log.fs(), self.log.dir()) {
            Ok(()) => self.meta = meta,
            Err(error) => return Err(self.failed(error, 0)),
        }
        Ok(())
    }

    /// Lets the log say how far it is flushed, if it does not yet. Every append does so by itself; this is for a log that rests, so
    /// that damage to its end can be told from a torn write. Not durable before the next flush.
    ///
    /// # Errors
    /// [`LogError`]; the engine is poisoned.
    pub fn record_flush(&mut self) -> Result<(), LogError> {
        if self.is_poisoned() {
            return Err(LogError::Poisoned);
        }
        let flushed = self.shared.flush.flushed();
        if flushed.lsn <= self.recorded_flush || !self.log.has_room(SYNC_BYTES) {
            return Ok(());
        }
        self.write(Some(flushed), &[]).map_err(LogError::Io)
    }

    /// Flushes everything and says so in the log. The next start finds a log that ends where it was written to.
    ///
    /// # Errors
    /// [`FlushError`]; the directory is poisoned then.
    pub fn close(mut self) -> Result<(), FlushError> {
        let flusher = self.flusher();
        flusher.flush()?;
        self.record_flush().map_err(|_| FlushError::Poisoned)?;
        flusher.flush().map(|_| ())
    }

    /// Accepts no change any more, and leaves a note in the directory, which then refuses to open. Reads go on. True if the note is
    /// durable. A failed write or flush does this by itself; who must be sure that the note is there calls it again.
    pub fn poison(&mut self, reason: &str) -> bool {
        self.shared.poison(reason)
    }

    /// Whether a write or flush has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// The first LSN not yet appended.
    #[must_use]
    pub fn log_end(&self) -> Lsn {
        self.log_end
    }

    /// The first LSN that can still be read back.
    #[must_use]
    pub fn log_start(&self) -> Lsn {
        self.shared.log.read().start()
    }

    /// The first LSN not known to be durable.
    #[must_use]
    pub fn flushed_end(&self) -> Lsn {
        self.shared.flush.flushed().lsn
    }

    /// The first LSN not yet applied.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.shared.applied()
    }

    /// Group time of the last applied batch.
    #[must_use]
    pub fn applied_time(&self) -> GroupTime {
        self.applied_last.time
    }

    /// Epoch of the last record; zero if there is none.
    #[must_use]
    pub fn last_epoch(&self) -> Epoch {
        self.history.last().epoch
    }

    /// Lineage of the last record; zero if there is none.
    #[must_use]
    pub fn last_lineage(&self) -> Lineage {
        self.history.last().lineage
    }

    /// Group time of the last record, applied or not; zero if there is none.
    #[must_use]
    pub fn last_time(&self) -> GroupTime {
        self.history.last().time
    }

    /// The epochs of the log with their first records, both rising.
    #[must_use]
    pub fn epoch_history(&self) -> &[(Epoch, Lsn)] {
        self.history.epochs()
    }

    /// Epoch of the record before `lsn`; `None` at the beginning of the log and beyond its end.
    #[must_use]
    pub fn epoch_before(&self, lsn: Lsn) -> Option<Epoch> {
        if lsn > self.log_end { None } else { self.history.before(lsn) }
    }

    /// The epoch and lineage that were persisted last.
    #[must_use]
    pub fn persisted_epoch(&self) -> (Epoch, Lineage) {
        (self.meta.epoch, self.meta.lineage)
    }

    /// What pending records make of a key; `None` if none touches it, so that the applied state stands.
    #[must_use]
    pub fn pending(&self, slot: Slot, key: &[u8]) -> Option<Pending> {
        self.shared.overlay().get(slot, self.shared.hasher.hash(key), key)
    }

    /// The last pending record of one of the key's elements.
    #[must_use]
    pub fn pending_element(&self, slot: Slot, key: &[u8]) -> Option<Lsn> {
        self.shared.overlay().last_element(slot, self.shared.hasher.hash(key), key)
    }

    /// Shows every pending record that changes the key, one of its elements or its whole slot, in the order of the log. Looks at all
    /// that is pending.
    pub fn pending_records(&self, slot: Slot, key: &[u8], show: &mut dyn FnMut(Lsn, Record<'_>)) {
        let hash = self.shared.hasher.hash(key);
        self.queue.iter().for_each(|pending| pending.show_changes(slot, hash, key, show));
    }

    /// How full of live records the segments are, in the order of the log. Exact, once cleared slots have been taken apart by
    /// [`Engine::apply_to`].
    #[must_use]
    pub fn segment_stats(&self) -> Vec<SegmentStats> {
        let written: Vec<(u32, u64)> =
            self.shared.log.read().segments().map(|(segment, bytes)| (segment.id, bytes)).collect();
        let active = self.log.active();
        let keydir = self.shared.keydir.read();
        let stats = |(id, sealed_bytes): (u32, u64)| {
            let bytes = if id == active.segment.id { active.offset } else { sealed_bytes };
            SegmentStats { segment: u64::from(id), bytes, live_bytes: keydir.live_bytes(id) }
        };
        written.into_iter().map(stats).collect()
    }

    /// Reads what is applied.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Flushes the log.
    #[must_use]
    pub fn flusher(&self) -> Flusher {
        Flusher::new(Arc::clone(&self.shared))
    }

    /// Reads the log back.
    #[must_use]
    pub fn log_reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }
}

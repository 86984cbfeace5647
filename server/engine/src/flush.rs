//! Making the log durable, from any thread, while the writer goes on.
//!
//! A flush covers everything written before it was asked for. Callers that wait together share one: whoever gets the turn next
//! finds that the last one may have covered it too. After a failed flush nothing is flushed again.

use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_types::Lsn;

use crate::engine::Shared;
use crate::error::FlushError;
use crate::frame::Position;
use crate::segment::Segment;

/// Flushes the log of one engine. Cheap to clone; `flush` blocks and may run beside appends.
#[derive(Clone, Debug)]
pub struct Flusher {
    shared: Arc<Shared>,
}

/// How far the log is written and how far it is flushed.
#[derive(Debug)]
pub(crate) struct FlushState {
    /// Held by the one flush that is running.
    turn: Mutex<()>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    written: Position,
    /// Invariant: `flushed <= written`. Falls only by a truncation.
    flushed: Position,
    /// What the running flush will have made durable. A truncation lowers it: what is appended in place of the cut records must
    /// not pass for flushed.
    in_flight: Option<Position>,
    /// Segments with bytes that may not be durable, with how far they are written; the active one is last.
    unsynced: Vec<(Segment, u64)>,
}

impl FlushState {
    /// Everything up to `flushed` is durable; `unsynced` are the segments that may hold what is behind.
    pub(crate) fn new(written: Position, flushed: Position, unsynced: Vec<(Segment, u64)>) -> Self {
        Self { turn: Mutex::new(()), progress: Mutex::new(Progress { written, flushed, in_flight: None, unsynced }) }
    }

    pub(crate) fn flushed(&self) -> Position {
        self.progress.lock().flushed
    }

    /// The writer has written up to `position`, which is in `segment`. Returns how far the log is flushed.
    pub(crate) fn wrote(&self, segment: &Segment, position: Position) {
        let mut progress = self.progress.lock();
        progress.written = position;
        match progress.unsynced.last_mut().filter(|(last, _)| last.id == segment.id) {
            Some((_, written)) => *written = position.offset,
            None => progress.unsynced.push((segment.clone(), position.offset)),
        }
    }

    /// The log was cut back to `position`, and continues elsewhere.
    pub(crate) fn truncated(&self, position: Position) {
        let mut progress = self.progress.lock();
        progress.written = position;
        if progress.flushed.lsn > position.lsn {
            progress.flushed = position;
        }
        if let Some(in_flight) = progress.in_flight.as_mut().filter(|in_flight| in_flight.lsn > position.lsn) {
            *in_flight = position;
        }
    }
}

impl Flusher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes everything durable that was appended before the call, and returns the flushed end. Blocks on the disk.
    ///
    /// # Errors
    /// [`FlushError`]; the engine is poisoned then.
    pub fn flush(&self) -> Result<Lsn, FlushError> {
        let state = &self.shared.flush;
        let wanted = state.progress.lock().written;
        let _turn = state.turn.lock();
        if self.shared.is_poisoned() {
            return Err(FlushError::Poisoned);
        }
        let segments = {
            let mut progress = state.progress.lock();
            if progress.flushed >= wanted.min(progress.written) {
                return Ok(progress.flushed.lsn);
            }
            progress.in_flight = Some(progress.written);
            progress.unsynced.clone()
        };
        for (segment, _) in &segments {
            if let Err(error) = segment.file.sync_data() {
                self.shared.poison(&format!("flushing segment {} failed: {error}", segment.id));
                return Err(FlushError::Io { segment: u64::from(segment.id), error });
            }
        }
        let mut progress = state.progress.lock();
        if let Some(flushed) = progress.in_flight.take() {
            progress.flushed = progress.flushed.max(flushed);
        }
        // What was written to a segment meanwhile still waits for the next flush.
        progress.unsynced.retain(|(segment, written)| {
            !segments.iter().any(|(synced, upto)| synced.id == segment.id && upto == written)
        });
        Ok(progress.flushed.lsn)
    }

    /// Everything below is durable.
    #[must_use]
    pub fn flushed_end(&self) -> Lsn {
        self.shared.flush.flushed().lsn
    }
}

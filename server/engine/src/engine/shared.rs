//! What the writer shares with readers, flushers and those who read the log back.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use simplekv_types::Lsn;

use super::{History, Last, PendingBatch};
use crate::directory::{self, Meta};
use crate::flush::FlushState;
use crate::fs::Fs;
use crate::key_hash::KeyHasher;
use crate::keydir::Keydir;
use crate::log::Log;
use crate::log_map::LogMap;
use crate::pending::Overlay;

/// What readers and flushers share with the writer.
///
/// The writer holds one lock at a time and none during I/O.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hasher: KeyHasher,
    pub(crate) keydir: RwLock<Keydir>,
    /// Loses a record only after the keydir has it, so that nobody can miss it in both. Who asks it what a record may have changed
    /// goes through [`Shared::overlay`]. Locked after the keydir by whoever holds both.
    pub(crate) overlay: RwLock<Overlay>,
    pub(crate) log: RwLock<LogMap>,
    pub(crate) flush: FlushState,
    pub(super) applied: AtomicU64,
    /// The keydir's, readable without its lock.
    pub(super) longest: AtomicU32,
    pub(super) poisoned: AtomicBool,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
}

/// What recovery hands over: everything the log says.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Log,
    pub(crate) meta: Meta,
    pub(crate) hasher: KeyHasher,
    pub(crate) keydir: Keydir,
    pub(crate) map: LogMap,
    pub(crate) flush: FlushState,
    pub(crate) queue: VecDeque<PendingBatch>,
    pub(crate) history: History,
    pub(crate) applied_last: Last,
}

impl Shared {
    pub(crate) fn applied(&self) -> Lsn {
        Lsn(self.applied.load(Ordering::Acquire))
    }

    /// The overlay, ready to be asked.
    pub(crate) fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        let overlay = self.overlay.read();
        if overlay.is_indexed() {
            return overlay;
        }
        drop(overlay);
        let mut overlay = self.overlay.write();
        overlay.index();
        RwLockWriteGuard::downgrade(overlay)
    }

    pub(crate) fn longest(&self) -> u32 {
        self.longest.load(Ordering::Relaxed)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Stops every further change and leaves a note in the directory. True if the note is durable.
    pub(crate) fn poison(&self, reason: &str) -> bool {
        self.poisoned.store(true, Ordering::SeqCst);
        directory::leave_poison(&*self.fs, &self.dir, reason).is_ok()
    }
}

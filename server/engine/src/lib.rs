//! The storage of one replica: a Bitcask whose log is the replicated log.
//!
//! One [`Engine`] owns one directory and is its single writer. Batches are appended to the log as they come and wait there as
//! *pending*; applying them, once they are committed, puts their keys into the keydir, which is all that readers see. So truncating
//! an uncommitted suffix never has to undo anything, and nobody can read what may still vanish.
//!
//! The engine is synchronous and knows nothing of leaders, followers or who owns a slot. Its caller decides when a batch is
//! committed, when to flush, and what an acknowledgement means under which [`simplekv_types::FlushPolicy`].
//!
//! The bytes on disk are described in `FORMAT.md`, next to this crate's manifest.

mod applied;
mod batch;
mod checksum;
mod directory;
mod engine;
mod error;
mod flush;
mod frame;
pub mod fs;
mod key_hash;
mod keydir;
mod log;
mod log_map;
mod options;
mod pending;
mod reader;
pub mod record;
mod recovery;
mod segment;
mod state_file;
mod written;

pub use applied::Applied;
pub use batch::{BATCH_BYTES_MAX, BatchBuilder, BatchStart, Checkpoint, EncodeError};
pub use directory::{assign_storage, discard, identity};
pub use engine::Engine;
pub use error::{AppendError, DirectoryError, FlushError, LogError, OpenError, ReadError, ReadLogError};
pub use flush::Flusher;
pub use log_map::LogReader;
pub use options::{Options, ReplicaIdentity};
pub use pending::Pending;
pub use reader::{Found, Located, ReadGuard, Reader, SegmentStats, SlotStats};
pub use recovery::{Recovery, Verdict};

//! The storage of one replica: a Bitcask whose log is the replicated log.
//!
//! One [`Engine`] owns one directory and is its single writer. Batches are appended to the log as they come and wait there as
//! *pending*; applying them, once they are committed, puts their keys into the keydir, which is all that readers see. So truncating
//! an uncommitted suffix never has to undo anything, and nobody can read what may still vanish.
//!
//! The engine is synchronous and knows nothing of leaders, followers or who owns a slot. Its caller decides when a batch is
//! committed, when to flush, and what an acknowledgement means under which [`simplekv_types::FlushPolicy`].
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use simplekv_engine::{fs::MemFs, record::{Put, Record, ValueType}, *};
//! use simplekv_types::{ClusterId, Epoch, GroupId, GroupTime, Lineage, Lsn, Slot, StorageId, limits::VALUE_BYTES_DEFAULT};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = ReplicaIdentity { cluster: ClusterId(1), group: GroupId(1), storage: StorageId(1) };
//! let (mut engine, _) = Engine::open(Arc::new(MemFs::new()), Path::new("/g1"), identity, &Options::default(), &mut |_| ())?;
//!
//! let start = BatchStart { lineage: Lineage(0), epoch: Epoch(1), base: engine.log_end(), time: GroupTime(1), high_watermark: Lsn(0) };
//! let mut builder = BatchBuilder::new(start, VALUE_BYTES_DEFAULT);
//! let slot = Slot::of_key(b"k");
//! builder.push(&Record::Put(Put { slot, key: b"k", value: b"v", value_type: ValueType::String, expire_at: None, origin: None }))?;
//! engine.append(&builder.finish().into_iter().collect::<Vec<_>>())?;
//!
//! engine.flusher().flush()?; // under `always`, before anybody is told
//! engine.apply_to(engine.log_end(), &mut |_| ()); // once it is committed
//! assert_eq!(engine.reader().guard().get(slot, b"k")?.map(|found| found.value), Some("v".into()));
//! # Ok(())
//! # }
//! ```
//!
//! The bytes on disk are described in `FORMAT.md`, next to this crate's manifest.

mod applied;
mod batch;
mod checksum;
mod copying;
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

pub use applied::{Applied, Change};
pub use batch::{BATCH_BYTES_MAX, BatchBuilder, BatchStart, Checkpoint, EncodeError};
pub use copying::{CopyCursor, CopyPiece};
pub use directory::{assign_storage, discard, identity};
pub use engine::Engine;
pub use error::{AppendError, DirectoryError, FlushError, LogError, OpenError, ReadError, ReadLogError};
pub use flush::Flusher;
pub use log_map::LogReader;
pub use options::{Options, ReplicaIdentity};
pub use pending::Pending;
pub use reader::{Found, FoundElements, Located, ReadGuard, Reader, SegmentStats, SlotStats};
pub use recovery::{Recovery, Verdict};

//! The vocabulary of simplekv.
//!
//! One word, one meaning: every crate speaks in these types, and none of them knows about files, sockets or protobuf. What crosses
//! the wire is converted to and from them in one place (`simplekv-proto`), what is stored in the metadata store is their JSON.
//!
//! All log watermarks are **exclusive**: `lsn < log_end` means "we have it". Ranges are half-open and an empty log needs no sentinel.

mod batch;
mod failure;
mod group;
mod identity;
pub mod limits;
mod lsn;
mod migration;
pub mod mutants;
mod naming;
pub mod peer;
mod read_policy;
mod reply;
mod request;
mod session;
mod slot;
mod slot_map;
mod time;
mod topology;
mod value_type;

pub use batch::Batch;
pub use failure::{Failure, FailureCode, Told};
pub use group::{GroupRecord, Leadership, Member, RecoveryPolicy};
pub use identity::{ClientId, ClusterId, GroupId, NodeId, ParseIdError, RunId, StorageId};
pub use lsn::{Epoch, Lineage, Lsn};
pub use migration::{JobEnd, JobPart, JobRecord, MigrationId, MigrationRecord, MigrationState, MoveJob, Side};
pub use naming::Naming;
pub use read_policy::{ParsePolicyError, ReadPolicy};
pub use reply::Reply;
pub use request::{Dedupe, Seq};
pub use session::{InvalidToken, Position, SessionToken};
pub use slot::{SLOT_COUNT, Slot, SlotRange};
pub use slot_map::{SlotMap, SlotMapError, SlotMapVersion};
pub use time::{GroupTime, Tick};
pub use topology::{ClusterRecord, FlushPolicy, NodeAddresses, NodeRecord, Registration, Revision};
pub use value_type::ValueType;

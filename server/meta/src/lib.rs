//! The cluster's metadata: who is there, who leads, who owns which slot.
//!
//! A [`MetaStore`] keeps small records with linearizable reads and compare-and-set: [`EtcdStore`] in a real cluster,
//! [`EmbeddedStore`] where one process is the whole cluster. [`Records`] puts the cluster's own operations on top, [`Mirror`] keeps
//! a decoded [`ClusterView`] current. [`Keys`] is the only place that knows how a key is spelled.
//!
//! Nothing here is needed to serve data: while the store is down every call fails within its time limit, the mirror keeps what it
//! knew and says so, and everything resumes by itself.

mod backoff;
mod embedded;
mod jobs;
mod keys;
mod migrations;
mod mirror;
mod model;
mod office;
pub mod pace;
mod record;
mod records;
mod session;
mod store;
mod view;
mod watch;

#[cfg(feature = "etcd")]
mod etcd;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod testing;

pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdOptions, EtcdStore, EtcdTls, EtcdUser};
pub use jobs::Jobs;
pub use keys::{InvalidPrefix, Key, Keys, UnknownKey};
pub use migrations::{MigrationChange, MigrationConflict, MigrationView};
pub use mirror::{Mirror, MirrorOptions};
pub use model::Model;
pub use office::{Campaign, Office};
pub use record::{ControllerRecord, LiveRecord, RecordError, Versioned, decode, encode};
pub use records::{Cas, GroupChange, GroupConflict, Records};
pub use session::{Session, SessionState};
pub use store::{
    Compare, Entry, Listing, Lost, MetaError, MetaStore, Op, SessionId, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, TxnOutcome,
};
pub use view::{ClusterView, Freshness};
pub use watch::{Change, Watch, WatchEvent};

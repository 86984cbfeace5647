//! Values of the metadata store: JSON of typed records.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simplekv_types::{NodeId, Revision, RunId};

use bytes::Bytes;

use crate::{Entry, MetaError, SessionId, UnknownKey};

/// A node's sign of life, in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// The run that is alive.
    pub run: RunId,
}

/// Who holds the controller's office, in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerRecord {
    /// The node.
    pub node: NodeId,
    /// The run of its process.
    pub run: RunId,
}

/// A record with its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub record: T,
    /// Revision its key was created at.
    pub created: Revision,
    /// Revision of its last change: what a compare-and-set of it names.
    pub modified: Revision,
    /// The session it vanishes with.
    pub session: Option<SessionId>,
}

impl<T: DeserializeOwned> Versioned<T> {
    /// An entry, decoded.
    ///
    /// # Errors
    /// [`RecordError::Corrupt`] if the value is not such a record.
    pub fn decode(entry: &Entry) -> Result<Self, RecordError> {
        let record = decode(entry)?;
        Ok(Self { record, created: entry.created, modified: entry.modified, session: entry.session })
    }
}

impl Versioned<Bytes> {
    /// An entry as it is.
    #[must_use]
    pub fn raw(entry: &Entry) -> Self {
        Self { record: entry.value.clone(), created: entry.created, modified: entry.modified, session: entry.session }
    }

    /// The entry decoded; `None` if the value is not such a record.
    #[must_use]
    pub fn understood<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.record).ok()
    }
}

/// Why a record could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
    /// The value is not what belongs under the key. Nothing was changed.
    #[error("the record `{key}` in the metadata store is corrupt: {reason}")]
    Corrupt {
        /// The key.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// There is a key below the cluster's prefix that this version does not know.
    #[error(transparent)]
    UnknownKey(#[from] UnknownKey),
}

impl RecordError {
    /// Whether the call may nevertheless have taken effect, now or later.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        match self {
            Self::Store(error) => error.may_have_applied(),
            Self::Corrupt { .. } | Self::UnknownKey(_) => false,
        }
    }
}

/// An entry's value as a record.
///
/// # Errors
/// [`RecordError::Corrupt`], naming the key.
pub fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, RecordError> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| RecordError::Corrupt { key: entry.key.clone(), reason: error.to_string() })
}

/// A record as a value.
///
/// # Panics
/// If `record` has a map whose keys are not text, which no record of ours has.
#[must_use]
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(record).expect("records are structs with text keys, which JSON can always express"))
}

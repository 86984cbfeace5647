//! Why a replica cannot do what its protocol asks of it, and whether its disk may be believed afterwards.

use std::error::Error;

use simplekv_engine::{AppendError, LogError, ReadLogError};

/// An effect that could not be carried out. The replica does nothing more.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) what: String,
    /// Whether what was acknowledged may be lost: then this storage must never again pass for what it was. A full disk, or a
    /// record this version does not know, costs nothing that was acknowledged.
    pub(super) distrust: bool,
}

impl Failed {
    /// The disk failed.
    pub(super) fn storage(what: impl Into<String>) -> Self {
        Self { what: what.into(), distrust: true }
    }

    /// Something else than the disk failed.
    pub(super) fn mistaken(error: &dyn Error) -> Self {
        Self { what: error.to_string(), distrust: false }
    }
}

impl From<AppendError> for Failed {
    fn from(error: AppendError) -> Self {
        let distrust = matches!(error, AppendError::Io(_) | AppendError::Poisoned);
        Self { what: error.to_string(), distrust }
    }
}

impl From<LogError> for Failed {
    fn from(error: LogError) -> Self {
        let distrust = matches!(error, LogError::Io(_) | LogError::Poisoned);
        Self { what: error.to_string(), distrust }
    }
}

impl From<ReadLogError> for Failed {
    fn from(error: ReadLogError) -> Self {
        let distrust = matches!(error, ReadLogError::Io { .. } | ReadLogError::Corrupt { .. });
        Self { what: error.to_string(), distrust }
    }
}

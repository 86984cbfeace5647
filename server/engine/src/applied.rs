//! What applying tells the caller.

use simplekv_types::{Epoch, GroupTime, Lsn};

use crate::record::Record;

/// A record that has just been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// Its place in the log.
    pub lsn: Lsn,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// The group time of its batch, applied with it.
    pub time: GroupTime,
    /// What it does.
    pub record: Record<'a>,
}

/// What becomes of the applied state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A record took effect.
    Applied(Applied<'a>),
    /// A key is removed whose time had come. Nobody has seen it since the group's time passed it.
    Expired {
        /// The key.
        key: &'a [u8],
    },
}

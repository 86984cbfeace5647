//! What applying a record tells the caller.

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

//! What a write carries so that its retry is applied once.

use crate::GroupTime;

/// Number of a write within its client, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The identity of one write, unchanged over all its attempts (except `attempt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The write's number within its client.
    pub seq: Seq,
    /// Every write of this client with a smaller number has been answered: their results need not be kept.
    pub ack_below: Seq,
    /// Group time after which the write must not be executed any more. Decided by the replicated clock, so that no jump of a wall
    /// clock can turn a retry into a second execution.
    pub deadline: GroupTime,
    /// 1 for the first attempt. From the second on, every result is logged before it is answered.
    pub attempt: u32,
}

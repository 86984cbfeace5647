//! How a replica is, for operators.

use std::time::Duration;

use simplekv_cluster::{FollowerStatus, Role, Traces};
use simplekv_types::{Epoch, GroupId, GroupTime, Lsn, MigrationId, NodeId, Tick};

use super::{Clock, Group, Respond};

/// How a replica is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The group.
    pub group: GroupId,
    /// The replica's epoch.
    pub epoch: Epoch,
    /// What it could begin another history with.
    pub traces: Traces,
    /// Its role in it.
    pub role: Role,
    /// Who leads, if it knows.
    pub leader: Option<NodeId>,
    /// Whether this leader has begun its epoch.
    pub activated: bool,
    /// Whether its append path hangs.
    pub stalled: bool,
    /// First LSN it does not have.
    pub log_end: Lsn,
    /// First LSN it has not on disk.
    pub flushed_end: Lsn,
    /// First LSN not applied; all committed as far as it knows are.
    pub applied: Lsn,
    /// Keys.
    pub keys: u64,
    /// Bytes of the keys' records.
    pub live_bytes: u64,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Group time of the applied state.
    pub time: GroupTime,
    /// What is left of the leader lease, in milliseconds; 0 without one.
    pub lease_ms: u64,
    /// How many slots it owns.
    pub slots: usize,
    /// A leader's view of the others.
    pub followers: Vec<FollowerReport>,
    /// A leader's moves that bring slots.
    pub moves: Vec<MoveReport>,
}

/// How far a move has come that brings slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveReport {
    /// The move.
    pub migration: MigrationId,
    /// Slots that have been copied once; what changes of them follows.
    pub slots_scanned: usize,
    /// Records taken in since this leader began.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For how long it has been taking them in.
    pub elapsed: Duration,
    /// Whether everything up to the source's fence is here.
    pub ready: bool,
}

/// A follower as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerReport {
    /// The node.
    pub node: NodeId,
    /// First LSN it has not acknowledged.
    pub matched: Lsn,
    /// Whether it is in sync.
    pub in_sync: bool,
    /// How long ago it was last heard; `None` if never in this epoch.
    pub silent: Option<Duration>,
}

impl FollowerReport {
    fn of(status: FollowerStatus, now: Tick) -> Self {
        let FollowerStatus { node, matched, in_sync, heard_at, .. } = status;
        Self { node, matched, in_sync, silent: heard_at.map(|heard_at| now.since(heard_at)) }
    }
}

impl<R: Respond> Group<R> {
    /// Whether the append path hangs: the node should not look alive then.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.replica.serving().stalled
    }

    /// How the replica is.
    #[must_use]
    pub fn report(&self, clock: &impl Clock) -> Report {
        let serving = self.replica.serving();
        let totals = self.reader.totals();
        let now = clock.now();
        Report {
            group: self.id,
            epoch: serving.epoch,
            traces: self.replica.traces(),
            role: serving.role,
            leader: serving.leader,
            activated: serving.activated,
            stalled: serving.stalled,
            log_end: self.engine.log_end(),
            flushed_end: self.engine.flushed_end(),
            applied: self.engine.applied(),
            keys: totals.keys,
            live_bytes: totals.bytes,
            log_bytes: self.engine.segment_stats().iter().map(|segment| segment.bytes).sum(),
            time: self.engine.applied_time(),
            lease_ms: u64::try_from(serving.leader_lease_until.since(now).as_millis()).unwrap_or(u64::MAX),
            slots: self.slots.table().applied().owned().map(|range| range.iter().len()).sum(),
            followers: self
                .replica
                .status()
                .followers
                .into_iter()
                .map(|follower| FollowerReport::of(follower, now))
                .collect(),
            moves: self.move_reports(now),
        }
    }
}

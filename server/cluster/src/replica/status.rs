//! A replica as operators and tests see it.

use simplekv_types::{Epoch, GroupTime, Lineage, Lsn, Member, NodeId, RunId, StorageId, Tick};

use super::{Replica, RoleState};
use crate::effect::Role;

/// What a replica knows of itself and, if it leads, of the others. A copy, for display.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The history.
    pub lineage: Lineage,
    /// The epoch.
    pub epoch: Epoch,
    /// The role in it.
    pub role: Role,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// First LSN not written.
    pub log_end: Lsn,
    /// First LSN not known durable.
    pub flushed_end: Lsn,
    /// First LSN not known committed.
    pub high_watermark: Lsn,
    /// Epoch of the last record.
    pub last_epoch: Epoch,
    /// Group time of the last batch.
    pub time: GroupTime,
    /// First LSN not known to equal the leader's log; a leader's own log end.
    pub verified_end: Lsn,
    /// Whether a leader has committed the start of its epoch.
    pub activated: bool,
    /// Whether a leader may commit: no older leader can hold a lease.
    pub gate_open: bool,
    /// A leader's in-sync set as confirmed.
    pub in_sync: Vec<Member>,
    /// Whose acknowledgement a leader's commits wait for: the in-sync set and who joins it.
    pub required_acks: Vec<Member>,
    /// The other replicas, as their leader sees them.
    pub followers: Vec<FollowerStatus>,
}

/// A follower as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FollowerStatus {
    /// The node.
    pub node: NodeId,
    /// The incarnation that answers there, once it has.
    pub storage: Option<StorageId>,
    /// Its run.
    pub run: Option<RunId>,
    /// First LSN it has not acknowledged.
    pub matched: Lsn,
    /// First LSN not sent to it.
    pub next: Lsn,
    /// Whether it is in sync.
    pub in_sync: bool,
    /// Whether it does not keep up.
    pub lagging: bool,
    /// When its last acknowledgement was received.
    pub heard_at: Option<Tick>,
    /// Until when it may hold a read lease.
    pub holder_until: Tick,
}

impl Replica {
    /// A copy of what is worth showing.
    #[must_use]
    pub fn status(&self) -> Status {
        let serving = self.serving();
        let core = &self.core;
        let mut status = Status {
            lineage: core.lineage,
            epoch: core.epoch,
            role: serving.role,
            leader: serving.leader,
            log_end: core.log.end,
            flushed_end: core.log.flushed_end,
            high_watermark: core.high_watermark,
            last_epoch: core.log.last_epoch(),
            time: core.log.last_time,
            verified_end: core.log.end,
            activated: serving.activated,
            gate_open: false,
            in_sync: Vec::new(),
            required_acks: Vec::new(),
            followers: Vec::new(),
        };
        match &self.role {
            RoleState::Follower(follower) => status.verified_end = follower.verified_end,
            RoleState::Leader(leader) => {
                status.gate_open = leader.gate.is_open();
                status.in_sync.clone_from(&leader.in_sync.record.in_sync);
                status.required_acks = leader.in_sync.required().to_vec();
                status.followers = self.follower_statuses(leader);
            }
            RoleState::Halted => (),
        }
        status
    }

    fn follower_statuses(&self, leader: &super::Leader) -> Vec<FollowerStatus> {
        let each = leader.followers.values().map(|progress| {
            let member = progress.storage().map(|storage| Member { node: progress.node, storage });
            FollowerStatus {
                node: progress.node,
                storage: progress.storage(),
                run: progress.run(),
                matched: progress.matched,
                next: progress.next,
                in_sync: member.is_some_and(|member| leader.in_sync.record.is_in_sync(member)),
                lagging: member.is_none_or(|member| leader.is_lagging(&self.core, self.now, member)),
                heard_at: progress.heard_at,
                holder_until: progress.holder_until,
            }
        });
        each.collect()
    }
}

//! What must hold after every step of a replica.

use simplekv_cluster::Role;
use simplekv_types::peer::Message;

use super::*;
use crate::oracle::Shadow;

impl World {
    /// Looks at a replica that has just been stepped.
    pub(super) fn observe(&mut self, id: NodeId, group: GroupId) {
        let Some(oracle) = self.oracles.get_mut(&group) else { return };
        let Some(hosted) = self.machines.get_mut(&id).and_then(|machine| machine.hosted_mut(group)) else { return };
        let engine = hosted.group.engine();
        let (log_end, last_epoch, applied) = (engine.log_end(), engine.last_epoch(), engine.applied());
        let dropped = hosted.shadow.follow(&hosted.log, log_end, last_epoch);
        assert_eq!(hosted.shadow.end(), log_end, "{id}: the log of {group} cannot be read to its end");
        oracle.drop_batches(id, group, &dropped);
        self.counts.truncations += u64::from(!dropped.is_empty());
        let news = oracle.apply(id, group, &mut hosted.shadow, applied);
        let serving = hosted.group.replica().serving();
        self.counts.checks += 1;
        if serving.role == Role::Leader && serving.activated && serving.epoch >= oracle.committed_epoch() {
            // A leader that was replaced without knowing is left behind, and none the worse for it.
            let held = oracle.is_held_by(&hosted.shadow);
            assert!(held, "{id} leads epoch {} of {group} and lacks what is committed", serving.epoch);
        }
        if news {
            self.check_in_sync(group);
        }
        self.check_leases(id, group);
    }

    /// Every intact in-sync replica holds everything committed.
    pub(super) fn check_in_sync(&self, group: GroupId) {
        let Some(oracle) = self.oracles.get(&group) else { return };
        let (record, _) = self.store.group(group);
        for member in record.in_sync {
            let Some(machine) = self.machines.get(&member.node).filter(|machine| machine.keeps_promises_of(member))
            else {
                continue;
            };
            let Some(hosted) = machine.hosted(group) else { continue };
            // Its log may have grown in the very step that committed: then it has not been looked at yet.
            if hosted.group.engine().log_end() == hosted.shadow.end() {
                assert!(
                    oracle.is_held_by(&hosted.shadow),
                    "{member} is in sync in {group} and lacks what is committed"
                );
            }
        }
    }

    /// Whoever may answer linearizable reads right now has everything committed: applied, or at least known to be on its way.
    fn check_leases(&mut self, id: NodeId, group: GroupId) {
        if self.settings.ppm > u64::from(self.settings.timing.drift_ppm) {
            // Clocks that are not what the protocol assumes: only what reads return is judged.
            return;
        }
        let (Some(machine), Some(oracle)) = (self.machines.get(&id), self.oracles.get_mut(&group)) else { return };
        let Some(hosted) = machine.hosted(group).filter(|_| machine.paused_until <= self.now) else { return };
        let now = machine.clocks.tick(self.now);
        let status_open = hosted.group.replica().serving().role == Role::Leader;
        if status_open {
            let status = hosted.group.replica().status();
            if status.gate_open {
                oracle.greatest_open = oracle.greatest_open.max(status.epoch);
            }
        }
        let Some(begun) = hosted.published.serving.begin(now) else { return };
        self.counts.leases_checked += 1;
        let serving = hosted.group.replica().serving();
        if begun.leads() {
            let (applied, committed) = (hosted.group.engine().applied(), oracle.committed_end());
            assert!(applied >= committed, "{id} may read {group} at {applied} of {committed} committed");
            let open = oracle.greatest_open;
            assert!(serving.epoch >= open, "{id} holds the lease of {} beside the gate of {open}", serving.epoch);
        } else {
            assert!(oracle.is_held_by(&hosted.shadow), "{id} may read {group} and lacks what is committed");
        }
    }

    /// Whether all replicas of a group are in sync and hold and have applied the same.
    pub(crate) fn has_converged(&self, group: GroupId) -> bool {
        let (record, _) = self.store.group(group);
        let ends: Vec<(Lsn, Lsn)> = self
            .machines
            .values()
            .filter_map(|machine| {
                let engine = machine.hosted(group)?.group.engine();
                Some((engine.log_end(), engine.applied()))
            })
            .collect();
        record.in_sync.len() == self.machines.len()
            && record.fence.is_empty()
            && ends.len() == self.machines.len()
            && ends.iter().all(|(end, applied)| end == applied && Some(&(*end, *applied)) == ends.first())
    }

    /// Replicas that have applied the same hold the same.
    pub(crate) fn check_same(&self, group: GroupId) {
        let shadows: Vec<&Shadow> =
            self.machines.values().filter_map(|machine| Some(&machine.hosted(group)?.shadow)).collect();
        let totals = |machine: &Machine| machine.hosted(group).map(|hosted| hosted.reader.totals());
        let all: Vec<_> = self.machines.values().filter_map(totals).collect();
        assert!(all.windows(2).all(|pair| matches!(pair, [a, b] if a == b)), "replicas of {group} differ: {all:?}");
        let ends: Vec<_> = shadows.iter().map(|shadow| (shadow.end(), shadow.ending(shadow.end()))).collect();
        assert!(ends.windows(2).all(|pair| matches!(pair, [a, b] if a == b)), "logs of {group} differ: {ends:?}");
    }

    /// Whether the group can still be asked for everything it has acknowledged: some intact in-sync copy is left.
    pub(crate) fn is_recoverable(&self, group: GroupId) -> bool {
        self.intact_members(group).next().is_some()
    }

    /// In-sync replicas whose disks have lost nothing. Before a group is founded everybody is.
    pub(crate) fn intact_members(&self, group: GroupId) -> impl Iterator<Item = NodeId> {
        let (record, _) = self.store.group(group);
        let intact =
            |member: &Member| self.machines.get(&member.node).is_some_and(|machine| machine.keeps_promises_of(*member));
        let founded = record.epoch > Epoch::ZERO;
        let members: Vec<NodeId> = match founded {
            true => record.in_sync.iter().filter(|member| intact(member)).map(|member| member.node).collect(),
            false => record.replicas,
        };
        members.into_iter()
    }

    /// What a message says is true by the time it is sent.
    pub(super) fn check_message(&self, id: NodeId, envelope: &Envelope) {
        let Some(hosted) = self.machines.get(&id).and_then(|machine| machine.hosted(envelope.group)) else { return };
        if let Message::Append(append) = &envelope.message {
            let (said, applied) = (append.high_watermark, hosted.group.engine().applied());
            assert!(said <= applied, "{id} tells of {said} committed, but has applied {applied}");
        }
    }
}

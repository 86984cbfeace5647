//! What must hold in the group after every step.

use super::*;

impl World {
    /// After each step of a node, everything that must hold in the group.
    pub(super) fn check(&mut self, id: NodeId) {
        self.check_read(id);
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(process) = node.process.as_ref() else { return };
        let status = process.replica.status();
        assert_eq!(status.log_end, node.disk.log_end(), "{id}: the replica and its log disagree");
        if !self.oracle.counts(status.lineage) {
            return;
        }
        if status.role == Role::Leader {
            if status.gate_open {
                self.oracle.greatest_open = self.oracle.greatest_open.max(status.epoch);
            }
            if status.epoch == self.metadata.record.epoch {
                let required: BTreeSet<Member> = status.required_acks.iter().copied().collect();
                let listed = &self.metadata.record.in_sync;
                assert!(
                    listed.iter().all(|member| required.contains(member)),
                    "{id} does not wait for all of {listed:?}"
                );
            }
            // A leader that was replaced without knowing is left behind, and none the worse for it.
            if status.activated && status.epoch >= self.oracle.committed_epoch() {
                assert!(
                    self.oracle.is_held_by(&node.disk),
                    "{id} leads epoch {} and lacks what is committed",
                    status.epoch
                );
            }
        }
        self.check_verified(node, &status);
    }

    /// What a follower calls verified equals its leader's log.
    pub(super) fn check_verified(&self, node: &Node, status: &simplekv_cluster::Status) {
        let leader = status.leader.and_then(|leader| self.nodes.get(&leader)).filter(|leader| leader.id != node.id);
        let Some(leader) = leader else { return };
        let leads = leader.process.as_ref().is_some_and(|process| {
            let serving = process.replica.serving();
            serving.role == Role::Leader && serving.epoch == status.epoch
        });
        let end = status.verified_end;
        let leads = leads && leader.process.as_ref().is_some_and(|p| p.replica.traces().lineage == status.lineage);
        if leads && end > Lsn::ZERO && status.role == Role::Follower {
            let is = |disk: &Disk| disk.batch_ending(end).map(|batch| (batch.epoch, content(batch)));
            assert!(
                is(&node.disk).is_some() && is(&node.disk) == is(&leader.disk),
                "{} verified {end} wrongly",
                node.id
            );
        }
    }

    /// A linearizable read right now, if the node may answer one.
    pub(super) fn check_read(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(process) = node.process.as_ref().filter(|_| node.paused_until <= self.now) else { return };
        let (now, serving) = (node.clock.read(self.now), process.published);
        if !serving.may_answer(now, serving.generation) {
            return;
        }
        self.lease_reads += 1;
        let committed = self.oracle.committed_end();
        if now < serving.leader_lease_until {
            assert!(
                process.applied >= committed,
                "{id} reads at {} of {committed} committed under its lease",
                process.applied
            );
            assert!(
                serving.epoch >= self.oracle.greatest_open,
                "{id} holds the lease of {} beside a later gate",
                serving.epoch
            );
        } else {
            assert!(self.oracle.is_held_by(&node.disk), "{id} reads under a lease and lacks what is committed");
            let member = Member { node: id, storage: node.disk.identity.storage };
            let record = &self.metadata.record;
            assert!(record.is_in_sync(member) || record.epoch > serving.epoch, "{id} holds a lease out of sync");
        }
    }

    /// What a message says is true by the time it is sent.
    pub(super) fn check_message(&self, node: &Node, process: &Process, envelope: &Envelope) {
        let (id, published) = (node.id, process.published);
        let leases = published.leader_lease_until.max(published.read_lease_until);
        assert!(
            published.epoch == envelope.epoch || leases <= node.clock.read(self.now),
            "{id} speaks in epoch {} while its readers hold a lease of {}",
            envelope.epoch,
            published.epoch
        );
        match &envelope.message {
            Message::Append(append) => {
                let (said, applied) = (append.high_watermark, process.applied);
                assert!(said <= applied, "{id} tells of {said} committed, but has applied {applied}");
            }
            Message::AppendAck(ack) => {
                let always = self.settings.flush == FlushPolicy::Always;
                let has = if always { node.disk.durable_end } else { node.disk.log_end() };
                assert!(ack.verified_end <= has, "{id} acknowledges {} of {has}", ack.verified_end);
                assert!(node.disk.epoch >= envelope.epoch, "{id} acknowledges in an epoch it may forget");
            }
            Message::RevokeAck { .. } | Message::Leave => {
                assert!(
                    published.read_lease_until <= node.clock.read(self.now),
                    "{id} gives up a lease its readers hold"
                );
            }
            _ => (),
        }
    }

    /// Every intact in-sync replica holds everything committed, on disk if that is the policy.
    pub(super) fn check_committed_is_held(&self, current: &Node) {
        for member in &self.metadata.record.in_sync {
            let node = if member.node == current.id { Some(current) } else { self.nodes.get(&member.node) };
            let Some(node) = node.filter(|node| node.keeps_promises_of(*member)) else { continue };
            assert!(self.oracle.is_held_by(&node.disk), "{member} is in sync and lacks what is committed");
            if self.settings.flush == FlushPolicy::Always {
                let (durable, committed) = (node.disk.durable_end, self.oracle.committed_end());
                assert!(durable >= committed, "{member} has flushed {durable} of {committed} committed");
            }
        }
    }

    pub(super) fn check_in_sync_holds_committed(&self) {
        for member in &self.metadata.record.in_sync {
            let node = self.nodes.get(&member.node).filter(|node| node.keeps_promises_of(*member));
            if let Some(node) = node.filter(|_| self.metadata.is_intact(*member)) {
                assert!(self.oracle.is_held_by(&node.disk), "{member} is put in sync and lacks what is committed");
            }
        }
    }
}

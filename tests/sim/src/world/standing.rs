//! How the cluster stands, for those who do something about it.

use super::*;

impl World {
    /// The node a group's record names, if it runs.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leader = self.store.group(group).0.leader?;
        self.machines.get(&leader.node).filter(|machine| machine.run() == Some(leader.run)).map(|machine| machine.id)
    }

    pub(crate) fn count_if_leader(&mut self, node: NodeId) {
        let leads = self.machines.get(&node).and_then(|machine| machine.process.as_ref()).is_some_and(|p| p.leads());
        self.counts.leaders_lost += u64::from(leads);
    }

    /// Whether the disk has everything that was acknowledged.
    pub(crate) fn flushes_all(&self) -> bool {
        self.settings.flush == FlushPolicy::Always
    }

    pub(crate) fn restart_all(&mut self) {
        let down: Vec<NodeId> =
            self.machines.values().filter(|machine| machine.process.is_none()).map(|machine| machine.id).collect();
        for node in down {
            self.start(node);
        }
    }

    pub(crate) fn is_stopping(&self, node: NodeId) -> bool {
        self.machines.get(&node).and_then(|machine| machine.process.as_ref()).is_some_and(|process| process.stopping)
    }

    /// Somebody with the right to do so changes a group's record, whatever others believe.
    pub(crate) fn change_by_force(&mut self, change: &simplekv_meta::GroupChange) -> bool {
        let before = self.store.group(change.group).0;
        let outcome = self.store.change_group(change);
        let is_done = matches!(outcome, MetadataOutcome::Succeeded { .. });
        if is_done {
            self.check_change(change.group, &before, &change.record);
        }
        self.note(|| format!("store: by force {} {outcome:?}", change.record.epoch));
        self.check_in_sync(change.group);
        self.publish_group(change.group);
        self.publish_topology();
        is_done
    }

    /// Whether the recorded leader leads and takes writes.
    pub(crate) fn is_serving(&self, group: GroupId) -> bool {
        let leader = self.leader(group).and_then(|leader| self.machines.get(&leader)?.hosted(group));
        leader.is_some_and(|hosted| hosted.group.replica().serving().activated)
    }

    pub(crate) fn is_in_sync(&self, group: GroupId) -> bool {
        let (record, _) = self.store.group(group);
        let there = |member: &Member| {
            let machine = self.machines.get(&member.node).filter(|machine| machine.paused_until <= self.now);
            machine.and_then(|machine| machine.process.as_ref()).is_some_and(|p| p.sender.storage == member.storage)
        };
        record.in_sync.len() == self.machines.len()
            && record.in_sync.iter().all(there)
            && record.fence.is_empty()
            && self.is_serving(group)
    }

    /// Clients finish what they are at and begin nothing new.
    pub(crate) fn retire_clients(&mut self) {
        self.clients.iter_mut().for_each(|client| client.tasks = 0);
    }

    /// Whether no client waits for anything.
    pub(crate) fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.flights.is_empty())
    }

    /// How long clients may have to wait when one node fails, whose successor has the slowest of clocks.
    pub(crate) fn longest_outage(&self) -> Nanos {
        ms(30_000) * 1_000_000 / (1_000_000 - self.settings.ppm)
    }
}

//! Starting, stopping and hurting nodes.

use super::*;

impl World {
    /// Starts a node's process, as the server does: decide who it is, register, then take part.
    pub(crate) fn start(&mut self, id: NodeId, fresh: bool) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.process.is_none()) else { return };
        let registration = self.metadata.registrations.get(&id);
        let facts = StartFacts { boot_id: node.boots.to_string(), corrupt: false, poison_file: false };
        let decision = resume_or_renew(Some(&node.disk.identity), registration, &facts);
        if let Decision::Renew(reason) = decision
            && !fresh
        {
            self.next_storage += 1;
            let ended = has_ended(reason, &node.disk.identity, registration);
            node.disk.renew(StorageId(self.next_storage << 96), ended);
            self.trace.push(format!("{}: another incarnation ({reason:?})", id.0));
        }
        let (storage, nonce) = (node.disk.identity.storage, self.next_nonce);
        self.next_nonce += 1;
        node.disk.identity.tried.push(nonce);
        let previous = node.disk.previous.clone();
        let run = self.metadata.register(id, storage, previous, nonce, self.settings.flush);
        node.disk.identity.run = Some(run);
        node.disk.identity.tried = vec![nonce];
        node.disk.identity.boot_id = node.boots.to_string();
        node.disk.restart();
        self.open(id, Sender { node: id, storage, run });
        self.publish_nodes();
    }

    /// Begins to take part with what the disk holds.
    pub(super) fn open(&mut self, id: NodeId, identity: Sender) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let config = Config {
            cluster: CLUSTER,
            group: GROUP,
            identity,
            flush: self.settings.flush,
            timing: Timing::default(),
            window: self.settings.window,
            grant_read_leases: self.settings.grant_read_leases,
        };
        let recovered = node.disk.recovered();
        let applied = recovered.high_watermark;
        let replica = Replica::new(node.clock.read(self.now), config, recovered);
        let published = replica.serving();
        let run = identity.run;
        node.process = Some(Process {
            run,
            replica,
            published,
            applied,
            waiting: Vec::new(),
            wake_at: None,
            stopping: false,
            sent_less: Vec::new(),
        });
        let (record, revision) = self.metadata.read();
        let facts = self.metadata.facts();
        self.step(id, Some(run), Event::NodesSeen(facts));
        self.step(id, Some(run), Event::RecordSeen { record, revision });
    }

    /// Kills a node's process. The page cache lives on.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.paused_until = 0;
        let Some(process) = node.process.take() else { return };
        let ttl = self.around(ms(3000));
        self.schedule(self.now + ttl, Happening::SessionEnds { node: id, run: process.run });
    }

    /// Takes the power from a node: what was not flushed is gone.
    pub(crate) fn lose_power(&mut self, id: NodeId) {
        self.crash(id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.boots += 1;
            node.disk.lose_power();
            node.disk.lossy |= self.settings.flush != FlushPolicy::Always;
        }
    }

    /// Replaces a node's disk by an empty one.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.crash(id);
        let flush = self.settings.flush;
        self.next_storage += 1;
        let storage = StorageId(self.next_storage << 96);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk = Disk::new(storage, flush, node.boots);
        }
    }

    /// A disk that lies: records it has acknowledged as flushed are gone after the next start, and it does not say so.
    pub(crate) fn forget_tail(&mut self, id: NodeId, records: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let end = node.disk.log_end() - Lsn(records);
            node.disk.truncate(Lsn(end));
            node.disk.lossy = true;
        }
    }

    /// What every message carries.
    pub(crate) fn address(&self) -> (ClusterId, GroupId, Lineage) {
        (CLUSTER, GROUP, self.metadata.record.lineage)
    }

    /// Stops a process for a while, as a long page fault does.
    pub(crate) fn pause(&mut self, id: NodeId, duration: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused_until = self.now + duration;
            let at = node.paused_until;
            self.schedule(at, Happening::Resume { node: id });
        }
    }

    /// The metadata store forgets that a node is alive, and is reminded after a while.
    pub(crate) fn lose_session(&mut self, id: NodeId, duration: u64) {
        self.metadata.live.remove(&id);
        self.publish_nodes();
        if let Some(run) = self.run_of(id) {
            self.schedule(self.now + duration, Happening::SessionBegins { node: id, run });
        }
    }

    pub(crate) fn is_registered_and_running(&self, id: NodeId) -> bool {
        let registered = self.metadata.registrations.get(&id).map(simplekv_types::Registration::run);
        registered.is_some() && registered == self.run_of(id)
    }

    /// Whether somebody in sync still holds everything, so that the group must go on once all is well.
    pub(crate) fn is_recoverable(&self) -> bool {
        self.intact_members().next().is_some()
    }

    /// In-sync members whose disks keep their promises.
    pub(crate) fn intact_members(&self) -> impl Iterator<Item = Member> {
        let keeps =
            |member: &&Member| self.nodes.get(&member.node).is_some_and(|node| node.keeps_promises_of(**member));
        self.metadata.record.in_sync.iter().filter(keeps).copied()
    }

    /// Asks whoever leads to hand over.
    pub(crate) fn transfer(&mut self, from: NodeId, to: Option<NodeId>) {
        let run = self.run_of(from);
        self.step(from, run, Event::Transfer { to });
    }

    /// Tells a process that it will be ended.
    pub(crate) fn stop(&mut self, id: NodeId) {
        let run = self.run_of(id);
        if let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) {
            process.stopping = true;
        }
        self.step(id, run, Event::Stop);
    }

    pub(crate) fn is_stopping(&self, id: NodeId) -> bool {
        self.process(id).is_some_and(|process| process.stopping)
    }

    /// Flushes and probes of a node do not complete for a while.
    pub(crate) fn hang_disk(&mut self, id: NodeId, duration: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk_hangs_until = self.now + duration;
        }
    }

    /// Whether all logs are the same and applied.
    pub(crate) fn has_converged(&self) -> bool {
        let committed = self.oracle.committed_end();
        self.nodes.values().all(|node| {
            let applied = node.process.as_ref().is_some_and(|process| process.applied == committed);
            applied && node.disk.log_end() == committed && self.oracle.is_held_by(&node.disk)
        })
    }
}

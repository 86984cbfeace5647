//! What a node's driver does with the effects of its replica.

use simplekv_cluster::Appending;

use super::*;

impl World {
    /// Steps a replica and does what it wants. Nothing happens if that run is gone.
    pub(crate) fn step(&mut self, node: NodeId, run: Option<RunId>, event: Event) {
        self.drive(node, run, |replica, now| replica.step(now, event));
    }

    pub(super) fn drive(
        &mut self,
        id: NodeId,
        run: Option<RunId>,
        act: impl FnOnce(&mut Replica, simplekv_types::Tick),
    ) {
        // The event may have been for a run that is gone; whoever runs now must not see it.
        if run.is_none() || run != self.run_of(id) {
            return;
        }
        let Some(mut node) = self.nodes.remove(&id) else { return };
        if let Some(mut process) = node.process.take() {
            act(&mut process.replica, node.clock.read(self.now));
            self.execute_effects(&mut node, &mut process);
            process.published = process.replica.serving();
            self.wake(&node, &mut process);
            node.process = Some(process);
        }
        self.nodes.insert(id, node);
        self.check(id);
    }

    pub(super) fn wake(&mut self, node: &Node, process: &mut Process) {
        let wake_at = process.replica.next_deadline().map(|tick| node.clock.real(tick).max(self.now));
        if wake_at != process.wake_at {
            process.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.schedule(at, Happening::Wake { node: node.id, at });
            }
        }
    }

    pub(super) fn execute_effects(&mut self, node: &mut Node, process: &mut Process) {
        loop {
            while let Some(effect) = process.replica.next_effect() {
                self.effect(node, process, effect);
            }
            // Told before anything else, once all effects are taken.
            let Some(event) = process.sent_less.pop() else { return };
            process.replica.step(node.clock.read(self.now), event);
        }
    }

    pub(super) fn effect(&mut self, node: &mut Node, process: &mut Process, effect: Effect) {
        let (id, run) = (node.id, process.run);
        match effect {
            Effect::WithdrawLeases => process.published = process.replica.serving(),
            Effect::PersistEpoch { epoch, lineage } => {
                let delay = self.around(ms(1));
                let wall = self.wall(node);
                self.schedule(self.now + delay, Happening::Persisted { node: id, run, epoch, lineage, wall });
            }
            Effect::Append(appending) => self.append(node, process, appending),
            Effect::Truncate { log_end } => {
                let dropped: Vec<Batch> = node.disk.log.iter().filter(|batch| batch.base >= log_end).cloned().collect();
                self.oracle.truncate(id, &dropped);
                assert!(log_end >= process.applied, "{id} truncates what it has applied");
                node.disk.truncate(log_end);
                self.note(format!("{}: truncate to {log_end}", id.0));
            }
            Effect::Flush { log_end, truncations } => {
                let at = (self.now + self.around(ms(1))).max(node.disk_hangs_until);
                self.schedule(at, Happening::Flushed { node: id, run, log_end, truncations, asked_at: self.now });
            }
            Effect::Apply { high_watermark } => self.apply(node, process, high_watermark),
            Effect::Send(envelope) => {
                self.check_message(node, process, &envelope);
                self.send(envelope);
            }
            Effect::SendLog { envelope, from, upto, max_bytes } => {
                self.send_log(node, process, envelope, from, upto, max_bytes);
            }
            Effect::Metadata { id: request_id, request } => {
                self.ask_metadata(Asker::Replica { node: id, run }, request_id, request);
            }
            Effect::Probe { id: probe } => {
                let at = (self.now + self.around(ms(1))).max(node.disk_hangs_until);
                self.schedule(at, Happening::Told { node: id, run, event: Event::Probed { id: probe } });
            }
            Effect::RoleChanged { epoch, role, leader } => {
                process.waiting.clear();
                if role == Role::Leader {
                    self.oracle.lead(epoch, id, run);
                }
                let leader = leader.map_or("nobody".to_owned(), |leader| leader.0.to_string());
                self.note(match role {
                    Role::Leader => format!("{}: leads epoch {epoch}", id.0),
                    Role::Follower => format!("{}: follows {leader} in epoch {epoch}", id.0),
                    Role::Halted => format!("{}: halted in epoch {epoch}", id.0),
                });
            }
            Effect::RequestElection { epoch, unheard } => {
                let unheard_nodes: Vec<u32> = unheard.iter().map(|member| member.node.0).collect();
                self.note(format!(
                    "{}: requests an election to end epoch {epoch}, cannot hear {unheard_nodes:?}",
                    id.0
                ));
                let from = self.identity(node, run);
                let event = ControllerEvent::ElectionRequested { group: GROUP, epoch, from, unheard };
                self.schedule(self.now + ms(2), Happening::ControllerTold(event));
            }
            Effect::FetchSnapshot { .. } => panic!("no log begins above 0 here"),
            Effect::Rebuild { lineage } => self.schedule(self.now, Happening::Rebuild { node: id, run, lineage }),
            Effect::TransferEnded(outcome) => self.note(format!("{}: transfer ended: {outcome:?}", id.0)),
            Effect::ReadyToStop => self.note(format!("{}: ready to stop", id.0)),
            Effect::Alarm(alarm) => self.note(format!("{}: alarm: {alarm:?}", id.0)),
        }
    }

    pub(super) fn identity(&self, node: &Node, run: RunId) -> Sender {
        Sender { node: node.id, storage: node.disk.identity.storage, run }
    }

    pub(super) fn wall(&self, node: &Node) -> GroupTime {
        // Wall clocks of different nodes are up to four seconds apart.
        GroupTime(1_700_000_000_000 + self.now / 1_000_000 + u64::from(node.id.0) * 1000)
    }

    pub(super) fn append(&mut self, node: &mut Node, process: &Process, appending: Appending) {
        assert!(process.replica.serving().role != Role::Halted);
        match appending {
            Appending::Proposed(header) => {
                let (_, write) = *process.waiting.last().expect("a client waits for what is proposed");
                let mut records = write.to_be_bytes().to_vec();
                records.resize(8 + usize::try_from(write % 50).unwrap(), 0);
                node.disk.append(header.with_records(records.into()));
            }
            Appending::EpochStart(header) => {
                self.elections += 1;
                self.note(format!("{}: starts epoch {} at {}", node.id.0, header.epoch, header.base));
                node.disk.append(header.with_records(bytes::Bytes::new()));
            }
            Appending::Received(batches) => {
                for batch in batches {
                    node.disk.append(batch);
                }
            }
        }
    }

    pub(super) fn apply(&mut self, node: &mut Node, process: &mut Process, high_watermark: Lsn) {
        let counts = self.oracle.counts(process.replica.traces().lineage);
        // Whoever was chosen may have applied more of its log before it knew that it was.
        let known = if counts { process.applied.min(self.oracle.committed_end()) } else { process.applied };
        let first = node.disk.log.partition_point(|batch| batch.end() <= known);
        let mut news = false;
        for batch in node.disk.log[first..].iter().take_while(|batch| batch.end() <= high_watermark) {
            news |= counts && self.oracle.apply(node.id, batch);
            process.applied = batch.end();
        }
        assert_eq!(process.applied, high_watermark, "the high watermark lies between two batches");
        self.note(format!("{}: high_watermark={high_watermark}", node.id.0));
        let (done, waiting): (Vec<_>, Vec<_>) = process.waiting.drain(..).partition(|(end, _)| *end <= high_watermark);
        process.waiting = waiting;
        for (_, write) in done {
            self.oracle.acknowledge(write);
            self.note(format!("{}: write {write} acknowledged", node.id.0));
        }
        if news {
            self.check_committed_is_held(node);
        }
    }

    pub(super) fn send_log(
        &mut self,
        node: &Node,
        process: &mut Process,
        mut envelope: Envelope,
        from: Lsn,
        upto: Lsn,
        max_bytes: usize,
    ) {
        let batches = node.disk.read(from, upto, max_bytes);
        let end = batches.last().map_or(from, Batch::end);
        let to = envelope.to;
        let Message::Append(append) = &mut envelope.message else { panic!("only an append carries records") };
        assert_eq!(append.prev_end, from);
        append.batches = batches;
        self.check_message(node, process, &envelope);
        self.send(envelope);
        if end < upto {
            process.sent_less.push(Event::SentLess { to, end });
        }
    }

    pub(super) fn flushed(&mut self, id: NodeId, run: RunId, log_end: Lsn, truncations: u64, asked_at: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.disk_hangs_until > self.now {
            let at = node.disk_hangs_until;
            return self.schedule(at, Happening::Flushed { node: id, run, log_end, truncations, asked_at });
        }
        if node.process.as_ref().is_some_and(|process| process.run == run) {
            node.disk.flush_to(log_end, truncations);
            self.step(id, Some(run), Event::Flushed { log_end, truncations });
        }
    }

    /// Writes at a node; the number of the write if it was appended.
    pub(crate) fn write(&mut self, id: NodeId, records: u32) -> Result<u64, Refusal> {
        let Some(node) = self.nodes.get(&id).filter(|node| node.paused_until <= self.now) else {
            return Err(Refusal::NotLeader { leader: None, epoch: Epoch::ZERO });
        };
        let wall = self.wall(node);
        let run = self.run_of(id);
        let write = self.next_write;
        let mut admitted = Err(Refusal::NotLeader { leader: None, epoch: Epoch::ZERO });
        self.next_write += 1;
        let Some(mut node) = self.nodes.remove(&id) else { return admitted.map(|_: ()| 0) };
        if let Some(process) = node.process.as_mut() {
            let now = node.clock.read(self.now);
            admitted = process.replica.admit(now, wall).map(|admission| {
                let header = admission.header(records);
                process.waiting.push((header.end(), write));
                process.replica.step(now, Event::Proposed(header));
            });
        }
        self.nodes.insert(id, node);
        self.drive(id, run, |_, _| ());
        admitted.map(|()| write)
    }
}

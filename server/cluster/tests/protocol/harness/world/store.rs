//! The way to the metadata store and back, and who is told of what happens there.

use super::*;

impl World {
    pub(super) fn ask_metadata(&mut self, asker: Asker, id: RequestId, request: MetadataRequest) {
        let fate = self.fate_of(&request);
        if let MetadataRequest::ChangeGroup(change) = &request {
            let who = match asker {
                Asker::Replica { node, .. } => node.0.to_string(),
                Asker::Controller => "controller".to_owned(),
            };
            self.note(format!("{who}: proposes {}", describe(&change.record)));
        }
        let soon = self.now + self.around(ms(2));
        let timeout = self.now + METADATA_TIMEOUT;
        let unknown = if matches!(request, MetadataRequest::ReadGroup) {
            MetadataOutcome::Failed
        } else {
            MetadataOutcome::Unknown
        };
        let (execute_at, answer, outcome) = match fate {
            Fate::Done => (Some(soon), true, None),
            Fate::ReplyLost => (Some(soon), false, Some((timeout, unknown))),
            Fate::RequestLost => (None, false, Some((timeout, unknown))),
            Fate::Refused => (None, false, Some((soon, MetadataOutcome::Failed))),
            Fate::Late => {
                let late = self.next_late_by.take().unwrap_or_else(|| self.around(ms(1500)));
                (Some(timeout + late), false, Some((timeout, unknown)))
            }
        };
        if let Some((at, outcome)) = outcome {
            self.answer(at, asker, id, outcome);
        }
        if let Some(at) = execute_at {
            self.schedule(at, Happening::Execute { asker, id, request, answer });
        }
    }

    pub(super) fn fate_of(&mut self, request: &MetadataRequest) -> Fate {
        if self.metadata_down {
            return Fate::RequestLost;
        }
        if self.chance(self.faults.metadata) {
            let rng = self.rng.as_mut().unwrap();
            return *rng.pick(&[Fate::ReplyLost, Fate::RequestLost, Fate::Refused, Fate::Late]).unwrap();
        }
        match request {
            MetadataRequest::ReadGroup => Fate::Done,
            MetadataRequest::ChangeGroup(_) => std::mem::replace(&mut self.fate, Fate::Done),
        }
    }

    pub(super) fn answer(&mut self, at: u64, asker: Asker, id: RequestId, outcome: MetadataOutcome) {
        let happening = match asker {
            Asker::Replica { node, run } => Happening::Told { node, run, event: Event::Metadata { id, outcome } },
            Asker::Controller => Happening::ControllerTold(ControllerEvent::Metadata { id, outcome }),
        };
        self.schedule(at, happening);
    }

    pub(super) fn execute(&mut self, asker: Asker, id: RequestId, request: &MetadataRequest, answer: bool) {
        let outcome = match request {
            MetadataRequest::ReadGroup => MetadataOutcome::Read(Some(self.metadata.read())),
            MetadataRequest::ChangeGroup(change) => {
                let lineage = self.metadata.record.lineage;
                let outcome = self.metadata.change(change);
                if matches!(outcome, MetadataOutcome::Succeeded { .. }) {
                    self.on_record_changed(lineage);
                } else {
                    self.note("metadata: lost".to_owned());
                }
                outcome
            }
        };
        if answer {
            let at = self.now + self.around(ms(1));
            self.answer(at, asker, id, outcome);
        }
    }

    /// Somebody with the right to do so elects a node, whatever others believe.
    pub(crate) fn elect(&mut self, id: NodeId) {
        self.metadata.elect(id);
        self.note(format!("metadata: {}", describe(&self.metadata.record)));
        self.check_in_sync_holds_committed();
        self.publish_record();
        if let (Some(run), false) = (self.run_of(id), self.watch_works) {
            let (record, revision) = self.metadata.read();
            let event = Event::RecordSeen { record, revision };
            self.schedule(self.now + ms(2), Happening::Told { node: id, run, event });
        }
    }

    /// The store is restored from a backup taken before the last election.
    pub(crate) fn regress(&mut self) {
        self.metadata.regress();
        self.note(format!("metadata: {}", describe(&self.metadata.record)));
        self.publish_record();
    }

    /// Everybody's watch sees the record; some see it late or not at all.
    pub(crate) fn publish_record(&mut self) {
        let (record, revision) = self.metadata.read();
        for (node, run) in self.running() {
            if self.metadata_down || !self.watch_works || self.chance(self.faults.stale_hints) {
                continue;
            }
            let at = self.now + self.around(ms(2));
            let event = Event::RecordSeen { record: record.clone(), revision };
            self.schedule(at, Happening::Told { node, run, event });
        }
        let at = self.now + self.around(ms(2));
        let event = ControllerEvent::RecordSeen { group: GROUP, record: Some(record), revision };
        self.schedule(at, Happening::ControllerTold(event));
    }

    pub(super) fn publish_nodes(&mut self) {
        let facts = self.metadata.facts();
        for (node, run) in self.running() {
            if self.metadata_down || !self.watch_works || self.chance(self.faults.stale_hints) {
                continue;
            }
            let at = self.now + self.around(ms(2));
            self.schedule(at, Happening::Told { node, run, event: Event::NodesSeen(facts.clone()) });
        }
        let at = self.now + self.around(ms(2));
        self.schedule(at, Happening::ControllerTold(ControllerEvent::NodesSeen(facts)));
    }

    pub(super) fn running(&self) -> Vec<(NodeId, RunId)> {
        self.nodes.values().filter_map(|node| Some((node.id, node.process.as_ref()?.run))).collect()
    }

    pub(super) fn tell_controller(&mut self, event: ControllerEvent) {
        let Some(controller) = self.controller.as_mut() else { return };
        controller.step(simplekv_types::Tick(self.now), event);
        let effects: Vec<ControllerEffect> = std::iter::from_fn(|| controller.next_effect()).collect();
        for effect in effects {
            match effect {
                ControllerEffect::ChangeGroup { id, change, .. } => {
                    self.ask_metadata(Asker::Controller, id, MetadataRequest::ChangeGroup(change));
                }
                ControllerEffect::Inspect { .. } => {
                    let event = ControllerEvent::Inspected { group: GROUP, remains: self.remains() };
                    self.schedule(self.now + ms(2), Happening::ControllerTold(event));
                }
                ControllerEffect::TransferEnded { outcome, .. } => {
                    self.note(format!("controller: transfer {outcome:?}"))
                }
            }
        }
    }
}

pub(super) fn describe(record: &GroupRecord) -> String {
    let members = |members: &[Member]| {
        let each: Vec<String> = members.iter().map(|member| name(*member)).collect();
        format!("({})", each.join(","))
    };
    let leader = record.leader.map_or("nobody".to_owned(), |leader| leader.node.0.to_string());
    let fence = members(&record.fence);
    let lineage = if record.lineage == Lineage(0) { String::new() } else { format!("lineage={} ", record.lineage) };
    let recovering = if record.recovering { " recovering" } else { "" };
    format!(
        "{lineage}epoch={} leader={leader} in_sync={} fence={fence}{recovering}",
        record.epoch,
        members(&record.in_sync)
    )
}

/// A member as the stories call it: its node, with a mark for each disk after the first.
pub(crate) fn name(member: Member) -> String {
    let first = member.storage.0 >> 96 == u128::from(member.node.0);
    format!("{}{}", member.node.0, if first { "" } else { "'" })
}

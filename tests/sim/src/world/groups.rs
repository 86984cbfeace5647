//! What reaches a replica, and what it wants done.

use simplekv_cluster::{Alarm, Role};
use simplekv_server::group::Output;

use super::*;
use crate::clock::Reading;
use crate::machine::{Hosted, Process};

impl World {
    pub(super) fn deliver(&mut self, envelope: Envelope) {
        let (id, group) = (envelope.to, envelope.group);
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        self.tell(id, run, group, Event::Received(envelope));
    }

    pub(super) fn tell(&mut self, id: NodeId, run: RunId, group: GroupId, event: Event) {
        self.step(id, run, group, |hosted, clock| hosted.group.step(&clock, event));
    }

    pub(super) fn wake(&mut self, id: NodeId, run: RunId, group: GroupId) {
        let now = self.now;
        self.step(id, run, group, |hosted, clock| {
            if hosted.wakes_at.is_some_and(|at| at <= now) {
                hosted.wakes_at = None;
            }
            if hosted.group.next_deadline().is_some_and(|deadline| deadline <= clock.now) {
                hosted.group.tick(&clock);
            }
        });
    }

    pub(super) fn slots_read(&mut self, id: NodeId, run: RunId, group: GroupId, found: bool) {
        let slots = found.then(|| self.store.slots());
        let slots = slots.as_ref().map(|(map, version)| (map, *version));
        self.step(id, run, group, |hosted, clock| hosted.group.slots_read(&clock, slots));
    }

    /// Does something to a replica of the run that is meant, then everything it wants done.
    pub(super) fn step(&mut self, id: NodeId, run: RunId, group: GroupId, act: impl FnOnce(&mut Hosted, Reading)) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let clock = machine.clocks.read(now);
        let Some(hosted) = machine.hosted_mut(group) else { return };
        act(hosted, clock);
        self.settle(id, group);
    }

    /// Takes what a replica wants done, looks at what must hold, and hands out its answers.
    pub(super) fn settle(&mut self, id: NodeId, group: GroupId) {
        self.observe(id, group);
        while let Some(output) =
            self.machines.get_mut(&id).and_then(|machine| machine.hosted_mut(group)?.group.next_output())
        {
            self.start_output(id, group, output);
        }
        self.arm(id, group);
        self.hand_out(id);
        self.end_if_ready(id);
    }

    fn arm(&mut self, id: NodeId, group: GroupId) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let (clocks, run) = (machine.clocks, machine.run());
        let Some(hosted) = machine.hosted_mut(group) else { return };
        let Some(deadline) = hosted.group.next_deadline() else { return };
        let at = clocks.real(deadline).max(now);
        if hosted.wakes_at.is_none_or(|planned| at < planned) {
            hosted.wakes_at = Some(at);
            let run = run.expect("it hosts a group");
            self.queue.push(at, Happening::Wake { node: id, run, group });
        }
    }

    fn start_output(&mut self, id: NodeId, group: GroupId, output: Output) {
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        match output {
            Output::Send(envelope) => {
                self.counts.messages += 1;
                self.check_message(id, &envelope);
                let to = Place::Node(envelope.to);
                self.send(Place::Node(id), to, || Happening::Deliver(envelope.clone()));
            }
            Output::Flush { log_end, truncations } => self.want_flush(id, group, Some((log_end, truncations)), None),
            Output::Probe { id: probe } if self.settings.flush == FlushPolicy::Always => {
                self.want_flush(id, group, None, Some(probe));
            }
            Output::Probe { id: probe } => {
                let hangs_until = self.machines.get(&id).map_or(0, |machine| machine.disk_hangs_until);
                let at = hangs_until.max(self.now);
                let event = Event::Probed { id: probe };
                self.queue.push(at, Happening::Tell { node: id, run, group, event });
            }
            Output::Metadata { id: request, request: ask } => {
                self.ask(Asker::Replica { node: id, run, group }, request, Ask::Replica(group, ask));
            }
            Output::ReadSlots => {
                let found = !self.store_down && self.network.reach(Place::Node(id), Place::Store);
                let after = if found { self.rng.below(ms(4)) } else { ms(300) };
                self.schedule(after, Happening::SlotsRead { node: id, run, group, found });
            }
            Output::RequestElection { epoch, unheard } => self.request_election(id, group, epoch, unheard),
            Output::Move(wanted) => self.start_move(id, run, group, wanted),
            Output::ReadyToStop => {
                if let Some(hosted) = self.machines.get_mut(&id).and_then(|machine| machine.hosted_mut(group)) {
                    hosted.ready_to_stop = true;
                }
            }
            Output::Alarm(Alarm::StorageLied { member, .. }) => {
                self.note(|| format!("{id}: {member} lied"));
                let named = self.store.node(member.node).is_some_and(|found| found.record.storage == member.storage);
                if named && self.store.mark_poisoned(member.node) {
                    self.publish_nodes();
                }
            }
            Output::Alarm(alarm) => self.note(|| format!("{id}: {alarm:?}")),
            Output::RoleChanged { epoch, role, leader } => self.role_changed(id, group, epoch, role, leader),
            Output::TransferEnded(outcome) => self.note(|| format!("{id}: transfer {outcome:?}")),
            Output::Rebuild { lineage } => self.put_away(id, group, lineage),
            Output::Failed { what, distrust } => self.failed(id, &what, distrust),
        }
    }

    fn role_changed(&mut self, id: NodeId, group: GroupId, epoch: Epoch, role: Role, leader: Option<NodeId>) {
        self.note(|| format!("{id}: {group} epoch {epoch} {role:?}, led by {leader:?}"));
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        if role == Role::Leader {
            self.counts.elections += 1;
            if let Some(oracle) = self.oracles.get_mut(&group) {
                oracle.lead(group, epoch, id, run);
            }
        }
    }

    /// A replica cannot go on, so its node ends; the next process may trust the disk or not.
    fn failed(&mut self, id: NodeId, what: &str, distrust: bool) {
        self.note(|| format!("{id}: {what}, distrust: {distrust}"));
        self.counts.storage_failures += 1;
        if let Some(file) = self.machines.get_mut(&id).and_then(|machine| machine.file.as_mut()) {
            file.poisoned |= distrust;
        }
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.lost |= distrust;
        }
        self.end(id);
    }

    /// A process ends by itself, and whoever watches over it starts another.
    pub(super) fn end(&mut self, id: NodeId) {
        self.kill(id);
        let after = ms(200) + self.rng.below(ms(800));
        self.schedule(after, Happening::Start { node: id });
    }

    fn request_election(&mut self, id: NodeId, group: GroupId, epoch: Epoch, unheard: Vec<Member>) {
        let Some((holder, _)) = self.store.controller() else { return };
        let Some(from) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()).map(|p| p.sender) else {
            return;
        };
        let Some(run) = self.machines.get(&holder).and_then(Machine::run) else { return };
        self.send(Place::Node(id), Place::Node(holder), || {
            let event = ControllerEvent::ElectionRequested { group, epoch, from, unheard: unheard.clone() };
            Happening::TellController { node: holder, run, event }
        });
    }
}

impl Process {
    /// Whether it leads any group.
    pub(crate) fn leads(&self) -> bool {
        self.groups.values().any(|hosted| hosted.group.replica().serving().role == Role::Leader)
    }
}

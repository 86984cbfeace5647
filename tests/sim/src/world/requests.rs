//! What a node does with a client's request.

use std::cell::Cell;
use std::rc::Rc;

use simplekv_server::group::{GroupRequest, Looked, Submission, look};
use simplekv_types::{Failure, ReadPolicy, Slot};

use super::*;
use crate::machine::{Heard, Ticket};

/// How long a follower waits for what is on its way before it sends the reader to the leader.
const DIRTY_PATIENCE: Nanos = ms(20);

/// A request a group works on.
#[derive(Debug)]
pub(crate) struct Pending {
    node: NodeId,
    request: Request,
    wanted: Rc<Cell<bool>>,
    /// It waits on a follower: if that takes too long the leader is to be asked.
    dirty: bool,
}

impl World {
    pub(super) fn arrive(&mut self, id: NodeId, request: Request) {
        self.note(|| {
            let Request { client, flight, attempt, command, dedupe, policy, .. } = &request;
            let seq = dedupe.map(|dedupe| (dedupe.seq.0, dedupe.ack_below.0));
            format!("{id}: {client}/{flight}#{attempt} {policy:?} {seq:?} {command:?}")
        });
        let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else {
            return self.refuse_connection(id, &request);
        };
        let group = request.group;
        let led_elsewhere =
            process.known.get(&group).and_then(|(record, _)| record.leader).is_some_and(|leader| leader.node != id);
        let is_write = request.command.is_write();
        let leased = request.policy == ReadPolicy::Linearizable && !is_write;
        if led_elsewhere && !leased {
            return self.redirect(id, &request);
        }
        let barrier = request.policy == ReadPolicy::Quorum && !is_write;
        if is_write || barrier {
            let patience = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
            return self.submit(id, request, barrier, false, patience);
        }
        self.read(id, request);
    }

    fn read(&mut self, id: NodeId, request: Request) {
        let (now, group) = (self.now, request.group);
        let Some(machine) = self.machines.get(&id) else { return };
        let clock = machine.clocks.read(now);
        let (Some(run), Some(hosted)) = (machine.run(), machine.hosted(group)) else { return };
        match look(&hosted.published, &hosted.reader, &request.command, clock.now, clock.hour) {
            None => self.redirect(id, &request),
            Some((begun, Looked::Unowned(slot))) => match begun.leads() {
                true => self.reply(id, &request, Answer::from(Failure::TryAgain { slot })),
                false => self.redirect(id, &request),
            },
            Some((_, Looked::Pending)) => {
                self.counts.dirty_reads += 1;
                self.submit(id, request, false, true, DIRTY_PATIENCE);
            }
            Some((begun, Looked::Answer(answer))) => {
                // The reading thread may be held up before it looks at the clock again.
                let held_up = self.rng.chance(self.troubles.reader);
                let after = if held_up { self.rng.below(ms(2500)) } else { self.rng.below(20_000) };
                self.counts.readers_held_up += u64::from(held_up);
                self.schedule(after, Happening::Confirm { node: id, run, group, request, begun, answer });
            }
        }
    }

    pub(super) fn confirm(
        &mut self,
        id: NodeId,
        run: RunId,
        group: GroupId,
        request: Request,
        begun: Begun,
        answer: Answer,
    ) {
        let Some(machine) = self.machines.get(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let Some(hosted) = machine.hosted(group) else { return };
        let confirmed = hosted.published.serving.confirms(begun, machine.clocks.tick(self.now));
        if !confirmed {
            return self.redirect(id, &request);
        }
        let by = if begun.leads() { &mut self.counts.reads_by_leaders } else { &mut self.counts.reads_by_followers };
        *by += 1;
        self.reply(id, &request, answer);
    }

    fn submit(&mut self, id: NodeId, request: Request, barrier: bool, dirty: bool, patience: Nanos) {
        let number = self.next_number;
        self.next_number += 1;
        let group = request.group;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let (Some(run), Some(process)) = (machine.run(), machine.process.as_ref()) else { return };
        let wanted = Rc::new(Cell::new(true));
        let ticket = Ticket { number, wanted: Rc::clone(&wanted), heard: Rc::clone(&process.heard) };
        let client = self.clients.get(request.client).map(Client::id);
        let dedupe = client.zip(request.dedupe);
        let asked = GroupRequest { command: request.command.clone(), dedupe, barrier };
        self.pending.insert(number, Pending { node: id, request, wanted, dirty });
        self.schedule(patience, Happening::OutOfPatience { node: id, number });
        self.step(id, run, group, |hosted, clock| {
            hosted.group.submit(&clock, [Submission { requests: vec![asked], respond: ticket }]);
        });
    }

    /// Hands out what a node's groups have answered.
    pub(super) fn hand_out(&mut self, id: NodeId) {
        let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else { return };
        let heard: Vec<Heard> = process.heard.borrow_mut().drain(..).collect();
        for Heard { number, answers } in heard {
            let Some(pending) = self.pending.remove(&number) else { continue };
            let Some(answer) = answers.into_iter().next() else { continue };
            let no_leader = matches!(answer.reply, Reply::Error(Failure::NoLeader { .. }));
            if pending.dirty && no_leader {
                self.redirect(id, &pending.request);
            } else {
                self.counts.reads_by_followers += u64::from(pending.dirty);
                self.reply(id, &pending.request, answer);
            }
        }
    }

    pub(super) fn out_of_patience(&mut self, id: NodeId, number: u64) {
        let Some(pending) = self.pending.remove(&number) else { return };
        pending.wanted.set(false);
        if pending.dirty {
            return self.redirect(id, &pending.request);
        }
        let failure = match pending.request.command.is_write() {
            true => Failure::Uncertain { reason: "it was not committed in time".into() },
            false => Failure::Timeout { what: "the group did not answer".into() },
        };
        self.reply(id, &pending.request, failure.into());
    }

    /// Sends a client to the leader, as far as the node knows it.
    fn redirect(&mut self, id: NodeId, request: &Request) {
        let group = request.group;
        let known = self.machines.get(&id).and_then(|machine| machine.process.as_ref()?.known.get(&group));
        let leader =
            known.and_then(|(record, _)| record.leader).map(|leader| leader.node).filter(|leader| *leader != id);
        let epoch = known.map(|(record, _)| record.epoch).unwrap_or_default();
        let slot = request.command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
        let failure = match leader {
            Some(_) => Failure::NotLeader { slot, group, leader, address: String::new(), epoch },
            None => Failure::NoLeader { group },
        };
        self.reply(id, request, failure.into());
    }

    fn reply(&mut self, id: NodeId, request: &Request, answer: Answer) {
        let Request { client, flight, attempt, group, .. } = *request;
        let Answer { reply, time, .. } = answer;
        self.note(|| format!("{id}: {client}/{flight}#{attempt} -> {reply:?}"));
        let sent = self.send(Place::Node(id), Place::Client(client), || Happening::Answered {
            client,
            flight,
            attempt,
            reply: reply.clone(),
            time,
            group,
        });
        if !sent && self.rng.chance(500) {
            self.lose(request, true);
        }
    }

    /// There is no process, or there is no more.
    fn refuse_connection(&mut self, id: NodeId, request: &Request) {
        if self.network.reach(Place::Node(id), Place::Client(request.client)) {
            self.lose(request, false);
        }
    }

    /// The client's connection breaks.
    pub(super) fn lose(&mut self, request: &Request, sent: bool) {
        let Request { client, flight, attempt, .. } = *request;
        let after = self.rng.range(40_000, ms(2));
        self.schedule(after, Happening::Lost { client, flight, attempt, sent });
    }

    /// A process is gone, and with it its connections: some clients notice at once.
    pub(super) fn hang_up(&mut self, id: NodeId) {
        let numbers: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.node == id).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(pending) = self.pending.remove(&number) else { continue };
            if self.rng.chance(500) {
                self.lose(&pending.request, true);
            }
        }
    }
}

//! What a node does with a client's request.

use std::cell::Cell;
use std::rc::Rc;

use simplekv_server::group::{GroupRequest, Looked, Proof, Submission, Terms, Wanted, hold_still};
use simplekv_types::{Failure, ReadPolicy, Slot, Tick};

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
    waits: Waits,
    began: Nanos,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Its turn with the leader.
    Turn,
    /// A follower to apply what is on its way: if that takes too long the leader is to be asked.
    Dirty,
    /// A replica to apply what the session has seen. Whether it comes in time or not: what is applied then decides.
    Behind(Lsn),
}

/// A read that was executed, to be proved.
#[derive(Debug)]
pub(crate) struct Unproved {
    terms: Terms,
    proof: Option<Proof>,
    answer: Answer,
    leads: bool,
    began: Nanos,
    /// The same by the reader's clock.
    clock: Tick,
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
        if led_elsewhere && (is_write || request.policy.is_leaders()) {
            return self.redirect(id, &request);
        }
        let barrier = request.policy == ReadPolicy::Quorum && !is_write;
        if is_write || barrier {
            let patience = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
            return self.submit(id, request, barrier, Waits::Turn, patience);
        }
        self.read(id, request, true);
    }

    /// `may_wait`: whether a session's read may wait for what the session has seen.
    fn read(&mut self, id: NodeId, request: Request, may_wait: bool) {
        let (now, group) = (self.now, request.group);
        let Some(machine) = self.machines.get(&id) else { return };
        let clock = machine.clocks.read(now);
        let (Some(run), Some(hosted)) = (machine.run(), machine.hosted(group)) else { return };
        let Request { command, policy, seen, .. } = &request;
        let slot = command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
        let wanted = Wanted { command, slot, policy: *policy, seen: *seen };
        let (map, version) = self.store.slots();
        let (map, begins) = ((&map, version), machine.reading_clock(now));
        let (terms, (looked, leads)) = hold_still(&hosted.published, &hosted.reader, group, map, begins, |held| {
            (held.look(&wanted, || clock.hour), held.is_leader())
        });
        match looked {
            Looked::Redirect => self.redirect(id, &request),
            Looked::Elsewhere(slot) => self.reply(id, &request, Failure::TryAgain { slot }.into()),
            Looked::Changing => {
                let patience = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
                self.submit(id, request, false, Waits::Turn, patience);
            }
            Looked::Refuse(failure) => {
                let is_lost = matches!(failure, Failure::TokenLost { .. });
                // Whoever looked at the clock long before cannot tell.
                let lineage = self.oracles.get(&group).map(|oracle| oracle.lineage);
                let own = hosted.group.replica().serving().lineage;
                let is_past = Some(own) < lineage || seen.is_some_and(|seen| Some(seen.lineage) != lineage);
                let may_be = is_past || begins < clock.now;
                assert!(!is_lost || may_be, "{id} lost what {seen:?} has seen");
                self.counts.tokens_lost += u64::from(is_lost);
                self.reply(id, &request, failure.into());
            }
            Looked::Dirty => {
                self.counts.dirty_reads += 1;
                self.submit(id, request, false, Waits::Dirty, DIRTY_PATIENCE);
            }
            Looked::Behind if may_wait => {
                self.counts.reads_behind += 1;
                let end = seen.map_or(Lsn::ZERO, |seen| seen.end);
                self.submit(id, request, false, Waits::Behind(end), DIRTY_PATIENCE);
            }
            Looked::Behind => self.redirect(id, &request),
            Looked::Answer(answer, proof) => {
                // The reading thread may be held up before it looks at the clock again.
                let held_up = self.rng.chance(self.troubles.reader);
                let longest =
                    if held_up { *self.rng.pick(&[ms(100), ms(500), ms(2500)]).expect("some") } else { 20_000 };
                let after = self.rng.below(longest);
                self.counts.readers_held_up += u64::from(held_up);
                let read = Unproved { terms, proof, answer, leads, began: now, clock: begins };
                self.schedule(after, Happening::Confirm { node: id, run, request, read });
            }
        }
    }

    pub(super) fn confirm(&mut self, id: NodeId, run: RunId, request: Request, read: Unproved) {
        let Some(machine) = self.machines.get(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let Some(hosted) = machine.hosted(request.group) else { return };
        let Unproved { terms, proof, answer, leads, began, clock } = read;
        if let Some(proof) = proof
            && !terms.prove(&hosted.published, machine.proving_clock(self.now, clock))(proof)
        {
            self.counts.reads_unproved += 1;
            return self.redirect(id, &request);
        }
        let counted = match (request.policy, leads) {
            (ReadPolicy::Session { .. }, _) => &mut self.counts.session_reads,
            (ReadPolicy::Bounded { .. }, _) => &mut self.counts.bounded_reads,
            (ReadPolicy::Any, _) => &mut self.counts.any_reads,
            (_, true) => &mut self.counts.reads_by_leaders,
            (_, false) => &mut self.counts.reads_by_followers,
        };
        *counted += 1;
        self.check_answer(id, &request, &answer, began);
        self.reply(id, &request, answer);
    }

    fn submit(&mut self, id: NodeId, request: Request, barrier: bool, waits: Waits, patience: Nanos) {
        let number = self.next_number;
        self.next_number += 1;
        let group = request.group;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let (Some(run), Some(process)) = (machine.run(), machine.process.as_ref()) else { return };
        let wanted = Rc::new(Cell::new(true));
        let ticket = Ticket { number, wanted: Rc::clone(&wanted), heard: Rc::clone(&process.heard) };
        let client = self.clients.get(request.client).map(Client::id);
        let dedupe = client.zip(request.dedupe);
        let asked = GroupRequest { command: request.command.clone(), dedupe, barrier, origin: None };
        self.pending.insert(number, Pending { node: id, request, wanted, waits, began: self.now });
        self.schedule(patience, Happening::OutOfPatience { node: id, number });
        self.step(id, run, group, |hosted, clock| match waits {
            Waits::Behind(end) => hosted.group.when_applied(end, ticket),
            _ => hosted.group.submit(&clock, [Submission { requests: vec![asked], respond: ticket }]),
        });
    }

    /// Hands out what a node's groups have answered.
    pub(super) fn hand_out(&mut self, id: NodeId) {
        let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else { return };
        let heard: Vec<Heard> = process.heard.borrow_mut().drain(..).collect();
        for Heard { number, answers } in heard {
            let Some(Pending { request, waits, began, .. }) = self.pending.remove(&number) else { continue };
            if matches!(waits, Waits::Behind(_)) {
                self.read(id, request, false);
                continue;
            }
            let Some(answer) = answers.into_iter().next() else { continue };
            let no_leader = matches!(answer.reply, Reply::Error(Failure::NoLeader { .. }));
            if waits == Waits::Dirty && no_leader {
                self.redirect(id, &request);
            } else {
                self.counts.reads_by_followers += u64::from(waits == Waits::Dirty);
                self.check_answer(id, &request, &answer, began);
                self.reply(id, &request, answer);
            }
        }
    }

    pub(super) fn out_of_patience(&mut self, id: NodeId, number: u64) {
        let Some(pending) = self.pending.remove(&number) else { return };
        pending.wanted.set(false);
        match pending.waits {
            Waits::Turn => (),
            Waits::Dirty => return self.redirect(id, &pending.request),
            Waits::Behind(_) => return self.read(id, pending.request, false),
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
        self.note(|| format!("{id}: {client}/{flight}#{attempt} -> {:?} {:?}", answer.reply, answer.seen));
        let sent = self.send(Place::Node(id), Place::Client(client), || Happening::Answered {
            client,
            flight,
            attempt,
            answer: answer.clone(),
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

//! What clients do, and what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;

use simplekv_client::sans_io::{self, Attempts, Circumstances, Outcome, Step};
use simplekv_client::{Error, Target};
use simplekv_types::{Failure, ReadPolicy, SessionToken};

use super::*;
use crate::client::{Flight, SHUNNED, Shared, WITHOUT_LEASE, command, slot};
use crate::history::{Action, End, OpId, Operation};

impl World {
    pub(super) fn wake_tasks(&mut self, client: usize) {
        let tasks = self.clients.get(client).map_or(0, |client| client.tasks);
        for task in 0..tasks {
            let after = self.rng.below(ms(50));
            self.schedule(after, Happening::Think { client, task });
        }
    }

    pub(super) fn begin_task(&mut self, client: usize, task: usize) {
        let value = self.history.value();
        let action = self.settings.workload.draw(&mut self.rng, value);
        self.begin_operation(client, task, action);
    }

    /// A client wants something done.
    pub(crate) fn begin_operation(&mut self, client: usize, task: usize, action: Action) -> OpId {
        let policy = self.draw_policy(task);
        let group = self.store.slots().0.owner(slot(&action)).expect("every slot has an owner");
        let (began, ended) = (self.now, None);
        let id = self.history.begin(Operation { client, task, action: action.clone(), group, policy, began, ended });
        self.hand_token_on(client, task);
        let Some(who) = self.clients.get_mut(client) else { return id };
        if action.is_read() && policy == ReadPolicy::Linearizable {
            // A linearizable read may join only a flight that has not left.
            let key = (action.key().to_owned(), true);
            if let Some(shared) = who.shared.get_mut(&key) {
                shared.waiting.push_back(id);
                self.counts.reads_collapsed += 1;
                return id;
            }
            who.shared.insert(key, Shared { waiting: VecDeque::new() });
        }
        self.take_off(client, action, policy, vec![id]);
        id
    }

    fn draw_policy(&mut self, task: usize) -> ReadPolicy {
        match self.rng.below(40) {
            0 | 1 => ReadPolicy::Quorum,
            20..=30 if !self.has_honest_clocks() => ReadPolicy::Quorum,
            2 | 3 => ReadPolicy::Leader,
            // What is asked outside tasks is asked to see whether everything is there.
            4..=9 if task < usize::MAX => ReadPolicy::SESSION,
            10 | 11 if task < usize::MAX => {
                ReadPolicy::Bounded { max_lag: std::time::Duration::from_millis(self.rng.range(10, 400)) }
            }
            12 if task < usize::MAX => ReadPolicy::Any,
            25..=37 if task < usize::MAX && self.settings.workload.bounded => {
                ReadPolicy::Bounded { max_lag: std::time::Duration::from_millis(self.rng.range(10, 400)) }
            }
            _ => ReadPolicy::Linearizable,
        }
    }

    /// Now and then a task goes on from where another was.
    fn hand_token_on(&mut self, client: usize, task: usize) {
        if !self.rng.chance(50) {
            return;
        }
        let sessions: Vec<&SessionToken> = self.clients.iter().flat_map(|client| &client.sessions).collect();
        let Some(token) = self.rng.pick(&sessions).map(|token| (*token).clone()) else { return };
        if let Some(session) = self.clients.get_mut(client).and_then(|client| client.sessions.get_mut(task)) {
            session.merge(&token);
            self.counts.tokens_handed_on += 1;
        }
    }

    fn take_off(&mut self, client: usize, action: Action, policy: ReadPolicy, operations: Vec<OpId>) {
        let patience = self.settings.patience;
        let (slot, now) = (slot(&action), self.now);
        let Some(group) = self.store.slots().0.owner(slot) else { return };
        let Some(who) = self.clients.get_mut(client) else { return };
        let target = Target::Slot(slot);
        let attempts = match action.is_read() {
            true => Attempts::read(target, policy, patience.total, patience.attempt),
            false => Attempts::write(target, &who.writes, patience.total, patience.attempt),
        };
        let task = operations.first().and_then(|id| self.history.operations.get(*id)).map_or(usize::MAX, |op| op.task);
        let flight = who.next_flight;
        who.next_flight += 1;
        let state = Flight {
            attempts,
            action,
            policy,
            group,
            began: now,
            operations,
            task,
            seen: None,
            attempt: 0,
            asked: None,
            pause: None,
            pauses: 0,
        };
        who.flights.insert(flight, state);
        self.decide(client, flight, Outcome::Ready);
    }

    fn decide(&mut self, client: usize, id: u64, outcome: Outcome) {
        let now = self.now;
        let dice = u32::try_from(self.rng.below(1 << 32)).expect("32 bits");
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        let unrouted = if self.rng.chance(250) { self.rng.pick(&nodes).copied() } else { None };
        let Some(who) = self.clients.get_mut(client) else { return };
        let Some(mut flight) = who.flights.remove(&id) else { return };
        let topology = Arc::clone(&who.topology);
        let cost = |node| who.cost(node, now);
        let elapsed = std::time::Duration::from_nanos(now - flight.began);
        let by = Circumstances { topology: &topology, elapsed, millis: now / 1_000_000, dice, cost: &cost };
        match flight.attempts.decide(outcome, &by) {
            Step::Send { to, dedupe, attempt, timeout } => {
                // Who speaks the Redis protocol reads from whichever node it is connected to.
                let is_weak =
                    !matches!(flight.policy, ReadPolicy::Linearizable | ReadPolicy::Leader | ReadPolicy::Quorum);
                let is_unrouted = is_weak && flight.action.is_read() && unrouted.is_some();
                let to = unrouted.filter(|_| is_unrouted).unwrap_or(to);
                self.counts.reads_unrouted += u64::from(is_unrouted);
                (flight.attempt, flight.asked, flight.pause) = (attempt, Some(to), None);
                let is_in_session = matches!(flight.policy, ReadPolicy::Session { .. } | ReadPolicy::Bounded { .. });
                let session = who.sessions.get(flight.task).filter(|_| is_in_session && flight.action.is_read());
                let request = Request {
                    client,
                    flight: id,
                    attempt,
                    group: flight.group,
                    action: flight.action.clone(),
                    command: command(&flight.action),
                    policy: flight.policy,
                    seen: session.map(|session| session.position(flight.group)),
                    dedupe,
                    timeout,
                };
                who.flights.insert(id, flight);
                self.counts.retries += u64::from(attempt > 1);
                self.schedule(
                    u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
                    Happening::AttemptEnds { client, flight: id, attempt },
                );
                self.send(Place::Client(client), Place::Node(to), || Happening::Arrive {
                    node: to,
                    request: request.clone(),
                });
            }
            Step::Pause { most } => {
                flight.pauses += 1;
                let pause = flight.pauses;
                (flight.pause, flight.attempt) = (Some(pause), 0);
                who.flights.insert(id, flight);
                let after = self.rng.below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1));
                self.schedule(after, Happening::PauseEnds { client, flight: id, pause });
                // It asks somebody for the topology meanwhile, who may know it or not.
                if !self.store_down && !self.rng.chance(self.troubles.watch) {
                    let version = self.store.revision();
                    let after = self.rng.range(200_000, ms(2));
                    self.schedule(after, Happening::Topology { client, version });
                }
            }
            Step::Finish(result) => self.land(client, flight, result),
        }
    }

    /// A request has come to its end: all who shared it are told, and whoever waited for the next one leaves.
    fn land(&mut self, client: usize, flight: Flight, result: Result<Reply, Error>) {
        let end = end_of(&flight.action, result);
        let Flight { action, policy, operations, attempts, seen, .. } = flight;
        let told = !matches!(end, End::Failed | End::Unknown);
        for id in &operations {
            let task = self.history.operations.get(*id).map_or(usize::MAX, |operation| operation.task);
            let session = self.clients.get_mut(client).and_then(|who| who.sessions.get_mut(task));
            if let (Some(session), Some(seen), true) = (session, seen, told) {
                session.observe(seen);
            }
        }
        // The write's number counts as answered from here on.
        drop(attempts);
        for id in operations {
            self.finish(id, end.clone());
        }
        if !action.is_read() || policy != ReadPolicy::Linearizable {
            return;
        }
        let Some(who) = self.clients.get_mut(client) else { return };
        let key = (action.key().to_owned(), true);
        let waiting = who.shared.get_mut(&key).map(|shared| std::mem::take(&mut shared.waiting)).unwrap_or_default();
        if waiting.is_empty() {
            who.shared.remove(&key);
            return;
        }
        self.take_off(client, action, policy, waiting.into());
    }

    fn finish(&mut self, id: OpId, end: End) {
        let Some(operation) = self.history.operations.get(id) else { return };
        let (client, task) = (operation.client, operation.task);
        self.counts.operations += 1;
        self.counts.unknown += u64::from(end == End::Unknown);
        self.counts.failed += u64::from(end == End::Failed);
        self.history.end(id, self.now, end);
        if self.clients.get(client).is_some_and(|client| task < client.tasks) {
            let after = self.rng.below(self.settings.workload.think);
            self.schedule(after, Happening::Think { client, task });
        }
    }

    pub(super) fn answered(&mut self, client: usize, id: u64, attempt: u32, answer: Answer, group: GroupId) {
        let now = self.now;
        let Answer { reply, time, seen } = answer;
        let Some(who) = self.clients.get_mut(client) else { return };
        sans_io::observe(&who.topology, Target::Group(group), time, now / 1_000_000);
        let Some(flight) = who.flights.get_mut(&id).filter(|flight| flight.attempt == attempt) else { return };
        flight.seen = seen.first().copied();
        if let Reply::Error(failure) = &reply {
            if let Some(next) = sans_io::learn(&who.topology, failure) {
                who.topology = Arc::new(next);
            }
            let lacks_lease = matches!(
                failure.code(),
                simplekv_types::FailureCode::NotLeader | simplekv_types::FailureCode::NoLeader
            );
            let (asked, task) = (flight.asked, flight.task);
            if lacks_lease && let Some(node) = asked {
                who.shun(node, now, WITHOUT_LEASE);
            }
            if matches!(failure, Failure::TokenLost { .. })
                && let Some(session) = who.sessions.get_mut(task)
            {
                *session = SessionToken::new();
            }
            self.counts.refusals += 1;
        }
        self.decide(client, id, Outcome::Answered(reply));
    }

    pub(super) fn lost(&mut self, client: usize, id: u64, attempt: u32, sent: bool) {
        self.gone(client, id, attempt, Outcome::Lost { sent });
    }

    pub(super) fn attempt_ends(&mut self, client: usize, id: u64, attempt: u32) {
        self.gone(client, id, attempt, Outcome::TimedOut { sent: true });
    }

    fn gone(&mut self, client: usize, id: u64, attempt: u32, outcome: Outcome) {
        let now = self.now;
        let Some(who) = self.clients.get_mut(client) else { return };
        let Some(flight) = who.flights.get(&id).filter(|flight| flight.attempt == attempt) else { return };
        if let Some(node) = flight.asked {
            who.shun(node, now, SHUNNED);
        }
        self.decide(client, id, outcome);
    }

    pub(super) fn pause_ends(&mut self, client: usize, id: u64, pause: u32) {
        let in_it = |flight: &&Flight| flight.pause == Some(pause);
        if self.clients.get(client).and_then(|who| who.flights.get(&id)).filter(in_it).is_some() {
            self.decide(client, id, Outcome::Ready);
        }
    }

    /// A topology arrives at a client: it may end pauses.
    pub(super) fn take_topology(&mut self, client: usize, version: Revision) {
        let Some(topology) = self.topology_at(version) else { return };
        let Some(who) = self.clients.get_mut(client) else { return };
        if who.deaf_until > self.now {
            return self.queue.push(who.deaf_until, Happening::Topology { client, version });
        }
        if who.topology.version() > 0 && topology.version() <= who.topology.version() {
            // Times are taken over in any case.
            return self.tell_times(client);
        }
        let next = Arc::new(sans_io::succeed(simplekv_client::Topology::clone(&topology), &who.topology));
        // Nodes tell a group's time along with the topology.
        who.topology = next;
        self.tell_times(client);
        let Some(who) = self.clients.get(client) else { return };
        let woken: Vec<u64> = who
            .flights
            .iter()
            .filter(|(_, flight)| flight.pause.is_some() && flight.attempts.would_ask_another(&who.topology))
            .map(|(id, _)| *id)
            .collect();
        for id in woken {
            self.decide(client, id, Outcome::Ready);
        }
    }

    /// What groups' times are, as some node that hosts them knows.
    fn tell_times(&mut self, client: usize) {
        let now = self.now / 1_000_000;
        let Some(who) = self.clients.get(client) else { return };
        for group in self.oracles.keys() {
            let times =
                self.machines.values().filter_map(|machine| Some(machine.hosted(*group)?.reader.applied_time()));
            if let Some(time) = times.max().filter(|time| *time > GroupTime::ZERO) {
                sans_io::observe(&who.topology, Target::Group(*group), time, now);
            }
        }
    }
}

/// What an operation came to.
fn end_of(action: &Action, result: Result<Reply, Error>) -> End {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    match result {
        Ok(Reply::Bulk(bytes)) => End::Value(Some(number(&bytes).expect("only numbers are written"))),
        Ok(Reply::Null) => End::Value(None),
        Ok(Reply::Int(number)) => End::Number(number),
        Ok(Reply::Ok) => End::Done,
        Ok(Reply::Error(Failure::WrongType)) => panic!("{action:?} finds another type"),
        Ok(Reply::Error(_)) => End::Failed,
        Ok(other) => panic!("{action:?} answers {other:?}"),
        Err(error) if error.may_have_applied() && !action.is_read() => End::Unknown,
        Err(_) => End::Failed,
    }
}

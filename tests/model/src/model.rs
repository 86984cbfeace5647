//! The protocol as a model: from each state, everything that may happen next.

use std::panic::{AssertUnwindSafe, catch_unwind};

use simplekv_cluster::{Event, MetadataOutcome, Role};
use simplekv_types::{Epoch, NodeId};
use stateright::{Model, Property};

use crate::bounds::Bounds;
use crate::history::Breach;
use crate::properties::{Witness, properties};
use crate::shared::Shared;
use crate::state::State;
use crate::store::changes_in_sync;

/// The model.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) bounds: Bounds,
    pub(crate) reaches: &'static [Witness],
    /// The rule that the core breaks, in a build that can.
    #[cfg(mutants)]
    pub(crate) broken: Option<simplekv_types::mutants::Rule>,
}

/// Something that may happen. Requests and messages are named by their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A message arrives.
    Deliver { from: NodeId, to: NodeId, place: usize },
    /// A message is lost, so that a full link has room.
    Lose { from: NodeId, to: NodeId, place: usize },
    /// A millisecond passes.
    Pass,
    /// A process does what has become due.
    Wake { node: NodeId },
    /// A node sees what is in the store.
    Watch { node: NodeId },
    /// The controller elects somebody, while it believes somebody else to be dead.
    Elect { to: NodeId, dead: Option<NodeId> },
    /// A client writes.
    Write { node: NodeId },
    /// A process ends and another begins.
    Restart { node: NodeId, wiped: bool },
    /// The store executes a request.
    Execute { place: usize },
    /// The asker is told that nobody knows whether its request was executed; it may be, now or later.
    GiveUp { place: usize, executed: bool },
}

impl Protocol {
    /// The first leader at work, followed by everybody, who all hold leases.
    fn at_work(&self) -> State {
        let mut state = State::new(&self.bounds);
        assert!(state.elect(NodeId(1), None), "everybody is in sync");
        self.settle(&mut state);
        state.now += 1;
        state.step(&self.bounds, NodeId(1), Event::Tick);
        self.settle(&mut state);
        // Where the least silence counts as lagging, the followers have left meanwhile and joined again.
        let mut store = (*state.store).clone();
        assert!(store.record.in_sync.len() == state.nodes.len(), "everybody answers");
        (store.changes, store.joined) = (0, false);
        state.store = Shared::new(store);
        state
    }

    /// Lets everything arrive, until nothing is on its way.
    fn settle(&self, state: &mut State) {
        loop {
            let mut actions = Vec::new();
            self.watches(state, &mut actions);
            self.deliveries(state, &mut actions);
            self.requests(state, &mut actions);
            let ordinary = |action: &Action| !matches!(action, Action::Lose { .. } | Action::GiveUp { .. });
            let Some(action) = actions.into_iter().find(ordinary) else { return };
            self.happen(state, action);
        }
    }

    fn deliveries(&self, state: &State, actions: &mut Vec<Action>) {
        for (from, to, place, full) in state.network.on_their_way(self.bounds.room) {
            actions.push(Action::Deliver { from, to, place });
            if full && !self.bounds.in_order {
                actions.push(Action::Lose { from, to, place });
            }
        }
    }

    fn watches(&self, state: &State, actions: &mut Vec<Action>) {
        let (news, record) = (state.news(), &state.store.record);
        let behind = state.nodes.iter().filter(|node| {
            let elected =
                record.leader.is_some_and(|leader| leader.node == node.id) && node.status.role != Role::Leader;
            node.seen.1 < news.1 || (node.seen.0 < news.0 && (elected || node.status.epoch < record.epoch))
        });
        actions.extend(behind.map(|node| Action::Watch { node: node.id }));
    }

    /// A change that is beyond the bounds stays on its way.
    fn requests(&self, state: &State, actions: &mut Vec<Action>) {
        let record = &state.store.record;
        for (place, request) in state.requests.iter().enumerate() {
            let after = &request.change.record;
            let changes = u8::from(changes_in_sync(record, after));
            if after.epoch.0 <= self.bounds.epochs && state.store.changes + changes <= self.bounds.changes {
                actions.push(Action::Execute { place });
                if request.awaited && state.used.unknowns < self.bounds.unknowns {
                    actions.push(Action::GiveUp { place, executed: true });
                }
            }
            if request.awaited && state.used.unknowns < self.bounds.unknowns {
                actions.push(Action::GiveUp { place, executed: false });
            }
        }
    }

    fn elections(&self, state: &State, actions: &mut Vec<Action>) {
        if state.store.record.epoch.0 >= self.bounds.epochs {
            return;
        }
        let members = &state.store.record.in_sync;
        // Until then all followers are alike.
        let alike = state.store.record.epoch == Epoch(1) && state.used.restarts == 0 && state.store.changes == 0;
        for to in members.iter().map(|member| member.node).take(if alike { 2 } else { members.len() }) {
            actions.push(Action::Elect { to, dead: None });
            let others = members.iter().map(|member| member.node).filter(|other| *other != to);
            actions.extend(others.map(|other| Action::Elect { to, dead: Some(other) }));
        }
    }

    /// Changes the state; false if nothing has come of it.
    fn happen(&self, state: &mut State, action: Action) -> bool {
        let bounds = &self.bounds;
        match action {
            Action::Deliver { from, to, place } => {
                let Some(envelope) = state.network.take(from, to, place, bounds.in_order) else { return false };
                state.step(bounds, to, Event::Received((*envelope).clone()));
            }
            Action::Lose { from, to, place } => {
                state.network.take(from, to, place, false);
            }
            Action::Pass => {
                state.now += 1;
                state.used.ticks += 1;
            }
            Action::Wake { node } => state.step(bounds, node, Event::Tick),
            Action::Watch { node } => state.watch(bounds, node),
            Action::Elect { to, dead } => return state.elect(to, dead),
            Action::Write { node } => {
                state.used.writes += 1;
                let write = state.used.writes;
                return state.act(bounds, node, |node, around| node.write(around, write));
            }
            Action::Restart { node, wiped } => state.restart(bounds, node, wiped),
            Action::Execute { place } => {
                let request = state.requests.remove(place);
                state.execute(bounds, &request);
            }
            Action::GiveUp { place, executed } => self.give_up(state, place, executed),
        }
        true
    }

    fn give_up(&self, state: &mut State, place: usize, executed: bool) {
        let mut request = state.requests.remove(place);
        let (node, run, id) = (request.node, request.run, request.id);
        request.awaited = false;
        state.used.unknowns += 1;
        if executed {
            state.execute(&self.bounds, &request);
        } else {
            state.requests.insert(place, request);
        }
        if state.node(node).run == run {
            state.step(&self.bounds, node, Event::Metadata { id, outcome: MetadataOutcome::Unknown });
        }
    }

    /// Rules are broken by thread, and the checker has its own.
    fn break_rule(&self) {
        #[cfg(mutants)]
        simplekv_types::mutants::break_rule(self.broken);
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.break_rule();
        vec![self.at_work()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used) = (&self.bounds, &state.used);
        if state.history.breach.is_some() {
            return;
        }
        self.deliveries(state, actions);
        self.watches(state, actions);
        self.requests(state, actions);
        self.elections(state, actions);
        if used.ticks < bounds.ticks {
            actions.push(Action::Pass);
        }
        for node in &state.nodes {
            let id = node.id;
            if node.is_due(state.now) {
                actions.push(Action::Wake { node: id });
            }
            if used.writes < bounds.writes && node.status.role == Role::Leader {
                actions.push(Action::Write { node: id });
            }
            if used.restarts < bounds.restarts {
                actions.push(Action::Restart { node: id, wiped: false });
                if used.wipes < bounds.wipes {
                    actions.push(Action::Restart { node: id, wiped: true });
                }
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        self.break_rule();
        let mut state = before.clone();
        match catch_unwind(AssertUnwindSafe(|| self.happen(&mut state, action))) {
            Ok(happened) => happened.then_some(state),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().cloned();
                let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
                let mut state = before.clone();
                let mut history = (*before.history).clone();
                history.breach(Breach::Assertion(words.unwrap_or_default()));
                state.history = Shared::new(history);
                Some(state)
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties().into_iter().chain(self.reaches.iter().map(|witness| witness.property())).collect()
    }
}

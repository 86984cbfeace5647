//! Sorts requests that are made together: by slot into rows, by where they go into cargoes, and what is not plain to be sent by itself.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use simplekv_proto::{Manner, Words};
use simplekv_types::{GroupId, GroupTime, NodeId, ReadPolicy, Seq, Slot};
use smallvec::SmallVec;

use super::run::Request;
use super::{Core, floor_of};
use crate::airborne::{Marks, Sight};
use crate::attempt::Access;
use crate::session::Ledger;
use crate::singleflight::{FlightKey, Join, flight_hash};
use crate::topology::Topology;
use crate::{Ask, Kind, Options, RequestId, Target};

/// One operation of a cargo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Which of the requests it is.
    pub(super) ask: u32,
    pub(super) slot: Slot,
    /// Which of the bounds it is sent by.
    pub(super) bound: u16,
    pub(super) role: Role,
    /// Whether it stands in a row with the one before it.
    pub(super) is_joined: bool,
}

/// How an operation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A read that goes where it likes.
    Lone,
    /// A read in a row with a write.
    Beside,
    Write,
}

/// What was decided once for all requests that are bound for one group.
pub(super) struct Bound {
    group: Option<GroupId>,
    reads: Option<Option<Departure>>,
    writes: Option<Option<Departure>>,
}

/// How requests of one kind are sent to one group.
pub(super) struct Departure {
    pub(super) to: NodeId,
    pub(super) timeout: Duration,
    pub(super) model: Request,
    pub(super) manner: Manner,
    /// How a read is sent that stands in a row with a write.
    beside: Option<(Request, Manner)>,
}

impl Bound {
    pub(super) fn group(&self) -> Option<GroupId> {
        self.group
    }

    fn departure(&self, role: Role) -> Option<&Departure> {
        let decided = if role == Role::Lone { &self.reads } else { &self.writes };
        decided.as_ref()?.as_ref()
    }

    /// What a request of this role looks like, and how it is sent.
    pub(super) fn model(&self, role: Role) -> (&Request, &Manner) {
        let departure = self.departure(role).expect("what is sent was decided about");
        match (role, &departure.beside) {
            (Role::Beside, Some((model, manner))) => (model, manner),
            _ => (&departure.model, &departure.manner),
        }
    }
}

/// What goes to one node.
pub(super) struct Cargo {
    pub(super) to: NodeId,
    pub(super) timeout: Duration,
    pub(super) entries: Vec<Entry>,
    pub(super) marks: Marks,
}

/// What cannot be sent with the others.
pub(super) enum Apart {
    /// Requests for one slot, in their order.
    Row(Slot, Vec<u32>),
    /// A read that somebody else is making as well.
    Shared(u32, FlightKey, Join),
}

/// Requests that were made together, sorted.
pub(super) struct Sorted {
    pub(super) bounds: Vec<Bound>,
    pub(super) cargoes: SmallVec<[Cargo; 2]>,
    pub(super) apart: Vec<Apart>,
    /// Reads, each with one it is answered with.
    pub(super) echoes: Vec<(u32, u32)>,
}

/// Requests being sorted.
struct Sorting<'a> {
    core: &'a Core,
    topology: Guard<Arc<Topology>>,
    asks: &'a [Ask],
    options: Options,
    policy: ReadPolicy,
    session: Option<&'a Arc<Ledger>>,
    /// Reads others may look at, by their hashes.
    looked_at: Vec<(u64, u32)>,
    sorted: Sorted,
}

impl Core {
    /// Sorts requests.
    pub(super) fn sort(
        &self,
        asks: &[Ask],
        options: Options,
        policy: ReadPolicy,
        session: Option<&Arc<Ledger>>,
    ) -> Sorted {
        let sorted =
            Sorted { bounds: Vec::with_capacity(2), cargoes: SmallVec::new(), apart: Vec::new(), echoes: Vec::new() };
        let topology = self.slots.load();
        let looked_at = Vec::new();
        let mut sorting = Sorting { core: self, topology, asks, options, policy, session, looked_at, sorted };
        // By slot, and within one in their order.
        let mut order: Vec<u64> =
            (0_u64..).zip(asks).map(|(at, ask)| u64::from(ask.slot.number()) << 32 | at).collect();
        order.sort_unstable();
        let is_write = |at: &u64| asks.get(index(*at) as usize).is_some_and(|ask| ask.kind == Kind::Write);
        let rows = || order.chunk_by(|one, other| one >> 32 == other >> 32);
        // Reads first: a node answers those in front of the first write without its log.
        rows().filter(|row| !row.iter().any(is_write)).for_each(|row| sorting.reads(row));
        rows().filter(|row| row.iter().any(is_write)).for_each(|row| sorting.row(row));
        sorting.sorted
    }
}

/// Which request a row of the order means.
fn index(row: u64) -> u32 {
    row as u32
}

impl Sorting<'_> {
    fn ask(&self, at: u32) -> &Ask {
        self.asks.get(at as usize).expect("the order names requests")
    }

    /// Reads of one slot, each by itself.
    fn reads(&mut self, row: &[u64]) {
        for ask in row.iter().copied().map(index) {
            let slot = self.ask(ask).slot;
            // What is tracked carries another number to each node, and its answer says whether that counts.
            let is_tracked = self.is_tracked(ask);
            match self.reader(slot).filter(|_| !is_tracked) {
                Some(bound) => self.read(ask, slot, bound),
                None => self.sorted.apart.push(Apart::Row(slot, vec![ask])),
            }
        }
    }

    fn is_tracked(&self, ask: u32) -> bool {
        let ask = self.ask(ask);
        ask.kind == Kind::Read && (ask.track || self.options.track)
    }

    /// The bound by which reads of a slot are sent; `None` if they cannot be sent with the others.
    fn reader(&mut self, slot: Slot) -> Option<usize> {
        let at = self.bound(slot)?;
        if self.sorted.bounds.get(at)?.reads.is_none() {
            let departure = self.core.reads_depart(self, slot);
            self.sorted.bounds.get_mut(at)?.reads = Some(departure);
        }
        self.sorted.bounds.get(at)?.reads.as_ref()?.as_ref().map(|_| at)
    }

    fn read(&mut self, at: u32, slot: Slot, bound: usize) {
        let ask = self.ask(at);
        let options = self.options.share(self.options.share && ask.share);
        let target = Target::Slot(slot);
        let rule = self.core.may_share(Kind::Read, target, self.policy, &options, self.session);
        let Some(rule) = rule else { return self.load(bound, &[(at, Role::Lone)]) };
        let hash = flight_hash(target, self.policy, &ask.words);
        let cargo = self.cargo(bound, Role::Lone);
        let sight = self.sorted.cargoes.get_mut(cargo).map_or(Sight::Crowded, |cargo| cargo.marks.leave(hash));
        if sight != Sight::Same {
            if sight == Sight::Clear {
                self.looked_at.push((hash, at));
            }
            return self.load(bound, &[(at, Role::Lone)]);
        }
        let ask = self.ask(at);
        let is_identical = |other: &Ask| other.slot == ask.slot && other.words == ask.words;
        let mine = self.looked_at.iter().find(|(other, known)| *other == hash && is_identical(self.ask(*known)));
        match mine {
            Some((_, known)) => self.sorted.echoes.push((*known, at)),
            None => {
                let args: Arc<[bytes::Bytes]> = ask.words.iter().cloned().collect();
                let key = FlightKey::new(target, self.policy, args);
                self.looked_at.push((hash, at));
                self.sorted.apart.push(Apart::Shared(at, key, rule));
            }
        }
    }

    /// Requests for one slot of which one at least is a write.
    fn row(&mut self, row: &[u64]) {
        let Some(slot) = row.first().map(|first| self.ask(index(*first)).slot) else { return };
        let asks = row.iter().copied().map(index);
        let is_tracked = asks.clone().any(|ask| self.is_tracked(ask));
        match self.writer(slot).filter(|_| !is_tracked) {
            Some(bound) => {
                let role = |kind| if kind == Kind::Write { Role::Write } else { Role::Beside };
                let row: SmallVec<[(u32, Role); 4]> = asks.map(|ask| (ask, role(self.ask(ask).kind))).collect();
                self.load(bound, &row);
            }
            None => self.sorted.apart.push(Apart::Row(slot, asks.collect())),
        }
    }

    fn writer(&mut self, slot: Slot) -> Option<usize> {
        let at = self.bound(slot)?;
        if self.sorted.bounds.get(at)?.writes.is_none() {
            let departure = self.core.writes_depart(self, slot);
            self.sorted.bounds.get_mut(at)?.writes = Some(departure);
        }
        self.sorted.bounds.get(at)?.writes.as_ref()?.as_ref().map(|_| at)
    }

    /// The bound of the group that owns a slot. `None` if these requests are out of the ordinary: whoever names a write, or will not have
    /// it repeated, gets an attempt of its own.
    fn bound(&mut self, slot: Slot) -> Option<usize> {
        if !self.options.retry || self.options.request_id.is_some() {
            return None;
        }
        let group = self.topology.owner(slot).map(|group| group.id);
        let bounds = &mut self.sorted.bounds;
        // The latest is mostly it: neighbouring slots have the same owner.
        if let Some(at) = bounds.iter().rposition(|bound| bound.group == group) {
            return Some(at);
        }
        if bounds.len() == usize::from(u16::MAX) {
            return None;
        }
        bounds.push(Bound { group, reads: None, writes: None });
        Some(bounds.len() - 1)
    }

    /// The cargo that goes where requests bound so go.
    fn cargo(&mut self, bound: usize, role: Role) -> usize {
        let departure = self.sorted.bounds.get(bound).and_then(|bound| bound.departure(role));
        let (to, timeout) = departure.map(|one| (one.to, one.timeout)).expect("only what departs is loaded");
        let cargoes = &mut self.sorted.cargoes;
        match cargoes.iter().position(|cargo| cargo.to == to) {
            Some(at) => at,
            None => {
                let entries = Vec::with_capacity(self.asks.len());
                cargoes.push(Cargo { to, timeout, entries, marks: self.core.airborne.marks() });
                cargoes.len() - 1
            }
        }
    }

    /// Puts requests of one row behind each other.
    fn load(&mut self, bound: usize, row: &[(u32, Role)]) {
        let Some(&(first, role)) = row.first() else { return };
        let slot = self.ask(first).slot;
        let cargo = self.cargo(bound, if role == Role::Lone { Role::Lone } else { Role::Write });
        let Some(cargo) = self.sorted.cargoes.get_mut(cargo) else { return };
        let bound = bound as u16;
        let entry = |(at, &(ask, role))| Entry { ask, slot, bound, role, is_joined: at > 0 };
        cargo.entries.extend(row.iter().enumerate().map(entry));
    }
}

impl Core {
    /// How reads for the group of this slot are sent, each by itself.
    fn reads_depart(&self, sorting: &Sorting<'_>, slot: Slot) -> Option<Departure> {
        let access = Access::Read(sorting.policy);
        let plan = self.plan(access, Target::Slot(slot), &sorting.options);
        let mut model = Request::new(plan, Arc::default(), None, floor_of(sorting.session)).alone();
        let (to, timeout) = self.depart(&mut model, &sorting.topology)?;
        let group = sorting.topology.owner(slot).map(|group| group.id);
        let manner = model.manner(group, 1, timeout);
        Some(Departure { to, timeout, model, manner, beside: None })
    }

    /// How writes for the group of this slot are sent, and reads in a row with them.
    fn writes_depart(&self, sorting: &Sorting<'_>, slot: Slot) -> Option<Departure> {
        // Dated when it departs; numbered when it is packed.
        let id = RequestId { client: self.sequence.client(), seq: Seq(0), deadline: GroupTime::ZERO };
        let plan = self.plan(Access::Write(Some(id)), Target::Slot(slot), &sorting.options);
        let mut model = Request::new(plan, Arc::default(), None, floor_of(sorting.session));
        let (to, timeout) = self.depart(&mut model, &sorting.topology)?;
        let group = sorting.topology.owner(slot).map(|group| group.id);
        let manner = model.manner(group, 1, timeout);
        let plan = self.plan(Access::Read(sorting.policy), Target::Slot(slot), &sorting.options);
        let read = model.beside(plan, floor_of(sorting.session));
        let its_manner = read.manner(group, 1, timeout);
        Some(Departure { to, timeout, model, manner, beside: Some((read, its_manner)) })
    }
}

/// The words of a request, for one that goes by itself.
pub(super) fn args(words: &mut Words) -> Arc<[bytes::Bytes]> {
    std::mem::take(words).into_iter().collect()
}

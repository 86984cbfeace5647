//! A few groups' leaders that fail, a metadata store as a value, a channel that loses and reorders, controllers that die, and clients.
//!
//! A group is its log: whoever leads next makes everything else of it again. How the replicas of one group agree on it is told by the
//! stories of replication.

pub(crate) mod data;
mod driver;
mod group;
mod oracle;
#[path = "../../protocol/harness/rng.rs"]
mod rng;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::migration::{MoveAlarm, MoveMessage, Mover, MoverTiming};
use simplekv_types::{GroupId, MoveJob, Slot, SlotMap, SlotRange, Tick};

pub(crate) use self::data::{Op, Write};
pub(crate) use self::driver::Happening;
pub(crate) use self::group::Group;
pub(crate) use self::oracle::Oracle;
pub(crate) use self::rng::Rng;
pub(crate) use self::store::Store;

pub(crate) const A: GroupId = GroupId(1);
pub(crate) const B: GroupId = GroupId(2);
pub(crate) const C: GroupId = GroupId(3);
/// Slots that are owned: two of each group.
pub(crate) const SLOTS: u16 = 6;
pub(crate) const KEYS: u8 = 4;

/// What goes wrong with messages and requests, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay: u64,
    pub(crate) store: u64,
    /// Appends that are not admitted.
    pub(crate) refuse: u64,
}

pub(crate) struct World {
    /// In milliseconds.
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) store: Store,
    pub(crate) store_down: bool,
    pub(crate) jobs: BTreeMap<String, MoveJob>,
    pub(crate) ended: BTreeMap<String, bool>,
    pub(crate) mover: Option<Mover>,
    pub(crate) office: u64,
    pub(crate) oracle: Oracle,
    /// What happens at which time; the number keeps what is due at once in order.
    pub(crate) due: BTreeMap<(u64, u64), Happening>,
    pub(crate) scheduled: u64,
    /// Answers of the metadata store take this much longer.
    pub(crate) answers_late: u64,
    /// Groups that do not hear others.
    pub(crate) deaf: BTreeSet<GroupId>,
    /// Messages kept back, for a story to deliver later.
    pub(crate) kept: Option<Vec<(GroupId, MoveMessage)>>,
    pub(crate) alarms: Vec<(GroupId, MoveAlarm)>,
    pub(crate) writes: u64,
    pub(crate) trace: Vec<String>,
    /// Whether the trace tells of every write, too.
    pub(crate) verbose: bool,
}

pub(crate) fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

pub(crate) fn ranges(text: &str) -> Vec<SlotRange> {
    vec![text.parse().unwrap()]
}

pub(crate) fn slots() -> impl Iterator<Item = Slot> {
    (0..SLOTS).map(slot)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let groups = [A, B, C];
        let owner = |group: GroupId| {
            SlotRange::new(slot((group.0 as u16 - 1) * 2), slot((group.0 as u16 - 1) * 2 + 1)).unwrap()
        };
        let map = SlotMap::new(groups.map(|group| (owner(group), group))).unwrap();
        let mut rng = Rng::new(seed);
        let store = Store::new(&groups, map);
        let offsets = groups.map(|group| (group, 10_000 + rng.below(600)));
        let mut world = Self {
            now: 1_000,
            rng,
            faults: Faults::default(),
            groups: offsets.iter().map(|(group, offset)| (*group, Group::new(*group, *offset))).collect(),
            store,
            store_down: false,
            jobs: BTreeMap::new(),
            ended: BTreeMap::new(),
            mover: None,
            office: 0,
            oracle: Oracle::default(),
            due: BTreeMap::new(),
            scheduled: 0,
            answers_late: 0,
            deaf: BTreeSet::new(),
            kept: None,
            alarms: Vec::new(),
            writes: 0,
            trace: Vec::new(),
            verbose: false,
        };
        for group in groups {
            let version = world.store.records.version;
            world.groups.get_mut(&group).unwrap().found(owner(group), version);
        }
        world.run(5);
        world
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick::from_millis(self.now)
    }

    pub(crate) fn schedule(&mut self, after: u64, happening: Happening) {
        self.scheduled += 1;
        self.due.insert((self.now + after, self.scheduled), happening);
    }

    pub(crate) fn group(&self, group: GroupId) -> &Group {
        &self.groups[&group]
    }

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.pass();
        }
    }

    /// Lets time pass until it is so, but not for ever.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = self.now + 60_000;
        while !is_so(self) {
            assert!(self.now < end, "waited in vain: {what}\n{}", self.report());
            self.pass();
        }
    }

    pub(crate) fn add_job(&mut self, name: &str, slots: &str, target: GroupId) {
        let job = MoveJob { slots: ranges(slots), target, paused: false, cancelled: false };
        self.jobs.insert(name.to_owned(), job);
        self.tell_mover_jobs();
    }

    pub(crate) fn hold_answers(&mut self, millis: u64) {
        self.answers_late = millis;
    }

    pub(crate) fn start_controller(&mut self) {
        self.office += 1;
        let timing =
            MoverTiming { slots: 2, interval: std::time::Duration::from_millis(100), ..MoverTiming::default() };
        self.mover = Some(Mover::new(timing));
        self.begin_office();
    }

    /// Whether nothing is on the move or asked for.
    pub(crate) fn is_settled(&self) -> bool {
        let reconciled = |group: &Group| group.activated && group.table.applied().lineage() == group.lineage;
        self.jobs.is_empty()
            && self.store.records.migrations.is_empty()
            && self.store.records.slots.migrating().is_empty()
            && self.groups.values().all(reconciled)
    }

    pub(crate) fn report(&self) -> String {
        let groups = self.groups.values().map(Group::report).collect::<Vec<_>>().join("\n");
        format!(
            "at {} ms: jobs {:?}\n{:?}\n{groups}\n{}",
            self.now,
            self.jobs,
            self.store.records,
            self.trace.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n")
        )
    }
}

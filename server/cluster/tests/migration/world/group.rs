//! A group: its log, and what its leader has made of it.

use std::time::Duration;

use simplekv_cluster::migration::{MoveTiming, Moves, SlotState, SlotTable, Slots, Step, StepKind, Surroundings};
use simplekv_cluster::{OwnershipView, SlotStanding, standing};
use simplekv_types::{Epoch, GroupId, GroupTime, Lineage, Lsn, MigrationId, Slot, SlotMap, SlotMapVersion, SlotRange};

use super::data::{Entry, Item, Op, Record, State, Write};

pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) lineage: Lineage,
    pub(crate) epoch: Epoch,
    /// How far the leader's wall clock is ahead of the world's.
    pub(crate) clock: u64,
    pub(crate) log: Vec<Record>,
    pub(crate) high_watermark: usize,
    pub(crate) log_start: usize,
    pub(crate) table: SlotTable,
    pub(crate) appended: State,
    pub(crate) applied: State,
    pub(crate) moves: Moves,
    /// Processes so far: an answer to an earlier one reaches nobody.
    pub(crate) process: u64,
    pub(crate) activated: bool,
    /// Nothing is committed before.
    pub(crate) stalled_until: u64,
    /// Nobody leads before.
    pub(crate) down_until: u64,
    pub(crate) log_changed: bool,
    /// What a snapshot would hold, and the first record behind it.
    snapshot: Option<(Slots, State, usize)>,
}

pub(crate) fn timing() -> MoveTiming {
    MoveTiming {
        window: 3,
        fence_lag: 20,
        pin_lag: 10,
        pull_silence: Duration::from_millis(200),
        ..MoveTiming::default()
    }
}

impl Group {
    pub(crate) fn new(id: GroupId, clock: u64) -> Self {
        Self {
            id,
            lineage: Lineage(0),
            epoch: Epoch(1),
            clock,
            log: Vec::new(),
            high_watermark: 0,
            log_start: 0,
            table: SlotTable::new(),
            appended: State::default(),
            applied: State::default(),
            moves: Moves::new(id, timing()),
            process: 1,
            activated: false,
            stalled_until: 0,
            down_until: 0,
            log_changed: false,
            snapshot: None,
        }
    }

    pub(crate) fn found(&mut self, slots: SlotRange, version: SlotMapVersion) {
        let step = Step { migration: MigrationId::FOUNDING, slots: vec![slots], kind: StepKind::Own { version } };
        self.append(0, GroupTime::ZERO, Entry::Step(step));
        self.append(0, GroupTime::ZERO, Entry::Start);
    }

    pub(crate) fn end(&self) -> Lsn {
        Lsn(self.log.len() as u64)
    }

    pub(crate) fn applied_time(&self) -> GroupTime {
        self.high_watermark.checked_sub(1).map_or(GroupTime::ZERO, |last| self.log[last].time)
    }

    /// The time of a batch appended now.
    pub(crate) fn time(&self, now: u64) -> GroupTime {
        GroupTime(now + self.clock).max(self.log.last().map_or(GroupTime::ZERO, |last| last.time))
    }

    pub(crate) fn append(&mut self, now: u64, not_before: GroupTime, entry: Entry) {
        self.append_batch(now, not_before, vec![entry]);
    }

    pub(crate) fn append_batch(&mut self, now: u64, not_before: GroupTime, entries: Vec<Entry>) {
        let time = self.time(now).max(not_before);
        let last = entries.len() - 1;
        for (at, entry) in entries.into_iter().enumerate() {
            self.take(Record { epoch: self.epoch, time, entry, goes_on: at < last });
        }
        self.log_changed = true;
    }

    /// The greatest length up to this one at which no batch is torn.
    fn whole_batches(log: &[Record], length: usize) -> usize {
        let mut length = length.min(log.len());
        while length > 0 && log[length - 1].goes_on {
            length -= 1;
        }
        length
    }

    fn take(&mut self, record: Record) {
        let lsn = self.end();
        if let Entry::Step(step) = &record.entry {
            self.table.append(lsn, record.time, step.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.id));
        }
        self.appended.take(lsn, &record.entry);
        self.log.push(record);
    }

    /// Commits and applies one more record; returns it.
    pub(crate) fn commit(&mut self) -> Option<Record> {
        let record = self.log.get(self.high_watermark)?.clone();
        if let Entry::Write { write, .. } = &record.entry {
            let state = self.table.applied().state(write.slot);
            assert!(
                state == SlotState::Owned,
                "{}: a write to slot {} that is {state:?} was committed",
                self.id,
                write.slot
            );
        }
        self.applied.take(Lsn(self.high_watermark as u64), &record.entry);
        self.high_watermark += 1;
        self.table.apply_to(Lsn(self.high_watermark as u64)).unwrap_or_else(|error| panic!("{}: {error}", self.id));
        self.log_changed = true;
        Some(record)
    }

    /// Another replica leads: it has everything committed, and this much of the rest.
    pub(crate) fn fail_over(&mut self, now: u64, kept: usize, by_snapshot: bool) {
        self.epoch = self.epoch.next();
        let end = Self::whole_batches(&self.log, self.high_watermark + kept);
        let log: Vec<Record> = self.log.drain(..).take(end).collect();
        self.rebuild(log, self.high_watermark, by_snapshot);
        self.append(now, GroupTime::ZERO, Entry::Start);
    }

    /// Every in-sync replica has lost something: another history begins with what is left.
    pub(crate) fn begin_history(&mut self, now: u64, kept: usize) {
        self.lineage = self.lineage.next();
        self.epoch = self.epoch.next();
        let end = Self::whole_batches(&self.log, kept.max(1));
        let log: Vec<Record> = self.log.drain(..).take(end).collect();
        self.snapshot = None;
        self.log_start = self.log_start.min(log.len());
        let end = log.len();
        self.rebuild(log, end, false);
        self.append(now, GroupTime::ZERO, Entry::Start);
    }

    fn rebuild(&mut self, log: Vec<Record>, high_watermark: usize, by_snapshot: bool) {
        let (table, state, base) = match self.snapshot.as_ref().filter(|_| by_snapshot) {
            Some((slots, state, base)) => (SlotTable::restored(slots.clone()), state.clone(), *base),
            None => (SlotTable::new(), State::default(), 0),
        };
        (self.table, self.appended, self.applied) = (table, state.clone(), state);
        for (at, record) in log.into_iter().enumerate() {
            if at < base {
                self.log.push(record);
            } else {
                self.take(record);
            }
        }
        self.high_watermark = base;
        while self.high_watermark < high_watermark {
            self.commit();
        }
        self.moves = Moves::new(self.id, timing());
        self.process += 1;
        self.activated = false;
    }

    pub(crate) fn take_snapshot(&mut self) {
        self.snapshot = Some((self.table.snapshot(), self.applied.clone(), self.high_watermark));
    }

    /// Old records are merged, as far as no move needs them.
    pub(crate) fn merge(&mut self) {
        let pinned = self.table.applied().pinned().map_or(self.high_watermark, |pin| pin.0 as usize);
        self.log_start = self.log_start.max(pinned.min(self.high_watermark));
    }

    pub(crate) fn standing(&self, slot: Slot, map: &SlotMap, version: SlotMapVersion) -> SlotStanding {
        let (group, lineage, slots) = (self.id, self.lineage, &self.table);
        let view = OwnershipView { group, lineage, slots, map, version, is_current: true };
        standing(&view, slot, SlotMapVersion(0))
    }

    /// Evaluates a write and appends its effect. `None` if the slot takes none; `Some(false)` if it was done before.
    pub(crate) fn write(&mut self, now: u64, write: Write) -> Option<bool> {
        let reconciled = self.table.applied().lineage() == self.lineage;
        if !self.activated || !reconciled || !self.table.accepts(write.slot) {
            return None;
        }
        if self.appended.rows.get(&write.slot).is_some_and(|rows| rows.contains_key(&write.id)) {
            return Some(false);
        }
        let time = self.time(now);
        let found = self.appended.visible(write.slot, write.key, time).cloned();
        let begins = found.is_none() && write.op != Op::Delete;
        let counted = self.appended.lives.get(&write.slot).copied().unwrap_or(0);
        let lives = counted.max(self.table.appended().standing(write.slot).lives);
        let item = match write.op {
            Op::Delete => None,
            Op::Append | Op::AppendFor(_) => {
                let mut item = found.unwrap_or(Item { value: Vec::new(), expire_at: None, life: lives + 1 });
                item.value.push(write.id);
                if let Op::AppendFor(millis) = write.op {
                    item.expire_at = Some(time.plus_millis(millis));
                }
                Some(item)
            }
        };
        self.append(now, GroupTime::ZERO, Entry::Write { write, item, begins });
        Some(true)
    }

    /// Clears every slot that is owned; refused while one of them is about to leave or to arrive.
    pub(crate) fn flush(&mut self, now: u64) {
        let reconciled = self.table.applied().lineage() == self.lineage;
        if self.activated && reconciled {
            let slots: Vec<Slot> = self.table.appended().owned().flat_map(|range| range.iter()).collect();
            self.append(now, GroupTime::ZERO, Entry::Clear(slots));
        }
    }

    /// The step with what is counted here.
    pub(crate) fn completed(&self, step: Step) -> Step {
        let StepKind::Fence { .. } = step.kind else { return step };
        let slots = step.slots.iter().flat_map(|range| range.iter());
        let counted = slots.map(|slot| {
            let own = self.appended.lives.get(&slot).copied().unwrap_or(0);
            own.max(self.table.appended().standing(slot).lives)
        });
        Step { kind: StepKind::Fence { lives: counted.max().unwrap_or(0) }, ..step }
    }

    pub(crate) fn step(&mut self, now: simplekv_types::Tick, event: simplekv_cluster::migration::MoveEvent) {
        let around = Surroundings {
            slots: &self.table,
            staged: &self.appended,
            log_start: Lsn(self.log_start as u64),
            high_watermark: Lsn(self.high_watermark as u64),
            time: self.high_watermark.checked_sub(1).map_or(GroupTime::ZERO, |last| self.log[last].time),
            clock: self.time(now.0 / 1_000_000),
            healthy: self.stalled_until == 0 || now.0 / 1_000_000 >= self.stalled_until,
        };
        self.moves.step(now, event, &around);
    }

    pub(crate) fn report(&self) -> String {
        format!(
            "{} epoch {} lineage {} log {}/{} from {} activated {} regressed {}: {:?}\n  imports {:?}\n  exports {:?}\n  {:?}",
            self.id,
            self.epoch,
            self.lineage,
            self.high_watermark,
            self.log.len(),
            self.log_start,
            self.activated,
            self.moves.is_regressed(),
            self.table.applied().standings().collect::<Vec<_>>(),
            self.table.appended().imports(),
            self.table.appended().exports(),
            self.log.iter().rev().take(6).rev().map(|record| &record.entry).collect::<Vec<_>>(),
        )
    }
}

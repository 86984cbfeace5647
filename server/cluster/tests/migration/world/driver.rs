//! How time passes: who is told what, and what is done about it.

use std::collections::BTreeSet;

use simplekv_cluster::SlotStanding;
use simplekv_cluster::migration::{
    Found, MoveAlarm, MoveEffect, MoveEvent, MoveMessage, MoveOutcome, MoveRequest, MoverEffect, MoverEvent, PullId,
    SlotState, SlotTable, Sought,
};
use simplekv_cluster::{OwnershipView, RequestId, standing};
use simplekv_types::{GroupId, GroupTime, Lsn, MigrationId, Slot, SlotMapVersion, SlotRange};

use super::data::{Entry, State, moved};
use super::{KEYS, World, Write, slots};

pub(crate) enum Happening {
    Deliver { to: GroupId, message: MoveMessage },
    Execute { asker: Asker, id: RequestId, request: MoveRequest, silent: bool },
    Answer { asker: Asker, id: RequestId, outcome: MoveOutcome },
    Read { group: GroupId, process: u64, migration: MigrationId, pull: PullId, found: Option<Found> },
    Seen,
}

/// Who asks the metadata store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Group(GroupId, u64),
    Controller(u64),
}

impl World {
    /// One millisecond.
    pub(crate) fn pass(&mut self) {
        self.now += 1;
        while let Some(first) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = first.remove();
            self.happen(happening);
        }
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.lead(id);
        }
        let now = self.tick();
        if let Some(mover) = &mut self.mover
            && mover.next_deadline().is_some_and(|at| at <= now)
        {
            mover.step(now, MoverEvent::Tick);
            self.control();
        }
        self.check();
    }

    fn lead(&mut self, id: GroupId) {
        let (now, tick) = (self.now, self.tick());
        let group = self.groups.get_mut(&id).unwrap();
        if now < group.down_until {
            return;
        }
        let commits = if now < group.stalled_until { 0 } else { 1 + self.rng.below(4) };
        let mut left = commits;
        while left > 0
            && let Some(record) = group.commit()
        {
            left -= u64::from(!record.goes_on);
            if self.verbose {
                self.trace.push(format!("{now} {id} commits {}: {record:?}", group.high_watermark - 1));
            }
            self.oracle.on_commit(id, &record);
            if matches!(record.entry, Entry::Start) && record.epoch == group.epoch {
                group.activated = true;
                let (epoch, lineage) = (group.epoch, group.lineage);
                group.step(tick, MoveEvent::Activated { epoch, lineage });
            }
        }
        if self.groups[&id].activated {
            self.drive(id, None);
        }
    }

    /// Tells a leader, and does what it wants, until it wants nothing more.
    pub(crate) fn drive(&mut self, id: GroupId, event: Option<MoveEvent>) {
        let tick = self.tick();
        if let Some(event) = event {
            self.groups.get_mut(&id).unwrap().step(tick, event);
        }
        for turn in 0.. {
            assert!(turn < 1000, "{id} never rests\n{}", self.report());
            self.execute(id);
            let group = self.groups.get_mut(&id).unwrap();
            if std::mem::take(&mut group.log_changed) {
                group.moves.log_changed();
                group.step(tick, MoveEvent::Tick);
            } else if group.moves.next_deadline().is_some_and(|at| at <= tick) {
                group.step(tick, MoveEvent::Tick);
                self.execute(id);
                if !self.groups[&id].log_changed {
                    return;
                }
            } else {
                return;
            }
        }
    }

    fn execute(&mut self, id: GroupId) {
        while let Some(effect) = self.groups.get_mut(&id).unwrap().moves.next_effect() {
            let refused = self.rng.chance(self.faults.refuse);
            let now = self.now;
            let group = self.groups.get_mut(&id).unwrap();
            match effect {
                MoveEffect::Append(step) => {
                    if !refused && group.table.appended().check(&step).is_ok() {
                        self.trace.push(format!("{now} {id}: {step:?}"));
                        let step = group.completed(step);
                        group.append(now, step.not_before(), Entry::Step(step));
                    }
                }
                MoveEffect::Stage { migration, records, cursor } => {
                    if !refused {
                        self.trace.push(format!("{now} {id}: {} staged, {:?}", records.len(), cursor.kind));
                        let staged = records.into_iter().map(|moved| Entry::Staged { migration, moved });
                        let entries = staged.chain([Entry::Step(cursor)]).collect();
                        group.append_batch(now, GroupTime::ZERO, entries);
                    }
                }
                MoveEffect::Read { migration, pull, slots, sought, .. } => {
                    let found = self.find(id, &slots, sought);
                    let process = self.groups[&id].process;
                    let delay = self.rng.below(4);
                    self.schedule(delay, Happening::Read { group: id, process, migration, pull, found });
                }
                MoveEffect::Send { to, message } => self.send(to, message),
                MoveEffect::Metadata { id: request_id, request } => {
                    let asker = Asker::Group(id, self.groups[&id].process);
                    self.ask(asker, request_id, request);
                }
                MoveEffect::Alarm(alarm) => {
                    self.trace.push(format!("{now} {id}: {alarm:?}"));
                    self.alarms.push((id, alarm));
                }
            }
        }
    }

    fn find(&self, id: GroupId, slots: &[SlotRange], sought: Sought) -> Option<Found> {
        let group = &self.groups[&id];
        match sought {
            Sought::Tail { from, upto } => {
                if (from.0 as usize) < group.log_start {
                    return None;
                }
                let end = upto.min(from + 5);
                let is_moving = |slot: Slot| slots.iter().any(|range| range.contains(slot));
                let records = (from.0..end.0).flat_map(|at| moved(Lsn(at), &group.log[at as usize].entry, is_moving));
                Some(Found::Tail { records: records.collect(), end })
            }
            Sought::Scan { slot, position } => {
                let (records, next) = group.applied.scan(slot, position, Lsn(group.high_watermark as u64));
                Some(Found::Scan { records, next })
            }
        }
    }

    fn send(&mut self, to: GroupId, message: MoveMessage) {
        if let Some(kept) = &mut self.kept {
            kept.push((to, message.clone()));
        }
        if self.rng.chance(self.faults.drop) {
            return;
        }
        let copies = if self.rng.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.rng.chance(self.faults.delay);
            let delay = 1 + if late { self.rng.below(400) } else { self.rng.below(3) };
            self.schedule(delay, Happening::Deliver { to, message: message.clone() });
        }
    }

    pub(crate) fn ask(&mut self, asker: Asker, id: RequestId, request: MoveRequest) {
        let fault = if self.rng.chance(self.faults.store) { self.rng.below(4) } else { 4 };
        let delay = 1 + self.rng.below(5);
        match fault {
            0 => self.schedule(delay, Happening::Answer { asker, id, outcome: MoveOutcome::Failed }),
            1 => self.schedule(delay, Happening::Answer { asker, id, outcome: MoveOutcome::Unknown }),
            // It is executed all the same, now or much later.
            2 => {
                let later = self.rng.below(1500);
                self.schedule(delay, Happening::Answer { asker, id, outcome: MoveOutcome::Unknown });
                self.schedule(later, Happening::Execute { asker, id, request, silent: true });
            }
            3 => {
                let later = 100 + self.rng.below(700);
                self.schedule(later, Happening::Execute { asker, id, request, silent: false });
            }
            _ => self.schedule(delay, Happening::Execute { asker, id, request, silent: false }),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, message } => self.deliver(to, message),
            Happening::Execute { asker, id, request, silent } => {
                let forbidden = matches!((asker, &request), (Asker::Controller(office), MoveRequest::Change(_)) if office != self.office);
                let outcome = match (self.store_down, forbidden) {
                    (true, _) => MoveOutcome::Failed,
                    (false, true) => MoveOutcome::Lost,
                    (false, false) => self.store.execute(&request),
                };
                if matches!(outcome, MoveOutcome::Succeeded { .. }) {
                    if let MoveRequest::Change(change) = &request {
                        let state = change.record.as_ref().map(|r| (r.state, r.source_closed, r.target_closed));
                        self.trace.push(format!("{} store: {asker:?} {} {state:?}", self.now, change.migration));
                    }
                    if !self.rng.chance(self.faults.store) {
                        let delay = self.rng.below(5);
                        self.schedule(delay, Happening::Seen);
                    }
                }
                if !silent {
                    let delay = 1 + self.answers_late + self.rng.below(3);
                    self.schedule(delay, Happening::Answer { asker, id, outcome });
                }
            }
            Happening::Answer { asker: Asker::Group(group, process), id, outcome } => {
                let known = &self.groups[&group];
                if known.process == process && known.activated {
                    self.drive(group, Some(MoveEvent::Answered { id, outcome }));
                }
            }
            Happening::Answer { asker: Asker::Controller(office), id, outcome } => {
                let tick = self.tick();
                if office == self.office
                    && let Some(mover) = &mut self.mover
                {
                    mover.step(tick, MoverEvent::Answered { id, outcome });
                    self.control();
                }
            }
            Happening::Read { group, process, migration, pull, found } => {
                if self.groups[&group].process == process && self.groups[&group].activated {
                    self.drive(group, Some(MoveEvent::Read { migration, pull, found }));
                }
            }
            Happening::Seen => {
                let seen = self.store.records.migrations.iter();
                let seen: Vec<_> = seen.map(|(id, (record, revision))| (*id, record.clone(), *revision)).collect();
                let active: Vec<GroupId> = self.groups.values().filter(|group| group.activated).map(|g| g.id).collect();
                for group in active {
                    self.drive(group, Some(MoveEvent::Seen(seen.clone())));
                }
            }
        }
    }

    pub(crate) fn deliver(&mut self, to: GroupId, message: MoveMessage) {
        let group = &self.groups[&to];
        if group.activated && self.now >= group.down_until && !self.deaf.contains(&to) {
            self.drive(to, Some(MoveEvent::Received(message)));
        }
    }

    pub(crate) fn begin_office(&mut self) {
        let tick = self.tick();
        if let Some(mover) = &mut self.mover {
            mover.step(tick, MoverEvent::TookOffice);
        }
        self.tell_mover_jobs();
    }

    pub(crate) fn tell_mover_jobs(&mut self) {
        let (tick, jobs) = (self.tick(), self.jobs.clone());
        if let Some(mover) = &mut self.mover {
            mover.step(tick, MoverEvent::Jobs(jobs));
        }
        self.control();
    }

    fn control(&mut self) {
        let mut over = BTreeSet::new();
        while let Some(effect) = self.mover.as_mut().and_then(simplekv_cluster::migration::Mover::next_effect) {
            match effect {
                MoverEffect::Metadata { id, request } => self.ask(Asker::Controller(self.office), id, request),
                MoverEffect::JobEnded { name, done } => {
                    self.ended.insert(name.clone(), done);
                    over.insert(name);
                }
            }
        }
        let before = self.jobs.len();
        self.jobs.retain(|name, _| !over.contains(name));
        if self.jobs.len() < before {
            self.tell_mover_jobs();
        }
    }

    pub(crate) fn fail_over(&mut self, id: GroupId, kept: usize, by_snapshot: bool) {
        let now = self.now;
        self.trace.push(format!("{now} {id}: fails over"));
        self.groups.get_mut(&id).unwrap().fail_over(now, kept, by_snapshot);
        self.store.touch(id);
    }

    /// All in-sync replicas of a group have lost something; what is left ends before this record.
    pub(crate) fn begin_history(&mut self, id: GroupId, kept: usize) {
        let now = self.now;
        self.trace.push(format!("{now} {id}: begins another history with {kept} records"));
        let concerned = |slot: &Slot| {
            let by_log = self.groups[&id].table.applied().state(*slot) != SlotState::Nothing;
            let by_map = self.store.records.slots.owner(*slot) == Some(id);
            by_log || by_map || self.store.records.slots.migration(*slot).is_some()
        };
        let lost: BTreeSet<Slot> = slots().filter(concerned).collect();
        self.store.begin_history(id);
        self.groups.get_mut(&id).unwrap().begin_history(now, kept);
        self.oracle.forgive(&lost);
    }

    /// A client writes to whoever it believes to own the slot. Returns whether it was taken.
    pub(crate) fn write(&mut self, group: GroupId, write: Write) -> bool {
        let now = self.now;
        let group = self.groups.get_mut(&group).unwrap();
        now >= group.down_until && group.write(now, write).is_some()
    }

    /// A client reads at a leader. Returns whether it was answered.
    pub(crate) fn read(&mut self, id: GroupId, slot: Slot, key: u8) -> bool {
        let group = &self.groups[&id];
        let records = &self.store.records;
        if !group.activated || group.standing(slot, &records.slots, records.version) != SlotStanding::Serve {
            return false;
        }
        let time = group.applied_time();
        let found = group.applied.visible(slot, key, time);
        self.oracle.on_read(&format!("{} {id}", self.now), slot, key, time, found);
        true
    }

    /// A client reads at a follower that holds a read lease: it has everything committed in its log, and has applied a part of it.
    pub(crate) fn read_behind(&mut self, id: GroupId, slot: Slot, key: u8, behind: usize) -> bool {
        let group = &self.groups[&id];
        let records = &self.store.records;
        let applied = group.high_watermark.saturating_sub(behind);
        let (mut table, mut state) = (SlotTable::new(), State::default());
        let mut pending = GroupTime::ZERO;
        let mut dirty = false;
        for (at, record) in group.log.iter().take(group.high_watermark).enumerate() {
            if let Entry::Step(step) = &record.entry {
                table.append(Lsn(at as u64), record.time, step.clone()).unwrap();
            }
            if at < applied {
                state.take(Lsn(at as u64), &record.entry);
                table.apply_to(Lsn(at as u64 + 1)).unwrap();
            } else {
                dirty |= match &record.entry {
                    Entry::Write { write, .. } => (write.slot, write.key) == (slot, key),
                    Entry::Clear(slots) => slots.contains(&slot),
                    _ => false,
                };
                pending = record.time;
            }
        }
        let time = applied.checked_sub(1).map_or(GroupTime::ZERO, |last| group.log[last].time);
        dirty |= state.items.get(&(slot, key)).is_some_and(|(item, ..)| item.expire_at.is_some_and(|at| at <= pending));
        let view = OwnershipView {
            group: id,
            lineage: group.lineage,
            slots: &table,
            map: &records.slots,
            version: records.version,
            is_current: true,
        };
        if dirty || standing(&view, slot, SlotMapVersion(0)) != SlotStanding::Serve {
            return false;
        }
        let found = state.visible(slot, key, time).cloned();
        self.oracle.on_read(&format!("{} a follower of {id}", self.now), slot, key, time, found.as_ref());
        true
    }

    /// No slot is served by two.
    fn check(&self) {
        for slot in slots() {
            let serves = |group: &&super::Group| {
                let records = &self.store.records;
                group.activated && group.standing(slot, &records.slots, records.version) == SlotStanding::Serve
            };
            let serving: Vec<GroupId> = self.groups.values().filter(serves).map(|group| group.id).collect();
            assert!(serving.len() <= 1, "slot {slot} is served by {serving:?}");
        }
    }

    /// Everything is where the slot map says, and holds what was written.
    pub(crate) fn check_all(&mut self) {
        self.check_all_but(&[]);
    }

    /// The same, but for slots that a history took with it, if somebody was told.
    pub(crate) fn check_all_but_missing(&mut self) {
        let missing = self.alarms.iter().filter_map(|(group, alarm)| match alarm {
            MoveAlarm::Missing(slots) => Some(slots.iter().map(|range| (*group, *range))),
            _ => None,
        });
        let missing: Vec<(GroupId, SlotRange)> = missing.flatten().collect();
        self.check_all_but(&missing);
    }

    fn check_all_but(&mut self, missing: &[(GroupId, SlotRange)]) {
        for slot in slots() {
            let owner = self.store.records.slots.owner(slot).unwrap();
            let has = self.groups[&owner].table.applied().state(slot) == SlotState::Owned;
            if !has && missing.iter().any(|(group, range)| *group == owner && range.contains(slot)) {
                continue;
            }
            for key in 0..KEYS {
                assert!(self.read(owner, slot, key), "{owner} does not serve slot {slot}\n{}", self.report());
            }
        }
    }
}

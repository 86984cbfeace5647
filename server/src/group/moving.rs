//! A group's part in moves of slots: what its leader's [`Moves`] want, written to the log, read from it, or handed out.

use std::collections::BTreeMap;

use simplekv_cluster::migration::{
    Import, MoveAlarm, MoveEffect, MoveEvent, MoveMessage, MoveRequest, MoveTiming, Moves, Place, PullId, Sought,
    Staged, Step, StepKind, Surroundings,
};
use simplekv_cluster::{RequestId, Role};
use simplekv_engine::CopyCursor;
use simplekv_types::{Epoch, GroupId, Lsn, MigrationId, Slot, SlotRange, Tick};

use self::reading::{LogPart, MoveRead, SlotPart};
use super::{Clock, Group, MoveReport, Output, Respond};

pub(super) mod reading;
mod staging;

/// The moves that a replica takes part in.
#[derive(Debug)]
pub(super) struct Moving {
    moves: Moves,
    /// The leadership that the moves know of; `None` while they rest.
    leading: Option<Epoch>,
    scans: BTreeMap<MigrationId, Scan>,
    /// What this leadership has taken in of each move.
    staged: BTreeMap<MigrationId, TakenIn>,
    /// The log ended, and was applied, up to here when the moves looked last.
    seen: (Lsn, Lsn),
}

/// How far a slot has been scanned for a pull: positions are counted, and only the latest can be gone on from.
#[derive(Debug)]
struct Scan {
    pull: PullId,
    slot: Slot,
    position: u64,
    cursor: CopyCursor,
}

/// What has been taken in of a move.
#[derive(Clone, Copy, Debug)]
struct TakenIn {
    since: Tick,
    records: u64,
    bytes: u64,
}

/// What a move wants of others.
#[derive(Debug)]
pub enum MoveOutput {
    /// Send to whoever leads the group; may be lost.
    Send {
        /// The group.
        to: GroupId,
        /// What to say.
        message: MoveMessage,
    },
    /// Ask the metadata store, then hand in [`MoveEvent::Answered`].
    Metadata {
        /// To be repeated.
        id: RequestId,
        /// What to ask.
        request: MoveRequest,
    },
    /// Read records, which may wait for the disk, then hand in [`MoveEvent::Read`] with what was found.
    Read {
        /// The move.
        migration: MigrationId,
        /// The pull.
        pull: PullId,
        /// What to read.
        read: MoveRead,
    },
    /// For the log.
    Alarm(MoveAlarm),
}

/// Nothing that arrives has been overtaken: frames are taken in their order, a piece that a scan finds is of a moment behind everything
/// of the log that was sent before, and what is older in the log than a scanned key is followed by that key's record.
struct InOrder;

impl Staged for InOrder {
    fn latest(&self, _: MigrationId, _: Slot, _: Option<&Place>) -> Option<Lsn> {
        None
    }
}

impl Moving {
    pub(super) fn new(group: GroupId, timing: MoveTiming) -> Self {
        Self {
            moves: Moves::new(group, timing),
            leading: None,
            scans: BTreeMap::new(),
            staged: BTreeMap::new(),
            seen: (Lsn::ZERO, Lsn::ZERO),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.moves.next_deadline()
    }

    /// Something about slots was appended, applied or truncated.
    pub(super) fn log_changed(&mut self) {
        self.moves.log_changed();
    }

    fn took_in(&mut self, migration: MigrationId, now: Tick, records: u64, bytes: u64) {
        let taken = self.staged.entry(migration).or_insert(TakenIn { since: now, records: 0, bytes: 0 });
        taken.records += records;
        taken.bytes += bytes;
    }

    /// Where to go on scanning.
    fn cursor(&self, migration: MigrationId, pull: PullId, slot: Slot, position: u64) -> CopyCursor {
        let known =
            self.scans.get(&migration).filter(|scan| (scan.pull, scan.slot, scan.position) == (pull, slot, position));
        known.map_or_else(CopyCursor::default, |scan| scan.cursor.clone())
    }
}

impl<R: Respond> Group<R> {
    /// Something that concerns the group's moves happened.
    pub fn step_moves(&mut self, clock: &impl Clock, event: MoveEvent) {
        self.drive_moves(clock, event);
        self.settle(clock);
    }

    /// Tells the moves what became of this replica and its log.
    pub(super) fn look_after_moves(&mut self, clock: &impl Clock) {
        let serving = self.replica.serving();
        // Which slots a new group has is known only when its first leader has looked.
        let leads = serving.role == Role::Leader && serving.activated && !self.slots.is_unrecorded();
        let leading = leads.then_some(serving.epoch);
        if self.moving.leading != leading {
            if self.moving.leading.take().is_some() {
                self.moving.scans.clear();
                self.moving.staged.clear();
                self.drive_moves(clock, MoveEvent::Deposed);
            }
            self.moving.leading = leading;
            if let Some(epoch) = leading {
                self.drive_moves(clock, MoveEvent::Activated { epoch, lineage: serving.lineage });
            }
        }
        if self.moving.leading.is_none() {
            return;
        }
        let now = (self.engine.log_end(), self.engine.applied());
        let is_due = self.moving.next_deadline().is_some_and(|due| due <= clock.now());
        if is_due || (self.moving.seen != now && self.moving.moves.is_busy()) {
            self.drive_moves(clock, MoveEvent::Tick);
        }
    }

    /// How far the moves have come that bring slots.
    pub(super) fn move_reports(&self, now: Tick) -> Vec<MoveReport> {
        let imports = self.slots.table().applied().imports().iter().filter(|_| self.moving.leading.is_some());
        let report = |(migration, import): (&MigrationId, &Import)| {
            let next = import.cursor.map(|cursor| cursor.next_slot);
            let is_scanned = |slot: &Slot| next.is_some_and(|next| next.is_none_or(|next| *slot < next));
            let taken = self.moving.staged.get(migration).copied();
            let taken = taken.unwrap_or(TakenIn { since: now, records: 0, bytes: 0 });
            MoveReport {
                migration: *migration,
                slots_scanned: import.slots.iter().flat_map(|range| range.iter()).filter(is_scanned).count(),
                records: taken.records,
                bytes: taken.bytes,
                elapsed: now.since(taken.since),
                ready: import.ready.is_some(),
            }
        };
        imports.map(report).collect()
    }

    fn drive_moves(&mut self, clock: &impl Clock, event: MoveEvent) {
        let mut event = Some(event);
        // What was logged makes the next thing due.
        while let Some(next) = event.take() {
            let healthy = self.moving.leading.and_then(|_| self.replica.admit(clock.now(), clock.wall()).ok());
            self.moving.seen = (self.engine.log_end(), self.engine.applied());
            let around = Surroundings {
                slots: self.slots.table(),
                staged: &InOrder,
                log_start: self.engine.log_start(),
                high_watermark: self.engine.applied(),
                time: self.engine.applied_time(),
                clock: healthy.map_or_else(|| self.engine.applied_time(), |admission| admission.time),
                healthy: healthy.is_some(),
            };
            self.moving.moves.step(clock.now(), next, &around);
            while let Some(effect) = self.moving.moves.next_effect() {
                if self.perform_move(clock, effect) {
                    event = Some(MoveEvent::Tick);
                }
            }
        }
    }

    /// Does what a move wants; true if that is now in the log.
    fn perform_move(&mut self, clock: &impl Clock, effect: MoveEffect) -> bool {
        let output = match effect {
            MoveEffect::Append(step) => return self.log_step(clock, step),
            MoveEffect::Stage { migration, records, cursor } => return self.stage(clock, migration, records, cursor),
            MoveEffect::Read { migration, pull, slots, sought, max_bytes } => {
                let read = self.begin_read(migration, pull, slots, sought, max_bytes);
                MoveOutput::Read { migration, pull, read }
            }
            MoveEffect::Send { to, message } => MoveOutput::Send { to, message },
            MoveEffect::Metadata { id, request } => MoveOutput::Metadata { id, request },
            MoveEffect::Alarm(alarm) => MoveOutput::Alarm(alarm),
        };
        self.outputs.push_back(Output::Move(output));
        false
    }

    fn log_step(&mut self, clock: &impl Clock, mut step: Step) -> bool {
        if self.open_batch_not_before(clock, step.not_before()).is_err()
            || self.slots.table().appended().check(&step).is_err()
        {
            self.close_batch(clock);
            return false;
        }
        if let StepKind::Fence { lives } = &mut step.kind {
            *lives = self.lives(&step.slots);
        }
        let logged = self.push_step(step).is_ok();
        self.close_batch(clock);
        self.moving.log_changed();
        logged
    }

    /// The greatest number that a life of a collection in the slots has or may have been given.
    fn lives(&self, slots: &[SlotRange]) -> u64 {
        let guard = self.reader.guard();
        let slots = slots.iter().flat_map(|range| range.iter());
        slots.map(|slot| self.drafts.incarnation(slot).max(guard.incarnation(slot))).max().unwrap_or(0)
    }

    fn begin_read(
        &mut self,
        migration: MigrationId,
        pull: PullId,
        slots: Vec<SlotRange>,
        sought: Sought,
        max_bytes: usize,
    ) -> MoveRead {
        match sought {
            Sought::Tail { from, upto } => {
                MoveRead::Tail(LogPart { log: self.engine.log_reader(), slots, from, upto, max_bytes })
            }
            Sought::Scan { slot, position } => {
                let cursor = self.moving.cursor(migration, pull, slot, position);
                let mut piece = self.reader.guard().copy(slot, &cursor, max_bytes);
                // Those that come later are in the log behind this moment.
                let rows = if position == 0 { self.dedupe.export(slot) } else { Vec::new() };
                let next = piece.next.take().map(|cursor| {
                    let position = position + 1;
                    self.moving.scans.insert(migration, Scan { pull, slot, position, cursor });
                    position
                });
                MoveRead::Scan(SlotPart { slot, piece, rows, next })
            }
        }
    }
}

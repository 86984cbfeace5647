//! The side that takes slots in.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Epoch, GroupTime, Lineage, MigrationId, MigrationRecord, MigrationState, Side, Tick};

use super::effect::MoveEffect;
use super::states::SlotState;
use super::step::{Cursor, Fence, Step, StepKind};
use super::stream::{Content, Frame, Mark, MoveBody, Progress, Pull, PullId};
use super::table::Import;
use super::timing::MoveTiming;
use super::turn::Turn;

/// One move, at the target's leader.
#[derive(Debug, Default)]
pub(crate) struct Target {
    incoming: Option<Incoming>,
    /// The end as the source has told it.
    fence: Option<Fence>,
    /// Since when this leader has seen that everything is here.
    ready_since: Option<Tick>,
    /// The source cannot go on from where we are; its history.
    restart: Option<Lineage>,
    /// No new pull before.
    pull_at: Tick,
}

/// What comes of one pull.
#[derive(Debug)]
struct Incoming {
    id: PullId,
    /// Number of the next frame.
    next_index: u64,
    /// Frames that the log had taken in before.
    frames_before: u64,
    heard_at: Tick,
    told: Progress,
    told_at: Tick,
}

/// What the targets of one leader share.
#[derive(Debug)]
pub(crate) struct Pulls {
    pub(crate) epoch: Epoch,
    pub(crate) begun: u64,
}

impl Target {
    pub(crate) fn on_restart(&mut self, id: PullId, lineage: Lineage) {
        if self.incoming.as_ref().is_some_and(|incoming| incoming.id == id) {
            self.incoming = None;
            self.restart = Some(lineage);
        }
    }

    pub(crate) fn on_frame(&mut self, turn: &mut Turn<'_>, migration: MigrationId, id: PullId, frame: Frame) {
        let Some(import) = turn.around.slots.appended().imports().get(&migration) else { return };
        if import.ready.is_some() {
            return;
        }
        let Some(incoming) = &mut self.incoming else { return };
        if incoming.id != id && !is_broken(Rule::M29) {
            return;
        }
        let follows = frame.index == incoming.next_index
            && import.frames == incoming.frames_before + incoming.next_index
            && import.cursor.is_none_or(|cursor| cursor.end == frame.from);
        let takes = follows || is_broken(Rule::M34) || (is_broken(Rule::M29) && incoming.id != id);
        if !takes || frame.to < frame.from {
            return;
        }
        incoming.next_index += 1;
        incoming.heard_at = turn.now;
        self.stage(turn, migration, import, frame);
    }

    fn stage(&mut self, turn: &mut Turn<'_>, migration: MigrationId, import: &Import, frame: Frame) {
        let Frame { to, mut records, mark, .. } = frame;
        // A scan may have found keys that were written behind a flush which the log's part brings only now. The flush takes them away
        // again; so what follows it there is taken as if nothing of the slot had been.
        let mut cleared = BTreeSet::new();
        records.retain(|moved| {
            let anew = cleared.contains(&moved.slot) && !is_broken(Rule::M39);
            let taken = anew || !moved.is_overtaken(migration, turn.around.staged) || is_broken(Rule::M5);
            if taken && moved.content == Content::Clear {
                cleared.insert(moved.slot);
            }
            taken
        });
        let begun = import.slots.first().map(|range| range.first());
        let next_slot = match mark {
            Some(Mark::Scanned(next)) => next,
            _ => import.cursor.map_or(begun, |cursor| cursor.next_slot),
        };
        if let Some(Mark::Fenced(fence)) = mark {
            self.fence = Some(fence);
        }
        let kind = StepKind::Cursor(Cursor { end: to, next_slot });
        let cursor = Step { migration, slots: import.slots.clone(), kind };
        turn.effects.push_back(MoveEffect::Stage { migration, records, cursor });
    }

    /// Does what has become due.
    pub(crate) fn review(
        &mut self,
        turn: &mut Turn<'_>,
        pulls: &mut Pulls,
        migration: MigrationId,
        record: &MigrationRecord,
    ) {
        match record.state {
            MigrationState::Copy => self.review_copy(turn, pulls, migration, record),
            MigrationState::Done => self.review_done(turn, pulls, migration, record),
            MigrationState::Aborted => {
                self.incoming = None;
                let slots = turn.around.slots;
                if slots.appended().imports().contains_key(&migration) {
                    turn.append_kind(migration, StepKind::Abort);
                } else if !slots.is_pending_of(migration) && !slots.applied().imports().contains_key(&migration) {
                    turn.change(turn.knowledge.records().close(migration, Side::Target));
                }
            }
        }
    }

    pub(crate) fn deadline(&self, timing: &MoveTiming) -> Option<Tick> {
        let incoming = self.incoming.as_ref();
        let silence = incoming.map(|incoming| incoming.heard_at + timing.pull_silence);
        let progress = incoming.map(|incoming| incoming.told_at + timing.progress_interval);
        let ready = self.ready_since.map(|since| since + timing.look_interval);
        let pull = incoming.is_none().then_some(self.pull_at);
        [silence, progress, ready, pull].into_iter().flatten().min()
    }

    fn review_copy(
        &mut self,
        turn: &mut Turn<'_>,
        pulls: &mut Pulls,
        migration: MigrationId,
        record: &MigrationRecord,
    ) {
        let abort = turn.knowledge.records().abort(migration);
        if (record.target_lineage != turn.lineage && !is_broken(Rule::M16)) || self.restart.is_some() {
            return turn.change(abort);
        }
        let slots = turn.around.slots;
        let Some(import) = slots.appended().imports().get(&migration) else {
            self.reset();
            return turn.append_kind(migration, StepKind::Begin { source_lineage: record.source_lineage });
        };
        let Some(fence) = import.ready else {
            return self.draw(turn, pulls, migration, record, import);
        };
        self.incoming = None;
        let since = *self.ready_since.get_or_insert(turn.now);
        let committed = slots.applied().imports().get(&migration).is_some_and(|import| import.ready.is_some());
        if committed && is_broken(Rule::M4) {
            return self.own(turn, migration, fence.time);
        }
        // Asked for while the record that says so is being committed: the handover compares what is read here.
        if turn.read_unless_since(migration, since) && committed {
            let change = turn.knowledge.records().cutover(migration);
            turn.change(change.or(abort));
        }
    }

    fn review_done(
        &mut self,
        turn: &mut Turn<'_>,
        pulls: &mut Pulls,
        migration: MigrationId,
        record: &MigrationRecord,
    ) {
        let slots = turn.around.slots;
        if is_owned_by(slots.applied(), migration, record) {
            self.incoming = None;
            return turn.change(turn.knowledge.records().close(migration, Side::Target));
        }
        if record.target_closed || is_owned_by(slots.appended(), migration, record) {
            return;
        }
        let source = turn.knowledge.records().groups.get(&record.source).map(|(lineage, _)| *lineage);
        let Some(import) = slots.appended().imports().get(&migration) else {
            // What was here is lost with the end of an earlier history. The source keeps everything until we own it.
            self.reset();
            if let Some(source_lineage) = source.filter(|_| !is_broken(Rule::M35)) {
                turn.append_kind(migration, StepKind::Begin { source_lineage });
            }
            return;
        };
        match (import.ready, self.restart) {
            (Some(fence), _) => self.own(turn, migration, fence.time),
            (None, Some(source_lineage)) => {
                if source == Some(source_lineage) {
                    self.reset();
                    turn.append_kind(migration, StepKind::Begin { source_lineage });
                } else {
                    turn.read(migration);
                }
            }
            (None, None) => self.draw(turn, pulls, migration, record, import),
        }
    }

    /// The slots are ours by the slot map, and everything is here.
    fn own(&self, turn: &mut Turn<'_>, migration: MigrationId, not_before: GroupTime) {
        // What has expired at the source must not come back. The record that says that everything is here is of that time or later.
        if turn.around.time < not_before && !is_broken(Rule::M20) {
            return;
        }
        let version = turn.knowledge.records().version;
        turn.append_kind(migration, StepKind::Own { version });
    }

    fn reset(&mut self) {
        *self = Self { pull_at: self.pull_at, ..Self::default() };
    }

    /// Draws from the source, until everything is here.
    fn draw(
        &mut self,
        turn: &mut Turn<'_>,
        pulls: &mut Pulls,
        migration: MigrationId,
        record: &MigrationRecord,
        import: &Import,
    ) {
        if let Some(fence) = self.fence
            && import
                .cursor
                .is_some_and(|cursor| cursor.end > fence.at && (cursor.next_slot.is_none() || is_broken(Rule::M24)))
        {
            return turn.append_kind(migration, StepKind::Ready(fence));
        }
        let refused = |incoming: &Incoming| import.frames != incoming.frames_before + incoming.next_index;
        let silent = |incoming: &Incoming| turn.now >= incoming.heard_at + turn.timing.pull_silence;
        let broken = is_broken(Rule::M34) || is_broken(Rule::M29);
        if self.incoming.as_ref().is_some_and(|incoming| (refused(incoming) && !broken) || silent(incoming)) {
            self.incoming = None;
        }
        let committed = turn.around.slots.applied().imports().get(&migration);
        let unapplied = import.frames - committed.map_or(0, |committed| committed.frames.min(import.frames));
        let room = turn.timing.window.max(1).saturating_sub(unapplied);
        if self.incoming.is_none() {
            return self.pull(turn, pulls, migration, record, import, room);
        }
        self.tell(turn, migration, record, committed.and_then(|committed| committed.cursor), room);
    }

    fn pull(
        &mut self,
        turn: &mut Turn<'_>,
        pulls: &mut Pulls,
        migration: MigrationId,
        record: &MigrationRecord,
        import: &Import,
        room: u64,
    ) {
        // Before what was begun is committed there is nothing to go on from, should this leader fail.
        if turn.now < self.pull_at || !turn.around.slots.applied().imports().contains_key(&migration) {
            return;
        }
        pulls.begun += 1;
        let id = PullId { epoch: pulls.epoch, number: pulls.begun };
        self.pull_at = turn.now + turn.timing.append_retry;
        self.fence = None;
        let told = Progress { credit: room, committed: None, time: GroupTime::ZERO, healthy: false };
        let (frames_before, now) = (import.frames, turn.now);
        self.incoming = Some(Incoming { id, next_index: 0, frames_before, heard_at: now, told, told_at: Tick::ZERO });
        let resumed =
            |cursor: Cursor| Cursor { next_slot: cursor.next_slot.filter(|_| !is_broken(Rule::M38)), ..cursor };
        let pull = Pull { lineage: import.source_lineage, cursor: import.cursor.map(resumed), credit: room };
        turn.send(record.source, migration, id, MoveBody::Pull(pull));
    }

    fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        migration: MigrationId,
        record: &MigrationRecord,
        committed: Option<Cursor>,
        room: u64,
    ) {
        let Some(incoming) = &mut self.incoming else { return };
        let credit = incoming.told.credit.max(incoming.next_index + room);
        let news = credit > incoming.told.credit || committed != incoming.told.committed;
        if news || turn.now >= incoming.told_at + turn.timing.progress_interval {
            let progress = Progress { credit, committed, time: turn.around.clock, healthy: turn.around.healthy };
            (incoming.told, incoming.told_at) = (progress, turn.now);
            turn.send(record.source, migration, incoming.id, MoveBody::Progress(progress));
        }
    }
}

/// Whether the log has made the slots this group's by this move.
fn is_owned_by(slots: &super::Slots, migration: MigrationId, record: &MigrationRecord) -> bool {
    record.slots.iter().flat_map(|range| range.iter()).all(|slot| {
        let standing = slots.standing(slot);
        standing.state == SlotState::Owned && standing.last == migration
    })
}

/// The targets of a leader, by move.
pub(crate) type Targets = BTreeMap<MigrationId, Target>;

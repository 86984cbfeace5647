//! The side that gives slots away.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Lsn, MigrationId, MigrationRecord, MigrationState, Side, Slot, SlotRange, Tick};

use super::effect::{Found, MoveEffect, Sought};
use super::states::SlotState;
use super::step::{Cursor, StepKind};
use super::stream::{Content, Frame, Mark, MoveBody, Progress, Pull, PullId};
use super::turn::Turn;

/// One move, at the source's leader. Nothing here outlives the leadership: what counts is in the log and in the metadata store.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The latest pull, while it cannot be answered yet.
    asked: Option<(PullId, Pull)>,
    outgoing: Option<Outgoing>,
    /// Since when this leader has seen the slots closed.
    fenced_since: Option<Tick>,
}

/// What is sent to one pull.
#[derive(Debug)]
struct Outgoing {
    id: PullId,
    /// Number of the next frame. Invariant: at most `credit`, unless credit was never more.
    next_index: u64,
    /// Frames below have room.
    credit: u64,
    /// The log was sent up to here.
    tail_end: Lsn,
    /// The slot being scanned, and how far; `None` once all are.
    scan: Option<(Slot, u64)>,
    /// Whether something is being looked for.
    seeking: bool,
    /// Scan and log take turns.
    scanned_last: bool,
    /// Whether the end was sent.
    ended: bool,
    /// What the target told last.
    progress: Option<Progress>,
}

impl Source {
    pub(crate) fn on_pull(&mut self, id: PullId, pull: Pull) {
        let current = self.outgoing.as_ref().map(|outgoing| outgoing.id).max(self.asked.map(|(id, _)| id));
        if current.is_none_or(|current| id > current) {
            self.asked = Some((id, pull));
        }
    }

    pub(crate) fn on_progress(&mut self, id: PullId, progress: Progress) {
        if let Some(outgoing) = self.outgoing.as_mut().filter(|outgoing| outgoing.id == id) {
            outgoing.credit = outgoing.credit.max(progress.credit);
            // Told later may be less, if it was overtaken.
            let known = outgoing.progress.and_then(|known| known.committed).map(|cursor| cursor.end);
            if progress.committed.map(|cursor| cursor.end) >= known {
                outgoing.progress = Some(progress);
            }
        }
    }

    pub(crate) fn on_read(&mut self, turn: &mut Turn<'_>, migration: MigrationId, id: PullId, found: Option<Found>) {
        let Some(record) = turn.knowledge.record(migration) else { return };
        let (target, slots) = (record.target, record.slots.clone());
        let Some(outgoing) = self.outgoing.as_mut().filter(|outgoing| outgoing.id == id && outgoing.seeking) else {
            return;
        };
        outgoing.seeking = false;
        match found {
            Some(found) => {
                let frame = outgoing.frame(found, &slots);
                turn.send(target, migration, id, MoveBody::Frame(frame));
            }
            None => {
                self.outgoing = None;
                turn.send(target, migration, id, MoveBody::Restart { lineage: turn.lineage });
            }
        }
    }

    /// Does what has become due.
    pub(crate) fn review(&mut self, turn: &mut Turn<'_>, migration: MigrationId, record: &MigrationRecord) {
        self.note_fence(turn, migration);
        match record.state {
            MigrationState::Copy => self.review_copy(turn, migration, record),
            MigrationState::Done => review_done(turn, migration, record),
            MigrationState::Aborted => review_aborted(turn, migration),
        }
        if record.state == MigrationState::Copy || (record.state == MigrationState::Done && !record.target_closed) {
            self.answer_pull(turn, migration, record);
            self.seek(turn, migration, record);
        } else {
            (self.asked, self.outgoing) = (None, None);
        }
    }

    pub(crate) fn deadline(
        &self,
        turn_interval: std::time::Duration,
        abort_after: std::time::Duration,
    ) -> Option<Tick> {
        self.fenced_since.map(|since| since + turn_interval.min(abort_after))
    }

    fn note_fence(&mut self, turn: &Turn<'_>, migration: MigrationId) {
        let fenced = turn.around.slots.applied().exports().get(&migration).is_some_and(|export| export.fence.is_some());
        self.fenced_since = fenced.then(|| self.fenced_since.unwrap_or(turn.now));
    }

    fn review_copy(&mut self, turn: &mut Turn<'_>, migration: MigrationId, record: &MigrationRecord) {
        if record.source_lineage != turn.lineage && !is_broken(Rule::M16) {
            return turn.change(turn.knowledge.records().abort(migration));
        }
        // What a lost history took with it cannot be moved.
        if !holds_all(turn, migration, record) {
            return turn.change(turn.knowledge.records().abort(migration));
        }
        if let Some(since) = self.fenced_since {
            // Whoever has closed slots sees to it that they are somebody's: nobody else may be left who could.
            let overdue = turn.now >= since + turn.timing.abort_after;
            if overdue && is_broken(Rule::M1) {
                turn.append_kind(migration, StepKind::Unfence);
            } else if overdue && !is_broken(Rule::M25) {
                turn.change(turn.knowledge.records().abort(migration));
            } else if !is_broken(Rule::M25) {
                look_again(turn, migration);
            }
        } else if self.may_fence(turn, migration) {
            turn.append_kind(migration, StepKind::Fence { lives: 0 });
        }
    }

    /// Whether the slots would be closed for a moment only. Asks whether the move still stands if everything else is ready.
    fn may_fence(&self, turn: &mut Turn<'_>, migration: MigrationId) -> bool {
        let Some(progress) = self.outgoing.as_ref().and_then(|outgoing| outgoing.progress) else { return false };
        let Some(Cursor { end, next_slot }) = progress.committed else { return false };
        let scanned = next_slot.is_none() || is_broken(Rule::M24);
        let apart = turn.around.clock.0.abs_diff(progress.time.0);
        let lag = turn.around.high_watermark.0.saturating_sub(end.0);
        let close = lag <= turn.timing.fence_lag && progress.healthy && apart <= turn.timing.clock_gap_ms;
        if !scanned || !(close || is_broken(Rule::M37)) || !turn.around.healthy {
            return false;
        }
        // At the moment of asking it stood. While the store cannot be asked nobody can hand over, and closing would only close.
        let asked_at = turn.knowledge.look(migration).map(|look| look.asked_at);
        let fresh = asked_at.is_some_and(|at| turn.now < at + turn.timing.look_age);
        if !fresh {
            turn.read(migration);
        }
        fresh
    }

    fn answer_pull(&mut self, turn: &mut Turn<'_>, migration: MigrationId, record: &MigrationRecord) {
        let Some((id, pull)) = self.asked else { return };
        let from = pull.cursor.map_or(turn.around.high_watermark, |cursor| cursor.end);
        if pull.lineage != turn.lineage || from < turn.around.log_start {
            self.asked = None;
            turn.send(record.target, migration, id, MoveBody::Restart { lineage: turn.lineage });
            return;
        }
        // A leader that has less than the target was sent may find a key as it was before.
        if turn.around.high_watermark < from && !is_broken(Rule::M36) {
            return;
        }
        let pinned = turn.around.slots.appended().exports().get(&migration).and_then(|export| export.pin);
        if pinned.is_none_or(|pin| pin > from) {
            return turn.append_kind(migration, StepKind::Pin { from });
        }
        self.asked = None;
        let next_slot = match pull.cursor {
            Some(cursor) => cursor.next_slot,
            None => record.slots.first().map(|range| range.first()),
        };
        self.outgoing = Some(Outgoing {
            id,
            next_index: 0,
            credit: pull.credit,
            tail_end: from,
            scan: next_slot.map(|slot| (slot, 0)),
            seeking: false,
            scanned_last: false,
            ended: false,
            progress: None,
        });
    }

    fn seek(&mut self, turn: &mut Turn<'_>, migration: MigrationId, record: &MigrationRecord) {
        let Some(outgoing) = &mut self.outgoing else { return };
        let export = turn.around.slots.applied().exports().get(&migration);
        if let Some(committed) = outgoing.progress.and_then(|progress| progress.committed)
            && let Some(pin) = turn.around.slots.appended().exports().get(&migration).and_then(|export| export.pin)
            && committed.end.0.saturating_sub(pin.0) > turn.timing.pin_lag
        {
            turn.append_kind(migration, StepKind::Pin { from: committed.end });
        }
        if outgoing.seeking || outgoing.ended || outgoing.next_index >= outgoing.credit {
            return;
        }
        let fence = export.and_then(|export| export.fence);
        let all_scanned = outgoing.scan.is_none() || is_broken(Rule::M24);
        if let Some(fence) = fence.filter(|fence| outgoing.tail_end > fence.at && all_scanned) {
            let end = outgoing.tail_end;
            let index = outgoing.next_index;
            outgoing.next_index += 1;
            outgoing.ended = true;
            let frame = Frame { index, from: end, to: end, records: Vec::new(), mark: Some(Mark::Fenced(fence)) };
            return turn.send(record.target, migration, outgoing.id, MoveBody::Frame(frame));
        }
        if let Some(sought) = outgoing.next(turn.around.high_watermark) {
            outgoing.seeking = true;
            let (pull, slots, max_bytes) = (outgoing.id, record.slots.clone(), turn.timing.frame_bytes);
            turn.effects.push_back(MoveEffect::Read { migration, pull, slots, sought, max_bytes });
        }
    }
}

impl Outgoing {
    fn next(&mut self, high_watermark: Lsn) -> Option<Sought> {
        let tail =
            (self.tail_end < high_watermark).then_some(Sought::Tail { from: self.tail_end, upto: high_watermark });
        let scan = self.scan.map(|(slot, position)| Sought::Scan { slot, position });
        let chosen = if self.scanned_last { tail.or(scan) } else { scan.or(tail) };
        self.scanned_last = matches!(chosen, Some(Sought::Scan { .. }));
        chosen
    }

    fn frame(&mut self, found: Found, slots: &[SlotRange]) -> Frame {
        let (index, from) = (self.next_index, self.tail_end);
        self.next_index += 1;
        let (mut records, mark) = match found {
            Found::Tail { records, end } => {
                self.tail_end = end.max(from);
                (records, None)
            }
            Found::Scan { records, next } => {
                let slot = self.scan.map(|(slot, _)| slot);
                self.scan = match (slot, next) {
                    (Some(slot), Some(position)) => Some((slot, position)),
                    (Some(slot), None) => slot_after(slots, slot).map(|slot| (slot, 0)),
                    (None, _) => None,
                };
                (records, next.is_none().then_some(Mark::Scanned(self.scan.map(|(slot, _)| slot))))
            }
        };
        if is_broken(Rule::M21) {
            records.retain(|record| !matches!(record.content, Content::Row(_)));
        }
        Frame { index, from, to: self.tail_end, records, mark }
    }
}

fn slot_after(slots: &[SlotRange], slot: Slot) -> Option<Slot> {
    slots.iter().flat_map(|range| range.iter()).find(|other| *other > slot)
}

/// Whether the log has the slots, open or closed for this move.
fn holds_all(turn: &Turn<'_>, migration: MigrationId, record: &MigrationRecord) -> bool {
    let slots = turn.around.slots.appended();
    record.slots.iter().flat_map(|range| range.iter()).all(|slot| {
        let state = slots.state(slot);
        state == SlotState::Owned || state == SlotState::Fenced(migration)
    })
}

/// The target owns the slots by the slot map, and soon by its log.
fn review_done(turn: &mut Turn<'_>, migration: MigrationId, record: &MigrationRecord) {
    let is_ours = |state| matches!(state, SlotState::Owned) || state == SlotState::Fenced(migration);
    let slots = turn.around.slots;
    let holds =
        |table: &super::Slots| table.ranges(is_ours).any(|range| record.slots.iter().any(|o| o.overlaps(range)));
    if !slots.is_pending_of(migration) && !holds(slots.applied()) && !holds(slots.appended()) {
        return turn.change(turn.knowledge.records().close(migration, Side::Source));
    }
    let fenced = slots.appended().exports().get(&migration).is_some_and(|export| export.fence.is_some());
    if !fenced {
        // The fence is lost with the end of an earlier history. What is left may be all there is: it is kept, and not shown.
        turn.append_kind(migration, StepKind::Fence { lives: 0 });
    } else if record.is_owned() || is_broken(Rule::M30) {
        turn.append_kind(migration, StepKind::Drop);
    } else {
        look_again(turn, migration);
    }
}

/// The slots stay.
fn review_aborted(turn: &mut Turn<'_>, migration: MigrationId) {
    let slots = turn.around.slots;
    if slots.appended().exports().contains_key(&migration) {
        turn.append_kind(migration, StepKind::Unfence);
    } else if !slots.is_pending_of(migration) && !slots.applied().exports().contains_key(&migration) {
        turn.change(turn.knowledge.records().close(migration, Side::Source));
    }
}

/// Looks at the move from time to time: watches lose what they should have told.
fn look_again(turn: &mut Turn<'_>, migration: MigrationId) {
    let recently =
        turn.knowledge.look(migration).is_some_and(|look| turn.now < look.asked_at + turn.timing.look_interval);
    if !recently {
        turn.read(migration);
    }
}

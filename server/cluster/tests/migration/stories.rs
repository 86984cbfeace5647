//! Stories: a row of the failure table or a known case each. What belongs to the engine, the server or the client is told there: M3 and M8
//! (how a frame is encoded, and how large values are cut), M7 and M17 as far as recovery of files is concerned, M28 (WATCH and blocked
//! commands). M13 and M22 are told in the tests of `ownership`, M9, M15, M19 and M23 also in those of the table.

use simplekv_cluster::migration::{MoveAlarm, MoveBody, SlotState, SlotTable, Step, StepKind};
use simplekv_cluster::{OwnershipView, SlotStanding, standing};
use simplekv_types::{GroupId, Lineage, Lsn, MigrationId, MigrationState, SlotRange};

use crate::world::data::Entry;
use crate::world::{A, B, C, Op, World, Write, ranges, slot};

macro_rules! stories {
    ($($(#[doc = $doc:literal])* fn $name:ident() $body:block)*) => {
        $($(#[doc = $doc])* #[test] fn $name() $body)*

        /// All stories by name: some of them notice a rule that is broken.
        #[cfg(mutants)]
        pub(crate) const STORIES: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

const M: MigrationId = MigrationId(1);

/// Slot 0 on its way from A to B.
fn moving() -> World {
    let mut world = World::new(7);
    for (id, key) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        append(&mut world, A, id, key);
    }
    world.run(10);
    world.add_job("job", "0", B);
    world.start_controller();
    world.run_until("the move begins", |world| world.store.records.migrations.contains_key(&M));
    world
}

fn append(world: &mut World, group: GroupId, id: u64, key: u8) {
    assert!(world.write(group, Write { id, slot: slot(0), key, op: Op::Append }), "{group} takes write {id}");
}

fn delete(world: &mut World, group: GroupId, id: u64, key: u8) {
    assert!(world.write(group, Write { id, slot: slot(0), key, op: Op::Delete }));
}

fn state(world: &World, group: GroupId) -> SlotState {
    world.group(group).table.applied().state(slot(0))
}

fn record(world: &World) -> Option<MigrationState> {
    world.store.records.migration(M).map(|(record, _)| record.state)
}

fn until_fenced(world: &mut World) {
    world.run_until("the source fences", |world| state(world, A) == SlotState::Fenced(M));
}

fn until_owned(world: &mut World, group: GroupId) {
    world.run_until("the slot is owned", |world| state(world, group) == SlotState::Owned);
}

/// Everything ends, and B has what was written.
#[track_caller]
fn ends_at(world: &mut World, group: GroupId) {
    world.run_until("everything ends", World::is_settled);
    assert_eq!(world.store.records.slots.owner(slot(0)), Some(group));
    world.check_all();
}

fn serving(world: &World, group: GroupId) -> SlotStanding {
    let records = &world.store.records;
    world.group(group).standing(slot(0), &records.slots, records.version)
}

stories! {
    fn a_slot_moves_with_everything_in_it() {
        let mut world = moving();
        delete(&mut world, A, 5, 1);
        append(&mut world, A, 6, 0);
        ends_at(&mut world, B);
        assert_eq!(state(&world, A), SlotState::Nothing);
        let (items, rows) = (&world.group(B).applied.items, &world.group(B).applied.rows[&slot(0)]);
        assert_eq!(items[&(slot(0), 0)].0.value, [1, 6]);
        assert!(!items.contains_key(&(slot(0), 1)), "deleted keys stay deleted");
        assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6], "every result has moved");
        assert_eq!(serving(&world, A), SlotStanding::Moved(B));
    }

    /// M1, M25: the store is away while the source is fenced. Nothing is opened by time; when the store is back somebody decides.
    fn a_fence_holds_until_the_store_says_what_became_of_it() {
        let mut world = moving();
        until_fenced(&mut world);
        world.store_down = true;
        world.run(5_000);
        assert_eq!(state(&world, A), SlotState::Fenced(M));
        assert_eq!(serving(&world, A), SlotStanding::Hold);
        assert_ne!(state(&world, B), SlotState::Owned);
        world.store_down = false;
        ends_at(&mut world, B);
    }

    /// M25: the target and the controller die behind the fence. The source ends the move itself.
    fn a_source_left_alone_aborts_and_opens_again() {
        let mut world = moving();
        until_fenced(&mut world);
        let now = world.now;
        world.groups.get_mut(&B).unwrap().down_until = now + 5_000;
        world.mover = None;
        world.run_until("the source opens again", |world| state(world, A) == SlotState::Owned);
        assert!(world.now < now + 1_500 && record(&world) == Some(MigrationState::Aborted));
        append(&mut world, A, 9, 0);
        world.start_controller();
        ends_at(&mut world, B);
    }

    /// Before the fence, A's leader: the target goes on from its cursor, with what the next leader has.
    fn the_sources_leader_fails_while_it_copies() {
        let mut world = moving();
        world.run_until("something is staged", |world| world.group(B).appended.items.contains_key(&(slot(0), 0)));
        world.fail_over(A, 100, false);
        append_when_possible(&mut world, A, 5, 2);
        ends_at(&mut world, B);
    }

    /// Behind the fence, A's leader: the next one inherits the fence.
    fn the_sources_leader_fails_behind_the_fence() {
        let mut world = moving();
        until_fenced(&mut world);
        world.fail_over(A, 0, false);
        world.run(3);
        assert_eq!(state(&world, A), SlotState::Fenced(M));
        ends_at(&mut world, B);
    }

    /// After the handover, A's leader: the next one reads that it was handed over, and drops.
    fn the_sources_leader_fails_after_the_handover() {
        let mut world = moving();
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.fail_over(A, 0, true);
        ends_at(&mut world, B);
        assert_eq!(state(&world, A), SlotState::Nothing);
    }

    /// Before the fence, B's leader: the next one goes on from its own log; what it lacks is sent again.
    fn the_targets_leader_fails_while_it_copies() {
        let mut world = moving();
        world.run_until("something is staged", |world| world.group(B).appended.items.contains_key(&(slot(0), 0)));
        world.fail_over(B, 0, false);
        delete(&mut world, A, 5, 0);
        ends_at(&mut world, B);
    }

    /// Behind the fence, B's leader: READY is lost with it, and is logged again.
    fn the_targets_leader_fails_before_it_is_ready() {
        let mut world = moving();
        until_fenced(&mut world);
        world.groups.get_mut(&B).unwrap().stalled_until = world.now + 100;
        world.run(20);
        world.fail_over(B, 0, false);
        ends_at(&mut world, B);
    }

    /// M2: after the handover, both leaders.
    fn both_leaders_fail_at_the_handover() {
        let mut world = moving();
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.fail_over(A, 0, false);
        world.fail_over(B, 0, false);
        world.run(2);
        assert_ne!(serving(&world, A), SlotStanding::Serve);
        ends_at(&mut world, B);
    }

    /// M12, M4: the abort comes first. The target has everything and must not show it.
    fn an_abort_before_the_handover_leaves_the_slot_where_it_was() {
        let mut world = moving();
        until_fenced(&mut world);
        world.mover = None;
        world.store_down = true;
        world.run_until("B is ready", |world| state(world, B) == SlotState::Ready(M));
        let abort = world.store.records.abort(M).unwrap();
        world.store.execute(&simplekv_cluster::migration::MoveRequest::Change(Box::new(abort)));
        world.store_down = false;
        until_owned(&mut world, A);
        world.run_until("B has given up", |world| state(world, B) == SlotState::Nothing);
        append(&mut world, A, 9, 0);
        world.jobs.clear();
        world.start_controller();
        ends_at(&mut world, A);
    }

    /// The store is away while slots are copied: the copy goes on, nothing is fenced.
    fn nothing_is_fenced_while_the_store_is_away() {
        let mut world = moving();
        world.run_until("B has begun", |world| world.group(B).table.applied().imports().contains_key(&M));
        world.deaf.insert(B);
        world.store_down = true;
        world.run(1_500);
        world.deaf.clear();
        world.run(2_000);
        assert_eq!(state(&world, A), SlotState::Owned, "asked more than a second ago");
        assert!(world.group(B).table.applied().imports()[&M].cursor.is_some_and(|cursor| cursor.next_slot.is_none()));
        append(&mut world, A, 5, 0);
        world.store_down = false;
        ends_at(&mut world, B);
    }

    /// M33: a look that is answered late says what was so when it was asked for.
    fn a_late_answer_is_an_old_look() {
        let mut world = moving();
        world.run_until("B has begun", |world| world.group(B).table.applied().imports().contains_key(&M));
        world.deaf.insert(B);
        world.hold_answers(2_000);
        world.run(3_000);
        world.deaf.clear();
        world.run(6_000);
        assert_eq!(state(&world, A), SlotState::Owned, "nothing younger than two seconds was ever known");
        world.hold_answers(0);
        ends_at(&mut world, B);
    }

    /// M37: who lacks more than the end is not fenced for.
    fn a_source_waits_for_a_target_that_cannot_commit() {
        let mut world = moving();
        world.run_until("B has begun", |world| world.group(B).table.applied().imports().contains_key(&M));
        world.groups.get_mut(&B).unwrap().stalled_until = world.now + 2_000;
        world.run(1_900);
        assert_eq!(state(&world, A), SlotState::Owned);
        ends_at(&mut world, B);
    }

    /// M5, M17: a key that was scanned, then deleted, is sent again by a late copy of the frame that found it.
    fn a_late_frame_brings_nothing_back() {
        let mut world = moving();
        world.kept = Some(Vec::new());
        world.run_until("the keys were sent", |world| world.group(B).applied.items.contains_key(&(slot(0), 3)));
        delete(&mut world, A, 5, 0);
        world.run_until("the deletion has arrived", |world| !world.group(B).applied.items.contains_key(&(slot(0), 0)));
        let kept = world.kept.take().unwrap();
        for (to, message) in kept {
            world.deliver(to, message);
        }
        ends_at(&mut world, B);
        assert!(!world.group(B).applied.items.contains_key(&(slot(0), 0)));
    }

    /// M6, M14, M26: an earlier move's steps are refused, whatever they are.
    fn steps_of_a_move_that_is_over_are_refused() {
        let mut world = moving();
        ends_at(&mut world, B);
        world.add_job("back", "0", A);
        world.run_until("B fences", |world| matches!(state(world, B), SlotState::Fenced(_)));
        for kind in [StepKind::Drop, StepKind::Unfence] {
            let late = Step { migration: M, slots: ranges("0"), kind };
            assert!(world.group(B).table.appended().check(&late).is_err(), "{late:?}");
        }
        ends_at(&mut world, A);
        let table = &world.group(A).table;
        for kind in [StepKind::Drop, StepKind::Fence { lives: 0 }, StepKind::Abort] {
            let late = Step { migration: M, slots: ranges("0"), kind };
            assert!(table.appended().check(&late).is_err(), "{late:?}");
        }
        let begin = StepKind::Begin { source_lineage: Lineage(0) };
        assert!(world.group(B).table.appended().check(&Step { migration: M, slots: ranges("0"), kind: begin }).is_err());
    }

    /// M11, M18: there and back again. What was left behind the first time is dead, and lives are numbered on.
    fn a_slot_comes_back() {
        let mut world = moving();
        ends_at(&mut world, B);
        delete(&mut world, B, 10, 0);
        append_when_possible(&mut world, B, 11, 0);
        world.add_job("back", "0", A);
        ends_at(&mut world, A);
        delete(&mut world, A, 12, 0);
        append_when_possible(&mut world, A, 13, 0);
        world.run(20);
        assert!(world.group(A).applied.items[&(slot(0), 0)].0.life >= 6);
    }

    /// M20: B's clock is behind. What has expired at A is not there at B.
    fn what_has_expired_stays_expired() {
        let mut world = World::new(7);
        world.groups.get_mut(&A).unwrap().clock = 10_900;
        world.groups.get_mut(&B).unwrap().clock = 10_000;
        assert!(world.write(A, Write { id: 1, slot: slot(0), key: 0, op: Op::AppendFor(30) }));
        world.run(40);
        append(&mut world, A, 2, 1);
        world.run(5);
        assert!(world.read(A, slot(0), 0), "it is gone");
        world.add_job("job", "0", B);
        world.start_controller();
        until_owned(&mut world, B);
        assert!(world.read(B, slot(0), 0));
        let fence = world.group(A).table.applied().exports().get(&M).and_then(|export| export.fence);
        assert!(fence.is_none_or(|fence| world.group(B).applied_time() >= fence.time));
    }

    /// M16: A begins another history without its fence. The move is aborted with it, and nothing is handed over.
    fn a_history_that_lacks_the_fence_hands_nothing_over() {
        let mut world = moving();
        until_fenced(&mut world);
        world.store_down = true;
        let fence = fence_of(&world).0 as usize;
        world.run_until("B is ready", |world| state(world, B) == SlotState::Ready(M));
        world.begin_history(A, fence);
        world.store_down = false;
        world.mover = None;
        until_owned(&mut world, A);
        world.run_until("B has given up", |world| state(world, B) == SlotState::Nothing);
        assert_eq!(record(&world), Some(MigrationState::Aborted));
    }

    /// M16: the same, and the move had begun while the transaction was on its way, so that it does not abort it. Whoever would hand over
    /// sees that a history has passed.
    fn a_move_that_a_new_history_overlooked_is_not_handed_over() {
        let mut world = moving();
        until_fenced(&mut world);
        world.store_down = true;
        let fence = fence_of(&world).0 as usize;
        world.run_until("B is ready", |world| state(world, B) == SlotState::Ready(M));
        world.begin_history(A, fence);
        world.store.records.migrations.get_mut(&M).unwrap().0.state = MigrationState::Copy;
        world.store_down = false;
        world.mover = None;
        world.run_until("it is decided", |world| record(world) != Some(MigrationState::Copy));
        assert_eq!(record(&world), Some(MigrationState::Aborted));
        until_owned(&mut world, A);
    }

    /// M40: neither the beginning nor the end of an import is committed. B does not say that nothing is left of it.
    fn what_is_not_committed_is_not_closed() {
        let mut world = moving();
        world.groups.get_mut(&B).unwrap().stalled_until = world.now + 3_000;
        let before = world.group(B).high_watermark;
        world.run_until("B begins", |world| world.group(B).table.appended().imports().contains_key(&M));
        let begun = world.group(B).log.len() - before;
        world.jobs.get_mut("job").unwrap().cancelled = true;
        world.tell_mover_jobs();
        world.run_until("B gives up", |world| !world.group(B).table.appended().imports().contains_key(&M));
        world.run(300);
        assert!(world.store.records.migration(M).is_some_and(|(record, _)| !record.target_closed));
        world.fail_over(B, begun, false);
        ends_at(&mut world, A);
        assert!(world.group(B).table.applied().imports().is_empty());
    }

    /// M37: who has everything but whose clock is far behind is not fenced for: it would have to follow at once.
    fn a_source_waits_for_a_clock_that_is_far_behind() {
        let mut world = moving();
        world.groups.get_mut(&A).unwrap().clock = 15_000;
        world.groups.get_mut(&B).unwrap().clock = 10_000;
        world.run(3_000);
        assert_eq!(state(&world, A), SlotState::Owned);
        world.groups.get_mut(&B).unwrap().clock = 15_000;
        ends_at(&mut world, B);
    }

    /// M31: A lost its fence after the handover. Nothing is shown there, and what is left goes when B owns the slot.
    fn a_history_that_lacks_the_fence_after_the_handover_shows_nothing() {
        let mut world = moving();
        until_fenced(&mut world);
        let fence = fence_of(&world).0 as usize;
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.groups.get_mut(&B).unwrap().stalled_until = world.now + 300;
        world.begin_history(A, fence);
        world.run(200);
        assert_eq!(state(&world, A), SlotState::Fenced(M));
        ends_at(&mut world, B);
        assert_eq!(state(&world, A), SlotState::Nothing);
    }

    /// M35: B has lost what it had copied after the handover. It is copied again, from a source that keeps everything until then.
    fn a_target_that_lost_everything_copies_again() {
        let mut world = moving();
        let begun = world.group(B).log.len();
        until_fenced(&mut world);
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.begin_history(B, begun);
        ends_at(&mut world, B);
        assert_eq!(world.group(B).applied.items[&(slot(0), 3)].0.value, [4]);
    }

    /// M30: the target's ownership is not committed yet. The source drops nothing, so that nothing is lost with the target's log.
    fn a_source_keeps_everything_until_the_target_owns_it() {
        let mut world = moving();
        until_fenced(&mut world);
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.groups.get_mut(&B).unwrap().stalled_until = world.now + 1_000;
        world.run(900);
        assert_eq!(state(&world, A), SlotState::Fenced(M));
        ends_at(&mut world, B);
    }

    /// M27: the metadata store is put back to before the handover, of which both sides know. They say so and rest, and nobody gives the
    /// slot to anybody.
    fn a_restored_store_moves_nothing() {
        let mut world = moving();
        let before = world.store.clone();
        world.run_until("it is handed over", |world| record(world) == Some(MigrationState::Done));
        world.groups.get_mut(&A).unwrap().stalled_until = world.now + 1_000;
        until_owned(&mut world, B);
        world.run(200);
        world.mover = None;
        world.store = before;
        world.run(6_000);
        let told = |group| {
            let regressed = |alarm: &MoveAlarm| matches!(alarm, MoveAlarm::MetadataRegressed { .. });
            world.alarms.iter().any(|(of, alarm)| *of == group && regressed(alarm))
        };
        assert!(told(A) && told(B), "{:?}", world.alarms);
        assert_eq!(state(&world, B), SlotState::Owned);
        assert_ne!(state(&world, A), SlotState::Owned);
    }

    /// M10: the slot map and the move change in one transaction, also when nobody hears of it.
    fn a_handover_whose_answer_is_lost_is_found_by_reading() {
        let mut world = moving();
        until_fenced(&mut world);
        world.faults.store = 1000;
        world.run(400);
        world.faults.store = 0;
        ends_at(&mut world, B);
    }

    /// A plan is carried out by whatever controller there is, from what the store says.
    fn controllers_come_and_go() {
        let mut world = moving();
        for _ in 0..20 {
            world.start_controller();
            world.run(35);
        }
        ends_at(&mut world, B);
        assert_eq!(world.ended.get("job"), Some(&true));
    }

    /// A cancelled job leaves the slots where they are, if they are there still.
    fn a_cancelled_job_ends() {
        let mut world = moving();
        world.run_until("B has begun", |world| world.group(B).table.applied().imports().contains_key(&M));
        world.jobs.get_mut("job").unwrap().cancelled = true;
        world.tell_mover_jobs();
        world.deaf.insert(B);
        ends_at(&mut world, A);
        assert_eq!(world.ended.get("job"), Some(&false));
        assert!(world.group(B).table.applied().imports().is_empty());
    }

    /// A job that names a group which does not exist ends at once.
    fn a_job_without_a_target_ends() {
        let mut world = World::new(7);
        world.add_job("job", "0", GroupId(9));
        world.start_controller();
        world.run_until("it ends", |world| world.ended.get("job") == Some(&false));
    }

    /// M22: there and back again, and a follower that has not heard of any of it. It does not answer a session that saw what was between.
    fn an_old_ownership_does_not_answer_a_session_from_between() {
        let mut world = moving();
        let old = SlotTable::restored(world.group(A).table.snapshot());
        ends_at(&mut world, B);
        let seen = world.store.records.version;
        world.add_job("back", "0", A);
        ends_at(&mut world, A);
        let records = &world.store.records;
        let (map, version) = (&records.slots, records.version);
        let asked = |slots: &SlotTable| {
            let view = OwnershipView { group: A, lineage: Lineage(0), slots, map, version, is_current: false };
            standing(&view, slot(0), seen)
        };
        assert_eq!(asked(&old), SlotStanding::ReadMap(seen));
        assert_eq!(asked(&world.group(A).table), SlotStanding::Serve);
    }

    /// M23: a leader that begins with a snapshot has its fences.
    fn a_snapshot_holds_the_fence() {
        let mut world = moving();
        until_fenced(&mut world);
        world.groups.get_mut(&A).unwrap().take_snapshot();
        world.fail_over(A, 0, true);
        assert_eq!(state(&world, A), SlotState::Fenced(M));
        ends_at(&mut world, B);
    }

    /// M19: B is flushed while it takes the slot in. What is staged stays.
    fn a_flush_at_the_target_leaves_what_is_staged() {
        let mut world = moving();
        world.run_until("something is staged", |world| world.group(B).appended.items.contains_key(&(slot(0), 0)));
        let now = world.now;
        world.groups.get_mut(&B).unwrap().flush(now);
        ends_at(&mut world, B);
        assert_eq!(world.group(B).applied.items[&(slot(0), 0)].0.value, [1]);
    }

    /// M39: A is flushed, a key is written behind it, and a scan finds that key before the flush arrives.
    fn a_flush_that_a_scan_has_overtaken_takes_nothing_with_it() {
        let mut world = moving();
        world.kept = Some(Vec::new());
        world.run_until("B pulls", |world| {
            world.kept.iter().flatten().any(|(_, message)| matches!(message.body, MoveBody::Pull(_)))
        });
        let now = world.now;
        world.groups.get_mut(&A).unwrap().flush(now);
        append(&mut world, A, 9, 0);
        world.run(3);
        ends_at(&mut world, B);
        assert_eq!(world.group(B).applied.items[&(slot(0), 0)].0.value, [9]);
        assert_eq!(world.group(B).applied.items.len(), 1);
    }

    /// Several slots of several groups at once.
    fn slots_of_all_groups_move_at_once() {
        let mut world = World::new(11);
        world.add_job("everything", "0-5", C);
        world.start_controller();
        world.run_until("everything ends", World::is_settled);
        let all: SlotRange = "0-5".parse().unwrap();
        assert!(world.store.records.slots.belong_to(&[all], C));
        world.check_all();
    }
}

fn fence_of(world: &World) -> Lsn {
    let log = &world.group(A).log;
    let is_fence = |entry: &Entry| matches!(entry, Entry::Step(Step { kind: StepKind::Fence { .. }, .. }));
    Lsn(log.iter().position(|record| is_fence(&record.entry)).unwrap() as u64)
}

fn append_when_possible(world: &mut World, group: GroupId, id: u64, key: u8) {
    world.run_until("a leader", |world| world.group(group).activated);
    let write = Write { id, slot: slot(0), key, op: Op::Append };
    let end = world.now + 5_000;
    while !world.write(group, write) {
        assert!(world.now < end, "{group} takes no write");
        world.run(1);
    }
}

use simplekv_types::{GroupTime, Lsn, MigrationId, SlotRange};

use super::*;
use crate::migration::{Fence, Step, StepKind};

const A: GroupId = GroupId(1);
const B: GroupId = GroupId(2);
const M7: MigrationId = MigrationId(7);

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// The slots 0 to 9, given by version 3.
struct Log {
    table: SlotTable,
    end: Lsn,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { table: SlotTable::new(), end: Lsn::ZERO };
        log.take(MigrationId::FOUNDING, "0-9", StepKind::Own { version: SlotMapVersion(3) });
        log
    }

    fn take(&mut self, migration: MigrationId, slots: &str, kind: StepKind) {
        self.append(migration, slots, kind);
        self.table.apply_to(self.end).unwrap();
    }

    fn append(&mut self, migration: MigrationId, slots: &str, kind: StepKind) {
        let step = Step { migration, slots: vec![slots.parse().unwrap()], kind };
        self.table.append(self.end, GroupTime(1), step).unwrap();
        self.end = self.end + 1;
    }

    fn import(&mut self, migration: MigrationId, slots: &str, version: u64) {
        self.take(migration, slots, StepKind::Begin { source_lineage: Lineage(0) });
        let fence = Fence { at: Lsn(1), time: GroupTime(1), lives: 0 };
        self.take(migration, slots, StepKind::Ready(fence));
        self.take(migration, slots, StepKind::Own { version: SlotMapVersion(version) });
    }

    fn asked(&self, map: &SlotMap, version: u64, is_current: bool, number: u16, seen: u64) -> SlotStanding {
        let view = OwnershipView {
            group: A,
            lineage: Lineage(0),
            slots: &self.table,
            map,
            version: SlotMapVersion(version),
            is_current,
        };
        standing(&view, slot(number), SlotMapVersion(seen))
    }
}

fn map(ranges: &[(&str, GroupId)]) -> SlotMap {
    SlotMap::new(ranges.iter().map(|(range, group)| (range.parse::<SlotRange>().unwrap(), *group))).unwrap()
}

#[test]
fn the_log_says_what_is_served_and_the_map_where_else_to_go() {
    let log = Log::new();
    let known = map(&[("0-9", A), ("10-19", B)]);
    assert_eq!(log.asked(&known, 3, true, 5, 3), SlotStanding::Serve);
    assert_eq!(log.asked(&known, 3, true, 15, 3), SlotStanding::Moved(B));
    assert_eq!(log.asked(&known, 3, true, 25, 3), SlotStanding::Unowned);
    assert_eq!(log.asked(&map(&[("5", B)]), 9, true, 5, 0), SlotStanding::Serve, "whatever a map says");
}

#[test]
fn a_slot_that_changes_hands_is_held_until_somebody_has_it() {
    let mut log = Log::new();
    let before = map(&[("0-9", A), ("10-19", B)]);
    log.append(M7, "5", StepKind::Fence { lives: 0 });
    assert_eq!(log.asked(&before, 3, true, 5, 3), SlotStanding::Hold, "appended: it may be committed at any moment");
    log.table.apply_to(log.end).unwrap();
    assert_eq!(log.asked(&before, 3, true, 5, 3), SlotStanding::Hold);
    let after = map(&[("0-4", A), ("5", B), ("6-9", A), ("10-19", B)]);
    assert_eq!(log.asked(&after, 8, true, 5, 3), SlotStanding::Moved(B));
    log.take(M7, "5", StepKind::Drop);
    assert_eq!(log.asked(&after, 8, true, 5, 8), SlotStanding::Moved(B));
}

#[test]
fn a_slot_that_arrives_is_held_once_the_map_gives_it_away() {
    let mut log = Log::new();
    let (before, after) = (map(&[("15", B)]), map(&[("15", A)]));
    log.take(M7, "15", StepKind::Begin { source_lineage: Lineage(0) });
    assert_eq!(log.asked(&before, 7, true, 15, 7), SlotStanding::Moved(B));
    assert_eq!(log.asked(&after, 9, true, 15, 9), SlotStanding::Hold);
    log.take(M7, "15", StepKind::Ready(Fence { at: Lsn(1), time: GroupTime(1), lives: 0 }));
    assert_eq!(log.asked(&before, 7, true, 15, 7), SlotStanding::Hold, "the map may be old");
    log.take(M7, "15", StepKind::Own { version: SlotMapVersion(9) });
    assert_eq!(log.asked(&before, 7, true, 15, 7), SlotStanding::Serve);
}

/// M13: a server with an older map than its client's reads a newer one instead of sending the client back.
#[test]
fn an_older_map_sends_nobody_anywhere() {
    let log = Log::new();
    let old = map(&[("15", B)]);
    assert_eq!(log.asked(&old, 3, true, 15, 8), SlotStanding::ReadMap(SlotMapVersion(8)));
    assert_eq!(log.asked(&old, 8, true, 15, 8), SlotStanding::Moved(B));
}

/// M22: the slot went from here to B and came back. A session wrote to it at B; a follower that has not heard of any of it has the slot
/// as its own still, from before.
#[test]
fn an_old_ownership_does_not_satisfy_a_session_from_between() {
    let mut follower = Log::new();
    let now = map(&[("0-9", A)]);
    assert_eq!(follower.asked(&now, 11, false, 5, 8), SlotStanding::ReadMap(SlotMapVersion(8)));
    assert_eq!(follower.asked(&now, 11, true, 5, 8), SlotStanding::Serve, "who lacks nothing may answer");
    follower.take(M7, "5", StepKind::Fence { lives: 0 });
    follower.take(M7, "5", StepKind::Drop);
    follower.import(MigrationId(9), "5", 11);
    assert_eq!(follower.asked(&now, 11, false, 5, 8), SlotStanding::Serve);
    assert_eq!(follower.asked(&now, 11, false, 6, 8), SlotStanding::Serve, "its log holds what came before version 11");
}

#[test]
fn nothing_is_served_in_a_new_history_before_it_is_reconciled() {
    let mut log = Log::new();
    let map = map(&[("0-9", A)]);
    let ask = |log: &Log| {
        let view = OwnershipView {
            group: A,
            lineage: Lineage(1),
            slots: &log.table,
            map: &map,
            version: SlotMapVersion(3),
            is_current: true,
        };
        standing(&view, slot(5), SlotMapVersion(3))
    };
    assert_eq!(ask(&log), SlotStanding::Hold);
    log.take(MigrationId::FOUNDING, "8", StepKind::Reconcile { lineage: Lineage(1), version: SlotMapVersion(3) });
    assert_eq!(ask(&log), SlotStanding::Serve);
}

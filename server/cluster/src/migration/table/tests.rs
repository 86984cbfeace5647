use super::super::step::Cursor;
use super::*;

const M7: MigrationId = MigrationId(7);

fn slots(text: &str) -> Vec<SlotRange> {
    vec![text.parse().unwrap()]
}

fn step(migration: MigrationId, text: &str, kind: StepKind) -> Step {
    Step { migration, slots: slots(text), kind }
}

fn founded(text: &str) -> SlotTable {
    let mut table = SlotTable::new();
    let own = StepKind::Own { version: SlotMapVersion(3) };
    table.append(Lsn(0), GroupTime(1), step(MigrationId::FOUNDING, text, own)).unwrap();
    table.apply_to(Lsn(1)).unwrap();
    table
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// M15, M9: a write behind a fence is refused, and a read waits for it, from the moment it is appended.
#[test]
fn a_fence_closes_writes_when_appended_and_reads_when_applied() {
    let mut table = founded("0-9");
    assert!(table.accepts(slot(5)) && !table.is_changing(slot(5)));
    table.append(Lsn(4), GroupTime(50), step(M7, "5", StepKind::Fence { lives: 12 })).unwrap();
    assert!(!table.accepts(slot(5)) && table.is_changing(slot(5)));
    assert!(table.accepts(slot(6)) && !table.is_changing(slot(6)));
    assert_eq!(table.applied().state(slot(5)), SlotState::Owned);
    assert!(table.apply_to(Lsn(4)).unwrap().is_empty(), "record 4 itself is not below 4");
    assert_eq!(table.apply_to(Lsn(5)).unwrap().len(), 1);
    assert_eq!(table.applied().state(slot(5)), SlotState::Fenced(M7));
    assert!(!table.is_changing(slot(5)));
    let fence = Fence { at: Lsn(4), time: GroupTime(50), lives: 12 };
    assert_eq!(table.applied().exports()[&M7].fence, Some(fence), "where it stands, for the target");
}

#[test]
fn a_truncated_step_was_never_taken() {
    let mut table = founded("0-9");
    table.append(Lsn(4), GroupTime(50), step(M7, "5", StepKind::Pin { from: Lsn(3) })).unwrap();
    table.append(Lsn(6), GroupTime(50), step(M7, "5", StepKind::Fence { lives: 0 })).unwrap();
    assert_eq!(table.appended().pinned(), Some(Lsn(3)));
    table.truncate_to(Lsn(6)).unwrap();
    assert!(table.accepts(slot(5)));
    assert_eq!(table.appended().pinned(), Some(Lsn(3)));
    table.truncate_to(Lsn(2)).unwrap();
    assert_eq!(table.appended(), table.applied());
}

/// M23: what a snapshot holds is what the log said.
#[test]
fn a_snapshot_goes_on_as_the_log_did() {
    let mut table = founded("0-9");
    table.append(Lsn(4), GroupTime(50), step(M7, "5-6", StepKind::Fence { lives: 12 })).unwrap();
    let begin = StepKind::Begin { source_lineage: Lineage(0) };
    table.append(Lsn(5), GroupTime(50), step(MigrationId(9), "20", begin)).unwrap();
    table.apply_to(Lsn(6)).unwrap();
    let mut restored = SlotTable::restored(table.snapshot());
    assert_eq!(restored.applied(), table.applied());
    for table in [&mut table, &mut restored] {
        let cursor = StepKind::Cursor(Cursor { end: Lsn(3), next_slot: None });
        table.append(Lsn(6), GroupTime(51), step(MigrationId(9), "20", cursor)).unwrap();
        table.append(Lsn(7), GroupTime(52), step(M7, "5-6", StepKind::Drop)).unwrap();
        table.apply_to(Lsn(8)).unwrap();
    }
    assert_eq!(restored.applied(), table.applied());
    assert_eq!(restored.applied().state(slot(5)), SlotState::Nothing);
    assert_eq!(restored.applied().imports()[&MigrationId(9)].frames, 1);
}

/// M19: what is being imported belongs to nobody yet.
#[test]
fn a_flush_concerns_what_is_owned() {
    let mut table = founded("0-9");
    table.append(Lsn(4), GroupTime(50), step(M7, "5", StepKind::Fence { lives: 0 })).unwrap();
    let begin = StepKind::Begin { source_lineage: Lineage(0) };
    table.append(Lsn(5), GroupTime(50), step(MigrationId(9), "20", begin)).unwrap();
    let owned: Vec<String> = table.appended().owned().map(|range| range.to_string()).collect();
    assert_eq!(owned, ["0-4", "6-9"]);
}

#[test]
fn a_log_that_contradicts_itself_is_found_out() {
    let mut table = founded("0-9");
    let error = table.append(Lsn(4), GroupTime(50), step(M7, "8-10", StepKind::Drop)).unwrap_err();
    assert_eq!((error.migration, error.slot), (M7, slot(8)));
    let error = table.append(Lsn(4), GroupTime(50), step(M7, "8-10", StepKind::Fence { lives: 0 })).unwrap_err();
    assert_eq!(error.slot, slot(10), "all slots or none");
    assert!(table.accepts(slot(9)), "nothing was taken");
}

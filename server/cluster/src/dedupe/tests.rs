use super::*;

const CLIENT: ClientId = ClientId(77);

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn record(seq: u64, ack_below: u64, deadline: u64) -> DedupeRecord {
    DedupeRecord {
        slot: slot(1),
        client: CLIENT,
        seq: Seq(seq),
        ack_below: Seq(ack_below),
        deadline: GroupTime(deadline),
        result: Bytes::from(format!("result {seq}")),
    }
}

fn write(seq: u64, ack_below: u64, deadline: u64) -> simplekv_types::Dedupe {
    simplekv_types::Dedupe { seq: Seq(seq), ack_below: Seq(ack_below), deadline: GroupTime(deadline), attempt: 2 }
}

fn answered(lsn: u64, seq: u64) -> Verdict {
    Verdict::Answered { lsn: Lsn(lsn), result: Bytes::from(format!("result {seq}")) }
}

#[test]
fn a_retry_is_answered_from_the_log() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    table.apply_to(Lsn(11), GroupTime(1_000));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), answered(10, 5));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(6, 1, 60_000), GroupTime(2_000)), Verdict::Execute);
    assert_eq!(table.lookup(slot(2), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), Verdict::Execute);
    assert_eq!(table.lookup(slot(1), ClientId(78), &write(5, 1, 60_000), GroupTime(2_000)), Verdict::Execute);
}

/// C50: the retry reaches a new leader while the original is in the suffix it inherited.
#[test]
fn a_retry_finds_what_is_not_committed_yet() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), answered(10, 5));
    table.truncate_to(Lsn(10));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), Verdict::Execute);
}

/// C48: no clock can bring the row to expire before the retry does.
#[test]
fn row_and_retry_expire_by_the_same_clock() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    for time in (0..200_000).step_by(500) {
        table.apply_to(Lsn(11), GroupTime(time));
        let verdict = table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(time));
        let expected = if time <= 60_000 { answered(10, 5) } else { Verdict::Expired };
        assert_eq!(verdict, expected, "at {time}");
    }
    assert!(table.is_empty() && table.slots.is_empty() && table.sweeps.is_empty());
}

/// C47 and its cousin: the client has the answer of 5, drops it, and a delayed attempt of 5 arrives.
#[test]
fn what_the_client_has_answered_is_not_executed_again() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    table.append(Lsn(11), record(6, 6, 90_000));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(0)), Verdict::Stale, "pending rows count");
    table.apply_to(Lsn(12), GroupTime(1_000));
    assert_eq!(table.len(), 1);
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), Verdict::Stale);
}

/// The row outlives its results for as long as a retry of one that was dropped could still be in time.
#[test]
fn a_row_stays_until_no_dropped_result_can_be_asked_for() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 90_000));
    table.append(Lsn(11), record(6, 6, 20_000));
    for time in (0..120_000).step_by(700) {
        table.apply_to(Lsn(12), GroupTime(time));
        let verdict = table.lookup(slot(1), CLIENT, &write(5, 1, 90_000), GroupTime(time));
        assert_eq!(verdict, if time <= 90_000 { Verdict::Stale } else { Verdict::Expired }, "at {time}");
    }
    assert!(table.slots.is_empty() && table.sweeps.is_empty(), "{table:?}");
}

#[test]
fn rows_travel_with_their_slot() {
    let mut source = Dedupe::new();
    source.append(Lsn(10), record(5, 1, 90_000));
    source.append(Lsn(11), record(6, 6, 20_000));
    source.append(Lsn(12), record(7, 6, 20_000));
    source.apply_to(Lsn(12), GroupTime(1));
    let mut target = Dedupe::new();
    target.import(slot(1), source.export(slot(1)));
    assert_eq!(target.export(slot(1)), source.export(slot(1)), "and pending ones do not");
    assert_eq!(target.lookup(slot(1), CLIENT, &write(5, 1, 90_000), GroupTime(2)), Verdict::Stale);
    assert_eq!(target.lookup(slot(1), CLIENT, &write(6, 6, 20_000), GroupTime(2)), answered(11, 6));
    assert_eq!(target.len(), 1);
    source.clear(slot(1));
    assert!(source.is_empty());
    target.collect(GroupTime(200_000));
    assert!(target.is_empty() && target.slots.is_empty() && target.sweeps.is_empty(), "{target:?}");
}

#[test]
fn a_truncation_leaves_other_pending_rows_alone() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    table.append(Lsn(20), record(6, 1, 60_000));
    table.truncate_to(Lsn(15));
    table.append(Lsn(15), record(7, 1, 60_000));
    table.apply_to(Lsn(11), GroupTime(1));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2)), answered(10, 5));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(6, 1, 60_000), GroupTime(2)), Verdict::Execute);
    assert_eq!(table.lookup(slot(1), CLIENT, &write(7, 1, 60_000), GroupTime(2)), answered(15, 7));
}

/// C58: attempt 1 is still in a socket while attempt 2 is answered.
#[test]
fn a_second_attempt_leaves_a_row_even_if_it_changed_nothing() {
    assert!(!Dedupe::must_log(1));
    assert!(Dedupe::must_log(2));
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    table.apply_to(Lsn(11), GroupTime(1));
    let first = simplekv_types::Dedupe { attempt: 1, ..write(5, 1, 60_000) };
    assert_eq!(table.lookup(slot(1), CLIENT, &first, GroupTime(2)), answered(10, 5), "the late first attempt finds it");
}

/// A table that forgets by the log's clock and by what clients declare answered says what one would say that never forgets.
#[test]
fn nothing_that_could_still_matter_is_forgotten() {
    for seed in 1..400_u64 {
        let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut below = |bound: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % bound
        };
        let mut table = Dedupe::new();
        // The log, with the time of each record; what is applied of it; and the deadline each write got once and for all.
        let mut log: Vec<(DedupeRecord, GroupTime)> = Vec::new();
        let mut applied = 0;
        let mut deadlines: BTreeMap<(u64, u64), GroupTime> = BTreeMap::new();
        // What each client has declared answered.
        let mut declared = [0, 0];
        let mut now = GroupTime(1_000);
        for _ in 0..150 {
            match below(8) {
                0 => now = now.plus_millis(below(2_500)),
                1 if log.len() > applied => {
                    log.truncate(applied + usize::try_from(below((log.len() - applied) as u64)).unwrap());
                    table.truncate_to(Lsn(log.len() as u64));
                }
                2 | 3 if log.len() > applied => {
                    applied += 1 + usize::try_from(below((log.len() - applied) as u64)).unwrap();
                    table.apply_to(Lsn(applied as u64), log[applied - 1].1);
                }
                _ => {
                    let (client, seq) = (below(2), 1 + below(12));
                    let deadline = *deadlines.entry((client, seq)).or_insert(now.plus_millis(below(6_000)));
                    let ack_below = Seq(below(seq + 1).saturating_sub(below(4)));
                    let answered = &mut declared[usize::try_from(client).unwrap()];
                    let write = simplekv_types::Dedupe { seq: Seq(seq), ack_below, deadline, attempt: 1 };
                    let client = ClientId(client.into());
                    let verdict = table.lookup(slot(1), client, &write, now);
                    let expected = remembering_everything(&log, client, &write, now);
                    let done = log.iter().any(|(known, _)| known.client == client && known.seq == write.seq);
                    // Whoever declares a write answered does not begin it afterwards.
                    if !done && seq < *answered {
                        continue;
                    }
                    assert_eq!(verdict, expected, "seed {seed}");
                    if verdict == Verdict::Execute {
                        *answered = ack_below.0.max(*answered);
                        let record = DedupeRecord { client, deadline, ..record(seq, ack_below.0, 0) };
                        table.append(Lsn(log.len() as u64), record.clone());
                        log.push((record, now));
                    }
                }
            }
        }
        table.apply_to(Lsn(log.len() as u64), now.plus_millis(20_000));
        assert!(table.is_empty() && table.slots.is_empty() && table.sweeps.is_empty(), "seed {seed}: {table:?}");
    }
}

fn remembering_everything(
    log: &[(DedupeRecord, GroupTime)],
    client: ClientId,
    write: &simplekv_types::Dedupe,
    now: GroupTime,
) -> Verdict {
    if write.deadline < now {
        return Verdict::Expired;
    }
    let own = || log.iter().enumerate().filter(|(_, (record, _))| record.client == client);
    if own().any(|(_, (record, _))| write.seq < record.ack_below) {
        return Verdict::Stale;
    }
    let found = own().rfind(|(_, (record, _))| record.seq == write.seq);
    found.map_or(Verdict::Execute, |(lsn, (record, _))| Verdict::Answered {
        lsn: Lsn(lsn as u64),
        result: record.result.clone(),
    })
}

/// M6, M21: rows of what a slot held before do not answer for what another group sends of it, and those behind stay.
#[test]
fn rows_end_with_what_their_slot_was() {
    let mut table = Dedupe::new();
    table.append(Lsn(10), record(5, 1, 60_000));
    table.append_drop(Lsn(11), vec![slot(1).into()]);
    table.append(Lsn(12), record(6, 1, 60_000));
    table.append_drop(Lsn(13), vec![slot(1).into()]);
    table.truncate_to(Lsn(13));
    table.apply_to(Lsn(13), GroupTime(1_000));
    assert_eq!(table.lookup(slot(1), CLIENT, &write(5, 1, 60_000), GroupTime(2_000)), Verdict::Execute);
    assert_eq!(table.lookup(slot(1), CLIENT, &write(6, 1, 60_000), GroupTime(2_000)), answered(12, 6));
    table.append_drop(Lsn(13), vec![slot(1).into()]);
    table.apply_to(Lsn(14), GroupTime(1_000));
    assert!(table.is_empty());
}

/// M21: a row travels as records, and means at the other end what it meant here.
#[test]
fn a_row_travels_as_records() {
    let mut here = Dedupe::new();
    here.append(Lsn(10), record(5, 1, 50_000));
    here.append(Lsn(11), record(7, 6, 60_000));
    here.apply_to(Lsn(12), GroupTime(1_000));
    let mut there = Dedupe::new();
    let records: Vec<DedupeRecord> = here.export(slot(1)).iter().flat_map(|row| row.records(slot(1))).collect();
    for (lsn, record) in (100..).zip(records) {
        there.append(Lsn(lsn), record);
    }
    there.apply_to(Lsn(200), GroupTime(1_000));
    let lookup = |seq| there.lookup(slot(1), CLIENT, &write(seq, 1, 60_000), GroupTime(2_000));
    assert_eq!((lookup(5), lookup(7)), (Verdict::Stale, answered(101, 7)));
    let rows = there.export(slot(1));
    assert_eq!((rows[0].keep_until, rows[0].results.len()), (GroupTime(50_000), 1));
}

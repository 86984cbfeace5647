//! What makes a retried write happen once.
//!
//! A write that carries an identity is logged together with its result. A retry finds the row and is answered from it, whoever leads
//! by then, because the table is a function of the log alone. How long a row is kept, and how long a retry may come, is decided by
//! the same clock, the group's time in the log: so there is no moment at which the row is gone and the retry is still executed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{ClientId, GroupTime, Lsn, Seq, Slot, SlotRange};

/// Rows are looked at together once their deadlines lie in the same second, in milliseconds.
const SWEEP_MS: u64 = 1_000;

/// Results of writes that their clients may retry, per slot and client.
///
/// The driver feeds it what it appends, applies and truncates; a follower's table is the same function of the same log.
#[derive(Debug, Default)]
pub struct Dedupe {
    /// What is applied.
    slots: BTreeMap<Slot, BTreeMap<ClientId, Row>>,
    /// What is appended and not applied, ascending by LSN.
    pending: VecDeque<(Lsn, DedupeRecord)>,
    /// Pending records by whom they belong to, for lookups: positions are counted from the first record ever pending.
    pending_of: BTreeMap<(Slot, ClientId), VecDeque<u64>>,
    /// Number of the first of `pending`.
    first_pending: u64,
    /// Slots whose rows are dropped by records that are not applied yet, ascending.
    drops: VecDeque<(Lsn, Vec<SlotRange>)>,
    /// Rows that may have something to drop once the group's time passes this many sweeps.
    sweeps: BTreeMap<u64, Vec<(Slot, ClientId)>>,
    results: usize,
}

/// One write's row in the log: logged in the same batch as its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeRecord {
    /// The slot whose share of the result this is.
    pub slot: Slot,
    /// Who wrote.
    pub client: ClientId,
    /// The write.
    pub seq: Seq,
    /// Every write of this client with a smaller number has been answered.
    pub ack_below: Seq,
    /// Group time after which the write is not executed any more.
    pub deadline: GroupTime,
    /// The encoded result.
    pub result: Bytes,
}

/// What to do with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was not executed here: evaluate it.
    Execute,
    /// It was executed: answer this once everything up to and including `lsn` is committed.
    Answered {
        /// The record that holds the result.
        lsn: Lsn,
        /// The result.
        result: Bytes,
    },
    /// Its deadline has passed: refuse it. It was not executed now, but an earlier attempt may have been.
    Expired,
    /// Its client has declared it answered: refuse it.
    Stale,
}

/// A client's row in one slot, for snapshots and slot moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeRow {
    /// Who wrote.
    pub client: ClientId,
    /// The greatest `ack_below` seen.
    pub ack_below: Seq,
    /// The greatest deadline of all results dropped.
    pub keep_until: GroupTime,
    /// The results kept, ascending by write.
    pub results: Vec<(Seq, DedupeResult)>,
}

impl DedupeRow {
    /// The row as records of a log: one for each result. What was dropped is told by one more, of a write that is answered already: it
    /// keeps the row for as long.
    #[must_use]
    pub fn records(&self, slot: Slot) -> Vec<DedupeRecord> {
        let Self { client, ack_below, keep_until, .. } = *self;
        let record = |seq, deadline, result| DedupeRecord { slot, client, seq, ack_below, deadline, result };
        let dropped = ack_below.0.checked_sub(1).filter(|_| keep_until > GroupTime::ZERO);
        let dropped = dropped.map(|seq| record(Seq(seq), keep_until, Bytes::new()));
        let kept = self.results.iter().map(|(seq, kept)| record(*seq, kept.deadline, kept.result.clone()));
        dropped.into_iter().chain(kept).collect()
    }
}

/// A result kept for retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeResult {
    /// The write's deadline.
    pub deadline: GroupTime,
    /// The record it was logged in. In a row that came from another group: of that group's log, all of it committed.
    pub lsn: Lsn,
    /// The encoded result.
    pub result: Bytes,
}

/// A client in a slot.
#[derive(Debug, Default)]
struct Row {
    /// The greatest seen: retries below are stale, even if they come from before the client said so.
    ack_below: u64,
    /// The greatest deadline of all results dropped. While group time has not passed it, the row must stay: a retry of one of them
    /// would otherwise be executed. Afterwards its own deadline refuses it.
    keep_until: GroupTime,
    results: BTreeMap<Seq, DedupeResult>,
}

impl Dedupe {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do with a write that is asked for at group time `now` (that of the batch it would be part of), judged by everything
    /// appended. Comes before evaluation and before every refusal, at every owner of the slot.
    #[must_use]
    pub fn lookup(&self, slot: Slot, client: ClientId, write: &simplekv_types::Dedupe, now: GroupTime) -> Verdict {
        if write.deadline < now {
            return Verdict::Expired;
        }
        let row = self.slots.get(&slot).and_then(|clients| clients.get(&client));
        let mut ack_below = row.map_or(0, |row| row.ack_below);
        let mut found = row.and_then(|row| row.results.get(&write.seq)).map(|kept| (kept.lsn, &kept.result));
        for (lsn, record) in self.pending_of(slot, client).filter(|_| !is_broken(Rule::C50)) {
            ack_below = ack_below.max(record.ack_below.0);
            if record.seq == write.seq {
                found = Some((lsn, &record.result));
            }
        }
        if write.seq.0 < ack_below {
            return Verdict::Stale;
        }
        found
            .filter(|_| !is_broken(Rule::C47))
            .map_or(Verdict::Execute, |(lsn, result)| Verdict::Answered { lsn, result: result.clone() })
    }

    fn pending_of(&self, slot: Slot, client: ClientId) -> impl Iterator<Item = (Lsn, &DedupeRecord)> {
        let numbers = self.pending_of.get(&(slot, client)).into_iter().flatten();
        numbers.filter_map(|number| {
            let index = usize::try_from(number - self.first_pending).ok()?;
            self.pending.get(index).map(|(lsn, record)| (*lsn, record))
        })
    }

    /// A record was appended, and is not committed yet. LSNs ascend.
    pub fn append(&mut self, lsn: Lsn, record: DedupeRecord) {
        assert!(self.pending.back().is_none_or(|(last, _)| *last < lsn), "records are appended in order");
        let number = self.first_pending + self.pending.len() as u64;
        self.pending_of.entry((record.slot, record.client)).or_default().push_back(number);
        self.pending.push_back((lsn, record));
    }

    /// A record was appended that ends what these slots were to the group: with them go their rows.
    pub fn append_drop(&mut self, lsn: Lsn, slots: Vec<SlotRange>) {
        assert!(self.drops.back().is_none_or(|(last, _)| *last < lsn), "records are appended in order");
        self.drops.push_back((lsn, slots));
    }

    /// Everything below the high watermark is applied; the group's time is then `time`.
    pub fn apply_to(&mut self, high_watermark: Lsn, time: GroupTime) {
        while let Some((lsn, record)) = self.pending.pop_front_if(|(lsn, _)| *lsn < high_watermark) {
            self.drop_below(lsn);
            let key = (record.slot, record.client);
            if let Some(numbers) = self.pending_of.get_mut(&key) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.pending_of.remove(&key);
                }
            }
            self.first_pending += 1;
            self.apply(lsn, record);
        }
        self.drop_below(high_watermark);
        self.collect(if is_broken(Rule::C48) { time.plus_millis(600_000) } else { time });
    }

    fn drop_below(&mut self, lsn: Lsn) {
        while let Some((_, slots)) = self.drops.pop_front_if(|(dropped, _)| *dropped < lsn) {
            slots.iter().flat_map(|range| range.iter()).for_each(|slot| self.clear(slot));
        }
    }

    /// A committed record is replayed, when the log is read at the start. LSNs ascend.
    pub fn apply(&mut self, lsn: Lsn, record: DedupeRecord) {
        let DedupeRecord { slot, client, seq, ack_below, deadline, result } = record;
        let row = self.slots.entry(slot).or_default().entry(client).or_default();
        self.results += 1;
        if row.results.insert(seq, DedupeResult { deadline, lsn, result }).is_some() {
            self.results -= 1;
        }
        self.results -= row.acknowledge(ack_below.0);
        self.sweep_at(deadline, slot, client);
    }

    /// Everything from `log_end` on was truncated.
    pub fn truncate_to(&mut self, log_end: Lsn) {
        while self.drops.pop_back_if(|(lsn, _)| *lsn >= log_end).is_some() {}
        while let Some((_, record)) = self.pending.pop_back_if(|(lsn, _)| *lsn >= log_end) {
            let key = (record.slot, record.client);
            if let Some(numbers) = self.pending_of.get_mut(&key) {
                numbers.pop_back();
                if numbers.is_empty() {
                    self.pending_of.remove(&key);
                }
            }
        }
    }

    /// Drops what no retry can ask for at group time `time` or later. Called by [`apply_to`](Self::apply_to).
    pub fn collect(&mut self, time: GroupTime) {
        while let Some(due) = self.sweeps.first_entry().filter(|sweep| *sweep.key() < time.0 / SWEEP_MS) {
            for (slot, client) in due.remove() {
                self.sweep(slot, client, time);
            }
        }
    }

    fn sweep_at(&mut self, deadline: GroupTime, slot: Slot, client: ClientId) {
        let rows = self.sweeps.entry(deadline.0 / SWEEP_MS).or_default();
        if rows.last() != Some(&(slot, client)) {
            rows.push((slot, client));
        }
    }

    fn sweep(&mut self, slot: Slot, client: ClientId, time: GroupTime) {
        let Some(clients) = self.slots.get_mut(&slot) else { return };
        let Some(row) = clients.get_mut(&client) else { return };
        self.results -= row.expire(time);
        if row.results.is_empty() && row.keep_until < time {
            clients.remove(&client);
            if clients.is_empty() {
                self.slots.remove(&slot);
            }
        } else if row.results.is_empty() {
            let keep_until = row.keep_until;
            self.sweep_at(keep_until, slot, client);
        }
    }

    /// The rows of a slot, applied state only, in the order of clients.
    #[must_use]
    pub fn export(&self, slot: Slot) -> Vec<DedupeRow> {
        let rows = self.slots.get(&slot).into_iter().flatten();
        rows.map(|(client, row)| DedupeRow {
            client: *client,
            ack_below: Seq(row.ack_below),
            keep_until: row.keep_until,
            results: row.results.iter().map(|(seq, kept)| (*seq, kept.clone())).collect(),
        })
        .collect()
    }

    /// Adds rows of a slot to what is there. Of a result that is there already the newer record wins.
    pub fn import(&mut self, slot: Slot, rows: Vec<DedupeRow>) {
        for DedupeRow { client, ack_below, keep_until, results } in rows {
            for (_, kept) in &results {
                self.sweep_at(kept.deadline, slot, client);
            }
            self.sweep_at(keep_until, slot, client);
            let row = self.slots.entry(slot).or_default().entry(client).or_default();
            for (seq, kept) in results {
                match row.results.get(&seq) {
                    Some(present) if present.lsn >= kept.lsn => (),
                    present => {
                        self.results += usize::from(present.is_none());
                        row.results.insert(seq, kept);
                    }
                }
            }
            row.keep_until = row.keep_until.max(keep_until);
            self.results -= row.acknowledge(ack_below.0);
        }
    }

    /// Forgets a slot's applied rows: it was dropped here, or what was staged of it.
    pub fn clear(&mut self, slot: Slot) {
        let clients = self.slots.remove(&slot).into_iter().flatten();
        self.results -= clients.map(|(_, row)| row.results.len()).sum::<usize>();
    }

    /// How many results are kept, applied ones only.
    #[must_use]
    pub fn len(&self) -> usize {
        self.results
    }

    /// Whether no result is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.results == 0
    }

    /// Whether a write's result, whatever it is, must be logged and committed before it is answered: from the second attempt on,
    /// also if nothing changed. The first attempt may still sit in a socket, and would otherwise be executed after the retry was
    /// told that there was nothing to do.
    #[must_use]
    pub fn must_log(attempt: u32) -> bool {
        attempt >= 2 && !is_broken(Rule::C58)
    }
}

impl Row {
    /// Everything below is answered. Returns how many results that drops.
    fn acknowledge(&mut self, ack_below: u64) -> usize {
        self.ack_below = self.ack_below.max(ack_below);
        let mut dropped = 0;
        while let Some(first) = self.results.first_entry().filter(|entry| entry.key().0 < self.ack_below) {
            self.keep_until = self.keep_until.max(first.remove().deadline);
            dropped += 1;
        }
        dropped
    }

    /// Drops what is past its deadline. Returns how many results that is.
    fn expire(&mut self, time: GroupTime) -> usize {
        let before = self.results.len();
        let keep_until = &mut self.keep_until;
        self.results.retain(|_, kept| {
            let live = kept.deadline >= time;
            if !live {
                *keep_until = (*keep_until).max(kept.deadline);
            }
            live
        });
        before - self.results.len()
    }
}

#[cfg(test)]
mod tests;

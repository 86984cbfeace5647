//! Executing one command: who may, whether it was done already, and what it makes of the keys.

use bytes::Bytes;
use prost::Message;
use simplekv_cluster::{Dedupe, DedupeRecord, Refusal, Verdict};
use simplekv_commands as commands;
use simplekv_engine::record::{DedupeRow, Record};
use simplekv_engine::{Checkpoint, EncodeError};
use simplekv_proto::v1;
use simplekv_resp::Command;
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{ClientId, Failure, GroupTime, Lsn, Reply, Slot, limits};

use super::turn::{Effects, Turn};
use super::waiting::Outcome;
use super::{Clock, Group, GroupRequest, Respond, UNCOMMITTED_BYTES_MAX};

/// A retried write stays recognisable for this long, in group time, when the client left the choice to the leader.
const DEADLINE_DEFAULT_MILLIS: u64 = 60_000;

impl<R: Respond> Group<R> {
    /// Executes one command in the writer's turn.
    pub(super) fn execute(&mut self, clock: &impl Clock, request: &GroupRequest) -> Outcome {
        if let Some(held_up) = self.hold_up(&request.command) {
            return held_up;
        }
        if !request.command.is_write() {
            return self.read(clock, request);
        }
        let from = if self.open.is_some() { self.builder.next_lsn() } else { self.engine.log_end() };
        let outcome = self.write(clock, request);
        if let (Some(origin), Outcome::Appended { until, .. }) = (request.origin, &outcome) {
            self.tracked.wrote(origin, from, *until);
        }
        outcome
    }

    fn read(&mut self, clock: &impl Clock, request: &GroupRequest) -> Outcome {
        if request.barrier
            && let Err(refusal) = self.push_barrier(clock)
        {
            return Outcome::Refused(self.refused(&refusal));
        }
        let follower = self.published.serving.begin(clock.now()).filter(|begun| !begun.leads());
        let (until, now) = match self.open {
            Some(admission) if !self.builder.is_empty() => (self.builder.next_lsn(), admission.time),
            // No later than the log says, or the next reader would still see what has expired for this one; no earlier, because a
            // leader may have shown the effect of all that is in the log, of a tick as well.
            _ => (self.engine.log_end(), self.engine.last_time()),
        };
        let open = self.open.is_some();
        let Self { engine, reader, builder, drafts, slots, id, .. } = self;
        let keyspace = Turn::new(engine, reader, builder, drafts, *id, slots, open);
        let reply = commands::read_at_hour(&request.command, &keyspace, now, now.max(clock.wall()));
        if request.barrier { Outcome::Confirmed { reply, until } } else { Outcome::Observed { reply, until, follower } }
    }

    /// A record whose commit proves that this replica led when it was appended. Any record of the open batch will do: none of them
    /// is appended yet.
    fn push_barrier(&mut self, clock: &impl Clock) -> Result<(), Refusal> {
        self.open_batch(clock)?;
        if self.builder.is_empty() {
            self.builder.push(&Record::Tick).expect("an empty batch has room for one small record");
            self.builder.end_command();
        }
        Ok(())
    }

    fn write(&mut self, clock: &impl Clock, request: &GroupRequest) -> Outcome {
        let opened = self.open_batch(clock);
        let now = self.open.map_or_else(|| self.engine.applied_time(), |admission| admission.time);
        // Before anything can refuse: what was done already is answered, whatever state the group is in. A replica that does not lead
        // knows that only of what is applied: what is merely in its log may be about to be replaced.
        let surely = matches!(opened, Err(Refusal::NotLeader { .. })).then(|| self.engine.applied());
        if let Some(known) = self.known(request, now, surely) {
            return known;
        }
        if let Err(refusal) = opened {
            return Outcome::Refused(self.refused(&refusal));
        }
        if self.uncommitted_bytes > UNCOMMITTED_BYTES_MAX {
            return Outcome::Refused(Failure::Busy { what: "too many requests in flight" });
        }
        let outcome = match self.evaluate(request, now) {
            // The batch was too full for this command: it goes into one of its own.
            Err(EncodeError::TooManyRecords { .. } | EncodeError::TooManyBytes { .. }) if !self.builder.is_empty() => {
                self.close_batch(clock);
                match self.open_batch(clock) {
                    Err(refusal) => return Outcome::Refused(self.refused(&refusal)),
                    Ok(()) => self.evaluate(request, now),
                }
            }
            outcome => outcome,
        };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Refused(unencodable(&error)));
        if self.builder.bytes() >= limits::BATCH_BYTES || request.command == Command::FlushAll {
            self.close_batch(clock);
        }
        outcome
    }

    /// The answer to a retry of a write that has been executed, in a record below `surely` if that is given, or may not be executed any more.
    fn known(&self, request: &GroupRequest, now: GroupTime, surely: Option<Lsn>) -> Option<Outcome> {
        let (client, write) = request.dedupe?;
        let write = dated(write, now);
        let mut executed = None;
        for slot in slots_of(&request.command) {
            match self.dedupe.lookup(slot, client, &write, now) {
                Verdict::Execute => (),
                Verdict::Answered { lsn, result } if surely.is_none_or(|end| lsn < end) => {
                    executed = Some((lsn, result))
                }
                Verdict::Answered { .. } => return None,
                Verdict::Expired => return Some(Outcome::Refused(Failure::Expired)),
                Verdict::Stale => return Some(Outcome::Refused(Failure::StaleRetry)),
            }
        }
        let (lsn, result) = executed?;
        let reply = v1::Value::decode(result).ok().and_then(|value| Reply::try_from(value).ok());
        // We encoded it ourselves; if it cannot be read all the same, nothing may be claimed about the write.
        let unreadable = || Reply::Error(Failure::Uncertain { reason: "the stored result cannot be read".into() });
        Some(Outcome::Appended { reply: reply.unwrap_or_else(unreadable), until: lsn + 1 })
    }

    fn evaluate(&mut self, request: &GroupRequest, now: GroupTime) -> Result<Outcome, EncodeError> {
        let checkpoint = self.builder.checkpoint();
        let Self { engine, reader, builder, drafts, slots, id, .. } = self;
        let mut turn = Turn::new(engine, reader, builder, drafts, *id, slots, true);
        turn.value_bytes_max = self.value_bytes_max;
        turn.now = now;
        let reply = commands::write(&request.command, &mut turn, now);
        let Effects { wrote, cleared, begun, expired_early, error } = turn.end();
        if let Some(error) = error {
            self.take_back(checkpoint);
            return Err(error);
        }
        if let (Reply::Error(failure), true) = (&reply, wrote) {
            // Of several commands done as one, one could not read what it needed: those before it are not done either.
            self.take_back(checkpoint);
            return Ok(Outcome::Refused(failure.clone()));
        }
        // What they try now is evaluated behind this, in a later turn.
        begun.iter().for_each(|key| self.published.waiters.wake(key));
        if cleared {
            let ranges = self.slots.writable().ranges();
            if let Err(error) = self.push_clear(&ranges) {
                self.take_back(checkpoint);
                return Err(error);
            }
        }
        if let Some((client, write)) = request.dedupe
            && (wrote || Dedupe::must_log(write.attempt))
        {
            if let Err(error) = self.push_rows(&request.command, client, write, &reply, now) {
                self.take_back(checkpoint);
                return Err(error);
            }
        } else if !wrote {
            if expired_early && self.builder.is_empty() {
                self.builder.push(&Record::Tick).expect("an empty batch has room for one small record");
            }
            self.builder.end_command();
            // It changed nothing, so it is a read: true only if this replica still leads when what it saw is committed.
            let until = if is_broken(Rule::C46) { Lsn::ZERO } else { self.builder.next_lsn() };
            return Ok(Outcome::Observed { reply, until, follower: None });
        }
        self.builder.end_command();
        Ok(Outcome::Appended { reply, until: self.builder.next_lsn() })
    }

    /// Drops what a command has put into the batch.
    fn take_back(&mut self, checkpoint: Checkpoint) {
        self.builder.roll_back(checkpoint);
        self.drafts.taken_back();
    }

    /// Logs the result with the effect, once for each slot: rows move with their slot.
    fn push_rows(
        &mut self,
        command: &Command,
        client: ClientId,
        write: simplekv_types::Dedupe,
        reply: &Reply,
        now: GroupTime,
    ) -> Result<(), EncodeError> {
        let result = Bytes::from(v1::Value::from(reply.clone()).encode_to_vec());
        let deadline = dated(write, now).deadline;
        let mut rows = Vec::with_capacity(1);
        for slot in slots_of(command) {
            let row = DedupeRow {
                slot,
                client,
                seq: write.seq,
                ack_below: write.ack_below,
                deadline,
                result: &result,
                origin: None,
            };
            let lsn = self.builder.push(&Record::Dedupe(row))?;
            let (seq, ack_below, result) = (write.seq, write.ack_below, result.clone());
            rows.push((lsn, DedupeRecord { slot, client, seq, ack_below, deadline, result }));
        }
        // All or none: the command is taken back if one of them finds no room.
        for (lsn, row) in rows {
            self.dedupe.append(lsn, row);
        }
        Ok(())
    }

    /// What a refusal of the protocol is to a client.
    fn refused(&self, refusal: &Refusal) -> Failure {
        match *refusal {
            Refusal::NoReplicas { in_sync, required } => Failure::NoReplicas { in_sync, required },
            Refusal::Stalled => Failure::Busy { what: "the disk does not answer" },
            Refusal::NotLeader { .. } | Refusal::Starting { .. } | Refusal::Transferring => {
                Failure::NoLeader { group: self.id }
            }
        }
    }
}

/// The write with a deadline: the leader's choice if its client knows no time of the group yet.
fn dated(write: simplekv_types::Dedupe, now: GroupTime) -> simplekv_types::Dedupe {
    match write.deadline {
        GroupTime::ZERO => simplekv_types::Dedupe { deadline: now.plus_millis(DEADLINE_DEFAULT_MILLIS), ..write },
        _ => write,
    }
}

fn unencodable(error: &EncodeError) -> Failure {
    match *error {
        EncodeError::KeyTooLarge { size, limit } => {
            Failure::TooLarge { what: "key", size: size as u64, limit: limit as u64 }
        }
        EncodeError::ValueTooLarge { size, limit } => {
            Failure::TooLarge { what: "value", size: size as u64, limit: limit as u64 }
        }
        EncodeError::TooManyRecords { limit } | EncodeError::TooManyBytes { limit } => {
            Failure::TooLarge { what: "request", size: limit as u64 + 1, limit: limit as u64 }
        }
        _ => Failure::command("ERR the command's effect cannot be stored"),
    }
}

/// The slots a command touches, each once. One without keys is remembered under the lowest slot.
fn slots_of(command: &Command) -> impl Iterator<Item = Slot> + use<> {
    let mut slots: Vec<Slot> = command.keys().map(|key| Slot::of_key(key)).collect();
    if slots.is_empty() {
        slots.push(Slot::MIN);
    }
    slots.sort_unstable();
    slots.dedup();
    slots.into_iter()
}

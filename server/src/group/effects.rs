//! What the replica wants done: written to the log and applied here and now, or handed out to whoever drives the group.

use simplekv_cluster::{Alarm, Effect};
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Envelope, Message};
use simplekv_types::{Batch, Lsn};

use super::failure::Failed;
use super::{Followup, Group, Output, Respond};

impl<R: Respond> Group<R> {
    pub(super) fn perform(&mut self, effect: Effect) -> Result<(), Failed> {
        match effect {
            Effect::WithdrawLeases => self.withdraw(),
            Effect::PersistEpoch { epoch, lineage } => {
                self.engine.persist_epoch(epoch, lineage)?;
                self.followups.push_back(Followup::EpochPersisted(epoch));
            }
            Effect::Truncate { log_end } => self.truncate(log_end)?,
            Effect::Append(appending) => self.append(appending)?,
            Effect::Flush { log_end, truncations } => {
                self.rest.flush = Some((log_end, truncations));
                self.outputs.push_back(Output::Flush { log_end, truncations });
            }
            Effect::Apply { high_watermark } if is_broken(Rule::C14) => self.put_off = Some(high_watermark),
            Effect::Apply { high_watermark } => self.apply(high_watermark)?,
            Effect::Send(envelope) => self.outputs.push_back(Output::Send(envelope)),
            Effect::SendLog { envelope, from, upto, max_bytes } => self.send_log(envelope, from, upto, max_bytes)?,
            Effect::Metadata { id, request } => self.outputs.push_back(Output::Metadata { id, request }),
            Effect::Probe { id } => self.outputs.push_back(Output::Probe { id }),
            Effect::RoleChanged { epoch, role, leader } => {
                self.outputs.push_back(Output::RoleChanged { epoch, role, leader });
                self.abandon("the leader changed before it was committed");
            }
            Effect::RequestElection { epoch, unheard } => {
                self.outputs.push_back(Output::RequestElection { epoch, unheard });
            }
            Effect::FetchSnapshot { from, .. } => {
                // No log begins above its first record until segments are merged, and merging brings the snapshots.
                let reason = "it offers a snapshot of a log that should be whole";
                self.outputs.push_back(Output::Alarm(Alarm::MalformedMessage { from, reason }));
            }
            Effect::Rebuild { lineage } => self.outputs.push_back(Output::Rebuild { lineage }),
            Effect::TransferEnded(outcome) => self.outputs.push_back(Output::TransferEnded(outcome)),
            Effect::ReadyToStop => self.outputs.push_back(Output::ReadyToStop),
            Effect::Alarm(alarm) => self.outputs.push_back(Output::Alarm(alarm)),
        }
        Ok(())
    }

    fn truncate(&mut self, log_end: Lsn) -> Result<(), Failed> {
        // Before anything takes their place: a retry that was recognised in the log waits for records that are about to vanish,
        // and other records with the same numbers say nothing about it.
        let (applied, time) = (self.engine.applied(), self.engine.applied_time());
        while let Some(waiting) = self.waiting.pop_back_if(|waiting| waiting.until > log_end) {
            waiting.abandon(self.id, time, applied, &self.history, "its record was replaced by another leader's");
        }
        self.abandon_held("its record was replaced by another leader's");
        self.engine.truncate_to(log_end)?;
        self.drafts.clear();
        self.dedupe.truncate_to(log_end);
        self.slots.truncate_to(log_end).map_err(|contradiction| Failed::mistaken(&contradiction))?;
        self.moving.log_changed();
        self.tracked.truncate_to(log_end);
        while let Some((_, bytes)) = self.uncommitted.pop_back_if(|(end, _)| *end > log_end) {
            self.uncommitted_bytes -= bytes;
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, high_watermark: Lsn) -> Result<(), Failed> {
        self.publish_history();
        let Self { engine, tracked, reaping, .. } = self;
        reaping.more = engine.apply_to(high_watermark, &mut |change| tracked.see(&change));
        self.tracked.applied(self.engine.applied());
        self.drafts.applied(self.engine.applied());
        self.dedupe.apply_to(high_watermark, self.engine.applied_time());
        if self.slots.apply_to(high_watermark).map_err(|contradiction| Failed::mistaken(&contradiction))? {
            self.moving.log_changed();
        }
        while let Some((_, bytes)) = self.uncommitted.pop_front_if(|(end, _)| *end <= high_watermark) {
            self.uncommitted_bytes -= bytes;
        }
        Ok(())
    }

    fn send_log(&mut self, mut envelope: Envelope, from: Lsn, upto: Lsn, max_bytes: usize) -> Result<(), Failed> {
        let Message::Append(append) = &mut envelope.message else { unreachable!("only an append carries a log range") };
        append.batches = self.engine.read_log(from, max_bytes)?;
        append.batches.truncate(append.batches.partition_point(|batch| batch.end() <= upto));
        let end = append.batches.last().map_or(from, Batch::end);
        if end < upto {
            self.followups.push_back(Followup::SentLess { to: envelope.to, end });
        }
        self.outputs.push_back(Output::Send(envelope));
        Ok(())
    }
}

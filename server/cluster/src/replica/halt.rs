//! A replica that has stopped acting, and what it still listens to.

use simplekv_types::peer::{Envelope, Sender};

use super::{Replica, RoleState, speaks_as_leader};
use crate::effect::{Effect, TransferOutcome};
use crate::event::Event;
use crate::failover::learn;

/// Why a replica does nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HaltCause {
    /// Its storage failed.
    Storage,
    /// The group's history contradicts what is applied here.
    Conflict,
    /// The metadata store was restored from an older state than this replica has seen. The beginning of another lineage ends that:
    /// somebody has decided then what is to count.
    MetadataRegressed,
    /// The group goes on with another history. What is here is kept until the leader of that speaks: should whoever was chosen for it
    /// be lost before, this may be chosen instead.
    LineageEnded,
    /// That leader has spoken: what is here is being put away.
    GivenUp,
}

impl Replica {
    pub(super) fn halt(&mut self, cause: HaltCause) {
        if !matches!(self.role, RoleState::Halted) {
            self.halted = Some(cause);
            self.core.withdraw_leases();
            self.role = RoleState::Halted;
            self.tell_role();
            if std::mem::take(&mut self.transfer_untold) {
                self.core.push(Effect::TransferEnded(TransferOutcome::NotLeader));
            }
        }
    }

    pub(super) fn step_halted(&mut self, event: Event) {
        match event {
            Event::NodesSeen(facts) => learn(&mut self.core.nodes, facts),
            // It may act again, and would wait for this flush for ever.
            Event::Flushed { log_end, truncations } => self.core.log.flushed(self.now, log_end, truncations),
            Event::RecordSeen { record, revision } => drop(self.note_record(&record, revision)),
            Event::Received(envelope) if self.is_told_to_give_up(&envelope) => {
                self.halted = Some(HaltCause::GivenUp);
                self.core.push(Effect::Rebuild { lineage: envelope.lineage });
            }
            Event::Transfer { .. } => self.core.push(Effect::TransferEnded(TransferOutcome::NotLeader)),
            Event::Stop => self.core.push(Effect::ReadyToStop),
            _ => (),
        }
    }

    /// Whether this event is the beginning of another lineage, which a replica that halted for the metadata store's sake, or because
    /// the history before that one was none of its own, takes part in like any other.
    pub(super) fn is_another_beginning(&self, event: &Event) -> bool {
        let may_act = matches!(self.halted, Some(HaltCause::MetadataRegressed | HaltCause::LineageEnded));
        let known = self.core.lineage.max(self.ended_by);
        may_act && matches!(event, Event::RecordSeen { record, .. } if record.lineage > known)
    }

    /// Whether the leader of the history that has replaced this replica's speaks to it. Nothing is said in an epoch before it is on
    /// disk, and its lineage with it: that history has begun, and whoever comes after this leader has it from there. Before that the
    /// chosen one may be lost with nothing done, and what is here may be the best that is left.
    pub(super) fn is_told_to_give_up(&self, envelope: &Envelope) -> bool {
        let Some((record, _)) = &self.core.record else { return false };
        self.halted == Some(HaltCause::LineageEnded)
            && self.is_for_us(envelope)
            && speaks_as_leader(&envelope.message)
            && record.leader.map(Sender::from) == Some(envelope.from)
            && envelope.lineage >= record.lineage.max(self.ended_by)
    }
}

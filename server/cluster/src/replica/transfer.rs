//! Handing leadership over on request.

use simplekv_types::{Member, NodeId, Tick};

use super::core::Core;
use super::leader::Leader;
use crate::effect::{Effect, TransferOutcome};
use crate::failover::{self, elect};

/// A planned transfer: no writes are admitted until it ends, so that the successor can be given everything first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub(crate) to: Member,
    pub(crate) deadline: Tick,
    /// Whether somebody waits to be told how it ends.
    pub(crate) told: bool,
}

impl Leader {
    /// An operator wants another leader. Ends at once if there is nobody to take over.
    pub(crate) fn on_transfer(&mut self, core: &mut Core, now: Tick, to: Option<NodeId>, told: bool) {
        let successor = self.successor(core, now, to);
        let Some(to) = successor.filter(|_| self.transfer.is_none()) else {
            if told {
                core.push(Effect::TransferEnded(TransferOutcome::NotEligible));
            }
            return;
        };
        self.transfer = Some(Transfer { to, deadline: now + core.config.timing.transfer_limit, told });
        // Whatever was only being prepared can wait for the next leader.
        self.in_sync.abandon(now);
    }

    /// The process will end: leadership goes to whoever can take it. Returns whether there is nothing to wait for.
    pub(crate) fn hand_over(&mut self, core: &mut Core, now: Tick) -> bool {
        if !self.handed_over && self.transfer.is_none() {
            self.handed_over = true;
            self.on_transfer(core, now, None, false);
        }
        self.handed_over && self.transfer.is_none()
    }

    /// The in-sync replica that can lead: the one named, or the one that holds most.
    fn successor(&self, core: &Core, now: Tick, to: Option<NodeId>) -> Option<Member> {
        let me = core.me();
        let eligible = |member: &&Member| {
            let facts = core.nodes.get(&member.node);
            **member != me
                && to.is_none_or(|node| member.node == node)
                && self.is_heard(core, now, **member)
                && self.progress_of(**member).is_some_and(|progress| !progress.leaving && !progress.distrusted)
                && facts.is_some_and(|facts| {
                    facts.is_intact(**member) && self.progress_of(**member).and_then(|p| p.run()) == Some(facts.run)
                })
        };
        let candidates = self.in_sync.record.in_sync.iter().filter(eligible);
        candidates.copied().max_by_key(|member| (self.matched(core, *member), std::cmp::Reverse(member.node)))
    }

    /// Elects the successor once it holds everything, gives up if that takes too long.
    pub(crate) fn review_transfer(&mut self, core: &mut Core, now: Tick) {
        let Some(transfer) = self.transfer else { return };
        if self.in_sync.is_in_doubt() {
            return;
        }
        let caught_up = self.is_activated()
            && core.high_watermark == core.log.end
            && self.matched(core, transfer.to) == core.log.end;
        if caught_up && self.in_sync.is_free(now) {
            let (record, revision) = (&self.in_sync.record, self.in_sync.revision);
            if let Some(change) = elect(record, revision, &core.nodes, transfer.to.node, |_| false)
                && failover::standing(&core.nodes, transfer.to) == failover::Standing::Intact
            {
                self.in_sync.begin(None, None);
                self.in_sync.propose(core, change.record, change.registrations);
                return;
            }
        }
        if now >= transfer.deadline {
            self.give_up_transfer(core);
        }
    }

    /// The transfer did not come about; this replica goes on leading.
    pub(crate) fn give_up_transfer(&mut self, core: &mut Core) {
        if self.transfer.take().is_some_and(|transfer| transfer.told) {
            core.push(Effect::TransferEnded(TransferOutcome::GivenUp));
        }
    }
}

//! What a leader knows about one other replica.

use std::collections::VecDeque;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{AppendAck, Reject, Sender};
use simplekv_types::{Lsn, Member, NodeId, RunId, StorageId, Tick};

use super::log::Log;
use crate::config::Window;

/// How records flow to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// The logs agree, or are believed to: records are sent as they come, without waiting for answers.
    Streaming {
        /// Refusals of what was sent before were dealt with already.
        since: Tick,
    },
    /// Looking for the place up to which the logs agree, by empty appends, one at a time.
    Probing {
        /// When the last was sent, and the end it asked about.
        asked: Option<(Tick, Lsn)>,
    },
}

/// One replica as its leader sees it, in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) node: NodeId,
    /// Who answers there; `None` before the first answer.
    identity: Option<(StorageId, RunId)>,
    pub(crate) flow: Flow,
    /// First LSN not sent yet; while probing, the end to ask about.
    pub(crate) next: Lsn,
    /// First LSN this run of this incarnation has not acknowledged in this epoch. Never falls within a run.
    pub(crate) matched: Lsn,
    /// What an earlier run of the same incarnation acknowledged in this epoch: it must still be there.
    acked_before: Lsn,
    /// Ends of the appends with records that are not acknowledged.
    in_flight: VecDeque<Lsn>,
    /// When anything was last sent.
    pub(crate) sent_at: Option<Tick>,
    /// Sending records is pointless before this: the driver could not.
    blocked_until: Tick,
    /// The high watermark last sent.
    pub(crate) told: Lsn,
    /// When the last acknowledgement was received.
    pub(crate) heard_at: Option<Tick>,
    /// The greatest of our send times that was answered.
    pub(crate) echo: Tick,
    /// This incarnation supports our lease until then: one lease from when we sent what it answered. It keeps that over a restart.
    pub(crate) lead_until: Tick,
    /// It, or an earlier incarnation of the node, may hold a read lease of ours until then.
    pub(crate) holder_until: Tick,
    /// Its newest request for a read lease, in its own time.
    pub(crate) lease_request: Option<Tick>,
    /// The request last granted.
    pub(crate) granted: Option<Tick>,
    /// It has less than it had acknowledged: its storage is not to be relied on.
    pub(crate) distrusted: bool,
    /// It has said that it will stop.
    pub(crate) leaving: bool,
}

/// What an acknowledgement revealed, besides progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing.
    Ordinary,
    /// The replica has lost what it had acknowledged.
    Lied {
        /// How much that was.
        acknowledged: Lsn,
    },
}

impl Progress {
    pub(crate) fn new(node: NodeId, next: Lsn) -> Self {
        Self {
            node,
            identity: None,
            flow: Flow::Streaming { since: Tick::ZERO },
            next,
            matched: Lsn::ZERO,
            acked_before: Lsn::ZERO,
            in_flight: VecDeque::new(),
            sent_at: None,
            blocked_until: Tick::ZERO,
            told: Lsn::ZERO,
            heard_at: None,
            echo: Tick::ZERO,
            lead_until: Tick::ZERO,
            holder_until: Tick::ZERO,
            lease_request: None,
            granted: None,
            distrusted: false,
            leaving: false,
        }
    }

    /// Whether it is this incarnation that answers there.
    pub(crate) fn is(&self, member: Member) -> bool {
        let same = |storage| storage == member.storage || is_broken(Rule::C36);
        self.node == member.node && self.identity.is_some_and(|(storage, _)| same(storage))
    }

    pub(crate) fn storage(&self) -> Option<StorageId> {
        self.identity.map(|(storage, _)| storage)
    }

    pub(crate) fn run(&self) -> Option<RunId> {
        self.identity.map(|(_, run)| run)
    }

    /// Takes note of who speaks. Returns whether to listen: an older run is gone.
    pub(crate) fn identify(&mut self, sender: Sender) -> bool {
        let Some((storage, run)) = self.identity.replace((sender.storage, sender.run)) else { return true };
        if sender.run < run {
            self.identity = Some((storage, run));
            return false;
        }
        if sender.run == run {
            return true;
        }
        // A new process knows nothing of what the old one verified, asked for or was granted. What the old one *acknowledged* must
        // still be there if the storage is the same, and so is its promise to no other leader.
        let same = storage == sender.storage;
        let acked_before = if same { self.acked_before.max(self.matched) } else { Lsn::ZERO };
        let next = if acked_before > Lsn::ZERO { acked_before } else { self.next };
        *self = Self {
            identity: self.identity,
            flow: Flow::Probing { asked: None },
            acked_before,
            sent_at: self.sent_at,
            told: self.told,
            lead_until: if same { self.lead_until } else { Tick::ZERO },
            // A process that restarted holds no lease. One that runs beside the other, on another disk, may not have ended at all.
            holder_until: if same { Tick::ZERO } else { self.holder_until },
            distrusted: same && self.distrusted,
            ..Self::new(self.node, next)
        };
        true
    }

    /// An acknowledgement of this epoch from the current run has arrived.
    pub(crate) fn on_ack(&mut self, now: Tick, log: &Log, ack: &AppendAck) -> Finding {
        self.heard_at = Some(now);
        self.echo = self.echo.max(ack.echo);
        self.lease_request = self.lease_request.max(Some(ack.sent_at));
        if self.distrusted {
            return Finding::Ordinary;
        }
        self.matched = self.matched.max(ack.verified_end);
        while self.in_flight.front().is_some_and(|end| *end <= self.matched) {
            self.in_flight.pop_front();
        }
        match ack.reject {
            None => self.on_accepted(now, ack.echo),
            Some(reject) => return self.on_rejected(log, ack.echo, reject),
        }
        Finding::Ordinary
    }

    fn on_accepted(&mut self, now: Tick, echo: Tick) {
        if let Flow::Probing { asked: Some((at, end)) } = self.flow
            && echo >= at
        {
            self.flow = Flow::Streaming { since: now };
            self.next = end.max(self.matched);
            self.in_flight.clear();
        }
        self.next = self.next.max(self.matched);
    }

    fn on_rejected(&mut self, log: &Log, echo: Tick, reject: Reject) -> Finding {
        if reject.refused <= self.acked_before && self.acked_before > Lsn::ZERO {
            // It refuses the very prefix it had acknowledged.
            self.distrusted = true;
            self.matched = Lsn::ZERO;
            return Finding::Lied { acknowledged: self.acked_before };
        }
        let current = match self.flow {
            Flow::Streaming { since } => echo >= since,
            Flow::Probing { asked } => asked.is_some_and(|(at, end)| echo >= at && reject.refused == end),
        };
        if current {
            self.flow = Flow::Probing { asked: None };
            self.next = agreement_before(log, reject).max(self.matched);
            self.in_flight.clear();
        }
        Finding::Ordinary
    }

    /// Whether records may be sent now.
    pub(crate) fn has_room(&self, now: Tick, window: &Window) -> bool {
        let outstanding = Lsn(self.next.0.max(self.matched.0)) - self.matched;
        now >= self.blocked_until
            && (self.in_flight.is_empty() || (self.in_flight.len() < window.appends && outstanding < window.records))
    }

    /// Records up to `upto` were sent.
    pub(crate) fn sent(&mut self, upto: Lsn) {
        self.in_flight.push_back(upto);
        self.next = upto;
    }

    /// Fewer records than that were sent.
    pub(crate) fn sent_less(&mut self, end: Lsn, retry_at: Tick) {
        if self.in_flight.pop_back().is_none() || end >= self.next {
            return;
        }
        let began = self.in_flight.back().copied().unwrap_or(self.matched);
        self.next = end;
        if end > began {
            self.in_flight.push_back(end);
        } else {
            self.blocked_until = retry_at;
        }
    }

    /// Nobody answers: stop sending records into the void.
    pub(crate) fn fall_silent(&mut self) {
        if matches!(self.flow, Flow::Streaming { .. }) {
            self.flow = Flow::Probing { asked: None };
            self.next = if self.matched > Lsn::ZERO { self.matched } else { self.next };
            self.in_flight.clear();
        }
    }
}

/// Where to ask next: the last place before the refused one that can agree, given where the other log parts from ours.
fn agreement_before(log: &Log, reject: Reject) -> Lsn {
    let hint = reject.hint.min(reject.refused.prev().unwrap_or(Lsn::ZERO)).min(log.end);
    match log.epochs.end_of(reject.hint_epoch) {
        // Everything the other log holds of this epoch and before may agree, what we hold of later ones cannot.
        Some(end) if end < hint => end,
        _ => hint,
    }
}

#[cfg(test)]
mod tests;

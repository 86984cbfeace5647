//! What a leader sends to each replica, and when.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Append, Grant, Message};
use simplekv_types::{Lsn, Member, Tick};

use super::core::{Core, before};
use super::leader::Leader;
use super::progress::{Flow, Progress};
use crate::effect::Effect;
use crate::lease;

/// What is the same for all appends of one step.
struct Sending {
    lease_until: Tick,
    /// Followers that hold records below this may not have a read lease.
    epoch_start_end: Lsn,
    /// A replica not heard since then is not sent records.
    heard_since: Tick,
}

impl Leader {
    /// Sends to each replica what it lacks, or a sign of life. At most one append per replica and step: whatever has become known in
    /// the step travels together.
    pub(crate) fn replicate(&mut self, core: &mut Core, now: Tick) {
        let is_silent = self.probe.was_stalled() && !is_broken(Rule::C73);
        let Some(epoch_start_end) = self.epoch_start_end().filter(|_| !is_silent) else { return };
        let sending = Sending {
            lease_until: self.lease_until(core),
            epoch_start_end,
            heard_since: before(now, core.config.timing.lag_time).max(Tick::ZERO),
        };
        let mut followers = std::mem::take(&mut self.followers);
        for progress in followers.values_mut() {
            let silent = progress.heard_at.unwrap_or(self.since) < sending.heard_since;
            if silent {
                progress.fall_silent();
            }
            self.send_to(core, now, progress, &sending);
        }
        self.followers = followers;
    }

    fn send_to(&self, core: &mut Core, now: Tick, progress: &mut Progress, sending: &Sending) {
        let due = progress.sent_at.is_none_or(|at| now >= at + core.config.timing.heartbeat);
        match progress.flow {
            Flow::Streaming { .. } if progress.next < core.log.start => {
                progress.flow = Flow::Probing { asked: None };
            }
            Flow::Streaming { .. } if progress.next < core.log.end => {
                if progress.has_room(now, &core.config.window) {
                    self.send_records(core, now, progress, sending);
                } else if due {
                    self.send_empty(core, now, progress, sending, progress.next);
                }
            }
            Flow::Streaming { .. } => {
                // A commit is told at once: a follower that waits with a read would otherwise wait for the next heartbeat.
                if due || progress.told < core.high_watermark {
                    self.send_empty(core, now, progress, sending, progress.next);
                }
            }
            Flow::Probing { asked } => {
                if asked.is_none() || due {
                    self.probe_agreement(core, now, progress, sending);
                }
            }
        }
    }

    fn probe_agreement(&self, core: &mut Core, now: Tick, progress: &mut Progress, sending: &Sending) {
        let mut end = progress.next;
        if end < core.log.start {
            let upto = core.high_watermark;
            core.send(progress.node, Message::SnapshotOffer { upto });
            // Once it has the snapshot, its refusal of this leads to where it ends.
            end = core.log.end;
        }
        progress.flow = Flow::Probing { asked: Some((now, end)) };
        self.send_empty(core, now, progress, sending, end);
    }

    fn send_records(&self, core: &mut Core, now: Tick, progress: &mut Progress, sending: &Sending) {
        let (from, upto) = (progress.next, core.log.end);
        let append = self.append(core, now, progress, sending, from);
        let envelope = core.envelope(progress.node, Message::Append(append));
        core.push(Effect::SendLog { envelope, from, upto, max_bytes: core.config.window.append_bytes });
        progress.sent(upto);
    }

    fn send_empty(&self, core: &mut Core, now: Tick, progress: &mut Progress, sending: &Sending, prev_end: Lsn) {
        let append = self.append(core, now, progress, sending, prev_end);
        core.send(progress.node, Message::Append(append));
    }

    fn append(&self, core: &Core, now: Tick, progress: &mut Progress, sending: &Sending, prev_end: Lsn) -> Append {
        progress.sent_at = Some(now);
        progress.told = core.high_watermark;
        Append {
            prev_end,
            prev_epoch: core.log.epochs.before(prev_end),
            batches: Vec::new(),
            high_watermark: core.high_watermark,
            time: core.clock.estimate(now),
            sent_at: now,
            grant: self.grant(core, now, progress, sending),
            fresh: progress.lease_request.filter(|_| now < sending.lease_until || is_broken(Rule::C59)),
        }
    }

    /// A read lease for a follower that asked: never longer than this leader's own, and only to one that every commit waits for and
    /// that has this epoch's start, hence everything committed before it.
    fn grant(&self, core: &Core, now: Tick, progress: &mut Progress, sending: &Sending) -> Option<Grant> {
        let requested_at =
            progress.lease_request.filter(|request| progress.granted.is_none_or(|last| last < *request))?;
        let member = Member { node: progress.node, storage: progress.storage()? };
        let entitled = core.config.grant_read_leases
            && now < sending.lease_until
            && (progress.matched >= sending.epoch_start_end || is_broken(Rule::C15))
            && !progress.leaving
            && self.in_sync.record.is_in_sync(member)
            && !self.in_sync.is_leaving(member);
        if !entitled {
            return None;
        }
        let timing = &core.config.timing;
        let duration = timing.read_lease.min(lease::outlasted_by(timing, sending.lease_until.since(now)));
        progress.holder_until = progress.holder_until.max(now + lease::outlasts(timing, duration));
        progress.granted = Some(requested_at);
        Some(Grant { requested_at, for_run: progress.run()?, duration })
    }
}

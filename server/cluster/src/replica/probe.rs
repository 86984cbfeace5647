//! Whether the append path answers.
//!
//! A leader whose disk hangs can still send heartbeats, and would keep its followers from replacing it for as long as it hangs. So
//! everything it sends depends on proofs that an append would get through.

use simplekv_types::Tick;
use simplekv_types::mutants::{Rule, is_broken};

use super::core::Core;
use crate::effect::{Alarm, Effect};

/// The probes of one leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AppendProbe {
    next_id: u64,
    /// The probe on its way, and since when.
    awaited: Option<(u64, Tick)>,
    next_at: Tick,
    stalled: bool,
}

impl AppendProbe {
    /// The probe has come through.
    pub(crate) fn completed(&mut self, id: u64) {
        self.awaited.take_if(|(awaited, _)| *awaited == id);
    }

    /// Sends a probe if one is due.
    pub(crate) fn review(&mut self, core: &mut Core, now: Tick) {
        if self.awaited.is_none() && now >= self.next_at {
            self.next_id += 1;
            self.awaited = Some((self.next_id, now));
            self.next_at = now + core.config.timing.probe_interval;
            core.push(Effect::Probe { id: self.next_id });
        }
        let stalled = self.is_stalled(core, now);
        if stalled && !self.stalled {
            core.alarm(Alarm::Stalled);
        }
        self.stalled = stalled;
    }

    /// Whether nothing has come through for too long.
    pub(crate) fn is_stalled(&self, core: &Core, now: Tick) -> bool {
        self.overdue_at(core).is_some_and(|overdue| now >= overdue) && !is_broken(Rule::C20)
    }

    /// As found at the last review.
    pub(crate) fn was_stalled(&self) -> bool {
        self.stalled
    }

    fn overdue_at(&self, core: &Core) -> Option<Tick> {
        let awaited = self.awaited.map(|(_, since)| since);
        let oldest = [awaited, core.log.flush_since()].into_iter().flatten().min();
        oldest.map(|since| since + core.config.timing.probe_limit)
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Tick> {
        let next = self.awaited.is_none().then_some(self.next_at);
        let overdue = self.overdue_at(core).filter(|_| !self.stalled);
        [next, overdue].into_iter().flatten().min()
    }
}

//! Which slots something is under way for.

use std::collections::HashMap;

use simplekv_client::Kind;
use simplekv_types::Slot;

/// Requests under way, by slot. A connection that waits for all its answers before it asks again never needs to know, so this is kept only
/// from when requests come while others are under way until none is.
#[derive(Debug, Default)]
pub(super) struct Busy {
    slots: HashMap<Slot, Load, foldhash::fast::RandomState>,
    is_kept: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    reads: usize,
    writes: usize,
}

impl Busy {
    /// Keeps count from here on, of what is under way already as well.
    pub(super) fn keep(&mut self, under_way: impl Iterator<Item = (Slot, Kind)>) {
        if !self.is_kept {
            self.is_kept = true;
            under_way.for_each(|(slot, kind)| self.begin(slot, kind));
        }
    }

    /// Forgets everything: nothing is under way.
    pub(super) fn forget(&mut self) {
        self.slots.clear();
        self.is_kept = false;
    }

    pub(super) fn begin(&mut self, slot: Slot, kind: Kind) {
        if self.is_kept {
            *self.slots.entry(slot).or_default().of(kind) += 1;
        }
    }

    pub(super) fn end(&mut self, slot: Slot, kind: Kind) {
        let Some(load) = self.slots.get_mut(&slot).filter(|_| self.is_kept) else { return };
        *load.of(kind) -= 1;
        if load.reads + load.writes == 0 {
            self.slots.remove(&slot);
        }
    }

    /// Whether a request must wait for what is under way.
    pub(super) fn holds_up(&self, slot: Slot, kind: Kind) -> bool {
        let Some(load) = self.slots.get(&slot) else { return false };
        load.writes > 0 || kind == Kind::Write && load.reads > 0
    }
}

impl Load {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_wait_for_writes_and_writes_for_everything() {
        let (one, other) = (Slot::MIN, Slot::MAX);
        let mut busy = Busy::default();
        busy.begin(one, Kind::Write);
        assert!(!busy.holds_up(one, Kind::Write), "nobody has asked to keep count");
        busy.keep([(one, Kind::Read)].into_iter());
        busy.begin(one, Kind::Read);
        assert!(busy.holds_up(one, Kind::Write) && !busy.holds_up(one, Kind::Read));
        busy.begin(other, Kind::Write);
        assert!(busy.holds_up(other, Kind::Read));
        busy.keep([(one, Kind::Write)].into_iter());
        assert!(!busy.holds_up(one, Kind::Read), "it is counted already");
        busy.end(one, Kind::Read);
        assert!(busy.holds_up(one, Kind::Write));
        busy.end(one, Kind::Read);
        assert!(!busy.holds_up(one, Kind::Write));
        busy.forget();
        assert!(!busy.holds_up(other, Kind::Read));
    }
}

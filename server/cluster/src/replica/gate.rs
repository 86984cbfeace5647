//! When a new leader may commit: not before every older leader has lost its leases.

use simplekv_types::{Member, Tick};

/// Closed at election, opened once.
///
/// An older leader answers reads only while *every* one of its in-sync replicas, this one among them, supports it. So this replica's
/// own last acknowledgement bounds every older lease, and waiting one lease from there is enough, however many leaders there were.
/// If all who may hold a lease say that they dropped it, nothing needs to be waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    opens_at: Tick,
    /// Who has not said yet that it dropped every older lease and role.
    awaited: Vec<Member>,
    opened_at: Option<Tick>,
}

impl Gate {
    /// A closed gate that time opens at `opens_at` and the answers of all of `fence` open earlier.
    pub(crate) fn new(opens_at: Tick, fence: Vec<Member>) -> Self {
        Self { opens_at, awaited: fence, opened_at: None }
    }

    /// The member has dropped every older lease and role.
    pub(crate) fn dropped(&mut self, member: Member) {
        self.awaited.retain(|awaited| *awaited != member);
    }

    /// Opens the gate if it is time. Returns whether it has just opened.
    pub(crate) fn review(&mut self, now: Tick) -> bool {
        let opens = self.opened_at.is_none() && (now >= self.opens_at || self.awaited.is_empty());
        if opens {
            self.opened_at = Some(now);
        }
        opens
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    /// When it opened.
    pub(crate) fn opened_at(&self) -> Option<Tick> {
        self.opened_at
    }

    /// Whom to ask; nobody once it is open.
    pub(crate) fn awaited(&self) -> &[Member] {
        if self.is_open() { &[] } else { &self.awaited }
    }

    /// When time opens it, while it is closed.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        (!self.is_open()).then_some(self.opens_at)
    }
}

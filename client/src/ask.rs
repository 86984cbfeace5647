//! One of several requests that are made together.

use bytes::Bytes;
use simplekv_proto::Words;
use simplekv_types::Slot;

use crate::Kind;

/// A command for one slot, to be handed to [`Client::execute_together`](crate::Client::execute_together) with others.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(crate) slot: Slot,
    pub(crate) words: Words,
    pub(crate) kind: Kind,
    pub(crate) share: bool,
    pub(crate) track: bool,
}

impl Ask {
    /// `words` are the command and its arguments as Redis spells them; all its keys lie in the slot.
    pub fn new(slot: Slot, words: impl IntoIterator<Item = Bytes>, kind: Kind) -> Self {
        Self { slot, words: words.into_iter().collect(), kind, share: true, track: false }
    }

    /// Whether a read may share the answer of an identical one: as [`Options::share`](crate::Options::share), which counts as well.
    #[must_use]
    pub fn share(mut self, share: bool) -> Self {
        self.share = share;
        self
    }

    /// Whether changes of what is read are to be told: as [`Options::track`](crate::Options::track), which counts as well.
    #[must_use]
    pub fn track(mut self, track: bool) -> Self {
        self.track = track;
        self
    }
}

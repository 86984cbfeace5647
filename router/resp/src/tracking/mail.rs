//! What one connection is still to be told.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::session::Stale;

/// Bytes of keys that wait to be told, beyond which everything is told instead.
const UNTAKEN_BYTES_MAX: usize = 1 << 20;
/// Counted for each key besides its own bytes.
const KEY_BYTES: usize = 64;

/// Bounded: who does not take what is told is told, in one word, to forget everything. That is shorter, and true; ending the connection
/// would cost it its answers as well. One that takes nothing at all is ended by whoever writes to it.
#[derive(Debug, Default)]
pub(super) struct Mail {
    own: Keys,
    of_others: Keys,
    lost: BTreeSet<u64>,
}

#[derive(Debug)]
struct Keys {
    stale: Stale,
    bytes: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { stale: Stale::NOTHING, bytes: 0 }
    }
}

impl Keys {
    /// `None`: all keys.
    fn add(&mut self, key: Option<&[u8]>) {
        let Stale::Keys(keys) = &mut self.stale else { return };
        let Some(key) = key.filter(|key| self.bytes + KEY_BYTES + key.len() <= UNTAKEN_BYTES_MAX) else {
            self.stale = Stale::Everything;
            return;
        };
        if !keys.contains(key) {
            self.bytes += KEY_BYTES + key.len();
            keys.insert(Bytes::copy_from_slice(key));
        }
    }
}

/// What has become of a connection's copies.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Of what it tracks itself.
    pub own: Stale,
    /// Of what others track that have it told here.
    pub of_others: Stale,
    /// Connections that are gone, to which it has redirected what it tracks.
    pub lost: BTreeSet<u64>,
}

impl Mail {
    /// A key that the connection tracks has changed; `None`: forget all.
    pub(super) fn put(&mut self, key: Option<&[u8]>) {
        self.own.add(key);
    }

    /// The same, of what another tracks.
    pub(super) fn put_for_other(&mut self, key: Option<&[u8]>) {
        self.of_others.add(key);
    }

    /// The connection that was to be told is gone.
    pub(super) fn put_lost(&mut self, to: u64) {
        self.lost.insert(to);
    }

    pub(super) fn take(&mut self) -> Option<Told> {
        let Self { own, of_others, lost } = std::mem::take(self);
        let (own, of_others) = (own.stale, of_others.stale);
        (!own.is_nothing() || !of_others.is_nothing() || !lost.is_empty()).then_some(Told { own, of_others, lost })
    }
}

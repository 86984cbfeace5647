//! Copies of values kept in this process.
//!
//! A copy is made of what a tracked read answered, and is thrown away when a node tells that its key has changed, when a node cannot be
//! heard, when this client writes, and when its time is up. The one thing that must not happen is that a copy comes *after* the news
//! that it is stale: so whoever reads takes down the state of the key's stripe before it begins, and its copy is kept only if nothing
//! has happened in that stripe since, looked at under the lock under which things happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_proto::Words;
use simplekv_types::{Position, Reply, Slot};

use crate::stats::Stats;
use crate::tracking::Stale;
use crate::{Ask, Kind};

/// Longer keys are not copied: of a write, every argument up to this length may be a key.
const KEY_BYTES_MAX: usize = 1 << 10;
/// Counted for each copy besides the key and the value.
const COPY_BYTES: usize = 128;
/// Stripes; what happens to one key lets no read of another key of the stripe be copied that is under way.
const STRIPES: usize = 1024;

/// What a near-cache may take up, see [`ClientBuilder::near_cache`](crate::ClientBuilder::near_cache).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearCache {
    /// Bytes of keys and values, with what it takes to keep them. Default 64 MiB.
    pub bytes: u64,
    /// After so long a copy is not used any more, whatever was heard. Default 30 s.
    pub ttl: Duration,
}

impl Default for NearCache {
    fn default() -> Self {
        Self { bytes: 64 << 20, ttl: Duration::from_secs(30) }
    }
}

impl NearCache {
    /// Sets [`NearCache::bytes`].
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`NearCache::ttl`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

/// The copies of one client.
pub(crate) struct Copies {
    cache: moka::sync::Cache<Bytes, Copy>,
    /// How much has happened to keys of each stripe.
    stripes: Box<[Mutex<u64>]>,
    /// How often everything became stale. A copy of an earlier generation is not used, wherever it comes from.
    generation: AtomicU64,
    stats: Arc<Stats>,
}

#[derive(Clone, Debug)]
struct Copy {
    reply: Reply,
    seen: Option<Position>,
    generation: u64,
}

/// The state of things when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    happened: u64,
    generation: u64,
}

impl Copies {
    pub(crate) fn new(settings: NearCache, stats: Arc<Stats>) -> Self {
        let weigh = |key: &Bytes, copy: &Copy| {
            let bytes = COPY_BYTES + key.len() + copy.reply.memory_bytes();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache =
            moka::sync::Cache::builder().max_capacity(settings.bytes).weigher(weigh).time_to_live(settings.ttl).build();
        let stripes = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        Self { cache, stripes, generation: AtomicU64::new(0), stats }
    }

    /// A copy of what the key holds. `floor`: what the reader has seen of the group that it takes for the key's owner.
    pub(crate) fn get(&self, key: &Bytes, floor: Option<Position>) -> Option<(Reply, Option<Position>)> {
        let copy = self.cache.get(key).filter(|copy| copy.generation == self.generation.load(Ordering::SeqCst));
        let Some(copy) = copy else {
            self.stats.near_misses.increment();
            return None;
        };
        if floor.is_some_and(|floor| !covers(copy.seen, floor)) {
            self.stats.near_bypasses.increment();
            return None;
        }
        self.stats.near_hits.increment();
        Some((copy.reply, copy.seen))
    }

    /// Before the key is asked for.
    pub(crate) fn begin(&self, key: &[u8]) -> Beginning {
        let happened = *self.stripe(key).lock();
        Beginning { happened, generation: self.generation.load(Ordering::SeqCst) }
    }

    /// What was read since then, unless something has happened.
    pub(crate) fn put(&self, key: &Bytes, beginning: Beginning, reply: &Reply, seen: Option<Position>) {
        if key.len() > KEY_BYTES_MAX || !matches!(reply, Reply::Bulk(_) | Reply::Null) {
            return;
        }
        let happened = self.stripe(key).lock();
        let Beginning { generation, .. } = beginning;
        if *happened == beginning.happened && generation == self.generation.load(Ordering::SeqCst) {
            // In memory of its own: as they come, key and value keep everything alive that was received with them.
            let key = Bytes::copy_from_slice(key);
            let reply = match reply {
                Reply::Bulk(value) => Reply::Bulk(Bytes::copy_from_slice(value)),
                reply => reply.clone(),
            };
            self.cache.insert(key, Copy { reply, seen, generation });
        } else {
            self.stats.near_bypasses.increment();
        }
    }

    pub(crate) fn hear(&self, stale: Stale<'_>) {
        match stale {
            Stale::Keys(keys) => keys.iter().for_each(|key| self.changed(key)),
            // The command's name is no key, or an unlucky one.
            Stale::Read(words) => words.iter().for_each(|word| self.changed(word)),
            Stale::Everything => self.everything(),
        }
    }

    /// Everything that may be a key among the words of a write, or everything for one that names none, is stale from now on, and again
    /// when what is returned is dropped: what was read in between may be either.
    pub(crate) fn write<'a>(&'a self, words: &'a [Bytes]) -> Writing<'a> {
        let writing = Writing { copies: self, words };
        writing.is_stale();
        writing
    }

    /// The same of requests that are made together.
    pub(crate) fn write_all(self: &Arc<Self>, asks: &[Ask]) -> Writings {
        let writes = asks.iter().filter(|ask| ask.kind == Kind::Write);
        let words: Vec<Words> = writes.map(|ask| ask.words.clone()).collect();
        words.iter().for_each(|words| drop(self.write(words)));
        Writings { copies: Arc::clone(self), words }
    }

    fn changed(&self, key: &Bytes) {
        if key.len() <= KEY_BYTES_MAX {
            let mut happened = self.stripe(key).lock();
            *happened += 1;
            if self.cache.remove(key).is_some() {
                self.stats.near_invalidations.increment();
            }
        }
    }

    fn everything(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_all();
        self.stats.near_invalidations.increment();
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<u64> {
        let stripe = Slot::of_key(key).index() % STRIPES;
        self.stripes.get(stripe).expect("there is one for each remainder")
    }
}

/// A write under way.
pub(crate) struct Writing<'a> {
    copies: &'a Copies,
    words: &'a [Bytes],
}

impl Writing<'_> {
    fn is_stale(&self) {
        let name = self.words.first().and_then(|name| name.get(..5));
        if name.is_some_and(|name| name.eq_ignore_ascii_case(b"FLUSH")) {
            return self.copies.everything();
        }
        self.words.iter().for_each(|word| self.copies.changed(word));
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.is_stale();
    }
}

/// Requests that are made together: copies of what they write are no good before they have begun, nor when they have ended.
pub(crate) struct Writings {
    copies: Arc<Copies>,
    words: Vec<Words>,
}

impl Drop for Writings {
    fn drop(&mut self) {
        self.words.iter().for_each(|words| drop(self.copies.write(words)));
    }
}

/// Whether a copy read there shows all that was seen. Of two places in one history the later one does; of two leaderships at one place
/// nobody knows.
fn covers(seen: Option<Position>, floor: Position) -> bool {
    let later = |seen: Position| seen.end > floor.end || seen.end == floor.end && seen.epoch == floor.epoch;
    floor.end == simplekv_types::Lsn::ZERO
        || seen.is_some_and(|seen| {
            seen.group == floor.group && seen.lineage == floor.lineage && seen.epoch >= floor.epoch && later(seen)
        })
}

#[cfg(test)]
mod tests;

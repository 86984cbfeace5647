//! Who keeps copies of what it has read, and is to be told when that changes: the table behind CLIENT TRACKING.
//!
//! Readers take down the keys *before* they read them, and whoever learns of a change looks here. What was taken down is crossed out by
//! the first change: whoever reads again takes it down again. Being told too much does no harm, so everything that is doubtful is told:
//! a key that is given up for want of room, and *everything* when too much waits to be told.
//!
//! A reader must not be told of a change before it has been given the answer to a read that it began before: it would throw away a
//! copy it does not have yet, and keep the one that comes. That is up to those who take what is told.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::Command;
use crate::session::TrackingTerms;

mod mail;

use mail::Mail;
pub use mail::Told;

/// Most keys that are taken down, each counted once for everybody who reads it.
const READERS_MAX: usize = 1_000_000;
/// Most bytes of the keys that are taken down.
const KEY_BYTES_MAX: usize = 64 << 20;

/// How one who waits to be told something learns that there is something.
pub trait Wake {
    /// There is something to take. Must not wait.
    fn wake(&self);
}

/// Connections, and what they track.
#[derive(Debug)]
pub struct Table<W> {
    members: HashMap<u64, Member<W>>,
    keys: HashMap<Bytes, Readers>,
    /// The keys in the order in which they were taken down, with the number of that: one that stands in `keys` under another number
    /// was crossed out meanwhile.
    oldest: VecDeque<(u64, Bytes)>,
    /// Given to the next key.
    number: u64,
    readers: usize,
    key_bytes: usize,
    /// Who is told of all changes of keys that begin so.
    prefixes: HashMap<Bytes, Vec<u64>>,
    /// How many prefixes of each length there are.
    lengths: BTreeMap<usize, usize>,
    bounds: Bounds,
    /// Members with terms.
    trackers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    readers: usize,
    key_bytes: usize,
}

#[derive(Debug)]
struct Readers {
    number: u64,
    by: SmallVec<[u64; 2]>,
}

/// Somebody who may be told something, for itself or for others.
#[derive(Debug)]
struct Member<W> {
    mail: Mail,
    wake: W,
    terms: Option<TrackingTerms>,
}

impl<W: Wake> Default for Table<W> {
    fn default() -> Self {
        Self::with(Bounds { readers: READERS_MAX, key_bytes: KEY_BYTES_MAX })
    }
}

impl<W: Wake> Table<W> {
    fn with(bounds: Bounds) -> Self {
        Self {
            members: HashMap::new(),
            keys: HashMap::new(),
            oldest: VecDeque::new(),
            number: 0,
            readers: 0,
            key_bytes: 0,
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
            bounds,
            trackers: 0,
        }
    }

    /// A connection that tracks nothing yet. No number is given twice.
    pub fn join(&mut self, id: u64, wake: W) {
        self.members.insert(id, Member { mail: Mail::default(), wake, terms: None });
    }

    /// The connection is gone.
    pub fn leave(&mut self, id: u64) {
        self.set_terms(id, None);
        self.members.remove(&id);
    }

    /// Whether there is a connection of this number.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether anybody who has read this key is to be told when it changes.
    #[must_use]
    pub fn is_read(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    /// How many track anything.
    #[must_use]
    pub fn trackers(&self) -> usize {
        self.trackers
    }

    /// The prefixes of all who track some.
    pub fn prefixes(&self) -> impl Iterator<Item = &Bytes> {
        self.prefixes.keys()
    }

    /// What a connection is to be told.
    pub fn take(&mut self, id: u64) -> Option<Told> {
        self.members.get_mut(&id)?.mail.take()
    }

    /// Takes down what a command is going to read. False if nobody of this number tracks: it will be told nothing.
    pub fn read(&mut self, id: u64, command: &Command) -> bool {
        if self.members.get(&id).is_none_or(|member| member.terms.is_none()) {
            return false;
        }
        for_keys_read(command, &mut |key| self.take_down(id, key));
        self.make_room();
        true
    }

    /// What a command has read may be told to nobody when it changes: those who have read it are told now.
    pub fn give_up(&mut self, command: &Command) {
        for_keys_read(command, &mut |key| self.tell_readers(key, None));
    }

    /// A key has changed; `by`: the connection that changed it, if that is known.
    pub fn changed(&mut self, key: &[u8], by: Option<u64>) {
        self.tell_readers(key, by);
        let lengths: SmallVec<[usize; 8]> = self.lengths.range(..=key.len()).map(|(length, _)| *length).collect();
        for length in lengths {
            let Some(prefix) = key.get(..length) else { continue };
            let Some(ids) = self.prefixes.get(prefix) else { continue };
            for id in SmallVec::<[u64; 8]>::from_slice(ids) {
                self.tell(id, Some(key), by);
            }
        }
    }

    /// Nothing that was read may be kept.
    pub fn everything(&mut self) {
        self.forget_keys();
        let trackers: Vec<u64> =
            self.members.iter().filter(|(_, member)| member.terms.is_some()).map(|(id, _)| *id).collect();
        trackers.into_iter().for_each(|id| self.tell(id, None, None));
    }

    /// A connection tracks on these terms from now on, or not any more.
    pub fn set_terms(&mut self, id: u64, terms: Option<TrackingTerms>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let before = std::mem::replace(&mut member.terms, terms.clone());
        self.trackers += usize::from(terms.is_some());
        self.trackers -= usize::from(before.is_some());
        let prefixes = |terms: Option<TrackingTerms>| terms.and_then(|terms| terms.prefixes).unwrap_or_default();
        let (before, now) = (prefixes(before), prefixes(terms));
        before.difference(&now).for_each(|prefix| self.leave_prefix(id, prefix));
        for prefix in now.difference(&before) {
            let ids = self.prefixes.entry(prefix.clone()).or_default();
            if ids.is_empty() {
                *self.lengths.entry(prefix.len()).or_insert(0) += 1;
            }
            ids.push(id);
        }
        if self.trackers == 0 {
            self.forget_keys();
        }
    }

    fn take_down(&mut self, id: u64, key: &Bytes) {
        if let Some(readers) = self.keys.get_mut(key) {
            if !readers.by.contains(&id) {
                readers.by.push(id);
                self.readers += 1;
            }
            return;
        }
        // In memory of its own: as it comes it keeps everything alive that was read with it.
        let (key, number) = (Bytes::copy_from_slice(key), self.number);
        self.number += 1;
        self.readers += 1;
        self.key_bytes += key.len();
        self.oldest.push_back((number, key.clone()));
        self.keys.insert(key, Readers { number, by: SmallVec::from_slice(&[id]) });
    }

    /// Gives up the oldest keys while there are too many, and says so.
    fn make_room(&mut self) {
        while self.readers > self.bounds.readers || self.key_bytes > self.bounds.key_bytes {
            let Some((number, key)) = self.oldest.pop_front() else { return };
            if self.keys.get(&key).is_some_and(|readers| readers.number == number) {
                self.tell_readers(&key, None);
            }
        }
        if self.oldest.len() > 64 + 2 * self.keys.len() {
            let Self { oldest, keys, .. } = self;
            oldest.retain(|(number, key)| keys.get(key).is_some_and(|readers| readers.number == *number));
        }
    }

    fn tell_readers(&mut self, key: &[u8], by: Option<u64>) {
        if let Some((key, readers)) = self.keys.remove_entry(key) {
            self.readers -= readers.by.len();
            self.key_bytes -= key.len();
            readers.by.into_iter().for_each(|id| self.tell(id, Some(&key), by));
        }
    }

    /// `None` for the key: everything.
    fn tell(&mut self, id: u64, key: Option<&[u8]>, by: Option<u64>) {
        let Some(Member { terms: Some(terms), .. }) = self.members.get(&id) else { return };
        if terms.no_loop && by == Some(id) {
            return;
        }
        let redirect = terms.redirect;
        let to = redirect.unwrap_or(id);
        if let Some(Member { mail, wake, .. }) = self.members.get_mut(&to) {
            match redirect {
                Some(_) => mail.put_for_other(key),
                None => mail.put(key),
            }
            wake.wake();
        } else if let Some(Member { mail, wake, .. }) = self.members.get_mut(&id) {
            mail.put_lost(to);
            wake.wake();
        }
    }

    fn forget_keys(&mut self) {
        self.keys = HashMap::new();
        self.oldest = VecDeque::new();
        (self.readers, self.key_bytes) = (0, 0);
    }

    fn leave_prefix(&mut self, id: u64, prefix: &Bytes) {
        let Some(ids) = self.prefixes.get_mut(prefix) else { return };
        ids.retain(|other| *other != id);
        if !ids.is_empty() {
            return;
        }
        self.prefixes.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

/// The keys of what a command only reads.
fn for_keys_read(command: &Command, take_down: &mut impl FnMut(&Bytes)) {
    let commands = match command {
        Command::Atomic(atomic) => atomic.commands.as_slice(),
        command => std::slice::from_ref(command),
    };
    commands.iter().filter(|command| !command.is_write()).flat_map(Command::keys).for_each(take_down);
}

#[cfg(test)]
mod tests;

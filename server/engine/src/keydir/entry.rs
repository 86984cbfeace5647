//! What the keydir knows of one key.

use simplekv_collections::Collection;
use simplekv_types::{GroupTime, Lsn};

use super::{Location, NewEntry};
use crate::record::ValueType;

/// A key with the place of its newest record and what is asked most often about it.
#[derive(Debug)]
pub(crate) struct Entry {
    key: Key,
    /// The newest record of the key as a whole: its put.
    pub(crate) lsn: Lsn,
    /// `GroupTime(u64::MAX)` is never.
    expires: GroupTime,
    pub(super) content: Content,
}

/// What a key holds.
#[derive(Debug)]
pub(super) enum Content {
    /// The string in this record.
    Value(Location),
    /// Elements with records of their own. Behind a pointer, so that strings pay nothing for them.
    Elements(Box<Elements>),
}

/// The elements of a key.
#[derive(Debug)]
pub(crate) struct Elements {
    /// The record of the key's put.
    location: Location,
    /// Invariant: everything in it is in the log.
    pub(crate) collection: Collection,
    /// The last record that changed the key or one of its elements.
    pub(crate) changed: Lsn,
}

// What a key of a string costs, elements or not.
const _: () = assert!(size_of::<Entry>() == 56, "the size of an entry is the size of the index");

const NEVER: GroupTime = GroupTime(u64::MAX);

/// Keys up to this length cost no allocation and no second cache miss.
const INLINE_BYTES: usize = 22;

#[derive(Debug)]
enum Key {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

impl Entry {
    #[inline]
    pub(super) fn new(new: &NewEntry<'_>) -> Self {
        let content = match new.incarnation {
            None => Content::Value(new.location),
            Some(incarnation) => Content::Elements(Box::new(Elements {
                location: new.location,
                collection: Collection::new(new.value_type, incarnation),
                changed: new.lsn,
            })),
        };
        Self { key: Key::new(new.key), lsn: new.lsn, expires: new.expire_at.unwrap_or(NEVER), content }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match &self.key {
            Key::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Key::Boxed(bytes) => bytes,
        }
    }

    /// Where the key's put is.
    #[inline]
    pub(crate) fn location(&self) -> Location {
        match &self.content {
            Content::Value(location) => *location,
            Content::Elements(elements) => elements.location,
        }
    }

    #[inline]
    pub(crate) fn value_type(&self) -> ValueType {
        match &self.content {
            Content::Value(_) => ValueType::String,
            Content::Elements(elements) => elements.collection.kind(),
        }
    }

    pub(crate) fn elements(&self) -> Option<&Elements> {
        match &self.content {
            Content::Value(_) => None,
            Content::Elements(elements) => Some(elements),
        }
    }

    /// The last record that changed anything about the key.
    pub(crate) fn changed(&self) -> Lsn {
        self.elements().map_or(self.lsn, |elements| elements.changed)
    }

    /// Bytes in the log of everything that belongs to the key.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        let elements = self.elements().map_or(0, |elements| elements.collection.bytes());
        u64::from(self.location().length) + elements
    }

    /// Takes over what a newer put of the same life of the key says; its elements stay. Returns what it said before, or `None` if the
    /// put begins another life.
    pub(super) fn renew(&mut self, new: &NewEntry<'_>) -> Option<(Location, Option<GroupTime>)> {
        let Content::Elements(elements) = &mut self.content else { return None };
        if new.incarnation != Some(elements.collection.incarnation()) {
            return None;
        }
        let location = std::mem::replace(&mut elements.location, new.location);
        let expires = std::mem::replace(&mut self.expires, new.expire_at.unwrap_or(NEVER));
        (self.lsn, elements.changed) = (new.lsn, new.lsn);
        Some((location, (expires != NEVER).then_some(expires)))
    }

    pub(crate) fn expire_at(&self) -> Option<GroupTime> {
        (self.expires != NEVER).then_some(self.expires)
    }

    #[inline]
    pub(crate) fn is_visible(&self, time: GroupTime) -> bool {
        self.expires > time || self.expires == NEVER
    }
}

impl Key {
    #[inline]
    fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (u8::try_from(key.len()), bytes.get_mut(..key.len())) {
            (Ok(length), Some(target)) => {
                target.copy_from_slice(key);
                Self::Inline { length, bytes }
            }
            _ => Self::Boxed(key.into()),
        }
    }
}

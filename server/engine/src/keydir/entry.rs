//! What the keydir knows of one key.

use simplekv_types::{GroupTime, Lsn};

use super::{Location, NewEntry};
use crate::record::ValueType;

/// A key with the place of its newest record and what is asked most often about it.
#[derive(Debug)]
pub(crate) struct Entry {
    key: Key,
    pub(crate) lsn: Lsn,
    /// `GroupTime(u64::MAX)` is never.
    expires: GroupTime,
    pub(crate) location: Location,
    pub(crate) value_type: ValueType,
}

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
        Self {
            key: Key::new(new.key),
            lsn: new.lsn,
            expires: new.expire_at.unwrap_or(NEVER),
            location: new.location,
            value_type: new.value_type,
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match &self.key {
            Key::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Key::Boxed(bytes) => bytes,
        }
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

//! What the committed log says about every key, and since when.

use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_engine::record::{Record, Records};
use simplekv_types::{Batch, GroupTime, Lsn};

use crate::clock::Nanos;

/// Everything committed in one group, as a list of what each key was.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// When how much was first committed, in order.
    moments: Vec<(Nanos, Lsn)>,
    /// When somebody was first told of how much, in order.
    told: Vec<(Nanos, Lsn)>,
}

#[derive(Clone, Debug)]
struct Version {
    lsn: Lsn,
    /// `None` if the key was deleted.
    value: Option<Bytes>,
    expire_at: Option<GroupTime>,
}

impl Truth {
    /// More was committed.
    pub(crate) fn commit(&mut self, batches: &[Batch], now: Nanos) {
        for batch in batches {
            for decoded in Records::new(&batch.records).map(|decoded| decoded.expect("what is committed can be read")) {
                let lsn = decoded.lsn;
                let (key, version) = match decoded.record {
                    Record::Put(put) => {
                        let value = Some(Bytes::copy_from_slice(put.value));
                        (put.key, Version { lsn, value, expire_at: put.expire_at })
                    }
                    Record::Delete { key, .. } => (key, Version { lsn, value: None, expire_at: None }),
                    _ => continue,
                };
                self.keys.entry(Bytes::copy_from_slice(key)).or_default().push(version);
            }
        }
        if let Some(last) = batches.last() {
            self.moments.push((now, last.end()));
        }
    }

    /// What somebody sees of a key who has everything below `end`, at a moment of the group's time.
    pub(crate) fn value(&self, key: &str, end: Lsn, time: GroupTime) -> Option<&[u8]> {
        let versions = self.keys.get(key.as_bytes())?;
        let before = versions.partition_point(|version| version.lsn < end);
        let version = versions.get(before.checked_sub(1)?)?;
        version.value.as_deref().filter(|_| version.expire_at.is_none_or(|expire_at| expire_at > time))
    }

    /// Where a value was written that is written once.
    pub(crate) fn written(&self, key: &str, value: &[u8]) -> Option<Lsn> {
        let versions = self.keys.get(key.as_bytes())?;
        versions.iter().find(|version| version.value.as_deref() == Some(value)).map(|version| version.lsn)
    }

    /// Whether the key became something else in this part of the log.
    pub(crate) fn changed(&self, key: &str, from: Lsn, end: Lsn) -> bool {
        let changes = |version: &Version| version.lsn >= from && version.lsn < end;
        self.keys.get(key.as_bytes()).is_some_and(|versions| versions.iter().any(changes))
    }

    /// What was committed at that moment: everything below.
    pub(crate) fn committed_at(&self, moment: Nanos) -> Lsn {
        last_until(&self.moments, moment)
    }

    /// Somebody is told what everything below makes of a key.
    pub(crate) fn tell(&mut self, end: Lsn, now: Nanos) {
        if self.told.last().is_none_or(|(_, last)| *last < end) {
            self.told.push((now, end));
        }
    }

    /// What somebody had been told of before that moment: everything below.
    pub(crate) fn told_before(&self, moment: Nanos) -> Lsn {
        moment.checked_sub(1).map_or(Lsn::ZERO, |before| last_until(&self.told, before))
    }
}

fn last_until(ends: &[(Nanos, Lsn)], moment: Nanos) -> Lsn {
    let count = ends.partition_point(|(at, _)| *at <= moment);
    count.checked_sub(1).and_then(|last| ends.get(last)).map_or(Lsn::ZERO, |(_, end)| *end)
}

//! A walk over all keys.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use simplekv_types::{GroupId, ReadPolicy, Reply, Slot, SlotRange};

use super::{common_options, decimal, unexpected};
use crate::error::{Error, Result};
use crate::scatter::refused;
use crate::topology::Topology;
use crate::{Client, Key, Kind, Options};

/// Bits of a cursor below those of its slot. Nodes define it so: a cursor is a place in the order of slots, the same on all of them.
const POSITION_BITS: u32 = 39;
/// How often a step is begun again because the slots changed hands meanwhile.
const TRIES: usize = 8;

/// See [`Client::scan`]. A deadline holds for each step of the walk, not for the whole.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until its stream is polled"]
pub struct Scan<'a> {
    client: &'a Client,
    prefix: Key,
    count: usize,
    options: Options,
}

common_options!(Scan);

/// A step's keys, and where the next step begins, if there is one.
type Page = (Vec<Key>, Option<u64>);

impl<'a> Scan<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        // A node answers for all its keys only if it leads them.
        let options = Options::default().read(ReadPolicy::Linearizable).share(false);
        Self { client, prefix: Key::from(""), count: 100, options }
    }

    /// Only keys that begin with this.
    pub fn prefix(mut self, prefix: impl Into<Key>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// About how many keys a node looks at in one step. Default 100.
    pub fn count(mut self, count: usize) -> Self {
        self.count = count.max(1);
        self
    }

    /// The keys. After an error the stream ends.
    pub fn stream(self) -> BoxStream<'a, Result<Key>> {
        let pages = futures::stream::try_unfold(Some(0), move |cursor: Option<u64>| {
            let scan = self.clone();
            async move {
                let Some(cursor) = cursor else { return Ok::<_, Error>(None) };
                let (keys, next) = scan.step(cursor).await?;
                Ok(Some((futures::stream::iter(keys.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    /// Asks the group that owns the cursor's slot, for as many slots as it owns from there on.
    async fn step(&self, cursor: u64) -> Result<Page> {
        let core = self.client.core();
        let total = self.options.timeout.unwrap_or(core.config.timeouts.total);
        let slot = u16::try_from(cursor >> POSITION_BITS).ok().and_then(Slot::new);
        let Some(first) = slot else { return unexpected("SCAN", &Reply::text(cursor.to_string())) };
        let unserved = || Error::SlotUnserved { slot: first };
        for _ in 0..TRIES {
            let is_owned = |topology: &Topology| topology.owner(first).is_some();
            let topology = core.topology_with(total, unserved(), is_owned).await?;
            let (group, slots) = owned_from(&topology, first).ok_or_else(unserved)?;
            let args = self.args(cursor, slots);
            let answer = self.client.execute(group, args, Kind::Read, self.options).await;
            // A group that has lost the slots answers that it has no such keys.
            if owned_from(&core.slots.load(), first) == Some((group, slots)) {
                return page(refused(answer?)?, slots);
            }
        }
        Err(unserved())
    }

    fn args(&self, cursor: u64, slots: SlotRange) -> Arc<[Bytes]> {
        let word = |word: &'static str| Bytes::from_static(word.as_bytes());
        let mut args = vec![word("SCAN"), decimal(cursor), word("COUNT"), decimal(self.count)];
        if !self.prefix.as_ref().is_empty() {
            args.extend([word("MATCH"), pattern(self.prefix.as_ref())]);
        }
        args.extend([word("SLOTS"), decimal(slots.first().number()), decimal(slots.last().number())]);
        Arc::from(args)
    }
}

/// The owner of a slot, and how far its ownership reaches from there.
fn owned_from(topology: &Topology, first: Slot) -> Option<(GroupId, SlotRange)> {
    let group = topology.owner(first)?.id;
    let is_owned = |slot: &Slot| topology.owner(*slot).is_some_and(|owner| owner.id == group);
    let last = SlotRange::new(first, Slot::MAX)?.iter().take_while(is_owned).last()?;
    Some((group, SlotRange::new(first, last)?))
}

/// What a group answered about these slots; when it is through with them, the walk goes on behind them.
fn page(answer: Reply, slots: SlotRange) -> Result<Page> {
    let Reply::Array(parts) = &answer else { return unexpected("SCAN", &answer) };
    let [Reply::Bulk(cursor), Reply::Array(found)] = &parts[..] else { return unexpected("SCAN", &answer) };
    let Some(cursor) = std::str::from_utf8(cursor).ok().and_then(|text| text.parse::<u64>().ok()) else {
        return unexpected("SCAN", &answer);
    };
    let mut keys = Vec::with_capacity(found.len());
    for key in found {
        let Reply::Bulk(key) = key else { return unexpected("SCAN", key) };
        keys.push(Key::from(key.clone()));
    }
    let behind = (slots.last() < Slot::MAX).then(|| (u64::from(slots.last().number()) + 1) << POSITION_BITS);
    Ok((keys, if cursor == 0 { behind } else { Some(cursor) }))
}

/// A pattern that fits what begins with `prefix`, whatever bytes that has.
pub(crate) fn pattern(prefix: &[u8]) -> Bytes {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    Bytes::from(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::{slot, two_groups};

    #[test]
    fn a_walk_goes_on_behind_the_slots_of_a_finished_group() {
        let of = |first, last| SlotRange::new(slot(first), slot(last)).unwrap();
        let next = |cursor, slots| page(Reply::Array(vec![Reply::fixed(cursor), Reply::Array(Vec::new())]), slots);
        assert_eq!(next("77", of(0, 9)).unwrap().1, Some(77));
        assert_eq!(next("0", of(0, 9)).unwrap().1, Some(10 << POSITION_BITS));
        assert_eq!(next("0", of(10, 16383)).unwrap().1, None);
        assert!(next("x", of(0, 9)).is_err());
        assert!(page(Reply::Ok, of(0, 9)).is_err());
    }

    #[test]
    fn a_step_asks_for_as_many_slots_as_one_group_owns() {
        let topology = two_groups(5).with_moved(slot(7), GroupId(2), simplekv_types::SlotMapVersion(6)).unwrap();
        let asked = |first| owned_from(&topology, slot(first)).map(|(group, slots)| format!("{group} {slots}"));
        assert_eq!(
            [0, 7, 8, 9000].map(|first| asked(first).unwrap()),
            ["g1 0-6", "g2 7", "g1 8-8191", "g2 9000-16383"]
        );
        assert_eq!(owned_from(&Topology::unknown(), slot(0)), None);
    }

    #[test]
    fn a_prefix_is_taken_literally() {
        assert_eq!(&pattern(b"a*b?[c]\\")[..], &b"a\\*b\\?\\[c]\\\\*"[..]);
    }
}

//! What is true: every committed write, in the order in which they were committed, whichever group did it.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_types::{GroupId, GroupTime, Slot};

use super::data::{Entry, Item, Record};

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    truth: BTreeMap<(Slot, u8), Item>,
    /// Which write was committed in which slot.
    committed: BTreeMap<u64, Slot>,
    lives: BTreeMap<Slot, u64>,
    /// Slots that have lost something with a history: what their keys hold is learned again.
    forgiven: BTreeSet<(Slot, u8)>,
    pub(crate) checked: u64,
}

impl Oracle {
    pub(crate) fn is_committed(&self, write: u64) -> bool {
        self.committed.contains_key(&write)
    }

    pub(crate) fn count(&self) -> usize {
        self.committed.len()
    }

    pub(crate) fn on_commit(&mut self, group: GroupId, record: &Record) {
        match &record.entry {
            Entry::Clear(slots) => self.truth.retain(|(slot, _), _| !slots.contains(slot)),
            Entry::Write { write, item, begins } => {
                let place = (write.slot, write.key);
                assert!(
                    self.committed.insert(write.id, write.slot).is_none(),
                    "{group}: write {} was done twice",
                    write.id
                );
                let before = self.truth.get(&place);
                if let Some(item) = item {
                    let (_, seen) = item.value.split_last().unwrap();
                    let expected =
                        before.filter(|before| !*begins || before.expire_at.is_none_or(|at| at > record.time));
                    let expected = expected.map(|before| before.value.as_slice()).unwrap_or_default();
                    if !self.forgiven.remove(&place) {
                        assert!(
                            expected == seen,
                            "{group}: write {} found {seen:?} in slot {} key {}, there was {expected:?}",
                            write.id,
                            write.slot,
                            write.key
                        );
                    }
                    if *begins {
                        let lives = self.lives.entry(write.slot).or_default();
                        assert!(item.life > *lives, "{group}: slot {} has life {} again", write.slot, item.life);
                        *lives = item.life;
                    }
                    self.truth.insert(place, item.clone());
                } else {
                    self.forgiven.remove(&place);
                    self.truth.remove(&place);
                }
            }
            _ => (),
        }
    }

    /// Somebody was shown this as the present state of a key, as of a group's time.
    pub(crate) fn on_read(&mut self, who: &str, slot: Slot, key: u8, time: GroupTime, found: Option<&Item>) {
        self.checked += 1;
        let place = (slot, key);
        if self.forgiven.remove(&place) {
            match found {
                Some(item) => drop(self.truth.insert(place, item.clone())),
                None => drop(self.truth.remove(&place)),
            }
            return;
        }
        match (found, self.truth.get(&place)) {
            (None, None) => (),
            // Whoever was told that it is gone must not find it again.
            (None, Some(item)) if item.expire_at.is_some_and(|at| at <= time) => drop(self.truth.remove(&place)),
            (found, truth) => assert!(
                found.map(|item| (&item.value, item.life)) == truth.map(|item| (&item.value, item.life)),
                "{who}: slot {slot} key {key} shows {found:?} instead of {truth:?}"
            ),
        }
    }

    /// A history has ended, and with it what was written there.
    pub(crate) fn forgive(&mut self, slots: &BTreeSet<Slot>) {
        self.forgiven.extend(slots.iter().flat_map(|slot| (0..super::KEYS).map(|key| (*slot, key))));
        self.committed.retain(|_, slot| !slots.contains(slot));
        self.lives.retain(|slot, _| !slots.contains(slot));
    }
}

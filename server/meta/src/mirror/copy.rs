//! The copy a mirror keeps: raw, to tell what is newer, and decoded, to be shown.

use std::collections::BTreeMap;

use simplekv_types::Revision;

use crate::{Change, ClusterView, Entry, Freshness, Keys, Listing};

/// The store has shown something older than what was known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Regression {
    /// The revision known before.
    pub(super) known: Revision,
    /// The one shown.
    pub(super) found: Revision,
    /// Of what: a key, or the store.
    pub(super) what: String,
}

pub(super) struct Copy {
    keys: Keys,
    view: ClusterView,
    /// Every entry below the prefix as last seen.
    known: BTreeMap<String, Entry>,
    /// Revision of the last listing: events up to it are in it.
    listed: Revision,
    /// While a listing is under way: the store's revision when it was asked for. No linearizable answer can be older.
    asked_at: Revision,
    /// When keys were deleted, if after the last listing: the next one may have been made before, and events may come again or
    /// in another order. Invariant: every revision is above `listed`.
    deleted: BTreeMap<String, Revision>,
}

impl Copy {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            view: ClusterView::default(),
            known: BTreeMap::new(),
            listed: Revision(0),
            asked_at: Revision(0),
            deleted: BTreeMap::new(),
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn view(&self) -> &ClusterView {
        &self.view
    }

    /// About how many bytes a listing has.
    pub(super) fn bytes(&self) -> usize {
        self.known.values().map(|entry| entry.key.len() + entry.value.len()).sum()
    }

    pub(super) fn set_freshness(&mut self, freshness: Freshness) {
        self.view.freshness = freshness;
    }

    pub(super) fn begin_listing(&mut self) {
        self.asked_at = self.view.revision;
    }

    /// Takes in the changes of one revision, unless the last listing had them.
    pub(super) fn on_changes(&mut self, revision: Revision, changes: &[Change]) {
        if revision <= self.listed {
            return;
        }
        for change in changes {
            if revision <= self.last_change(change.key()) {
                continue;
            }
            match change {
                Change::Put(entry) => self.put(entry.clone()),
                Change::Delete { key } => {
                    self.delete(key);
                    self.deleted.insert(key.clone(), revision);
                }
            }
        }
        self.view.revision = self.view.revision.max(revision);
    }

    /// Takes in everything. On an error nothing is changed.
    pub(super) fn on_listing(&mut self, listing: Listing) -> Result<(), Regression> {
        let revision = listing.revision;
        self.check(&listing)?;
        let vanished: Vec<String> = self
            .known
            .values()
            .filter(|entry| entry.modified <= revision && !holds(&listing, &entry.key))
            .map(|entry| entry.key.clone())
            .collect();
        for key in vanished {
            self.delete(&key);
        }
        for entry in listing.entries {
            if entry.modified > self.last_change(&entry.key) {
                self.put(entry);
            }
        }
        self.listed = self.listed.max(revision);
        self.deleted.retain(|_, deleted| *deleted > revision);
        self.view.revision = self.view.revision.max(revision);
        Ok(())
    }

    fn check(&self, listing: &Listing) -> Result<(), Regression> {
        if listing.revision < self.asked_at {
            let what = "the store".to_owned();
            return Err(Regression { known: self.asked_at, found: listing.revision, what });
        }
        for entry in &listing.entries {
            let Some(known) = self.known.get(&entry.key) else { continue };
            // One that is newer than the listing came by the watch after it was made.
            let is_comparable = known.modified <= listing.revision;
            // Of one revision there is one value: another one is of another history.
            let is_other = known.modified == entry.modified && known.value != entry.value;
            if is_comparable && (entry.modified < known.modified || is_other) {
                return Err(Regression { known: known.modified, found: entry.modified, what: entry.key.clone() });
            }
        }
        Ok(())
    }

    /// Revision of the newest change of a key that was seen: of its entry, or of its end.
    fn last_change(&self, key: &str) -> Revision {
        let known = self.known.get(key).map_or(Revision(0), |entry| entry.modified);
        known.max(self.deleted.get(key).copied().unwrap_or_default())
    }

    fn put(&mut self, entry: Entry) {
        self.deleted.remove(&entry.key);
        let change = Change::Put(entry.clone());
        self.view.apply(&self.keys, &change);
        self.known.insert(entry.key.clone(), entry);
    }

    fn delete(&mut self, key: &str) {
        if self.known.remove(key).is_some() {
            self.view.apply(&self.keys, &Change::Delete { key: key.to_owned() });
        }
    }
}

/// Whether a listing, which is in key order, has the key.
fn holds(listing: &Listing, key: &str) -> bool {
    listing.entries.binary_search_by(|entry| entry.key.as_str().cmp(key)).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simplekv_types::{NodeId, RunId};

    use super::*;
    use crate::{Key, LiveRecord, Model, Txn, encode};

    /// What may happen between a store and its copy.
    #[derive(Clone, Debug)]
    enum Step {
        Put {
            node: u32,
        },
        Delete {
            node: u32,
        },
        /// The next events arrive, but for those that get lost.
        Events {
            count: usize,
            lost: Vec<bool>,
        },
        /// The last events arrive once more, lost ones too, and in the wrong order.
        Repeat {
            count: usize,
        },
        Ask,
        /// The store makes the listing, some time after it was asked for…
        Make,
        /// …and it arrives, some time after it was made.
        Arrive,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..4u32).prop_map(|node| Step::Put { node }),
            2 => (1..4u32).prop_map(|node| Step::Delete { node }),
            4 => (1..5usize, prop::collection::vec(prop::bool::weighted(0.2), 5)).prop_map(|(count, lost)| Step::Events { count, lost }),
            1 => (1..5usize).prop_map(|count| Step::Repeat { count }),
            2 => Just(Step::Ask),
            2 => Just(Step::Make),
            2 => Just(Step::Arrive),
        ]
    }

    struct World {
        model: Model,
        history: Vec<(Revision, Vec<Change>)>,
        delivered: usize,
        copy: Copy,
        listing: Option<Option<Listing>>,
        /// The newest that the copy was told of each key, however it was told: the revision, and the entry if there is one.
        told: BTreeMap<String, (Revision, Option<Entry>)>,
    }

    impl World {
        fn new() -> Self {
            let (model, copy) = (Model::default(), Copy::new(Keys::default()));
            Self { model, history: Vec::new(), delivered: 0, copy, listing: None, told: BTreeMap::new() }
        }

        fn key(node: u32) -> String {
            Keys::default().text(&Key::Live(NodeId(node)))
        }

        fn change(&mut self, txn: &Txn) {
            let (_, changes) = self.model.txn(txn).unwrap();
            if !changes.is_empty() {
                self.history.push((self.model.revision(), changes));
            }
        }

        fn tell(&mut self, key: &str, revision: Revision, entry: Option<Entry>) {
            let newest = self.told.entry(key.to_owned()).or_default();
            if revision > newest.0 {
                *newest = (revision, entry);
            }
        }

        fn deliver(&mut self, (revision, changes): (Revision, Vec<Change>)) {
            for change in &changes {
                let entry = if let Change::Put(entry) = change { Some(entry.clone()) } else { None };
                self.tell(change.key(), revision, entry);
            }
            self.copy.on_changes(revision, &changes);
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Put { node } => {
                    let run = RunId(self.model.revision().0);
                    self.change(&Txn::new().put(Self::key(node), encode(&LiveRecord { run })));
                }
                Step::Delete { node } => self.change(&Txn::new().delete(Self::key(node))),
                Step::Events { count, lost } => {
                    for lost in lost.into_iter().take(count) {
                        let Some(event) = self.history.get(self.delivered).cloned() else { break };
                        self.delivered += 1;
                        if !lost {
                            self.deliver(event);
                        }
                    }
                }
                Step::Repeat { count } => {
                    let from = self.delivered.saturating_sub(count);
                    let again: Vec<_> = self.history[from..self.delivered].iter().rev().cloned().collect();
                    again.into_iter().for_each(|event| self.deliver(event));
                }
                Step::Ask if self.listing.is_none() => {
                    self.copy.begin_listing();
                    self.listing = Some(None);
                }
                Step::Make if self.listing == Some(None) => self.listing = Some(Some(self.model.list("/skv/"))),
                Step::Arrive => {
                    if let Some(Some(listing)) = self.listing.take_if(|listing| listing.is_some()) {
                        self.arrive(listing);
                    }
                }
                Step::Ask | Step::Make => (),
            }
        }

        fn arrive(&mut self, listing: Listing) {
            for key in (1..4).map(Self::key) {
                match listing.entries.iter().find(|entry| entry.key == key) {
                    Some(entry) => self.tell(&key, entry.modified, Some(entry.clone())),
                    None => self.tell(&key, listing.revision, None),
                }
            }
            self.copy.on_listing(listing).expect("the store was not set back");
        }
    }

    proptest! {
        #[test]
        fn the_newest_that_was_told_of_a_key_counts(steps in prop::collection::vec(step(), 1..80)) {
            let mut world = World::new();
            for step in steps {
                world.step(step);
                let known: Vec<&Entry> = world.copy.known.values().collect();
                let told: Vec<&Entry> = world.told.values().filter_map(|(_, entry)| entry.as_ref()).collect();
                prop_assert_eq!(known, told);
                prop_assert_eq!(world.copy.known.len(), world.copy.view.live.len());
            }
            world.copy.begin_listing();
            world.arrive(world.model.list("/skv/"));
            let known: Vec<Entry> = world.copy.known.values().cloned().collect();
            prop_assert_eq!(known, world.model.list("/skv/").entries, "a listing mends everything");
            prop_assert_eq!(world.copy.view.revision, world.model.revision());
        }
    }
}

//! What a group's log holds, and what it makes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_cluster::migration::{Content, Moved, Place, Staged, Step, StepKind};
use simplekv_cluster::{DedupeResult, DedupeRow};
use simplekv_types::{ClientId, Epoch, GroupTime, Lsn, MigrationId, Seq, Slot};

/// A write of a client. Its number is its identity, however often it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) slot: Slot,
    pub(crate) key: u8,
    pub(crate) op: Op,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Adds the write's number to what the key holds.
    Append,
    /// The same, and the key expires so many milliseconds later.
    AppendFor(u64),
    Delete,
}

/// What a key holds: the numbers of the writes that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u64>,
    pub(crate) expire_at: Option<GroupTime>,
    pub(crate) life: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) time: GroupTime,
    pub(crate) entry: Entry,
    /// Whether the next record is of the same batch: they are kept, lost and committed together.
    pub(crate) goes_on: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Start,
    Step(Step),
    /// The effect of a write, with its row.
    Write {
        write: Write,
        item: Option<Item>,
        begins: bool,
    },
    Clear(Vec<Slot>),
    Staged {
        migration: MigrationId,
        moved: Moved,
    },
}

/// An item with its place in the log, and if it was moved here, by which move and from which place.
pub(crate) type Held = (Item, Lsn, Option<(MigrationId, Lsn)>);

/// Everything a log makes, its slots apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) items: BTreeMap<(Slot, u8), Held>,
    /// Staged tombstones; without a key: of the whole slot.
    tombstones: BTreeMap<(MigrationId, Slot, Option<u8>), Lsn>,
    pub(crate) rows: BTreeMap<Slot, BTreeMap<u64, Lsn>>,
    pub(crate) lives: BTreeMap<Slot, u64>,
}

impl State {
    pub(crate) fn take(&mut self, lsn: Lsn, entry: &Entry) {
        match entry {
            Entry::Start => (),
            Entry::Step(step) => self.take_step(step),
            Entry::Write { write, item, begins } => {
                let place = (write.slot, write.key);
                match item {
                    Some(item) => {
                        if *begins {
                            self.lives.insert(write.slot, item.life);
                        }
                        self.items.insert(place, (item.clone(), lsn, None));
                    }
                    None => drop(self.items.remove(&place)),
                }
                self.rows.entry(write.slot).or_default().insert(write.id, lsn);
            }
            Entry::Clear(slots) => self.items.retain(|(slot, _), _| !slots.contains(slot)),
            Entry::Staged { migration, moved } => self.stage(lsn, *migration, moved),
        }
    }

    fn take_step(&mut self, step: &Step) {
        let concerns = |slot: &Slot| step.slots.iter().any(|range| range.contains(*slot));
        if step.clears() {
            self.items.retain(|(slot, _), _| !concerns(slot));
            self.rows.retain(|slot, _| !concerns(slot));
        }
        if step.clears() || matches!(step.kind, StepKind::Own { .. }) {
            self.tombstones.retain(|(_, slot, _), _| !concerns(slot));
        }
    }

    fn stage(&mut self, lsn: Lsn, migration: MigrationId, moved: &Moved) {
        match &moved.content {
            Content::Put { place, body } => {
                self.items.insert((moved.slot, key_of(place)), (decode(body), lsn, Some((migration, moved.lsn))));
            }
            Content::Delete { place, .. } => {
                let key = key_of(place);
                self.items.remove(&(moved.slot, key));
                self.tombstones.insert((migration, moved.slot, Some(key)), moved.lsn);
            }
            Content::Clear => {
                self.items.retain(|(slot, _), _| *slot != moved.slot);
                self.tombstones.insert((migration, moved.slot, None), moved.lsn);
            }
            Content::Row(row) => {
                let rows = self.rows.entry(moved.slot).or_default();
                rows.extend(row.results.iter().map(|(seq, _)| (seq.0, lsn)));
            }
        }
    }

    /// What a reader at this time finds.
    pub(crate) fn visible(&self, slot: Slot, key: u8, time: GroupTime) -> Option<&Item> {
        let item = self.items.get(&(slot, key)).map(|(item, ..)| item);
        item.filter(|item| item.expire_at.is_none_or(|at| at > time))
    }

    /// A part of a slot as it is sent, and where to go on.
    pub(crate) fn scan(&self, slot: Slot, position: u64, high_watermark: Lsn) -> (Vec<Moved>, Option<u64>) {
        // A place among the keys, not a count of them: keys come and go between two parts.
        let all = self.items.range((slot, position as u8)..=(slot, u8::MAX)).take(2);
        let found: Vec<(u8, Moved)> =
            all.map(|((_, key), (item, lsn, _))| (*key, put(slot, *key, *lsn, item))).collect();
        let next = found.get(1).map(|(key, _)| u64::from(*key) + 1);
        let mut records: Vec<Moved> = found.into_iter().map(|(_, moved)| moved).collect();
        if position == 0 {
            let rows = self.rows.get(&slot).into_iter().flatten();
            records.extend(rows.map(|(id, _)| row(slot, *id, high_watermark)));
        }
        (records, next)
    }
}

impl Staged for State {
    fn latest(&self, migration: MigrationId, slot: Slot, place: Option<&Place>) -> Option<Lsn> {
        let whole = self.tombstones.get(&(migration, slot, None)).copied();
        let Some(key) = place.map(key_of) else { return whole };
        let deleted = self.tombstones.get(&(migration, slot, Some(key))).copied();
        let origin = self.items.get(&(slot, key)).and_then(|(_, _, origin)| *origin);
        let put = origin.filter(|(of, _)| *of == migration).map(|(_, lsn)| lsn);
        [whole, deleted, put].into_iter().flatten().max()
    }
}

/// A record of the log as it is sent, if it is about one of the slots.
pub(crate) fn moved(lsn: Lsn, entry: &Entry, is_moving: impl Fn(Slot) -> bool) -> Vec<Moved> {
    match entry {
        Entry::Write { write, item, .. } if is_moving(write.slot) => {
            let change = match item {
                Some(item) => put(write.slot, write.key, lsn, item),
                None => {
                    let content = Content::Delete { place: place(write.key), body: Bytes::new() };
                    Moved { slot: write.slot, lsn, content }
                }
            };
            vec![change, row(write.slot, write.id, lsn)]
        }
        Entry::Clear(slots) => {
            let concerned = slots.iter().filter(|slot| is_moving(**slot));
            concerned.map(|slot| Moved { slot: *slot, lsn, content: Content::Clear }).collect()
        }
        _ => Vec::new(),
    }
}

fn put(slot: Slot, key: u8, lsn: Lsn, item: &Item) -> Moved {
    Moved { slot, lsn, content: Content::Put { place: place(key), body: encode(item) } }
}

fn row(slot: Slot, id: u64, lsn: Lsn) -> Moved {
    let result = DedupeResult { deadline: GroupTime(u64::MAX), lsn, result: Bytes::new() };
    let row = DedupeRow {
        client: ClientId(1),
        ack_below: Seq(0),
        keep_until: GroupTime::ZERO,
        results: vec![(Seq(id), result)],
    };
    Moved { slot, lsn, content: Content::Row(row) }
}

fn place(key: u8) -> Place {
    Place { key: Bytes::copy_from_slice(&[key]), element: None }
}

fn key_of(place: &Place) -> u8 {
    place.key[0]
}

fn encode(item: &Item) -> Bytes {
    let expiry = item.expire_at.map_or(0, |at| at.0);
    [item.life, expiry].iter().chain(&item.value).flat_map(|number| number.to_le_bytes()).collect()
}

fn decode(body: &Bytes) -> Item {
    let (numbers, _) = body.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (life, expiry) = (numbers.next().unwrap(), numbers.next().unwrap());
    Item { value: numbers.collect(), expire_at: (expiry > 0).then_some(GroupTime(expiry)), life }
}

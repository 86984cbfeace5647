//! One key's elements as they will be.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;
use simplekv_collections::{At, Collection, Element, Label, POSITION_BITS, position_of, score_in};
use simplekv_commands::{Elements, Outline};
use simplekv_types::{GroupTime, Lsn, ValueType};

/// A key with elements as it will be when everything appended is applied.
///
/// Invariant: the outline is that of the elements, whichever way they are held.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) outline: Outline,
    /// Which life of the key it is.
    pub(crate) incarnation: u64,
    /// The last record that changed anything about the key.
    pub(crate) version: Lsn,
    /// About what the elements take up.
    pub(crate) bytes: u64,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// What the records that are not applied yet make of the applied elements. Never of a list, whose elements are found by their
    /// places.
    Changes(HashTable<Change>),
    /// Of a list the outermost labels, if it has any elements: all it takes to go on at an end.
    Ends(Option<(Label, Label)>),
    /// All elements. A change copies the nodes of the tree it goes through that are shared with the applied one: dear if many
    /// elements change, each somewhere else, so this is for what asks for more than single elements.
    Whole(Collection),
}

/// An element that is put or taken out by a record that is not applied.
#[derive(Debug)]
struct Change {
    position: u64,
    name: Arc<[u8]>,
    lsn: Lsn,
    /// `None`: it is taken out.
    element: Option<Element>,
}

impl Draft {
    /// A key that begins to hold elements, none yet.
    pub(crate) fn begun(kind: ValueType, incarnation: u64, expire_at: Option<GroupTime>, version: Lsn) -> Self {
        let held = match kind {
            ValueType::List => Held::Ends(None),
            _ => Held::Changes(HashTable::new()),
        };
        Self { outline: Outline { kind, len: 0, expire_at }, incarnation, version, bytes: 0, held }
    }

    /// Of what is applied, with nothing behind it.
    pub(crate) fn of_applied(applied: &Collection, expire_at: Option<GroupTime>, version: Lsn) -> Self {
        let held = match applied.kind() {
            ValueType::List => Held::Ends(applied.ends()),
            _ => Held::Changes(HashTable::new()),
        };
        let (outline, incarnation, bytes) = outline_of(applied, expire_at);
        Self { outline, incarnation, version, bytes, held }
    }

    /// Of all elements.
    pub(crate) fn whole(elements: Elements) -> Self {
        let Elements { collection, expire_at, version } = elements;
        let (outline, incarnation, bytes) = outline_of(&collection, expire_at);
        Self { outline, incarnation, version, bytes, held: Held::Whole(collection) }
    }

    /// Whether only the ends of a list are known.
    pub(crate) fn has_ends_only(&self) -> bool {
        matches!(self.held, Held::Ends(_))
    }

    /// Whether an element of this name can be put in with what is known.
    pub(crate) fn can_put(&self, name: &[u8]) -> bool {
        match self.held {
            Held::Ends(Some((first, last))) => {
                Label::from_bytes(name).is_some_and(|label| label < first || label > last)
            }
            _ => true,
        }
    }

    /// A list's outermost labels, if it has elements.
    pub(crate) fn ends(&self) -> Option<(Label, Label)> {
        match &self.held {
            Held::Ends(ends) => *ends,
            Held::Whole(collection) => collection.ends(),
            Held::Changes(_) => None,
        }
    }

    /// The element of this name. `applied`: what is applied of the key.
    pub(crate) fn element(&self, name: &[u8], applied: Option<&Collection>) -> Option<Element> {
        match &self.held {
            Held::Whole(collection) => collection.find(name).cloned(),
            Held::Ends(_) => None,
            Held::Changes(changes) => self.changed(changes, position_of(name), name, applied).cloned(),
        }
    }

    fn changed<'a>(
        &self,
        changes: &'a HashTable<Change>,
        position: u64,
        name: &[u8],
        applied: Option<&'a Collection>,
    ) -> Option<&'a Element> {
        match changes.find(hash_of(position), |change| *change.name == *name) {
            Some(change) => change.element.as_ref(),
            None => self.same_life(applied)?.find_at(position, name),
        }
    }

    /// All elements, of which more than a list's ends must be known. `applied`: what is applied of the key.
    pub(crate) fn elements(&mut self, applied: Option<&Collection>) -> Option<Elements> {
        if let Held::Changes(changes) = &self.held {
            let unchanged = || Collection::new(self.outline.kind, self.incarnation);
            let mut whole = self.same_life(applied).map_or_else(unchanged, Collection::clone);
            for Change { name, element, .. } in changes {
                match element {
                    Some(element) => drop(whole.insert(name, element.at.clone(), element.score)),
                    None => drop(whole.remove(name)),
                }
            }
            assert_eq!(whole.len(), self.outline.len, "a draft has lost count");
            self.held = Held::Whole(whole);
        }
        let Held::Whole(collection) = &self.held else { return None };
        Some(Elements { collection: collection.clone(), expire_at: self.outline.expire_at, version: self.version })
    }

    /// Puts an element in with the record `lsn`. Returns whether it was not there, and its position, if it has one.
    pub(crate) fn put<'a>(
        &mut self,
        name: &[u8],
        value: &[u8],
        lsn: Lsn,
        applied: impl FnOnce() -> Option<&'a Collection>,
    ) -> (bool, u64) {
        let mut position = 0;
        let old_bytes = match &mut self.held {
            Held::Whole(collection) => insert(collection, name, value).map(|old| old.bytes()),
            Held::Ends(ends) => {
                let label = Label::from_bytes(name).expect("the elements of a list have labels for names");
                *ends = Some(ends.map_or((label, label), |(first, last)| (first.min(label), last.max(label))));
                None
            }
            Held::Changes(changes) => {
                position = position_of(name);
                let mut changes = std::mem::take(changes);
                let known = self.changed(&changes, position, name, applied());
                let old_bytes = known.map(Element::bytes);
                let name = known.map_or_else(|| Arc::from(name), |known| Arc::clone(&known.name));
                let score = score_of(self.outline.kind, value);
                let at = At::Here(Bytes::copy_from_slice(value));
                let element = Some(Element::new(position, Arc::clone(&name), at, score));
                note(&mut changes, Change { position, name, lsn, element });
                self.held = Held::Changes(changes);
                old_bytes
            }
        };
        self.outline.len += usize::from(old_bytes.is_none());
        self.bytes += (name.len() + value.len()) as u64;
        self.bytes = self.bytes.saturating_sub(old_bytes.unwrap_or(0));
        self.version = lsn;
        (old_bytes.is_none(), position)
    }

    /// Takes an element out with the record `lsn`. Returns its position, if it has one.
    pub(crate) fn remove<'a>(
        &mut self,
        name: &[u8],
        lsn: Lsn,
        applied: impl FnOnce() -> Option<&'a Collection>,
    ) -> u64 {
        let mut position = 0;
        let old_bytes = match &mut self.held {
            Held::Whole(collection) => collection.remove(name).map(|old| old.bytes()),
            Held::Ends(_) => unreachable!("all of a list is known before an element is taken out"),
            Held::Changes(changes) => {
                position = position_of(name);
                let mut changes = std::mem::take(changes);
                let known = self.changed(&changes, position, name, applied());
                let old = known.map(|known| (known.bytes(), Arc::clone(&known.name)));
                if let Some((_, name)) = &old {
                    let name = Arc::clone(name);
                    note(&mut changes, Change { position, name, lsn, element: None });
                }
                self.held = Held::Changes(changes);
                old.map(|(bytes, _)| bytes)
            }
        };
        self.outline.len -= usize::from(old_bytes.is_some());
        self.bytes = self.bytes.saturating_sub(old_bytes.unwrap_or(0));
        self.version = lsn;
        position
    }

    /// The record `lsn` is applied.
    pub(crate) fn applied(&mut self, lsn: Lsn, position: u64) {
        if let Held::Changes(changes) = &mut self.held
            && let Ok(change) = changes.find_entry(hash_of(position), |change| change.lsn == lsn)
        {
            change.remove();
        }
    }

    fn same_life<'a>(&self, applied: Option<&'a Collection>) -> Option<&'a Collection> {
        applied.filter(|applied| applied.incarnation() == self.incarnation)
    }
}

/// A position is a good hash but for its first bits, which are none.
fn hash_of(position: u64) -> u64 {
    position << (u64::BITS - POSITION_BITS)
}

fn note(changes: &mut HashTable<Change>, new: Change) {
    let is_same = |change: &Change| change.position == new.position && change.name == new.name;
    match changes.find_mut(hash_of(new.position), is_same) {
        Some(change) => *change = new,
        None => drop(changes.insert_unique(hash_of(new.position), new, |change| hash_of(change.position))),
    }
}

fn outline_of(collection: &Collection, expire_at: Option<GroupTime>) -> (Outline, u64, u64) {
    let outline = Outline { kind: collection.kind(), len: collection.len(), expire_at };
    (outline, collection.incarnation(), collection.bytes())
}

fn score_of(kind: ValueType, value: &[u8]) -> f64 {
    score_in(value).filter(|_| kind == ValueType::Zset).unwrap_or(0.0)
}

/// Puts an element in whose record is not applied.
pub(crate) fn insert(collection: &mut Collection, name: &[u8], value: &[u8]) -> Option<Element> {
    let score = score_of(collection.kind(), value);
    collection.insert(name, At::Here(Bytes::copy_from_slice(value)), score)
}

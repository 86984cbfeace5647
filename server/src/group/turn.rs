//! The keyspace as a command in the writer's turn sees and changes it.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use simplekv_collections::{Collection, Element as CollectionElement, Label};
use simplekv_commands::{self as commands, Elements, Keyspace, Outline, View};
use simplekv_engine::record::{Element, Put, Record, Records};
use simplekv_engine::{BatchBuilder, EncodeError, Engine, FoundElements, Pending, Reader};
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Slot, SlotRange, ValueType, limits};

use super::OwnedSlots;
use super::drafts::{Draft, Drafts, replay};
use crate::view::{self, AppliedView};

/// What is applied, under what is appended, under what this turn has put into its batch.
pub(super) struct Turn<'a> {
    engine: &'a Engine,
    applied: AppliedView<'a>,
    builder: RefCell<&'a mut BatchBuilder>,
    drafts: RefCell<&'a mut Drafts>,
    slots: &'a OwnedSlots,
    pub(super) value_bytes_max: usize,
    /// Whether the builder holds a batch of this turn.
    open: bool,
    /// The time of the batch that a write's effect goes into.
    pub(super) now: GroupTime,
    expired_early: Cell<bool>,
    wrote: bool,
    cleared: bool,
    /// Keys that somebody may wait for.
    begun: Vec<Bytes>,
    error: Option<EncodeError>,
}

/// What a write came to.
pub(super) struct Effects {
    /// Whether anything was put or deleted.
    pub(super) wrote: bool,
    /// Whether everything was.
    pub(super) cleared: bool,
    /// Lists and sorted sets that were not there, or not such.
    pub(super) begun: Vec<Bytes>,
    /// Whether a key was seen as expired that whoever reads what the log holds so far still sees.
    pub(super) expired_early: bool,
    /// What did not fit.
    pub(super) error: Option<EncodeError>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        reader: &'a Reader,
        builder: &'a mut BatchBuilder,
        drafts: &'a mut Drafts,
        group: GroupId,
        slots: &'a OwnedSlots,
        open: bool,
    ) -> Self {
        let applied = AppliedView::new(reader.guard(), group, slots.writable());
        let (builder, drafts) = (RefCell::new(builder), RefCell::new(drafts));
        Self {
            engine,
            applied,
            builder,
            drafts,
            slots,
            value_bytes_max: limits::VALUE_BYTES_DEFAULT,
            open,
            now: GroupTime::ZERO,
            expired_early: Cell::new(false),
            wrote: false,
            cleared: false,
            begun: Vec::new(),
            error: None,
        }
    }

    pub(super) fn end(self) -> Effects {
        let Self { wrote, cleared, begun, error, expired_early, .. } = self;
        Effects { wrote, cleared, begun, expired_early: expired_early.get(), error }
    }

    fn note_expiry(&self, expire_at: Option<GroupTime>) {
        if expire_at.is_some_and(|at| at <= self.now && at > self.engine.last_time()) {
            self.expired_early.set(true);
        }
    }

    /// What is appended or about to be, newest first; `None` if nothing of that touches the key.
    fn pending(&self, slot: Slot, key: &[u8]) -> Option<Pending> {
        let built = if self.open { self.builder.borrow_mut().get(slot, key) } else { None };
        built.or_else(|| self.engine.pending(slot, key))
    }

    /// Where it stands what a key holds.
    fn standing(&self, slot: Slot, key: &[u8]) -> Standing {
        let drafts = self.drafts.borrow();
        if drafts.get(key).is_some() {
            return Standing::Draft;
        }
        // Of records that another leader appended there is no draft, nor of those before one that was taken back.
        if self.open && drafts.are_incomplete() {
            return Standing::Records;
        }
        drop(drafts);
        let element = self.engine.pending_element(slot, key);
        match self.pending(slot, key) {
            // Of what is put into the open batch there is a draft.
            Some(pending) if element.is_none_or(|lsn| lsn < pending.lsn()) && !holds_elements(&pending) => {
                Standing::Nowhere
            }
            None if element.is_none() => Standing::Applied,
            _ => Standing::Records,
        }
    }

    /// The elements of a key, from what is applied and every record behind it.
    fn replayed(&self, slot: Slot, key: &[u8]) -> Result<Option<Elements>, Failure> {
        let mut elements = self.applied.elements(key)?;
        self.engine.pending_records(slot, key, &mut |lsn, record| replay(&mut elements, lsn, &record));
        if self.open {
            for decoded in Records::new(self.builder.borrow().records()).map_while(Result::ok) {
                if decoded.record.concerns(slot, key) {
                    replay(&mut elements, decoded.lsn, &decoded.record);
                }
            }
        }
        Ok(elements)
    }

    fn applied_collection(&self, key: &[u8]) -> Option<&Collection> {
        self.applied.found(key).map(|found| found.collection)
    }

    fn drafted_elements(&self, slot: Slot, key: &[u8]) -> Result<Option<Elements>, Failure> {
        let mut drafts = self.drafts.borrow_mut();
        let Some(draft) = drafts.get_mut(key) else { return Ok(None) };
        if draft.has_ends_only()
            && let Some(elements) = self.replayed(slot, key)?
        {
            *draft = Draft::whole(elements);
        }
        Ok(draft.elements(self.applied_collection(key)))
    }

    /// Makes sure that there is a draft of a key that holds elements, and returns which life of the key it is.
    fn drafted(&mut self, key: &Bytes) -> (u64, ValueType) {
        let life = |draft: &Draft| (draft.incarnation, draft.outline.kind);
        if let Some(draft) = self.drafts.get_mut().get(key) {
            return life(draft);
        }
        let slot = Slot::of_key(key);
        let draft = match self.standing(slot, key) {
            Standing::Applied => self.applied.found(key).map(|found| {
                let FoundElements { collection, expire_at, changed } = found;
                Draft::of_applied(collection, expire_at, changed)
            }),
            _ => self.replayed(slot, key).ok().flatten().map(Draft::whole),
        };
        let draft = draft.expect("the command has seen the key's elements");
        let known = life(&draft);
        self.drafts.get_mut().put(key.clone(), draft);
        known
    }

    /// Makes sure that the draft of a list knows more than its ends, before a record is appended that may change anything else.
    fn know_all_of(&mut self, key: &Bytes) {
        let drafts = self.drafts.get_mut();
        if drafts.get(key).is_some_and(Draft::has_ends_only) {
            let elements = self.replayed(Slot::of_key(key), key).ok().flatten();
            let whole = Draft::whole(elements.expect("the command has seen the key's elements"));
            self.drafts.get_mut().replace(key, whole);
        }
    }

    /// Appends a record and returns the number it will have; nothing comes of what is appended after an error.
    fn push(&mut self, record: &Record<'_>) -> Lsn {
        self.wrote = true;
        if self.error.is_some() {
            return Lsn::ZERO;
        }
        let pushed = self.builder.borrow_mut().push(record);
        self.error = pushed.err();
        pushed.unwrap_or(Lsn::ZERO)
    }

    /// Appends the put of a key with elements.
    fn push_life(&mut self, key: &Bytes, kind: ValueType, incarnation: u64, expire_at: Option<GroupTime>) -> Lsn {
        let value = incarnation.to_le_bytes();
        let slot = Slot::of_key(key);
        self.push(&Record::Put(Put { slot, key, value: &value, value_type: kind, expire_at, origin: None }))
    }
}

/// Where it stands what a key holds.
enum Standing {
    /// There is a draft.
    Draft,
    /// In what is applied and all records behind it.
    Records,
    /// In what is applied.
    Applied,
    /// It holds no elements.
    Nowhere,
}

fn holds_elements(pending: &Pending) -> bool {
    matches!(pending, Pending::Put(found) if found.value_type != ValueType::String)
}

fn meta_of(draft: &Draft) -> commands::Meta {
    let Draft { outline: Outline { kind, expire_at, .. }, bytes, version, .. } = *draft;
    commands::Meta { kind, value_bytes: bytes, expire_at, version }
}

impl View for Turn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<commands::Entry>, Failure> {
        let found = match self.pending(Slot::of_key(key), key) {
            Some(pending) => pending.into_found().map(view::entry),
            None => self.applied.get(key)?,
        };
        self.note_expiry(found.as_ref().and_then(|entry| entry.expire_at));
        Ok(found)
    }

    fn meta(&self, key: &[u8]) -> Result<Option<commands::Meta>, Failure> {
        if let Some(draft) = self.drafts.borrow().get(key) {
            self.note_expiry(draft.outline.expire_at);
            return Ok(Some(meta_of(draft)));
        }
        let slot = Slot::of_key(key);
        // Records of its elements change a key, too.
        let is_open = self.open && self.drafts.borrow().are_incomplete();
        if (is_open || self.engine.pending_element(slot, key).is_some())
            && let Some(elements) = self.replayed(slot, key)?
        {
            self.note_expiry(elements.expire_at);
            return Ok(Some(meta_of(&Draft::whole(elements))));
        }
        let found = match self.pending(slot, key) {
            Some(pending) => pending.into_found().map(|found| commands::Meta::from(&view::entry(found))),
            None => self.applied.meta(key)?,
        };
        self.note_expiry(found.as_ref().and_then(|meta| meta.expire_at));
        Ok(found)
    }

    fn elements(&self, key: &[u8]) -> Result<Option<Elements>, Failure> {
        let slot = Slot::of_key(key);
        let found = match self.standing(slot, key) {
            Standing::Draft => self.drafted_elements(slot, key)?,
            Standing::Records => self.replayed(slot, key)?,
            Standing::Applied => self.applied.elements(key)?,
            Standing::Nowhere => None,
        };
        self.note_expiry(found.as_ref().and_then(|elements| elements.expire_at));
        Ok(found)
    }

    fn outline(&self, key: &[u8]) -> Result<Option<Outline>, Failure> {
        let slot = Slot::of_key(key);
        let found = match self.standing(slot, key) {
            Standing::Draft => self.drafts.borrow().get(key).map(|draft| draft.outline),
            Standing::Records => self.replayed(slot, key)?.as_ref().map(Outline::from),
            Standing::Applied => self.applied.outline(key)?,
            Standing::Nowhere => None,
        };
        self.note_expiry(found.and_then(|outline| outline.expire_at));
        Ok(found)
    }

    fn element(&self, key: &[u8], name: &[u8]) -> Result<Option<CollectionElement>, Failure> {
        let slot = Slot::of_key(key);
        Ok(match self.standing(slot, key) {
            Standing::Draft => {
                let drafts = self.drafts.borrow();
                drafts.get(key).and_then(|draft| draft.element(name, self.applied_collection(key)))
            }
            Standing::Records => self.replayed(slot, key)?.and_then(|elements| elements.collection.find(name).cloned()),
            Standing::Applied => self.applied.element(key, name)?,
            Standing::Nowhere => None,
        })
    }

    fn ends(&self, key: &[u8]) -> Result<Option<(Label, Label)>, Failure> {
        let slot = Slot::of_key(key);
        match self.standing(slot, key) {
            Standing::Draft => Ok(self.drafts.borrow().get(key).and_then(Draft::ends)),
            Standing::Records => Ok(self.replayed(slot, key)?.and_then(|elements| elements.collection.ends())),
            Standing::Applied => self.applied.ends(key),
            Standing::Nowhere => Ok(None),
        }
    }

    fn element_value(&self, key: &[u8], element: &CollectionElement) -> Result<Bytes, Failure> {
        self.applied.element_value(key, element)
    }

    fn owner(&self, slot: Slot) -> GroupId {
        self.applied.owner(slot)
    }

    fn slots(&self) -> Vec<SlotRange> {
        self.slots.writable().ranges()
    }

    fn key_count(&self, slot: Slot) -> u64 {
        self.applied.key_count(slot)
    }

    fn scan_slot(
        &self,
        slot: Slot,
        from: u64,
        limit: usize,
        visit: &mut dyn FnMut(u64, Bytes, commands::Meta),
    ) -> Result<Option<u64>, Failure> {
        self.applied.scan_slot(slot, from, limit, visit)
    }

    fn random(&self) -> u64 {
        self.applied.random()
    }

    fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }
}

impl Keyspace for Turn<'_> {
    fn put(&mut self, key: &Bytes, kind: ValueType, value: Bytes, expire_at: Option<GroupTime>) {
        let slot = Slot::of_key(key);
        self.drafts.get_mut().forget(key);
        self.push(&Record::Put(Put { slot, key, value: &value, value_type: kind, expire_at, origin: None }));
    }

    fn delete(&mut self, key: &Bytes) {
        self.drafts.get_mut().forget(key);
        self.push(&Record::Delete { slot: Slot::of_key(key), key, origin: None });
    }

    fn begin(&mut self, key: &Bytes, kind: ValueType, expire_at: Option<GroupTime>) {
        let slot = Slot::of_key(key);
        let known = self.applied.incarnation(slot).max(self.slots.lives(slot));
        let incarnation = self.drafts.get_mut().next_incarnation(slot, known);
        let version = self.push_life(key, kind, incarnation, expire_at);
        if matches!(kind, ValueType::List | ValueType::Zset) {
            self.begun.push(key.clone());
        }
        self.drafts.get_mut().put(key.clone(), Draft::begun(kind, incarnation, expire_at, version));
    }

    fn expire(&mut self, key: &Bytes, expire_at: Option<GroupTime>) {
        let (incarnation, kind) = self.drafted(key);
        let lsn = self.push_life(key, kind, incarnation, expire_at);
        self.drafts.get_mut().expire(key, lsn, expire_at);
    }

    fn put_element(&mut self, key: &Bytes, name: &[u8], value: &[u8]) -> bool {
        let (incarnation, kind) = self.drafted(key);
        if kind == ValueType::List && self.drafts.get_mut().get(key).is_some_and(|draft| !draft.can_put(name)) {
            self.know_all_of(key);
        }
        let element = Element { slot: Slot::of_key(key), key, incarnation, name, origin: None };
        let lsn = self.push(&Record::ElementPut { element, value, value_type: kind, expire_at: None });
        let applied = || self.applied.found(key).map(|found| found.collection);
        self.drafts.get_mut().put_element(key, name, value, lsn, applied)
    }

    fn delete_element(&mut self, key: &Bytes, name: &[u8]) {
        let (incarnation, _) = self.drafted(key);
        self.know_all_of(key);
        let element = Element { slot: Slot::of_key(key), key, incarnation, name, origin: None };
        let lsn = self.push(&Record::ElementDelete(element));
        let applied = || self.applied.found(key).map(|found| found.collection);
        self.drafts.get_mut().delete_element(key, name, lsn, applied);
    }

    fn clear(&mut self) {
        self.wrote = true;
        self.cleared = true;
        self.drafts.get_mut().clear();
    }
}

//! What commands do: what they do on a real node.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use simplekv_client::{Failure, GroupId, Reply, Slot};
use simplekv_commands::{Keyspace as _, Model, View as _};
use simplekv_resp::{Body, Command, Request};
use simplekv_types::{Dedupe, GroupTime, Lsn, SlotRange, ValueType};

use super::layout::BEGINNING;

/// The data of a mock cluster: that of all groups, for no replica is ever behind.
#[derive(Debug)]
pub struct Keyspace {
    model: Model,
    now: GroupTime,
    /// Results by client, number and slot.
    rows: HashMap<(Vec<u8>, u64, Slot), Reply>,
    /// How many writes each group has done.
    ends: HashMap<GroupId, u64>,
    /// How many writes were executed, retries that were recognised not counted.
    pub executed_writes: u64,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self {
            model: Model::new(),
            now: GroupTime(BEGINNING),
            rows: HashMap::new(),
            ends: HashMap::new(),
            executed_writes: 0,
        }
    }
}

/// The slot of the first key, wherever it stands among the words.
pub(super) fn slot_of(args: &[Bytes]) -> Slot {
    parse(args).ok().and_then(|command| command.keys().next().map(|key| Slot::of_key(key))).unwrap_or(Slot::MIN)
}

pub(super) fn parse(args: &[Bytes]) -> Result<Command, Failure> {
    match Request::parse(args.iter().cloned().collect())?.body {
        Body::Data(command) => Ok(command),
        Body::Control(_) => Err(Failure::command("ERR the mock knows commands on data only")),
    }
}

impl Keyspace {
    /// Runs a command, a write once per identity.
    pub fn run(&mut self, client: &[u8], dedupe: Option<Dedupe>, args: &[Bytes]) -> Reply {
        let Some(dedupe) = dedupe else { return self.execute(args) };
        let row = (client.to_vec(), dedupe.seq.0, slot_of(args));
        if let Some(reply) = self.rows.get(&row) {
            return reply.clone();
        }
        self.executed_writes += 1;
        let reply = self.execute(args);
        self.rows.retain(|(owner, seq, _), _| owner != client || *seq >= dedupe.ack_below.0);
        self.rows.insert(row, reply.clone());
        reply
    }

    /// Runs a command on all keys of these slots.
    pub(super) fn run_over(&mut self, slots: Vec<SlotRange>, args: &[Bytes]) -> Reply {
        if matches!(parse(args), Ok(Command::FlushAll)) {
            // Here the slots are those of all groups.
            let is_mine = |key: &Vec<u8>| slots.iter().any(|range| range.contains(Slot::of_key(key)));
            self.names().into_iter().filter(is_mine).for_each(|key| self.remove(key));
            return Reply::Ok;
        }
        self.model = std::mem::take(&mut self.model).serving(slots);
        let reply = self.execute(args);
        self.model = std::mem::take(&mut self.model).serving(vec![SlotRange::ALL]);
        reply
    }

    /// Where a group's log ends, after one more write or after none.
    pub(super) fn end_of(&mut self, group: GroupId, has_changed: bool) -> Lsn {
        let end = self.ends.entry(group).or_default();
        *end += u64::from(has_changed);
        Lsn(*end)
    }

    /// How many results are kept for retries.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is a key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.model.meta(key).is_ok_and(|meta| meta.is_some_and(|meta| meta.is_visible(self.now)))
    }

    /// All keys.
    #[must_use]
    pub fn names(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        for slot in SlotRange::ALL.iter() {
            let mut visit = |_, key: Bytes, meta: simplekv_commands::Meta| {
                if meta.is_visible(self.now) {
                    names.push(key.to_vec());
                }
            };
            self.model.scan_slot(slot, 0, usize::MAX, &mut visit).expect("a map can always be read");
        }
        names.sort();
        names
    }

    /// Sets a key behind everybody's back.
    pub fn insert(&mut self, key: &'static str, value: &'static str) {
        self.model.put(&key.into(), ValueType::String, value.into(), None);
    }

    /// Takes away a key that is there, behind everybody's back.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.model.delete(&key.into());
    }

    pub(super) fn now(&self) -> GroupTime {
        self.now
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// How often the data has changed.
    pub(super) fn changes(&self) -> u64 {
        self.model.changes()
    }

    fn execute(&mut self, args: &[Bytes]) -> Reply {
        match parse(args) {
            Ok(command) => simplekv_commands::write(&command, &mut self.model, self.now),
            Err(failure) => Reply::Error(failure),
        }
    }
}

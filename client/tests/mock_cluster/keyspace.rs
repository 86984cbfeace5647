//! What commands do: what they do on a real node.

use std::collections::HashMap;

use bytes::Bytes;
use simplekv_commands::{Keyspace as _, Model, View as _};
use simplekv_resp::{Body, Command, Request};
use simplekv_types::{Dedupe, Failure, GroupTime, Reply, Slot, SlotRange, ValueType};

/// It stands still here.
pub const NOW: GroupTime = GroupTime(1_000_000);

#[derive(Default)]
pub struct Keyspace {
    model: Model,
    /// Results by client, number and slot.
    rows: HashMap<(Vec<u8>, u64, Slot), Reply>,
    /// How many writes were executed, retries found in `rows` not counted.
    pub executed_writes: u64,
}

/// The slot of the first key, wherever it stands among the words.
pub fn slot_of(args: &[Bytes]) -> Slot {
    parse(args).ok().and_then(|command| command.keys().next().map(|key| Slot::of_key(key))).unwrap_or(Slot::MIN)
}

fn parse(args: &[Bytes]) -> Result<Command, Failure> {
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

    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.model.meta(key).unwrap().is_some()
    }

    /// All keys.
    pub fn names(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        for slot in SlotRange::ALL.iter() {
            self.model.scan_slot(slot, 0, usize::MAX, &mut |_, key, _| names.push(key.to_vec())).unwrap();
        }
        names.sort();
        names
    }

    pub fn insert(&mut self, key: &'static str, value: &'static str) {
        self.model.put(&key.into(), ValueType::String, value.into(), None);
    }

    pub fn remove(&mut self, key: Vec<u8>) {
        self.model.delete(&key.into());
    }

    fn execute(&mut self, args: &[Bytes]) -> Reply {
        match parse(args) {
            Ok(command) => simplekv_commands::write(&command, &mut self.model, NOW),
            Err(failure) => Reply::Error(failure),
        }
    }
}

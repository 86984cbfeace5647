//! What commands do, as far as tests need it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use simplekv_types::{Dedupe, Failure, Reply, Slot};

#[derive(Default)]
pub struct Keyspace {
    pub values: BTreeMap<Vec<u8>, Bytes>,
    pub expiries: HashMap<Vec<u8>, u64>,
    /// Results by client, number and slot.
    rows: HashMap<(Vec<u8>, u64, Slot), Reply>,
    /// How many writes were executed, retries found in `rows` not counted.
    pub executed_writes: u64,
}

impl Keyspace {
    /// Runs a command, a write once per identity.
    pub fn run(&mut self, client: &[u8], dedupe: Option<Dedupe>, args: &[Bytes]) -> Reply {
        let Some(dedupe) = dedupe else { return self.execute(args) };
        let row = (client.to_vec(), dedupe.seq.0, Slot::of_key(args.get(1).map_or(&[], |key| key)));
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

    fn execute(&mut self, args: &[Bytes]) -> Reply {
        let name = args[0].to_ascii_uppercase();
        let arg = |at: usize| args.get(at).cloned().unwrap_or_default();
        let key = arg(1).to_vec();
        let found = self.values.get(&key).cloned();
        match &name[..] {
            b"GET" => Reply::bulk_or_null(found),
            b"SET" => self.set(key, found, args),
            b"GETSET" => {
                self.values.insert(key, arg(2));
                Reply::bulk_or_null(found)
            }
            b"APPEND" => {
                let value = [found.unwrap_or_default(), arg(2)].concat();
                let len = value.len();
                self.values.insert(key, Bytes::from(value));
                int(len)
            }
            b"STRLEN" => int(found.map_or(0, |value| value.len())),
            b"INCRBY" => self.incr(key, found, number(&arg(2))),
            b"INCR" => self.incr(key, found, 1),
            b"DELEX" => int(usize::from(found.as_ref() == args.get(3) && self.remove(&key))),
            b"DEL" | b"UNLINK" => int(args[1..].iter().filter(|key| self.remove(key)).count()),
            b"EXISTS" | b"TOUCH" => int(args[1..].iter().filter(|key| self.values.contains_key(&key[..])).count()),
            b"MGET" => Reply::Array(
                args[1..].iter().map(|key| Reply::bulk_or_null(self.values.get(&key[..]).cloned())).collect(),
            ),
            b"MSET" => {
                for pair in args[1..].chunks(2) {
                    self.values.insert(pair[0].to_vec(), pair[1].clone());
                }
                Reply::Ok
            }
            b"PEXPIRE" | b"EXPIRE" => {
                let unit = if name[0] == b'P' { 1 } else { 1000 };
                if found.is_some() {
                    self.expiries.insert(key, u64::try_from(number(&arg(2))).unwrap() * unit);
                }
                int(usize::from(self.values.contains_key(&args[1][..])))
            }
            b"PERSIST" => int(usize::from(self.expiries.remove(&key).is_some())),
            b"PTTL" | b"TTL" => Reply::Int(match (found, self.expiries.get(&key)) {
                (None, _) => -2,
                (_, None) => -1,
                (_, Some(&millis)) => i64::try_from(if name[0] == b'P' { millis } else { millis / 1000 }).unwrap(),
            }),
            b"TYPE" => Reply::Status(if found.is_some() { "string" } else { "none" }),
            other => Reply::Error(Failure::Command(
                format!("ERR the mock does not know '{}'", String::from_utf8_lossy(other)).into(),
            )),
        }
    }

    fn set(&mut self, key: Vec<u8>, found: Option<Bytes>, args: &[Bytes]) -> Reply {
        let options: Vec<Vec<u8>> = args[3..].iter().map(|word| word.to_ascii_uppercase()).collect();
        let has = |word: &[u8]| options.iter().any(|option| option == word);
        let differs = || has(b"IFEQ") && found.as_ref() != args.get(4);
        if has(b"NX") && found.is_some() || has(b"XX") && found.is_none() || differs() {
            return Reply::Null;
        }
        if !has(b"KEEPTTL") {
            self.expiries.remove(&key);
        }
        for (word, unit) in [(&b"PX"[..], 1), (b"EX", 1000)] {
            if let Some(at) = options.iter().position(|option| option == word) {
                self.expiries.insert(key.clone(), u64::try_from(number(&args[at + 4])).unwrap() * unit);
            }
        }
        self.values.insert(key, args[2].clone());
        if has(b"GET") { Reply::bulk_or_null(found) } else { Reply::Ok }
    }

    fn incr(&mut self, key: Vec<u8>, found: Option<Bytes>, by: i64) -> Reply {
        let text = found.unwrap_or_else(|| Bytes::from_static(b"0"));
        let Ok(value) = std::str::from_utf8(&text).unwrap_or_default().parse::<i64>() else {
            return Reply::Error(Failure::command("ERR value is not an integer or out of range"));
        };
        self.values.insert(key, Bytes::from((value + by).to_string()));
        Reply::Int(value + by)
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.expiries.remove(key);
        self.values.remove(key).is_some()
    }
}

fn int(count: usize) -> Reply {
    Reply::Int(i64::try_from(count).unwrap())
}

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

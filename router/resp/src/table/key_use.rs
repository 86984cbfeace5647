//! What commands do to their keys, in the words of Redis' key specifications.

use bytes::Bytes;

use super::{Flags, KeyPositions, Spec};

/// What a command does to some of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// `RO`, `RW`, `OW` (overwritten whatever it holds) or `RM` (removed), then whether the client is told what the key holds and
    /// whether that changes.
    pub flags: &'static [&'static str],
    /// What the flags do not say.
    pub notes: &'static str,
}

impl KeyUse {
    const fn new(flags: &'static [&'static str]) -> Self {
        Self { flags, notes: "" }
    }

    const fn noted(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// Whether the words are keys. Names of sharded channels stand in the place of keys, for they have slots, and are none.
    #[must_use]
    pub fn is_of_keys(&self) -> bool {
        !self.flags.contains(&"not_key")
    }
}

/// Some keys of a command that it does the same to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where they stand.
    pub place: KeyPlace,
    /// What is done to them.
    pub key_use: KeyUse,
}

/// Where some keys of a command stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// From the first to the last position, that counted from the end if negative.
    Range {
        /// The first.
        first: i8,
        /// The last.
        last: i8,
        /// From one to the next.
        step: i8,
    },
    /// Behind their number, which stands at this position.
    Counted(i8),
    /// Behind this word, which stands at this position or behind it.
    Behind {
        /// The word.
        word: &'static str,
        /// Where the first option may stand.
        from: i8,
    },
}

const READ: KeyUse = KeyUse::new(&["RO", "access"]);
const LOOK: KeyUse = KeyUse::new(&["RO"]);
const CHANGE: KeyUse = KeyUse::new(&["RW", "access", "update"]);
const UPDATE: KeyUse = KeyUse::new(&["RW", "update"]);
const INSERT: KeyUse = KeyUse::new(&["RW", "insert"]);
const MERGE: KeyUse = KeyUse::new(&["RW", "access", "insert"]);
const TAKE: KeyUse = KeyUse::new(&["RW", "access", "delete"]);
const DELETE: KeyUse = KeyUse::new(&["RW", "delete"]);
const OVERWRITE: KeyUse = KeyUse::new(&["OW", "update"]);
const CREATE: KeyUse = KeyUse::new(&["OW", "insert"]);
const REMOVE: KeyUse = KeyUse::new(&["RM", "delete"]);
const CHANNEL: KeyUse = KeyUse::new(&["not_key"]);
const VARIES: KeyUse = KeyUse::new(&["RW", "access", "update", "variable_flags"]);

/// What is not what [`Spec::is_write`] says: for each kind of keys a command has, in their order.
const USES: &[(&[&str], &[KeyUse])] = &[
    (
        &[
            "watch",
            "exists",
            "touch",
            "type",
            "object|encoding",
            "object|refcount",
            "object|idletime",
            "object|freq",
            "object|version",
            "memory|usage",
            "llen",
            "strlen",
            "zcard",
            "sismember",
            "scard",
            "hlen",
            "hexists",
            "hstrlen",
        ],
        &[LOOK],
    ),
    (&["pfcount"], &[KeyUse::new(&["RW", "access"]).noted("Redis may change how the key is stored; here it does not")]),
    (&["ssubscribe", "sunsubscribe", "spublish"], &[CHANNEL]),
    (&["setnx", "msetnx"], &[CREATE]),
    (&["setex", "psetex", "mset"], &[OVERWRITE]),
    (&["del", "unlink"], &[REMOVE]),
    (
        &[
            "lpop", "rpop", "lmpop", "blmpop", "blpop", "brpop", "getdel", "zpopmin", "zpopmax", "zmpop", "bzmpop",
            "spop",
        ],
        &[TAKE],
    ),
    (&["bzpopmin", "bzpopmax", "delex", "delifeq"], &[TAKE]),
    (&["lrem", "ltrim", "zrem", "zremrangebyrank", "zremrangebyscore", "zremrangebylex", "srem", "hdel"], &[DELETE]),
    (&["pfadd", "lpush", "rpush", "lpushx", "rpushx", "linsert", "append", "sadd", "hsetnx"], &[INSERT]),
    (&["geoadd", "expire", "pexpire", "expireat", "pexpireat", "persist"], &[UPDATE]),
    (&["lset", "setrange", "zadd", "hset", "hmset"], &[UPDATE]),
    (&["getex"], &[CHANGE.noted("it changes how long the key lives")]),
    (&["set"], &[VARIES.noted("with GET the old value is answered")]),
    (&["bitfield"], &[VARIES.noted("only with SET or INCRBY is it changed")]),
    (&["geosearchstore", "bitop", "zrangestore", "sunionstore", "sdiffstore"], &[OVERWRITE, READ]),
    (&["zunionstore", "zinterstore", "zdiffstore"], &[OVERWRITE, READ]),
    (&["sinterstore"], &[UPDATE, READ]),
    (&["copy", "sort"], &[READ, OVERWRITE]),
    (&["georadius", "georadiusbymember"], &[READ, OVERWRITE, OVERWRITE]),
    (&["rename"], &[TAKE, OVERWRITE]),
    (&["renamenx"], &[TAKE, CREATE]),
    (&["lmove", "rpoplpush", "blmove", "brpoplpush", "smove"], &[TAKE, INSERT]),
    (&["pfmerge"], &[MERGE, READ]),
];

fn uses(spec: &Spec) -> &'static [KeyUse] {
    let known = USES.iter().find(|(names, _)| names.contains(&spec.name)).map(|(_, uses)| *uses);
    known.unwrap_or(if spec.is_write() { &[CHANGE] } else { &[READ] })
}

impl Spec {
    /// Its keys, by what is done to them.
    #[must_use]
    pub fn key_specs(&self) -> Vec<KeySpec> {
        let KeyPositions { first, last, step, counted, options } = self.keys;
        let uses = uses(self);
        let mut places = Vec::new();
        if first > 0 {
            let more = usize::from(counted > 0) + options.words().count();
            // What is done to the first key of several may be another thing.
            if uses.len() > 1 + more {
                places.push(KeyPlace::Range { first, last: first, step });
                places.push(KeyPlace::Range { first: first + step, last, step });
            } else {
                places.push(KeyPlace::Range { first, last, step });
            }
        }
        if counted > 0 {
            places.push(KeyPlace::Counted(counted));
        }
        places.extend(options.words().map(|word| KeyPlace::Behind { word, from: options.from }));
        let uses = uses.iter().chain(std::iter::repeat(uses.last().unwrap_or(&READ)));
        places.into_iter().zip(uses).map(|(place, key_use)| KeySpec { place, key_use: *key_use }).collect()
    }

    /// The keys of a request with what it does to each.
    #[must_use]
    pub fn keys_with_use<'a>(&self, args: &'a [Bytes]) -> Vec<(&'a Bytes, KeyUse)> {
        let specs = self.key_specs();
        let use_of = |at: usize| {
            let is_there = |spec: &&KeySpec| match spec.place {
                KeyPlace::Range { first, last, .. } => {
                    let last = if last < 0 {
                        args.len().saturating_sub(usize::from(last.unsigned_abs()))
                    } else {
                        last as usize
                    };
                    (first as usize..=last).contains(&at)
                }
                KeyPlace::Counted(counted) => at > counted as usize,
                KeyPlace::Behind { word, .. } => {
                    args.get(at.wrapping_sub(1)).is_some_and(|before| before.eq_ignore_ascii_case(word.as_bytes()))
                }
            };
            // An option stands behind what is counted: the last that fits is meant.
            specs.iter().rfind(is_there).map(|spec| self.told(spec.key_use, args))
        };
        self.key_positions(args).filter_map(|at| Some((args.get(at)?, use_of(at)?))).collect()
    }

    /// What a request with these words does to a key, where that depends on them.
    fn told(&self, key_use: KeyUse, args: &[Bytes]) -> KeyUse {
        let has = |word: &str| args.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        match self.name {
            "set" if args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get")) => CHANGE,
            "set" => OVERWRITE,
            "bitfield" if has("set") || has("incrby") => CHANGE,
            "bitfield" => READ,
            _ => key_use,
        }
    }

    /// Whether any of its words are keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.key_specs().iter().any(|spec| spec.key_use.is_of_keys())
    }

    /// Whether a request without keys may make sense although others have some.
    pub(crate) fn may_have_no_keys(&self) -> bool {
        self.flags.contains(Flags::MOVABLE_KEYS) && matches!(self.name, "eval" | "evalsha")
    }
}

//! Random requests: mostly sensible, some spoiled.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

mod blocking;
mod geo;
mod hyperloglog;
mod list;
mod lock;
mod set_of;
mod sort;
mod zset;

pub(crate) type Words = Vec<Vec<u8>>;

pub(crate) struct Commands {
    rng: StdRng,
    now_millis: u64,
    /// What comes before anything new.
    planned: VecDeque<Words>,
}

const KEYS: &[&str] =
    &["a", "b", "c", "counter", "float", "{t}1", "{t}2", "user:1", "user:22", "x y", "", "hash", "list", "set", "zset"];
const HASHES: &[&str] = &["h", "hash", "{t}hash"];
const INTEGERS: &[&str] =
    &["0", "1", "-1", "5", "-7", "100", "9223372036854775807", "-9223372036854775808", "9223372036854775000"];
const FLOATS: &[&str] = &[
    "0.1",
    "-0.1",
    "3",
    "1.5e3",
    "10.50",
    "1e17",
    "-1e-17",
    "123456.789",
    "0x1p-3",
    "3.14159265358979",
    "1e300",
    "inf",
    "nan",
    "1e-4951",
    ".5",
    "5.",
    "+2",
    "1e",
    " 1",
    "-0",
];
const TEXTS: &[&str] = &["", "v", "hello world", "value\r\nwith lines", "01", " 12", "12 ", "abc\0def", "-0", "+5"];
/// Numbers where none is expected, or a too great one. None is a time that could lapse while the test runs.
const SENSELESS: &[&str] =
    &["0", "-5", "foo", "", "1.5", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "99999999999"];
const PATTERNS: &[&str] =
    &["*", "a", "[a-c]", "user:*", "user:?", "*t*", "{t}*", "[^a]", "c*r", "\\{t\\}1", "", "user:[12]*", "*[", "x y"];

impl Commands {
    pub(crate) fn new(seed: u64, now_millis: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), now_millis, planned: VecDeque::new() }
    }

    fn pick(&mut self, from: &[&str]) -> String {
        (*from.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn key(&mut self) -> String {
        self.pick(KEYS)
    }

    fn value(&mut self) -> String {
        match self.rng.random_range(0..6) {
            0 | 1 => self.pick(INTEGERS),
            2 => self.pick(FLOATS),
            3 => "long".repeat(self.rng.random_range(5..40)),
            4 => self.rng.random_range(-1000..100_000i64).to_string(),
            _ => self.pick(TEXTS),
        }
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.rng.random_ratio(1, chances)
    }

    /// A time to live that does not lapse during the test, or now and then a senseless one.
    fn relative(&mut self, millis: bool) -> String {
        if self.one_in(8) {
            return self.pick(SENSELESS);
        }
        let seconds: u64 = self.rng.random_range(100_000..100_000_000);
        (if millis { seconds * 1000 + 7 } else { seconds }).to_string()
    }

    /// A time far ahead or in the past.
    fn absolute(&mut self, millis: bool) -> String {
        if self.one_in(8) {
            return self.pick(SENSELESS);
        }
        let away: u64 = self.rng.random_range(100_000_000..100_000_000_000);
        let at = if self.one_in(4) { self.now_millis - away } else { self.now_millis + away };
        (if millis { at } else { at / 1000 }).to_string()
    }

    fn expiry(&mut self) -> Vec<String> {
        match self.rng.random_range(0..4) {
            0 => vec!["EX".into(), self.relative(false)],
            1 => vec!["px".into(), self.relative(true)],
            2 => vec!["exat".into(), self.absolute(false)],
            _ => vec!["PXAT".into(), self.absolute(true)],
        }
    }

    fn pairs(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..4)).flat_map(|_| [self.key(), self.value()]).collect()
    }

    fn keys(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..5)).map(|_| self.key()).collect()
    }

    pub(crate) fn next(&mut self) -> Words {
        if self.planned.is_empty() && self.one_in(40) {
            self.plan_transaction();
        }
        self.planned.pop_front().unwrap_or_else(|| self.single())
    }

    /// MULTI, some commands, and EXEC; or, now and then, senseless parts of that.
    fn plan_transaction(&mut self) {
        let mut plan =
            |words: &[&str]| self.planned.push_back(words.iter().map(|word| word.as_bytes().to_vec()).collect());
        let watched = KEYS[self.rng.random_range(0..KEYS.len())];
        match self.rng.random_range(0..12) {
            0 => return plan(&["exec"]),
            1 => return plan(&["discard"]),
            2 | 3 => plan(&["watch", watched, "nosuch"]),
            4 => {
                plan(&["watch", watched]);
                plan(&["set", watched, "other"]);
            }
            5 => {
                plan(&["watch", watched]);
                plan(&["unwatch"]);
                plan(&["hset", "h", "f1", "v"]);
            }
            _ => (),
        }
        plan(&["multi"]);
        for _ in 0..self.rng.random_range(0..8) {
            let words = match self.rng.random_range(0..25) {
                0 => vec![b"multi".to_vec()],
                1 => vec![b"watch".to_vec(), b"a".to_vec()],
                2 => vec![b"ping".to_vec()],
                3 => vec![b"echo".to_vec(), b"hello".to_vec()],
                _ => self.single(),
            };
            // These are refused, for they are not about the keys of one group; and newer ones take a word more, see `agree`.
            let differs = ["keys", "scan", "randomkey", "dbsize", "flushdb", "zrank", "zrevrank"]
                .iter()
                .any(|name| words[0].eq_ignore_ascii_case(name.as_bytes()));
            if !differs {
                self.planned.push_back(words);
            }
        }
        let end = if self.one_in(8) { "discard" } else { "exec" };
        self.planned.push_back(vec![end.as_bytes().to_vec()]);
    }

    fn single(&mut self) -> Words {
        let mut words = self.sensible();
        // Members of different scores are in no order that ranges of members mean anything in.
        let is_scored = words.iter().any(|word| word == zset::LEXICAL) && words.contains(&"0".to_owned());
        if self.one_in(12) && !is_scored {
            self.spoil(&mut words);
        }
        words.into_iter().map(String::into_bytes).collect()
    }

    fn spoil(&mut self, words: &mut Vec<String>) {
        let stays = [
            blocking::must_stay,
            set_of::must_stay,
            sort::must_stay,
            geo::must_stay,
            hyperloglog::must_stay,
            lock::must_stay,
        ];
        if stays.iter().any(|stay| stay(words)) {
            return;
        }
        let at = self.rng.random_range(0..words.len());
        match self.rng.random_range(0..4) {
            0 if at > 0 => drop(words.remove(at)),
            1 => words.insert(at.max(1), words[at].clone()),
            2 if at > 0 => words[at] = self.pick(SENSELESS),
            _ => words.push(self.pick(&["NX", "XX", "GET", "KEEPTTL", "foo", "PERSIST", "EX", "GT", "COUNT", "MATCH"])),
        }
    }

    fn sensible(&mut self) -> Vec<String> {
        let (name, rest) = match self.rng.random_range(0..18) {
            0 | 1 => self.string_command(),
            2 => self.number_command(),
            3 => self.bit_command(),
            4 | 5 => self.hash_command(),
            6 if self.one_in(6) => self.blocking_command(),
            6 | 7 => self.list_command(),
            8 | 9 => self.set_of_command(),
            10 | 11 => self.zset_command(),
            12 => self.sort_command(),
            13 | 14 => self.geo_command(),
            15 | 16 => self.hyperloglog_command(),
            17 if self.one_in(3) => self.lock_command(),
            _ => self.key_command(),
        };
        let name = if self.one_in(3) { name.to_uppercase() } else { name.to_owned() };
        name.split(' ').map(str::to_owned).chain(rest).collect()
    }

    fn string_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.key();
        match self.rng.random_range(0..17) {
            0 | 1 => ("get", vec![key]),
            2..=5 => ("set", self.set(key)),
            6 => ("setnx", vec![key, self.value()]),
            7 => ("setex", vec![key, self.relative(false), self.value()]),
            8 => ("psetex", vec![key, self.relative(true), self.value()]),
            9 => ("getset", vec![key, self.value()]),
            10 => ("getdel", vec![key]),
            11 => {
                let change = match self.rng.random_range(0..3) {
                    0 => Vec::new(),
                    1 => vec!["PERSIST".into()],
                    _ => self.expiry(),
                };
                ("getex", [vec![key], change].concat())
            }
            12 => ("mget", self.keys()),
            13 => ("mset", self.pairs()),
            14 => ("msetnx", self.pairs()),
            15 => ("append", vec![key, self.value()]),
            _ => ("strlen", vec![key]),
        }
    }

    fn bit_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.key();
        match self.rng.random_range(0..8) {
            0 => ("getbit", vec![key, self.bit_offset()]),
            1 | 2 => ("setbit", vec![key, self.bit_offset(), self.pick(&["0", "1", "1", "2"])]),
            3 => ("bitcount", [vec![key], self.bit_range()].concat()),
            4 => ("bitpos", [vec![key, self.pick(&["0", "1", "1", "2", "x"])], self.bit_range()].concat()),
            5 => {
                let operation = self.pick(&["and", "OR", "xor", "not", "nand"]);
                let keys = if self.one_in(2) { vec![self.key()] } else { self.keys() };
                ("bitop", [vec![operation, key], keys].concat())
            }
            6 => ("bitfield", [vec![key], self.bit_steps(true)].concat()),
            _ => {
                let writes = self.one_in(8);
                ("bitfield_ro", [vec![key], self.bit_steps(writes)].concat())
            }
        }
    }

    fn hash_key(&mut self) -> String {
        if self.one_in(15) { self.key() } else { self.pick(HASHES) }
    }

    fn field(&mut self) -> String {
        if self.one_in(20) { self.value() } else { format!("f{}", self.rng.random_range(0..12)) }
    }

    fn fields(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..4)).map(|_| self.field()).collect()
    }

    fn hash_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.hash_key();
        let with = |key: String, rest: Vec<String>| [vec![key], rest].concat();
        match self.rng.random_range(0..24) {
            0 => ("hget", vec![key, self.field()]),
            1 => ("hmget", with(key, self.fields())),
            2 | 3 => ("hgetall", vec![key]),
            4 => ("hkeys", vec![key]),
            5 => ("hvals", vec![key]),
            6 => ("hlen", vec![key]),
            7 => ("hexists", vec![key, self.field()]),
            8 => ("hstrlen", vec![key, self.field()]),
            9 => {
                let mut words = vec![key];
                if !self.one_in(3) {
                    words.push(self.draws());
                    words.extend(self.one_in(2).then(|| "WithValues".to_owned()));
                }
                ("hrandfield", words)
            }
            10 => ("hscan", with(key, self.scan_of_all())),
            11..=14 => {
                let pairs = (0..self.rng.random_range(1..4)).flat_map(|_| [self.field(), self.value()]).collect();
                (if self.one_in(4) { "hmset" } else { "hset" }, with(key, pairs))
            }
            15 => ("hsetnx", vec![key, self.field(), self.value()]),
            16..=19 => ("hdel", with(key, self.fields())),
            20 | 21 => ("hincrby", vec![key, self.field(), self.number()]),
            _ => {
                let increment = if self.one_in(2) { self.pick(FLOATS) } else { self.number() };
                ("hincrbyfloat", vec![key, self.field(), increment])
            }
        }
    }

    /// Few enough that no answer is a matter of luck, apart from which are drawn.
    fn draws(&mut self) -> String {
        if self.one_in(6) {
            self.pick(&["foo", "", "-9223372036854775808"])
        } else {
            self.rng.random_range(-5..40).to_string()
        }
    }

    fn scan_of_all(&mut self) -> Vec<String> {
        let mut words = vec!["0".to_owned(), "COUNT".to_owned(), "100000".to_owned()];
        if self.one_in(2) {
            words.extend(["match".to_owned(), self.pick(&["*", "f*", "f[1-3]", "f1?", "nosuch"])]);
        }
        words
    }

    fn bit_offset(&mut self) -> String {
        match self.rng.random_range(0..10) {
            0 => self.pick(&["-1", "4294967296", "99999999999", "foo", "", "01"]),
            1 => self.rng.random_range(0..5000).to_string(),
            _ => self.rng.random_range(0..200).to_string(),
        }
    }

    fn bit_range(&mut self) -> Vec<String> {
        let mut words: Vec<String> = (0..self.rng.random_range(0..3)).map(|_| self.position()).collect();
        if words.len() == 2 && self.one_in(2) {
            words.push(self.pick(&["BIT", "bit", "byte", "bits"]));
        }
        words
    }

    fn bit_steps(&mut self, writes: bool) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..self.rng.random_range(0..4) {
            let kind = match self.rng.random_range(0..12) {
                0 => self.pick(&["u64", "i65", "u0", "x8", "8", "i", "u-1"]),
                1 => "i64".to_owned(),
                2 => "u63".to_owned(),
                _ => format!("{}{}", self.pick(&["i", "u"]), self.rng.random_range(1..40)),
            };
            let hash = if self.one_in(4) { "#" } else { "" };
            let place = [kind, format!("{hash}{}", self.bit_offset())];
            if writes && self.one_in(3) {
                words.extend(["OVERFLOW".to_owned(), self.pick(&["WRAP", "sat", "Fail", "fail", "never"])]);
            }
            match if writes { self.rng.random_range(0..3) } else { 0 } {
                0 => words.extend(["get".to_owned()].into_iter().chain(place)),
                1 => words.extend(["SET".to_owned()].into_iter().chain(place).chain([self.number()])),
                _ => words.extend(["incrby".to_owned()].into_iter().chain(place).chain([self.number()])),
            }
        }
        words
    }

    fn number(&mut self) -> String {
        if self.one_in(3) { self.pick(INTEGERS) } else { self.rng.random_range(-300..300).to_string() }
    }

    fn set(&mut self, key: String) -> Vec<String> {
        let mut words = vec![key, self.value()];
        if self.one_in(3) {
            words.push(self.pick(&["NX", "xx"]));
        }
        if self.one_in(4) {
            words.push("GET".into());
        }
        match self.rng.random_range(0..5) {
            0 => words.push("keepttl".into()),
            1 | 2 => words.extend(self.expiry()),
            _ => (),
        }
        words
    }

    fn number_command(&mut self) -> (&'static str, Vec<String>) {
        let key = if self.one_in(2) { "counter".to_owned() } else { self.key() };
        match self.rng.random_range(0..9) {
            0 => ("incr", vec![key]),
            1 => ("decr", vec![key]),
            2 => ("incrby", vec![key, self.pick(INTEGERS)]),
            3 => ("decrby", vec![key, self.pick(INTEGERS)]),
            4 | 5 => {
                let key = if self.one_in(4) { key } else { "float".to_owned() };
                let increment = if self.one_in(2) {
                    format!("{:.*}", self.rng.random_range(0..12), self.rng.random_range(-1e6..1e6))
                } else {
                    self.pick(FLOATS)
                };
                ("incrbyfloat", vec![key, increment])
            }
            6 => ("getrange", vec![key, self.position(), self.position()]),
            7 => ("substr", vec![key, self.position(), self.position()]),
            _ => {
                let offset = if self.one_in(9) { "536870912".to_owned() } else { self.position() };
                ("setrange", vec![key, offset, self.value()])
            }
        }
    }

    fn position(&mut self) -> String {
        if self.one_in(12) { self.pick(INTEGERS) } else { self.rng.random_range(-12..30).to_string() }
    }

    fn key_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.key();
        match self.rng.random_range(0..28) {
            0 => ("del", self.keys()),
            1 => ("unlink", self.keys()),
            2 => ("exists", self.keys()),
            3 => ("touch", self.keys()),
            4 => ("type", vec![key]),
            5 | 6 => ("expire", self.expire(key, false, false)),
            7 => ("pexpire", self.expire(key, true, false)),
            8 => ("expireat", self.expire(key, false, true)),
            9 => ("pexpireat", self.expire(key, true, true)),
            10 => ("ttl", vec![key]),
            11 => ("pttl", vec![key]),
            12 => ("expiretime", vec![key]),
            13 => ("pexpiretime", vec![key]),
            14 => ("persist", vec![key]),
            15 => ("rename", vec![key, self.key()]),
            16 => ("renamenx", vec![key, self.key()]),
            17 => ("copy", self.copy(key)),
            18 => ("object encoding", vec![key]),
            19 => ("object freq", vec![key]),
            20 => ("memory usage", vec![key]),
            21 | 22 => ("keys", vec![self.pick(PATTERNS)]),
            23 => ("scan", self.scan()),
            24 => ("randomkey", vec![]),
            25 => ("dbsize", vec![]),
            26 if self.one_in(10) => ("flushdb", vec![]),
            _ => (
                ["nosuch", "get|x", "client nosuch", "object nosuch"][self.rng.random_range(0..4)],
                vec![key, self.value()],
            ),
        }
    }

    fn expire(&mut self, key: String, millis: bool, absolute: bool) -> Vec<String> {
        let time = if absolute { self.absolute(millis) } else { self.relative(millis) };
        let mut words = vec![key, time];
        for _ in 0..self.rng.random_range(0..3) {
            words.push(self.pick(&["NX", "xx", "GT", "lt"]));
        }
        words
    }

    fn copy(&mut self, key: String) -> Vec<String> {
        let mut words = vec![key, self.key()];
        if self.one_in(2) {
            words.push("REPLACE".into());
        }
        words
    }

    fn scan(&mut self) -> Vec<String> {
        let mut words = vec!["0".to_owned(), "COUNT".to_owned(), "100000".to_owned()];
        if self.one_in(2) {
            words.extend(["match".to_owned(), self.pick(PATTERNS)]);
        }
        if self.one_in(3) {
            words.extend(["TYPE".to_owned(), self.pick(&["string", "STRING", "hash", "nosuch"])]);
        }
        words
    }
}

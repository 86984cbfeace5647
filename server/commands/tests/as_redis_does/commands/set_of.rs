//! Requests about sets.

use rand::Rng;

use super::{Commands, INTEGERS};

const KEYS: &[&str] = &["s", "set", "{t}set", "numbers"];
/// Holds nothing but `only`, so that it is no matter of luck what SPOP takes.
const LONE: &str = "lone";

/// What must not be spoiled: if luck had a say in what SPOP takes, the two would differ from then on.
pub(super) fn must_stay(words: &[String]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case("spop") || word == LONE)
}

impl Commands {
    fn set_of_key(&mut self) -> String {
        if self.one_in(15) { self.key() } else { self.pick(KEYS) }
    }

    /// Repeats included.
    fn set_of_keys(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..4)).map(|_| self.source()).collect()
    }

    /// A key that is only read, which may be missing or of another type more often.
    fn source(&mut self) -> String {
        if self.one_in(8) { self.pick(&["nosuch", LONE, "h"]) } else { self.set_of_key() }
    }

    /// Integers for the set of numbers.
    fn member(&mut self, key: &str) -> String {
        match self.rng.random_range(0..if key == "numbers" { 20 } else { 40 }) {
            0 => self.value(),
            1 => self.pick(INTEGERS),
            2..20 => self.rng.random_range(-2..7).to_string(),
            _ => format!("m{}", self.rng.random_range(0..9)),
        }
    }

    fn members(&mut self, key: String) -> Vec<String> {
        let members: Vec<String> = (0..self.rng.random_range(1..5)).map(|_| self.member(&key)).collect();
        [vec![key], members].concat()
    }

    pub(super) fn set_of_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.set_of_key();
        match self.rng.random_range(0..36) {
            0..=6 => ("sadd", self.members(key)),
            7..=9 => ("srem", self.members(key)),
            10 => ("sismember", vec![key.clone(), self.member(&key)]),
            11 => ("smismember", self.members(key)),
            12 => ("scard", vec![key]),
            13..=15 => ("smembers", vec![key]),
            16 | 17 => ("spop", self.pop(key)),
            18 | 19 => ("srandmember", self.draw_members(key)),
            20..=22 => ("smove", vec![self.source(), key.clone(), self.member(&key)]),
            23 => ("sinter", self.set_of_keys()),
            24 => ("sunion", self.set_of_keys()),
            25 => ("sdiff", self.set_of_keys()),
            26 => ("sinterstore", [vec![key], self.set_of_keys()].concat()),
            27 => ("sunionstore", [vec![key], self.set_of_keys()].concat()),
            28 => ("sdiffstore", [vec![key], self.set_of_keys()].concat()),
            29 | 30 => ("sintercard", self.inter_card()),
            31 | 32 => ("sscan", self.scan_of_set(key)),
            33 => ("object encoding", vec![key]),
            _ => self.lone_command(key),
        }
    }

    /// All, none, or what is refused.
    fn pop(&mut self, key: String) -> Vec<String> {
        let words = match self.rng.random_range(0..4) {
            0 => vec![key, self.pick(&["1000", "9223372036854775807"])],
            1 => vec![key, "0".to_owned()],
            // A spoiled request may bring any other key about.
            2 => vec!["void".to_owned()],
            _ => vec![key, self.pick(&["-1", "foo", "", "1.5", "01", "9223372036854775808"])],
        };
        if self.one_in(12) { [words, vec!["1".to_owned(), "2".to_owned()]].concat() } else { words }
    }

    fn draw_members(&mut self, key: String) -> Vec<String> {
        let mut words = vec![key];
        if !self.one_in(3) {
            words.push(self.draws());
            words.extend(self.one_in(8).then(|| "WITHVALUES".to_owned()));
        }
        words
    }

    fn inter_card(&mut self) -> Vec<String> {
        let keys = self.set_of_keys();
        let count = if self.one_in(5) {
            self.pick(&["0", "-1", "foo", "", "01", "1", "2", "9", "9223372036854775807", "9223372036854775808"])
        } else {
            keys.len().to_string()
        };
        let mut words = [vec![count], keys].concat();
        for _ in 0..self.rng.random_range(0..3) {
            words.push(self.pick(&["LIMIT", "limit", "Limit", "foo"]));
            if !self.one_in(10) {
                words.push(self.pick(&["0", "1", "1", "2", "3", "1000", "-1", "foo", "", "9223372036854775808"]));
            }
        }
        words
    }

    fn scan_of_set(&mut self, key: String) -> Vec<String> {
        let mut words = vec![key, "0".to_owned(), "COUNT".to_owned(), "100000".to_owned()];
        if self.one_in(2) {
            words.extend(["match".to_owned(), self.pick(&["*", "m*", "m[1-3]", "-?", "nosuch"])]);
        }
        words
    }

    fn lone_command(&mut self, key: String) -> (&'static str, Vec<String>) {
        let words = |words: &[&str]| [&[LONE], words].concat().into_iter().map(str::to_owned).collect();
        match self.rng.random_range(0..6) {
            0..=2 => ("sadd", words(&["only"])),
            3 => ("spop", words(&[])),
            4 => ("spop", words(&[&self.pick(&["1", "5"])])),
            _ => ("smove", words(&[&key, "only"])),
        }
    }
}

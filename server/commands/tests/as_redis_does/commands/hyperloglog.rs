//! Requests about HyperLogLogs.

use rand::Rng;

use super::Commands;

const KEYS: &[&str] = &["{t}visitors", "{t}few", "{t}union", "seen"];
/// Strings that begin as one does, some with an estimate. The last byte of all is the highest of it.
const SENSELESS: &[&str] = &[
    "HYLL",
    "HYLLx",
    "HYLL\0\0\0\0\0\0\0\0\0\0\0\0",
    "HYLL\u{1}\0\0\0\u{7}\0\0\0\0\0\0\0",
    "HYLL\u{1}\0\0\0\0\0\0\0\0\0\u{80}",
    "HYLL\u{2}\0\0\0\0\0\0\0\0\0\0\0\u{7f}\u{7f}",
    "hyll\u{1}\0\0\0\0\0\0\0\0\0\0\0\u{7f}\u{7f}",
    "12",
];

/// Redis changes them when it counts, so nobody else may read what they hold.
pub(super) fn must_stay(words: &[String]) -> bool {
    ["pfadd", "pfmerge"].iter().any(|name| words[0].eq_ignore_ascii_case(name))
}

impl Commands {
    fn estimating_key(&mut self) -> String {
        if self.one_in(12) { self.pick(&["list", "s", "nosuch", "spoiled", "hash"]) } else { self.pick(KEYS) }
    }

    fn counting_key(&mut self) -> String {
        if self.one_in(12) { self.pick(&["z", "places", "spoiled"]) } else { self.pick(KEYS) }
    }

    fn estimating_keys(&mut self) -> Vec<String> {
        (0..self.rng.random_range(0..4)).map(|_| self.estimating_key()).collect()
    }

    /// So many that all ways of writing them down occur, in few of them only the first.
    fn counted(&mut self, key: &str) -> Vec<String> {
        let (most, kinds) = if key == "{t}few" { (3, 150) } else { (150, 100_000) };
        (0..self.rng.random_range(0..most)).map(|_| format!("e{}", self.rng.random_range(0..kinds))).collect()
    }

    pub(super) fn hyperloglog_command(&mut self) -> (&'static str, Vec<String>) {
        let (key, to) = (self.estimating_key(), self.counting_key());
        match self.rng.random_range(0..20) {
            0..=6 => ("pfadd", [vec![to.clone()], self.counted(&to)].concat()),
            7..=10 => ("pfcount", vec![key]),
            11 => ("pfcount", [vec![key], self.estimating_keys()].concat()),
            12 | 13 => {
                let to = if self.one_in(3) { to } else { "{t}union".to_owned() };
                ("pfmerge", [vec![to], self.estimating_keys()].concat())
            }
            14 | 15 => ("get", vec![self.pick(KEYS)]),
            16 => ("strlen", vec![self.pick(KEYS)]),
            17 => ("set", vec!["spoiled".to_owned(), self.pick(SENSELESS)]),
            18 => ("expire", vec![self.pick(KEYS), self.relative(false)]),
            _ if self.one_in(4) => ("del", vec![self.pick(KEYS)]),
            _ => ("ttl", vec![self.pick(KEYS)]),
        }
    }
}

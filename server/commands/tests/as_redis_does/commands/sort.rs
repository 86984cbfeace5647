//! Requests of SORT.

use rand::Rng;

use super::Commands;

/// What their elements stand for is in the same slot.
const KEYS: &[&str] = &["{t}integers", "{t}numbers", "{t}words", "{t}scored", "{t}sorted"];
const PATTERNS: &[&str] = &["{t}w_*", "{t}h_*->f", "{t}h_*->", "{t}w_*->f", "{t}nosuch_*", "{t}*"];
const CONSTANT: &[&str] = &["nosort", "#", "", "{t}w_1"];

/// What is stored must not be a matter of luck, or of whether we refuse a pattern that Redis on its own does not.
pub(super) fn must_stay(words: &[String]) -> bool {
    let stores = words[0].eq_ignore_ascii_case("sort") && words.iter().any(|word| word.eq_ignore_ascii_case("store"));
    stores || words.iter().any(|word| word == "{t}integers")
}

impl Commands {
    fn sorted_key(&mut self) -> String {
        match self.rng.random_range(0..15) {
            0 => self.key(),
            1 => self.pick(&["list", "s", "z", "nosuch", "lone"]),
            _ => self.pick(KEYS),
        }
    }

    fn sortable(&mut self, key: &str) -> String {
        match key {
            "{t}words" => self.pick(&["b", "a", "ab", "B", "", "10", "9", "c"]),
            "{t}integers" => self.rng.random_range(-3..12).to_string(),
            _ if self.one_in(60) => self.value(),
            _ => self.rng.random_range(-3..12).to_string(),
        }
    }

    fn sort(&mut self) -> Vec<String> {
        let mut words = vec![self.sorted_key()];
        if self.one_in(2) {
            words.extend(["By".to_owned(), if self.one_in(4) { self.pick(CONSTANT) } else { self.pick(PATTERNS) }]);
        }
        self.narrow(&mut words);
        if self.one_in(20) {
            words.extend(["get".to_owned(), self.pick(&["#*", "*", "*{t}", ""])]);
        }
        words.extend(self.one_in(2).then(|| self.pick(&["ALPHA", "alpha"])));
        words.extend(self.one_in(30).then(|| self.pick(&["STORE", "BY", "limit"])));
        words
    }

    /// Redis may take numbers for none that are (see `agree`), except those it keeps as integers, and may store equals in any order.
    fn sort_and_store(&mut self) -> Vec<String> {
        let mut words = match self.rng.random_range(0..3) {
            0 => vec!["{t}integers".to_owned()],
            1 => vec![self.pick(KEYS), "alpha".to_owned()],
            _ => vec![self.pick(KEYS), "by".to_owned(), self.pick(CONSTANT)],
        };
        self.narrow(&mut words);
        words.extend(["Store".to_owned(), self.pick(&["{t}sorted", "{t}sorted", "{t}words", "list"])]);
        words
    }

    fn narrow(&mut self, words: &mut Vec<String>) {
        if self.one_in(3) {
            let (offset, count) = (self.rng.random_range(-2..8), self.rng.random_range(-2..8));
            words.extend(["limit".to_owned(), offset.to_string(), count.to_string()]);
        }
        while self.one_in(3) {
            let get = if self.one_in(2) { self.pick(&["#", "nothing", "#"]) } else { self.pick(PATTERNS) };
            words.extend(["GET".to_owned(), get]);
        }
        words.extend(self.one_in(2).then(|| self.pick(&["ASC", "desc", "DESC"])));
    }

    pub(super) fn sort_command(&mut self) -> (&'static str, Vec<String>) {
        let number = self.rng.random_range(-3..12).to_string();
        match self.rng.random_range(0..16) {
            0..=3 => ("sort", self.sort()),
            4 | 5 => ("sort", self.sort_and_store()),
            6 | 7 => ("sort_ro", self.sort()),
            8 => ("set", vec![format!("{{t}}w_{number}"), self.sortable("")]),
            9 => ("hset", vec![format!("{{t}}h_{number}"), "f".to_owned(), self.sortable("{t}words")]),
            10 => ("del", vec![format!("{{t}}{}_{number}", self.pick(&["w", "h"]))]),
            11 => ("del", vec![self.pick(KEYS)]),
            12 | 13 => {
                let key = self.pick(&["{t}words", "{t}integers"]);
                ("rpush", vec![key.clone(), self.sortable(&key), self.sortable(&key)])
            }
            14 => ("sadd", vec!["{t}numbers".to_owned(), self.sortable(""), self.sortable("")]),
            _ => ("zadd", vec!["{t}scored".to_owned(), self.rng.random_range(-5..5).to_string(), self.sortable("")]),
        }
    }
}

//! Requests about lists.

use rand::Rng as _;

use super::Commands;

const KEYS: &[&str] = &["l", "{t}l", "list", "{t}list"];
/// Few, so that one stands in a list several times.
const ELEMENTS: &[&str] = &["a", "b", "c", "d", "", "7"];

impl Commands {
    pub(super) fn list_key(&mut self) -> String {
        if self.one_in(15) { self.key() } else { self.pick(KEYS) }
    }

    fn element(&mut self) -> String {
        if self.one_in(10) { self.value() } else { self.pick(ELEMENTS) }
    }

    fn elements(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..5)).map(|_| self.element()).collect()
    }

    fn end(&mut self) -> String {
        if self.one_in(20) { self.pick(&["up", "", "lef"]) } else { self.pick(&["LEFT", "left", "RIGHT", "Right"]) }
    }

    /// Where an element stands, or how many are meant, counted from either end.
    fn place(&mut self) -> String {
        match self.rng.random_range(0..14) {
            0 => self.position(),
            1 => self.pick(super::SENSELESS),
            _ => self.rng.random_range(-4..6).to_string(),
        }
    }

    fn count(&mut self) -> String {
        if self.one_in(10) { self.place() } else { self.rng.random_range(0..5).to_string() }
    }

    fn trimmed(&mut self) -> Vec<String> {
        if self.one_in(3) {
            return vec![self.position(), self.position()];
        }
        vec![self.rng.random_range(0..3).to_string(), self.rng.random_range(-3..20).to_string()]
    }

    fn match_options(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..self.rng.random_range(0..4) {
            let (option, number) = match self.rng.random_range(0..20) {
                0 => ("foo", self.count()),
                1..=8 if self.one_in(8) => ("rank", self.place()),
                1..=8 => ("RANK", self.pick(&["1", "-1", "2", "-2", "-3"])),
                9..=14 => ("count", self.count()),
                _ => ("MaxLen", self.count()),
            };
            words.push(option.to_owned());
            words.extend((!self.one_in(30)).then_some(number));
        }
        words
    }

    fn pop_of_several(&mut self) -> Vec<String> {
        let keys: Vec<String> = (0..self.rng.random_range(1..4)).map(|_| self.list_key()).collect();
        let count = if self.one_in(8) { self.count() } else { keys.len().to_string() };
        let mut words = [vec![count], keys, vec![self.end()]].concat();
        for _ in 0..[0, 1, 1, 1, 1, 2][self.rng.random_range(0..6)] {
            words.extend([self.pick(&["COUNT", "count"]), self.count()]);
        }
        words
    }

    pub(super) fn list_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.list_key();
        let with = |key: String, rest: Vec<String>| [vec![key], rest].concat();
        match self.rng.random_range(0..32) {
            0 => ("llen", vec![key]),
            1 => ("lrange", vec![key, self.position(), self.position()]),
            2..=4 => ("lrange", vec![key, "0".to_owned(), "-1".to_owned()]),
            5 => ("lindex", vec![key, self.place()]),
            6..=8 => ("lpos", [vec![key, self.element()], self.match_options()].concat()),
            9..=11 => ("lpush", with(key, self.elements())),
            12..=14 => ("rpush", with(key, self.elements())),
            15 => ("lpushx", with(key, self.elements())),
            16 => ("rpushx", with(key, self.elements())),
            17 => ("lpop", vec![key]),
            18 => ("rpop", vec![key]),
            19 => ("lpop", vec![key, self.count()]),
            20 => ("rpop", vec![key, self.count()]),
            21 => ("lset", vec![key, self.place(), self.element()]),
            22..=24 => {
                let place = if self.one_in(20) { "foo".to_owned() } else { self.pick(&["before", "AFTER"]) };
                ("linsert", vec![key, place, self.element(), self.element()])
            }
            25 => ("lrem", vec![key, self.place(), self.element()]),
            26 => ("ltrim", with(key, self.trimmed())),
            27 | 28 => ("lmove", vec![key, self.list_key(), self.end(), self.end()]),
            29 => ("rpoplpush", vec![key, self.list_key()]),
            _ => ("lmpop", self.pop_of_several()),
        }
    }
}

//! Requests that wait for elements, though not long: nobody else puts any in.

use rand::Rng as _;

use super::Commands;

/// A spoiled one might wait for ever.
pub(super) fn must_stay(words: &[String]) -> bool {
    words[0].to_ascii_lowercase().starts_with('b') && !words[0].to_ascii_lowercase().starts_with("bit")
}

impl Commands {
    /// None that is too great: Redis 7.0 takes it for a negative one.
    fn timeout(&mut self) -> String {
        self.pick(&["0.001", "0.001", "0.002", "1e-3", "-1", "foo", "", "0x1p-9"])
    }

    fn lists(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..3)).map(|_| self.list_key()).collect()
    }

    fn zsets(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..3)).map(|_| self.zset_key()).collect()
    }

    fn counted_keys(&mut self, keys: Vec<String>, ends: &[&str]) -> Vec<String> {
        let count = if self.one_in(8) { self.pick(&["0", "-1", "foo", "9"]) } else { keys.len().to_string() };
        let mut words = vec![self.timeout(), count];
        words.extend(keys);
        words.push(self.pick(ends));
        if self.one_in(2) {
            words.extend(["COUNT".to_owned(), self.pick(&["1", "2", "0", "foo", "10"])]);
        }
        words
    }

    pub(super) fn blocking_command(&mut self) -> (&'static str, Vec<String>) {
        let timeout = self.timeout();
        match self.rng.random_range(0..8) {
            0 => ("blpop", [self.lists(), vec![timeout]].concat()),
            1 => ("brpop", [self.lists(), vec![timeout]].concat()),
            2 => ("bzpopmin", [self.zsets(), vec![timeout]].concat()),
            3 => ("bzpopmax", [self.zsets(), vec![timeout]].concat()),
            4 => {
                let ends = ["left", "RIGHT", "left", "middle"];
                ("blmove", vec![self.list_key(), self.list_key(), self.pick(&ends), self.pick(&ends), timeout])
            }
            5 => ("brpoplpush", vec![self.list_key(), self.list_key(), timeout]),
            6 => {
                let keys = self.lists();
                ("blmpop", self.counted_keys(keys, &["LEFT", "right", "MIN"]))
            }
            _ => {
                let keys = self.zsets();
                ("bzmpop", self.counted_keys(keys, &["MIN", "max", "LEFT"]))
            }
        }
    }
}

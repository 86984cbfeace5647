//! Locks: SET with NX, and the scripts that are known.

use rand::Rng;
use simplekv_resp::command::KNOWN_SCRIPTS;

use super::Commands;

const LOCKS: &[&str] = &["lock", "{t}lock"];
const HOLDERS: &[&str] = &["me", "me", "you", ""];

/// Redis reads the arguments of a script when it gets there.
pub(super) fn must_stay(words: &[String]) -> bool {
    words[0].eq_ignore_ascii_case("eval") || words.iter().any(|word| LOCKS.contains(&word.as_str()))
}

impl Commands {
    pub(super) fn lock_command(&mut self) -> (&'static str, Vec<String>) {
        let (lock, holder) = (self.pick(LOCKS), self.pick(HOLDERS));
        match self.rng.random_range(0..8) {
            0 | 1 => ("set", vec![lock, holder, "NX".to_owned(), "PX".to_owned(), self.lease()]),
            2 if self.one_in(3) => ("set", vec![lock, holder]),
            2 => ("pttl", vec![lock]),
            3 => ("get", vec![lock]),
            _ => {
                let script = &KNOWN_SCRIPTS[self.rng.random_range(0..KNOWN_SCRIPTS.len())];
                // Those that take fewer arguments do not mind the others.
                let arguments = [holder, self.lease(), self.pick(&["0", "1"])];
                ("eval", [vec![script.text.to_owned(), "1".to_owned(), lock], arguments.to_vec()].concat())
            }
        }
    }

    /// In milliseconds; now and then none at all.
    fn lease(&mut self) -> String {
        if self.one_in(8) { "0".to_owned() } else { self.rng.random_range(100_000_000..200_000_000u64).to_string() }
    }
}

//! Requests about sorted sets.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Commands;

const KEYS: &[&str] = &["z", "zset", "{t}zset"];
/// All of its members have one score, as ranges of members want it.
pub(super) const LEXICAL: &str = "lexical";
const SCORES: &[&str] = &[
    "0", "1", "-1", "2.5", "-0", "1e17", "1e300", "inf", "-inf", "+Inf", "0x1p-3", "nan", "foo", "", "1e400", "1e-400",
    "5.", " 1",
];
const BOUNDS: &[&str] = &["-inf", "+inf", "(1", "(-1", "0", "2.5", "(", "foo", "nan", " 3", "(inf", "1e400"];
const MEMBER_BOUNDS: &[&str] = &["-", "+", "[m1", "(m1", "[m3", "(m10", "[", "(", "m", "", "[m12", "(n", "[zz"];

impl Commands {
    pub(super) fn zset_key(&mut self) -> String {
        if self.one_in(15) { self.key() } else { self.pick(KEYS) }
    }

    /// Sets count as sorted sets where several are combined.
    fn scored_source(&mut self) -> String {
        if self.one_in(6) { self.pick(&["s", "set", "nosuch", LEXICAL]) } else { self.zset_key() }
    }

    fn scored_member(&mut self) -> String {
        if self.one_in(25) { self.value() } else { format!("m{}", self.rng.random_range(0..14)) }
    }

    fn scored_members(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..4)).map(|_| self.scored_member()).collect()
    }

    fn score(&mut self) -> String {
        match self.rng.random_range(0..8) {
            0 => self.pick(SCORES),
            1 => format!("{:.*}", self.rng.random_range(0..9), self.rng.random_range(-100.0..100.0)),
            _ => self.rng.random_range(-9..10).to_string(),
        }
    }

    fn zadd(&mut self) -> Vec<String> {
        let mut words = vec![self.zset_key()];
        if self.one_in(2) {
            let options = ["NX", "xx", "GT", "lt", "CH", "ch", "incr"];
            words.extend((0..self.rng.random_range(1..3)).map(|_| options.choose(&mut self.rng).unwrap().to_string()));
        }
        let adds = words.iter().any(|word| word == "incr") && !self.one_in(5);
        for _ in 0..if adds { 1 } else { self.rng.random_range(1..4) } {
            words.extend([self.score(), self.scored_member()]);
        }
        words
    }

    fn bound(&mut self) -> String {
        if self.one_in(3) { self.pick(BOUNDS) } else { self.score() }
    }

    fn bounds(&mut self) -> Vec<String> {
        vec![self.bound(), self.bound()]
    }

    fn member_bounds(&mut self) -> Vec<String> {
        vec![self.pick(MEMBER_BOUNDS), self.pick(MEMBER_BOUNDS)]
    }

    fn limit(&mut self) -> Vec<String> {
        if self.one_in(2) {
            return Vec::new();
        }
        let count = self.rng.random_range(-2..9);
        vec!["LIMIT".to_owned(), self.rng.random_range(-1..6).to_string(), count.to_string()]
    }

    fn with_scores(&mut self) -> Option<String> {
        self.one_in(2).then(|| self.pick(&["WITHSCORES", "withscores"]))
    }

    /// A range in one of the three notations, with the key it makes sense for.
    fn unified_range(&mut self, key: String) -> Vec<String> {
        let mut words = match self.rng.random_range(0..3) {
            0 => vec![key, self.position(), self.position()],
            1 => [vec![key], self.bounds(), vec!["byscore".to_owned()]].concat(),
            _ => [vec![LEXICAL.to_owned()], self.member_bounds(), vec!["BYLEX".to_owned()]].concat(),
        };
        words.extend(self.one_in(3).then(|| "rev".to_owned()));
        if words.len() > 3 || self.one_in(20) {
            words.extend(self.limit());
        }
        words
    }

    fn sources(&mut self, weighs: bool, scores: bool) -> Vec<String> {
        let count = self.rng.random_range(1..4);
        let told = if self.one_in(12) { self.pick(&["0", "-1", "foo", "9", "2"]) } else { count.to_string() };
        let mut words = vec![told];
        words.extend((0..count).map(|_| self.scored_source()));
        if weighs && self.one_in(2) {
            words.push("weights".to_owned());
            words.extend((0..count).map(|_| self.score()));
        }
        if weighs && self.one_in(2) {
            words.extend(["AGGREGATE".to_owned(), self.pick(&["sum", "MIN", "max", "min", "avg"])]);
        }
        words.extend(if scores { self.with_scores() } else { None });
        words
    }

    pub(super) fn zset_command(&mut self) -> (&'static str, Vec<String>) {
        match self.rng.random_range(0..4) {
            0 => self.zset_write(),
            1 => self.zset_range(),
            2 => self.zset_combination(),
            _ => self.zset_question(),
        }
    }

    fn zset_write(&mut self) -> (&'static str, Vec<String>) {
        let key = self.zset_key();
        match self.rng.random_range(0..16) {
            0..=5 => ("zadd", self.zadd()),
            6 => {
                let pairs =
                    (0..self.rng.random_range(1..4)).flat_map(|_| ["0".to_owned(), self.scored_member()]).collect();
                ("zadd", [vec![LEXICAL.to_owned()], pairs].concat())
            }
            7 | 8 => ("zincrby", vec![key, self.score(), self.scored_member()]),
            9 => ("zrem", [vec![key], self.scored_members()].concat()),
            10 => ("zremrangebyrank", vec![key, self.position(), self.position()]),
            11 => ("zremrangebyscore", [vec![key], self.bounds()].concat()),
            12 => ("zremrangebylex", [vec![LEXICAL.to_owned()], self.member_bounds()].concat()),
            13 => {
                let count = self.one_in(2).then(|| self.pick(&["0", "1", "2", "5", "-1", "foo", "100"]));
                (if self.one_in(2) { "zpopmin" } else { "zpopmax" }, [key].into_iter().chain(count).collect())
            }
            14 => {
                let mut words = self.sources(false, false);
                words.push(self.pick(&["MIN", "max", "min", "foo"]));
                if self.one_in(2) {
                    words.extend(["count".to_owned(), self.pick(&["1", "2", "0", "-1", "foo", "20"])]);
                }
                ("zmpop", words)
            }
            _ => ("del", vec![if self.one_in(2) { LEXICAL.to_owned() } else { key }]),
        }
    }

    fn zset_range(&mut self) -> (&'static str, Vec<String>) {
        let key = self.zset_key();
        let scores = self.with_scores();
        let with = |key: String, parts: [Vec<String>; 2], scores: Option<String>| {
            [vec![key], parts.concat(), scores.into_iter().collect()].concat()
        };
        match self.rng.random_range(0..10) {
            0..=2 => {
                let mut words = self.unified_range(key);
                words.extend(scores);
                ("zrange", words)
            }
            3 => ("zrevrange", with(key, [vec![self.position()], vec![self.position()]], scores)),
            4 => ("zrangebyscore", with(key, [self.bounds(), self.limit()], scores)),
            5 => ("zrevrangebyscore", with(key, [self.bounds(), self.limit()], scores)),
            6 => {
                let scores = scores.filter(|_| self.one_in(8));
                ("zrangebylex", with(LEXICAL.to_owned(), [self.member_bounds(), self.limit()], scores))
            }
            7 => ("zrevrangebylex", with(LEXICAL.to_owned(), [self.member_bounds(), self.limit()], None)),
            8 => {
                let mut words = vec![self.zset_key()];
                words.extend(self.unified_range(key));
                ("zrangestore", words)
            }
            _ => ("zrange", vec![key, "0".to_owned(), "-1".to_owned(), "WithScores".to_owned()]),
        }
    }

    fn zset_combination(&mut self) -> (&'static str, Vec<String>) {
        let key = self.zset_key();
        match self.rng.random_range(0..7) {
            0 => ("zunion", self.sources(true, true)),
            1 => ("zinter", self.sources(true, true)),
            2 => ("zdiff", self.sources(false, true)),
            3 => ("zunionstore", [vec![key], self.sources(true, false)].concat()),
            4 => ("zinterstore", [vec![key], self.sources(true, false)].concat()),
            5 => ("zdiffstore", [vec![key], self.sources(false, false)].concat()),
            _ => {
                let mut words = self.sources(false, false);
                if self.one_in(2) {
                    words.extend(["LIMIT".to_owned(), self.pick(&["0", "1", "3", "-1", "foo"])]);
                }
                ("zintercard", words)
            }
        }
    }

    fn zset_question(&mut self) -> (&'static str, Vec<String>) {
        let key = self.zset_key();
        match self.rng.random_range(0..9) {
            0 => ("zcard", vec![key]),
            1 => ("zscore", vec![key, self.scored_member()]),
            2 => ("zmscore", [vec![key], self.scored_members()].concat()),
            3 => ("zrank", vec![key, self.scored_member()]),
            4 => ("zrevrank", vec![key, self.scored_member()]),
            5 => ("zcount", [vec![key], self.bounds()].concat()),
            6 => ("zlexcount", [vec![LEXICAL.to_owned()], self.member_bounds()].concat()),
            7 => ("zscan", [vec![key], self.scan_of_all()].concat()),
            _ => {
                let mut words = vec![key];
                if !self.one_in(3) {
                    words.push(self.draws());
                    words.extend(self.with_scores());
                }
                ("zrandmember", words)
            }
        }
    }
}

//! Keys with elements, evaluated on drafts: what is answered is what a plain map would answer.

use simplekv_commands::Model;

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Of few keys and fields, so that what was there comes back.
    fn words(&mut self) -> Vec<String> {
        let (key, field) = (format!("{{t}}{}", self.below(4)), format!("f{}", self.below(8)));
        let (other, value) = (format!("{{t}}{}", self.below(4)), self.below(100).to_string());
        let words: &[&str] = match self.below(40) {
            0 => &["DEL", &key],
            1 => &["SET", &key, "7"],
            2 => &["RENAME", &key, &other],
            3 if key != other => &["COPY", &key, &other, "REPLACE"],
            4 => &["EXPIRE", &key, "-1"],
            5 => &["EXPIRE", &key, "1000000"],
            6 => &["PERSIST", &key],
            7 if self.below(4) == 0 => &["FLUSHALL"],
            8 => &["TYPE", &key],
            9 => &["TTL", &key],
            10..=15 => &["HDEL", &key, &field, "f0"],
            16..=19 => &["HGETALL", &key],
            20 => &["HLEN", &key],
            21..=23 => &["HINCRBY", &key, &field, "3"],
            24 => &["HSETNX", &key, &field, &value],
            25 => &["EXISTS", &key],
            _ => &["HSET", &key, &field, &value],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Of every type with elements: what asks for single ones, for ends, and for all.
    fn words_of_all_types(&mut self) -> Vec<String> {
        let name = |random: &mut Self, kind: &str| format!("{{t}}{kind}{}", random.below(2));
        let (list, set, zset) = (name(self, "l"), name(self, "s"), name(self, "z"));
        let (other_list, other_set) = (name(self, "l"), name(self, "s"));
        let (member, pivot) = (format!("m{}", self.below(8)), format!("m{}", self.below(8)));
        let (number, index) = (self.below(20).to_string(), (self.below(9) as i64 - 4).to_string());
        let words: &[&str] = match self.below(48) {
            0 => &["DEL", &list, &set],
            1 => &["DEL", &zset],
            2 => &["RENAME", &list, &other_list],
            3 => &["SADD", &list, &member],
            4 => &["EXPIRE", &zset, "-1"],
            5 => &["EXPIRE", &list, "1000000"],
            6 => &["PERSIST", &list],
            7 => &["LINSERT", &list, "BEFORE", &pivot, &member],
            8 => &["LSET", &list, &index, &member],
            9 => &["LREM", &list, &index, &member],
            10 => &["LTRIM", &list, "1", "-1"],
            11..=13 => &["LRANGE", &list, "0", "-1"],
            14 => &["LLEN", &list],
            15 => &["LINDEX", &list, &index],
            16 => &["LMOVE", &list, &other_list, "LEFT", "RIGHT"],
            17 => &["LPOP", &list],
            18 => &["RPOP", &list, "2"],
            19..=21 => &["LPUSH", &list, &member, &pivot],
            22..=24 => &["RPUSH", &list, &member],
            25 => &["RPUSHX", &list, &member],
            26..=28 => &["SADD", &set, &member, &pivot, &member],
            29 => &["SREM", &set, &member, &member],
            30 => &["SMEMBERS", &set],
            31 => &["SISMEMBER", &set, &member],
            32 => &["SMOVE", &set, &other_set, &member],
            33 => &["SUNIONSTORE", &set, &set, &other_set],
            34 => &["SCARD", &set],
            35..=38 => &["ZADD", &zset, &number, &member],
            39 => &["ZADD", &zset, "GT", "CH", &number, &member, "3", &member],
            40 => &["ZINCRBY", &zset, &number, &member],
            41 => &["ZREM", &zset, &member, &pivot],
            42 => &["ZRANGE", &zset, "0", "-1", "WITHSCORES"],
            43 => &["ZRANK", &zset, &member],
            44 => &["ZSCORE", &zset, &member],
            45 => &["ZPOPMIN", &zset],
            46 => &["ZCARD", &zset],
            _ => &["TYPE", &list],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// A leader and a model, told the same.
struct Both {
    group: Replay,
    model: Model,
    /// What was submitted, with what the model answers.
    expected: Vec<(Heard, Vec<String>, Reply)>,
}

impl Both {
    fn new(group: Replay) -> Self {
        Self { group, model: Model::new(), expected: Vec::new() }
    }

    fn tell(&mut self, words: Vec<String>) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let request = request(&words);
        let now = self.group.clocks.wall();
        let reply = simplekv_commands::write(&request.command, &mut self.model, now);
        let heard = self.group.submit(vec![request]);
        self.expected.push((heard, words.into_iter().map(str::to_owned).collect(), reply));
    }

    /// Everything that was asked has been answered, and as the model does.
    fn compare(&mut self, seed: u64) {
        let told: Vec<String> = self.expected.iter().map(|(_, words, _)| words.join(" ")).collect();
        for (number, (heard, _, expected)) in self.expected.drain(..).enumerate() {
            assert_eq!(heard.reply().as_ref(), Some(&expected), "seed {seed}, after\n{}", told[..=number].join("\n"));
        }
    }
}

fn leading_three() -> Replay {
    let mut g1 = Replay::alone();
    g1.step(Event::NodesSeen(facts(&[1, 2, 3])));
    g1.show(&record(2, 1, &[1, 2, 3]), 8);
    for _ in 0..20 {
        g1.wait(Duration::from_millis(60));
        g1.acknowledge(2);
        g1.acknowledge(3);
    }
    g1
}

#[test]
fn a_leader_that_applies_at_once_answers_as_the_model_does() {
    for seed in 0..30 {
        let (mut both, mut random) = (Both::new(Replay::alone()), Random(seed));
        for _ in 0..300 {
            both.tell(random.words());
        }
        both.compare(seed);
    }
}

/// Commands see what is appended and not applied, over any number of turns.
#[test]
fn a_leader_whose_followers_take_their_time_answers_as_the_model_does() {
    for seed in 100..130 {
        let (mut both, mut random) = (Both::new(leading_three()), Random(seed));
        for _ in 0..30 {
            for _ in 0..random.below(20) {
                both.tell(random.words());
            }
            both.group.acknowledge(2);
            both.group.acknowledge(3);
            both.compare(seed);
        }
    }
}

/// Single elements are looked up behind what is applied, ends of lists are known by themselves, and whatever asks for more is told all:
/// each of them in any order, whatever is on its way.
#[test]
fn drafts_of_every_type_answer_as_the_model_does() {
    for seed in 200..206 {
        let (mut both, mut random) = (Both::new(leading_three()), Random(seed));
        for _ in 0..300 {
            for _ in 0..random.below(30) {
                both.tell(random.words_of_all_types());
            }
            both.group.acknowledge(2);
            both.group.acknowledge(3);
            both.compare(seed);
        }
    }
}

/// What a command has put into its batch before it turned out not to fit is nowhere to be seen.
#[test]
fn a_command_taken_back_leaves_no_draft_behind() {
    let mut g1 = leading_three();
    let pairs: Vec<String> = (0..65_537).flat_map(|n| [format!("f{n}"), "v".to_owned()]).collect();
    let words: Vec<&str> = ["HSET", "h"].into_iter().chain(pairs.iter().map(String::as_str)).collect();
    let batch = vec![request(&["HSET", "h", "a", "1"]), request(&words), request(&["HSET", "h", "b", "2"])];
    let heard = g1.submit(batch);
    let read = g1.do_one(&["HLEN", "h"]);
    g1.acknowledge(2);
    g1.acknowledge(3);
    let replies = heard.replies.borrow().clone().expect("it is answered");
    assert!(matches!(replies[1], Reply::Error(Failure::TooLarge { .. })), "{:?}", replies[1]);
    assert_eq!((&replies[0], &replies[2], read.reply()), (&Reply::Int(1), &Reply::Int(1), Some(Reply::Int(2))));
}

/// Another leader's records take the place of those that a draft was made of.
#[test]
fn a_draft_does_not_outlive_leadership() {
    let mut g1 = leading_three();
    g1.do_one(&["HSET", "h", "a", "1"]);
    g1.acknowledge(2);
    g1.acknowledge(3);
    let kept = g1.group.engine.applied();
    let lost = g1.do_one(&["HSET", "h", "b", "2"]);
    g1.replaced_from(kept);
    assert!(!matches!(lost.reply(), Some(Reply::Int(_))), "the write is gone: {:?}", lost.reply());
    assert!(g1.group.drafts.get(b"h").is_none());
    let reader = g1.group.engine.reader();
    let guard = reader.guard();
    let found = guard.elements(Slot::of_key(b"h"), b"h").expect("the hash is there");
    assert_eq!(found.collection.len(), 1);
}

/// A leader that inherited records has no draft of them, and yet knows that they have changed what somebody watches.
#[test]
fn of_a_watched_key_elements_that_were_inherited_count() {
    let mut g1 = leading_three();
    let acknowledged = |g1: &mut Replay, words: &[&str]| {
        let heard = g1.do_one(words);
        g1.acknowledge(2);
        g1.acknowledge(3);
        heard.reply()
    };
    acknowledged(&mut g1, &["HSET", "h", "a", "1"]);
    let Some(Reply::Bulk(version)) = acknowledged(&mut g1, &["OBJECT", "VERSION", "h"]) else { panic!("no version") };
    g1.do_one(&["HSET", "h", "a", "2"]);
    g1.group.drafts.clear();
    let version = String::from_utf8_lossy(&version).into_owned();
    let watched = ["ATOMIC", "1", "h", &version, "4", "HSET", "h", "a", "3"];
    assert_eq!(acknowledged(&mut g1, &watched), Some(Reply::NullArray));
    assert_eq!(acknowledged(&mut g1, &["HGET", "h", "a"]), Some(Reply::fixed("2")));
}

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

fn texts(reply: &Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("{reply:?}") };
    let text = |item: &Reply| match item {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("{other:?}"),
    };
    items.iter().map(text).collect()
}

impl Shell {
    fn list(&mut self, key: &str) -> Vec<String> {
        texts(&self.run(&format!("lrange {key} 0 -1")))
    }
}

#[test]
fn ten_thousand_insertions_at_one_place_keep_a_list_in_order() {
    let mut shell = Shell::new();
    shell.run("rpush l first last");
    for number in 0..10_000 {
        assert_eq!(shell.run(&format!("linsert l after first {number}")), Reply::Int(number + 3));
    }
    // The ends are what they were, also for what is put in beyond them.
    for number in 0..100 {
        shell.run(&format!("lpush l l{number}"));
        shell.run(&format!("rpush l r{number}"));
    }
    let left = (0..100).rev().map(|number| format!("l{number}"));
    let middle = (0..10_000).rev().map(|number| number.to_string());
    let right = (0..100).map(|number| format!("r{number}"));
    let between = std::iter::once("first".to_owned()).chain(middle).chain(["last".to_owned()]);
    assert_eq!(shell.list("l"), left.chain(between).chain(right).collect::<Vec<_>>());
    shell.keyspace.check();
}

/// Room is made again and again in the same narrow place, which takes in more and more of the list.
#[test]
fn insertions_between_the_two_latest_keep_a_list_in_order() {
    let mut shell = Shell::new();
    shell.run("rpush l a z");
    let (mut expected, mut pivot) = (vec!["a".to_owned(), "z".to_owned()], "a".to_owned());
    let mut place = 0;
    for number in 0..2000 {
        let (word, at) = if number % 2 == 0 { ("after", place + 1) } else { ("before", place) };
        shell.run(&format!("linsert l {word} {pivot} {number}"));
        (pivot, place) = (number.to_string(), at);
        expected.insert(at, pivot.clone());
    }
    assert_eq!(shell.list("l"), expected);
}

#[test]
fn a_random_list_is_what_a_vector_is() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut shell, mut expected) = (Shell::new(), Vec::<String>::new());
        for step in 0..500 {
            let element = format!("{}", rng.random_range(0..30));
            let at = rng.random_range(0..expected.len().max(1));
            match rng.random_range(0..10) {
                0 | 1 => {
                    shell.run(&format!("lpush l {element} {step}"));
                    expected.splice(0..0, [step.to_string(), element]);
                }
                2 | 3 => {
                    shell.run(&format!("rpush l {element} {step}"));
                    expected.extend([element, step.to_string()]);
                }
                4 | 5 => {
                    shell.run(&format!("linsert l before {element} {step}"));
                    if let Some(at) = expected.iter().position(|other| *other == element) {
                        expected.insert(at, step.to_string());
                    }
                }
                6 => {
                    let count = rng.random_range(0..4);
                    shell.run(&format!("rpop l {count}"));
                    expected.truncate(expected.len().saturating_sub(count));
                }
                7 => {
                    shell.run(&format!("lset l {at} {element}"));
                    if let Some(old) = expected.get_mut(at) {
                        *old = element;
                    }
                }
                8 => {
                    shell.run("lmove l l left right");
                    let one = expected.len().min(1);
                    expected.rotate_left(one);
                }
                _ if step % 7 == 0 => {
                    shell.run(&format!("ltrim l {at} -2"));
                    expected.drain(..at);
                    expected.pop();
                }
                _ => {
                    shell.run(&format!("lrem l 0 {element}"));
                    expected.retain(|other| *other != element);
                }
            }
            assert_eq!(shell.list("l"), expected, "seed {seed}, step {step}");
            shell.keyspace.check();
        }
    }
}

#[test]
fn a_list_keeps_its_expiry_as_long_as_something_is_in_it() {
    for line in [
        "lpush l x",
        "rpushx l x",
        "lpop l",
        "rpop l 2",
        "lset l 0 x",
        "linsert l before b x",
        "lrem l 0 b",
        "ltrim l 1 1",
        "lmove l l left right",
        "rpoplpush l {l}",
        "rpoplpush {l} l",
        "lmpop 1 l left",
    ] {
        let mut shell = Shell::new();
        shell.run("rpush l a b c");
        shell.run("rpush {l} a");
        shell.run("expire l 100");
        assert!(shell.effect(line).1, "{line}");
        assert_eq!(shell.run("ttl l"), Reply::Int(100), "{line}");
    }
    for line in ["lpop l 3", "ltrim l 5 6", "lmpop 1 l right count 9"] {
        let mut shell = Shell::new();
        shell.run("rpush l a b c");
        shell.run("expire l 100");
        shell.run(line);
        assert_eq!(shell.run("exists l"), Reply::Int(0), "{line}");
        shell.run("rpush l a");
        assert_eq!(shell.run("ttl l"), Reply::Int(-1), "{line}");
    }
    let mut shell = Shell::new();
    shell.run("rpush l only");
    shell.run("expire l 100");
    assert_eq!(shell.effect("lmove l l left right"), (bulk("only"), false));
    shell.now += 100_000;
    shell.run("lpush l x");
    assert_eq!((shell.run("ttl l"), shell.list("l")), (Reply::Int(-1), vec!["x".to_owned()]));
}

#[test]
fn a_command_on_lists_that_changes_nothing_puts_nothing() {
    let mut shell = Shell::new();
    shell.run("rpush l a b");
    shell.run("set s v");
    for (line, reply) in [
        ("lpushx none x", Reply::Int(0)),
        ("lpop none", Reply::Null),
        ("lpop none 0", Reply::NullArray),
        ("lpop l 0", Reply::Array(vec![])),
        ("linsert none before a x", Reply::Int(0)),
        ("linsert l before x x", Reply::Int(-1)),
        ("lrem l 0 x", Reply::Int(0)),
        ("lrem none 0 x", Reply::Int(0)),
        ("ltrim l 0 -1", Reply::Ok),
        ("ltrim none 0 -1", Reply::Ok),
        ("lmove l l left left", bulk("a")),
        ("lmove none s left left", Reply::Null),
        ("lmpop 2 none no left", Reply::NullArray),
        ("lindex none no-number", Reply::Null),
    ] {
        assert_eq!(shell.effect(line), (reply, false), "{line}");
    }
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    for (line, text) in [
        ("lpush s x", wrong),
        ("lmove l s left left", wrong),
        ("lmpop 2 s l left", wrong),
        ("lset s no-number x", wrong),
        ("lset none no-number x", "ERR no such key"),
        ("lset l no-number x", "ERR value is not an integer or out of range"),
        ("lset l 2 x", "ERR index out of range"),
        ("lset l -9223372036854775808 x", "ERR index out of range"),
    ] {
        assert_eq!(shell.error(line), text, "{line}");
    }
}

#[test]
fn an_element_that_is_too_large_is_refused_before_anything_is_put() {
    let mut shell = Shell::new();
    shell.keyspace = Model::new().with_value_limit(4);
    shell.run("rpush l 1 2");
    for line in ["rpush l 3 12345", "lpushx l 12345", "lset l 0 12345", "linsert l before 1 12345", "rpush m 1 12345"] {
        assert_eq!(shell.error(line), "ERR value of 5 bytes exceeds the limit of 4", "{line}");
    }
    assert_eq!(shell.list("l"), ["1", "2"]);
}

//! Sets.

use std::collections::BTreeSet;
use std::ops::Range;

use super::*;

impl Shell {
    /// The members a command answers, none of them twice.
    fn members(&mut self, line: &str) -> BTreeSet<String> {
        let (Reply::Set(members) | Reply::Array(members)) = self.run(line) else { panic!("{line}") };
        let names: BTreeSet<String> = members.iter().map(name).collect();
        assert_eq!(names.len(), members.len(), "{line}");
        names
    }

    fn add(&mut self, key: &str, numbers: Range<usize>) {
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        self.run(&format!("sadd {key} {}", numbers.join(" ")));
    }

    /// What a command answers, and how many changes it made.
    fn changes(&mut self, line: &str) -> (Reply, u64) {
        let before = self.keyspace.changes();
        (self.run(line), self.keyspace.changes() - before)
    }
}

fn name(reply: &Reply) -> String {
    let Reply::Bulk(name) = reply else { panic!("{reply:?}") };
    String::from_utf8_lossy(name).into_owned()
}

fn numbers(range: Range<usize>) -> BTreeSet<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn only_what_is_not_so_yet_is_written() {
    let mut shell = Shell::new();
    shell.run("sadd s a b");
    shell.run("sadd t b");
    for (line, reply, changes) in [
        ("sadd s a b a", 0, 0),
        ("sadd s b c c", 1, 1),
        ("srem s x", 0, 0),
        ("srem s c c x", 1, 1),
        ("smove s s a", 1, 0),
        ("smove s t x", 0, 0),
        ("smove nosuch t b", 0, 0),
        // Taken out here, and there already.
        ("smove s t b", 1, 1),
        // The key goes with its last member.
        ("smove s t a", 1, 2),
        ("sinterstore nosuch t s", 0, 0),
    ] {
        assert_eq!(shell.changes(line), (Reply::Int(reply), changes), "{line}");
    }
    for line in ["spop t 0", "spop nosuch 5"] {
        assert_eq!(shell.effect(line), (Reply::Set(vec![]), false), "{line}");
    }
    assert_eq!(shell.effect("spop nosuch"), (Reply::Null, false));
}

#[test]
fn a_set_without_members_is_no_key() {
    for line in ["srem s a b x", "spop s 2", "spop s 3", "sdiffstore s s s", "sinterstore s s nosuch"] {
        let mut shell = Shell::new();
        shell.run("sadd s a b");
        shell.run(line);
        assert_eq!(shell.run("exists s"), Reply::Int(0), "{line}");
    }
    let mut shell = Shell::new();
    shell.run("sadd s a");
    assert_eq!(shell.run("spop s"), bulk("a"));
    assert_eq!(shell.run("dbsize"), Reply::Int(0));
}

#[test]
fn what_spop_answers_is_gone_and_the_rest_is_there() {
    let mut shell = Shell::new();
    shell.add("s", 0..300);
    let mut left = numbers(0..300);
    for (line, count) in [("spop s 1", 1), ("spop s 100", 100), ("spop s 150", 150)] {
        let taken = shell.members(line);
        assert_eq!(taken.len(), count);
        assert!(taken.is_subset(&left), "{taken:?}");
        left = &left - &taken;
        assert_eq!(shell.members("smembers s"), left);
    }
    assert!(left.remove(&name(&shell.run("spop s"))));
    assert_eq!(shell.members("smembers s"), left);
    assert_eq!(shell.members("spop s 9223372036854775807"), left);
}

#[test]
fn members_drawn_stay_where_they_are() {
    let mut shell = Shell::new();
    shell.add("s", 0..100);
    let all = numbers(0..100);
    assert!(shell.members("srandmember s 30").is_subset(&all));
    assert_eq!(shell.members("srandmember s 100"), all);
    assert!(all.contains(&name(&shell.run("srandmember s"))));
    let Reply::Array(drawn) = shell.run("srandmember s -200") else { panic!("an array") };
    assert!(drawn.len() == 200 && drawn.iter().all(|member| all.contains(&name(member))));
    assert_eq!(shell.run("srandmember nosuch -9223372036854775807"), Reply::Array(vec![]));
    assert_eq!(shell.run("scard s"), Reply::Int(100));
}

#[test]
fn a_set_that_is_stored_replaces_what_was_there() {
    for before in ["set d v", "hset d f v", "sadd d x"] {
        let mut shell = Shell::new();
        shell.add("s", 0..5);
        shell.run(before);
        shell.run("expire d 100");
        assert_eq!(shell.run("sunionstore d s nosuch"), Reply::Int(5), "{before}");
        assert_eq!(shell.members("smembers d"), numbers(0..5), "{before}");
        assert_eq!(shell.run("ttl d"), Reply::Int(-1), "{before}");
    }
    let mut shell = Shell::new();
    shell.add("s", 0..5);
    shell.add("t", 3..8);
    assert_eq!(shell.run("sdiffstore s s t"), Reply::Int(3), "the destination is read before it is replaced");
    assert_eq!(shell.members("smembers s"), numbers(0..3));
    assert_eq!(shell.run("set d v"), Reply::Ok);
    assert_eq!(shell.effect("sinterstore d s t"), (Reply::Int(0), true));
    assert_eq!(shell.run("exists d"), Reply::Int(0));
}

#[test]
fn sets_keep_their_expiry_and_lapsed_ones_are_none() {
    let mut shell = Shell::new();
    shell.add("s", 0..3);
    shell.add("t", 0..1);
    shell.run("pexpire s 100000");
    shell.run("pexpire t 10");
    shell.run("smove s t 2");
    shell.run("sadd s 7");
    shell.run("srem s 7");
    assert_eq!((shell.run("pttl s"), shell.run("pttl t")), (Reply::Int(100_000), Reply::Int(10)));
    shell.now += 10;
    for (line, reply) in [
        ("scard t", Reply::Int(0)),
        ("smove t s 0", Reply::Int(0)),
        ("spop t", Reply::Null),
        ("sinter s t", Reply::Set(vec![])),
        ("sintercard 2 s t", Reply::Int(0)),
        ("object encoding t", Reply::Null),
    ] {
        assert_eq!(shell.effect(line), (reply, false), "{line}");
    }
    assert_eq!(shell.members("sdiff s t"), numbers(0..2));
    assert_eq!(shell.run("smove s t 1"), Reply::Int(1));
    assert_eq!(shell.members("smembers t"), numbers(1..2), "what it held before is not there again");
    assert_eq!(shell.run("ttl t"), Reply::Int(-1));
}

/// Whether many sets are asked or put together first, and whichever is the smallest.
#[test]
fn sets_large_and_small_are_combined_the_same_way() {
    let mut shell = Shell::new();
    shell.add("all", 0..300);
    shell.add("low", 0..10);
    shell.add("some", 5..20);
    for (line, members) in [
        ("sdiff all low some", 20..300),
        ("sdiff low some", 0..5),
        ("sdiff some low low", 10..20),
        ("sdiff low all", 0..0),
        ("sdiff all nosuch", 0..300),
        ("sdiff nosuch all", 0..0),
        ("sinter all some low", 5..10),
        ("sinter some", 5..20),
        ("sinter all nosuch", 0..0),
        ("sunion low some low", 0..20),
        ("sunion some all", 0..300),
    ] {
        assert_eq!(shell.members(line), numbers(members), "{line}");
    }
    for (line, count) in
        [("sintercard 2 all some", 15), ("sintercard 2 all some limit 15", 15), ("sintercard 1 all limit 7", 7)]
    {
        assert_eq!(shell.run(line), Reply::Int(count), "{line}");
    }
}

#[test]
fn a_scan_walks_through_all_members() {
    let mut shell = Shell::new();
    shell.add("s", 0..300);
    let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let Reply::Array(reply) = shell.run(&format!("sscan s {cursor} count 7")) else { panic!("an array") };
        let [next, Reply::Array(members)] = reply.as_slice() else { panic!("a cursor and members") };
        assert!(members.len() <= 7);
        found.extend(members.iter().map(name));
        cursor = name(next);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, numbers(0..300));
}

#[test]
fn a_member_that_is_too_large_keeps_the_others_out() {
    let mut shell = Shell::new();
    shell.keyspace = Model::new().with_value_limit(4);
    assert_eq!(shell.error("sadd s 1234 12345"), "ERR value of 5 bytes exceeds the limit of 4");
    assert_eq!(shell.run("sadd s 1234"), Reply::Int(1));
}

#[test]
fn a_few_integers_are_an_intset() {
    let mut shell = Shell::new();
    shell.add("s", 0..512);
    assert_eq!(shell.run("object encoding s"), bulk("intset"));
    shell.run("sadd s -9223372036854775808");
    assert_eq!(shell.run("object encoding s"), bulk("hashtable"));
    for member in ["01", "", "+1", "1.0", "-0", "9223372036854775808"] {
        shell.run("sadd t 1 2");
        assert_eq!(shell.run("object encoding t"), bulk("intset"));
        shell.run(&format!("sadd t {member}"));
        assert_eq!(shell.run("object encoding t"), bulk("hashtable"), "{member:?}");
        shell.run("del t");
    }
}

//! SORT.

use super::*;

fn told(texts: &[&'static str]) -> Reply {
    Reply::Array(texts.iter().copied().map(bulk).collect())
}

#[test]
fn numbers_are_read_as_c_reads_them() {
    let mut shell = Shell::new();
    shell.run("rpush l 0x10 1e1 -inf +2 3");
    assert_eq!(shell.run("sort l"), told(&["-inf", "+2", "3", "1e1", "0x10"]));
    for text in ["foo", "1e400", "1e-400", "1e-310", "nan", "1x"] {
        shell.run(&format!("rpush l {text}"));
        assert_eq!(shell.error("sort l limit 0 1 store m"), "ERR One or more scores can't be converted into double");
        assert_eq!(shell.run("rpop l"), Reply::text(text));
    }
    // An empty line: what is nothing counts as zero.
    let parts = ["rpush", "m", "1", " -1", "", "-2\0x"].map(|word| Bytes::copy_from_slice(word.as_bytes()));
    let Body::Data(push) = Request::parse(parts.into_iter().collect()).unwrap().body else {
        panic!("RPUSH is on data")
    };
    write(&push, &mut shell.keyspace, GroupTime(shell.now));
    assert_eq!(shell.run("sort m"), told(&["-2\0x", " -1", "", "1"]));
}

#[test]
fn what_stands_for_nothing_counts_nothing_and_equals_stay_in_order() {
    let mut shell = Shell::new();
    shell.run("rpush {t}l c b a");
    shell.run("mset {t}w_a -1 {t}w_b x");
    assert_eq!(shell.run("sort {t}l by {t}nosuch_*"), told(&["a", "b", "c"]));
    assert_eq!(shell.run("sort {t}l by {t}nosuch_* alpha"), told(&["c", "b", "a"]));
    assert_eq!(shell.run("sort {t}l by {t}nosuch_* alpha desc"), told(&["c", "b", "a"]));
    assert_eq!(shell.run("sort {t}l by {t}w_* alpha"), told(&["c", "a", "b"]));
    assert_eq!(shell.error("sort {t}l by {t}w_*"), "ERR One or more scores can't be converted into double");
    // Neither a lapsed value nor one of another type is one.
    shell.run("set {t}w_b 5 px 10");
    shell.now += 10;
    shell.run("hset {t}w_c f 7");
    assert_eq!(shell.run("sort {t}l by {t}w_* desc"), told(&["c", "b", "a"]));
    let last = shell.run("sort_ro {t}l by {t}w_*->f get {t}w_* get {t}w_*->f limit 2 1");
    assert_eq!(last, Reply::Array(vec![Reply::Null, bulk("7")]));
}

#[test]
fn a_sorted_list_may_take_its_own_place() {
    let mut shell = Shell::new();
    shell.run("rpush {t}l 3 1 2");
    shell.run("expire {t}l 100");
    assert_eq!(shell.effect("sort {t}l store {t}l"), (Reply::Int(3), true));
    assert_eq!(shell.run("lrange {t}l 0 -1"), told(&["1", "2", "3"]));
    assert_eq!(shell.run("ttl {t}l"), Reply::Int(-1));
    assert_eq!(shell.run("sort {t}l get {t}nosuch_* store {t}l"), Reply::Int(3));
    assert_eq!(shell.run("lrange {t}l 0 -1"), told(&["", "", ""]));
    // Nothing is stored as nothing.
    assert_eq!(shell.effect("sort {t}l limit 3 1 store {t}l"), (Reply::Int(0), true));
    assert_eq!(shell.effect("sort {t}l store {t}l"), (Reply::Int(0), false));
}

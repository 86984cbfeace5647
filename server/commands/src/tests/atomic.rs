//! Several commands done as one.

use super::*;

#[test]
fn one_that_fails_keeps_nobody_else_from_being_done() {
    let mut shell = Shell::new();
    shell.run("SET text abc");
    let reply = shell.run("ATOMIC 0 3 SET a 1 2 INCR text 3 LPUSH a x 2 INCR a 2 GET a");
    let Reply::Array(replies) = reply else { panic!("{reply:?}") };
    assert_eq!(replies.len(), 5);
    assert_eq!([&replies[0], &replies[3], &replies[4]], [&Reply::Ok, &Reply::Int(2), &Reply::fixed("2")]);
    assert!(matches!(&replies[1], Reply::Error(Failure::Command(_))));
    assert_eq!(replies[2], Reply::Error(Failure::WrongType));
}

#[test]
fn a_key_that_has_changed_keeps_all_of_them_from_being_done() {
    let mut shell = Shell::new();
    shell.run("HSET h f 1");
    let Reply::Bulk(version) = shell.run("OBJECT VERSION h") else { panic!("no version") };
    let version = String::from_utf8_lossy(&version).into_owned();
    let atomic = format!("ATOMIC 2 h {version} missing - 2 INCR done");
    assert_eq!(shell.run(&atomic), Reply::Array(vec![Reply::Int(1)]));
    shell.run("HSET h f 2");
    assert_eq!(shell.run(&atomic), Reply::NullArray, "one of its elements has changed");
    assert_eq!(shell.run("ATOMIC 1 h - 2 INCR done"), Reply::NullArray, "it is there");
    assert_eq!(shell.run(&format!("ATOMIC 1 missing {version} 2 INCR done")), Reply::NullArray, "it is not there");
    assert_eq!(shell.run("OBJECT VERSION missing"), Reply::Null);
    assert_eq!(shell.run("GET done"), Reply::fixed("1"));
}

#[test]
fn a_key_that_has_lapsed_is_another_than_the_one_that_was_watched() {
    let mut shell = Shell::new();
    shell.run("SET k v PX 100");
    let Reply::Bulk(version) = shell.run("OBJECT VERSION k") else { panic!("no version") };
    let atomic = format!("ATOMIC 1 k {} 2 INCR done", String::from_utf8_lossy(&version));
    shell.now += 100;
    assert_eq!(shell.run(&atomic), Reply::NullArray);
}

//! Several commands done as one.

use super::*;

#[test]
fn a_transaction_that_is_sent_again_is_done_once_and_answered_twice() {
    let mut g1 = Replay::alone();
    let words = ["ATOMIC", "0", "2", "INCR", "a", "3", "RPUSH", "b", "x", "2", "INCR", "a"];
    let answer = Some(Reply::Array(vec![Reply::Int(1), Reply::Int(1), Reply::Int(2)]));
    assert_eq!(g1.submit(vec![retriable(&words, 1)]).reply(), answer);
    let end = g1.group.engine.log_end();
    assert_eq!(g1.submit(vec![retriable(&words, 2)]).reply(), answer);
    assert_eq!(g1.group.engine.log_end(), end, "nothing was logged");
    assert_eq!(g1.do_one(&["GET", "a"]).reply(), Some(Reply::fixed("2")));
    assert_eq!(g1.do_one(&["LLEN", "b"]).reply(), Some(Reply::Int(1)));
}

#[test]
fn a_transaction_that_does_not_fit_is_taken_back_whole() {
    let mut g1 = Replay::alone();
    let pairs: Vec<String> = (0..65_536).flat_map(|n| [format!("k{n}"), "v".to_owned()]).collect();
    let count = (1 + pairs.len()).to_string();
    let begin = ["ATOMIC", "0", "2", "INCR", "a", "3", "RPUSH", "l", "x", &count, "MSET"];
    let words: Vec<&str> = begin.into_iter().chain(pairs.iter().map(String::as_str)).collect();
    let before = g1.group.engine.log_end();
    let refused = g1.submit(vec![request(&words)]).reply();
    assert!(matches!(refused, Some(Reply::Error(Failure::TooLarge { .. }))), "{refused:?}");
    assert_eq!(g1.group.engine.log_end(), before);
    assert_eq!(g1.do_one(&["EXISTS", "a", "l", "k0"]).reply(), Some(Reply::Int(0)));
    assert_eq!(g1.do_one(&["RPUSH", "l", "y"]).reply(), Some(Reply::Int(1)), "no draft is left of the list");
}

/// What is dropped to take back a command must not hide what others have written before.
#[test]
fn a_watched_key_has_changed_though_its_draft_was_dropped() {
    let mut g1 = Replay::alone();
    g1.do_one(&["HSET", "h", "f", "1"]);
    let Some(Reply::Bulk(version)) = g1.do_one(&["OBJECT", "VERSION", "h"]).reply() else { panic!("no version") };
    let version = String::from_utf8_lossy(&version).into_owned();
    let pairs: Vec<String> = (0..65_537).flat_map(|n| [format!("k{n}"), "v".to_owned()]).collect();
    let too_much: Vec<&str> = ["MSET"].into_iter().chain(pairs.iter().map(String::as_str)).collect();
    let watching = ["ATOMIC", "1", "h", &version, "4", "HSET", "h", "f", "3"];
    let heard = g1.submit(vec![request(&["HSET", "h", "f", "2"]), request(&too_much), request(&watching)]);
    let replies = heard.replies.borrow().clone().expect("all are answered");
    assert_eq!((&replies[0], &replies[2]), (&Reply::Int(0), &Reply::NullArray));
    assert_eq!(g1.do_one(&["HGET", "h", "f"]).reply(), Some(Reply::fixed("2")));
}

/// What a transaction watches is what is appended, not only what is applied: two of them never win.
#[test]
fn of_two_transactions_that_watch_one_state_the_second_does_nothing() {
    let mut g1 = Replay::alone();
    g1.do_one(&["SET", "k", "1"]);
    let Some(Reply::Bulk(version)) = g1.do_one(&["OBJECT", "VERSION", "k"]).reply() else { panic!("no version") };
    let version = String::from_utf8_lossy(&version).into_owned();
    let words = ["ATOMIC", "1", "k", &version, "3", "APPEND", "k", "x"];
    let heard = g1.submit(vec![request(&words), request(&words)]);
    let replies = heard.replies.borrow().clone();
    assert_eq!(replies, Some(vec![Reply::Array(vec![Reply::Int(2)]), Reply::NullArray]));
    assert_eq!(g1.do_one(&["GET", "k"]).reply(), Some(Reply::fixed("1x")));
}

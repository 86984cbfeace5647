use bytes::Bytes;
use simplekv_types::{GroupId, Lsn};

use super::*;
use crate::error_text;

fn session() -> Session {
    let mut session = Session::new(1, String::new(), String::new(), false, 0);
    session.collection = Some(Collection::default());
    session
}

fn args(line: &str) -> Args {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// What the client is told.
fn told(session: &mut Session, line: &str) -> String {
    match session.collect(args(line)) {
        Collected::Answered(Reply::Status(status)) => status.to_owned(),
        Collected::Answered(Reply::Ok) => "OK".to_owned(),
        Collected::Answered(Reply::Error(failure)) => error_text(&failure).into_owned(),
        other => panic!("{line}: {other:?}"),
    }
}

fn exec(session: &mut Session) -> Transaction {
    let Collected::Exec(transaction) = session.collect(args("EXEC")) else { panic!("EXEC was refused") };
    transaction
}

fn words(command: &Command) -> String {
    let words = command.to_args();
    words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_collected_is_done_as_one_and_answered_in_its_order() {
    let mut session = session();
    for line in ["SET a 1", "PING", "INCRBY a x", "GET a"] {
        assert_eq!(told(&mut session, line), "QUEUED", "{line}");
    }
    let mut transaction = exec(&mut session);
    assert!(!session.is_collecting());
    assert_eq!(words(&transaction.atomic().unwrap()), "ATOMIC 0 3 SET a 1 2 GET a");
    assert!(!transaction.is_all_data());
    transaction.answer(|control| {
        assert!(matches!(control, Control::Ping { .. }));
        Reply::Status("PONG")
    });
    let done = Reply::Array(vec![Reply::Ok, Reply::fixed("1")]);
    let refused = Reply::Error(Failure::command("ERR value is not an integer or out of range"));
    let answer = vec![Reply::Ok, Reply::Status("PONG"), refused, Reply::fixed("1")];
    assert_eq!(transaction.clone().conclude(done), Reply::Array(answer));
    assert_eq!(transaction.conclude(Reply::NullArray), Reply::NullArray, "a watched key had changed");
}

#[test]
fn a_request_that_was_not_even_recognised_spoils_the_whole() {
    for line in ["NOSUCH", "GET", "KEYS *", "CLIENT TOKEN"] {
        let mut session = session();
        assert_eq!(told(&mut session, "SET a 1"), "QUEUED");
        assert!(told(&mut session, line).starts_with("ERR"), "{line}");
        assert_eq!(told(&mut session, "SET b 1"), "QUEUED");
        assert_eq!(told(&mut session, "EXEC"), "EXECABORT Transaction discarded because of previous errors.");
        assert!(!session.is_collecting());
    }
}

#[test]
fn what_makes_no_sense_here_is_refused_and_changes_nothing() {
    let mut session = session();
    assert_eq!(told(&mut session, "MULTI"), "ERR MULTI calls can not be nested");
    assert_eq!(told(&mut session, "WATCH a"), "ERR WATCH inside MULTI is not allowed");
    assert_eq!(exec(&mut session).atomic(), None, "nothing is to be done");
    let mut session = self::session();
    assert_eq!(session.collect(args("QUIT")), Collected::Now(Control::Quit));
}

#[test]
fn a_key_is_watched_as_it_was_first_seen_and_until_exec_or_discard() {
    let watched = |lsn: Option<u64>| Watched {
        key: Bytes::from_static(b"k"),
        version: lsn.map(|lsn| Version { group: GroupId(3), lsn: Lsn(lsn) }),
    };
    let keys: Keys = [Bytes::from_static(b"k")].into_iter().collect();
    assert_eq!(Session::watched(keys.clone(), [Reply::fixed("3-7")]), Ok(vec![watched(Some(7))]));
    assert_eq!(Session::watched(keys.clone(), [Reply::Null]), Ok(vec![watched(None)]));
    let lost = Reply::Error(Failure::Timeout { what: "nobody".into() });
    assert_eq!(Session::watched(keys, [lost.clone()]), Err(lost));

    let mut session = session();
    session.watch([watched(Some(7))]);
    session.watch([watched(Some(9))]);
    assert_eq!(told(&mut session, "GET k"), "QUEUED");
    assert_eq!(words(&exec(&mut session).atomic().unwrap()), "ATOMIC 1 k 3-7 2 GET k");
    assert_eq!(session.watched, []);
    session.watch([watched(None)]);
    session.collection = Some(Collection::default());
    assert_eq!(told(&mut session, "DISCARD"), "OK");
    assert_eq!(session.watched, []);
}

#[test]
fn more_than_can_be_done_at_once_is_not_even_kept() {
    let mut session = session();
    let long = "v".repeat(BYTES_MAX / 4);
    for _ in 0..3 {
        assert_eq!(told(&mut session, &format!("SET a {long}")), "QUEUED");
    }
    assert_eq!(told(&mut session, &format!("SET a {long}")), "ERR too many commands in one transaction");
    assert_eq!(session.collection.as_ref().unwrap().steps, []);
    assert!(told(&mut session, "EXEC").starts_with("EXECABORT"));
}

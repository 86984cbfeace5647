//! The command table says about each command what Redis says about it.

use std::collections::BTreeSet;

use bytes::BytesMut;
use simplekv_resp::command::KNOWN_SCRIPTS;
use simplekv_resp::control::Credentials;
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_resp::facts::{ClusterFacts, Facts, InfoFacts, Mode, RoleFacts, Verdict};
use simplekv_resp::table::{Spec, TABLE};
use simplekv_resp::{Answer, Body, Protocol, Request, Session, encode};

use crate::process::Redis;

/// What one command's row says, in COMMAND INFO's order: arity, flags, first, last, step, categories, key specifications.
#[derive(Debug, PartialEq)]
struct Row {
    arity: i64,
    flags: BTreeSet<String>,
    positions: [i64; 3],
    categories: BTreeSet<String>,
    keys: Vec<String>,
}

/// A key specification on one line, without its notes, which are in everybody's own words.
fn key_spec(frame: &Frame) -> String {
    let text = |frame: &Frame| String::from_utf8_lossy(frame.as_bytes().map_or(&[], |bytes| bytes)).into_owned();
    match frame {
        Frame::Map(pairs) => {
            let pairs = pairs.iter().filter(|(name, _)| text(name) != "notes");
            pairs.map(|(name, value)| format!("{}=({})", text(name), key_spec(value))).collect::<Vec<_>>().join(" ")
        }
        Frame::Set(names) | Frame::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(","),
        Frame::Int(number) => number.to_string(),
        other => text(other),
    }
}

fn row(frame: &Frame) -> Option<Row> {
    let Frame::Array(parts) = frame else { return None };
    let number = |at: usize| if let Frame::Int(number) = parts[at] { number } else { panic!("{:?}", parts[at]) };
    let names = |at: usize| match &parts[at] {
        Frame::Set(names) | Frame::Array(names) => {
            names.iter().map(|name| String::from_utf8_lossy(name.as_bytes().unwrap()).into_owned()).collect()
        }
        other => panic!("{other:?}"),
    };
    let (Frame::Set(specs) | Frame::Array(specs)) = &parts[8] else { panic!("{:?}", parts[8]) };
    Some(Row {
        arity: number(1),
        flags: names(2),
        positions: [number(3), number(4), number(5)],
        categories: names(6),
        keys: specs.iter().map(key_spec).collect(),
    })
}

/// A process that is never asked anything.
pub(crate) struct Nobody;

impl Facts for Nobody {
    fn now_micros(&self) -> u64 {
        0
    }

    fn mode(&self) -> Mode {
        Mode::Standalone
    }

    fn role(&self) -> RoleFacts {
        RoleFacts::default()
    }

    fn info(&self) -> InfoFacts {
        InfoFacts::default()
    }

    fn cluster(&self) -> Option<ClusterFacts> {
        None
    }

    fn check(&self, _credentials: &Credentials) -> Verdict {
        Verdict::NotNeeded
    }
}

/// What we answer to a command that is not about data, without knowing anything about the process.
fn answer(line: &str) -> Frame {
    let args = line.split(' ').map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())).collect();
    let mut session = Session::new(1, String::new(), String::new(), false, 0);
    let reply = match Request::parse(args).map(|request| request.body) {
        Ok(Body::Control(control)) => match session.answer(&control, &Nobody) {
            Answer::Reply(reply) => reply,
            other => panic!("{line}: {other:?}"),
        },
        Ok(Body::Data(_)) => panic!("{line} is about data"),
        Err(failure) => failure.into(),
    };
    let mut bytes = BytesMut::new();
    encode::reply(&reply, Protocol::Resp3, &mut bytes);
    Decoder::new().next(&mut bytes).unwrap().unwrap()
}

fn ours(name: &str) -> Frame {
    let Frame::Array(mut rows) = answer(&format!("command info {name}")) else { panic!("{name}") };
    rows.remove(0)
}

/// Commands Redis 7.0 does not know.
const NEWER: &[&str] =
    &["client|setinfo", "client|no-touch", "cluster|myshardid", "cluster|slot-stats", "delex", "delifeq", "waitaof"];

/// Commands of ours that no Redis knows.
const OURS: &[&str] = &["client|read", "client|token", "client|route", "atomic", "object|version"];

/// Rows that differ on purpose.
const DIFFERENT: &[(&str, &str)] = &[
    ("command|getkeys", "a command without arguments has no keys, which is an answer as well"),
    ("command|getkeysandflags", "as command|getkeys"),
    ("sort", "it is told behind which word the key is that it stores at, and nothing of what patterns name"),
    ("sort_ro", "as sort"),
    ("eval", "of the scripts that are run every one may write, and has a key"),
    ("evalsha", "as eval"),
    ("zrank", "WITHSCORE is newer"),
    ("zrevrank", "WITHSCORE is newer"),
];

fn rows() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
}

#[test]
fn known_scripts_hash_to_what_redis_says() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    for known in &KNOWN_SCRIPTS {
        let load = ["SCRIPT", "LOAD", known.text].map(|word| word.as_bytes().to_vec());
        assert_eq!(connection.ask_all(&[load.to_vec()]), [Frame::Bulk(known.sha.into())]);
    }
}

#[test]
fn rows_are_those_of_redis() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    connection.ask("HELLO 3");
    let mut differences = Vec::new();
    for spec in rows() {
        let Frame::Array(theirs) = connection.ask(&format!("COMMAND INFO {}", spec.name)) else {
            panic!("{}", spec.name)
        };
        let (ours, theirs) = (row(&ours(spec.name)), row(&theirs[0]));
        assert_eq!(theirs.is_none(), NEWER.contains(&spec.name) || OURS.contains(&spec.name), "{}", spec.name);
        let is_known = DIFFERENT.iter().any(|(name, _)| *name == spec.name);
        if theirs.is_some() && ours != theirs && !is_known {
            differences.push(format!("{}\n  ours:  {ours:?}\n  Redis: {theirs:?}", spec.name));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Requests that are answered alike by a server without data, apart from what each process says of itself.
const ALIKE: &[&str] = &[
    "COMMAND GETKEYS get a",
    "COMMAND GETKEYS mset a 1 b 2",
    "COMMAND GETKEYS memory usage a",
    "COMMAND GETKEYS nosuch a",
    "COMMAND GETKEYS ping a",
    "COMMAND GETKEYS get a b",
    "COMMAND GETKEYS spublish a b",
    "COMMAND GETKEYS zunion 0 a",
    "COMMAND GETKEYS eval x 0",
    "COMMAND GETKEYSANDFLAGS set a b",
    "COMMAND GETKEYSANDFLAGS set a b get",
    "COMMAND GETKEYSANDFLAGS bitfield a get u8 0",
    "COMMAND GETKEYSANDFLAGS bitfield a set u8 0 1",
    "COMMAND GETKEYSANDFLAGS rename a b",
    "COMMAND GETKEYSANDFLAGS lmove a b left right",
    "COMMAND GETKEYSANDFLAGS sunionstore d a b",
    "COMMAND GETKEYSANDFLAGS zunionstore d 2 a b weights 1 2",
    "COMMAND GETKEYSANDFLAGS georadius a 1 1 1 m store b",
    "COMMAND GETKEYSANDFLAGS sort a store b",
    "COMMAND GETKEYSANDFLAGS blpop a b 0",
    "COMMAND LIST FILTERBY MODULE x",
    "COMMAND LIST FILTERBY ACLCAT nosuch",
    "COMMAND LIST FILTERBY FOO x",
    "COMMAND INFO nosuch",
    "CLIENT KILL 10.0.0.1:1",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID x",
    "CLIENT KILL ID 99",
    "CLIENT KILL ID 99 ID",
    "CLIENT KILL TYPE foo",
    "CLIENT KILL TYPE replica",
    "CLIENT KILL USER nobody",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL FOO x",
    "CLIENT KILL",
    "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK 99",
    "CLIENT UNBLOCK 99 ERROR",
    "CLIENT UNBLOCK 99 FOO",
    "CLIENT PAUSE x",
    "CLIENT PAUSE -1",
    "CLIENT PAUSE 1 FOO",
    "CLIENT UNPAUSE",
    "CLIENT UNPAUSE x",
    "CLIENT LIST TYPE foo",
    "CLIENT LIST TYPE master",
    "CLIENT LIST ID x",
    "CLIENT LIST FOO",
    "CLIENT NO-EVICT foo",
    "CLIENT NO-EVICT on",
    "CLIENT FOO",
    "SLOWLOG GET",
    "SLOWLOG GET -2",
    "SLOWLOG GET x",
    "SLOWLOG GET 1 2",
    "SLOWLOG LEN",
    "SLOWLOG RESET",
    "SLOWLOG FOO",
    "WAIT x 0",
    "WAIT 1 x",
    "WAIT 1 -1",
    "CLUSTER KEYSLOT foo",
    "CLUSTER INFO",
    "CLUSTER FOO",
    "LATENCY RESET",
    "LATENCY HISTORY x",
    "LATENCY GRAPH x",
    "LATENCY HISTOGRAM nosuch",
    "LATENCY LATEST",
    "MODULE LIST",
    "ACL WHOAMI",
    "CONFIG SET nosuch 1",
    "CONFIG SET a",
    "CONFIG GET nosuch",
    "DEBUG",
    "DEBUG SLEEP 0",
    "MEMORY PURGE",
    "MEMORY FOO",
    "ROLE",
    "READONLY",
    "PUBSUB CHANNELS a b",
    "PUBSUB NUMPAT x",
    "PUBSUB FOO",
];

#[test]
fn what_is_not_about_data_is_answered_alike() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    connection.ask("HELLO 3");
    // On a busy machine anything may take long.
    connection.ask("CONFIG SET slowlog-log-slower-than -1");
    connection.ask("SLOWLOG RESET");
    let differences: Vec<String> = ALIKE
        .iter()
        .map(|line| (line, answer(line), connection.ask(line)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(line, ours, theirs)| format!("{line}\n  ours:  {ours:?}\n  Redis: {theirs:?}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn commands_are_listed_by_the_same_filters() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let names = |frame: Frame| -> BTreeSet<String> {
        let Frame::Array(names) = frame else { panic!("{frame:?}") };
        names.iter().map(|name| String::from_utf8_lossy(name.as_bytes().unwrap()).into_owned()).collect()
    };
    let known = names(connection.ask("COMMAND LIST"));
    for line in [
        "COMMAND LIST",
        "COMMAND LIST FILTERBY ACLCAT geo",
        "COMMAND LIST FILTERBY ACLCAT Dangerous",
        "COMMAND LIST FILTERBY ACLCAT connection",
        "COMMAND LIST FILTERBY ACLCAT keyspace",
        "COMMAND LIST FILTERBY PATTERN CLIENT*",
        "COMMAND LIST FILTERBY PATTERN *e?",
    ] {
        let (ours, theirs) = (names(answer(line)), names(connection.ask(line)));
        let ours: BTreeSet<String> = ours.intersection(&known).cloned().collect();
        let theirs: BTreeSet<String> =
            theirs.into_iter().filter(|name| rows().any(|spec| spec.name == *name)).collect();
        assert_eq!(ours, theirs, "{line}");
    }
}

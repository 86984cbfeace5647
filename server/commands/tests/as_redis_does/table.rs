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

/// What one command's row says, in COMMAND INFO's order: arity, flags, first, last, step, categories.
#[derive(Debug, PartialEq)]
struct Row {
    arity: i64,
    flags: BTreeSet<String>,
    positions: [i64; 3],
    categories: BTreeSet<String>,
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
    Some(Row { arity: number(1), flags: names(2), positions: [number(3), number(4), number(5)], categories: names(6) })
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

fn ours(name: &str) -> Frame {
    let args = ["command", "info", name].map(|word| bytes::Bytes::copy_from_slice(word.as_bytes()));
    let Body::Control(control) = Request::parse(args.into_iter().collect()).unwrap().body else { panic!("{name}") };
    let mut session = Session::new(1, String::new(), String::new(), false, 0);
    let Answer::Reply(reply) = session.answer(&control, &Nobody) else { panic!("{name}") };
    let mut bytes = BytesMut::new();
    encode::reply(&reply, Protocol::Resp3, &mut bytes);
    let Frame::Array(mut rows) = Decoder::new().next(&mut bytes).unwrap().unwrap() else { panic!("{name}") };
    rows.remove(0)
}

/// Commands Redis 7.0 does not know.
const NEWER: &[&str] =
    &["client|setinfo", "client|no-touch", "cluster|myshardid", "cluster|slot-stats", "delex", "delifeq"];

/// Commands of ours that no Redis knows.
const OURS: &[&str] = &["client|read", "client|token", "client|route", "atomic", "object|version"];

/// Rows that differ on purpose.
const DIFFERENT: &[(&str, &str)] = &[
    ("command|getkeys", "a command without arguments has no keys, which is an answer as well"),
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

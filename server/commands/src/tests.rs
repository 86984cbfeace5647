use bytes::Bytes;
use simplekv_resp::{Body, Request, error_text};

use super::*;

mod atomic;
mod geo;
mod hyperloglog;
mod list;
mod set_of;
mod sort;

/// A keyspace and the time, asked in the way a client would.
struct Shell {
    keyspace: Model,
    now: u64,
}

impl Shell {
    fn new() -> Self {
        Self { keyspace: Model::new(), now: 1_000_000 }
    }

    fn run(&mut self, line: &str) -> Reply {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match Request::parse(args).unwrap().body {
            Body::Data(command) => write(&command, &mut self.keyspace, GroupTime(self.now)),
            Body::Control(control) => panic!("{control:?} is not about data"),
        }
    }

    /// What a command answers, and whether it changed anything.
    fn effect(&mut self, line: &str) -> (Reply, bool) {
        let before = self.keyspace.changes();
        let reply = self.run(line);
        (reply, self.keyspace.changes() != before)
    }

    fn error(&mut self, line: &str) -> String {
        match self.effect(line) {
            (Reply::Error(failure), false) => error_text(&failure).into_owned(),
            other => panic!("{line}: {other:?}"),
        }
    }
}

fn bulk(text: &'static str) -> Reply {
    Reply::fixed(text)
}

#[test]
fn a_lapsed_key_is_gone_for_every_command() {
    let mut shell = Shell::new();
    let zero = Reply::Int(0);
    for (line, reply) in [
        ("get k", Reply::Null),
        ("strlen k", zero.clone()),
        ("exists k", zero.clone()),
        ("type k", Reply::Status("none")),
        ("ttl k", Reply::Int(-2)),
        ("persist k", zero.clone()),
        ("expire k 100", zero.clone()),
        ("del k", zero.clone()),
        ("getdel k", Reply::Null),
        ("getex k persist", Reply::Null),
        ("copy k l", zero.clone()),
        ("delifeq k v", zero.clone()),
        ("object encoding k", Reply::Null),
        ("memory usage k", Reply::Null),
        ("set k v xx", Reply::Null),
        ("keys *", Reply::Array(vec![])),
        ("randomkey", Reply::Null),
    ] {
        shell.run("set k v px 10");
        shell.now += 10;
        assert_eq!(shell.effect(line), (reply, false), "{line}");
    }
    assert_eq!(shell.error("rename k l"), "ERR no such key");
}

/// G6: as the commands see it.
#[test]
fn a_new_value_does_not_inherit_the_expiry_of_a_lapsed_one() {
    for line in [
        "set k new",
        "set k new keepttl",
        "setnx k new",
        "append k new",
        "setrange k 0 new",
        "mset k new",
        "getset k new",
    ] {
        let mut shell = Shell::new();
        shell.run("set k old px 10");
        shell.now += 10;
        shell.run(line);
        assert_eq!(shell.run("get k"), bulk("new"), "{line}");
        assert_eq!(shell.run("ttl k"), Reply::Int(-1), "{line}");
    }
    let mut shell = Shell::new();
    shell.run("set k 41 px 10");
    shell.now += 10;
    assert_eq!(shell.run("incr k"), Reply::Int(1));
    assert_eq!(shell.run("ttl k"), Reply::Int(-1));
}

/// G6: which commands clear the expiry and which keep it.
#[test]
fn only_what_sets_a_value_anew_clears_its_expiry() {
    for (line, ttl) in [
        ("set k 5", -1),
        ("getset k 5", -1),
        ("mset k 5", -1),
        ("set k 5 keepttl", 100),
        ("append k 5", 100),
        ("setrange k 1 5", 100),
        ("incr k", 100),
        ("incrbyfloat k 1", 100),
        ("getex k", 100),
        ("getex k persist", -1),
        ("getex k ex 7", 7),
        ("set k 5 ex 7", 7),
        ("set k 5 nx", 100),
        ("del k", -2),
    ] {
        let mut shell = Shell::new();
        shell.run("set k 1 ex 100");
        shell.run(line);
        assert_eq!(shell.run("ttl k"), Reply::Int(ttl), "{line}");
    }
    let mut shell = Shell::new();
    shell.run("set k 1 ex 100");
    shell.run("del k");
    shell.run("set k 1");
    assert_eq!(shell.run("ttl k"), Reply::Int(-1));
}

#[test]
fn an_expiry_moves_along_with_its_key() {
    let mut shell = Shell::new();
    shell.run("set {t}a v ex 100");
    shell.run("set {t}b w");
    assert_eq!(shell.run("rename {t}a {t}b"), Reply::Ok);
    assert_eq!(shell.run("ttl {t}b"), Reply::Int(100));
    assert_eq!(shell.run("copy {t}b {t}c"), Reply::Int(1));
    assert_eq!(shell.run("ttl {t}c"), Reply::Int(100));
    shell.run("set {t}d v");
    assert_eq!(shell.run("rename {t}d {t}b"), Reply::Ok);
    assert_eq!(shell.run("ttl {t}b"), Reply::Int(-1));
}

#[test]
fn an_expiry_in_the_past_deletes() {
    let mut shell = Shell::new();
    shell.now = 5_000_000_000;
    assert_eq!(shell.effect("set k v exat 1"), (Reply::Ok, false));
    for line in ["set k v pxat 5000000000", "set k v exat 1"] {
        shell.run("set k v");
        assert_eq!(shell.effect(line), (Reply::Ok, true), "{line}");
        assert_eq!(shell.effect("exists k"), (Reply::Int(0), false), "{line}");
    }
    for line in ["expire k 0", "expire k -5", "pexpireat k 1", "expireat k -7"] {
        shell.run("set k v");
        assert_eq!(shell.effect(line), (Reply::Int(1), true), "{line}");
        assert_eq!(shell.run("dbsize"), Reply::Int(0), "{line}");
    }
    shell.run("set k v");
    assert_eq!(shell.effect("getex k exat 1"), (bulk("v"), true));
    assert_eq!(shell.run("get k"), Reply::Null);
}

#[test]
fn a_write_that_changes_nothing_puts_nothing() {
    let mut shell = Shell::new();
    shell.run("set k v ex 100");
    let one = Reply::Int(1);
    let zero = Reply::Int(0);
    for (line, reply) in [
        ("set k w nx", Reply::Null),
        ("set none w xx", Reply::Null),
        ("set k w ifeq x", Reply::Null),
        ("set k w get nx", bulk("v")),
        ("setnx k w", zero.clone()),
        ("msetnx other 1 k 2", zero.clone()),
        ("append k ", one.clone()),
        ("setrange k 5 ", one.clone()),
        ("setrange none 5 ", zero.clone()),
        ("del none", zero.clone()),
        ("getdel none", Reply::Null),
        ("delex k ifeq x", zero.clone()),
        ("delex k ifne v", zero.clone()),
        ("persist none", zero.clone()),
        ("expire k 50 gt", zero.clone()),
        ("expire k 200 lt", zero.clone()),
        ("expire k 50 nx", zero.clone()),
        ("expire none 50", zero.clone()),
        ("getex k", bulk("v")),
        ("copy none other", zero.clone()),
        ("rename k k", Reply::Ok),
        ("renamenx k k", zero.clone()),
        ("pexpireat k 1100000", one),
    ] {
        assert_eq!(shell.effect(line), (reply, false), "{line}");
    }
}

#[test]
fn values_are_compared_and_set_or_deleted() {
    let mut shell = Shell::new();
    for (line, reply) in [
        ("set k a ifeq x", Reply::Null),
        ("exists k", Reply::Int(0)),
        ("set k a ifne x", Reply::Ok),
        ("set k b ifeq a", Reply::Ok),
        ("set k c ifeq a", Reply::Null),
        ("set k c ifeq a get", bulk("b")),
        ("set k c ifne b get", bulk("b")),
        ("set k c ifne a get", bulk("b")),
        ("get k", bulk("c")),
        ("delifeq k x", Reply::Int(0)),
        ("delifeq k c", Reply::Int(1)),
        ("delifeq k c", Reply::Int(0)),
        ("set k a", Reply::Ok),
        ("delex k ifne a", Reply::Int(0)),
        ("delex k ifne b", Reply::Int(1)),
        ("delex k ifne b", Reply::Int(0)),
        ("set k a", Reply::Ok),
        ("delex k", Reply::Int(1)),
    ] {
        assert_eq!(shell.run(line), reply, "{line}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_written() {
    let mut shell = Shell::new();
    shell.keyspace = Model::new().with_value_limit(4);
    let too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    let too_large = "ERR value of 5 bytes exceeds the limit of 4";
    shell.run("set k 1234");
    for (line, text) in [
        ("set k 12345", too_large),
        ("setnx l 12345", too_large),
        ("mset a 1 b 12345", too_large),
        ("msetnx a 1 b 12345", too_large),
        ("append k 5", too_long),
        ("append l 12345", too_long),
        ("setrange k 4 5", too_long),
        ("setrange l 18446744073 5", too_long),
        ("setrange l 9223372036854775807 5", too_long),
    ] {
        assert_eq!(shell.error(line), text, "{line}");
    }
    assert_eq!(shell.run("setrange k 3 x"), Reply::Int(4));
    let key = "k".repeat(limits::KEY_BYTES_MAX + 1);
    assert_eq!(shell.error(&format!("set {key} v")), "ERR key of 65536 bytes exceeds the limit of 65535");
    assert_eq!(shell.error(&format!("mget k {key}")), "ERR key of 65536 bytes exceeds the limit of 65535");
    assert_eq!(shell.run(&format!("set {} v", &key[1..])), Reply::Ok);
}

#[test]
fn other_types_are_not_strings() {
    let mut shell = Shell::new();
    assert_eq!(shell.run("hset h f v"), Reply::Int(1));
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    for line in [
        "get h",
        "strlen h",
        "getrange h 0 1",
        "getset h v",
        "set h v get",
        "set h v ifeq x",
        "getdel h",
        "getex h",
        "append h x",
        "setrange h 0 x",
        "incr h",
        "incrbyfloat h x",
        "delifeq h x",
    ] {
        assert_eq!(shell.error(line), wrong, "{line}");
    }
    for (line, reply) in [
        ("mget h", Reply::Array(vec![Reply::Null])),
        ("type h", Reply::Status("hash")),
        ("exists h", Reply::Int(1)),
        ("rename h g", Reply::Ok),
        ("type g", Reply::Status("hash")),
        ("expire g 100", Reply::Int(1)),
        ("type g", Reply::Status("hash")),
        ("scan 0 type hash", Reply::Array(vec![bulk("0"), Reply::Array(vec![bulk("g")])])),
        ("scan 0 type string", Reply::Array(vec![bulk("0"), Reply::Array(vec![])])),
        ("set g v", Reply::Ok),
        ("type g", Reply::Status("string")),
    ] {
        assert_eq!(shell.run(line), reply, "{line}");
    }
}

#[test]
fn times_to_live_are_rounded_to_the_nearest_second() {
    let mut shell = Shell::new();
    shell.run("set k v px 1499");
    assert_eq!((shell.run("ttl k"), shell.run("pttl k")), (Reply::Int(1), Reply::Int(1499)));
    assert_eq!((shell.run("expiretime k"), shell.run("pexpiretime k")), (Reply::Int(1001), Reply::Int(1_001_499)));
    shell.now -= 1;
    assert_eq!(shell.run("ttl k"), Reply::Int(2));
    shell.now += 1499;
    assert_eq!((shell.run("ttl k"), shell.run("exists k")), (Reply::Int(0), Reply::Int(1)), "one millisecond is left");
    shell.now += 1;
    assert_eq!(shell.run("exists k"), Reply::Int(0));
}

#[test]
fn a_write_is_not_taken_for_a_read() {
    let shell = Shell::new();
    let set = Command::Del { keys: [Bytes::from("k")].into_iter().collect() };
    assert!(matches!(read(&set, &shell.keyspace, GroupTime(0)), Reply::Error(_)));
}

#[test]
fn a_disk_that_fails_is_told_and_nothing_is_done() {
    /// Everything is there, nothing can be read.
    struct Broken;

    impl View for Broken {
        fn owner(&self, _slot: Slot) -> GroupId {
            GroupId(1)
        }

        fn get(&self, _key: &[u8]) -> Result<Option<Entry>, Failure> {
            Err(Failure::Corrupt { what: "segment 1".into() })
        }

        fn elements(&self, _key: &[u8]) -> Result<Option<Elements>, Failure> {
            Err(Failure::Corrupt { what: "segment 1".into() })
        }

        fn element_value(&self, _key: &[u8], _element: &Element) -> Result<Bytes, Failure> {
            Err(Failure::Corrupt { what: "segment 1".into() })
        }

        fn slots(&self) -> Vec<SlotRange> {
            vec![SlotRange::ALL]
        }

        fn key_count(&self, _slot: Slot) -> u64 {
            1
        }

        fn scan_slot(
            &self,
            _slot: Slot,
            _from: u64,
            _limit: usize,
            _visit: &mut dyn FnMut(u64, Bytes, Meta),
        ) -> Result<Option<u64>, Failure> {
            Err(Failure::Corrupt { what: "segment 1".into() })
        }

        fn random(&self) -> u64 {
            0
        }
    }

    impl Keyspace for Broken {
        fn put(&mut self, key: &Bytes, _kind: ValueType, _value: Bytes, _expire_at: Option<GroupTime>) {
            panic!("{key:?} was put");
        }

        fn delete(&mut self, key: &Bytes) {
            panic!("{key:?} was deleted");
        }

        fn begin(&mut self, key: &Bytes, _kind: ValueType, _expire_at: Option<GroupTime>) {
            panic!("{key:?} was begun");
        }

        fn expire(&mut self, key: &Bytes, _expire_at: Option<GroupTime>) {
            panic!("{key:?} is to expire");
        }

        fn put_element(&mut self, key: &Bytes, _name: &[u8], _value: &[u8]) -> bool {
            panic!("an element of {key:?} was put");
        }

        fn delete_element(&mut self, key: &Bytes, _name: &[u8]) {
            panic!("an element of {key:?} was deleted");
        }

        fn clear(&mut self) {
            panic!("everything was deleted");
        }
    }

    for line in [
        "get k",
        "set k v nx",
        "set k v get",
        "append k v",
        "incr k",
        "del a b",
        "expire k 5",
        "rename a b",
        "hget h f",
        "hset h f v",
        "hincrby h f 1",
        "sadd s m",
        "spop s",
        "smove s t m",
        "sunionstore d s t",
        "scan 0",
        "keys *",
    ] {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let Ok(Request { body: Body::Data(command), .. }) = Request::parse(args) else { panic!("{line}") };
        let reply = write(&command, &mut Broken, GroupTime(0));
        assert_eq!(reply, Reply::Error(Failure::Corrupt { what: "segment 1".into() }), "{line}");
    }
}

#[test]
fn bits_are_counted_from_the_highest_of_the_first_byte() {
    let mut shell = Shell::new();
    for (line, reply) in [
        ("setbit k 7 1", Reply::Int(0)),
        ("setbit k 7 1", Reply::Int(1)),
        ("getbit k 7", Reply::Int(1)),
        ("getbit k 100", Reply::Int(0)),
        ("setbit k 17 1", Reply::Int(0)),
        ("strlen k", Reply::Int(3)),
        ("bitcount k", Reply::Int(2)),
        ("bitcount k 0 0", Reply::Int(1)),
        ("bitcount k 8 -1 bit", Reply::Int(1)),
        ("bitcount k -1 -2", Reply::Int(0)),
        ("bitcount missing", Reply::Int(0)),
        ("bitpos k 1", Reply::Int(7)),
        ("bitpos k 1 1", Reply::Int(17)),
        ("bitpos k 0 0 -1 bit", Reply::Int(0)),
        ("bitpos k 1 8 16 bit", Reply::Int(-1)),
        ("bitpos missing 0", Reply::Int(0)),
        ("bitpos missing 1", Reply::Int(-1)),
        ("bitop not n k", Reply::Int(3)),
        ("bitop and a k n", Reply::Int(3)),
        ("bitcount a", Reply::Int(0)),
        ("bitop or o k n missing", Reply::Int(3)),
        ("bitcount o", Reply::Int(24)),
        ("bitpos o 0", Reply::Int(24)),
        ("bitpos o 0 0 -1", Reply::Int(-1)),
        ("bitop xor x k k", Reply::Int(3)),
        ("bitop or o missing missing", Reply::Int(0)),
        ("exists o", Reply::Int(0)),
    ] {
        assert_eq!(shell.run(line), reply, "{line}");
    }
}

#[test]
fn integers_of_any_width_wrap_stop_or_fail() {
    let mut shell = Shell::new();
    let ints = |values: &[i64]| Reply::Array(values.iter().copied().map(Reply::Int).collect());
    for (line, reply) in [
        ("bitfield k set u8 #1 200 get u8 8 get i8 8", ints(&[0, 200, -56])),
        ("bitfield k incrby u8 8 100", ints(&[44])),
        ("bitfield k overflow sat incrby u8 8 300", ints(&[255])),
        ("bitfield k overflow sat incrby i5 100 -30", ints(&[-16])),
        ("bitfield k overflow fail incrby u8 8 1", Reply::Array(vec![Reply::Null])),
        ("bitfield k set i64 128 -1 get u63 129", ints(&[0, i64::MAX])),
        ("bitfield k overflow sat set u4 0 -1 get u4 0", ints(&[0, 15])),
        ("bitfield_ro missing get u8 0", ints(&[0])),
        ("exists missing", Reply::Int(0)),
    ] {
        assert_eq!(shell.run(line), reply, "{line}");
    }
}

//! HyperLogLogs.

use super::*;

impl Shell {
    fn put_string(&mut self, key: &'static str, value: Vec<u8>) {
        self.keyspace.put(&Bytes::from(key), ValueType::String, value.into(), None);
    }

    fn string(&mut self, key: &str) -> Bytes {
        let Reply::Bulk(value) = self.run(&format!("get {key}")) else { panic!("{key}") };
        value
    }
}

/// What a register holds.
type Rank = fn(u32) -> u32;

/// A value of full size with these registers, and without an estimate.
fn full_size(rank: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut value = b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
    for register in (0..16_384).step_by(4) {
        let bits = (0..4).fold(0, |bits, at| bits | rank(register + at) << (6 * at));
        value.extend(&bits.to_le_bytes()[..3]);
    }
    value
}

/// The estimates are those a Redis gives.
#[test]
fn registers_of_any_height_are_estimated() {
    let mut shell = Shell::new();
    let ranks: [(Rank, i64); 5] = [
        (|_| 0, 0),
        (|register| register % 11, 62_138),
        (|register| register % 52, 303_516),
        (|register| if register % 3 == 0 { 1 } else { 51 }, 70_903),
        (|register| register % 64, 375_261),
    ];
    for (rank, estimate) in ranks {
        shell.put_string("k", full_size(rank));
        assert_eq!(shell.effect("pfcount k"), (Reply::Int(estimate), false));
        // Without the estimate that may be remembered, and in full size only.
        assert_eq!(shell.run("pfcount k k"), Reply::Int(estimate));
        shell.run("pfmerge l k");
        assert_eq!(shell.string("l"), shell.string("k"));
        shell.run("del l");
    }
}

#[test]
fn an_estimate_is_believed_until_something_is_added() {
    let mut shell = Shell::new();
    shell.run("pfadd k a");
    let mut value = shell.string("k").to_vec();
    value[8..16].copy_from_slice(&7_u64.to_le_bytes());
    shell.put_string("k", value);
    assert_eq!(shell.run("pfcount k"), Reply::Int(7));
    assert_eq!(shell.effect("pfadd k a"), (Reply::Int(0), false));
    assert_eq!(shell.run("pfcount k"), Reply::Int(7));
    assert_eq!(shell.effect("pfadd k b"), (Reply::Int(1), true));
    assert_eq!(shell.run("pfcount k"), Reply::Int(2));
}

#[test]
fn what_was_counted_before_changes_nothing_and_what_is_none_is_refused() {
    let mut shell = Shell::new();
    assert_eq!(shell.effect("pfadd k"), (Reply::Int(1), true));
    assert_eq!(shell.effect("pfadd k"), (Reply::Int(0), false));
    shell.run("pfadd k a b");
    shell.run("expire k 100");
    for (line, reply, changes) in [
        ("pfadd k a b", Reply::Int(0), false),
        ("pfadd k a c", Reply::Int(1), true),
        ("pfmerge k k nosuch", Reply::Ok, false),
        ("pfmerge l nosuch", Reply::Ok, true),
        ("pfcount l", Reply::Int(0), false),
        ("pfcount k l", Reply::Int(3), false),
        ("ttl k", Reply::Int(100), false),
    ] {
        assert_eq!(shell.effect(line), (reply, changes), "{line}");
    }
    let runs = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    for (body, text) in [
        (&b""[..], "INVALIDOBJ Corrupted HLL object detected"),
        (b"\x7f\xfe", "INVALIDOBJ Corrupted HLL object detected"),
        (b"\x7f\xff\x00", "INVALIDOBJ Corrupted HLL object detected"),
        (b"\x7f\xfe\x40", "INVALIDOBJ Corrupted HLL object detected"),
    ] {
        shell.put_string("m", [runs, body].concat());
        for line in ["pfadd m a", "pfcount m", "pfcount k m", "pfmerge k m", "pfmerge m k"] {
            assert_eq!(shell.error(line), text, "{line}");
        }
    }
    shell.put_string("m", full_size(|_| 1)[..100].to_vec());
    for line in ["pfadd m", "pfcount m", "pfmerge k m"] {
        assert_eq!(shell.error(line), "WRONGTYPE Key is not a valid HyperLogLog string value.", "{line}");
    }
}

#[test]
fn a_value_that_may_not_grow_so_long_stays_as_it_is() {
    let mut shell = Shell::new();
    shell.keyspace = Model::new().with_value_limit(3000);
    let mut added = 0;
    let refused = loop {
        match shell.effect(&format!("pfadd k {added}")) {
            (Reply::Int(_), _) => added += 1,
            (Reply::Error(Failure::TooLarge { size, .. }), false) => break size,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused, 12_304);
    assert!(shell.string("k").len() <= 3000 && added > 1000, "{added}");
}

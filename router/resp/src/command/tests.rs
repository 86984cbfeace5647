use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Result<Body, Failure> {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Request::parse(args).map(|request| request.body)
}

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Body::Data(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    crate::error_text(&parse(line).expect_err(line)).into_owned()
}

fn set_with(condition: SetCondition, expiry: SetExpiry, get: bool) -> Command {
    Command::Set(Set { key: "k".into(), value: "v".into(), condition, expiry, get })
}

#[test]
fn options_of_set_are_understood() {
    use SetCondition::{Always, IfAbsent, IfPresent, IfValue};
    use SetExpiry::{Clear, Expire, Keep};
    let equal = || IfValue(ValueCondition::Equal("x".into()));
    for (line, expected) in [
        ("set k v", set_with(Always, Clear, false)),
        ("SET k v NX", set_with(IfAbsent, Clear, false)),
        ("set k v xx get", set_with(IfPresent, Clear, true)),
        ("set k v nx nx", set_with(IfAbsent, Clear, false)),
        ("set k v keepttl", set_with(Always, Keep, false)),
        ("set k v ex 10 nx", set_with(IfAbsent, Expire(Expiry::After(10_000)), false)),
        ("set k v ex 10 ex 20", set_with(Always, Expire(Expiry::After(20_000)), false)),
        ("set k v px 10", set_with(Always, Expire(Expiry::After(10)), false)),
        ("set k v EXAT 10", set_with(Always, Expire(Expiry::At(10_000)), false)),
        ("set k v pxat 10", set_with(Always, Expire(Expiry::At(10)), false)),
        ("set k v ifeq x get", set_with(equal(), Clear, true)),
        ("set k v ifne x", set_with(IfValue(ValueCondition::NotEqual("x".into())), Clear, false)),
        ("setex k 10 v", set_with(Always, Expire(Expiry::After(10_000)), false)),
        ("psetex k 10 v", set_with(Always, Expire(Expiry::After(10)), false)),
        ("getset k v", set_with(Always, Clear, true)),
    ] {
        assert_eq!(command(line), expected, "{line}");
    }
}

#[test]
fn senseless_arguments_are_refused_with_redis_words() {
    let syntax = "ERR syntax error";
    let integer = "ERR value is not an integer or out of range";
    for (line, text) in [
        ("set k v nx xx", syntax),
        ("set k v nx ifeq x", syntax),
        ("set k v ex", syntax),
        ("set k v ex 10 px 10", syntax),
        ("set k v ex 10 keepttl", syntax),
        ("set k v keepttl ex 10", syntax),
        ("set k v foo", syntax),
        ("set k v ifeq", syntax),
        ("set k v ex foo", integer),
        ("set k v ex foo bar", syntax),
        ("set k v ex 0", "ERR invalid expire time in 'set' command"),
        ("set k v ex -1", "ERR invalid expire time in 'set' command"),
        ("set k v ex 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("set k v px 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("setex k 0 v", "ERR invalid expire time in 'setex' command"),
        ("setex k x v", integer),
        ("psetex k -5 v", "ERR invalid expire time in 'psetex' command"),
        ("getex k ex 0", "ERR invalid expire time in 'getex' command"),
        ("getex k persist ex 10", syntax),
        ("getex k ex 10 persist", syntax),
        ("getex k keepttl", syntax),
        ("mset a", "ERR wrong number of arguments for 'mset' command"),
        ("mset a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("msetnx a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("getrange k a 1", integer),
        ("setrange k -1 v", "ERR offset is out of range"),
        ("setrange k x v", integer),
        ("incrby k 1.5", integer),
        ("incrby k 9223372036854775808", integer),
        ("decrby k -9223372036854775808", "ERR decrement would overflow"),
        ("expire k 10 foo", "ERR Unsupported option foo"),
        ("expire k 10 nx gt", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("expire k 10 gt lt", "ERR GT and LT options at the same time are not compatible"),
        ("expire k x", integer),
        ("expire k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("expire k -9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("pexpire k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("expireat k 9223372036854775807", "ERR invalid expire time in 'expireat' command"),
        ("copy a a", "ERR source and destination objects are the same"),
        ("copy a b db 1", "ERR DB index is out of range"),
        ("copy a b foo", syntax),
        ("scan x", "ERR invalid cursor"),
        ("scan 0 count 0", syntax),
        ("scan 0 count x", integer),
        ("scan 0 match", syntax),
        ("scan 0 foo bar", syntax),
        ("scan 0 slots 5 4", "ERR Invalid slot"),
        ("flushall now", syntax),
        ("flushall sync async", syntax),
        ("memory usage k samples -1", syntax),
        ("delex k ifeq", "ERR wrong number of arguments for 'delex' command"),
        ("delex k foo x", "ERR Invalid condition. Use IFEQ or IFNE"),
        ("spop k -1", "ERR value is out of range, must be positive"),
        ("spop k foo", "ERR value is out of range, must be positive"),
        ("spop k foo bar", syntax),
        ("srandmember k foo", integer),
        ("srandmember k foo bar", syntax),
        ("sintercard 0 k", "ERR numkeys should be greater than 0"),
        ("sintercard foo k", "ERR numkeys should be greater than 0"),
        ("sintercard 2 k", "ERR Number of keys can't be greater than number of args"),
        ("sintercard 1 k l", syntax),
        ("sintercard 1 k limit", syntax),
        ("sintercard 1 k limit -1 foo", "ERR LIMIT can't be negative"),
        ("sintercard 1 k limit 1 foo", syntax),
        ("hello 4", "NOPROTO unsupported protocol version"),
        ("hello x", "ERR Protocol version is not an integer or out of range"),
        ("hello 3 foo", "ERR Syntax error in HELLO option 'foo'"),
        ("hello 3 auth x", "ERR Syntax error in HELLO option 'auth'"),
        ("hello 3 setname a\nb", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("client setname a\u{1}b", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("client setinfo lib-name a\nb", "ERR lib-name cannot contain spaces, newlines or special characters."),
        ("client setinfo foo a", "ERR Unrecognized option 'foo'"),
        ("client reply maybe", syntax),
        ("client list type foo", "ERR Unknown client type 'foo'"),
        ("client list id 0", "ERR Invalid client ID"),
        ("client maint_notifications on", "ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP."),
        ("ping a b", "ERR wrong number of arguments for 'ping' command"),
        ("select x", integer),
        ("wait x 0", integer),
        ("wait 1 -1", "ERR timeout is negative"),
        ("slowlog get -2", "ERR count should be greater than or equal to -1"),
        ("cluster countkeysinslot 16384", "ERR Invalid slot"),
        ("cluster getkeysinslot 1 -1", "ERR Invalid slot or number of keys"),
        ("command list filterby foo bar", syntax),
    ] {
        assert_eq!(refusal(line), text, "{line:?}");
    }
}

#[test]
fn commands_know_their_slot_and_whether_they_write() {
    for (line, slot, write) in [
        ("get foo", Some(12182), false),
        ("set foo v", Some(12182), true),
        ("getex foo", Some(12182), false),
        ("getex foo persist", Some(12182), true),
        ("mget {foo}a {foo}b", Some(12182), false),
        ("rename {foo}a {foo}b", Some(12182), true),
        ("sunion {foo}a {foo}b", Some(12182), false),
        ("sunionstore {foo}a {foo}b", Some(12182), true),
        ("dbsize", None, false),
        ("flushdb", None, true),
    ] {
        let command = command(line);
        assert_eq!(command.slot().unwrap().map(Slot::number), slot, "{line}");
        assert_eq!(command.is_write(), write, "{line}");
        assert_eq!(command.is_keyspace_wide(), slot.is_none(), "{line}");
    }
    for line in ["mset foo 1 bar 2", "smove foo bar m", "sintercard 2 foo bar"] {
        assert_eq!(command(line).slot(), Err(Failure::CrossSlot), "{line}");
    }
}

#[test]
fn the_table_and_the_commands_agree() {
    for line in examples() {
        let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let keys: Vec<Bytes> = table::keys_of(&args).unwrap().cloned().collect();
        let request = Request::parse(args).unwrap();
        let Body::Data(command) = request.body else { panic!("{line}") };
        assert_eq!(command.keys().cloned().collect::<Vec<_>>(), keys, "{line}");
        // A plain GETEX is the one command that may be a write by its row and a read in fact.
        assert!(command.is_write() == request.spec.is_write() || line == "getex k", "{line}");
    }
}

/// Every data command and every option once.
fn examples() -> Vec<&'static str> {
    vec![
        "get k",
        "set k v",
        "set k v nx get",
        "set k v xx px 5",
        "set k v ifeq a pxat 7",
        "set k v ifne a keepttl",
        "setnx k v",
        "getdel k",
        "getex k",
        "getex k persist",
        "getex k px 5",
        "mget a b c",
        "mset a 1 b 2",
        "msetnx a 1 b 2",
        "append k v",
        "strlen k",
        "getrange k 0 -1",
        "setrange k 5 v",
        "incrby k -9",
        "incrbyfloat k 1.5",
        "del a b",
        "unlink a b",
        "delex k ifeq v",
        "delex k ifne v",
        "delex k",
        "exists a a",
        "touch a b",
        "type k",
        "pexpire k -5 nx",
        "pexpireat k 5 xx lt",
        "pexpireat k 5 gt",
        "ttl k",
        "pttl k",
        "expiretime k",
        "pexpiretime k",
        "persist k",
        "rename a b",
        "renamenx a b",
        "copy a b",
        "copy a b replace",
        "object encoding k",
        "object refcount k",
        "object idletime k",
        "object freq k",
        "memory usage k",
        "sadd k a b",
        "srem k a b",
        "sismember k a",
        "smismember k a b",
        "scard k",
        "smembers k",
        "spop k",
        "spop k 5",
        "srandmember k",
        "srandmember k -5",
        "sscan k 7 count 5 match a*",
        "smove k l a",
        "sinter k",
        "sinter k l m",
        "sunion k l",
        "sdiff k l",
        "sinterstore k l m",
        "sunionstore k l m",
        "sdiffstore k l m",
        "sintercard 1 k",
        "sintercard 3 k l m limit 5",
        "pfadd k",
        "pfadd k a b",
        "pfcount k",
        "pfcount k l m",
        "pfmerge k",
        "pfmerge k l m",
        "scan 0",
        "scan 7 count 5 match a* type string slots 3 9",
        "keys *",
        "randomkey",
        "dbsize",
        "flushall",
    ]
}

#[test]
fn commands_survive_the_way_back_to_words() {
    for line in examples() {
        let parsed = command(line);
        let Body::Data(again) = Request::parse(parsed.to_args()).unwrap().body else { panic!("{line}") };
        assert_eq!(again, parsed, "{line}");
    }
}

/// However deep, it takes no more of the stack than one.
#[test]
fn what_is_done_as_one_has_nothing_within_it() {
    let mut words: Vec<String> = vec!["ECHO".into(), "x".into()];
    for _ in 0..20_000 {
        let count = words.len().to_string();
        words.splice(0..0, ["ATOMIC".to_owned(), "0".to_owned(), count]);
    }
    let args = words.into_iter().map(Bytes::from).collect();
    let refused = Request::parse(args).unwrap_err();
    assert_eq!(crate::error_text(&refused), "ERR Command not allowed inside a transaction: atomic");
}

#[test]
fn passwords_are_not_printed() {
    let Ok(Body::Control(control)) = parse("auth alice secret") else { panic!("AUTH is a control command") };
    assert!(!format!("{control:?}").contains("secret"));
}

proptest! {
    #[test]
    fn any_words_are_understood_or_refused(
        name in prop::sample::select(table::TABLE.iter().map(|spec| spec.name).collect::<Vec<_>>()),
        rest in prop::collection::vec(prop_oneof![
            prop::sample::select(vec!["k", "1", "-1", "ex", "px", "nx", "get", "match", "count", "id", "slotsrange", "9223372036854775807", ""]).prop_map(str::to_owned),
            "\\PC{0,6}",
        ], 0..7),
    ) {
        let args = std::iter::once(name.to_owned()).chain(rest).map(Bytes::from).collect();
        let _judged = Request::parse(args);
    }
}

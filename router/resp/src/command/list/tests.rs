use super::*;
use crate::Request;

fn parse(line: &str) -> Parsed {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Request::parse(args).map(|request| request.body)
}

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Body::Data(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

/// Every command and every option once.
const EXAMPLES: &[&str] = &[
    "llen k",
    "lrange k 0 -1",
    "lindex k -1",
    "lindex k no-number",
    "lpos k v",
    "lpos k v rank -2",
    "lpos k v maxlen 7 count 0 rank 9223372036854775807",
    "lpush k a b c",
    "rpush k a",
    "lpushx k a b",
    "rpushx k a",
    "lpop k",
    "lpop k 0",
    "rpop k",
    "rpop k 5",
    "lset k 3 v",
    "linsert k before a b",
    "linsert k After a b",
    "lrem k -9223372036854775808 v",
    "ltrim k 1 -2",
    "lmove a b left RIGHT",
    "lmove a a right left",
    "rpoplpush a b",
    "lmpop 1 a left",
    "lmpop 3 a b a right count 5",
];

#[test]
fn commands_survive_the_way_back_to_words() {
    for line in EXAMPLES {
        let parsed = command(line);
        let Body::Data(again) = Request::parse(parsed.to_args()).unwrap().body else { panic!("{line}") };
        assert_eq!(again, parsed, "{line}");
    }
}

#[test]
fn the_table_and_the_commands_agree() {
    for line in EXAMPLES {
        let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let keys: Vec<Bytes> = crate::table::keys_of(&args).unwrap().cloned().collect();
        let request = Request::parse(args).unwrap();
        let Body::Data(command) = request.body else { panic!("{line}") };
        assert_eq!(command.keys().cloned().collect::<Vec<_>>(), keys, "{line}");
        assert_eq!(command.is_write(), request.spec.is_write(), "{line}");
    }
}

#[test]
fn senseless_arguments_are_refused_with_redis_words() {
    let syntax = "ERR syntax error";
    let integer = "ERR value is not an integer or out of range";
    let positive = "ERR value is out of range, must be positive";
    let numkeys = "ERR numkeys should be greater than 0";
    let count = "ERR count should be greater than 0";
    for (line, text) in [
        ("lrange k x 1", integer),
        ("lrange k 0 1.5", integer),
        ("ltrim k 0 x", integer),
        ("lrem k x v", integer),
        ("lpop k -1", positive),
        ("lpop k x", positive),
        ("rpop k 9223372036854775808", positive),
        ("lpop k 1 2", "ERR wrong number of arguments for 'lpop' command"),
        ("rpop k x 2", "ERR wrong number of arguments for 'rpop' command"),
        ("linsert k between a b", syntax),
        ("lpos k v rank", syntax),
        ("lpos k v foo 1", syntax),
        ("lpos k v count 1 foo", syntax),
        ("lpos k v rank x", integer),
        (
            "lpos k v rank 0",
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
             from the end of the list",
        ),
        ("lpos k v count -1", "ERR COUNT can't be negative"),
        ("lpos k v count x foo", "ERR COUNT can't be negative"),
        ("lpos k v maxlen -1", "ERR MAXLEN can't be negative"),
        ("lmove a b up left", syntax),
        ("lmove a b left up", syntax),
        ("lmpop 0 k left", numkeys),
        ("lmpop -1 k left", numkeys),
        ("lmpop x k left", numkeys),
        ("lmpop 2 k left", syntax),
        ("lmpop 9223372036854775807 k left", syntax),
        ("lmpop 1 k up", syntax),
        ("lmpop 1 k left 5", syntax),
        ("lmpop 1 k left count", syntax),
        ("lmpop 1 k left count 0", count),
        ("lmpop 1 k left count x", count),
        ("lmpop 1 k left count 1 count 1", syntax),
    ] {
        assert_eq!(crate::error_text(&parse(line).expect_err(line)), text, "{line}");
    }
}

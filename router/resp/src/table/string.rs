//! The rows of the commands on strings.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::string as parse;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
/// Writes that need no room.
const REMOVE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const STRING: Group = Group::String;

const LINEAR_IN_KEYS: &str = "O(N) in the number of keys";
const LINEAR_IN_VALUE: &str = "O(N) in the length of the value";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("get", 2, READ_FAST, Keys::ONE, parse::get).doc(STRING, "1.0.0", "key", "Answers the value of a key."),
    Spec::new("set", -3, WRITE, Keys::ONE, parse::set).doc(
        STRING,
        "1.0.0",
        "key value [NX | XX | IFEQ comparison-value | IFNE comparison-value] [GET] [EX seconds | PX milliseconds | \
         EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        "Sets the value of a key, whatever it held, if the condition holds. Its expiry is cleared unless an option says otherwise.",
    ),
    Spec::new("setnx", 3, WRITE_FAST, Keys::ONE, parse::setnx).doc(
        STRING,
        "1.0.0",
        "key value",
        "Sets the value of a key that does not exist.",
    ),
    Spec::new("setex", 4, WRITE, Keys::ONE, parse::setex).doc(
        STRING,
        "2.0.0",
        "key seconds value",
        "Sets the value of a key and when it expires.",
    ),
    Spec::new("psetex", 4, WRITE, Keys::ONE, parse::psetex).doc(
        STRING,
        "2.6.0",
        "key milliseconds value",
        "Sets the value of a key and when it expires, in milliseconds.",
    ),
    Spec::new("getset", 3, WRITE_FAST, Keys::ONE, parse::getset).doc(
        STRING,
        "1.0.0",
        "key value",
        "Sets the value of a key and answers the one it had.",
    ),
    Spec::new("getdel", 2, REMOVE_FAST, Keys::ONE, parse::getdel).doc(
        STRING,
        "6.2.0",
        "key",
        "Answers the value of a key and deletes the key.",
    ),
    Spec::new("getex", -2, REMOVE_FAST, Keys::ONE, parse::getex).doc(
        STRING,
        "6.2.0",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "Answers the value of a key and changes when it expires.",
    ),
    Spec::new("mget", -2, READ_FAST, Keys::ALL, parse::mget)
        .doc(STRING, "1.0.0", "key [key ...]", "Answers the values of several keys.")
        .complexity(LINEAR_IN_KEYS)
        .tips(&["request_policy:multi_shard"]),
    Spec::new("mset", -3, WRITE, Keys::PAIRS, parse::mset)
        .doc(STRING, "1.0.1", "key value [key value ...]", "Sets the values of several keys.")
        .complexity(LINEAR_IN_KEYS)
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Spec::new("msetnx", -3, WRITE, Keys::PAIRS, parse::msetnx)
        .doc(STRING, "1.0.1", "key value [key value ...]", "Sets the values of several keys if none of them exists.")
        .complexity(LINEAR_IN_KEYS),
    Spec::new("append", 3, WRITE_FAST, Keys::ONE, parse::append)
        .doc(STRING, "2.0.0", "key value", "Makes the value of a key longer and answers its length.")
        .complexity(LINEAR_IN_VALUE),
    Spec::new("strlen", 2, READ_FAST, Keys::ONE, parse::strlen).doc(
        STRING,
        "2.2.0",
        "key",
        "Answers the length of a value.",
    ),
    Spec::new("getrange", 4, READ, Keys::ONE, parse::getrange)
        .doc(STRING, "2.4.0", "key start end", "Answers a part of a value; negative positions count from its end.")
        .complexity("O(N) in the length of the answer"),
    Spec::new("substr", 4, READ, Keys::ONE, parse::getrange)
        .doc(STRING, "1.0.0", "key start end", "Answers a part of a value. The old name of GETRANGE.")
        .complexity("O(N) in the length of the answer"),
    Spec::new("setrange", 4, WRITE, Keys::ONE, parse::setrange)
        .doc(STRING, "2.2.0", "key offset value", "Overwrites a part of a value and answers its length.")
        .complexity(LINEAR_IN_VALUE),
    Spec::new("incr", 2, WRITE_FAST, Keys::ONE, parse::incr).doc(
        STRING,
        "1.0.0",
        "key",
        "Adds one to the number a key holds, a missing one being 0.",
    ),
    Spec::new("decr", 2, WRITE_FAST, Keys::ONE, parse::decr).doc(
        STRING,
        "1.0.0",
        "key",
        "Takes one from the number a key holds, a missing one being 0.",
    ),
    Spec::new("incrby", 3, WRITE_FAST, Keys::ONE, parse::incrby).doc(
        STRING,
        "1.0.0",
        "key increment",
        "Adds to the number a key holds, a missing one being 0.",
    ),
    Spec::new("decrby", 3, WRITE_FAST, Keys::ONE, parse::decrby).doc(
        STRING,
        "1.0.0",
        "key decrement",
        "Takes from the number a key holds, a missing one being 0.",
    ),
    Spec::new("incrbyfloat", 3, WRITE_FAST, Keys::ONE, parse::incrbyfloat).doc(
        STRING,
        "2.6.0",
        "key increment",
        "Adds to the decimal number a key holds, a missing one being 0.",
    ),
    Spec::new("delex", -2, REMOVE_FAST, Keys::ONE, parse::delex).doc(
        STRING,
        "8.4.0",
        "key [IFEQ comparison-value | IFNE comparison-value]",
        "Deletes a key if its value is, or is not, the one given.",
    ),
    Spec::new("delifeq", 3, REMOVE_FAST, Keys::ONE, parse::delifeq).doc(
        STRING,
        "8.4.0",
        "key value",
        "Deletes a key if its value is the one given. Valkey's name for DELEX with IFEQ.",
    ),
];

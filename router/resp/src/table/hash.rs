//! The rows of the commands on hashes.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::hash as parse;

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const HASH: Group = Group::Hash;

const OF_EACH: &str = "O(log N) for each field";
const ALL: &str = "O(N) in the number of fields";
const LOG: &str = "O(log N) in the number of fields";
const RANDOM_ORDER: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];

pub(super) const SPECS: &[Spec] = &[
    Spec::new("hget", 3, FAST_READ, Keys::ONE, parse::hget)
        .doc(HASH, "2.0.0", "key field", "Answers the value of a field.")
        .complexity(LOG),
    Spec::new("hmget", -3, FAST_READ, Keys::ONE, parse::hmget)
        .doc(HASH, "2.0.0", "key field [field ...]", "Answers the values of fields.")
        .complexity(OF_EACH),
    Spec::new("hgetall", 2, READ, Keys::ONE, parse::hgetall)
        .doc(HASH, "2.0.0", "key", "Answers all fields with their values.")
        .complexity(ALL)
        .tips(RANDOM_ORDER),
    Spec::new("hkeys", 2, READ, Keys::ONE, parse::hkeys)
        .doc(HASH, "2.0.0", "key", "Answers all fields.")
        .complexity(ALL)
        .tips(RANDOM_ORDER),
    Spec::new("hvals", 2, READ, Keys::ONE, parse::hvals)
        .doc(HASH, "2.0.0", "key", "Answers the values of all fields.")
        .complexity(ALL)
        .tips(RANDOM_ORDER),
    Spec::new("hlen", 2, FAST_READ, Keys::ONE, parse::hlen).doc(
        HASH,
        "2.0.0",
        "key",
        "Answers how many fields there are.",
    ),
    Spec::new("hexists", 3, FAST_READ, Keys::ONE, parse::hexists)
        .doc(HASH, "2.0.0", "key field", "Tells whether a field is there.")
        .complexity(LOG),
    Spec::new("hstrlen", 3, FAST_READ, Keys::ONE, parse::hstrlen)
        .doc(HASH, "3.2.0", "key field", "Answers the length of a field's value.")
        .complexity(LOG),
    Spec::new("hrandfield", -2, READ, Keys::ONE, parse::hrandfield)
        .doc(HASH, "6.2.0", "key [count [WITHVALUES]]", "Answers fields drawn at random.")
        .complexity(OF_EACH)
        .tips(RANDOM),
    Spec::new("hscan", -3, READ, Keys::ONE, parse::hscan)
        .doc(HASH, "2.8.0", "key cursor [MATCH pattern] [COUNT count]", "Walks through the fields and their values.")
        .complexity("O(log N) for each call, and O(1) for each field it looks at")
        .tips(RANDOM),
    Spec::new("hset", -4, WRITE, Keys::ONE, parse::hset)
        .doc(
            HASH,
            "2.0.0",
            "key field value [field value ...]",
            "Gives fields values and answers how many of them are new.",
        )
        .complexity(OF_EACH),
    Spec::new("hmset", -4, WRITE, Keys::ONE, parse::hmset)
        .doc(HASH, "2.0.0", "key field value [field value ...]", "Gives fields values.")
        .complexity(OF_EACH),
    Spec::new("hsetnx", 4, WRITE, Keys::ONE, parse::hsetnx)
        .doc(HASH, "2.0.0", "key field value", "Gives a field a value if it is not there.")
        .complexity(LOG),
    Spec::new("hdel", -3, Flags::WRITE.and(Flags::FAST), Keys::ONE, parse::hdel)
        .doc(HASH, "2.0.0", "key field [field ...]", "Takes fields out and answers how many were there.")
        .complexity(OF_EACH),
    Spec::new("hincrby", 4, WRITE, Keys::ONE, parse::hincrby)
        .doc(HASH, "2.0.0", "key field increment", "Adds to the integer in a field.")
        .complexity(LOG),
    Spec::new("hincrbyfloat", 4, WRITE, Keys::ONE, parse::hincrbyfloat)
        .doc(HASH, "2.6.0", "key field increment", "Adds to the number in a field.")
        .complexity(LOG),
];

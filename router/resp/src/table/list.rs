//! The rows of the commands on lists.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::{blocking, list as parse};

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const PUSH: Flags = WRITE.and(Flags::FAST);
const POP: Flags = Flags::WRITE.and(Flags::FAST);
const LIST: Group = Group::List;

const OF_EACH: &str = "O(log N) for each element";
const LOG: &str = "O(log N) in the number of elements";
const ALL: &str = "O(N) in the number of elements";

const WAIT: Flags = Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING);
const WAIT_WRITE: Flags = WAIT.and(Flags::DENYOOM);
const KEYS: Keys = Keys::new(1, -2, 1);
const EACH_KEY: &str = "O(1) for each key, and O(log N) for each element";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("llen", 2, FAST_READ, Keys::ONE, parse::llen).doc(
        LIST,
        "1.0.0",
        "key",
        "Answers how many elements there are.",
    ),
    Spec::new("lrange", 4, READ, Keys::ONE, parse::lrange)
        .doc(LIST, "1.0.0", "key start stop", "Answers the elements from one to another.")
        .complexity("O(log N), and O(1) for each element it answers"),
    Spec::new("lindex", 3, READ, Keys::ONE, parse::lindex)
        .doc(LIST, "1.0.0", "key index", "Answers the element at a position.")
        .complexity(LOG),
    Spec::new("lpos", -3, READ, Keys::ONE, parse::lpos)
        .doc(
            LIST,
            "6.0.6",
            "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
            "Answers where elements stand that are equal to one.",
        )
        .complexity(ALL),
    Spec::new("lpush", -3, PUSH, Keys::ONE, parse::lpush)
        .doc(LIST, "1.0.0", "key element [element ...]", "Puts elements in before the first one.")
        .complexity(OF_EACH),
    Spec::new("rpush", -3, PUSH, Keys::ONE, parse::rpush)
        .doc(LIST, "1.0.0", "key element [element ...]", "Puts elements in behind the last one.")
        .complexity(OF_EACH),
    Spec::new("lpushx", -3, PUSH, Keys::ONE, parse::lpushx)
        .doc(LIST, "2.2.0", "key element [element ...]", "Puts elements in before the first one if the list is there.")
        .complexity(OF_EACH),
    Spec::new("rpushx", -3, PUSH, Keys::ONE, parse::rpushx)
        .doc(LIST, "2.2.0", "key element [element ...]", "Puts elements in behind the last one if the list is there.")
        .complexity(OF_EACH),
    Spec::new("lpop", -2, POP, Keys::ONE, parse::lpop)
        .doc(LIST, "1.0.0", "key [count]", "Takes the first elements out and answers them.")
        .complexity(OF_EACH),
    Spec::new("rpop", -2, POP, Keys::ONE, parse::rpop)
        .doc(LIST, "1.0.0", "key [count]", "Takes the last elements out and answers them.")
        .complexity(OF_EACH),
    Spec::new("lset", 4, WRITE, Keys::ONE, parse::lset)
        .doc(LIST, "1.0.0", "key index element", "Replaces the element at a position.")
        .complexity(LOG),
    Spec::new("linsert", 5, WRITE, Keys::ONE, parse::linsert)
        .doc(LIST, "2.2.0", "key <BEFORE | AFTER> pivot element", "Puts an element in before or behind another.")
        .complexity(ALL),
    Spec::new("lrem", 4, Flags::WRITE, Keys::ONE, parse::lrem)
        .doc(LIST, "1.0.0", "key count element", "Takes out elements that are equal to one and answers how many.")
        .complexity(ALL),
    Spec::new("ltrim", 4, Flags::WRITE, Keys::ONE, parse::ltrim)
        .doc(LIST, "1.0.0", "key start stop", "Takes out all elements but those from one to another.")
        .complexity("O(log N) for each element it takes out"),
    Spec::new("lmove", 5, WRITE, Keys::TWO, parse::lmove)
        .doc(
            LIST,
            "6.2.0",
            "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
            "Takes an element out of one list, puts it into another and answers it.",
        )
        .complexity(LOG),
    Spec::new("rpoplpush", 3, WRITE, Keys::TWO, parse::rpoplpush)
        .doc(
            LIST,
            "1.2.0",
            "source destination",
            "Takes the last element of a list, puts it in before the first one of another and answers it.",
        )
        .complexity(LOG),
    Spec::new("lmpop", -4, Flags::WRITE.and(Flags::MOVABLE_KEYS), Keys::NONE.and_counted(1), parse::lmpop)
        .doc(
            LIST,
            "7.0.0",
            "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
            "Takes elements out of the first of several lists that is there, and answers its key and them.",
        )
        .complexity("O(K) in the number of keys, and O(log N) for each element"),
    Spec::new("blpop", -3, WAIT, KEYS, blocking::blpop)
        .doc(
            LIST,
            "2.0.0",
            "key [key ...] timeout",
            "Takes the first element out of the first of several lists that has any, waiting for one.",
        )
        .complexity(EACH_KEY),
    Spec::new("brpop", -3, WAIT, KEYS, blocking::brpop)
        .doc(
            LIST,
            "2.0.0",
            "key [key ...] timeout",
            "Takes the last element out of the first of several lists that has any, waiting for one.",
        )
        .complexity(EACH_KEY),
    Spec::new("blmove", 6, WAIT_WRITE, Keys::TWO, blocking::blmove)
        .doc(
            LIST,
            "6.2.0",
            "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
            "Moves an element from one list to another and answers it, waiting for one.",
        )
        .complexity(LOG),
    Spec::new("brpoplpush", 4, WAIT_WRITE, Keys::TWO, blocking::brpoplpush)
        .doc(
            LIST,
            "2.2.0",
            "source destination timeout",
            "Moves the last element of a list to the begin of another and answers it, waiting for one.",
        )
        .complexity(LOG),
    Spec::new(
        "blmpop",
        -5,
        Flags::WRITE.and(Flags::MOVABLE_KEYS).and(Flags::BLOCKING),
        Keys::NONE.and_counted(2),
        blocking::blmpop,
    )
    .doc(
        LIST,
        "7.0.0",
        "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        "Takes elements out of the first of several lists that has any, waiting for one.",
    )
    .complexity(EACH_KEY),
];

//! The rows of the commands on sets.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::set_of as parse;

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = READ.and(Flags::FAST);
const ADD: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Writes that need no room.
const REMOVE: Flags = Flags::WRITE.and(Flags::FAST);
const SET: Group = Group::Set;

const OF_EACH: &str = "O(log N) for each member";
const ALL: &str = "O(N) in the number of members";
const LOG: &str = "O(log N) in the number of members";
const OF_SMALLEST: &str = "O(N*M log N) in the number N of members of the smallest set and the number M of sets";
const OF_ALL_SETS: &str = "O(N) in the number of members of all sets";
const RANDOM_ORDER: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];

pub(super) const SPECS: &[Spec] = &[
    Spec::new("sismember", 3, FAST_READ, Keys::ONE, parse::sismember)
        .doc(SET, "1.0.0", "key member", "Tells whether a member is there.")
        .complexity(LOG),
    Spec::new("smismember", -3, FAST_READ, Keys::ONE, parse::smismember)
        .doc(SET, "6.2.0", "key member [member ...]", "Tells of each member whether it is there.")
        .complexity(OF_EACH),
    Spec::new("scard", 2, FAST_READ, Keys::ONE, parse::scard).doc(
        SET,
        "1.0.0",
        "key",
        "Answers how many members there are.",
    ),
    Spec::new("smembers", 2, READ, Keys::ONE, parse::smembers)
        .doc(SET, "1.0.0", "key", "Answers all members.")
        .complexity(ALL)
        .tips(RANDOM_ORDER),
    Spec::new("srandmember", -2, READ, Keys::ONE, parse::srandmember)
        .doc(SET, "1.0.0", "key [count]", "Answers members drawn at random.")
        .complexity(OF_EACH)
        .tips(RANDOM),
    Spec::new("sscan", -3, READ, Keys::ONE, parse::sscan)
        .doc(SET, "2.8.0", "key cursor [MATCH pattern] [COUNT count]", "Walks through the members.")
        .complexity("O(log N) for each call, and O(1) for each member it looks at")
        .tips(RANDOM),
    Spec::new("sinter", -2, READ, Keys::ALL, parse::sinter)
        .doc(SET, "1.0.0", "key [key ...]", "Answers the members that are in all of the sets. All must be in one slot.")
        .complexity(OF_SMALLEST)
        .tips(RANDOM_ORDER),
    Spec::new("sunion", -2, READ, Keys::ALL, parse::sunion)
        .doc(SET, "1.0.0", "key [key ...]", "Answers the members that are in any of the sets. All must be in one slot.")
        .complexity(OF_ALL_SETS)
        .tips(RANDOM_ORDER),
    Spec::new("sdiff", -2, READ, Keys::ALL, parse::sdiff)
        .doc(
            SET,
            "1.0.0",
            "key [key ...]",
            "Answers the members of the first set that are in none of the others. All must be in one slot.",
        )
        .complexity(OF_ALL_SETS)
        .tips(RANDOM_ORDER),
    Spec::new(
        "sintercard",
        -3,
        READ.and(Flags::MOVABLE_KEYS),
        Keys::NONE.and_counted(1),
        parse::sintercard,
    )
    .doc(
        SET,
        "7.0.0",
        "numkeys key [key ...] [LIMIT limit]",
        "Answers how many members are in all of the sets, counting no further than the limit. All must be in one slot.",
    )
    .complexity(OF_SMALLEST),
    Spec::new("sadd", -3, ADD.and(Flags::FAST), Keys::ONE, parse::sadd)
        .doc(SET, "1.0.0", "key member [member ...]", "Puts members in and answers how many of them are new.")
        .complexity(OF_EACH),
    Spec::new("srem", -3, REMOVE, Keys::ONE, parse::srem)
        .doc(SET, "1.0.0", "key member [member ...]", "Takes members out and answers how many were there.")
        .complexity(OF_EACH),
    Spec::new("spop", -2, REMOVE, Keys::ONE, parse::spop)
        .doc(SET, "1.0.0", "key [count]", "Takes members out that are drawn at random, and answers them.")
        .complexity(OF_EACH)
        .tips(RANDOM),
    Spec::new("smove", 4, REMOVE, Keys::TWO, parse::smove)
        .doc(
            SET,
            "1.0.0",
            "source destination member",
            "Takes a member out of one set and puts it into another. Both must be in one slot.",
        )
        .complexity(LOG),
    Spec::new("sinterstore", -3, ADD, Keys::ALL, parse::sinterstore)
        .doc(
            SET,
            "1.0.0",
            "destination key [key ...]",
            "Stores the members that are in all of the sets, and answers how many there are. All must be in one slot.",
        )
        .complexity(OF_SMALLEST),
    Spec::new("sunionstore", -3, ADD, Keys::ALL, parse::sunionstore)
        .doc(
            SET,
            "1.0.0",
            "destination key [key ...]",
            "Stores the members that are in any of the sets, and answers how many there are. All must be in one slot.",
        )
        .complexity(OF_ALL_SETS),
    Spec::new("sdiffstore", -3, ADD, Keys::ALL, parse::sdiffstore)
        .doc(
            SET,
            "1.0.0",
            "destination key [key ...]",
            "Stores the members of the first set that are in none of the others, and answers how many there are. \
             All must be in one slot.",
        )
        .complexity(OF_ALL_SETS),
];

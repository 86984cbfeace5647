//! The rows of the commands on sorted sets.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::{blocking, zset as parse};

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const READ_COUNTED: Flags = Flags::READONLY.and(Flags::MOVABLE_KEYS);
const TAKE: Flags = Flags::WRITE;
const FAST_TAKE: Flags = Flags::WRITE.and(Flags::FAST);
const PUT: Flags = Flags::WRITE.and(Flags::DENYOOM);
const FAST_PUT: Flags = PUT.and(Flags::FAST);
const PUT_COUNTED: Flags = PUT.and(Flags::MOVABLE_KEYS);
const COUNTED: Keys = Keys::NONE.and_counted(1);
const STORED: Keys = Keys::ONE.and_counted(2);
const ZSET: Group = Group::SortedSet;

const LOG: &str = "O(log N) in the number of members";
const OF_EACH: &str = "O(log N) for each member";
const RANGE: &str = "O(log N), and O(1) for each member told";
const RANGE_OUT: &str = "O(log N) for each member taken out";
const COMBINED: &str = "O(N log N) in the number of members of all sets";
const RANDOM: &[&str] = &["nondeterministic_output"];

const BY_SCORE: &str = "key min max [WITHSCORES] [LIMIT offset count]";
const BY_SCORE_DOWN: &str = "key max min [WITHSCORES] [LIMIT offset count]";
const SOURCES: &str = "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]";
const SOURCES_STORED: &str =
    "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]";

const WAIT: Flags = FAST_TAKE.and(Flags::NOSCRIPT).and(Flags::BLOCKING);
const KEYS: Keys = Keys::new(1, -2, 1);
const EACH_KEY: &str = "O(1) for each key, and O(log N) for each member";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("zcard", 2, FAST_READ, Keys::ONE, parse::zcard).doc(
        ZSET,
        "1.2.0",
        "key",
        "Answers how many members there are.",
    ),
    Spec::new("zscore", 3, FAST_READ, Keys::ONE, parse::zscore)
        .doc(ZSET, "1.2.0", "key member", "Answers the score of a member.")
        .complexity(LOG),
    Spec::new("zmscore", -3, FAST_READ, Keys::ONE, parse::zmscore)
        .doc(ZSET, "6.2.0", "key member [member ...]", "Answers the scores of members.")
        .complexity(OF_EACH),
    Spec::new("zrank", -3, FAST_READ, Keys::ONE, parse::zrank)
        .doc(ZSET, "2.0.0", "key member [WITHSCORE]", "Answers how many members stand before one.")
        .complexity(LOG),
    Spec::new("zrevrank", -3, FAST_READ, Keys::ONE, parse::zrevrank)
        .doc(ZSET, "2.0.0", "key member [WITHSCORE]", "Answers how many members stand behind one.")
        .complexity(LOG),
    Spec::new("zcount", 4, FAST_READ, Keys::ONE, parse::zcount)
        .doc(ZSET, "2.0.0", "key min max", "Answers how many members have scores in a range.")
        .complexity(LOG),
    Spec::new("zlexcount", 4, FAST_READ, Keys::ONE, parse::zlexcount)
        .doc(ZSET, "2.8.9", "key min max", "Answers how many members are between two, all scores being the same.")
        .complexity(LOG),
    Spec::new("zrange", -4, READ, Keys::ONE, parse::zrange)
        .doc(
            ZSET,
            "1.2.0",
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            "Answers the members in a range of ranks, scores or members.",
        )
        .complexity(RANGE),
    Spec::new("zrevrange", -4, READ, Keys::ONE, parse::zrevrange)
        .doc(
            ZSET,
            "1.2.0",
            "key start stop [WITHSCORES]",
            "Answers the members in a range of ranks, the highest first.",
        )
        .complexity(RANGE),
    Spec::new("zrangebyscore", -4, READ, Keys::ONE, parse::zrangebyscore)
        .doc(ZSET, "1.0.5", BY_SCORE, "Answers the members whose scores are in a range.")
        .complexity(RANGE),
    Spec::new("zrevrangebyscore", -4, READ, Keys::ONE, parse::zrevrangebyscore)
        .doc(ZSET, "2.2.0", BY_SCORE_DOWN, "Answers the members whose scores are in a range, the highest first.")
        .complexity(RANGE),
    Spec::new("zrangebylex", -4, READ, Keys::ONE, parse::zrangebylex)
        .doc(
            ZSET,
            "2.8.9",
            "key min max [LIMIT offset count]",
            "Answers the members between two, all scores being the same.",
        )
        .complexity(RANGE),
    Spec::new("zrevrangebylex", -4, READ, Keys::ONE, parse::zrevrangebylex)
        .doc(
            ZSET,
            "2.8.9",
            "key max min [LIMIT offset count]",
            "Answers the members between two, all scores being the same, the last first.",
        )
        .complexity(RANGE),
    Spec::new("zrangestore", -5, PUT, Keys::TWO, parse::zrangestore)
        .doc(
            ZSET,
            "6.2.0",
            "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
            "Stores the members in a range of another set and answers how many there are.",
        )
        .complexity("O(log N) for each member stored"),
    Spec::new("zrandmember", -2, READ, Keys::ONE, parse::zrandmember)
        .doc(ZSET, "6.2.0", "key [count [WITHSCORES]]", "Answers members drawn at random.")
        .complexity(OF_EACH)
        .tips(RANDOM),
    Spec::new("zscan", -3, READ, Keys::ONE, parse::zscan)
        .doc(ZSET, "2.8.0", "key cursor [MATCH pattern] [COUNT count]", "Walks through the members and their scores.")
        .complexity("O(log N) for each call, and O(1) for each member it looks at")
        .tips(RANDOM),
    Spec::new("zunion", -3, READ_COUNTED, COUNTED, parse::zunion)
        .doc(ZSET, "6.2.0", SOURCES, "Answers the members of any of several sets.")
        .complexity(COMBINED),
    Spec::new("zinter", -3, READ_COUNTED, COUNTED, parse::zinter)
        .doc(ZSET, "6.2.0", SOURCES, "Answers the members that several sets have in common.")
        .complexity(COMBINED),
    Spec::new("zdiff", -3, READ_COUNTED, COUNTED, parse::zdiff)
        .doc(
            ZSET,
            "6.2.0",
            "numkeys key [key ...] [WITHSCORES]",
            "Answers the members of a set that are in none of several others.",
        )
        .complexity(COMBINED),
    Spec::new("zintercard", -3, READ_COUNTED, COUNTED, parse::zintercard)
        .doc(
            ZSET,
            "7.0.0",
            "numkeys key [key ...] [LIMIT limit]",
            "Answers how many members several sets have in common.",
        )
        .complexity(COMBINED),
    Spec::new("zadd", -4, FAST_PUT, Keys::ONE, parse::zadd)
        .doc(
            ZSET,
            "1.2.0",
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            "Gives members scores and answers how many of them are new.",
        )
        .complexity(OF_EACH),
    Spec::new("zincrby", 4, FAST_PUT, Keys::ONE, parse::zincrby)
        .doc(ZSET, "1.2.0", "key increment member", "Adds to the score of a member.")
        .complexity(LOG),
    Spec::new("zrem", -3, FAST_TAKE, Keys::ONE, parse::zrem)
        .doc(ZSET, "1.2.0", "key member [member ...]", "Takes members out and answers how many were there.")
        .complexity(OF_EACH),
    Spec::new("zremrangebyrank", 4, TAKE, Keys::ONE, parse::zremrangebyrank)
        .doc(ZSET, "2.0.0", "key start stop", "Takes the members in a range of ranks out.")
        .complexity(RANGE_OUT),
    Spec::new("zremrangebyscore", 4, TAKE, Keys::ONE, parse::zremrangebyscore)
        .doc(ZSET, "1.2.0", "key min max", "Takes the members out whose scores are in a range.")
        .complexity(RANGE_OUT),
    Spec::new("zremrangebylex", 4, TAKE, Keys::ONE, parse::zremrangebylex)
        .doc(ZSET, "2.8.9", "key min max", "Takes the members between two out, all scores being the same.")
        .complexity(RANGE_OUT),
    Spec::new("zpopmin", -2, FAST_TAKE, Keys::ONE, parse::zpopmin)
        .doc(ZSET, "5.0.0", "key [count]", "Takes the members with the lowest scores out and answers them.")
        .complexity(RANGE_OUT),
    Spec::new("zpopmax", -2, FAST_TAKE, Keys::ONE, parse::zpopmax)
        .doc(ZSET, "5.0.0", "key [count]", "Takes the members with the highest scores out and answers them.")
        .complexity(RANGE_OUT),
    Spec::new("zmpop", -4, TAKE.and(Flags::MOVABLE_KEYS), COUNTED, parse::zmpop)
        .doc(
            ZSET,
            "7.0.0",
            "numkeys key [key ...] <MIN | MAX> [COUNT count]",
            "Takes members out of the first of several sets that has any.",
        )
        .complexity(RANGE_OUT),
    Spec::new("zunionstore", -4, PUT_COUNTED, STORED, parse::zunionstore)
        .doc(ZSET, "2.0.0", SOURCES_STORED, "Stores the members of any of several sets and answers how many there are.")
        .complexity(COMBINED),
    Spec::new("zinterstore", -4, PUT_COUNTED, STORED, parse::zinterstore)
        .doc(
            ZSET,
            "2.0.0",
            SOURCES_STORED,
            "Stores the members that several sets have in common and answers how many there are.",
        )
        .complexity(COMBINED),
    Spec::new("zdiffstore", -4, PUT_COUNTED, STORED, parse::zdiffstore)
        .doc(
            ZSET,
            "6.2.0",
            "destination numkeys key [key ...]",
            "Stores the members of a set that are in none of several others and answers how many there are.",
        )
        .complexity(COMBINED),
    Spec::new("bzpopmin", -3, WAIT, KEYS, blocking::bzpopmin)
        .doc(
            ZSET,
            "5.0.0",
            "key [key ...] timeout",
            "Takes the member with the lowest score out of the first of several sets that has any, waiting for one.",
        )
        .complexity(EACH_KEY),
    Spec::new("bzpopmax", -3, WAIT, KEYS, blocking::bzpopmax)
        .doc(
            ZSET,
            "5.0.0",
            "key [key ...] timeout",
            "Takes the member with the highest score out of the first of several sets that has any, waiting for one.",
        )
        .complexity(EACH_KEY),
    Spec::new(
        "bzmpop",
        -5,
        TAKE.and(Flags::MOVABLE_KEYS).and(Flags::BLOCKING),
        Keys::NONE.and_counted(2),
        blocking::bzmpop,
    )
    .doc(
        ZSET,
        "7.0.0",
        "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        "Takes members out of the first of several sets that has any, waiting for one.",
    )
    .complexity(EACH_KEY),
];

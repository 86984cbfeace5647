//! The rows of the commands on keys, whatever they hold.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::{generic as parse, sort};
use crate::control::connection::{container, help, wait, waitaof};
use crate::control::server as server_parse;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const HELP: Flags = Flags::LOADING.and(Flags::STALE);
const SORT_FLAGS: Flags = WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS);
const GENERIC: Group = Group::Generic;

const SORT: &str = "O(N log N) in the number of elements";
const SORT_OPTIONS: &[(&str, usize)] = &[("BY", 1), ("LIMIT", 2), ("GET", 1), ("STORE", 1)];
const LINEAR_IN_KEYS: &str = "O(N) in the number of keys named";
const LINEAR_IN_KEYSPACE: &str = "O(N) in the number of keys there are";
const SUM_OF_PARTS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const OF_EVERY_SHARD: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];

pub(super) const SPECS: &[Spec] = &[
    Spec::new("del", -2, WRITE, Keys::ALL, parse::del)
        .doc(GENERIC, "1.0.0", "key [key ...]", "Deletes keys and answers how many there were.")
        .complexity(LINEAR_IN_KEYS)
        .tips(SUM_OF_PARTS),
    Spec::new("unlink", -2, WRITE_FAST, Keys::ALL, parse::del)
        .doc(GENERIC, "4.0.0", "key [key ...]", "Deletes keys and answers how many there were. The same as DEL.")
        .complexity(LINEAR_IN_KEYS)
        .tips(SUM_OF_PARTS),
    Spec::new("exists", -2, READ_FAST, Keys::ALL, parse::exists)
        .doc(GENERIC, "1.0.0", "key [key ...]", "Answers how many of the keys exist.")
        .complexity(LINEAR_IN_KEYS)
        .tips(SUM_OF_PARTS),
    Spec::new("touch", -2, READ_FAST, Keys::ALL, parse::touch)
        .doc(GENERIC, "3.2.1", "key [key ...]", "Answers how many of the keys exist. Times of access are not kept.")
        .complexity(LINEAR_IN_KEYS)
        .tips(SUM_OF_PARTS),
    Spec::new("type", 2, READ_FAST, Keys::ONE, parse::type_of).doc(
        GENERIC,
        "1.0.0",
        "key",
        "Answers which type of value a key holds.",
    ),
    Spec::new("expire", -3, WRITE_FAST, Keys::ONE, parse::expire).doc(
        GENERIC,
        "1.0.0",
        "key seconds [NX | XX | GT | LT]",
        "Sets how long a key will live.",
    ),
    Spec::new("pexpire", -3, WRITE_FAST, Keys::ONE, parse::pexpire).doc(
        GENERIC,
        "2.6.0",
        "key milliseconds [NX | XX | GT | LT]",
        "Sets how long a key will live, in milliseconds.",
    ),
    Spec::new("expireat", -3, WRITE_FAST, Keys::ONE, parse::expireat).doc(
        GENERIC,
        "1.2.0",
        "key unix-time-seconds [NX | XX | GT | LT]",
        "Sets when a key expires.",
    ),
    Spec::new("pexpireat", -3, WRITE_FAST, Keys::ONE, parse::pexpireat).doc(
        GENERIC,
        "2.6.0",
        "key unix-time-milliseconds [NX | XX | GT | LT]",
        "Sets when a key expires, in milliseconds.",
    ),
    Spec::new("ttl", 2, READ_FAST, Keys::ONE, parse::ttl)
        .doc(GENERIC, "1.0.0", "key", "Answers how many seconds a key will live: -1 for ever, -2 if there is none.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("pttl", 2, READ_FAST, Keys::ONE, parse::pttl)
        .doc(GENERIC, "2.6.0", "key", "Answers how many milliseconds a key will live: -1 for ever, -2 if there is none.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("expiretime", 2, READ_FAST, Keys::ONE, parse::expiretime).doc(
        GENERIC,
        "7.0.0",
        "key",
        "Answers when a key expires, in seconds: -1 for never, -2 if there is none.",
    ),
    Spec::new("pexpiretime", 2, READ_FAST, Keys::ONE, parse::pexpiretime).doc(
        GENERIC,
        "7.0.0",
        "key",
        "Answers when a key expires, in milliseconds: -1 for never, -2 if there is none.",
    ),
    Spec::new("persist", 2, WRITE_FAST, Keys::ONE, parse::persist).doc(
        GENERIC,
        "2.2.0",
        "key",
        "Lets a key live for ever.",
    ),
    Spec::new("rename", 3, WRITE, Keys::TWO, parse::rename).doc(
        GENERIC,
        "1.0.0",
        "key newkey",
        "Renames a key, replacing one of the new name. Both must be in one slot.",
    ),
    Spec::new("renamenx", 3, WRITE_FAST, Keys::TWO, parse::renamenx).doc(
        GENERIC,
        "1.0.0",
        "key newkey",
        "Renames a key if there is none of the new name. Both must be in one slot.",
    ),
    Spec::new("copy", -3, WRITE.and(Flags::DENYOOM), Keys::TWO, parse::copy)
        .doc(
            GENERIC,
            "6.2.0",
            "source destination [DB destination-db] [REPLACE]",
            "Copies a key with its expiry. Both must be in one slot.",
        )
        .complexity("O(N) in the size of the value"),
    Spec::new("sort", -2, SORT_FLAGS, Keys::ONE.and_stored(2, SORT_OPTIONS), sort::sort)
        .doc(
            GENERIC,
            "1.0.0",
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
            "Answers or stores the elements of a list, set or sorted set in order. What patterns name must be in the same slot.",
        )
        .complexity(SORT),
    Spec::new("sort_ro", -2, READ.and(Flags::MOVABLE_KEYS), Keys::ONE, sort::sort_ro)
        .doc(
            GENERIC,
            "7.0.0",
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
            "Answers the elements of a list, set or sorted set in order. What patterns name must be in the same slot.",
        )
        .complexity(SORT),
    Spec::new("object", -2, Flags::NONE, Keys::NONE, container)
        .doc(GENERIC, "2.2.3", "", "Asks how a key is stored.")
        .complexity("Depends on the subcommand")
        .subcommands(OBJECT),
    Spec::new("scan", -2, READ, Keys::NONE, parse::scan)
        .doc(
            GENERIC,
            "2.8.0",
            "cursor [MATCH pattern] [COUNT count] [TYPE type] [SLOTS start-slot end-slot]",
            "Answers some of the keys and a cursor to go on with. A key that exists all the time is answered at least once.",
        )
        .complexity("O(1) for each call, O(N) for all keys")
        .tips(&["nondeterministic_output", "request_policy:special"]),
    Spec::new("keys", 2, READ, Keys::NONE, parse::keys)
        .doc(GENERIC, "1.0.0", "pattern", "Answers all keys that match a pattern. Made for small keyspaces.")
        .complexity(LINEAR_IN_KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Spec::new("randomkey", 1, READ, Keys::NONE, parse::randomkey)
        .doc(GENERIC, "1.0.0", "", "Answers any key.")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    Spec::new("dbsize", 1, READ_FAST, Keys::NONE, parse::dbsize)
        .doc(Group::Server, "1.0.0", "", "Answers how many keys there are.")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Spec::new("flushdb", -1, WRITE, Keys::NONE, parse::flush)
        .doc(Group::Server, "1.0.0", "[ASYNC | SYNC]", "Deletes all keys. There is one database.")
        .complexity("O(N) in the number of slots")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("flushall", -1, WRITE, Keys::NONE, parse::flush)
        .doc(Group::Server, "1.0.0", "[ASYNC | SYNC]", "Deletes all keys.")
        .complexity("O(N) in the number of slots")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("memory", -2, Flags::NONE, Keys::NONE, container)
        .doc(Group::Server, "4.0.0", "", "Asks about memory.")
        .complexity("Depends on the subcommand")
        .subcommands(MEMORY),
    Spec::new("wait", 3, Flags::NOSCRIPT, Keys::NONE, wait)
        .doc(
            GENERIC,
            "3.0.0",
            "numreplicas timeout",
            "Waits until enough followers have the connection's writes. An acknowledged write is on all in-sync ones anyway.",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    Spec::new("waitaof", 4, Flags::NOSCRIPT, Keys::NONE, waitaof)
        .doc(
            GENERIC,
            "7.2.0",
            "numlocal numreplicas timeout",
            "Waits until the connection's writes are on the disks of the leader and of enough followers.",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

const OBJECT: &[Spec] = &[
    Spec::new("object|encoding", 3, READ, Keys::SUBCOMMAND, parse::object_encoding)
        .doc(GENERIC, "2.2.3", "key", "Answers how Redis would store the value.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("object|refcount", 3, READ, Keys::SUBCOMMAND, parse::object_refcount)
        .doc(GENERIC, "2.2.3", "key", "Answers 1: values are not shared.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("object|idletime", 3, READ, Keys::SUBCOMMAND, parse::object_idletime)
        .doc(GENERIC, "2.2.3", "key", "Answers 0: times of access are not kept.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("object|freq", 3, READ, Keys::SUBCOMMAND, parse::object_freq)
        .doc(GENERIC, "4.0.0", "key", "Is refused: frequencies of access are not kept.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("object|version", 3, READ, Keys::SUBCOMMAND, parse::object_version).doc(
        GENERIC,
        "1.0.0",
        "key",
        "Answers which of the key's states this is. Not known to Redis.",
    ),
    Spec::new("object|help", 2, HELP, Keys::NONE, help).doc(GENERIC, "6.2.0", "", "Answers what OBJECT can be asked."),
];

const MEMORY: &[Spec] = &[
    Spec::new("memory|usage", -3, READ, Keys::SUBCOMMAND, parse::memory_usage).doc(
        Group::Server,
        "4.0.0",
        "key [SAMPLES count]",
        "Answers about how many bytes a key takes up.",
    ),
    Spec::new("memory|doctor", 2, Flags::NONE, Keys::NONE, server_parse::memory_doctor)
        .doc(Group::Server, "4.0.0", "", "Answers where to look instead.")
        .tips(OF_EVERY_SHARD),
    Spec::new("memory|malloc-stats", 2, Flags::NONE, Keys::NONE, server_parse::memory_malloc_stats)
        .doc(Group::Server, "4.0.0", "", "Answers that the allocator keeps no account.")
        .tips(OF_EVERY_SHARD),
    Spec::new("memory|purge", 2, Flags::NONE, Keys::NONE, server_parse::memory_purge)
        .doc(Group::Server, "4.0.0", "", "Is accepted. The allocator gives memory back by itself.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("memory|stats", 2, Flags::NONE, Keys::NONE, server_parse::memory_stats)
        .doc(Group::Server, "4.0.0", "", "Answers what is known about the process' memory.")
        .tips(OF_EVERY_SHARD),
    Spec::new("memory|help", 2, HELP, Keys::NONE, help).doc(
        Group::Server,
        "4.0.0",
        "",
        "Answers what MEMORY can be asked.",
    ),
];

//! The rows of the commands about the server.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::control::connection::{container, help};
use crate::control::server as parse;

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const FAST: Flags = ALWAYS.and(Flags::FAST);
const ADMIN: Flags = ALWAYS.and(Flags::ADMIN);
const ADMIN_NOSCRIPT: Flags = ADMIN.and(Flags::NOSCRIPT);
const SERVER: Group = Group::Server;

const DEPENDS: &str = "Depends on the subcommand";
const EVERY_NODE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const OF_EVERY_NODE: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];
const IN_ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

pub(super) const SPECS: &[Spec] = &[
    Spec::new("command", -1, ALWAYS, Keys::NONE, parse::command_all)
        .doc(SERVER, "2.8.13", "", "Answers what is known about every command.")
        .complexity("O(N) in the number of commands")
        .tips(IN_ANY_ORDER)
        .subcommands(COMMAND),
    Spec::new("config", -2, Flags::NONE, Keys::NONE, container)
        .doc(SERVER, "2.0.0", "", "Asks and tells how the server is configured.")
        .complexity(DEPENDS)
        .subcommands(CONFIG),
    Spec::new("info", -1, ALWAYS, Keys::NONE, parse::info)
        .doc(SERVER, "1.0.0", "[section [section ...]]", "Answers figures about the server.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Spec::new("time", 1, FAST, Keys::NONE, parse::time)
        .doc(SERVER, "2.6.0", "", "Answers the server's time: seconds, and microseconds of the second.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("role", 1, FAST.and(Flags::NOSCRIPT), Keys::NONE, parse::role).doc(
        SERVER,
        "2.8.12",
        "",
        "Answers whether the node leads.",
    ),
    Spec::new("lastsave", 1, FAST, Keys::NONE, parse::lastsave)
        .doc(SERVER, "1.0.0", "", "Answers when data was last written to disk.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("module", -2, Flags::NONE, Keys::NONE, container)
        .doc(SERVER, "4.0.0", "", "Asks about modules.")
        .complexity(DEPENDS)
        .subcommands(MODULE),
    Spec::new("acl", -2, Flags::NONE, Keys::NONE, container)
        .doc(SERVER, "6.0.0", "", "Asks about users.")
        .complexity(DEPENDS)
        .subcommands(ACL),
    Spec::new("slowlog", -2, Flags::NONE, Keys::NONE, container)
        .doc(SERVER, "2.2.12", "", "Asks about commands that took long.")
        .complexity(DEPENDS)
        .subcommands(SLOWLOG),
    Spec::new("latency", -2, Flags::NONE, Keys::NONE, container)
        .doc(SERVER, "2.8.13", "", "Asks about delays.")
        .complexity(DEPENDS)
        .subcommands(LATENCY),
    Spec::new("debug", -2, ADMIN_NOSCRIPT, Keys::NONE, parse::debug)
        .doc(SERVER, "1.0.0", "", "Is refused, as by a Redis that is not told to allow it.")
        .complexity(DEPENDS),
    Spec::new("lolwut", -1, Flags::READONLY.and(Flags::FAST), Keys::NONE, parse::lolwut).doc(
        SERVER,
        "5.0.0",
        "[VERSION version]",
        "Answers the version.",
    ),
];

const COMMAND: &[Spec] = &[
    Spec::new("command|count", 2, ALWAYS, Keys::NONE, parse::command_count).doc(
        SERVER,
        "2.8.13",
        "",
        "Answers how many commands there are.",
    ),
    Spec::new("command|info", -2, ALWAYS, Keys::NONE, parse::command_info)
        .doc(SERVER, "2.8.13", "[command-name [command-name ...]]", "Answers what is known about commands.")
        .complexity("O(N) in the number of commands named")
        .tips(IN_ANY_ORDER),
    Spec::new("command|docs", -2, ALWAYS, Keys::NONE, parse::command_docs)
        .doc(SERVER, "7.0.0", "[command-name [command-name ...]]", "Answers the documentation of commands.")
        .complexity("O(N) in the number of commands named")
        .tips(IN_ANY_ORDER),
    Spec::new("command|getkeys", -3, ALWAYS, Keys::NONE, parse::command_getkeys)
        .doc(SERVER, "2.8.13", "command [arg [arg ...]]", "Answers which words of a request are keys.")
        .complexity("O(N) in the number of words"),
    Spec::new("command|getkeysandflags", -3, ALWAYS, Keys::NONE, parse::command_getkeysandflags)
        .doc(
            SERVER,
            "7.0.0",
            "command [arg [arg ...]]",
            "Answers which words of a request are keys, and what it does to them.",
        )
        .complexity("O(N) in the number of words"),
    Spec::new("command|list", -2, ALWAYS, Keys::NONE, parse::command_list)
        .doc(
            SERVER,
            "7.0.0",
            "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            "Answers the names of the commands.",
        )
        .complexity("O(N) in the number of commands")
        .tips(IN_ANY_ORDER),
    Spec::new("command|help", 2, ALWAYS, Keys::NONE, help).doc(
        SERVER,
        "5.0.0",
        "",
        "Answers what COMMAND can be asked.",
    ),
];

const CONFIG: &[Spec] = &[
    Spec::new("config|get", -3, ADMIN_NOSCRIPT, Keys::NONE, parse::config_get)
        .doc(SERVER, "2.0.0", "parameter [parameter ...]", "Answers settings whose names match.")
        .complexity("O(N) in the number of patterns"),
    Spec::new("config|set", -4, ADMIN_NOSCRIPT, Keys::NONE, parse::config_set)
        .doc(SERVER, "2.0.0", "parameter value [parameter value ...]", "Changes settings that may change at run time.")
        .complexity("O(N) in the number of settings")
        .tips(EVERY_NODE),
    Spec::new("config|resetstat", 2, ADMIN_NOSCRIPT, Keys::NONE, parse::config_resetstat)
        .doc(SERVER, "2.0.0", "", "Sets the counters of INFO to 0.")
        .tips(EVERY_NODE),
    Spec::new("config|rewrite", 2, ADMIN_NOSCRIPT, Keys::NONE, parse::config_rewrite)
        .doc(SERVER, "2.8.0", "", "Is refused: what CONFIG SET changes ends with the process.")
        .tips(EVERY_NODE),
    Spec::new("config|help", 2, ALWAYS, Keys::NONE, help).doc(SERVER, "5.0.0", "", "Answers what CONFIG can be asked."),
];

const MODULE: &[Spec] = &[
    Spec::new("module|list", 2, Flags::ADMIN.and(Flags::NOSCRIPT), Keys::NONE, parse::module_list)
        .doc(SERVER, "4.0.0", "", "Answers which modules are loaded: none.")
        .tips(IN_ANY_ORDER),
    Spec::new("module|help", 2, ALWAYS, Keys::NONE, help).doc(SERVER, "5.0.0", "", "Answers what MODULE can be asked."),
];

const ACL: &[Spec] = &[
    Spec::new("acl|whoami", 2, ALWAYS.and(Flags::NOSCRIPT), Keys::NONE, parse::acl_whoami).doc(
        SERVER,
        "6.0.0",
        "",
        "Answers the connection's user.",
    ),
    Spec::new("acl|help", 2, ALWAYS, Keys::NONE, help).doc(SERVER, "6.0.0", "", "Answers what ACL can be asked."),
];

const SLOWLOG: &[Spec] = &[
    Spec::new("slowlog|get", -2, ADMIN, Keys::NONE, parse::slowlog_get)
        .doc(SERVER, "2.2.12", "[count]", "Answers the last commands that took long.")
        .complexity("O(N) in the number of entries")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
    Spec::new("slowlog|len", 2, ADMIN, Keys::NONE, parse::slowlog_len)
        .doc(SERVER, "2.2.12", "", "Answers how many such commands are remembered.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    Spec::new("slowlog|reset", 2, ADMIN, Keys::NONE, parse::slowlog_reset)
        .doc(SERVER, "2.2.12", "", "Forgets them.")
        .complexity("O(N) in the number of entries")
        .tips(EVERY_NODE),
    Spec::new("slowlog|help", 2, ALWAYS, Keys::NONE, help).doc(
        SERVER,
        "6.2.0",
        "",
        "Answers what SLOWLOG can be asked.",
    ),
];

const LATENCY: &[Spec] = &[
    Spec::new("latency|latest", 2, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_latest)
        .doc(SERVER, "2.8.13", "", "Answers the last delay of each kind.")
        .tips(OF_EVERY_NODE),
    Spec::new("latency|history", 3, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_history)
        .doc(SERVER, "2.8.13", "event", "Answers the delays of one kind.")
        .tips(OF_EVERY_NODE),
    Spec::new("latency|reset", -2, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_reset)
        .doc(SERVER, "2.8.13", "[event [event ...]]", "Forgets delays.")
        .tips(EVERY_NODE),
    Spec::new("latency|doctor", 2, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_doctor)
        .doc(SERVER, "2.8.13", "", "Answers a report in words.")
        .tips(OF_EVERY_NODE),
    Spec::new("latency|graph", 3, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_graph)
        .doc(SERVER, "2.8.13", "event", "Answers a drawing of the delays of one kind.")
        .tips(OF_EVERY_NODE),
    Spec::new("latency|histogram", -2, ADMIN_NOSCRIPT, Keys::NONE, parse::latency_histogram)
        .doc(SERVER, "7.0.0", "[command [command ...]]", "Answers how long commands took.")
        .complexity("O(N) in the number of commands")
        .tips(OF_EVERY_NODE),
    Spec::new("latency|help", 2, ALWAYS, Keys::NONE, help).doc(
        SERVER,
        "2.8.13",
        "",
        "Answers what LATENCY can be asked.",
    ),
];

//! The rows of the commands about the connection.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::control::connection as parse;
use crate::control::tracking;

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const CLIENT: Flags = ALWAYS.and(Flags::NOSCRIPT);
const CLIENT_ADMIN: Flags = CLIENT.and(Flags::ADMIN);
const SESSION: Flags = CLIENT.and(Flags::FAST);
const BEFORE_AUTH: Flags = SESSION.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);
const CONNECTION: Group = Group::Connection;

pub(super) const SPECS: &[Spec] = &[
    Spec::new("hello", -1, BEFORE_AUTH, Keys::NONE, parse::hello).doc(
        CONNECTION,
        "6.0.0",
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the protocol, and answers what the server is.",
    ),
    Spec::new("auth", -2, BEFORE_AUTH, Keys::NONE, parse::auth).doc(
        CONNECTION,
        "1.0.0",
        "[username] password",
        "Proves who the client is.",
    ),
    Spec::new("ping", -1, Flags::FAST, Keys::NONE, parse::ping)
        .doc(CONNECTION, "1.0.0", "[message]", "Answers PONG, or the message.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("echo", 2, ALWAYS.and(Flags::FAST), Keys::NONE, parse::echo).doc(
        CONNECTION,
        "1.0.0",
        "message",
        "Answers the message.",
    ),
    Spec::new("quit", -1, BEFORE_AUTH, Keys::NONE, parse::quit).doc(CONNECTION, "1.0.0", "", "Closes the connection."),
    Spec::new("reset", 1, BEFORE_AUTH, Keys::NONE, parse::reset).doc(
        CONNECTION,
        "6.2.0",
        "",
        "Makes the connection as good as new.",
    ),
    Spec::new("select", 2, ALWAYS.and(Flags::FAST), Keys::NONE, parse::select).doc(
        CONNECTION,
        "1.0.0",
        "index",
        "Chooses the database. There is only 0.",
    ),
    Spec::new("client", -2, Flags::NONE, Keys::NONE, parse::container)
        .doc(CONNECTION, "2.4.0", "", "Asks and tells about connections.")
        .complexity("Depends on the subcommand")
        .subcommands(CLIENT_SPECS),
];

const CLIENT_SPECS: &[Spec] = &[
    Spec::new("client|setinfo", 4, CLIENT, Keys::NONE, parse::setinfo)
        .doc(CONNECTION, "7.2.0", "<LIB-NAME libname | LIB-VER libver>", "Tells which library the client uses.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::new("client|setname", 3, CLIENT, Keys::NONE, parse::setname)
        .doc(CONNECTION, "2.6.9", "connection-name", "Names the connection.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::new("client|getname", 2, CLIENT, Keys::NONE, parse::getname).doc(
        CONNECTION,
        "2.6.9",
        "",
        "Answers the connection's name.",
    ),
    Spec::new("client|id", 2, CLIENT, Keys::NONE, parse::id).doc(
        CONNECTION,
        "5.0.0",
        "",
        "Answers the connection's number.",
    ),
    Spec::new("client|info", 2, CLIENT, Keys::NONE, parse::info)
        .doc(CONNECTION, "6.2.0", "", "Answers what is known about the connection.")
        .tips(&["nondeterministic_output"]),
    Spec::new("client|list", -2, CLIENT_ADMIN, Keys::NONE, parse::list)
        .doc(
            CONNECTION,
            "2.4.0",
            "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
            "Answers what is known about the connections.",
        )
        .complexity("O(N) in the number of connections")
        .tips(&["nondeterministic_output"]),
    Spec::new("client|kill", -3, CLIENT_ADMIN, Keys::NONE, parse::kill)
        .doc(
            CONNECTION,
            "2.4.0",
            "<address | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR address] [LADDR address] \
             [SKIPME <YES | NO>] [MAXAGE seconds]>",
            "Ends connections.",
        )
        .complexity("O(N) in the number of connections"),
    Spec::new("client|unblock", -3, CLIENT_ADMIN, Keys::NONE, parse::unblock).doc(
        CONNECTION,
        "5.0.0",
        "client-id [TIMEOUT | ERROR]",
        "Ends the waiting of a connection.",
    ),
    Spec::new("client|pause", -3, CLIENT_ADMIN, Keys::NONE, parse::pause).doc(
        CONNECTION,
        "3.0.0",
        "timeout [WRITE | ALL]",
        "Puts off commands on data, or those that write, of all connections here.",
    ),
    Spec::new("client|unpause", 2, CLIENT_ADMIN, Keys::NONE, parse::unpause)
        .doc(CONNECTION, "6.2.0", "", "Ends what CLIENT PAUSE began.")
        .complexity("O(N) in the number of connections"),
    Spec::new("client|no-evict", 3, CLIENT_ADMIN, Keys::NONE, parse::no_evict).doc(
        CONNECTION,
        "7.0.0",
        "<ON | OFF>",
        "Is accepted. Connections are not evicted for memory.",
    ),
    Spec::new("client|no-touch", 3, CLIENT, Keys::NONE, parse::no_touch).doc(
        CONNECTION,
        "7.2.0",
        "<ON | OFF>",
        "Is accepted. Times of access are not kept.",
    ),
    Spec::new("client|reply", 3, CLIENT, Keys::NONE, parse::reply).doc(
        CONNECTION,
        "3.2.0",
        "<ON | OFF | SKIP>",
        "Chooses whether the server answers.",
    ),
    Spec::new("client|read", -3, CLIENT, Keys::NONE, parse::read).doc(
        CONNECTION,
        "1.0.0",
        "<LINEARIZABLE | LEADER | QUORUM | SESSION [token] | BOUNDED milliseconds | ANY>",
        "Chooses which replicas may answer the connection's reads. Only simplekv has it.",
    ),
    Spec::new("client|token", 2, CLIENT, Keys::NONE, parse::token).doc(
        CONNECTION,
        "1.0.0",
        "",
        "Answers what the connection has seen, for CLIENT READ SESSION. Only simplekv has it.",
    ),
    Spec::new("client|route", 3, CLIENT, Keys::NONE, parse::route)
        .doc(
            CONNECTION,
            "1.0.0",
            "key",
            "Answers a key's slot, its group, and the group's in-sync replicas. Only simplekv has it.",
        )
        .complexity("O(N) in the number of groups")
        .tips(&["nondeterministic_output"]),
    Spec::new("client|tracking", -3, CLIENT, Keys::NONE, tracking::tracking)
        .doc(
            CONNECTION,
            "6.0.0",
            "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
            "Tells the connection when a key changes that it has read.",
        )
        .complexity("O(1). Some options may introduce additional complexity."),
    Spec::new("client|caching", 3, CLIENT, Keys::NONE, tracking::caching).doc(
        CONNECTION,
        "6.0.0",
        "<YES | NO>",
        "Chooses whether the keys of the next request are tracked.",
    ),
    Spec::new("client|getredir", 2, CLIENT, Keys::NONE, tracking::getredir).doc(
        CONNECTION,
        "6.0.0",
        "",
        "Answers which connection is told of changes instead of this one.",
    ),
    Spec::new("client|trackinginfo", 2, CLIENT, Keys::NONE, tracking::trackinginfo).doc(
        CONNECTION,
        "6.2.0",
        "",
        "Answers what the connection tracks.",
    ),
    Spec::new("client|help", 2, ALWAYS, Keys::NONE, parse::help).doc(
        CONNECTION,
        "5.0.0",
        "",
        "Answers what CLIENT can be asked.",
    ),
];

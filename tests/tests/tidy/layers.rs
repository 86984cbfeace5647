//! What each layer does not know, and what exactly one file may do.

use crate::modules::is_test_file;
use crate::tokens::{Source, Token};
use crate::tree::sources;

/// Tokens that occur in some files only. Tests may use anything.
struct Confined {
    /// Rust tokens, any of them.
    tokens: &'static [&'static str],
    /// Where the rule holds: beginnings of paths.
    within: &'static [&'static str],
    /// The files that may: beginnings of paths.
    only_in: &'static [&'static str],
    why: &'static str,
}

const RULES: [Confined; 12] = [
    Confined {
        tokens: &["async", "await"],
        within: &[
            "conf/src",
            "proto/types/src",
            "router/resp/src",
            "server/cluster/src",
            "server/collections/src",
            "server/commands/src",
            "server/engine/src",
        ],
        only_in: &[],
        why: "this layer computes; whoever moves bytes waits",
    },
    Confined {
        tokens: &[
            "Instant",
            "SystemTime",
            "Mutex",
            "RwLock",
            "Condvar",
            "std::thread",
            "RandomState",
            "std::fs",
            "std::net",
        ],
        within: &["proto/types/src", "server/cluster/src", "server/collections/src", "server/commands/src"],
        only_in: &[],
        why: "time, chance and other threads enter as arguments and events",
    },
    Confined {
        tokens: &["HashMap", "HashSet"],
        within: &["server/cluster/src"],
        only_in: &[],
        why: "iteration in random order makes a run unrepeatable: BTreeMap, or a map with a fixed hasher that is never iterated",
    },
    Confined {
        tokens: &["&mut Replica", "replica.step(", "replica.admit(", "replica.next_effect("],
        within: &["server/src"],
        only_in: &["server/src/group.rs", "server/src/group/"],
        why: "one owner feeds events to a replica",
    },
    Confined {
        tokens: &["Effect::"],
        within: &["server/src"],
        only_in: &["server/src/effects.rs", "server/src/group.rs", "server/src/group/"],
        why: "a replica's effects are started in one place, in the order given",
    },
    Confined {
        tokens: &[
            "Status::new(",
            "Status::internal(",
            "Status::unavailable(",
            "Status::invalid_argument(",
            "Status::not_found(",
            "Status::failed_precondition(",
            "Status::already_exists(",
            "Status::deadline_exceeded(",
            "Status::aborted(",
            "Status::resource_exhausted(",
            "Status::unimplemented(",
            "Status::permission_denied(",
            "Status::unauthenticated(",
            "Status::cancelled(",
            "Status::unknown(",
            "Status::out_of_range(",
            "Status::data_loss(",
            "Status::with_details(",
        ],
        within: &["server", "router", "client", "deploy", "proto"],
        only_in: &[
            "proto/src/convert/status.rs",
            "server/src/rpc/status.rs",
            "router/src/rpc/status.rs",
            // Plays nodes.
            "client/testing/src/mock/",
        ],
        why: "one table says which failure becomes which status",
    },
    Confined {
        tokens: &[
            "Error::NoLeader",
            "Error::NotEnoughInSync",
            "Error::OutcomeUnknown",
            "Error::Overloaded",
            "Error::Partial",
            "Error::Server",
            "Error::Timeout",
            "Error::Transport",
        ],
        within: &["router/src"],
        only_in: &["router/src/error.rs"],
        why: "one table says which error of the client becomes which Redis error and which HTTP status",
    },
    Confined {
        tokens: &[
            "Failure::Loading",
            "Failure::Moved",
            "Failure::NoLeader",
            "Failure::NotLeader",
            "Failure::NotServing",
            "Failure::SlotUnserved",
            "Failure::StaleRetry",
            "Failure::TryAgain",
        ],
        within: &["client"],
        only_in: &[
            "client/src/attempt.rs",
            "client/src/attempt/",
            "client/src/error.rs",
            // Takes the news out of a redirect, whatever becomes of the request.
            "client/src/topology.rs",
            // Plays nodes.
            "client/testing/src/mock/",
        ],
        why: "one function decides what follows from an outcome",
    },
    Confined {
        tokens: &["Failure::Moved", "Failure::NotLeader", "Failure::StaleRetry"],
        within: &["router/src", "deploy"],
        only_in: &["router/src/error.rs"],
        why: "redirects are the client's business",
    },
    Confined {
        tokens: &["falsify_rate(", "start_on("],
        within: &["server", "router", "client", "deploy"],
        only_in: &["server/src/clock.rs", "server/src/node.rs"],
        why: "false clocks and disks are for tests: no program that is meant for use can be told to have them",
    },
    Confined {
        tokens: &[".nest(", ".nest_service(", ".route(", ".route_service("],
        within: &["router/src"],
        only_in: &["router/src/http/routes.rs"],
        why: "its table of routes is compared with the OpenAPI document; what is not in it would be documented nowhere",
    },
    Confined {
        tokens: &["sleep(", "sleep_until(", "backon::"],
        within: &["client", "router", "deploy", "server/admin"],
        only_in: &[
            "client/src/backoff.rs",
            // Not between attempts: keeps clients from asking for the topology too often.
            "client/src/watcher.rs",
            // Plays nodes that are slow, and waits for ports that are being closed.
            "client/testing/src/mock/",
            // Not for the cluster at all: files have run out, and a client is silent for too long.
            "router/src/listener.rs",
            "router/src/resp/connection.rs",
            // Not for the cluster: -i says so, whatever the command before was answered.
            "client/cli/src/main.rs",
        ],
        why: "one place waits between attempts; a period is an interval, a limit is a timeout",
    },
];

#[test]
fn each_layer_knows_only_its_own() {
    let mut violations = Vec::new();
    for rule in &RULES {
        for source in
            production().filter(|source| begins(&source.path, rule.within) && !begins(&source.path, rule.only_in))
        {
            let found =
                rule.tokens.iter().flat_map(|tokens| source.find(tokens).into_iter().map(move |token| (tokens, token)));
            for (tokens, token) in found.filter(|(_, token)| !token.is_test) {
                violations.push(format!("{}:{}: `{tokens}`: {}", source.path, token.line, rule.why));
            }
        }
    }
    crate::assert_none("architecture invariants", &violations);
}

#[test]
fn keys_of_the_metadata_store_are_written_in_one_file() {
    const PARTS: [&str; 6] = ["/n/", "/live/", "/g/", "/mig/", "/ctl/", "ctl/leader"];
    let violations = literals(&["server/meta/src/keys.rs"], |text| PARTS.iter().any(|part| text.contains(part)));
    crate::assert_none("`simplekv_meta::Keys` makes and reads keys", &violations);
}

#[test]
fn redis_error_codes_are_written_in_one_crate() {
    const CODES: [&str; 10] = [
        "MOVED ",
        "ASK ",
        "TRYAGAIN ",
        "CROSSSLOT ",
        "CLUSTERDOWN ",
        "NOREPLICAS ",
        "WRONGTYPE ",
        "MASTERDOWN ",
        "LOADING ",
        "-ERR ",
    ];
    // The command line reads redirects, it does not make them.
    let may = ["router/resp/src/", "client/cli/src/session.rs"];
    let violations = literals(&may, |text| CODES.iter().any(|code| text.starts_with(code)));
    crate::assert_none("`simplekv-resp` has the one table of error texts: pass the `Failure`", &violations);
}

#[test]
fn libraries_have_typed_errors() {
    let programs = ["server/src/main.rs", "router/src/main.rs", "server/admin/", "client/cli/", "deploy/", "tests/"];
    let untyped = production().filter(|source| !begins(&source.path, &programs));
    let violations = untyped.flat_map(|source| places(source, source.find("anyhow"))).collect::<Vec<_>>();
    crate::assert_none("`anyhow` is for programs, a library says which failures there are", &violations);
}

/// String literals of production code outside the given files that are `wrong`.
fn literals(only_in: &[&str], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let elsewhere = production().filter(|source| !begins(&source.path, only_in) && !source.path.starts_with("tests/"));
    elsewhere
        .flat_map(|source| places(source, source.tokens.iter().filter(|token| token.string().is_some_and(&wrong))))
        .collect()
}

fn places<'a>(source: &Source, tokens: impl IntoIterator<Item = &'a Token>) -> Vec<String> {
    let used = tokens.into_iter().filter(|token| !token.is_test);
    used.map(|token| format!("{}:{}: {}", source.path, token.line, token.text)).collect()
}

fn production() -> impl Iterator<Item = &'static Source> {
    sources().iter().filter(|source| !is_test_file(&source.path))
}

fn begins(path: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| path.starts_with(beginning))
}

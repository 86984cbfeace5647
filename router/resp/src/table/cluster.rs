//! The rows of the commands about the cluster.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::control::Control;
use crate::control::cluster as parse;
use crate::control::connection::{container, help};

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const FAST: Flags = ALWAYS.and(Flags::FAST);
const STALE: Flags = Flags::STALE;
const ADMIN: Flags = STALE.and(Flags::ADMIN);
const CLUSTER: Group = Group::Cluster;

const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];
const LINEAR_IN_NODES: &str = "O(N) in the number of nodes";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("cluster", -2, Flags::NONE, Keys::NONE, container)
        .doc(CLUSTER, "3.0.0", "", "Asks about the cluster.")
        .complexity("Depends on the subcommand")
        .subcommands(SUBCOMMANDS),
    Spec::new("readonly", 1, FAST, Keys::NONE, |_| Ok(crate::command::Body::Control(Control::ReadOnly))).doc(
        CLUSTER,
        "3.0.0",
        "",
        "Lets followers answer the connection.",
    ),
    Spec::new("readwrite", 1, FAST, Keys::NONE, |_| Ok(crate::command::Body::Control(Control::ReadWrite))).doc(
        CLUSTER,
        "3.0.0",
        "",
        "Lets only leaders answer the connection.",
    ),
    Spec::new("asking", 1, Flags::FAST, Keys::NONE, |_| Ok(crate::command::Body::Control(Control::Asking))).doc(
        CLUSTER,
        "3.0.0",
        "",
        "Is accepted. A slot on the move is never served by two.",
    ),
];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("cluster|slots", 2, STALE, Keys::NONE, parse::slots)
        .doc(CLUSTER, "3.0.0", "", "Answers which nodes serve which slots.")
        .complexity(LINEAR_IN_NODES)
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|shards", 2, STALE, Keys::NONE, parse::shards)
        .doc(CLUSTER, "7.0.0", "", "Answers the groups with their slots and nodes.")
        .complexity(LINEAR_IN_NODES)
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|nodes", 2, STALE, Keys::NONE, parse::nodes)
        .doc(CLUSTER, "3.0.0", "", "Answers the nodes, one on a line.")
        .complexity(LINEAR_IN_NODES)
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|info", 2, STALE, Keys::NONE, parse::info)
        .doc(CLUSTER, "3.0.0", "", "Answers figures about the cluster.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|myid", 2, STALE, Keys::NONE, parse::myid).doc(CLUSTER, "3.0.0", "", "Answers the node's id."),
    Spec::new("cluster|myshardid", 2, STALE, Keys::NONE, parse::myshardid)
        .doc(CLUSTER, "7.2.0", "", "Answers the id of the group the node leads or follows first.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|keyslot", 3, STALE, Keys::NONE, parse::keyslot)
        .doc(CLUSTER, "3.0.0", "key", "Answers the slot of a key.")
        .complexity("O(N) in the length of the key"),
    Spec::new("cluster|links", 2, STALE, Keys::NONE, parse::links)
        .doc(CLUSTER, "7.0.0", "", "Answers an empty list: nodes do not talk over a bus.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|replicas", 3, ADMIN, Keys::NONE, parse::replicas)
        .doc(CLUSTER, "5.0.0", "node-id", "Answers the nodes that follow one and lead nothing themselves.")
        .complexity(LINEAR_IN_NODES)
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|slaves", 3, ADMIN, Keys::NONE, parse::replicas)
        .doc(CLUSTER, "3.0.0", "node-id", "The same as CLUSTER REPLICAS.")
        .complexity(LINEAR_IN_NODES)
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|count-failure-reports", 3, ADMIN, Keys::NONE, parse::count_failure_reports)
        .doc(CLUSTER, "3.0.0", "node-id", "Answers 0: nodes do not report each other's failures.")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|countkeysinslot", 3, STALE, Keys::NONE, parse::countkeysinslot).doc(
        CLUSTER,
        "3.0.0",
        "slot",
        "Answers how many keys of a slot are here.",
    ),
    Spec::new("cluster|getkeysinslot", 4, STALE, Keys::NONE, parse::getkeysinslot)
        .doc(CLUSTER, "3.0.0", "slot count", "Answers some keys of a slot.")
        .complexity("O(N) in the number of keys asked for")
        .tips(CHANGES_BY_ITSELF),
    Spec::new("cluster|slot-stats", -4, ALWAYS, Keys::NONE, parse::slot_stats)
        .doc(
            CLUSTER,
            "8.2.0",
            "<SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>",
            "Answers figures about slots.",
        )
        .complexity("O(N log N) in the number of slots")
        .tips(&["nondeterministic_output", "request_policy:all_shards"]),
    Spec::new("cluster|help", 2, ALWAYS, Keys::NONE, help).doc(
        CLUSTER,
        "5.0.0",
        "",
        "Answers what CLUSTER can be asked.",
    ),
];

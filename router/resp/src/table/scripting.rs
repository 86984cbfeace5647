//! The rows of the commands on scripts.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::script;
use crate::control::connection::{container, help};
use crate::control::scripting as parse;

const SCRIPTING: Group = Group::Scripting;
/// Those that are known are about one key, and may change it.
const EVAL: Flags = Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::MOVABLE_KEYS);
const EVERY_NODE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub(super) const SPECS: &[Spec] = &[
    Spec::new("eval", -3, EVAL, Keys::NONE.and_counted(2), script::eval).doc(
        SCRIPTING,
        "2.6.0",
        "script numkeys [key [key ...]] [arg [arg ...]]",
        "Does what one of a few scripts says that are known; no others are run.",
    ),
    Spec::new("evalsha", -3, EVAL, Keys::NONE.and_counted(2), script::evalsha).doc(
        SCRIPTING,
        "2.6.0",
        "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        "Does what the known script of this hash says.",
    ),
    Spec::new("script", -2, Flags::NONE, Keys::NONE, container)
        .doc(SCRIPTING, "2.6.0", "", "Asks about scripts.")
        .complexity("Depends on the subcommand")
        .subcommands(SCRIPT),
];

const SCRIPT: &[Spec] = &[
    Spec::new("script|load", 3, Flags::NOSCRIPT.and(Flags::STALE), Keys::NONE, parse::load)
        .doc(SCRIPTING, "2.6.0", "script", "Answers the hash of a script, if it is known.")
        .complexity("O(N) in the length of the script")
        .tips(EVERY_NODE),
    Spec::new("script|exists", -3, Flags::NOSCRIPT, Keys::NONE, parse::exists)
        .doc(SCRIPTING, "2.6.0", "sha1 [sha1 ...]", "Answers which of the hashes are those of known scripts.")
        .complexity("O(N) in the number of hashes")
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
    Spec::new("script|flush", -2, Flags::NOSCRIPT, Keys::NONE, parse::flush)
        .doc(SCRIPTING, "2.6.0", "[ASYNC | SYNC]", "Does nothing: what is known is not forgotten.")
        .tips(EVERY_NODE),
    Spec::new("script|kill", 2, Flags::NOSCRIPT.and(Flags::ALLOW_BUSY), Keys::NONE, parse::kill)
        .doc(SCRIPTING, "2.6.0", "", "Answers that no script is running.")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    Spec::new("script|help", 2, Flags::LOADING.and(Flags::STALE), Keys::NONE, help).doc(
        SCRIPTING,
        "5.0.0",
        "",
        "Lists the subcommands.",
    ),
];

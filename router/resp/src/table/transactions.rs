//! The rows of the commands on transactions.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::atomic::atomic;
use crate::control::transactions as parse;

const ANY_TIME: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const AT_ONCE: Flags = ANY_TIME.and(Flags::FAST).and(Flags::ALLOW_BUSY);
const TRANSACTIONS: Group = Group::Transactions;

pub(super) const SPECS: &[Spec] = &[
    Spec::new("multi", 1, AT_ONCE, Keys::NONE, parse::multi).doc(
        TRANSACTIONS,
        "1.2.0",
        "",
        "Begins to collect commands that EXEC will do as one.",
    ),
    Spec::new("exec", 1, ANY_TIME.and(Flags::SKIP_SLOWLOG), Keys::NONE, parse::exec)
        .doc(TRANSACTIONS, "1.2.0", "", "Does the collected commands as one, unless a watched key has changed.")
        .complexity("That of the commands"),
    Spec::new("discard", 1, AT_ONCE, Keys::NONE, parse::discard).doc(
        TRANSACTIONS,
        "2.0.0",
        "",
        "Forgets the collected commands and the watched keys.",
    ),
    Spec::new("watch", -2, AT_ONCE, Keys::ALL, parse::watch)
        .doc(TRANSACTIONS, "2.2.0", "key [key ...]", "Has EXEC do nothing if a key has changed until then.")
        .complexity("O(1) for each key"),
    Spec::new("unwatch", 1, AT_ONCE, Keys::NONE, parse::unwatch).doc(
        TRANSACTIONS,
        "2.2.0",
        "",
        "Forgets the watched keys.",
    ),
    Spec::new("atomic", -2, Flags::WRITE.and(Flags::DENYOOM), Keys::NONE, atomic)
        .doc(
            TRANSACTIONS,
            "1.0.0",
            "numwatched [key version ...] [numwords command [arg ...] ...]",
            "Does commands on keys of one group as one, unless a key has another version. Not known to Redis.",
        )
        .complexity("That of the commands"),
];

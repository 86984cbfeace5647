//! The rows of the commands on HyperLogLogs.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::hyperloglog as parse;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const HYPERLOGLOG: Group = Group::HyperLogLog;

const OF_EACH: &str = "O(1) for each key, each taking its time";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("pfadd", -2, WRITE.and(Flags::FAST), Keys::ONE, parse::pfadd)
        .doc(
            HYPERLOGLOG,
            "2.8.9",
            "key [element [element ...]]",
            "Counts elements that were not counted before, roughly, and answers whether the estimate may have changed.",
        )
        .complexity("O(1) for each element"),
    Spec::new("pfcount", -2, READ, Keys::ALL, parse::pfcount)
        .doc(HYPERLOGLOG, "2.8.9", "key [key ...]", "Answers about how many different elements were counted.")
        .complexity(OF_EACH),
    Spec::new("pfmerge", -2, WRITE, Keys::ALL, parse::pfmerge)
        .doc(HYPERLOGLOG, "2.8.9", "destination [source [source ...]]", "Adds what was counted elsewhere.")
        .complexity(OF_EACH),
];

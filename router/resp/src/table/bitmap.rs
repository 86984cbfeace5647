//! The rows of the commands on the bits of a string.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::bits as parse;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const BITMAP: Group = Group::Bitmap;

const LINEAR: &str = "O(N) in the length of the value";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("getbit", 3, READ.and(Flags::FAST), Keys::ONE, parse::getbit).doc(
        BITMAP,
        "2.2.0",
        "key offset",
        "Answers a bit of a value.",
    ),
    Spec::new("setbit", 4, WRITE, Keys::ONE, parse::setbit)
        .doc(BITMAP, "2.2.0", "key offset value", "Sets or clears a bit of a value and answers what it was.")
        .complexity(LINEAR),
    Spec::new("bitcount", -2, READ, Keys::ONE, parse::bitcount)
        .doc(BITMAP, "2.6.0", "key [start end [BYTE | BIT]]", "Answers how many bits of a value are set.")
        .complexity(LINEAR),
    Spec::new("bitpos", -3, READ, Keys::ONE, parse::bitpos)
        .doc(BITMAP, "2.8.7", "key bit [start [end [BYTE | BIT]]]", "Answers where the first bit is that is set, or not set.")
        .complexity(LINEAR),
    Spec::new("bitop", -4, WRITE, Keys::new(2, -1, 1), parse::bitop)
        .doc(
            BITMAP,
            "2.6.0",
            "<AND | OR | XOR | NOT> destkey key [key ...]",
            "Combines the bits of values, stores what comes of it and answers its length.",
        )
        .complexity("O(N) in the length of the longest value"),
    Spec::new("bitfield", -2, WRITE, Keys::ONE, parse::bitfield)
        .doc(
            BITMAP,
            "3.2.0",
            "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset \
             increment> ...]",
            "Reads and changes integers of any width within a value.",
        )
        .complexity("O(1) for each step"),
    Spec::new("bitfield_ro", -2, READ.and(Flags::FAST), Keys::ONE, parse::bitfield_ro)
        .doc(BITMAP, "6.0.0", "key [GET encoding offset ...]", "Reads integers of any width within a value.")
        .complexity("O(1) for each step"),
];

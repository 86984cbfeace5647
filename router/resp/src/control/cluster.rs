//! Arguments of the commands about the cluster.

use simplekv_types::{Failure, SlotRange};

use super::{ClusterCommand, Control, SlotStats};
use crate::command::generic::slot;
use crate::command::{Body, SYNTAX, Words};

type Parsed = Result<Body, Failure>;

fn cluster(command: ClusterCommand) -> Parsed {
    Ok(Body::Control(Control::Cluster(command)))
}

pub(crate) fn slots(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Slots)
}

pub(crate) fn shards(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Shards)
}

pub(crate) fn nodes(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Nodes)
}

pub(crate) fn info(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Info)
}

pub(crate) fn myid(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::MyId)
}

pub(crate) fn myshardid(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::MyShardId)
}

pub(crate) fn keyslot(words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::KeySlot { key: words.word()? })
}

pub(crate) fn links(_words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Links)
}

pub(crate) fn replicas(words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::Replicas { node: words.word()? })
}

pub(crate) fn count_failure_reports(words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::CountFailureReports { node: words.word()? })
}

pub(crate) fn countkeysinslot(words: &mut Words<'_>) -> Parsed {
    cluster(ClusterCommand::CountKeysInSlot { slot: slot_of(words)? })
}

pub(crate) fn getkeysinslot(words: &mut Words<'_>) -> Parsed {
    let slot = slot_of(words)?;
    let count = u64::try_from(words.integer()?).map_err(|_| INVALID)?;
    cluster(ClusterCommand::GetKeysInSlot { slot, count })
}

const INVALID: Failure = Failure::command("ERR Invalid slot or number of keys");

fn slot_of(words: &mut Words<'_>) -> Result<simplekv_types::Slot, Failure> {
    let number = words.integer()?;
    let slot = u16::try_from(number).ok().and_then(simplekv_types::Slot::new);
    slot.ok_or(if words.len() == 0 { Failure::command("ERR Invalid slot") } else { INVALID })
}

pub(crate) fn slot_stats(words: &mut Words<'_>) -> Parsed {
    let kind = words.word()?;
    let stats = if kind.eq_ignore_ascii_case(b"slotsrange") {
        let (first, last) = (slot(&words.word()?)?, slot(&words.word()?)?);
        SlotStats::Range(SlotRange::new(first, last).ok_or_else(|| range_error(first.number(), last.number()))?)
    } else if kind.eq_ignore_ascii_case(b"orderby") {
        by_key_count(words)?
    } else {
        return Err(SYNTAX);
    };
    words.end()?;
    cluster(ClusterCommand::SlotStats(stats))
}

fn range_error(first: u16, last: u16) -> Failure {
    Failure::Command(format!("ERR Start slot number {first} is greater than end slot number {last}").into())
}

fn by_key_count(words: &mut Words<'_>) -> Result<SlotStats, Failure> {
    if !words.word()?.eq_ignore_ascii_case(b"key-count") {
        return Err(Failure::command("ERR Unrecognized sort metric for ORDERBY."));
    }
    let (mut limit, mut ascending) = (u64::from(simplekv_types::SLOT_COUNT), false);
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"limit" => {
                let count = u64::try_from(words.integer()?).ok().filter(|count| (1..=limit).contains(count));
                limit = count.ok_or(Failure::command(
                    "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
                ))?;
            }
            b"asc" => ascending = true,
            b"desc" => ascending = false,
            _ => return Err(SYNTAX),
        }
    }
    Ok(SlotStats::ByKeyCount { limit, ascending })
}

//! What is asked of which slots and keys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use simplekv_proto::v1;
use simplekv_types::{NodeId, Slot};

use super::nodes;

/// The keys that are asked for most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HotKeys {
    pub(crate) reads: Vec<HotKey>,
    pub(crate) writes: Vec<HotKey>,
    /// Nodes whose part is missing.
    pub(crate) unreachable: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HotKey {
    /// As text; what is no UTF-8 in it is replaced.
    pub(crate) key: String,
    /// The same in base64.
    pub(crate) key_base64: String,
    pub(crate) slot: u16,
    /// Operations a second, by estimate.
    pub(crate) rate: f64,
    /// By how much that may be too high.
    pub(crate) excess: f64,
    /// Operations a second by node.
    pub(crate) nodes: BTreeMap<String, f64>,
}

/// The slots that hold or are asked most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HotSlots {
    /// For how long operations were counted.
    pub(crate) seconds: f64,
    pub(crate) slots: Vec<SlotLoad>,
    pub(crate) unreachable: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SlotLoad {
    pub(crate) slot: u16,
    /// Nothing if no group owns it.
    pub(crate) group: Option<String>,
    /// Operations in that time.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

/// By what slots are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SlotOrder {
    /// Reads and writes.
    Ops,
    Reads,
    Writes,
    Keys,
    Bytes,
}

impl HotKeys {
    pub(crate) fn of(reply: v1::LoadReply) -> Self {
        let keys = |keys: Vec<v1::HotKey>| keys.into_iter().map(HotKey::of).collect();
        Self { reads: keys(reply.reads), writes: keys(reply.writes), unreachable: nodes(&reply.unreachable) }
    }
}

impl HotKey {
    fn of(hot: v1::HotKey) -> Self {
        use base64::Engine;
        let rounded = |rate: f64| rate.round();
        Self {
            key: String::from_utf8_lossy(&hot.key).into_owned(),
            key_base64: base64::engine::general_purpose::STANDARD.encode(&hot.key),
            slot: Slot::of_key(&hot.key).number(),
            rate: rounded(hot.rate),
            excess: rounded(hot.excess),
            nodes: hot.nodes.iter().map(|part| (NodeId(part.node).to_string(), rounded(part.rate))).collect(),
        }
    }
}

impl HotSlots {
    /// From what was counted before and after `lasted`. `group_of`: who owns a slot.
    pub(crate) fn between(
        before: &v1::LoadReply,
        after: &v1::LoadReply,
        lasted: Duration,
        group_of: impl Fn(Slot) -> Option<String>,
    ) -> Self {
        let known: BTreeMap<u32, (u64, u64)> =
            before.slots.iter().map(|slot| (slot.slot, (slot.reads, slot.writes))).collect();
        let slots = after.slots.iter().filter_map(|load| {
            let slot = u16::try_from(load.slot).ok().and_then(Slot::new)?;
            let (reads, writes) = known.get(&load.slot).copied().unwrap_or_default();
            Some(SlotLoad {
                slot: slot.number(),
                group: group_of(slot),
                // Counters begin anew when a process does.
                reads: load.reads.saturating_sub(reads),
                writes: load.writes.saturating_sub(writes),
                keys: load.keys,
                bytes: load.bytes,
            })
        });
        Self { seconds: lasted.as_secs_f64(), slots: slots.collect(), unreachable: nodes(&after.unreachable) }
    }

    /// The first `most` in an order.
    #[must_use]
    pub(crate) fn greatest(mut self, order: SlotOrder, most: usize) -> Self {
        let figure = |slot: &SlotLoad| match order {
            SlotOrder::Ops => slot.reads + slot.writes,
            SlotOrder::Reads => slot.reads,
            SlotOrder::Writes => slot.writes,
            SlotOrder::Keys => slot.keys,
            SlotOrder::Bytes => slot.bytes,
        };
        self.slots.retain(|slot| figure(slot) > 0);
        self.slots.sort_by_key(|slot| std::cmp::Reverse(figure(slot)));
        self.slots.truncate(most);
        self
    }
}

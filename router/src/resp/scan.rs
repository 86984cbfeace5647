//! SCAN: a walk over all keys, a step at a time.

use simplekv_client::{Client, Kind, Options, Target, Topology};
use simplekv_resp::command::Scan;
use simplekv_resp::{Command, SCAN_POSITION_BITS};
use simplekv_types::{Failure, GroupId, Reply, Slot, SlotRange};

use super::task::Words;
use crate::error;
use crate::shared::Shared;

/// One step of a walk over all keys. A cursor is a place in the order of slots, the same on every node, so the step is asked of the
/// group that owns the cursor's slot, for as many slots as it owns from there on and the client asked for.
pub(super) async fn run(shared: &Shared, client: &Client, mut scan: Scan, options: Options) -> Reply {
    // Ownership may change while we ask; a group that had lost the slots would have answered that it has no such keys.
    const TRIES: usize = 8;
    let asked = scan.slots;
    let Some(first) = begin_of_step(scan.cursor, asked) else { return page(0, Vec::new()) };
    for _ in 0..TRIES {
        let Some((group, slots)) = owned_from(&shared.topology(), first, asked.last()) else {
            return Reply::Error(Failure::SlotUnserved { slot: first });
        };
        scan.slots = slots;
        let words: Words = Command::Scan(scan.clone()).to_args().into_iter().collect();
        let answer = client.execute(Target::Group(group), words, Kind::Read, options).await;
        let still_owned = owned_from(&shared.topology(), first, asked.last()) == Some((group, slots));
        match answer.unwrap_or_else(error::reply) {
            _ if !still_owned => (),
            Reply::Array(parts) => return next_page(parts, slots, asked.last()),
            other => return other,
        }
    }
    Reply::Error(Failure::TryAgain { slot: first })
}

/// The slot in which a step begins; `None` if the cursor lies behind the slots asked for.
fn begin_of_step(cursor: u64, asked: SlotRange) -> Option<Slot> {
    let slot = u16::try_from(cursor >> SCAN_POSITION_BITS).ok().and_then(Slot::new)?;
    (slot <= asked.last()).then(|| slot.max(asked.first()))
}

/// The owner of a slot, and how far its ownership reaches from there, at most to `last`.
fn owned_from(topology: &Topology, first: Slot, last: Slot) -> Option<(GroupId, SlotRange)> {
    let group = topology.owner(first)?.id;
    let is_owned = |slot: &Slot| topology.owner(*slot).is_some_and(|owner| owner.id == group);
    let last = SlotRange::new(first, last)?.iter().take_while(is_owned).last()?;
    Some((group, SlotRange::new(first, last)?))
}

/// A group's answer, with a cursor that goes on behind its slots when it is through with them. `last` is the last slot asked for.
fn next_page(parts: Vec<Reply>, slots: SlotRange, last: Slot) -> Reply {
    let mut parts = parts.into_iter();
    let (Some(Reply::Bulk(cursor)), Some(Reply::Array(keys))) = (parts.next(), parts.next()) else {
        return Reply::Error(Failure::command("ERR unexpected answer to SCAN"));
    };
    let cursor = match &cursor[..] {
        b"0" if slots.last() >= last => 0,
        b"0" => (u64::from(slots.last().number()) + 1) << SCAN_POSITION_BITS,
        _ => return Reply::Array(vec![Reply::Bulk(cursor), Reply::Array(keys)]),
    };
    page(cursor, keys)
}

fn page(cursor: u64, keys: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(keys)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn slots(first: u16, last: u16) -> SlotRange {
        SlotRange::new(slot(first), slot(last)).unwrap()
    }

    #[test]
    fn a_walk_goes_on_behind_the_slots_of_a_finished_group() {
        let answered = |cursor: &'static str| vec![Reply::fixed(cursor), Reply::Array(Vec::new())];
        let cursor = |parts, slots, last| match next_page(parts, slots, slot(last)) {
            Reply::Array(parts) => parts.into_iter().next().unwrap(),
            other => other,
        };
        assert_eq!(cursor(answered("77"), slots(0, 9), 16383), Reply::fixed("77"));
        assert_eq!(cursor(answered("0"), slots(0, 9), 16383), Reply::text((10u64 << SCAN_POSITION_BITS).to_string()));
        assert_eq!(cursor(answered("0"), slots(10, 16383), 16383), Reply::fixed("0"));
        assert_eq!(cursor(answered("0"), slots(0, 9), 9), Reply::fixed("0"));
    }

    #[test]
    fn a_step_begins_at_its_cursor_within_the_slots_asked_for() {
        assert_eq!(begin_of_step(10 << SCAN_POSITION_BITS | 5, SlotRange::ALL), Some(slot(10)));
        assert_eq!(begin_of_step(0, slots(7, 9)), Some(slot(7)));
        assert_eq!(begin_of_step(8 << SCAN_POSITION_BITS, slots(7, 9)), Some(slot(8)));
        assert_eq!(begin_of_step(10 << SCAN_POSITION_BITS, slots(7, 9)), None);
        assert_eq!(begin_of_step(u64::MAX, SlotRange::ALL), None);
    }
}

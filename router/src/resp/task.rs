//! What a data command asks of the cluster.

use std::sync::Arc;

use bytes::Bytes;
use rand::seq::SliceRandom;
use simplekv_client::{Kind, Options, Target, Topology};
use simplekv_resp::command::Scan;
use simplekv_resp::{Args, Command};
use simplekv_types::{Failure, GroupId, Reply, Slot, SlotRange};

use crate::error;
use crate::metrics::Class;
use crate::shared::Shared;

/// A data command with where it goes.
pub(super) enum Task {
    /// All its keys lie in one slot.
    Single { slot: Slot, words: Words, kind: Kind, share: bool },
    /// Concerns several slots.
    Wide { command: Command, kind: Kind },
}

/// A request's words, shared by all attempts to make it.
pub(super) type Words = Arc<[Bytes]>;

impl Task {
    /// `args` are the words `command` was parsed from.
    ///
    /// # Errors
    /// [`Failure::CrossSlot`] if the keys lie in different slots and the command cannot be cut.
    pub(super) fn of(command: Command, args: Args) -> Result<Self, Failure> {
        let kind = if command.is_write() { Kind::Write } else { Kind::Read };
        match command.slot() {
            Ok(Some(slot)) => {
                // Hot keys are read with these; other reads are too rare to be worth a look at who else is reading.
                let share = matches!(command, Command::Get { .. } | Command::MGet { .. });
                Ok(Self::Single { slot, words: args.into_iter().collect(), kind, share })
            }
            Ok(None) => Ok(Self::Wide { command, kind }),
            Err(failure) if command.scatter(|slot| slot).is_none() => Err(failure),
            Err(_) => Ok(Self::Wide { command, kind }),
        }
    }

    pub(super) fn class(&self) -> Class {
        match self {
            Self::Single { kind: Kind::Read, .. } => Class::Read,
            Self::Single { kind: Kind::Write, .. } => Class::Write,
            Self::Wide { .. } => Class::Wide,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Single { kind, .. } | Self::Wide { kind, .. } => *kind == Kind::Write,
        }
    }
}

/// Runs a command that concerns several slots.
pub(super) async fn run_wide(shared: &Shared, command: Command, kind: Kind, options: Options) -> Reply {
    if let Command::Scan(scan) = &command {
        return run_scan(shared, scan.clone(), options).await;
    }
    if let Some(scatter) = command.scatter(|slot| slot) {
        let parts = scatter.parts.iter().map(|(slot, part)| {
            let words: Words = part.to_args().into_iter().collect();
            shared.client.execute(*slot, words, kind, options)
        });
        let replies = futures::future::join_all(parts).await;
        return scatter.gather(replies.into_iter().map(|result| result.unwrap_or_else(error::reply)).collect());
    }
    let words: Words = command.to_args().into_iter().collect();
    let mut results = shared.client.execute_on_every_group(words, kind, options).await;
    if command == Command::RandomKey {
        results.shuffle(&mut rand::rng());
    }
    let replies = results.into_iter().map(|(_, result)| result.unwrap_or_else(error::reply)).collect();
    let unsupported = Reply::Error(Failure::command("ERR this command is not supported through the router"));
    command.gather(replies).unwrap_or(unsupported)
}

/// One step of a walk over all keys. A cursor is a place in the order of slots, the same on every node, so the step is asked of the
/// group that owns the cursor's slot, for as many slots as it owns from there on.
async fn run_scan(shared: &Shared, mut scan: Scan, options: Options) -> Reply {
    // Ownership may change while we ask; a group that had lost the slots would have answered that it has no such keys.
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let Some(first) = slot_of_cursor(scan.cursor) else { return page(0, Vec::new()) };
        let Some((group, slots)) = owned_from(&shared.topology(), first) else {
            return Reply::Error(Failure::SlotUnserved { slot: first });
        };
        scan.slots = slots;
        let words: Words = Command::Scan(scan.clone()).to_args().into_iter().collect();
        let answer = shared.client.execute(Target::Group(group), words, Kind::Read, options).await;
        let still_owned = owned_from(&shared.topology(), first) == Some((group, slots));
        match answer.unwrap_or_else(error::reply) {
            _ if !still_owned => (),
            Reply::Array(parts) => return next_page(parts, slots),
            other => return other,
        }
    }
    Reply::Error(Failure::TryAgain { slot: slot_of_cursor(scan.cursor).unwrap_or(Slot::MIN) })
}

/// Bits of a cursor below those of its slot, as `simplekv-commands` defines it.
const POSITION_BITS: u32 = 39;

fn slot_of_cursor(cursor: u64) -> Option<Slot> {
    u16::try_from(cursor >> POSITION_BITS).ok().and_then(Slot::new)
}

/// The owner of a slot, and how far its ownership reaches from there.
fn owned_from(topology: &Topology, first: Slot) -> Option<(GroupId, SlotRange)> {
    let group = topology.owner(first)?.id;
    let is_owned = |slot: &Slot| topology.owner(*slot).is_some_and(|owner| owner.id == group);
    let last = SlotRange::new(first, Slot::MAX)?.iter().take_while(is_owned).last()?;
    Some((group, SlotRange::new(first, last)?))
}

/// A group's answer, with a cursor that goes on behind its slots when it is through with them.
fn next_page(parts: Vec<Reply>, slots: SlotRange) -> Reply {
    let mut parts = parts.into_iter();
    let (Some(Reply::Bulk(cursor)), Some(Reply::Array(keys))) = (parts.next(), parts.next()) else {
        return Reply::Error(Failure::command("ERR unexpected answer to SCAN"));
    };
    let behind = u64::from(slots.last().number()) + 1;
    let cursor = match &cursor[..] {
        b"0" if behind > u64::from(Slot::MAX.number()) => 0,
        b"0" => behind << POSITION_BITS,
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

    fn task(line: &'static str) -> Result<Task, Failure> {
        let args: Args = line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
        let request = simplekv_resp::Request::parse(args.clone()).unwrap();
        let simplekv_resp::Body::Data(command) = request.body else { panic!("{line} is not about data") };
        Task::of(command, args)
    }

    #[test]
    fn a_command_goes_where_its_keys_are() {
        assert!(matches!(task("GET foo"), Ok(Task::Single { kind: Kind::Read, share: true, .. })));
        assert!(matches!(task("SET foo 1"), Ok(Task::Single { kind: Kind::Write, share: false, .. })));
        assert!(matches!(task("MGET {t}a {t}b"), Ok(Task::Single { .. })));
        assert!(matches!(task("MGET foo foo2"), Ok(Task::Wide { kind: Kind::Read, .. })));
        assert!(matches!(task("MSET foo 1 foo2 2"), Ok(Task::Wide { kind: Kind::Write, .. })));
        assert!(matches!(task("DBSIZE"), Ok(Task::Wide { kind: Kind::Read, .. })));
        assert!(matches!(task("RENAME foo foo2"), Err(Failure::CrossSlot)));
        assert!(matches!(task("MSETNX foo 1 foo2 2"), Err(Failure::CrossSlot)));
    }

    #[test]
    fn a_walk_goes_on_behind_the_slots_of_a_finished_group() {
        let of = |first, last| SlotRange::new(slot(first), slot(last)).unwrap();
        let answered = |cursor: &'static str| vec![Reply::fixed(cursor), Reply::Array(Vec::new())];
        let cursor = |parts, slots| match next_page(parts, slots) {
            Reply::Array(parts) => parts.into_iter().next().unwrap(),
            other => other,
        };
        assert_eq!(cursor(answered("77"), of(0, 9)), Reply::fixed("77"));
        assert_eq!(cursor(answered("0"), of(0, 9)), Reply::text((10u64 << POSITION_BITS).to_string()));
        assert_eq!(cursor(answered("0"), of(10, 16383)), Reply::fixed("0"));
        assert_eq!(slot_of_cursor(10 << POSITION_BITS | 5), Some(slot(10)));
        assert_eq!(slot_of_cursor(u64::MAX), None);
    }
}

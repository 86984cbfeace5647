//! Commands that concern several slots: cut into parts, and one reply made of theirs.

use std::collections::HashMap;

use futures::StreamExt;
use rand::seq::SliceRandom;
use simplekv_client::{Client, Kind, Options, Target, Topology};
use simplekv_resp::{Command, Scatter, several_groups};
use simplekv_types::{Failure, GroupId, Reply, Slot};

use super::parted::Parted;
use super::scan;
use super::task::Words;
use crate::config::Transactions;
use crate::error;
use crate::shared::Shared;

/// Parts of one command that are under way at a time.
const PARTS_AT_ONCE: usize = 16;
/// Most keys of a part, and the bytes beyond which no more are added: all its values come back together. Keys of one slot are never
/// parted.
const PART_KEYS_MAX: usize = 64;
const PART_BYTES_MAX: usize = 256 << 10;

/// Runs a command that concerns several slots. `is_exec`: whether it is what EXEC runs, which the settings may allow to be cut.
pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    command: Command,
    kind: Kind,
    options: Options,
    is_exec: bool,
) -> Reply {
    // How a command is to be cut is not known before the groups are.
    let topology = shared.known_topology().await;
    if let Command::Scan(scan) = command {
        return scan::run(shared, client, scan, options).await;
    }
    let request = Wide { shared, client, kind, options };
    if let Command::Atomic(atomic) = &command {
        return match one_group(&command, &topology) {
            Ok(slot) => request.execute(Target::Slot(slot), &command).await,
            Err(_) if is_exec && shared.limits.transactions == Transactions::PerGroup => {
                let group = |slot| topology.owner(slot).map(|group| group.id).ok_or(slot);
                let mut parted = match Parted::cut(atomic, group) {
                    Ok(parted) => parted,
                    Err(failure) => return failure.into(),
                };
                while let Some((slot, part)) = parted.ask() {
                    parted.answered(request.execute(Target::Slot(slot), &part).await);
                }
                parted.conclude()
            }
            Err(failure) => failure.into(),
        };
    }
    match cut(&command, &topology) {
        Some(scatter) => request.run_parts(scatter).await,
        None => request.run_everywhere(&command).await,
    }
}

/// What all parts of a command have in common.
#[derive(Clone, Copy)]
struct Wide<'a> {
    shared: &'a Shared,
    client: &'a Client,
    kind: Kind,
    options: Options,
}

impl Wide<'_> {
    async fn run_parts(self, mut scatter: Scatter<Place>) -> Reply {
        let parts = std::mem::take(&mut scatter.parts).into_iter().map(|(_, part)| self.run_part(part));
        let replies = futures::stream::iter(parts).buffered(PARTS_AT_ONCE).collect().await;
        scatter.gather(replies)
    }

    async fn run_part(self, part: Command) -> Reply {
        let slot = part.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
        let reply = self.execute(Target::Slot(slot), &part).await;
        match part.scatter(|slot| slot) {
            // Its slots belong to several groups by now. Slot by slot it can be done whoever owns them.
            Some(mut scatter) if reply == Reply::Error(Failure::CrossSlot) => {
                let parts = std::mem::take(&mut scatter.parts);
                let mut replies = Vec::with_capacity(parts.len());
                for (slot, part) in parts {
                    replies.push(self.execute(Target::Slot(slot), &part).await);
                }
                scatter.gather(replies)
            }
            _ => reply,
        }
    }

    /// Runs a command without keys on every group.
    async fn run_everywhere(self, command: &Command) -> Reply {
        let groups: Vec<GroupId> = self.shared.topology().groups().iter().map(|group| group.id).collect();
        let parts = groups.into_iter().map(|group| self.execute(Target::Group(group), command));
        let mut replies: Vec<Reply> = futures::stream::iter(parts).buffered(PARTS_AT_ONCE).collect().await;
        if *command == Command::RandomKey {
            replies.shuffle(&mut rand::rng());
        }
        let unsupported = Reply::Error(Failure::command("ERR this command is not supported through the router"));
        command.gather(replies).unwrap_or(unsupported)
    }

    async fn execute(self, target: Target, command: &Command) -> Reply {
        // A part counts as what it is, a request: a few wide commands must not take the places of everybody's narrow ones. Nobody
        // waits here who already has such a permit.
        let Ok(_permit) = self.shared.parts.acquire().await else {
            return Reply::Error(Failure::NotServing { reason: "the router is stopping".into() });
        };
        let words: Words = command.to_args().into_iter().collect();
        self.client.execute(target, words, self.kind, self.options).await.unwrap_or_else(error::reply)
    }
}

/// A slot of the group that all keys of a command belong to.
fn one_group(command: &Command, topology: &Topology) -> Result<Slot, Failure> {
    let group = |key: &[u8]| topology.owner(Slot::of_key(key)).map(|group| group.id);
    let mut keys = command.keys();
    let Some(first) = keys.next() else { return Ok(Slot::MIN) };
    match keys.find(|key| group(key) != group(first)) {
        Some(other) => Err(several_groups(first, other)),
        None => Ok(Slot::of_key(first)),
    }
}

/// Which part a slot's keys are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// One of a group's.
    Part(GroupId, usize),
    /// That of a slot nobody is known to own.
    Slot(Slot),
}

/// What a part has to carry.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    keys: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }

    fn is_too_much_with(self, other: Self) -> bool {
        self.keys > 0
            && (self.keys + other.keys > PART_KEYS_MAX || self.bytes.saturating_add(other.bytes) > PART_BYTES_MAX)
    }
}

/// Cuts a command into parts of moderate size, each for one group. `None` if it cannot be cut.
fn cut(command: &Command, topology: &Topology) -> Option<Scatter<Place>> {
    let mut order: Vec<Slot> = Vec::new();
    let mut loads: HashMap<Slot, Load> = HashMap::new();
    for (at, key) in command.keys().enumerate() {
        let value =
            if let Command::MSet { pairs } = command { pairs.get(at).map_or(0, |(_, value)| value.len()) } else { 0 };
        let slot = Slot::of_key(key);
        let load = loads.entry(slot).or_insert_with(|| {
            order.push(slot);
            Load::default()
        });
        load.add(Load { keys: 1, bytes: key.len() + value });
    }
    let mut filling: HashMap<GroupId, (usize, Load)> = HashMap::new();
    let mut places: HashMap<Slot, Place> = HashMap::with_capacity(order.len());
    for slot in order {
        let Some(group) = topology.owner(slot).map(|group| group.id) else { continue };
        let load = loads.get(&slot).copied().unwrap_or_default();
        let (part, carried) = filling.entry(group).or_default();
        if carried.is_too_much_with(load) {
            *part += 1;
            *carried = Load::default();
        }
        carried.add(load);
        places.insert(slot, Place::Part(group, *part));
    }
    command.scatter(|slot| places.get(&slot).copied().unwrap_or(Place::Slot(slot)))
}

//! One version of where slots, groups and nodes are.

mod difference;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use simplekv_types::{
    ClusterId, Epoch, Failure, GroupId, GroupTime, NodeAddresses, NodeId, SLOT_COUNT, Slot, SlotMapVersion, SlotRange,
};

pub(crate) use self::difference::Difference;
use crate::Target;

/// In the slot table: nobody owns the slot.
const UNOWNED: u16 = u16::MAX;

/// A node as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Which node.
    pub id: NodeId,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Failure domain, empty when there is none.
    pub zone: String,
    /// Whether its session with the metadata store is alive: a hint.
    pub live: bool,
}

impl Node {
    /// A live node without a zone.
    #[must_use]
    pub fn new(id: NodeId, addresses: NodeAddresses) -> Self {
        Self { id, addresses, zone: String::new(), live: true }
    }
}

/// A group's time as far as its answers tell, going on between them: a client that was idle must not date a write by a time long past.
/// Shared by all versions of the topology.
///
/// Holds by how many milliseconds the group's time is ahead of this process' own clock, at least; 0 if no time was heard of.
#[derive(Debug, Default)]
pub(crate) struct GroupClock(AtomicU64);

impl GroupClock {
    /// The group's time was heard of, when `millis` had passed of this process.
    pub(crate) fn observe(&self, time: GroupTime, millis: u64) {
        let ahead = time.0.saturating_sub(millis);
        // Almost every observation is no news: a look is cheaper than a write to a line all cores share.
        if self.0.load(Ordering::Relaxed) < ahead {
            self.0.fetch_max(ahead, Ordering::Relaxed);
        }
    }

    /// About what the group's time is when `millis` have passed of this process; zero if none was heard of.
    pub(crate) fn at(&self, millis: u64) -> GroupTime {
        match self.0.load(Ordering::Relaxed) {
            0 => GroupTime::ZERO,
            ahead => GroupTime(ahead.saturating_add(millis)),
        }
    }

    /// Takes over what another one knows of the same group.
    fn join(&self, other: &Self) {
        self.0.fetch_max(other.0.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Milliseconds since some moment of this process.
pub(crate) fn process_millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A group as clients see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Group {
    /// Which group.
    pub id: GroupId,
    /// Number of the leadership.
    pub epoch: Epoch,
    /// Who leads it, if anybody does.
    pub leader: Option<NodeId>,
    /// The in-sync replicas.
    pub in_sync: Vec<NodeId>,
    /// The nodes it is assigned to.
    pub replicas: Vec<NodeId>,
    /// How many in-sync replicas must hold a write before it is acknowledged.
    pub min_in_sync: u32,
    pub(crate) clock: Arc<GroupClock>,
}

impl Group {
    /// A group whose replicas are all in sync.
    #[must_use]
    pub fn new(id: GroupId, epoch: Epoch, leader: Option<NodeId>, replicas: Vec<NodeId>) -> Self {
        Self { id, epoch, leader, in_sync: replicas.clone(), replicas, min_in_sync: 1, clock: Arc::default() }
    }

    /// About what the group's time is now; zero if none was heard of.
    #[must_use]
    pub fn time(&self) -> GroupTime {
        self.clock.at(process_millis())
    }
}

/// A slot's owner learned from a redirect before the topology that says so arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MovedSlot {
    slot: Slot,
    group: GroupId,
    version: SlotMapVersion,
}

/// Where slots, groups and nodes are: an immutable snapshot.
#[derive(Clone, Debug)]
pub struct Topology {
    version: u64,
    cluster: ClusterId,
    slot_map_version: SlotMapVersion,
    /// Index into `groups` of each slot's owner, or `UNOWNED`. Invariant: `SLOT_COUNT` rows.
    owners: Box<[u16]>,
    /// Sorted by id.
    groups: Vec<Group>,
    /// Sorted by id. Most changes are of other parts, and in a large cluster this is the largest.
    nodes: Arc<Vec<Node>>,
    /// What redirects said that `slot_map_version` does not contain yet. Already entered into `owners`.
    moved: Vec<MovedSlot>,
}

impl Topology {
    /// A topology of the given parts, in any order. Later ranges win where they overlap; a range of an unknown group is left out.
    #[must_use]
    pub fn new(
        version: u64,
        cluster: ClusterId,
        slot_map_version: SlotMapVersion,
        ranges: impl IntoIterator<Item = (SlotRange, GroupId)>,
        mut groups: Vec<Group>,
        mut nodes: Vec<Node>,
    ) -> Self {
        groups.sort_by_key(|group| group.id);
        groups.dedup_by_key(|group| group.id);
        groups.truncate(usize::from(UNOWNED));
        nodes.sort_by_key(|node| node.id);
        nodes.dedup_by_key(|node| node.id);
        let owners = vec![UNOWNED; usize::from(SLOT_COUNT)].into_boxed_slice();
        let nodes = Arc::new(nodes);
        let mut topology = Self { version, cluster, slot_map_version, owners, groups, nodes, moved: Vec::new() };
        for (range, group) in ranges {
            topology.assign(range, group);
        }
        topology
    }

    /// What is known before anybody answered: nothing.
    pub(crate) fn unknown() -> Self {
        Self::new(0, ClusterId(0), SlotMapVersion(0), [], Vec::new(), Vec::new())
    }

    /// Whether no node has told anything yet.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.version == 0 && self.nodes.is_empty()
    }

    /// The version: it grows with each change of anything in it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The version of the slot map in it.
    #[must_use]
    pub fn slot_map_version(&self) -> SlotMapVersion {
        self.slot_map_version
    }

    /// The groups, sorted by id.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The nodes, sorted by id.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(self.group_index(id)?)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(self.nodes.binary_search_by_key(&id, |node| node.id).ok()?)
    }

    /// The group that owns a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&Group> {
        self.groups.get(usize::from(*self.owners.get(slot.index())?))
    }

    /// The group a request is for.
    pub(crate) fn group_of(&self, target: Target) -> Option<&Group> {
        match target {
            Target::Slot(slot) => self.owner(slot),
            Target::Group(group) => self.group(group),
        }
    }

    /// How many slots each group owns, in the order of [`Topology::groups`].
    #[must_use]
    pub fn slot_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.groups.len()];
        for &owner in &self.owners {
            if let Some(count) = counts.get_mut(usize::from(owner)) {
                *count += 1;
            }
        }
        counts
    }

    /// The slots as ranges of equal owner, in slot order; unowned slots are left out.
    #[must_use]
    pub fn ranges(&self) -> Vec<(SlotRange, GroupId)> {
        let mut ranges: Vec<(SlotRange, GroupId)> = Vec::new();
        for slot in Slot::all() {
            let Some(group) = self.owner(slot) else { continue };
            match ranges.last_mut() {
                Some((range, owner)) if *owner == group.id && range.last().number() + 1 == slot.number() => {
                    if let Some(wider) = SlotRange::new(range.first(), slot) {
                        *range = wider;
                    }
                }
                _ => ranges.push((slot.into(), group.id)),
            }
        }
        ranges
    }

    fn group_index(&self, id: GroupId) -> Option<usize> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok()
    }

    fn assign(&mut self, range: SlotRange, group: GroupId) -> bool {
        let Some(index) = self.group_index(group).and_then(|index| u16::try_from(index).ok()) else { return false };
        if let Some(rows) = self.owners.get_mut(range.first().index()..=range.last().index()) {
            rows.fill(index);
        }
        true
    }

    /// Enters a slot's owner as told by a redirect. `None` if that is not news, or the group is unknown.
    pub(crate) fn with_moved(&self, slot: Slot, group: GroupId, version: SlotMapVersion) -> Option<Self> {
        let known = self.moved.iter().find(|moved| moved.slot == slot).map_or(self.slot_map_version, |m| m.version);
        if version <= known {
            return None;
        }
        let mut next = self.clone();
        if !next.assign(slot.into(), group) {
            return None;
        }
        next.moved.retain(|moved| moved.slot != slot);
        next.moved.push(MovedSlot { slot, group, version });
        Some(next)
    }

    /// Enters a group's leader as told by a redirect. `None` if that is not news, or the group or node is unknown.
    pub(crate) fn with_leader(&self, group: GroupId, leader: NodeId, epoch: Epoch) -> Option<Self> {
        self.node(leader)?;
        let index = self.group_index(group)?;
        let known = self.groups.get(index)?;
        let is_news = epoch > known.epoch || (epoch == known.epoch && known.leader.is_none());
        if !is_news {
            return None;
        }
        let mut next = self.clone();
        let group = next.groups.get_mut(index)?;
        group.leader = Some(leader);
        group.epoch = epoch;
        Some(next)
    }

    /// What a failure teaches; `None` if that is not news.
    pub(crate) fn learning(&self, failure: &Failure) -> Option<Self> {
        match failure {
            Failure::Moved { slot, group, version, .. } => self.with_moved(*slot, *group, *version),
            Failure::NotLeader { group, leader: Some(leader), epoch, .. } => self.with_leader(*group, *leader, *epoch),
            _ => None,
        }
    }

    /// This topology, having replaced `previous`: keeps its group clocks, and of what redirects taught it whatever is newer.
    pub(crate) fn succeeding(mut self, previous: &Self) -> Self {
        for old in &previous.groups {
            let Some(index) = self.group_index(old.id) else { continue };
            let leader_is_known = old.leader.is_some_and(|leader| self.node(leader).is_some());
            let Some(group) = self.groups.get_mut(index) else { continue };
            old.clock.join(&group.clock);
            group.clock = Arc::clone(&old.clock);
            if old.epoch > group.epoch && leader_is_known {
                group.epoch = old.epoch;
                group.leader = old.leader;
            }
        }
        for &moved in &previous.moved {
            if moved.version > self.slot_map_version && self.assign(moved.slot.into(), moved.group) {
                self.moved.push(moved);
            }
        }
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    /// `g1` on n1, n2 owns the lower half of the slots, `g2` on n2, n1 the upper; each is led by its first node in epoch 1.
    pub(crate) fn two_groups(version: u64) -> Topology {
        let node = |id| Node::new(NodeId(id), NodeAddresses { grpc: format!("h:{id}"), ..NodeAddresses::default() });
        let group =
            |id, nodes: [u32; 2]| Group::new(GroupId(id), Epoch(1), Some(NodeId(nodes[0])), nodes.map(NodeId).to_vec());
        Topology::new(
            version,
            ClusterId(1),
            SlotMapVersion(version),
            [("0-8191".parse().unwrap(), GroupId(1)), ("8192-16383".parse().unwrap(), GroupId(2))],
            vec![group(2, [2, 1]), group(1, [1, 2])],
            vec![node(1), node(2)],
        )
    }

    fn owner(topology: &Topology, number: u16) -> Option<u32> {
        topology.owner(slot(number)).map(|group| group.id.0)
    }

    #[test]
    fn every_slot_has_the_owner_of_its_range() {
        let topology = two_groups(1);
        assert_eq!([0, 8191, 8192, 16383].map(|n| owner(&topology, n)), [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(topology.slot_counts(), [8192, 8192]);
        let ranges: Vec<String> = topology.ranges().iter().map(|(range, group)| format!("{range}:{group}")).collect();
        assert_eq!(ranges, ["0-8191:g1", "8192-16383:g2"]);
        assert_eq!(owner(&Topology::unknown(), 0), None);
    }

    #[test]
    fn a_redirect_outlives_an_older_slot_map_and_yields_to_a_newer_one() {
        let moved = two_groups(5).with_moved(slot(7), GroupId(2), SlotMapVersion(8)).unwrap();
        assert_eq!(owner(&moved, 7), Some(2));
        assert_eq!(owner(&moved, 6), Some(1));
        assert_eq!(owner(&two_groups(7).succeeding(&moved), 7), Some(2), "map 7 does not know of the move at 8");
        assert_eq!(owner(&two_groups(8).succeeding(&moved), 7), Some(1), "map 8 is what the redirect was read from");
    }

    #[test]
    fn a_redirect_that_is_not_newer_changes_nothing() {
        let topology = two_groups(5);
        assert!(topology.with_moved(slot(7), GroupId(2), SlotMapVersion(5)).is_none());
        assert!(topology.with_moved(slot(7), GroupId(9), SlotMapVersion(6)).is_none(), "an unknown group");
        let moved = topology.with_moved(slot(7), GroupId(2), SlotMapVersion(9)).unwrap();
        assert!(moved.with_moved(slot(7), GroupId(1), SlotMapVersion(8)).is_none(), "9 said otherwise");
        assert!(topology.with_leader(GroupId(1), NodeId(2), Epoch(1)).is_none());
        assert!(topology.with_leader(GroupId(1), NodeId(9), Epoch(2)).is_none(), "an unknown node");
    }

    #[test]
    fn a_leader_learned_from_a_redirect_is_kept_until_its_epoch_is_known() {
        let told = two_groups(5).with_leader(GroupId(1), NodeId(2), Epoch(4)).unwrap();
        assert_eq!(told.group(GroupId(1)).unwrap().leader, Some(NodeId(2)));
        let next = two_groups(6).succeeding(&told);
        assert_eq!(next.group(GroupId(1)).unwrap().leader, Some(NodeId(2)), "the pushed topology knows epoch 1 only");
    }

    #[test]
    fn group_time_survives_a_new_topology_and_never_falls() {
        let old = two_groups(1);
        old.group(GroupId(1)).unwrap().clock.observe(GroupTime(50_000_000), process_millis());
        let new = two_groups(2);
        new.group(GroupId(1)).unwrap().clock.observe(GroupTime(40_000_000), process_millis());
        assert!(new.succeeding(&old).group(GroupId(1)).unwrap().time() >= GroupTime(50_000_000));
    }
}

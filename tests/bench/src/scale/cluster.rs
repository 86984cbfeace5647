//! The metadata of a large cluster, written and changed as the cluster itself does it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use simplekv_meta::{
    Cas, ClusterView, EmbeddedOptions, EmbeddedStore, GroupChange, Key, Keys, LiveRecord, Records, Txn, TxnOutcome,
    WatchEvent, encode,
};
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, FlushPolicy, GroupId, GroupRecord, Leadership, Lineage, Member, NodeAddresses,
    NodeId, NodeRecord, RecoveryPolicy, Revision, RunId, Slot, SlotMap, SlotRange, StorageId,
};

use super::counting::{Counting, Counts};

/// Records written in one transaction, to be done sooner.
const AT_ONCE: usize = 100;

/// How large a cluster is. Every replica has a node of its own, the replicas of a group are in different zones, and the leaders are
/// spread over the zones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) groups: u32,
    pub(crate) replicas: u32,
    /// Whether no two neighbouring slots have the same owner, as after many moves: the largest slot map there is.
    pub(crate) scattered: bool,
}

/// What happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A leader hands over.
    Leader,
    /// A replica leaves the in-sync set.
    InSync,
    /// One slot gets another owner.
    Slot,
    /// A node that led a group is gone, and another one leads.
    Node,
    /// All nodes of a zone are gone.
    Zone,
}

impl Event {
    pub(crate) const ALL: [Self; 5] = [Self::Leader, Self::InSync, Self::Slot, Self::Node, Self::Zone];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Leader => "a leader hands over",
            Self::InSync => "a replica falls out of sync",
            Self::Slot => "a slot has moved",
            Self::Node => "a leader's node is gone",
            Self::Zone => "a zone is gone",
        }
    }
}

impl Layout {
    pub(crate) fn nodes(self) -> u32 {
        self.groups * self.replicas
    }

    /// The node of a group's replica in a zone.
    fn node(self, group: u32, zone: u32) -> NodeId {
        NodeId(zone * self.groups + group)
    }

    fn leading_zone(self, group: u32) -> u32 {
        group % self.replicas
    }

    fn slots(self) -> SlotMap {
        let groups: Vec<GroupId> = (1..=self.groups).map(GroupId).collect();
        if !self.scattered {
            return SlotMap::spread(&groups);
        }
        let owners = groups.iter().copied().cycle();
        SlotMap::new(Slot::all().map(SlotRange::from).zip(owners)).expect("every slot once")
    }

    fn node_record(self, node: NodeId) -> NodeRecord {
        let name = format!("simplekv-{}.simplekv.example.net", node.0);
        NodeRecord {
            storage: storage(node),
            run: None,
            nonce: scrambled(node) as u64,
            prev_storages: Vec::new(),
            poisoned: false,
            addresses: NodeAddresses {
                grpc: format!("{name}:7410"),
                resp: format!("{name}:7411"),
                admin: format!("{name}:7412"),
            },
            zone: format!("europe-west-{}", (node.0 - 1) / self.groups + 1),
            flush: FlushPolicy::Always,
        }
    }

    fn group_record(self, group: u32, run: impl Fn(NodeId) -> RunId) -> GroupRecord {
        let nodes: Vec<NodeId> = (0..self.replicas).map(|zone| self.node(group, zone)).collect();
        GroupRecord {
            epoch: Epoch(7),
            leader: Some(leadership(self.node(group, self.leading_zone(group)), run)),
            in_sync: nodes.iter().copied().map(member).collect(),
            fence: Vec::new(),
            lease_ms: 1000,
            fence_ms: 1000,
            replicas: nodes,
            min_in_sync: self.replicas.min(2),
            lineage: Lineage(1),
            recovering: false,
            recovery: RecoveryPolicy::Manual,
        }
    }
}

/// A cluster of which there is the metadata and nothing else.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) records: Records,
    counting: Counting,
}

impl Cluster {
    /// A cluster in which all is well.
    pub(crate) async fn found(layout: Layout) -> Result<Self> {
        let counting = Counting::new(Arc::new(EmbeddedStore::in_memory(EmbeddedOptions::default())));
        let records = Records::new(Arc::new(counting.clone()), Keys::default());
        let cluster = Self { layout, records, counting };
        cluster.write().await?;
        Ok(cluster)
    }

    async fn write(&self) -> Result<()> {
        let record = ClusterRecord { cluster: ClusterId(scrambled(NodeId(1))), format: ClusterRecord::FORMAT };
        done(self.records.init(&record, &[], &self.layout.slots()).await?)?;
        let nodes: Vec<NodeId> = (1..=self.layout.nodes()).map(NodeId).collect();
        for nodes in nodes.chunks(AT_ONCE) {
            let registered =
                self.put(nodes.iter().map(|&node| (Key::Node(node), encode(&self.layout.node_record(node))))).await?;
            // The revision of a registration is the run of the node's process.
            let live = encode(&LiveRecord { run: RunId(registered.0) });
            self.put(nodes.iter().map(|&node| (Key::Live(node), live.clone()))).await?;
        }
        let view = self.view().await?;
        let run = |node| view.live.get(&node).copied().unwrap_or(RunId(0));
        let groups: Vec<u32> = (1..=self.layout.groups).collect();
        for groups in groups.chunks(AT_ONCE) {
            let record = |&group| (Key::Group(GroupId(group)), encode(&self.layout.group_record(group, run)));
            self.put(groups.iter().map(record)).await?;
        }
        Ok(())
    }

    async fn put(&self, entries: impl Iterator<Item = (Key, bytes::Bytes)>) -> Result<Revision> {
        let txn = entries.fold(Txn::new(), |txn, (key, value)| txn.put(self.records.key(&key), value));
        match self.records.store().txn(txn).await? {
            TxnOutcome::Succeeded { revision } => Ok(revision),
            TxnOutcome::Lost(_) => bail!("nothing was compared"),
        }
    }

    /// The metadata as every node has it.
    pub(crate) async fn view(&self) -> Result<ClusterView> {
        Ok(self.records.load().await?)
    }

    /// What the store was asked for so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counting.counts()
    }

    /// Has something happen, in as many transactions as the cluster would make of it.
    pub(crate) async fn make(&self, event: Event) -> Result<()> {
        let layout = self.layout;
        match event {
            Event::Leader => drop(self.hand_over(1).await?),
            Event::InSync => self.leave(1, layout.node(1, (layout.leading_zone(1) + 1) % layout.replicas)).await?,
            Event::Slot => {
                let slots = self.records.slots().await?.context("there is a slot map")?;
                let rest = slots.record.ranges().iter().flat_map(|&(range, group)| each_slot(range, group));
                let moved = rest.map(|(slot, group)| match slot.number() {
                    0 => (SlotRange::from(slot), GroupId(layout.groups)),
                    _ => (SlotRange::from(slot), group),
                });
                let version = simplekv_types::SlotMapVersion(slots.modified.0);
                done(self.records.change_slots(version, &SlotMap::new(moved)?, Vec::new()).await?)?;
            }
            Event::Node => self.fail(1, layout.leading_zone(1)).await?,
            Event::Zone => {
                for group in 1..=layout.groups {
                    self.fail(group, 1).await?;
                }
            }
        }
        Ok(())
    }

    /// A group's leader makes another one lead. Returns the revision.
    pub(crate) async fn hand_over(&self, group: u32) -> Result<Revision> {
        self.change_group(group, |record, next| {
            record.epoch = Epoch(record.epoch.0 + 1);
            record.leader = Some(next);
        })
        .await
    }

    /// A node's session ends. If it led its group another replica is elected, and the leader then goes on without it.
    async fn fail(&self, group: u32, zone: u32) -> Result<()> {
        let node = self.layout.node(group, zone);
        self.records.store().txn(Txn::new().delete(self.records.key(&Key::Live(node)))).await?;
        if self.layout.leading_zone(group) == zone {
            self.change_group(group, |record, next| {
                record.fence = record.leader.iter().map(Leadership::member).collect();
                record.epoch = Epoch(record.epoch.0 + 1);
                record.leader = Some(next);
            })
            .await?;
        }
        self.leave(group, node).await
    }

    async fn leave(&self, group: u32, node: NodeId) -> Result<()> {
        self.change_group(group, |record, _| {
            record.in_sync.retain(|member| member.node != node);
            record.fence.clear();
        })
        .await
        .map(drop)
    }

    /// Changes a group's record; the change is told who is next to lead.
    async fn change_group(&self, group: u32, change: impl FnOnce(&mut GroupRecord, Leadership)) -> Result<Revision> {
        let id = GroupId(group);
        let found = self.records.group(id).await?.context("the group is there")?;
        let mut record = found.record;
        let leader = record.leader.context("every group has a leader")?;
        let place = record.replicas.iter().position(|node| *node == leader.node).unwrap_or(0);
        let next = record.replicas.iter().cycle().nth(place + 1).copied().context("there are replicas")?;
        change(&mut record, leadership(next, |_| leader.run));
        let (registrations, silent) = (Vec::new(), Vec::new());
        let change = GroupChange { group: id, expected: found.modified, record, registrations, silent, office: None };
        done(self.records.change_group(&change).await?)
    }

    /// How many changes a watch tells after a revision, and the bytes of their keys and values.
    pub(crate) async fn told_since(&self, after: Revision) -> Result<Vec<usize>> {
        let newest = self.view().await?.revision;
        let mut watch = self.records.store().watch(&self.records.keys().all(), after);
        let (mut told, mut seen) = (Vec::new(), after);
        while seen < newest {
            if let WatchEvent::Changed { revision, changes } = watch.next().await.context("the watch ended")? {
                seen = revision;
                told.push(changes.iter().map(bytes_of).sum());
            }
        }
        Ok(told)
    }
}

fn bytes_of(change: &simplekv_meta::Change) -> usize {
    match change {
        simplekv_meta::Change::Put(entry) => entry.key.len() + entry.value.len(),
        simplekv_meta::Change::Delete { key } => key.len(),
    }
}

fn each_slot(range: SlotRange, group: GroupId) -> impl Iterator<Item = (Slot, GroupId)> {
    (range.first().number()..=range.last().number()).filter_map(Slot::new).map(move |slot| (slot, group))
}

fn done<C: std::fmt::Debug>(outcome: Cas<C>) -> Result<Revision> {
    match outcome {
        Cas::Done { revision } => Ok(revision),
        Cas::Lost(found) => bail!("nobody else changes anything: {found:?}"),
    }
}

fn member(node: NodeId) -> Member {
    Member { node, storage: storage(node) }
}

fn leadership(node: NodeId, run: impl Fn(NodeId) -> RunId) -> Leadership {
    Leadership { node, storage: storage(node), run: run(node) }
}

fn storage(node: NodeId) -> StorageId {
    StorageId(scrambled(node))
}

/// As long when written down as what is drawn at random.
fn scrambled(node: NodeId) -> u128 {
    (u128::from(node.0) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

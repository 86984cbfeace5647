//! What is known of a cluster, as it is shown and as `--json` prints it. The JSON is documented in docs/admin-json.md.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use simplekv_proto::v1;
use simplekv_types::{ClusterId, GroupId, NodeId, SLOT_COUNT, Slot, SlotMap, SlotRange};

use crate::failure::Failure;

pub(crate) mod load;
pub(crate) mod moves;

/// How well a cluster is. The worst of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Everything is served and every replica is in sync.
    Healthy,
    /// Everything is served, with less protection than configured.
    Degraded,
    /// Something is not served, or close to being lost.
    Unhealthy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StatusReport {
    /// 32 hexadecimal digits; nothing before `init`.
    pub(crate) cluster: Option<String>,
    pub(crate) health: Health,
    pub(crate) findings: Vec<Finding>,
    pub(crate) slots_served: usize,
    pub(crate) slots_total: usize,
    pub(crate) slot_map_version: u64,
    pub(crate) controller: Option<String>,
    pub(crate) metadata_reachable: bool,
    pub(crate) metadata_age_ms: u64,
    pub(crate) unreachable: Vec<String>,
    pub(crate) groups: Vec<Group>,
    /// Version of the node that answered.
    pub(crate) version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HealthReport {
    pub(crate) health: Health,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `warning` or `critical`.
    pub(crate) severity: &'static str,
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) advice: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) leader: Option<String>,
    pub(crate) in_sync: Vec<String>,
    pub(crate) replicas: Vec<String>,
    pub(crate) min_in_sync: u32,
    /// One more each time the group went on without what its in-sync replicas had acknowledged.
    pub(crate) lineage: u64,
    /// Whether it waits for a decision how to go on.
    pub(crate) recovering: bool,
    /// `manual` or `longest`: who decides.
    pub(crate) recovery: &'static str,
    pub(crate) slots: usize,
    pub(crate) ranges: Vec<String>,
    /// As the leader says; nothing while it does not answer, like everything below.
    pub(crate) keys: Option<u64>,
    pub(crate) live_bytes: Option<u64>,
    pub(crate) log_bytes: Option<u64>,
    /// How far the last follower is behind, in records.
    pub(crate) lag_records: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    /// Whether its session with the metadata store is alive.
    pub(crate) live: bool,
    /// Whether it answered the node that was asked.
    pub(crate) answers: bool,
    pub(crate) zone: String,
    pub(crate) grpc: String,
    pub(crate) resp: String,
    pub(crate) admin: String,
    pub(crate) leads: Vec<String>,
    pub(crate) follows: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Slots {
    pub(crate) slot_map_version: u64,
    pub(crate) slots: Vec<Range>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) count: usize,
    pub(crate) group: String,
    pub(crate) leader: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Located {
    pub(crate) key: String,
    pub(crate) slot: u16,
    /// Nothing if no group owns the slot.
    pub(crate) group: Option<String>,
    pub(crate) leader: Option<String>,
    /// Redis protocol address of the leader.
    pub(crate) resp: Option<String>,
    pub(crate) grpc: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Initialised {
    pub(crate) cluster: String,
    pub(crate) groups: Vec<Assignment>,
    /// Whether this call created the cluster.
    pub(crate) created: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Assignment {
    pub(crate) id: String,
    pub(crate) replicas: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Transferred {
    pub(crate) group: String,
    pub(crate) leader: String,
    pub(crate) epoch: u64,
}

/// What is left of a group, and how it can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recovery {
    pub(crate) group: String,
    /// Of the record that was looked at.
    pub(crate) revision: u64,
    pub(crate) epoch: u64,
    pub(crate) lineage: u64,
    pub(crate) min_in_sync: u32,
    pub(crate) recovering: bool,
    pub(crate) replicas: Vec<Remnant>,
    /// Whose log would be, or is, the history; nothing if there is an obstacle, and the numbers below are 0 then.
    pub(crate) chosen: Option<String>,
    #[serde(skip)]
    pub(crate) chosen_id: u32,
    pub(crate) new_epoch: u64,
    pub(crate) new_lineage: u64,
    pub(crate) new_min_in_sync: u32,
    /// Names what the choice was made from; empty if there is an obstacle.
    pub(crate) digest: String,
    /// Sentences.
    pub(crate) losses: Vec<String>,
    /// Why it cannot be done so.
    pub(crate) obstacle: Option<String>,
    /// What to do about that.
    pub(crate) advice: String,
    pub(crate) done: bool,
}

/// What is left of a group on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Remnant {
    pub(crate) node: String,
    /// What became of the incarnation listed in sync; nothing if none is.
    pub(crate) fate: Option<String>,
    pub(crate) answers: bool,
    /// As the replica says; nothing while it does not answer, like the numbers below.
    pub(crate) lineage: Option<u64>,
    pub(crate) last_epoch: Option<u64>,
    pub(crate) log_end: Option<u64>,
    pub(crate) high_watermark: Option<u64>,
    pub(crate) keys: Option<u64>,
    /// Whether its log can be the history.
    pub(crate) candidate: bool,
    /// Why it does nothing, if so.
    pub(crate) halted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    pub(crate) subject: String,
    pub(crate) lines: Vec<String>,
}

/// A node's answer to `Status`, checked as far as reports are made from it.
pub(crate) struct Picture {
    reply: v1::StatusReply,
    topology: v1::TopologyUpdate,
    cluster: Option<ClusterId>,
    slots: SlotMap,
}

impl Picture {
    pub(crate) fn of(mut reply: v1::StatusReply) -> Result<Self, Failure> {
        let topology = reply.topology.take().unwrap_or_default();
        let cluster = match reply.cluster_id.as_ref() {
            [] => None,
            bytes => Some(ClusterId(u128::from_be_bytes(
                bytes.try_into().map_err(|_| Failure::malformed("the cluster id has not 16 bytes"))?,
            ))),
        };
        let ranges = topology.slots.iter().map(owned).collect::<Result<Vec<_>, _>>()?;
        let slots = SlotMap::new(ranges).map_err(Failure::malformed)?;
        Ok(Self { reply, topology, cluster, slots })
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    pub(crate) fn slot_map(&self) -> &SlotMap {
        &self.slots
    }

    pub(crate) fn slot_map_version(&self) -> u64 {
        self.topology.slot_map_version
    }

    pub(crate) fn group_ids(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.topology.groups.iter().map(|group| GroupId(group.id)).collect();
        groups.sort_unstable();
        groups
    }

    pub(crate) fn status(&self) -> StatusReport {
        StatusReport {
            cluster: self.cluster.map(|id| id.to_string()),
            health: self.health().health,
            findings: self.findings(),
            slots_served: self.slots.owned_slots(),
            slots_total: usize::from(SLOT_COUNT),
            slot_map_version: self.topology.slot_map_version,
            controller: node(self.reply.controller),
            metadata_reachable: self.reply.metadata_reachable,
            metadata_age_ms: self.reply.metadata_age_ms,
            unreachable: nodes(&self.reply.unreachable),
            groups: self.groups().groups,
            version: self.reply.version.clone(),
        }
    }

    /// The worst of the nodes' findings and of what the topology itself shows: an empty list of findings proves nothing.
    pub(crate) fn health(&self) -> HealthReport {
        let groups = &self.topology.groups;
        let unserved = self.cluster.is_none()
            || self.slots.owned_slots() < usize::from(SLOT_COUNT)
            || groups.iter().any(|group| group.leader == 0);
        let unprotected = groups.iter().any(|group| group.in_sync.len() < group.replicas.len())
            || !self.reply.unreachable.is_empty()
            || !self.reply.metadata_reachable;
        let seen = match (unserved, unprotected) {
            (true, _) => Health::Unhealthy,
            (false, true) => Health::Degraded,
            (false, false) => Health::Healthy,
        };
        let findings = self.findings();
        let told = findings.iter().map(|finding| match finding.severity {
            "critical" => Health::Unhealthy,
            _ => Health::Degraded,
        });
        HealthReport { health: told.chain([seen]).max().unwrap_or(seen), findings }
    }

    pub(crate) fn groups(&self) -> Groups {
        let mut groups: Vec<&v1::Group> = self.topology.groups.iter().collect();
        groups.sort_by_key(|group| group.id);
        Groups { groups: groups.into_iter().map(|group| self.group(group)).collect() }
    }

    pub(crate) fn nodes(&self) -> Nodes {
        let mut found: Vec<&v1::Node> = self.topology.nodes.iter().collect();
        found.sort_by_key(|node| node.id);
        let nodes = found.into_iter().map(|node| {
            let hosted = self.topology.groups.iter().filter(|group| group.replicas.contains(&node.id));
            let (leads, follows): (Vec<_>, Vec<_>) = hosted.partition(|group| group.leader == node.id);
            Node {
                id: NodeId(node.id).to_string(),
                live: node.live,
                answers: !self.reply.unreachable.contains(&node.id),
                zone: node.zone.clone(),
                grpc: node.grpc.clone(),
                resp: node.resp.clone(),
                admin: node.admin.clone(),
                leads: names(leads),
                follows: names(follows),
            }
        });
        Nodes { nodes: nodes.collect() }
    }

    /// The nodes that have registered and run, neighbours in different zones as far as there are any left.
    pub(crate) fn running_by_zone(&self) -> Vec<NodeId> {
        let mut zones: BTreeMap<&str, VecDeque<NodeId>> = BTreeMap::new();
        let mut nodes: Vec<&v1::Node> = self.topology.nodes.iter().filter(|node| node.live).collect();
        nodes.sort_by_key(|node| node.id);
        for node in &nodes {
            zones.entry(&node.zone).or_default().push_back(NodeId(node.id));
        }
        let mut order = Vec::with_capacity(nodes.len());
        while order.len() < nodes.len() {
            order.extend(zones.values_mut().filter_map(VecDeque::pop_front));
        }
        order
    }

    /// The slot map, of one group if one is named.
    pub(crate) fn slots(&self, only: Option<GroupId>) -> Result<Slots, Failure> {
        if let Some(group) = only
            && !self.topology.groups.iter().any(|found| found.id == group.0)
        {
            return Err(no_such_group(group));
        }
        let wanted = self.slots.ranges().iter().filter(|(_, group)| only.is_none_or(|only| only == *group));
        let slots = wanted.map(|&(range, group)| Range {
            first: range.first().number(),
            last: range.last().number(),
            count: range.count(),
            group: group.to_string(),
            leader: self.leader_of(group).and_then(|leader| node(leader.id)),
        });
        Ok(Slots { slot_map_version: self.topology.slot_map_version, slots: slots.collect() })
    }

    pub(crate) fn locate(&self, key: &str) -> Located {
        let slot = Slot::of_key(key.as_bytes());
        let group = self.slots.owner(slot);
        let leader = group.and_then(|group| self.leader_of(group));
        Located {
            key: key.to_owned(),
            slot: slot.number(),
            group: group.map(|group| group.to_string()),
            leader: leader.and_then(|leader| node(leader.id)),
            resp: leader.map(|leader| leader.resp.clone()),
            grpc: leader.map(|leader| leader.grpc.clone()),
        }
    }

    /// Who owns a slot.
    pub(crate) fn group_of(&self, slot: Slot) -> Option<String> {
        self.slots.owner(slot).map(|group| group.to_string())
    }

    /// The groups and where they were put.
    pub(crate) fn assignments(&self) -> Vec<Assignment> {
        self.groups().groups.into_iter().map(|group| Assignment { id: group.id, replicas: group.replicas }).collect()
    }

    fn group(&self, group: &v1::Group) -> Group {
        let id = GroupId(group.id);
        let history = self.reply.histories.iter().find(|history| history.group == group.id);
        let leader =
            self.reply.replicas.iter().find(|r| r.group == group.id && r.node == group.leader && r.role == "leader");
        Group {
            id: id.to_string(),
            epoch: group.epoch,
            leader: node(group.leader),
            in_sync: nodes(&group.in_sync),
            replicas: nodes(&group.replicas),
            min_in_sync: group.min_in_sync,
            lineage: history.map_or(0, |history| history.lineage),
            recovering: history.is_some_and(|history| history.recovering),
            recovery: match history.map(v1::GroupHistory::recovery) {
                Some(v1::RecoveryPolicy::Longest) => "longest",
                _ => "manual",
            },
            slots: self.slots.ranges_of(id).map(SlotRange::count).sum(),
            ranges: self.slots.ranges_of(id).map(|range| range.to_string()).collect(),
            keys: leader.map(|replica| replica.keys),
            live_bytes: leader.map(|replica| replica.live_bytes),
            log_bytes: leader.map(|replica| replica.log_bytes),
            lag_records: leader.map(|replica| replica.lags.iter().map(|lag| lag.records).max().unwrap_or(0)),
        }
    }

    fn leader_of(&self, group: GroupId) -> Option<&v1::Node> {
        let leader = self.topology.groups.iter().find(|found| found.id == group.0)?.leader;
        self.topology.nodes.iter().find(|node| node.id == leader)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.reply.findings.iter().map(Finding::of).collect();
        if self.cluster.is_none() && findings.is_empty() {
            findings.push(Finding {
                severity: "critical",
                subject: "cluster".to_owned(),
                message: "the cluster has not been created yet".to_owned(),
                advice: "simplekv-admin init --groups N --nodes n1-n3".to_owned(),
            });
        }
        findings
    }
}

impl Finding {
    fn of(finding: &v1::Finding) -> Self {
        let critical = finding.severity == v1::finding::Severity::Critical as i32;
        Self {
            severity: if critical { "critical" } else { "warning" },
            subject: finding.subject.clone(),
            message: finding.message.clone(),
            advice: finding.advice.clone(),
        }
    }
}

pub(crate) fn no_such_group(group: GroupId) -> Failure {
    Failure::new(
        crate::failure::Exit::Error,
        format!("there is no group {group}"),
        "nothing was changed",
        "see which there are with `simplekv-admin list-groups`",
    )
}

fn owned(owner: &v1::SlotOwner) -> Result<(SlotRange, GroupId), Failure> {
    let slot = |number: u32| u16::try_from(number).ok().and_then(Slot::new);
    let range = slot(owner.first).zip(slot(owner.last)).and_then(|(first, last)| SlotRange::new(first, last));
    let range = range.ok_or_else(|| Failure::malformed(format!("{}-{} are no slots", owner.first, owner.last)))?;
    Ok((range, GroupId(owner.group)))
}

/// 0 stands for none.
fn node(id: u32) -> Option<String> {
    (id != 0).then(|| NodeId(id).to_string())
}

fn nodes(ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| NodeId(id).to_string()).collect()
}

fn names(groups: Vec<&v1::Group>) -> Vec<String> {
    let ids: BTreeSet<GroupId> = groups.into_iter().map(|group| GroupId(group.id)).collect();
    ids.into_iter().map(|id| id.to_string()).collect()
}

#[cfg(test)]
pub(crate) mod tests;

//! What can be typed.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args as Group_, Parser, Subcommand};
use simplekv_types::{GroupId, NodeId, RecoveryPolicy, Slot, SlotRange};

use crate::report::Assignment;
use crate::report::load::SlotOrder;

/// Looks at a simplekv cluster and changes it.
#[derive(Debug, Parser)]
#[command(name = "simplekv-admin", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Admin address of any node of the cluster
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:7412", env = "SIMPLEKV_SERVER")]
    pub(crate) server: String,
    /// Print one JSON document (with --watch one per line) instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for an answer, or for health: 500ms, 10s, 5m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Never colour the output (as with NO_COLOR, or when stdout is no terminal)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the cluster: its groups and the slot map
    Init(Init),
    /// The cluster at a glance: health, groups, slots
    Status,
    /// Whether everything is served and replicated; exits with 3 if not
    Health(Health),
    /// Create a group; it owns no slots at first
    AddGroup(AddGroup),
    /// Groups with their leaders and in-sync replicas
    ListGroups,
    /// Nodes with their addresses and what they host
    ListNodes,
    /// Which group owns which slots
    Slots {
        /// Only the slots of this group
        #[arg(long, value_name = "GROUP")]
        group: Option<GroupId>,
    },
    /// Where a key lives
    FindSlot {
        /// The key, as text
        key: String,
    },
    /// Hand a group's leadership to another in-sync replica
    TransferLeader {
        /// The group
        group: GroupId,
        /// The node that shall lead; by default the most suitable in-sync replica
        #[arg(long, value_name = "NODE")]
        to: Option<NodeId>,
    },
    /// Let a group go on that has lost all its in-sync replicas; tells first what that costs
    RecoverGroup(RecoverGroup),
    /// Say who decides how a group goes on after such a loss
    SetRecovery {
        /// The group
        group: GroupId,
        /// `manual`: an operator; `longest`: the controller, for the longest log
        #[arg(value_name = "manual|longest")]
        policy: RecoveryPolicy,
    },
    /// Move slots to a group, under whatever load; Ctrl-C detaches, the move goes on
    MigrateSlot(MigrateSlot),
    /// Move slots until all groups carry equal shares
    Rebalance(Rebalance),
    /// Move everything a group owns to the others, then remove it
    RemoveGroup(RemoveGroup),
    /// Jobs that move slots: list, show, watch, pause, resume, cancel
    #[command(subcommand)]
    Migrations(Migrations),
    /// A plan that `--dry-run --out` has written: show, verify, apply
    #[command(subcommand)]
    Plan(Plan),
    /// Which keys are read and written most, by estimate
    HotKeys(HotKeys),
    /// Which slots are asked or hold most, counted exactly
    HotSlots(HotSlots),
    /// Why a group, node or slot is as it is
    #[command(subcommand)]
    Explain(Explain),
}

#[derive(Debug, Group_)]
pub(crate) struct Init {
    /// How many groups to spread over the nodes
    #[arg(long, value_name = "N", required_unless_present = "group", conflicts_with = "group")]
    pub(crate) groups: Option<u32>,
    /// With --groups: the nodes of the cluster, as in n1-n6 or n1,n2,n5, running or not [default: those that run]
    #[arg(long, value_name = "NODE-NODE,...", value_parser = nodes, conflicts_with = "group")]
    pub(crate) nodes: Option<NodeList>,
    /// With --groups: how many replicas each group gets [default: 3, or one on each of --nodes if those are fewer]
    #[arg(long, value_name = "N", conflicts_with = "group")]
    pub(crate) replicas: Option<u32>,
    /// One group and its nodes, the preferred leader first: g1=n1,n2,n3. May be repeated
    #[arg(long, value_name = "GROUP=NODE,...")]
    pub(crate) group: Vec<Placement>,
    /// How many in-sync replicas must hold a write before it is acknowledged [default: 2 of three or more, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) min_in_sync: Option<u32>,
    /// Who decides how a group goes on that has lost all its in-sync replicas: an operator, or the controller, for the longest log
    #[arg(long, value_name = "manual|longest", default_value_t)]
    pub(crate) recovery: RecoveryPolicy,
    /// Succeed without a change if the cluster exists already
    #[arg(long)]
    pub(crate) if_needed: bool,
}

#[derive(Debug, Group_)]
pub(crate) struct Health {
    /// Go on watching, and print when something changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// Wait until the cluster is healthy, for at most --timeout
    #[arg(long)]
    pub(crate) exit_when_healthy: bool,
}

#[derive(Debug, Group_)]
pub(crate) struct AddGroup {
    /// The group's number; by default the next free one
    pub(crate) group: Option<GroupId>,
    /// Its nodes, the preferred leader first
    #[arg(long, value_name = "NODE,...", value_delimiter = ',', required = true)]
    pub(crate) replicas: Vec<NodeId>,
    /// How many in-sync replicas must hold a write before it is acknowledged [default: 2 of three or more, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) min_in_sync: Option<u32>,
    /// Who decides how it goes on if it loses all its in-sync replicas: an operator, or the controller, for the longest log
    #[arg(long, value_name = "manual|longest", default_value_t)]
    pub(crate) recovery: RecoveryPolicy,
}

#[derive(Debug, Group_)]
pub(crate) struct RecoverGroup {
    /// The group
    pub(crate) group: GroupId,
    /// The node whose log shall be the group's history; by default the one whose log reaches furthest
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<NodeId>,
    /// Nodes whose in-sync replicas are gone for ever: their disks will not come back, and no process with them still runs
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub(crate) lost: Vec<NodeId>,
    /// How many in-sync replicas a write needs from now on, if there are not enough nodes left for as many as before
    #[arg(long, value_name = "N")]
    pub(crate) min_in_sync: Option<u32>,
    /// Only tell what it would cost
    #[arg(long, conflicts_with = "accept_data_loss")]
    pub(crate) dry_run: bool,
    /// Do it without asking
    #[arg(long, visible_alias = "yes")]
    pub(crate) accept_data_loss: bool,
}

#[derive(Debug, Group_)]
pub(crate) struct MigrateSlot {
    /// Slots and ranges of slots: 0-99,5461,16383
    #[arg(value_name = "SLOTS", value_parser = slot_list)]
    pub(crate) slots: SlotList,
    /// The group that shall own them
    #[arg(long, value_name = "GROUP")]
    pub(crate) to: GroupId,
    #[command(flatten)]
    pub(crate) how: Carrying,
}

#[derive(Debug, Group_)]
pub(crate) struct Rebalance {
    /// What is to be equal
    #[arg(long, value_name = "FIGURE", value_enum, default_value = "slots")]
    pub(crate) by: Figure,
    /// With --by ops: how long operations are counted
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(crate) over: Duration,
    #[command(flatten)]
    pub(crate) how: Carrying,
}

#[derive(Debug, Group_)]
pub(crate) struct RemoveGroup {
    /// The group
    pub(crate) group: GroupId,
    #[command(flatten)]
    pub(crate) how: Carrying,
}

/// How a plan is carried out.
#[derive(Debug, Group_)]
pub(crate) struct Carrying {
    /// Only show what would be moved
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: write the plan to this file, for `plan apply`
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(crate) out: Option<std::path::PathBuf>,
    /// Order it and return at once
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) detach: bool,
}

/// What groups are to carry equal shares of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Figure {
    /// Slots
    Slots,
    /// Bytes of records
    Bytes,
    /// Operations a second
    Ops,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Migrations {
    /// All jobs: those under way, and those that ended lately
    List,
    /// One job with everything that is on its way
    Show { job: String },
    /// Follow a job until it ends; without a name the latest
    Watch { job: Option<String> },
    /// Begin nothing more; what is on its way goes on
    Pause { job: String },
    /// Go on with a job that was paused
    Resume { job: String },
    /// Begin nothing more, and abort what is on its way if it can be
    Cancel { job: String },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Plan {
    /// Show what it moves
    Show { file: std::path::PathBuf },
    /// Whether it could be applied now; exits with 4 if the cluster has changed since
    Verify { file: std::path::PathBuf },
    /// Carry it out, unless the cluster has changed since
    Apply {
        file: std::path::PathBuf,
        /// Order it and return at once
        #[arg(long)]
        detach: bool,
    },
}

/// Ranges of slots in order, without overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotList(pub(crate) Vec<SlotRange>);

#[derive(Debug, Group_)]
pub(crate) struct HotKeys {
    /// At most so many keys that are read, and as many that are written
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Debug, Group_)]
pub(crate) struct HotSlots {
    /// At most so many slots
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// What they are put in order by
    #[arg(long, value_name = "FIGURE", value_enum, default_value = "ops")]
    pub(crate) by: SlotOrder,
    /// How long operations are counted: 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(crate) over: Duration,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Explain {
    /// Why a group has this leader and these in-sync replicas
    Group { group: GroupId },
    /// What a node does and lacks
    Node { node: NodeId },
    /// Who serves a slot and why
    Slot {
        #[arg(value_parser = slot)]
        slot: Slot,
    },
}

/// A group and the nodes it is assigned to, as in `g1=n1,n2,n3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) group: GroupId,
    /// Invariant: not empty, without repetition.
    pub(crate) replicas: Vec<NodeId>,
}

impl Placement {
    pub(crate) fn assignment(&self) -> Assignment {
        Assignment { id: self.group.to_string(), replicas: self.replicas.iter().map(NodeId::to_string).collect() }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (group, nodes) = text.split_once('=').ok_or("expected a group and its nodes, like `g1=n1,n2,n3`")?;
        let group = group.parse().map_err(|error| format!("{error}"))?;
        let mut replicas = Vec::new();
        for node in nodes.split(',') {
            let node: NodeId = node.parse().map_err(|error| format!("{error}"))?;
            if replicas.contains(&node) {
                return Err(format!("{node} is named twice"));
            }
            replicas.push(node);
        }
        Ok(Self { group, replicas })
    }
}

/// Nodes in the order given, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeList(pub(crate) Vec<NodeId>);

/// Most nodes a list may name; a typing error should not fill the memory.
const NODES_MAX: u32 = 10_000;

/// `n1,n2,n5`, `n1-n6`, and both mixed.
fn nodes(text: &str) -> Result<NodeList, String> {
    let mut nodes = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last]: [NodeId; 2] =
            [first.parse().map_err(|error| format!("{error}"))?, last.parse().map_err(|error| format!("{error}"))?];
        if first > last {
            return Err(format!("{part} ends before it begins"));
        }
        if last.0 - first.0 >= NODES_MAX {
            return Err(format!("{part} names more than {NODES_MAX} nodes"));
        }
        for node in (first.0..=last.0).map(NodeId) {
            if nodes.contains(&node) {
                return Err(format!("{node} is named twice"));
            }
            nodes.push(node);
        }
    }
    Ok(NodeList(nodes))
}

/// `0-99,5461`.
fn slot_list(text: &str) -> Result<SlotList, String> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let range: SlotRange = part
            .trim()
            .parse()
            .map_err(|_| format!("`{part}` is no slot or range of slots: 0 to 16383, as in 0-99"))?;
        ranges.push(range);
    }
    ranges.sort_unstable();
    match ranges.array_windows::<2>().find(|[one, other]| one.overlaps(*other)) {
        Some([one, other]) => Err(format!("{one} and {other} overlap")),
        None => Ok(SlotList(ranges)),
    }
}

fn slot(text: &str) -> Result<Slot, String> {
    let number: u16 = text.parse().map_err(|_| "expected a slot number, 0 to 16383".to_owned())?;
    Slot::try_from(number)
}

/// `500ms`, `10s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or("a time needs its unit: 500ms, 10s, 5m")?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a time like 500ms, 10s or 5m"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is not a unit of time: ms, s, m or h")),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_placement_names_a_group_and_its_nodes() {
        let placement: Placement = "g2=n4,5,n6".parse().unwrap();
        assert_eq!(placement, Placement { group: GroupId(2), replicas: vec![NodeId(4), NodeId(5), NodeId(6)] });
        for wrong in ["", "g1", "g1=", "g1=n1,", "n1=n1", "g1=n1,n1", "g1=g1"] {
            assert!(wrong.parse::<Placement>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_listed_or_ranged() {
        let read = |text| nodes(text).map(|list| list.0.iter().map(|node| node.0).collect::<Vec<_>>());
        assert_eq!(read("n1-n3,5"), Ok(vec![1, 2, 3, 5]));
        assert_eq!(read("n2,n1"), Ok(vec![2, 1]));
        for wrong in ["", "n1,", "n3-n1", "n1,n1", "n1-n3,n2", "g1", "n0", "1-4000000000"] {
            assert!(nodes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_carry_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "10", "s", "-1s", "1 s", "1d", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_usual_calls_are_understood() {
        for line in [
            "init --groups 2",
            "init --groups 2 --nodes n1-n6 --replicas 3",
            "init --group g1=n1,n2,n3 --group g2=n4,n5,n6 --if-needed",
            "health --watch --exit-when-healthy --timeout 30s",
            "add-group g3 --replicas n7,n8,n9",
            "list-groups --json --server db1:7412",
            "find-slot user:1",
            "transfer-leader g1 --to n2",
            "explain slot 16383",
            "recover-group g1 --lost n1,n3 --to n2 --min-in-sync 1 --dry-run",
            "recover-group g1 --yes",
            "set-recovery g1 longest",
            "migrate-slot 0-99,5461 --to g2 --detach",
            "rebalance --by bytes --dry-run --out plan.json",
            "remove-group g3",
            "migrations watch",
            "migrations cancel j4",
            "plan apply plan.json",
        ] {
            Args::try_parse_from(["simplekv-admin"].into_iter().chain(line.split(' ')))
                .unwrap_or_else(|e| panic!("{e}"));
        }
        for line in [
            "init",
            "init --nodes n1-n3",
            "init --groups 2 --nodes 1 --group g1=n1",
            "add-group g3",
            "explain slot 16384",
            "transfer-leader n1",
            "recover-group",
            "recover-group g1 --dry-run --accept-data-loss",
            "set-recovery g1 fastest",
            "migrate-slot 0-16384 --to g2",
            "migrate-slot 0-9,5 --to g2",
            "migrate-slot 5",
            "rebalance --out plan.json",
            "rebalance --by luck",
        ] {
            assert!(Args::try_parse_from(["simplekv-admin"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
    }
}

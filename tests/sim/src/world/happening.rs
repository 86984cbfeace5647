//! What happens, and to whom.

use simplekv_cluster::migration::{MoveEvent, MoveMessage, MoveRequest};

use super::*;
use crate::machine::NodeFile;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    Start { node: NodeId },
    Host { node: NodeId, run: RunId, file: Box<NodeFile> },
    Kill { node: NodeId },
    PowerLoss { node: NodeId },
    Mend,
    Elect { group: GroupId, candidate: NodeId },
    Deliver(Envelope),
    Wake { node: NodeId, run: RunId, group: GroupId },
    Tell { node: NodeId, run: RunId, group: GroupId, event: Event },
    FlushBegins { node: NodeId, run: RunId, group: GroupId },
    FlushEnds { node: NodeId, run: RunId, group: GroupId, mark: Option<(Lsn, u64)>, probe: Option<u64>, synced: bool },
    Execute { asker: Asker, id: RequestId, ask: Ask, answer: bool },
    SlotsRead { node: NodeId, run: RunId, group: GroupId, found: bool },
    TellMove { node: NodeId, run: RunId, group: GroupId, event: MoveEvent },
    DeliverMove { node: NodeId, group: GroupId, message: MoveMessage },
    ExecuteMove { node: NodeId, run: RunId, group: GroupId, id: RequestId, request: MoveRequest, answer: bool },
    Decide { group: GroupId, to: Option<NodeId>, shown: String },
    Recover { change: simplekv_meta::GroupChange },
    Inspect { node: NodeId, run: RunId, group: GroupId, found: Vec<(NodeFacts, Vec<StorageId>)> },
    Rebuild { node: NodeId, run: RunId, group: GroupId, lineage: Lineage },
    RegisterLate { node: NodeId, expected: Revision, record: NodeRecord },
    Seen { node: NodeId, run: RunId, seen: Seen },
    Relist { node: NodeId, run: RunId },
    KeepAlive { node: NodeId, run: RunId },
    SessionDue { session: SessionId },
    TellController { node: NodeId, run: RunId, event: ControllerEvent },
    Arrive { node: NodeId, request: Request },
    Confirm { node: NodeId, run: RunId, request: Request, read: requests::Unproved },
    OutOfPatience { node: NodeId, number: u64 },
    Answered { client: usize, flight: u64, attempt: u32, answer: Answer, group: GroupId },
    Lost { client: usize, flight: u64, attempt: u32, sent: bool },
    AttemptEnds { client: usize, flight: u64, attempt: u32 },
    PauseEnds { client: usize, flight: u64, pause: u32 },
    Think { client: usize, task: usize },
    Topology { client: usize, version: Revision },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Replica { node: NodeId, run: RunId, group: GroupId },
    Controller { node: NodeId, run: RunId },
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Replica(GroupId, MetadataRequest),
    Controller(GroupId, Box<GroupChange>, simplekv_meta::Office),
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Group(GroupId, GroupRecord, Revision),
    Nodes(Vec<NodeFacts>),
}

impl Happening {
    /// Whether it is meant for a replica that is put away, and for nobody else. What it had asked of the store is done all the same.
    pub(super) fn lose_with(&mut self, id: NodeId, of: GroupId) -> bool {
        match self {
            Self::Wake { node, group, .. }
            | Self::Tell { node, group, .. }
            | Self::FlushBegins { node, group, .. }
            | Self::FlushEnds { node, group, .. }
            | Self::SlotsRead { node, group, .. }
            | Self::TellMove { node, group, .. }
            | Self::DeliverMove { node, group, .. } => (*node, *group) == (id, of),
            Self::Confirm { node, request, .. } => (*node, request.group) == (id, of),
            Self::Execute { asker: Asker::Replica { node, group, .. }, answer, .. }
            | Self::ExecuteMove { node, group, answer, .. } => {
                *answer &= (*node, *group) != (id, of);
                false
            }
            _ => false,
        }
    }

    /// The node whose process has to run for it.
    pub(super) fn suspended_with(&self) -> Option<NodeId> {
        match self {
            Self::Deliver(envelope) => Some(envelope.to),
            Self::Wake { node, .. }
            | Self::Tell { node, .. }
            | Self::FlushBegins { node, .. }
            | Self::SlotsRead { node, .. }
            | Self::TellMove { node, .. }
            | Self::DeliverMove { node, .. }
            | Self::Inspect { node, .. }
            | Self::Rebuild { node, .. }
            | Self::Seen { node, .. }
            | Self::Relist { node, .. }
            | Self::KeepAlive { node, .. }
            | Self::TellController { node, .. }
            | Self::Arrive { node, .. }
            | Self::Confirm { node, .. }
            | Self::OutOfPatience { node, .. } => Some(*node),
            _ => None,
        }
    }
}

//! Making groups and handing over their leadership.

use serde::Serialize;
use simplekv_proto::v1;
use simplekv_types::{GroupId, NodeId};

use crate::args::AddGroup;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Output, Render};
use crate::report::{Assignment, Transferred};

#[derive(Serialize)]
struct Added {
    group: Assignment,
}

impl Render for Added {
    fn render(&self, _: bool) -> String {
        format!("created {} on {}; it owns no slots yet", self.group.id, self.group.replicas.join(", "))
    }
}

pub(super) async fn add(node: &mut Connection, add: &AddGroup, output: &mut Output) -> Result<(), Failure> {
    let group = v1::NewGroup {
        id: add.group.map_or(0, |group| group.0),
        replicas: add.replicas.iter().map(|node| node.0).collect(),
        min_in_sync: add.min_in_sync.unwrap_or(0),
        recovery: super::recovery::wire(add.recovery).into(),
    };
    let reply = node.add_group(v1::AddGroupRequest { group: Some(group) }).await?;
    let replicas = add.replicas.iter().map(NodeId::to_string).collect();
    output.data(&Added { group: Assignment { id: GroupId(reply.group).to_string(), replicas } })
}

pub(super) async fn transfer_leader(
    node: &mut Connection,
    group: GroupId,
    to: Option<NodeId>,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = v1::TransferLeaderRequest { group: group.0, to: to.map_or(0, |node| node.0) };
    let reply = node.transfer_leader(request).await?;
    let leader = NodeId(reply.leader).to_string();
    output.data(&Transferred { group: group.to_string(), leader, epoch: reply.epoch })
}

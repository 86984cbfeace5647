//! Creating the cluster.

use simplekv_proto::v1;
use simplekv_types::ClusterId;

use super::look;
use crate::args::{Init, NodeList, Placement};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::placement::spread;
use crate::report::{Initialised, Picture};

/// Replicas of a group unless told otherwise.
const REPLICAS: usize = 3;

pub(super) async fn run(node: &mut Connection, init: &Init, output: &mut Output) -> Result<(), Failure> {
    let before = look(node).await?;
    if let Some(cluster) = before.cluster() {
        return exists(cluster, &before, init, output);
    }
    let placements = placements(init, &before)?;
    let groups = placements.iter().map(|placement| new_group(placement, init)).collect();
    let created = match node.init(v1::InitRequest { groups }).await {
        Ok(reply) => cluster_id(&reply.cluster_id)?,
        // Somebody else was faster, as when every node of a deployment runs `init --if-needed`.
        Err(failure) if failure.exit == Exit::Precondition && init.if_needed => {
            let after = look(node).await?;
            let cluster = after.cluster().ok_or(failure)?;
            return exists(cluster, &after, init, output);
        }
        Err(failure) => return Err(failure),
    };
    let groups = placements.iter().map(Placement::assignment).collect();
    output.data(&Initialised { cluster: created.to_string(), groups, created: true })
}

fn exists(cluster: ClusterId, picture: &Picture, init: &Init, output: &mut Output) -> Result<(), Failure> {
    if !init.if_needed {
        return Err(Failure::precondition(
            format!("cluster {cluster} exists already"),
            "look at it with `simplekv-admin status`; --if-needed accepts a cluster that exists",
        ));
    }
    output.data(&Initialised { cluster: cluster.to_string(), groups: picture.assignments(), created: false })
}

/// The groups as told, or spread over the nodes that were named, or else over those that run.
fn placements(init: &Init, picture: &Picture) -> Result<Vec<Placement>, Failure> {
    let Some(groups) = init.groups else { return Ok(init.group.clone()) };
    let wrong = |what: String, next| Failure::new(Exit::Usage, what, "nothing was changed", next);
    if groups == 0 {
        return Err(wrong("a cluster needs a group".to_owned(), "give --groups 1 or more"));
    }
    let replicas = match (init.replicas, &init.nodes) {
        (Some(0), _) => return Err(wrong("a group needs a replica".to_owned(), "give --replicas 1 or more")),
        (Some(replicas), _) => replicas as usize,
        (None, Some(NodeList(nodes))) => REPLICAS.min(nodes.len()),
        // Whoever is still starting must not be left out for ever because it was late.
        (None, None) => REPLICAS,
    };
    match &init.nodes {
        Some(NodeList(nodes)) if nodes.len() < replicas => {
            let what = format!("{replicas} replicas need as many nodes, and {} were named", nodes.len());
            Err(wrong(what, "name more --nodes, or give fewer --replicas"))
        }
        Some(NodeList(nodes)) => Ok(spread(nodes, groups, replicas)),
        None => match picture.running_by_zone() {
            nodes if nodes.len() < replicas => Err(Failure::precondition(
                format!("{replicas} replicas need as many nodes, and {} have registered and run", nodes.len()),
                "start the others (`simplekv-admin list-nodes` shows who is there), name --nodes, or give --replicas",
            )),
            nodes => Ok(spread(&nodes, groups, replicas)),
        },
    }
}

fn new_group(placement: &Placement, init: &Init) -> v1::NewGroup {
    v1::NewGroup {
        id: placement.group.0,
        replicas: placement.replicas.iter().map(|node| node.0).collect(),
        min_in_sync: init.min_in_sync.unwrap_or(0),
        recovery: super::recovery::wire(init.recovery).into(),
    }
}

fn cluster_id(bytes: &[u8]) -> Result<ClusterId, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::malformed("the cluster id has not 16 bytes"))?;
    Ok(ClusterId(u128::from_be_bytes(bytes)))
}

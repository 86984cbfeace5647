//! Topology for smart clients: any address is enough for them to find all nodes, a router's too.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use simplekv_client::{Group, Node, NodeId, Topology};
use simplekv_proto::v1;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::limits;
use crate::shared::Shared;

/// A watcher that has heard nothing for this long hears that nothing changed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// What the router knows, as nodes tell it.
#[derive(Debug)]
pub(super) struct TopologyService {
    shared: Arc<Shared>,
}

impl TopologyService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl v1::topology_server::Topology for TopologyService {
    type WatchStream = BoxStream<'static, Result<v1::TopologyUpdate, Status>>;

    async fn get(&self, request: Request<v1::GetTopologyRequest>) -> Result<Response<v1::TopologyUpdate>, Status> {
        limits::has_arrived(request.extensions());
        Ok(Response::new(update(&self.shared.topology())))
    }

    async fn watch(&self, request: Request<v1::WatchTopologyRequest>) -> Result<Response<Self::WatchStream>, Status> {
        limits::has_arrived(request.extensions());
        let (shared, topologies) = (Arc::clone(&self.shared), self.shared.topologies());
        let watched = Watched { shared, topologies, known: request.into_inner().version, is_told: false };
        let told = stream::unfold(watched, |mut watched| async move { Some((Ok(watched.next().await?), watched)) });
        Ok(Response::new(told.boxed()))
    }
}

/// A topology somebody watches.
struct Watched {
    shared: Arc<Shared>,
    topologies: watch::Receiver<Arc<Topology>>,
    /// The version the watcher has.
    known: u64,
    /// Whether it was told anything yet.
    is_told: bool,
}

impl Watched {
    /// What is told next; `None` when the router stops. A slow watcher skips what was replaced before it could be told.
    async fn next(&mut self) -> Option<v1::TopologyUpdate> {
        if std::mem::replace(&mut self.is_told, true) {
            tokio::select! {
                changed = tokio::time::timeout(SIGN_OF_LIFE, self.topologies.changed()) => {
                    if let Ok(changed) = changed {
                        changed.ok()?;
                    }
                }
                () = self.shared.stopping.cancelled() => return None,
            }
        }
        let topology = Arc::clone(&self.topologies.borrow_and_update());
        let (known, version) = (self.known, topology.version());
        self.known = version;
        if version == known && !topology.is_unknown() {
            return Some(v1::TopologyUpdate { version, unchanged: true, ..v1::TopologyUpdate::default() });
        }
        Some(update(&topology))
    }
}

/// A topology as it is told; without a cluster as long as none is known.
fn update(topology: &Topology) -> v1::TopologyUpdate {
    if topology.is_unknown() {
        return v1::TopologyUpdate::default();
    }
    let slots = topology.ranges().into_iter().map(|(range, group)| v1::SlotOwner {
        first: range.first().number().into(),
        last: range.last().number().into(),
        group: group.0,
    });
    v1::TopologyUpdate {
        version: topology.version(),
        unchanged: false,
        cluster_id: topology.cluster().0.to_be_bytes().to_vec().into(),
        slot_map_version: topology.slot_map_version().0,
        slots: slots.collect(),
        groups: topology.groups().iter().map(group).collect(),
        nodes: topology.nodes().iter().map(node).collect(),
        // Always the whole: few clients find their cluster through a router.
        since: 0,
        gone_groups: Vec::new(),
        gone_nodes: Vec::new(),
    }
}

fn group(group: &Group) -> v1::Group {
    let nodes = |ids: &[NodeId]| ids.iter().map(|id| id.0).collect();
    v1::Group {
        id: group.id.0,
        epoch: group.epoch.0,
        leader: group.leader.map_or(0, |leader| leader.0),
        in_sync: nodes(&group.in_sync),
        replicas: nodes(&group.replicas),
        min_in_sync: group.min_in_sync,
        group_time: group.time().0,
    }
}

fn node(node: &Node) -> v1::Node {
    let addresses = node.addresses.clone();
    v1::Node {
        id: node.id.0,
        grpc: addresses.grpc,
        resp: addresses.resp,
        admin: addresses.admin,
        zone: node.zone.clone(),
        live: node.live,
    }
}

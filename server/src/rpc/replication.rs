//! Messages of other replicas, on their way to the groups they concern.

use std::sync::Arc;

use simplekv_cluster::ControllerEvent;
use simplekv_cluster::migration::MoveEvent;
use simplekv_proto::convert::{cluster_id, election_sender};
use simplekv_proto::v1;
use simplekv_proto::v1::replication_server::Replication;
use simplekv_types::peer::Envelope;
use simplekv_types::{Epoch, GroupId, Member, Naming};
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::controller::Orders;
use crate::hosted::Order;
use crate::moves::wire;
use crate::rpc::status;
use crate::shared::Shared;

/// The replication service of one node.
#[derive(Debug)]
pub(crate) struct ReplicationService {
    shared: Arc<Shared>,
    orders: Orders,
}

impl ReplicationService {
    pub(crate) fn new(shared: Arc<Shared>, orders: Orders) -> Self {
        Self { shared, orders }
    }
}

#[tonic::async_trait]
impl Replication for ReplicationService {
    async fn deliver(&self, request: Request<Streaming<v1::PeerFrame>>) -> Result<Response<v1::Delivered>, Status> {
        let mut frames = request.into_inner();
        while let Some(next) = self.shared.stopping().run_until_cancelled(frames.message()).await {
            let Some(frame) = next? else { break };
            for v1::Said { cluster_id: cluster, channel, message } in frame.said {
                let cluster = cluster_id(&cluster).map_err(|error| status::malformed(&error))?;
                if self.shared.cluster() != Some(cluster) {
                    return Err(status::other_cluster(cluster));
                }
                self.shared.channels().publish(Naming::Channel, &channel, &message);
            }
            for wire in frame.moves {
                let arrived = wire::arrive(wire).map_err(|error| status::invalid(error.to_string()))?;
                if self.shared.cluster() != Some(arrived.cluster) {
                    return Err(status::other_cluster(arrived.cluster));
                }
                // Of a group that is not here any more: to the other side, a lost message.
                if let Some(group) = self.shared.hosted(arrived.to) {
                    group.tell(Order::Move(MoveEvent::Received(arrived.message)));
                }
            }
            for wire in frame.envelopes {
                let envelope = Envelope::try_from(wire).map_err(|error| status::malformed(&error))?;
                if self.shared.cluster() != Some(envelope.cluster) {
                    return Err(status::other_cluster(envelope.cluster));
                }
                match self.shared.hosted(envelope.group) {
                    // Waits while the group is busy: the stream's flow control then holds the sender.
                    Some(group) => group.receive(envelope).await,
                    None => {
                        debug!(group = %envelope.group, peer = %envelope.from.node, "message for a group not hosted here")
                    }
                }
            }
        }
        Ok(Response::new(v1::Delivered {}))
    }

    async fn request_election(&self, request: Request<v1::ElectionRequest>) -> Result<Response<v1::Delivered>, Status> {
        let request = request.into_inner();
        let malformed = |error| status::malformed(&error);
        let cluster = cluster_id(&request.cluster_id).map_err(malformed)?;
        if self.shared.cluster() != Some(cluster) {
            return Err(status::other_cluster(cluster));
        }
        let from = election_sender(&request).map_err(malformed)?;
        let unheard = request.unheard.into_iter().map(Member::try_from).collect::<Result<_, _>>().map_err(malformed)?;
        let (group, epoch) = (GroupId(request.group), Epoch(request.epoch));
        if !self.orders.send(ControllerEvent::ElectionRequested { group, epoch, from, unheard }) {
            return Err(status::refused("this node is not the controller"));
        }
        Ok(Response::new(v1::Delivered {}))
    }
}

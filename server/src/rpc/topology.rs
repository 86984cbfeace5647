//! Topology as clients see it: once, or pushed at each change.

use std::sync::Arc;

use simplekv_proto::v1;
use simplekv_proto::v1::topology_server::Topology;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::picture::Picture;
use crate::routing::Routing;
use crate::shared::Shared;

/// The topology service of one node.
#[derive(Debug)]
pub(crate) struct TopologyService {
    shared: Arc<Shared>,
}

impl TopologyService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl Topology for TopologyService {
    type WatchStream = ReceiverStream<Result<v1::TopologyUpdate, Status>>;

    async fn get(&self, _: Request<v1::GetTopologyRequest>) -> Result<Response<v1::TopologyUpdate>, Status> {
        Ok(Response::new(self.shared.topology()))
    }

    async fn watch(&self, request: Request<v1::WatchTopologyRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, updates) = mpsc::channel(4);
        let push = push(Arc::clone(&self.shared), request.into_inner(), sender);
        tokio::spawn(self.shared.stopping().clone().run_until_cancelled_owned(push));
        Ok(Response::new(ReceiverStream::new(updates)))
    }
}

/// Ends when the watcher or the node is gone. A slow watcher skips what was replaced before it could be sent.
async fn push(
    shared: Arc<Shared>,
    asked: v1::WatchTopologyRequest,
    watcher: mpsc::Sender<Result<v1::TopologyUpdate, Status>>,
) {
    let mut routing = shared.routing_changes();
    let mut known = asked.version;
    let mut told: Option<Arc<Routing>> = None;
    loop {
        let now = Arc::clone(&routing.borrow_and_update());
        let update = match told.filter(|told| asked.differences && told.is_of_cluster_of(&now)) {
            _ if now.version == known => {
                v1::TopologyUpdate { version: known, unchanged: true, ..v1::TopologyUpdate::default() }
            }
            Some(told) => shared.difference(&told, &now),
            None => shared.topology_of(&now),
        };
        known = now.version;
        told = Some(now);
        if watcher.send(Ok(update)).await.is_err() {
            return;
        }
        tokio::select! {
            changed = routing.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Picture::SIGN_OF_LIFE) => (),
            () = watcher.closed() => return,
        }
    }
}

//! The topology as a node tells it, without a node: to see what that costs in clusters larger than a machine can run.

use std::time::Duration;

use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_types::GroupId;

use crate::routing::Routing;

/// Where slots, groups and nodes are, as one node would tell its clients.
#[derive(Clone, Debug)]
pub struct Picture {
    routing: Routing,
}

impl Picture {
    /// A watcher that has heard nothing for this long hears that nothing changed.
    pub const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

    /// What a node makes of the metadata.
    #[must_use]
    pub fn of(view: &ClusterView) -> Self {
        Self { routing: Routing::of(view) }
    }

    /// Whether a node that had `before` would tell anybody.
    #[must_use]
    pub fn differs(&self, before: &Self) -> bool {
        self.routing.differs(&before.routing)
    }

    /// What it tells a client that knows nothing. `time` is every group's, in milliseconds.
    #[must_use]
    pub fn whole(&self, time: u64) -> v1::TopologyUpdate {
        self.routing.update(|_: GroupId| time)
    }

    /// What it tells a client that it has told `before`.
    #[must_use]
    pub fn since(&self, before: &Self, time: u64) -> v1::TopologyUpdate {
        self.routing.update_since(&before.routing, |_: GroupId| time)
    }
}

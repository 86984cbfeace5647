//! What sessions ask about the router.

use std::borrow::Cow;

use simplekv_client::{Group, Node, NodeId, Topology};
use simplekv_resp::control::Credentials;
use simplekv_resp::facts::{
    ClusterFacts, GroupFacts, InfoFacts, Mode, NodeFacts, RoleFacts, Verdict, group_id, node_id,
};
use simplekv_resp::{Clients, Facts, SlowLog};

use crate::metrics::client_stats;
use crate::shared::Shared;

/// The router as one of its connections sees it.
pub(crate) struct RouterFacts<'a> {
    pub(crate) shared: &'a Shared,
}

/// The wall clock, for clients who ask for it; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the edge: TIME and CLIENT LIST tell the hour")]
pub(crate) fn now_micros() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// What the client knows of the cluster. Of the groups' logs it knows nothing.
fn places(topology: &Topology) -> ClusterFacts {
    let nodes = topology.nodes();
    let place = |node: &NodeId| nodes.iter().position(|known| known.id == *node);
    let node = |node: &Node| {
        let (host, port) = node.addresses.resp.rsplit_once(':').unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let id = node_id(topology.cluster(), node.id);
        NodeFacts { id, host, port: port.parse().unwrap_or(0), is_up: node.live }
    };
    let ranges = topology.ranges();
    let group = |group: &Group| GroupFacts {
        id: group_id(topology.cluster(), group.id),
        slots: ranges.iter().filter(|(_, owner)| *owner == group.id).map(|(range, _)| *range).collect(),
        leader: group.leader.as_ref().and_then(place),
        followers: group.in_sync.iter().filter(|node| Some(**node) != group.leader).filter_map(place).collect(),
        epoch: group.epoch.0,
        log_end: 0,
    };
    ClusterFacts {
        myself: 0,
        nodes: nodes.iter().map(node).collect(),
        groups: topology.groups().iter().map(group).collect(),
    }
}

impl Facts for RouterFacts<'_> {
    fn now_micros(&self) -> u64 {
        now_micros()
    }

    fn mode(&self) -> Mode {
        Mode::Standalone
    }

    fn role(&self) -> RoleFacts {
        RoleFacts::default()
    }

    fn info(&self) -> InfoFacts {
        let metrics = &self.shared.metrics;
        let totals = metrics.recent_totals();
        let lines = client_stats(&self.shared.client).map(|(name, _, value)| (name, value.to_string()));
        InfoFacts {
            run_id: self.shared.run_id.clone(),
            process_id: std::process::id(),
            port: self.shared.resp_port,
            uptime_secs: metrics.uptime_secs(),
            connected_clients: u64::try_from(metrics.connections.get()).unwrap_or(0),
            blocked_clients: self.shared.clients.blocked() as u64,
            tracking_clients: self.shared.clients.tracking() as u64,
            max_clients: self.shared.limits.connections as u64,
            is_loading: false,
            total_connections: totals.connections_accepted,
            rejected_connections: totals.connections_refused,
            total_commands: totals.requests,
            error_replies: totals.errors,
            input_bytes: totals.bytes_in,
            output_bytes: totals.bytes_out,
            mode: Mode::Standalone,
            more: vec![("Client", lines.to_vec())],
            ..InfoFacts::default()
        }
    }

    /// A router is no place to ask: its clients need not know where anything is.
    fn cluster(&self) -> Option<ClusterFacts> {
        None
    }

    fn places(&self) -> Option<ClusterFacts> {
        let topology = self.shared.client.topology();
        let topology = topology.borrow();
        (!topology.is_unknown()).then(|| places(&topology))
    }

    fn check(&self, _credentials: &Credentials) -> Verdict {
        Verdict::NotNeeded
    }

    fn settings(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let limits = &self.shared.limits;
        let idle_secs = limits.idle_timeout.map_or(0, |idle| idle.as_secs().max(1));
        vec![
            ("maxclients", limits.connections.to_string().into()),
            ("proto-max-bulk-len", limits.request_bytes.to_string().into()),
            ("timeout", idle_secs.to_string().into()),
        ]
    }

    fn reset_stats(&self) {
        self.shared.metrics.reset_totals();
    }

    fn clients(&self) -> Option<&Clients> {
        Some(&self.shared.clients)
    }

    fn slow_log(&self) -> Option<&SlowLog> {
        Some(&self.shared.slow_log)
    }
}

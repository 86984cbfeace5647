//! What the Redis protocol's sessions ask about a node.

use simplekv_resp::control::Credentials;
use simplekv_resp::facts::{
    ClusterFacts, Facts, FollowerFacts, GroupFacts, InfoFacts, Mode, NodeFacts, RoleFacts, Verdict, group_id, node_id,
};
use simplekv_resp::{Clients, SlowLog};
use simplekv_types::{FlushPolicy, GroupId, NodeId};

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use crate::clock;
use crate::routing::Routing;
use crate::shared::Shared;

/// A node as its clients see it.
pub(super) struct NodeView<'a> {
    shared: &'a Shared,
}

impl<'a> NodeView<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared }
    }

    pub(super) fn now_micros(&self) -> u64 {
        clock::wall_millis() * 1000
    }

    /// Followers that hold everything acknowledged here: of the group led here that has the fewest.
    pub(super) fn followers_in_sync(&self) -> i64 {
        let routing = self.shared.routing();
        let led = routing.groups.values().filter(|record| record.leader.is_some_and(|l| l.node == self.shared.node()));
        led.map(|record| i64::try_from(record.in_sync.len()).unwrap_or(i64::MAX) - 1).min().unwrap_or(0)
    }

    fn leads(&self, routing: &Routing, group: GroupId) -> bool {
        routing
            .groups
            .get(&group)
            .and_then(|record| record.leader)
            .is_some_and(|leader| leader.node == self.shared.node())
    }

    fn keys(&self) -> u64 {
        let routing = self.shared.routing();
        let hosted = self.shared.all_hosted();
        let led = hosted.iter().filter(|hosted| self.leads(&routing, hosted.id()));
        led.map(|hosted| hosted.reader().totals().keys).sum()
    }
}

fn host_port(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.to_owned(), port.parse().unwrap_or(0))
}

impl Facts for NodeView<'_> {
    fn now_micros(&self) -> u64 {
        NodeView::now_micros(self)
    }

    fn mode(&self) -> Mode {
        Mode::Cluster
    }

    fn role(&self) -> RoleFacts {
        let routing = self.shared.routing();
        let this = self.shared.node();
        let hosted = self.shared.all_hosted();
        let ends = |group: GroupId| hosted.iter().find(|h| h.id() == group).map_or(0, |h| h.reader().applied().0);
        let led: Vec<GroupId> = hosted.iter().map(|h| h.id()).filter(|&group| self.leads(&routing, group)).collect();
        if led.is_empty()
            && let Some(group) = hosted.first().map(|hosted| hosted.id())
        {
            let (leader, address) = routing.leader(group);
            let (host, port) = host_port(&address);
            return RoleFacts::Follower { host, port, is_connected: leader.is_some(), log_end: ends(group) };
        }
        let followers = led.iter().filter_map(|group| routing.groups.get(group)).flat_map(|record| &record.in_sync);
        let mut nodes: Vec<NodeId> = followers.map(|member| member.node).filter(|&node| node != this).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let log_end = led.iter().map(|&group| ends(group)).sum();
        let follower = |node: NodeId| {
            let (host, port) = host_port(&routing.nodes.get(&node)?.addresses.resp);
            Some(FollowerFacts { host, port, log_end })
        };
        RoleFacts::Leader { log_end, followers: nodes.into_iter().filter_map(follower).collect() }
    }

    fn info(&self) -> InfoFacts {
        let metrics = self.shared.metrics();
        let config = self.shared.config();
        let cluster = self.shared.cluster();
        let (channels, patterns) = self.shared.channels().counts();
        InfoFacts {
            run_id: cluster.map(|cluster| node_id(cluster, self.shared.node())).unwrap_or_default(),
            process_id: std::process::id(),
            port: host_port(&config.advertise.resp).1,
            uptime_secs: self.shared.uptime().as_secs(),
            connected_clients: metrics.resp_connections.load(Ordering::Relaxed),
            max_clients: config.limits.connections as u64,
            blocked_clients: self.shared.clients().blocked() as u64,
            tracking_clients: self.shared.clients().tracking() as u64,
            channels: channels as u64,
            patterns: patterns as u64,
            flush_policy: config.flush,
            total_connections: metrics.resp_accepted.load(Ordering::Relaxed),
            total_commands: metrics.resp_commands.load(Ordering::Relaxed),
            error_replies: metrics.failed_commands.load(Ordering::Relaxed),
            rejected_connections: metrics.rejected.load(Ordering::Relaxed),
            role: self.role(),
            mode: Mode::Cluster,
            keys: self.keys(),
            ..InfoFacts::default()
        }
    }

    fn cluster(&self) -> Option<ClusterFacts> {
        let routing = self.shared.routing();
        // Before there is a cluster the answer has the same shape, with nothing in it.
        let cluster = routing.cluster.unwrap_or(simplekv_types::ClusterId(0));
        let place = |node: NodeId| routing.nodes.keys().position(|&known| known == node);
        let nodes = routing.nodes.iter().map(|(&node, facts)| {
            let (host, port) = host_port(&facts.addresses.resp);
            NodeFacts { id: node_id(cluster, node), host, port, is_up: facts.live }
        });
        let groups = routing.groups.iter().map(|(&group, record)| {
            let leader = record.leader.map(|leader| leader.node);
            let followers = record.in_sync.iter().map(|member| member.node).filter(|&node| Some(node) != leader);
            let log_end = self.shared.hosted(group).map_or(0, |hosted| hosted.reader().applied().0);
            GroupFacts {
                id: group_id(cluster, group),
                slots: routing.slots.ranges_of(group).collect(),
                leader: leader.and_then(place),
                followers: followers.filter_map(place).collect(),
                epoch: record.epoch.0,
                log_end,
            }
        });
        Some(ClusterFacts {
            myself: place(self.shared.node()).unwrap_or(0),
            nodes: nodes.collect(),
            groups: groups.collect(),
        })
    }

    fn check(&self, _: &Credentials) -> Verdict {
        Verdict::NotNeeded
    }

    fn clients(&self) -> Option<&Clients> {
        Some(self.shared.clients())
    }

    fn slow_log(&self) -> Option<&SlowLog> {
        Some(self.shared.slow_log())
    }

    fn settings(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let limits = self.shared.limits();
        let flushed = match self.shared.config().flush {
            FlushPolicy::Always => "always",
            FlushPolicy::Replicated => "everysec",
            FlushPolicy::Os => "no",
        };
        let idle_secs = limits.idle_timeout.map_or(0, |idle| idle.as_secs().max(1));
        vec![
            ("appendfsync", flushed.into()),
            ("maxclients", limits.connections.to_string().into()),
            ("proto-max-bulk-len", limits.request_bytes.to_string().into()),
            ("timeout", idle_secs.to_string().into()),
        ]
    }
}

//! What a node counts, and how a scrape shows it.
//!
//! Counting is one relaxed addition; names, labels and help exist only while a scrape is answered. Every metric is declared here.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use simplekv_cluster::Role;

use crate::group::Report;

/// Counters of one node.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) resp_commands: AtomicU64,
    pub(crate) lane_commands: AtomicU64,
    /// Linearizable reads answered under a follower's lease, without a word to the leader.
    pub(crate) follower_reads: AtomicU64,
    /// Messages for other replicas, acknowledgements and signs of life included.
    pub(crate) peer_messages: AtomicU64,
    pub(crate) failed_commands: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) resp_connections: AtomicU64,
    pub(crate) resp_accepted: AtomicU64,
}

/// Gauges of the moment that no counter holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) in_flight: usize,
    pub(crate) metadata_current: bool,
    pub(crate) topology_version: u64,
}

type Labels = [(&'static str, String); 1];

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(counter: &AtomicU64, count: u64) {
        counter.fetch_sub(count, Ordering::Relaxed);
    }

    /// The text Prometheus reads.
    pub(crate) fn text(&self, reports: &[Report], moment: Moment) -> String {
        let mut registry = Registry::with_prefix("simplekv");
        self.node(&mut registry, moment);
        groups(&mut registry, reports);
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    fn node(&self, registry: &mut Registry, moment: Moment) {
        let count = |counter: &AtomicU64| ConstCounter::new(counter.load(Ordering::Relaxed));
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register("resp_commands", "Commands taken over the Redis protocol", count(&self.resp_commands));
        registry.register("lane_commands", "Operations taken over gRPC", count(&self.lane_commands));
        registry.register(
            "follower_reads",
            "Reads answered here while another node leads",
            count(&self.follower_reads),
        );
        registry.register("peer_messages", "Messages sent to other replicas", count(&self.peer_messages));
        registry.register("failed_commands", "Commands answered with an error", count(&self.failed_commands));
        registry.register("rejected_requests", "Requests refused because a limit was reached", count(&self.rejected));
        registry.register(
            "resp_accepted_connections",
            "Connections accepted for the Redis protocol",
            count(&self.resp_accepted),
        );
        let open = self.resp_connections.load(Ordering::Relaxed);
        registry.register("resp_connections", "Open connections of the Redis protocol", gauge(open));
        registry.register("inflight_requests", "Requests being worked on", gauge(moment.in_flight as u64));
        let current = u64::from(moment.metadata_current);
        registry.register("metadata_current", "1 while the metadata store is being followed", gauge(current));
        registry.register(
            "topology_version",
            "Version of the topology this node routes by",
            gauge(moment.topology_version),
        );
    }
}

fn groups(registry: &mut Registry, reports: &[Report]) {
    type Figure = fn(&Report) -> u64;
    let figures: [(&str, &str, Figure); 12] = [
        ("group_epoch", "Epoch of the replica", |r| r.epoch.0),
        ("group_leader", "1 if this replica leads its group", |r| u64::from(r.role == Role::Leader)),
        ("group_activated", "1 if this leader has begun its epoch", |r| u64::from(r.activated)),
        ("group_halted", "1 if this replica does nothing any more", |r| u64::from(r.role == Role::Halted)),
        ("log_end", "First record number not in the log", |r| r.log_end.0),
        ("flushed_end", "First record number not on disk", |r| r.flushed_end.0),
        ("applied", "First record number not applied", |r| r.applied.0),
        ("keys", "Keys of the group", |r| r.keys),
        ("slots", "Slots the group owns", |r| r.slots as u64),
        ("storage_live_bytes", "Bytes of live records", |r| r.live_bytes),
        ("storage_bytes", "Bytes of all segments", |r| r.log_bytes),
        ("leader_lease_milliseconds", "What is left of the leader lease", |r| r.lease_ms.min(i64::MAX as u64)),
    ];
    for (name, help, figure) in figures {
        let family = Family::<Labels, Gauge>::default();
        registry.register(name, help, family.clone());
        for report in reports {
            let value = i64::try_from(figure(report)).unwrap_or(i64::MAX);
            family.get_or_create(&[("group", report.group.to_string())]).set(value);
        }
    }
    lags(registry, reports);
}

fn lags(registry: &mut Registry, reports: &[Report]) {
    let family = Family::<[(&'static str, String); 2], Gauge>::default();
    registry.register("replica_lag_records", "Records a follower has not acknowledged", family.clone());
    for report in reports {
        for follower in &report.followers {
            let labels = [("group", report.group.to_string()), ("peer", follower.node.to_string())];
            let lag = report.log_end.0.saturating_sub(follower.matched.0);
            family.get_or_create(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }
}

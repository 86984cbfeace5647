//! What the router counts, each metric declared once.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Instant;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use simplekv_client::{Client, ClientStats};

/// What a request is, as far as metrics tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reads keys of one slot.
    Read,
    /// Writes keys of one slot.
    Write,
    /// Concerns several slots.
    Wide,
    /// Is about the connection or the router.
    Control,
    /// Was not understood.
    Invalid,
}

impl Class {
    const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Wide, Self::Control, Self::Invalid];

    const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Wide => "wide",
            Self::Control => "control",
            Self::Invalid => "invalid",
        }
    }
}

/// Requests of one class and how they ended.
#[derive(Debug, Default)]
struct Outcomes {
    ok: Counter<u64, AtomicU64>,
    error: Counter<u64, AtomicU64>,
}

/// The counters. The hot ones are plain fields: a family of labelled counters would take a lock for each request.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    by_class: [Outcomes; Class::ALL.len()],
    pub(crate) http_requests: Counter,
    pub(crate) http_errors: Counter,
    pub(crate) grpc_calls: Counter,
    pub(crate) grpc_errors: Counter,
    pub(crate) connections: Gauge<i64, AtomicI64>,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) protocol_errors: Counter,
    pub(crate) slow_readers: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    /// What INFO leaves out since CONFIG RESETSTAT. The metrics themselves only grow: those who collect them rely on it.
    left_out: Mutex<Totals>,
}

/// What INFO tells of the Redis port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections_accepted: u64,
    pub(crate) connections_refused: u64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            by_class: Default::default(),
            http_requests: Counter::default(),
            http_errors: Counter::default(),
            grpc_calls: Counter::default(),
            grpc_errors: Counter::default(),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            protocol_errors: Counter::default(),
            slow_readers: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            left_out: Mutex::default(),
        }
    }

    fn totals(&self) -> Totals {
        let (requests, errors) = self.requests();
        Totals {
            connections_accepted: self.connections_accepted.get(),
            connections_refused: self.connections_refused.get(),
            requests,
            errors,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }

    /// What happened since the last [`Metrics::reset_totals`], or ever.
    pub(crate) fn recent_totals(&self) -> Totals {
        // Read before the totals, which only grow.
        let before = *self.left_out.lock();
        let all = self.totals();
        Totals {
            connections_accepted: all.connections_accepted - before.connections_accepted,
            connections_refused: all.connections_refused - before.connections_refused,
            requests: all.requests - before.requests,
            errors: all.errors - before.errors,
            bytes_in: all.bytes_in - before.bytes_in,
            bytes_out: all.bytes_out - before.bytes_out,
        }
    }

    pub(crate) fn reset_totals(&self) {
        *self.left_out.lock() = self.totals();
    }

    /// Counts requests that have been answered.
    pub(crate) fn answered(&self, class: Class, is_error: bool, count: u64) {
        if let Some(outcomes) = self.by_class.get(class as usize) {
            if is_error {
                outcomes.error.inc_by(count)
            } else {
                outcomes.ok.inc_by(count)
            };
        }
    }

    /// Requests of the Redis protocol answered so far, and how many of them with an error.
    pub(crate) fn requests(&self) -> (u64, u64) {
        self.by_class.iter().fold((0, 0), |(all, errors), outcomes| {
            let error = outcomes.error.get();
            (all + outcomes.ok.get() + error, errors + error)
        })
    }

    pub(crate) fn uptime_secs(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// Reads all metrics when they are asked for.
#[derive(Debug)]
struct Snapshot {
    shared: std::sync::Weak<crate::shared::Shared>,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        requests(&shared.metrics, &mut encoder)?;
        for (name, help, value) in
            own_counters(&shared.metrics).into_iter().chain(client_counters(&shared.client.stats()))
        {
            counter(&mut encoder, name, help, value)?;
        }
        for (name, help, value) in gauges(&shared) {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

fn requests(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    let kind = ConstCounter::new(0u64).metric_type();
    let mut metric = encoder.encode_descriptor(
        "simplekv_router_requests",
        "Requests of the Redis protocol that were answered, by what they are and how they ended",
        None,
        kind,
    )?;
    for (class, outcomes) in Class::ALL.into_iter().zip(&metrics.by_class) {
        for (outcome, count) in [("ok", outcomes.ok.get()), ("error", outcomes.error.get())] {
            let labels = [("class", class.label()), ("outcome", outcome)];
            ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

pub(crate) type Row<T> = (&'static str, &'static str, T);

fn own_counters(metrics: &Metrics) -> [Row<u64>; 10] {
    [
        ("simplekv_router_http_requests", "Requests of HTTP that were answered", metrics.http_requests.get()),
        ("simplekv_router_http_errors", "Requests of HTTP that failed in the cluster", metrics.http_errors.get()),
        ("simplekv_router_grpc_calls", "Calls of gRPC that were answered", metrics.grpc_calls.get()),
        ("simplekv_router_grpc_errors", "Calls of gRPC that failed in the cluster", metrics.grpc_errors.get()),
        ("simplekv_router_connections_accepted", "Connections accepted", metrics.connections_accepted.get()),
        ("simplekv_router_connections_refused", "Connections beyond the limit", metrics.connections_refused.get()),
        ("simplekv_router_protocol_errors", "Connections closed for what they sent", metrics.protocol_errors.get()),
        ("simplekv_router_slow_readers", "Connections closed for not reading replies", metrics.slow_readers.get()),
        ("simplekv_router_input_bytes", "Bytes read from Redis clients", metrics.bytes_in.get()),
        ("simplekv_router_output_bytes", "Bytes written to Redis clients", metrics.bytes_out.get()),
    ]
}

fn client_counters(stats: &ClientStats) -> [Row<u64>; 14] {
    [
        ("simplekv_client_requests", "Requests made to the cluster", stats.requests),
        ("simplekv_client_failures", "Requests the cluster did not answer", stats.failures),
        ("simplekv_client_retries", "Attempts after a pause", stats.retries),
        ("simplekv_client_redirects", "Attempts because a node named another", stats.redirects),
        ("simplekv_client_retries_over_budget", "Retries delayed for being too many", stats.retries_over_budget),
        ("simplekv_client_shared_reads_led", "Reads sent for all who shared them", stats.shared_reads_led),
        ("simplekv_client_shared_reads_joined", "Reads answered by another's", stats.shared_reads_joined),
        ("simplekv_client_frames", "Frames written to nodes", stats.frames),
        ("simplekv_client_operations", "Operations in those frames", stats.ops),
        ("simplekv_client_overloaded", "Requests beyond the client's limits", stats.overloaded),
        ("simplekv_client_lane_connects", "Lanes connected", stats.connects),
        ("simplekv_client_lane_disconnects", "Lanes lost, or not connected", stats.disconnects),
        ("simplekv_client_topology_refreshes", "Topologies asked for", stats.topology_refreshes),
        ("simplekv_client_topology_changes", "Topologies taken over", stats.topology_changes),
    ]
}

fn gauges(shared: &crate::shared::Shared) -> [Row<i64>; 5] {
    let topology = shared.topology();
    let leaderless = topology.groups().iter().filter(|group| group.leader.is_none()).count();
    let owned: usize = topology.slot_counts().iter().sum();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    [
        ("simplekv_router_connections", "Connections open", shared.metrics.connections.get()),
        ("simplekv_router_in_flight_requests", "Requests under way", number(shared.in_flight())),
        ("simplekv_router_topology_version", "Version of the topology", i64::try_from(topology.version()).unwrap_or(0)),
        ("simplekv_router_groups_without_leader", "Groups without a leader", number(leaderless)),
        ("simplekv_router_slots_owned", "Slots that some group owns", number(owned)),
    ]
}

/// All metrics in the text format of Prometheus.
pub(crate) fn text(shared: &std::sync::Arc<crate::shared::Shared>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot { shared: std::sync::Arc::downgrade(shared) }));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// The stats of a client: name, what it counts, and the count.
pub(crate) fn client_stats(client: &Client) -> [Row<u64>; 14] {
    client_counters(&client.stats())
}

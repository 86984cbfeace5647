//! What a replica is told once, when it starts.

use std::time::Duration;

use simplekv_types::peer::Sender;
use simplekv_types::{ClusterId, Epoch, FlushPolicy, GroupId, GroupTime, Lineage, Lsn};

/// Who a replica is and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The cluster; messages of another one are dropped.
    pub cluster: ClusterId,
    /// The group this is a replica of.
    pub group: GroupId,
    /// This node, its storage incarnation and the run of its process.
    pub identity: Sender,
    /// When this replica may call a record its own: once written, or once flushed.
    pub flush: FlushPolicy,
    /// How long everything may take.
    pub timing: Timing,
    /// How much may be on its way to one follower.
    pub window: Window,
    /// Whether a leader grants read leases, so that followers answer linearizable reads.
    pub grant_read_leases: bool,
}

/// The protocol's time constants. The length of the leader lease is not here: it is in the group's record, because it may change
/// only together with the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// A leader that has sent a replica nothing for this long sends a heartbeat. Default 50 ms.
    pub heartbeat: Duration,
    /// A replica is lagging unless an answer of it received within this time showed it holds what the leader held one such time
    /// ago. Default 400 ms.
    pub lag_time: Duration,
    /// An in-sync follower that has heard nothing from its leader for this long suspects it. Default 600 ms.
    pub suspect_after: Duration,
    /// While it suspects, a follower says so this often. A suspicion heard counts for three of these. Default 50 ms.
    pub suspect_interval: Duration,
    /// A replica that stands behind others in the order of candidates waits this long for each of them. Default 150 ms.
    pub candidate_stagger: Duration,
    /// Longest read lease of a follower. Default 500 ms.
    pub read_lease: Duration,
    /// How far the rate of a node's clock may be off, in millionths. Only lease reads depend on it. Default 10 000 (1 %).
    pub drift_ppm: u32,
    /// Added to every wait for somebody else's lease, for the granularity of clocks. Default 5 ms.
    pub lease_margin: Duration,
    /// How often a leader probes its append path. Default 500 ms.
    pub probe_interval: Duration,
    /// A leader whose append path has not completed a probe for this long falls silent. Default 2 s.
    pub probe_limit: Duration,
    /// A leader that is not activated this long after its commit gate opened asks for another leader. Default 2 s.
    pub activation_limit: Duration,
    /// How long a planned transfer of leadership may hold writes before it is given up. Default 1 s.
    pub transfer_limit: Duration,
    /// A read or change of the group's record that failed is tried again after this. Default 100 ms.
    pub metadata_retry: Duration,
    /// Under [`FlushPolicy::Replicated`], the longest a written record waits for its flush. Default 200 ms.
    pub flush_interval: Duration,
    /// How long a session of the metadata store outlives its node. A new controller waits this long before it believes that a
    /// missing sign of life means something. Default 3 s.
    pub session_ttl: Duration,
    /// How often the controller looks at what is left of a group that shall recover by itself. Default 1 s.
    pub inspect_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            lag_time: Duration::from_millis(400),
            suspect_after: Duration::from_millis(600),
            suspect_interval: Duration::from_millis(50),
            candidate_stagger: Duration::from_millis(150),
            read_lease: Duration::from_millis(500),
            drift_ppm: 10_000,
            lease_margin: Duration::from_millis(5),
            probe_interval: Duration::from_millis(500),
            probe_limit: Duration::from_secs(2),
            activation_limit: Duration::from_secs(2),
            transfer_limit: Duration::from_secs(1),
            metadata_retry: Duration::from_millis(100),
            flush_interval: Duration::from_millis(200),
            session_ttl: Duration::from_secs(3),
            inspect_interval: Duration::from_secs(1),
        }
    }
}

/// How much may be on its way to one follower, unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Appends that carry records. At least 1.
    pub appends: usize,
    /// Records in all of them. A larger batch travels alone.
    pub records: u64,
    /// Bytes of records in one append; together with `appends` this bounds the bytes on their way. A larger batch travels alone.
    pub append_bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { appends: 32, records: 262_144, append_bytes: 1 << 20 }
    }
}

/// What a replica's storage holds when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// First LSN that can still be read as raw batches.
    pub log_start: Lsn,
    /// First LSN not in the log.
    pub log_end: Lsn,
    /// First LSN not known durable to this process. What an earlier process only wrote may be in the page cache alone.
    pub flushed_end: Lsn,
    /// The greatest high watermark the log proves: everything below is applied.
    pub high_watermark: Lsn,
    /// Epochs of the log with the LSN each begins at, ascending in both. Empty iff the log is.
    pub epochs: Vec<(Epoch, Lsn)>,
    /// Group time of the last batch, [`GroupTime::ZERO`] in an empty log.
    pub last_time: GroupTime,
    /// The greatest epoch ever persisted by [`Effect::PersistEpoch`](crate::Effect::PersistEpoch).
    pub epoch: Epoch,
    /// The history the log belongs to, as persisted; that of the group's record for a new replica.
    pub lineage: Lineage,
}

impl Recovered {
    /// A replica that has nothing yet.
    #[must_use]
    pub fn empty(lineage: Lineage) -> Self {
        Self {
            log_start: Lsn::ZERO,
            log_end: Lsn::ZERO,
            flushed_end: Lsn::ZERO,
            high_watermark: Lsn::ZERO,
            epochs: Vec::new(),
            last_time: GroupTime::ZERO,
            epoch: Epoch::ZERO,
            lineage,
        }
    }
}

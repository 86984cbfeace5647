//! What all connections of a router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use simplekv_client::{Client, Topology};
use simplekv_resp::clients::{KnownClient, Seat};
use simplekv_resp::{Clients, Session, SlowLog};
use simplekv_types::SLOT_COUNT;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::tracking::Tracking;

/// What all connections of a router share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) stopping: CancellationToken,
    /// The requests that may still begin.
    pub(crate) admission: Arc<Semaphore>,
    /// The parts of requests over several slots that may still begin.
    pub(crate) parts: Semaphore,
    /// A name for this run: 40 hexadecimal digits.
    pub(crate) run_id: String,
    pub(crate) resp_port: u16,
    pub(crate) tracking: Tracking,
    topology: watch::Receiver<Arc<Topology>>,
    /// The connections of the Redis protocol.
    pub(crate) clients: Arc<Clients>,
    /// Their commands that took long.
    pub(crate) slow_log: SlowLog,
    next_connection: AtomicU64,
}

impl Shared {
    pub(crate) fn new(client: Client, limits: Limits, run_id: String, resp_port: u16) -> Self {
        let slow_log = SlowLog::new(limits.slowlog_slower_than, limits.slowlog_length);
        Self {
            topology: client.topology(),
            client,
            metrics: Metrics::new(),
            stopping: CancellationToken::new(),
            admission: Arc::new(Semaphore::new(limits.in_flight)),
            parts: Semaphore::new(limits.in_flight),
            limits,
            run_id,
            resp_port,
            clients: Arc::default(),
            slow_log,
            tracking: Tracking::default(),
            next_connection: AtomicU64::new(1),
        }
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.borrow())
    }

    /// The topology, now and whenever it changes.
    pub(crate) fn topologies(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.clone()
    }

    /// Why the owner of some key cannot be found; `None` if all can. A group without a leader is no reason: no other router would be any
    /// better.
    pub(crate) fn unready(&self) -> Option<String> {
        let topology = self.topology();
        if self.stopping.is_cancelled() {
            return Some("the router is stopping".to_owned());
        }
        if topology.is_unknown() {
            return Some("no node has told the topology yet".to_owned());
        }
        let unowned = usize::from(SLOT_COUNT).saturating_sub(topology.slot_counts().iter().sum());
        (unowned > 0).then(|| format!("{unowned} slots belong to no group"))
    }

    /// The topology once there is one. After the time a request may take it is what it is: the request will say what is missing.
    pub(crate) async fn known_topology(&self) -> Arc<Topology> {
        let mut topology = self.topology.clone();
        let known = topology.wait_for(|topology| !topology.groups().is_empty());
        // The value itself is read below, without the lock that waiting for it holds.
        let _ = tokio::time::timeout(self.limits.request_timeout, known).await.map(|known| known.map(drop));
        self.topology()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.limits.in_flight.saturating_sub(self.admission.available_permits())
    }

    /// The number of a new connection.
    pub(crate) fn number_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Lists a connection for CLIENT LIST until the listing is dropped.
    pub(crate) fn list(&self, client: KnownClient) -> Listed {
        let seat = self.clients.seat(client);
        let session = Arc::new(Mutex::new(Session::of(Arc::clone(seat.client()), false)));
        Listed { seat, session }
    }
}

/// A connection in the list of all.
pub(crate) struct Listed {
    pub(crate) seat: Seat,
    pub(crate) session: Arc<Mutex<Session>>,
}

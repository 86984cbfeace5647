//! Keeps the topology current: one node pushes it, and when something looks old another is asked at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::pool::Pool;
use crate::pushed::Pushed;
use crate::slot_cache::SlotCache;
use crate::stats::Stats;
use crate::topology::Topology;
use crate::transport::Transport;

/// Shortest time between two refreshes, on average: the requests that fail for the same reason share one.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// A watch that lasted this long was a good one. A shorter one is a failure, even if it brought something: a node that ends every watch
/// after its first update must not be asked again and again without a pause.
const GOOD_WATCH: Duration = Duration::from_secs(5);

pub(crate) struct Watcher {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) slots: Arc<SlotCache>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) seeds: Vec<Arc<str>>,
    pub(crate) backoff: Backoff,
    pub(crate) pushed: Mutex<Pushed>,
}

impl Watcher {
    /// Asks all seeds at once and takes the first answer.
    ///
    /// # Errors
    /// What happened with each, if none answered.
    pub(crate) async fn ask_seeds(&self) -> Result<(), Vec<TransportError>> {
        let mut answers: FuturesUnordered<_> =
            self.seeds.iter().map(|seed| self.transport.topology(Arc::clone(seed))).collect();
        let mut tried = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(topology) => {
                    self.pushed.lock().begin(&topology);
                    self.install(topology);
                    return Ok(());
                }
                Err(error) => tried.push(error),
            }
        }
        Err(tried)
    }

    /// Runs for as long as the client lives.
    pub(crate) async fn run(self) {
        tokio::join!(self.keep_watching(), self.refresh_when_asked());
    }

    async fn keep_watching(&self) {
        let mut last: Option<Arc<str>> = None;
        let mut failures = 0;
        loop {
            let address = self.pick(last.as_ref());
            let began = Instant::now();
            self.watch(&address).await;
            failures = if began.elapsed() < GOOD_WATCH { failures + 1 } else { 0 };
            last = Some(address);
            self.backoff.rest(failures).await;
        }
    }

    async fn watch(&self, address: &Arc<str>) {
        let version = self.pushed.lock().version();
        let mut updates = match self.transport.watch(Arc::clone(address), version).await {
            Ok(updates) => updates,
            Err(error) => {
                debug!(error = %error, "cannot watch the topology");
                return;
            }
        };
        while let Some(update) = updates.next().await {
            let changed = match update {
                Ok(update) => self.pushed.lock().take(update),
                Err(error) => return info!(%error, "topology watch ended, asking another node"),
            };
            match changed {
                Ok(Some(topology)) => self.install(topology),
                Ok(None) => (),
                Err(error) => return info!(%error, "topology watch ended, asking another node"),
            }
        }
    }

    async fn refresh_when_asked(&self) {
        let mut last: Option<Instant> = None;
        let mut failed: Option<Arc<str>> = None;
        loop {
            self.slots.refresh_requested().await;
            if let Some(last) = last {
                tokio::time::sleep_until(last + REFRESH_INTERVAL.mul_f64(0.5 + rand::random::<f64>())).await;
            }
            if !self.slots.take_request() {
                continue;
            }
            last = Some(Instant::now());
            self.stats.topology_refreshes.increment();
            let address = self.pick(failed.as_ref());
            failed = match self.transport.topology(Arc::clone(&address)).await {
                Ok(topology) => {
                    self.install(topology);
                    None
                }
                Err(error) => {
                    debug!(error = %error, "cannot refresh the topology");
                    Some(address)
                }
            };
        }
    }

    fn install(&self, topology: Topology) {
        if self.slots.install(topology) {
            self.stats.topology_changes.increment();
            self.pool.retain_nodes_of(&self.slots.load());
        }
    }

    /// Any live node, or a seed; not the one that failed last, if there is another.
    fn pick(&self, failed: Option<&Arc<str>>) -> Arc<str> {
        let topology = self.slots.load();
        let live = topology.nodes().iter().filter(|node| node.live && !self.pool.is_down(node.id));
        let mut addresses: Vec<Arc<str>> = live.map(|node| Arc::from(node.addresses.grpc.as_str())).collect();
        // All live nodes down may mean that the topology is wrong from end to end; the seeds are another way in.
        if addresses.len() < 2 {
            addresses.extend(self.seeds.iter().map(Arc::clone));
        }
        let others: Vec<&Arc<str>> = addresses.iter().filter(|address| Some(*address) != failed).collect();
        let choice = others.choose(&mut rand::rng()).copied().or(addresses.first());
        Arc::clone(choice.expect("there is at least one seed"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::pool::Bounds;
    use crate::transport::{LaneLink, ListenLink, Update, Updates};

    /// A node that begins every watch and ends it after one sign of life.
    #[derive(Default)]
    struct Fickle {
        watches: AtomicU32,
    }

    fn error(address: Arc<str>) -> TransportError {
        TransportError { address, reason: Arc::from("not today") }
    }

    impl Transport for Fickle {
        fn open_lane(&self, address: Arc<str>) -> BoxFuture<'static, Result<LaneLink, TransportError>> {
            async { Err(error(address)) }.boxed()
        }

        fn listen(&self, address: Arc<str>) -> BoxFuture<'static, Result<ListenLink, TransportError>> {
            async { Err(error(address)) }.boxed()
        }

        fn topology(&self, address: Arc<str>) -> BoxFuture<'static, Result<Topology, TransportError>> {
            async { Err(error(address)) }.boxed()
        }

        fn watch(&self, address: Arc<str>, _: u64) -> BoxFuture<'static, Result<Updates, TransportError>> {
            self.watches.fetch_add(1, Ordering::Relaxed);
            async { Ok(futures::stream::iter([Ok(Update::Unchanged), Err(error(address))]).boxed()) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_ends_every_watch_is_asked_less_and_less_often() {
        let transport = Arc::new(Fickle::default());
        let (slots, stats, backoff) = (Arc::new(SlotCache::new()), Arc::<Stats>::default(), Backoff::default());
        let surroundings = crate::lane::Surroundings {
            transport: Arc::clone(&transport) as Arc<dyn Transport>,
            slots: Arc::clone(&slots),
            stats: Arc::clone(&stats),
            backoff,
        };
        let watcher = Watcher {
            transport: Arc::clone(&transport) as Arc<dyn Transport>,
            slots,
            pool: Arc::new(Pool::new(surroundings, Bounds { lanes_per_node: 1, in_flight_per_node: 1 })),
            stats,
            seeds: vec![Arc::from("h:1")],
            backoff,
            pushed: Mutex::default(),
        };
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(minute, watcher.keep_watching()).await.is_err());
        let watches = transport.watches.load(Ordering::Relaxed);
        assert!((60..600).contains(&watches), "{watches} watches in a minute");
    }
}

//! Keeps the topology current: one node pushes it, and when something looks old another is asked at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::seq::IndexedRandom;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::pool::Pool;
use crate::slot_cache::SlotCache;
use crate::stats::Stats;
use crate::topology::Topology;
use crate::transport::{Transport, Update};

/// Shortest time between two refreshes, on average: the requests that fail for the same reason share one.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Watcher {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) slots: Arc<SlotCache>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) seeds: Vec<Arc<str>>,
    pub(crate) backoff: Backoff,
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
            match self.watch(&address).await {
                Watched::ForAWhile => failures = 0,
                Watched::NotAtAll => failures += 1,
            }
            last = Some(address);
            self.backoff.rest(failures).await;
        }
    }

    async fn watch(&self, address: &Arc<str>) -> Watched {
        let version = self.slots.load().version();
        let mut updates = match self.transport.watch(Arc::clone(address), version).await {
            Ok(updates) => updates,
            Err(error) => {
                debug!(error = %error, "cannot watch the topology");
                return Watched::NotAtAll;
            }
        };
        let mut watched = Watched::NotAtAll;
        while let Some(update) = updates.next().await {
            match update {
                Ok(Update::Changed(topology)) => self.install(topology),
                Ok(Update::Unchanged) => (),
                Err(error) => {
                    info!(error = %error, "topology watch ended, asking another node");
                    return watched;
                }
            }
            watched = Watched::ForAWhile;
        }
        watched
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

enum Watched {
    ForAWhile,
    NotAtAll,
}

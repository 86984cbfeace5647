//! How a client is made.

use std::sync::Arc;
use std::time::Duration;

use simplekv_types::ReadPolicy;

use crate::Client;
use crate::backoff::Backoff;
use crate::config::{self, Config, Timeouts};
use crate::error::{Error, Result};
use crate::near_cache::NearCache;
use crate::transport::grpc::Grpc;

/// Collects a client's settings. Nothing is checked before [`ClientBuilder::build`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    config: Config,
    /// The first address that could not be read.
    mistake: Option<Error>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self { config: Config::new(), mistake: None }
    }

    /// A node to ask for the topology, as `host[:port]`. May be called several times; one that answers is enough.
    pub fn seed(mut self, address: impl AsRef<str>) -> Self {
        match config::address(address.as_ref()) {
            Ok(seed) => self.config.seeds.push(seed),
            Err(error) => self.mistake = self.mistake.or(Some(error)),
        }
        self
    }

    /// Seeds as a URL, see [`Client::connect`].
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        match config::seeds(url.as_ref()) {
            Ok(seeds) => self.config.seeds.extend(seeds),
            Err(error) => self.mistake = self.mistake.or(Some(error)),
        }
        self
    }

    /// Which replicas may answer reads that do not say themselves. Default [`ReadPolicy::Linearizable`].
    pub fn read_policy(mut self, policy: ReadPolicy) -> Self {
        self.config.read_policy = policy;
        self
    }

    /// Where this client is: reads that several replicas may answer go to those whose node is configured with the same zone, as long
    /// as one of them answers. Default: nowhere in particular.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.config.zone = zone.into();
        self
    }

    /// How long things may take.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// The deadline of a request over all its attempts, for requests that do not say themselves. Default 10 s.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.config.timeouts.total = total;
        self
    }

    /// The pauses between attempts. Default 5 ms, doubling up to 500 ms, with full jitter.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// How often a node that is there may refuse a request (it is overloaded, or no group owns the slot) before that is the answer.
    /// Default 4. A group without a leader, or with too few replicas in sync, is waited for until the deadline, whatever this says.
    pub fn max_refusals(mut self, count: u32) -> Self {
        self.config.refusals_max = count;
        self
    }

    /// Streams, each on a connection of its own, to every node. Default: one per core, at most 4.
    pub fn lanes_per_node(mut self, count: usize) -> Self {
        self.config.lanes_per_node = count;
        self
    }

    /// How many requests may be in flight at one node and in total. Default 4096 and 16384. Beyond, a request fails at once with
    /// [`Error::Overloaded`].
    pub fn max_in_flight(mut self, per_node: usize, total: usize) -> Self {
        self.config.in_flight_per_node = per_node;
        self.config.in_flight_total = total;
        self
    }

    /// Whether identical reads that wait at the same time share one answer, as far as their read policy allows. Default `true`.
    pub fn share_reads(mut self, share: bool) -> Self {
        self.config.share_reads = share;
        self
    }

    /// Keeps copies of values in this process, for reads that ask for it with [`Get::cached`](crate::Get::cached). Default: none.
    ///
    /// ```no_run
    /// # async fn example() -> simplekv_client::Result<()> {
    /// use std::time::Duration;
    /// use simplekv_client::{Client, NearCache};
    ///
    /// let near = NearCache::default().bytes(16 << 20).ttl(Duration::from_secs(10));
    /// let kv = Client::builder().url("simplekv://127.0.0.1:7410").near_cache(near).build().await?;
    /// kv.set("greeting", "hello").await?;
    /// for _ in 0..1000 {
    ///     // Asks once, and again when it has changed.
    ///     let greeting = kv.get("greeting").cached().await?;
    ///     assert_eq!(greeting.as_deref(), Some(&b"hello"[..]));
    /// }
    /// assert!(kv.stats().near_hits > 0);
    /// # Ok(()) }
    /// ```
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        self.config.near_cache = Some(near_cache);
        self
    }

    /// Makes the client and asks the seeds for the topology.
    ///
    /// # Errors
    /// [`Error::Config`] if a setting cannot be, [`Error::NoSeed`] if no seed answered.
    pub async fn build(self) -> Result<Client> {
        let (client, watcher) = self.prepare()?;
        watcher.ask_seeds().await.map_err(|tried| Error::NoSeed { tried })?;
        client.start(watcher);
        Ok(client)
    }

    /// Makes the client without waiting for anybody: it finds its seeds while requests already wait. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Error::Config`] if a setting cannot be.
    pub fn build_lazy(self) -> Result<Client> {
        let (client, watcher) = self.prepare()?;
        client.start(watcher);
        Ok(client)
    }

    fn prepare(self) -> Result<(Client, crate::watcher::Watcher)> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        self.config.check()?;
        let Timeouts { connect, topology, .. } = self.config.timeouts;
        Ok(Client::prepare(self.config, Arc::new(Grpc { connect, topology })))
    }
}

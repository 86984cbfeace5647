//! The handle to a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_types::{ClientId, GroupId, GroupTime, ReadPolicy, Reply, Seq, SessionToken, Slot};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::builder::ClientBuilder;
use crate::config::Config;
use crate::core::{Answers, Core};
use crate::error::{Error, Result};
use crate::request::{Cmd, Del, Exists, Expire, Get, Incr, MGet, MSet, Persist, Scan, Set, Ttl};
use crate::session::{Ledger, Session};
use crate::topology::Topology;
use crate::transport::Transport;
use crate::watcher::Watcher;
use crate::{Ask, ClientStats, Key, Kind, Options, RequestId, Target, Value};

/// A handle to a cluster. Cloning is cheap; clones share connections, topology, limits and budgets, so one per process is enough.
///
/// Nothing waits for ever: every request has a deadline ([`ClientBuilder::timeout`]), and dropping a request's future lets go of it.
/// A write whose future is dropped may or may not be done.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// What reads must not be older than.
    session: Option<Arc<Ledger>>,
}

struct Shared {
    core: Arc<Core>,
    /// Keeps the topology current. Set before anybody gets the client.
    watcher: std::sync::OnceLock<AbortHandle>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
        self.core.trackers.stop();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.shared.core.slots.load();
        f.debug_struct("Client").field("cluster", &topology.cluster()).field("topology", &topology.version()).finish()
    }
}

impl Client {
    /// Connects with default settings to `simplekv://host[:port][,host[:port]…]`. Any node is enough to find the others; the
    /// default port is 7410.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the URL cannot be read, [`Error::NoSeed`](crate::Error::NoSeed) if none of the
    /// seeds told the topology.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// Collects settings for a client.
    ///
    /// ```
    /// # simplekv_testing::example(async |_| {
    /// use std::time::Duration;
    /// use simplekv_client::{Client, ReadPolicy};
    ///
    /// # let cluster = simplekv_testing::MockCluster::three_nodes();
    /// let url = "simplekv://10.0.0.1:7410,10.0.0.2:7410";
    /// # let url = cluster.seeds();
    /// let kv = Client::builder().url(url).timeout(Duration::from_secs(2)).read_policy(ReadPolicy::Leader).build().await?;
    /// assert_eq!(kv.get("user:1").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn prepare(config: Config, transport: Arc<dyn Transport>) -> (Self, Watcher) {
        let (seeds, backoff) = (config.seeds.clone(), config.backoff);
        let core = Arc::new(Core::new(config, Arc::clone(&transport)));
        let watcher = Watcher {
            transport,
            slots: Arc::clone(&core.slots),
            pool: Arc::clone(&core.pool),
            stats: Arc::clone(&core.stats),
            seeds,
            backoff,
            pushed: parking_lot::Mutex::default(),
        };
        let shared = Arc::new(Shared { core, watcher: std::sync::OnceLock::new() });
        (Self { shared, session: None }, watcher)
    }

    pub(crate) fn start(&self, watcher: Watcher) {
        self.shared.watcher.get_or_init(|| tokio::spawn(watcher.run()).abort_handle());
        if self.core().config.near_cache.is_some() {
            self.core().hear_nodes();
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// The same client, reading and writing in a session.
    pub(crate) fn within(&self, ledger: Arc<Ledger>) -> Self {
        Self { shared: Arc::clone(&self.shared), session: Some(ledger) }
    }

    /// Which replicas may answer reads that do not say themselves, outside of sessions.
    #[must_use]
    pub fn read_policy(&self) -> ReadPolicy {
        self.core().config.read_policy
    }

    /// Begins a session: reads made through it see everything that was read and written through it before, on any replica. That
    /// spreads reads over all replicas, at the price that what others write may be seen a little later.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let session = kv.session();
    /// session.set("cart:1", "3 apples").await?;
    /// assert_eq!(session.get("cart:1").await?.as_deref(), Some(&b"3 apples"[..]));
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn session(&self) -> Session {
        self.resume(SessionToken::new())
    }

    /// Goes on with a session of which this token was taken, here or anywhere else.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let session = kv.session();
    /// session.set("cart:1", "3 apples").await?;
    /// let cookie = session.token().to_string();
    ///
    /// // The next request of the same user, perhaps in another process.
    /// let session = kv.resume(cookie.parse()?);
    /// assert!(session.exists("cart:1").await?);
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn resume(&self, token: SessionToken) -> Session {
        Session::new(self, token)
    }

    /// The value of a key, `None` if there is none.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// kv.set("user:1", "alice").await?;
    /// assert_eq!(kv.get("user:1").await?.as_deref(), Some(&b"alice"[..]));
    /// assert_eq!(kv.get("user:2").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn get(&self, key: impl Into<Key>) -> Get<'_> {
        Get::new(self, key.into())
    }

    /// Sets a key to a value, replacing whatever it held and its time to live.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use std::time::Duration;
    ///
    /// assert!(kv.set("lock:1", "me").if_absent().ttl(Duration::from_secs(10)).await?);
    /// assert!(!kv.set("lock:1", "you").if_absent().await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn set(&self, key: impl Into<Key>, value: impl Into<Value>) -> Set<'_> {
        Set::new(self, key.into(), value.into())
    }

    /// Deletes a key. `true` if there was one.
    pub fn del(&self, key: impl Into<Key>) -> Del<'_> {
        Del::new(self, key.into())
    }

    /// Whether a key exists.
    pub fn exists(&self, key: impl Into<Key>) -> Exists<'_> {
        Exists::new(self, key.into())
    }

    /// Lets a key expire after `ttl`, to the millisecond. `false` if the key does not exist.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use std::time::Duration;
    /// use simplekv_client::Expiry;
    ///
    /// kv.set("user:1", "alice").await?;
    /// assert!(kv.expire("user:1", Duration::from_secs(60)).await?);
    /// assert!(matches!(kv.ttl("user:1").await?, Expiry::In(_)));
    /// assert!(kv.persist("user:1").await?);
    /// assert_eq!(kv.ttl("user:1").await?, Expiry::Never);
    /// assert!(kv.del("user:1").await?);
    /// assert_eq!(kv.ttl("user:1").await?, Expiry::Missing);
    /// # Ok(())
    /// # });
    /// ```
    pub fn expire(&self, key: impl Into<Key>, ttl: Duration) -> Expire<'_> {
        Expire::new(self, key.into(), ttl)
    }

    /// Lets a key live for ever. `false` if it does not exist or would have anyway.
    pub fn persist(&self, key: impl Into<Key>) -> Persist<'_> {
        Persist::new(self, key.into())
    }

    /// How long a key has to live.
    pub fn ttl(&self, key: impl Into<Key>) -> Ttl<'_> {
        Ttl::new(self, key.into())
    }

    /// Adds 1, or what [`Incr::by`] says, to the number at a key; a missing key counts as 0. The new number.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// assert_eq!(kv.incr("visits").await?, 1);
    /// assert_eq!(kv.incr("visits").by(10).await?, 11);
    /// # Ok(())
    /// # });
    /// ```
    pub fn incr(&self, key: impl Into<Key>) -> Incr<'_> {
        Incr::new(self, key.into())
    }

    /// The values of many keys, in their order. Split by slot and asked for at once: keys of different slots may be read at
    /// different moments.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// kv.mset([("user:1", "alice"), ("user:2", "bob")]).await?;
    /// let names = kv.mget(["user:2", "user:3", "user:1"]).await?;
    /// assert_eq!(names, [Some("bob".into()), None, Some("alice".into())]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn mget<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> MGet<'_> {
        MGet::new(self, keys.into_iter().map(Into::into).collect())
    }

    /// Sets many keys. Split by slot: all keys of one slot are set together, those of different slots are not, and if a part fails
    /// the others may be done ([`Error::Partial`](crate::Error::Partial)).
    pub fn mset<K: Into<Key>, V: Into<Value>>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> MSet<'_> {
        MSet::new(self, pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// All keys, or those with a prefix, slot after slot: `client.scan().prefix("user:").stream()`.
    ///
    /// A key that exists from the beginning of the walk to its end is found at least once, even if its slot moves meanwhile; one that
    /// comes or goes may be found or not.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use futures::TryStreamExt;
    ///
    /// kv.mset([("user:1", "alice"), ("user:2", "bob"), ("cart:1", "3 apples")]).await?;
    /// let users: Vec<_> = kv.scan().prefix("user:").stream().try_collect().await?;
    /// assert_eq!(users.len(), 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn scan(&self) -> Scan<'_> {
        Scan::new(self)
    }

    /// Any command by name, as Redis spells it.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use simplekv_client::{ReadPolicy, Reply};
    ///
    /// kv.cmd("APPEND").key("log").arg("one;").await?;
    /// assert_eq!(kv.cmd("STRLEN").key("log").read(ReadPolicy::Linearizable).await?, Reply::Int(4));
    /// # Ok(())
    /// # });
    /// ```
    pub fn cmd(&self, name: &str) -> Cmd<'_> {
        Cmd::new(self, name)
    }

    /// Runs a command for one slot or group and returns its reply as it is, a command's own error (`Reply::Error`) included.
    ///
    /// `args` is the command and its arguments as Redis spells them. All keys must lie in the slot. A command declared as
    /// [`Kind::Read`] must not change anything: reads are repeated without an identity.
    ///
    /// # Errors
    /// When the command was not evaluated, or a write's outcome is unknown. By then everything that could be retried was.
    pub async fn execute(
        &self,
        target: impl Into<Target>,
        args: impl Into<Arc<[Bytes]>>,
        kind: Kind,
        options: Options,
    ) -> Result<Reply> {
        self.core().execute(target.into(), args.into(), kind, options, self.session.as_ref()).await
    }

    /// Runs a command without keys on every group at once, by group id. Groups that come or go meanwhile may be missed. As long as no
    /// group is known they are waited for; if none is by the deadline, that error is the only result, under the id 0, which no group
    /// has.
    pub async fn execute_on_every_group(
        &self,
        args: impl Into<Arc<[Bytes]>>,
        kind: Kind,
        mut options: Options,
    ) -> Vec<(GroupId, Result<Reply>)> {
        let args = args.into();
        let total = options.timeout.unwrap_or(self.core().config.timeouts.total);
        let (began, unserved) = (Instant::now(), Error::SlotUnserved { slot: Slot::MIN });
        let has_groups = |topology: &Topology| !topology.groups().is_empty();
        if !has_groups(&self.core().slots.load()) {
            if let Err(error) = self.core().topology_with(total, unserved, has_groups).await {
                return vec![(GroupId(0), Err(error))];
            }
            options.timeout = Some(total.saturating_sub(began.elapsed()));
        }
        let topology = Arc::clone(&self.core().slots.load());
        let each = topology.groups().iter().map(|group| group.id).map(|group| {
            let args = Arc::clone(&args);
            async move { (group, self.execute(group, args, kind, options).await) }
        });
        futures::future::join_all(each).await
    }

    /// Runs commands for one slot or group in this order, in one round trip. Each sees what those before it did; one that fails does
    /// not stop those after it. The results come in the same order, each as [`Client::execute`]'s. They are not one transaction:
    /// other requests may come in between.
    ///
    /// A read whose answer was lost fails if a write behind it may have been done: asked again, it would see that write.
    pub async fn execute_in_order(
        &self,
        target: impl Into<Target>,
        commands: Vec<(Arc<[Bytes]>, Kind)>,
        options: Options,
    ) -> Vec<Result<Reply>> {
        self.core().execute_in_order(target.into(), commands, options, self.session.as_ref()).await
    }

    /// Runs requests for slots, all at once, and hands out the answers as they come: what one reader of a pipeline has to ask, in one
    /// call. They are sent before this returns, those for one node in as few frames as there can be.
    ///
    /// Requests for one slot of which any is a write are executed in their order, each seeing what those before it did, as by
    /// [`Client::execute_in_order`]; all others at the same time. Each has its own result, and one that has to be tried again holds up
    /// none but those for its slot. Dropping the answers lets go of all requests that are not answered.
    ///
    /// Must be called within a tokio runtime.
    pub fn execute_together(&self, asks: Vec<Ask>, options: Options) -> Answers {
        self.core().execute_together(asks, options, self.session.as_ref())
    }

    /// An identity for a write to `key`, to be stored before the write is made. Making the write again under the same identity,
    /// even by another process, does it at most once; an hour later it is refused. `None` if the time of the key's group is not
    /// known yet, without which that cannot be promised.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let id = kv.request_id("balance:1").expect("a client that has been built knows the time");
    /// // Written down, together with what is to be done. Then, however often the program crashes and begins again:
    /// for _ in 0..3 {
    ///     assert_eq!(kv.incr("balance:1").by(50).request_id(id).await?, 50);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn request_id(&self, key: impl Into<Key>) -> Option<RequestId> {
        const WINDOW_MS: u64 = 3_600_000;
        let slot = Slot::of_key(key.into().as_ref());
        let time = self.core().slots.load().owner(slot)?.time();
        // A client of its own: an identity that is never used must not hold up the count of answered writes.
        let client = ClientId(rand::random());
        (time > GroupTime::ZERO).then(|| RequestId { client, seq: Seq(1), deadline: time.plus_millis(WINDOW_MS) })
    }

    /// The topology the client routes by, now and whenever it changes.
    #[must_use]
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.core().slots.subscribe()
    }

    /// What the client has counted so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.core().stats.snapshot()
    }

    /// Lets no new request in, waits up to `grace` for those in flight, and closes all connections. Later requests end with
    /// [`Error::Closed`](crate::Error::Closed), on every clone; so do those that would have had to be tried again after `grace`, or
    /// with [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if they are in doubt.
    pub async fn close(&self, grace: Duration) {
        self.core().close(grace).await;
        if let Some(watcher) = self.shared.watcher.get() {
            watcher.abort();
        }
    }
}

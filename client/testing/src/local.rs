//! A real cluster in the test's own process.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use simplekv_client::{Client, ClientBuilder};
use simplekv_local::{Cluster, Layout, Wanted};
use simplekv_types::FlushPolicy;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Threads of a cluster. Its nodes must not wait for those of the test, which may be busy with anything.
const THREADS: usize = 2;
/// How long what is being written may hold up the end of a cluster.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Three nodes with two groups of three replicas, a router and their metadata store: what `make run` starts, on free ports and with
/// its data in a temporary directory. When it is dropped all of it is gone.
///
/// ```
/// use simplekv_testing::LocalCluster;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = LocalCluster::start().await?;
/// let kv = cluster.client().await?;
/// kv.set("user:1", "alice").await?;
/// assert_eq!(kv.get("user:1").await?.as_deref(), Some(&b"alice"[..]));
/// println!("any Redis client may connect to {}", cluster.redis_address());
/// # Ok(())
/// # }
/// ```
pub struct LocalCluster {
    seeds: Vec<String>,
    redis: SocketAddr,
    http: SocketAddr,
    dir: PathBuf,
    running: Option<Running>,
}

/// What ends with the cluster, in this order.
struct Running {
    cluster: Cluster,
    runtime: Runtime,
    dir: TempDir,
}

/// Three nodes on any ports. What they store need not survive anything.
fn layout(dir: &TempDir) -> Result<Layout, impl fmt::Display + use<>> {
    Layout::new(&Wanted { flush: FlushPolicy::Os, ..Wanted::new(dir.path().join("data")) })
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        let Some(Running { cluster, runtime, dir }) = self.running.take() else { return };
        // A thread that runs an async test must not wait for a runtime's end; another one may.
        let end = std::thread::spawn(move || {
            // As if the process had been killed: nothing of it will be read again.
            runtime.shutdown_timeout(END_LIMIT);
            drop(cluster);
            drop(dir);
        });
        // It has nothing to say.
        let _ = end.join();
    }
}

/// Lets go of what was begun.
fn end(runtime: Runtime, error: StartError) -> StartError {
    runtime.shutdown_background();
    error
}

/// Why a cluster does not start.
#[derive(Debug, thiserror::Error)]
#[error("the cluster does not start: {0}")]
pub struct StartError(String);

impl StartError {
    fn new(error: impl fmt::Display) -> Self {
        // With what it was caused by.
        Self(format!("{error:#}"))
    }
}

impl fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, redis, http, dir, .. } = self;
        let mut shown = f.debug_struct("LocalCluster");
        shown.field("seeds", seeds).field("redis", redis).field("http", http).field("dir", dir).finish_non_exhaustive()
    }
}

impl LocalCluster {
    /// Starts a cluster and waits until every slot is served.
    ///
    /// # Errors
    /// If the system has no port, thread or directory left, or the cluster cannot go on.
    pub async fn start() -> Result<Self, StartError> {
        let dir = TempDir::with_prefix("simplekv-").map_err(StartError::new)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime = runtime.map_err(StartError::new)?;
        let layout = layout(&dir).map_err(StartError::new)?;
        let started = runtime.spawn(async move {
            let cluster = Cluster::start(&layout).await?;
            match cluster.serves().await {
                Ok(()) => Ok(cluster),
                Err(error) => {
                    cluster.stop().await;
                    Err(error)
                }
            }
        });
        let cluster = match started.await {
            Ok(Ok(cluster)) => cluster,
            Ok(Err(error)) => return Err(end(runtime, StartError::new(error))),
            Err(panicked) => return Err(end(runtime, StartError::new(panicked))),
        };
        let seeds = cluster.nodes().iter().map(|node| node.addresses().grpc.clone()).collect();
        let (redis, http) = (cluster.router().resp_address(), cluster.router().http_address());
        Ok(Self { seeds, redis, http, dir: dir.path().to_owned(), running: Some(Running { cluster, runtime, dir }) })
    }

    /// The URL for [`Client::connect`].
    #[must_use]
    pub fn seeds(&self) -> String {
        format!("simplekv://{}", self.seeds.join(","))
    }

    /// A client's settings, with the nodes to ask first.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder().url(self.seeds())
    }

    /// A client with default settings.
    ///
    /// # Errors
    /// [`Error::NoSeed`](simplekv_client::Error::NoSeed) if no node answers in time.
    pub async fn client(&self) -> simplekv_client::Result<Client> {
        self.builder().build().await
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the router speaks the Redis protocol.
    #[must_use]
    pub fn redis_address(&self) -> SocketAddr {
        self.redis
    }

    /// Where the router speaks HTTP.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }
}

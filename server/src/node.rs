//! One node, from its first listening socket to the last flush.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use simplekv_engine::fs::{Fs, Lock, RealFs};
use simplekv_meta::{Keys, MetaStore, Mirror, MirrorOptions, Records};
use simplekv_types::{GroupId, Lsn, NodeAddresses};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::config::Config;
use crate::host::News;
use crate::identity::{CleanEnd, DataDir, IdentityError};
use crate::membership::Membership;
use crate::peers::Peers;
use crate::shared::Shared;
use crate::{clock, controller, http, replicas, resp, rpc};

/// How often a starting node looks whether it serves.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Messages for the channels of other nodes that wait to be sent; beyond, they are lost.
const SAID_AT_ONCE: usize = 1024;

/// A running node.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    replicas: replicas::Replicas,
    dir: DataDir,
    stopping: CancellationToken,
    tasks: TaskTracker,
    fatal: watch::Receiver<Option<String>>,
    /// Held as long as the process uses the directory.
    _lock: Box<dyn Lock>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or an address is not this machine's.
    #[error("cannot listen on {address} for {what}: {error}")]
    Listen {
        /// What was to be served there.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("{path} is in use by another process: a data directory belongs to one node")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data directory cannot be created or locked.
    #[error("{path}: {error}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The prefix of the metadata keys is not usable.
    #[error(transparent)]
    Prefix(#[from] simplekv_meta::InvalidPrefix),
}

struct Listeners {
    grpc: TcpListener,
    resp: TcpListener,
    admin: TcpListener,
}

impl Node {
    /// Starts a node on a metadata store. It listens when this returns; it serves once the cluster exists and its groups have
    /// leaders.
    ///
    /// # Errors
    /// Whatever can be found out without the metadata store. What goes wrong later is told by [`Node::failed`].
    pub async fn start(config: Config, store: Arc<dyn MetaStore>) -> Result<Self, StartError> {
        Self::start_on(Arc::new(RealFs), config, store).await
    }

    /// The same on another file system: a test's way to a disk that is slow.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on(fs: Arc<dyn Fs>, mut config: Config, store: Arc<dyn MetaStore>) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&mut config).await?;
        let lock = lock(&*fs, &config)?;
        let dir = DataDir::new(config.data_dir.clone());
        // Whose directory this is can be told at once; which cluster's, only by the metadata store.
        dir.read(config.node)?;

        let keys = Keys::new(&config.etcd.prefix)?;
        let records = Records::new(Arc::clone(&store), keys.clone());
        let mirror = Mirror::start(store, keys, MirrorOptions::default());
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared::new(config, mirror.subscribe(), stopping.clone()));
        let peers = Peers::new(Arc::clone(&shared));
        let (said, to_spread) = mpsc::channel(SAID_AT_ONCE);
        shared.spread_by(said);
        let (fatal_out, fatal) = watch::channel(None);
        let (news, news_in) = mpsc::unbounded_channel::<News>();
        let tasks = TaskTracker::new();
        tasks.spawn(stopping.clone().run_until_cancelled_owned(peers.clone().spread(to_spread)));
        let replicas = replicas::Replicas::new(Arc::clone(&shared), fs, dir.clone(), records.clone(), peers, news);

        tasks.spawn(follow(Arc::clone(&shared), mirror, stopping.clone()));
        let orders = controller::Orders::default();
        listeners.serve(&shared, &records, &orders, &tasks);
        let membership =
            Membership { shared: Arc::clone(&shared), dir: dir.clone(), records, replicas: replicas.clone(), orders };
        let life = membership.live(news_in, stopping.clone());
        tasks.spawn(async move {
            if let Err(failure) = life.await {
                error!(error = %failure, "this node cannot go on");
                fatal_out.send_replace(Some(failure.to_string()));
            }
        });
        Ok(Self { shared, replicas, dir, stopping, tasks, fatal, _lock: lock })
    }

    /// Where the node is reached.
    #[must_use]
    pub fn addresses(&self) -> &NodeAddresses {
        &self.shared.config().advertise
    }

    /// Completes with the reason when the node cannot go on; pends while it can.
    pub fn failed(&self) -> impl Future<Output = String> + Send + use<> {
        let mut fatal = self.fatal.clone();
        async move {
            let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                None => std::future::pending().await,
            }
        }
    }

    /// Completes once every slot has a leader, and those this node leads are answered by it.
    pub async fn serves(&self) {
        // What a group's task publishes is read by every request and announced to nobody: looking now and then is cheaper.
        while !self.shared.serves(clock::now()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Hands over leaderships, flushes, and ends. Takes at most the configured grace.
    pub async fn stop(self) {
        let grace = self.shared.limits().shutdown_grace;
        if tokio::time::timeout(grace, self.replicas.hand_over()).await.is_err() {
            info!("not everything was handed over in time");
        }
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await.is_err() {
            info!("some connections were cut");
        }
        if let Some(log_ends) = self.replicas.stop().await
            && let Err(error) = self.mark_clean(log_ends)
        {
            info!(%error, "the end was clean, but could not be noted");
        }
    }

    /// Notes that nothing is missing: after a loss of power the next start can tell from it that it has everything.
    ///
    /// A process that never registered has nothing to say about how the run before it ended.
    fn mark_clean(&self, log_ends: BTreeMap<GroupId, Lsn>) -> Result<(), IdentityError> {
        let Some(run) = self.shared.run() else { return Ok(()) };
        self.dir.change(self.shared.node(), |identity| {
            let mine = identity.run == Some(run);
            if mine {
                identity.clean = Some(CleanEnd { run, log_ends });
            }
            mine
        })
    }
}

impl Listeners {
    /// Takes all ports first: a node that cannot be reached should not begin anything else.
    async fn bind(config: &mut Config) -> Result<Self, StartError> {
        let grpc = listen("gRPC", config.listen.grpc, &mut config.advertise.grpc).await?;
        let resp = listen("the Redis protocol", config.listen.resp, &mut config.advertise.resp).await?;
        let admin = listen("administration", config.listen.admin, &mut config.advertise.admin).await?;
        Ok(Self { grpc, resp, admin })
    }

    fn serve(self, shared: &Arc<Shared>, records: &Records, orders: &controller::Orders, tasks: &TaskTracker) {
        tasks.spawn(rpc::serve(self.grpc, Arc::clone(shared), orders.clone()));
        tasks.spawn(resp::serve(self.resp, Arc::clone(shared)));
        tasks.spawn(http::serve(self.admin, Arc::clone(shared), records.clone()));
    }
}

async fn listen(what: &'static str, address: SocketAddr, advertised: &mut String) -> Result<TcpListener, StartError> {
    let failed = |error| StartError::Listen { what, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    if let Some((host, "0")) = advertised.rsplit_once(':') {
        *advertised = format!("{host}:{port}");
    }
    Ok(listener)
}

fn lock(fs: &dyn Fs, config: &Config) -> Result<Box<dyn Lock>, StartError> {
    let path = config.data_dir.clone();
    let failed = |error| StartError::Directory { path: path.clone(), error };
    fs.create_dir_all(&path).map_err(failed)?;
    fs.lock(&path.join("LOCK")).map_err(failed)?.ok_or(StartError::InUse { path: path.clone() })
}

/// Keeps the routing picture current.
async fn follow(shared: Arc<Shared>, mirror: Mirror, stopping: CancellationToken) {
    let mut views = mirror.subscribe();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        shared.follow(&view);
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = stopping.cancelled() => return,
        }
    }
}

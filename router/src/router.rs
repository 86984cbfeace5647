//! The router as a whole: starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use simplekv_client::{Client, Error};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{ConfigError, RouterConfig};
use crate::shared::Shared;
use crate::{http, listener, resp, rpc};

/// Why a router could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The client refused its settings.
    #[error(transparent)]
    Client(#[from] Error),
}

/// A running router. Dropping it stops it at once; [`Router::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    resp_address: SocketAddr,
    http_address: SocketAddr,
    grpc_address: Option<SocketAddr>,
}

impl Router {
    /// Binds the ports and begins to serve. The cluster need not be there yet: requests wait for it until their deadline, and
    /// `/readyz` says that the router is not ready.
    ///
    /// # Errors
    /// [`StartError`] if a setting cannot work or a port is taken.
    pub async fn start(config: RouterConfig) -> Result<Self, StartError> {
        config.check()?;
        let resp_listener = bind(config.resp_listen)?;
        let http_listener = bind(config.http_listen)?;
        let grpc_listener = config.grpc_listen.map(bind).transpose()?;
        let address = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let resp_address = address(&resp_listener, config.resp_listen);
        let http_address = address(&http_listener, config.http_listen);
        let grpc_address =
            grpc_listener.as_ref().zip(config.grpc_listen).map(|(listener, asked)| address(listener, asked));

        let limits = config.limits;
        // The router holds requests back before the client has to refuse them: requests for one slot, parts of those for several, and
        // those of HTTP, each up to its limit. Calls of gRPC wait with the former.
        let in_flight = limits.in_flight.saturating_mul(4);
        let client = Client::builder().timeout(limits.request_timeout).max_in_flight(in_flight, in_flight);
        let client = config.seeds.iter().fold(client, |client, seed| client.seed(seed)).build_lazy()?;
        let run_id = format!("{:032x}{:08x}", rand::random::<u128>(), rand::random::<u32>());
        let shared = Arc::new(Shared::new(client, limits, run_id, resp_address.port()));

        let tasks = TaskTracker::new();
        let serve_resp = {
            let shared = Arc::clone(&shared);
            move |stream, peer| resp::serve(Arc::clone(&shared), stream, peer)
        };
        let serve_http = http::serve(Arc::clone(&shared), http::routes(&shared));
        tasks.spawn(listener::accept(resp_listener, shared.stopping.clone(), tasks.clone(), serve_resp));
        tasks.spawn(listener::accept(http_listener, shared.stopping.clone(), tasks.clone(), serve_http));
        if let Some(listener) = grpc_listener {
            let serve_grpc = http::serve(Arc::clone(&shared), rpc::routes(&shared, &config.origins));
            tasks.spawn(listener::accept(listener, shared.stopping.clone(), tasks.clone(), serve_grpc));
        }
        let grpc = grpc_address.map(tracing::field::display);
        info!(resp = %resp_address, http = %http_address, grpc, "router started");
        Ok(Self { shared, tasks, resp_address, http_address, grpc_address })
    }

    /// Where Redis clients connect.
    #[must_use]
    pub fn resp_address(&self) -> SocketAddr {
        self.resp_address
    }

    /// Where HTTP clients connect.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where gRPC clients connect, if they may.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// The client through which the router reaches the cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Accepts nothing more, answers what has been asked, and closes all connections. What takes longer than
    /// [`Limits::shutdown_grace`](crate::Limits::shutdown_grace) is cut off.
    pub async fn shutdown(self) {
        self.shared.stopping.cancel();
        self.tasks.close();
        let grace = self.shared.limits.shutdown_grace;
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(connections = self.tasks.len(), "cutting off connections that did not finish in time");
        }
        self.shared.client.close(std::time::Duration::ZERO).await;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(address).map_err(|source| StartError::Bind { address, source })
}

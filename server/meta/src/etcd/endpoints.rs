//! etcd's members, and which of them is asked first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, TlsOptions, TxnResponse};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::{self, Failure};
use super::{EtcdOptions, EtcdTls, to_etcd};
use crate::{MetaError, Op, Txn};

/// Below 5 s etcd takes pings for an attack and closes the connection.
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer accepted, in bytes: every record of a large cluster at once. The library's own limit is 4 MiB.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One connection per member. Given several members the library balances over them blindly, the dead ones included.
pub(super) struct Endpoints {
    /// Invariant: not empty.
    members: Vec<Member>,
    /// Asked first; left when it fails. Invariant: an index of `members`.
    preferred: AtomicUsize,
    options: EtcdOptions,
}

struct Member {
    url: String,
    client: OnceCell<Client>,
}

impl Endpoints {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, MetaError> {
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let url = |endpoint: &String| match endpoint.contains("://") {
            true => endpoint.clone(),
            false => format!("{scheme}://{endpoint}"),
        };
        let members: Vec<Member> =
            options.endpoints.iter().map(|endpoint| Member { url: url(endpoint), client: OnceCell::new() }).collect();
        if members.is_empty() {
            return Err(MetaError::Invalid { reason: "no etcd endpoints are given".to_owned() });
        }
        for member in &members {
            if let Err(error) = tonic::transport::Endpoint::from_shared(member.url.clone()) {
                return Err(MetaError::Invalid {
                    reason: format!("`{}` is not an etcd endpoint: {error}", member.url),
                });
            }
        }
        Ok(Self { members, preferred: AtomicUsize::new(0), options })
    }

    pub(super) fn options(&self) -> &EtcdOptions {
        &self.options
    }

    /// Makes a call without effect, as [`Endpoints::repeat`] does.
    pub(super) async fn read<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, MetaError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.repeat(call).await.map_err(failure::of_read)
    }

    /// Makes a call that may be repeated: at each member once, beginning with the preferred one, until one answers.
    pub(super) async fn repeat<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut failed = Failure::NotSent("no endpoint was asked".to_owned());
        for member in self.round() {
            let mut result = self.attempt(member, self.options.read_timeout, &call).await;
            if let Err(Failure::LoginExpired(_)) = result {
                result = self.attempt(member, self.options.read_timeout, &call).await;
            }
            match result {
                Err(failure) if failure.is_of_endpoint() => failed = failure,
                decided => return decided,
            }
        }
        Err(failed)
    }

    /// Sends a transaction once. Only a member that could not be connected to is passed over: nothing was sent to it.
    pub(super) async fn txn(&self, txn: &Txn) -> Result<TxnResponse, MetaError> {
        let session = txn.ops.iter().find_map(|op| if let Op::Put { session, .. } = op { *session } else { None });
        let deadline = Instant::now() + self.options.txn_timeout;
        let mut failed = Failure::NotSent("no endpoint was asked".to_owned());
        for member in self.round() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let request = to_etcd(txn);
            match self.attempt(member, left, move |client| async move { kv(&client).txn(request).await }).await {
                Ok(answer) => return Ok(answer),
                Err(error @ Failure::NotSent(_)) => failed = error,
                Err(error) => return Err(failure::of_txn(error, session)),
            }
        }
        Err(failure::of_txn(failed, session))
    }

    /// Makes one call at one member, and draws the consequences of its failure.
    pub(super) async fn attempt<T, F>(
        &self,
        member: usize,
        limit: Duration,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + limit;
        // Connecting sends nothing of the call, a login at most.
        let client = timeout_at(deadline, self.client(member))
            .await
            .unwrap_or_else(|_| Err(Failure::NotSent(format!("no connection within {limit:?}"))));
        let result = match client {
            Ok(client) => match timeout_at(deadline, call(client)).await {
                Ok(answered) => answered.map_err(Failure::from),
                Err(_) => Err(Failure::silence(limit)),
            },
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result {
            self.on_failure(member, failure).await;
        }
        result
    }

    /// The member to ask first.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Prefers the next member, unless somebody else has left this one before.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        // Only a hint of whom to ask first: nothing else is ordered by it.
        let left = self.preferred.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        if left.is_ok() && next != member {
            tracing::debug!(from = self.url(member), to = self.url(next), "asking another etcd member from now on");
        }
    }

    pub(super) fn url(&self, member: usize) -> &str {
        self.members.get(member).map_or("", |member| &member.url)
    }

    /// The members in the order in which to ask them.
    fn round(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.preferred(), self.members.len());
        (0..count).map(move |step| (first + step) % count)
    }

    async fn client(&self, member: usize) -> Result<Client, Failure> {
        let member = self.members.get(member).expect("members are named by index, and none is ever removed");
        let connect = || Client::connect([&member.url], Some(connect_options(&self.options)));
        // The library says "invalid argument" for a server that refuses a login as well as for one that cannot be reached.
        let client = member.client.get_or_try_init(connect).await;
        client.cloned().map_err(|error| match Failure::from(error) {
            error @ (Failure::Invalid(_) | Failure::NotSent(_)) => error,
            other => Failure::NotSent(other.reason().to_owned()),
        })
    }

    async fn on_failure(&self, member: usize, failure: &Failure) {
        tracing::debug!(endpoint = self.url(member), reason = failure.reason(), "a call to etcd failed");
        if failure.is_of_endpoint() {
            self.leave(member);
        }
        if let Failure::LoginExpired(_) = failure
            && let Some(client) = self.members.get(member).and_then(|member| member.client.get())
        {
            // The library could do this by itself, but then it also sends the call again.
            let renewed = timeout(self.options.read_timeout, client.refresh_token()).await;
            tracing::debug!(?renewed, "logged in to etcd again");
        }
    }
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").field("options", &self.options).field("preferred", &self.preferred).finish()
    }
}

/// A client for keys that accepts large answers.
pub(super) fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

fn connect_options(options: &EtcdOptions) -> ConnectOptions {
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(options.connect_timeout)
        // A backstop only: every call has a limit of its own. It ends with the response's headers, so streams live on.
        .with_timeout(options.txn_timeout.max(options.read_timeout))
        .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
        .with_keep_alive_while_idle(true)
        // A member cut off from the others must say so instead of answering from the past or not at all.
        .with_require_leader(true);
    if let Some(user) = &options.user {
        connect = connect.with_user(&user.name, &user.password);
    }
    if let Some(tls) = &options.tls {
        connect = connect.with_tls(tls_options(tls));
    }
    connect
}

fn tls_options(tls: &EtcdTls) -> TlsOptions {
    let mut options = TlsOptions::new().ca_certificate(etcd_client::Certificate::from_pem(&tls.ca));
    if let Some((certificate, key)) = &tls.identity {
        options = options.identity(etcd_client::Identity::from_pem(certificate, key));
    }
    if let Some(domain) = &tls.domain {
        options = options.domain_name(domain);
    }
    options
}

//! etcd as the metadata store.
//!
//! The client library is a set of stubs: it balances without looking at health, resumes no watch, keeps no lease alive and waits
//! without limit. What is missing stands here: one connection per endpoint and a preferred one among them, a time limit around
//! every wait, watches that resume, sessions with deadlines of their own. It repeats reads; it never repeats a transaction that
//! may have been sent.

mod endpoints;
mod failure;
mod session;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{CompareOp, GetOptions, KeyValue, PutOptions, ResponseHeader, TxnOpResponse, TxnResponse};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use simplekv_types::Revision;
use tokio::time::Instant;

use self::endpoints::Endpoints;
use self::watch::EtcdWatch;
use crate::store::check_not_empty;
use crate::{Compare, Entry, Listing, Lost, MetaError, MetaStore, Op, Session, SessionId, Txn, TxnOutcome, Watch};

/// Where etcd is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The members' client addresses, as `host:port` or URL. At least one.
    pub endpoints: Vec<String>,
    /// How long a member may take to accept a connection. Should be well below `txn_timeout`: while a connection is being made a
    /// transaction is known not to have been sent.
    pub connect_timeout: Duration,
    /// How long one member may take to answer a read; then the next one is asked. A read ends after this times the number of
    /// endpoints, or twice that if etcd wants a new login.
    pub read_timeout: Duration,
    /// How long a transaction may take. Longer than a read: giving up leaves its outcome unknown.
    pub txn_timeout: Duration,
    /// Whom to log in as, if etcd asks for it.
    pub user: Option<EtcdUser>,
    /// How to talk TLS. Without it connections are in plain text.
    pub tls: Option<EtcdTls>,
}

/// A user of etcd's own authentication.
#[derive(Clone)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How to talk TLS to etcd. Everything is PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// The authority that signed etcd's certificates.
    pub ca: Vec<u8>,
    /// Our certificate and its private key, if etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name etcd's certificates carry, if it is not the host connected to.
    pub domain: Option<String>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// The given endpoints; 1 s to connect and to read, 3 s for a transaction, no login, no TLS.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            txn_timeout: Duration::from_secs(3),
            user: None,
            tls: None,
        }
    }
}

/// etcd. Clones share the connections.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    endpoints: Arc<Endpoints>,
}

impl EtcdStore {
    /// A store that connects when it is first used: etcd need not be there yet.
    ///
    /// # Errors
    /// [`MetaError::Invalid`] without endpoints, or for one that is not an address.
    pub fn new(options: EtcdOptions) -> Result<Self, MetaError> {
        Ok(Self { endpoints: Arc::new(Endpoints::new(options)?) })
    }
}

impl MetaStore for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>> {
        async move {
            check_not_empty(key, "key")?;
            let response =
                self.endpoints.read(move |client| async move { endpoints::kv(&client).get(key, None).await }).await?;
            Ok(response.kvs().first().and_then(entry))
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>> {
        async move {
            check_not_empty(prefix, "prefix")?;
            let all = || Some(GetOptions::new().with_prefix());
            let call = move |client| async move { endpoints::kv(&client).get(prefix, all()).await };
            let response = self.endpoints.read(call).await?;
            let entries = response.kvs().iter().filter_map(entry).collect();
            Ok(Listing { entries, revision: revision_of(response.header()) })
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>> {
        async move {
            txn.check()?;
            let response = self.endpoints.txn(&txn).await?;
            Ok(outcome(&response))
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let watch = EtcdWatch::new(Arc::clone(&self.endpoints), prefix.to_owned(), after);
        Watch::new(futures::stream::unfold(watch, EtcdWatch::step).boxed())
    }

    fn open_session(&self, ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>> {
        async move {
            if ttl.is_zero() {
                return Err(MetaError::Invalid { reason: "a session of no duration".to_owned() });
            }
            let asked_at = Instant::now();
            let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
            // A grant whose answer was lost leaves a lease that holds nothing and ends by itself.
            let granted = self
                .endpoints
                .read(move |client| async move { client.lease_client().grant(seconds, None).await })
                .await?;
            let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(1));
            let id = u64::try_from(granted.id()).map_err(|_| MetaError::Unavailable {
                reason: format!("etcd granted a lease of the impossible id {}", granted.id()),
            })?;
            let (session, task) = Session::new(SessionId(id), ttl);
            tokio::spawn(session::keep(Arc::clone(&self.endpoints), granted.id(), ttl, asked_at, task));
            Ok(session)
        }
        .boxed()
    }
}

/// A transaction in etcd's terms. If it is lost, the compared keys are read in the same revision.
fn to_etcd(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<etcd_client::Compare> = txn.compares.iter().map(compare).collect();
    let ops: Vec<etcd_client::TxnOp> = txn.ops.iter().map(op).collect();
    let compared: BTreeSet<&str> = txn.compares.iter().map(Compare::key).collect();
    let reads: Vec<etcd_client::TxnOp> = compared.into_iter().map(|key| etcd_client::TxnOp::get(key, None)).collect();
    etcd_client::Txn::new().when(compares).and_then(ops).or_else(reads)
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    match compare {
        Compare::Modified { key, revision } => {
            etcd_client::Compare::mod_revision(key.as_str(), CompareOp::Equal, signed(*revision))
        }
        Compare::Created { key, revision } => {
            etcd_client::Compare::create_revision(key.as_str(), CompareOp::Equal, signed(*revision))
        }
        Compare::Exists { key } => etcd_client::Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
    }
}

fn op(op: &Op) -> etcd_client::TxnOp {
    match op {
        Op::Put { key, value, session } => {
            let options = session.map(|session| PutOptions::new().with_lease(lease(session)));
            etcd_client::TxnOp::put(key.as_str(), value.as_ref(), options)
        }
        Op::Delete { key } => etcd_client::TxnOp::delete(key.as_str(), None),
    }
}

fn outcome(response: &TxnResponse) -> TxnOutcome {
    let revision = revision_of(response.header());
    if response.succeeded() {
        return TxnOutcome::Succeeded { revision };
    }
    let mut current = Vec::new();
    for read in response.op_responses() {
        if let TxnOpResponse::Get(read) = read {
            current.extend(read.kvs().iter().filter_map(entry));
        }
    }
    TxnOutcome::Lost(Lost { current, revision })
}

/// `None` for a key that is not text: it is not ours, whatever it is.
fn entry(kv: &KeyValue) -> Option<Entry> {
    Some(Entry {
        key: kv.key_str().ok()?.to_owned(),
        value: Bytes::copy_from_slice(kv.value()),
        created: unsigned(kv.create_revision()),
        modified: unsigned(kv.mod_revision()),
        session: u64::try_from(kv.lease()).ok().filter(|&lease| lease != 0).map(SessionId),
    })
}

fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    unsigned(header.map_or(0, ResponseHeader::revision))
}

/// etcd counts revisions from 1 in signed numbers.
fn unsigned(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn lease(session: SessionId) -> i64 {
    i64::try_from(session.0).unwrap_or(i64::MAX)
}

//! The smart client of simplekv.
//!
//! It knows which node leads the group of each key, talks straight to it, and learns of every change by push. Requests of all tasks
//! share a few long-lived streams per node. Reads are linearizable unless they say otherwise; a write that is retried is applied
//! once.
//!
//! ```
//! # simplekv_testing::example(async |_| {
//! use std::time::Duration;
//!
//! # let cluster = simplekv_testing::MockCluster::three_nodes();
//! let url = "simplekv://127.0.0.1:7410";
//! # let url = cluster.seeds();
//! let kv = simplekv_client::Client::connect(url).await?;
//! kv.set("user:1", "alice").ttl(Duration::from_secs(60)).await?;
//! let name = kv.get("user:1").await?;
//! assert_eq!(name.as_deref(), Some(&b"alice"[..]));
//! # Ok(())
//! # });
//! ```
//!
//! # Reads that need not be linearizable
//!
//! A read may say with [`ReadPolicy`] which replicas may answer it, named by what it is promised. A [`Session`] is a client whose reads
//! see what was read and written through it; its token carries that promise to other processes.
//!
//! ```
//! # simplekv_testing::example(async |kv| {
//! use std::time::Duration;
//! use simplekv_client::ReadPolicy;
//!
//! let session = kv.session();
//! session.set("cart:1", "3 apples").await?;
//! let token = session.token().to_string(); // to a cookie, say, and back in another process:
//! let session = kv.resume(token.parse()?);
//! assert!(session.get("cart:1").await?.is_some());
//! let rough = kv.get("visits").read(ReadPolicy::Bounded { max_lag: Duration::from_secs(1) }).await?;
//! # assert_eq!(rough, None);
//! # Ok(())
//! # });
//! ```
//!
//! With a [near-cache](ClientBuilder::near_cache), a GET that is [`cached`](Get::cached) may be answered by a copy in this process, which nodes
//! tell to be stale as soon as its key changes.
//!
//! # Lists, hashes, sets and sorted sets
//!
//! [`Client::list`], [`Client::hash`], [`Client::set_of`] and [`Client::zset`] are views of one key: what can be asked of it, with what it
//! answers as Rust types. [`Client::batch`] sends many independent requests in one go, [`Client::atomic`] makes one of several.
//!
//! ```
//! # simplekv_testing::example(async |kv| {
//! kv.zset("scores").add([("alice", 7.0), ("bob", 3.5)]).await?;
//! let best = kv.zset("scores").range(0, 9).rev().with_scores().await?;
//! assert_eq!(best, [("alice".into(), 7.0), ("bob".into(), 3.5)]);
//!
//! let mut batch = kv.batch();
//! let visits = batch.add(kv.hash("user:1").incr("visits", 1));
//! let queue = batch.add(kv.list("jobs").rpush(["mail alice"]));
//! let mut results = batch.await;
//! assert_eq!((results.take(visits)?, results.take(queue)?), (1, 1));
//! # Ok(())
//! # });
//! ```
//!
//! # When something fails
//!
//! Requests are retried until their deadline (10 s unless set) with growing pauses, so a failover or a moving slot is a delay and
//! not an error. What remains is an [`Error`] that says what happened. For a write one question matters most, and
//! [`Error::may_have_applied`] answers it: only [`Error::OutcomeUnknown`] and [`Error::Partial`] leave a doubt.
//!
//! ```
//! # simplekv_testing::example(async |_| {
//! # use simplekv_testing::{MockCluster, Verdict};
//! # let cluster = MockCluster::three_nodes();
//! # let kv = cluster.client().await;
//! # cluster.script(|_| Verdict::ServeAndHangUp);
//! // Sent once; the node does it, and the connection breaks before its answer.
//! let error = kv.set("user:1", "alice").no_retry().await.unwrap_err();
//! assert!(error.may_have_applied());
//! # Ok(())
//! # });
//! ```
//!
//! # In tests
//!
//! Crate `simplekv-testing` has clusters for the tests of programs: one whose nodes fail as they are told, and a real one in the test's
//! own process.

mod airborne;
mod ask;
mod asking;
mod atomic;
mod attempt;
mod backoff;
mod balance;
mod batch;
mod budget;
mod builder;
mod channels;
mod client;
mod config;
mod core;
mod error;
mod inbox;
mod key;
mod lane;
mod listener;
mod near_cache;
mod options;
mod parcel;
mod pool;
mod pushed;
mod request;
mod results;
#[cfg(feature = "sans-io")]
pub mod sans_io;
mod scatter;
mod sequence;
mod session;
mod singleflight;
mod slot_cache;
mod stats;
mod topology;
mod tracking;
mod transport;
mod version;
mod views;
mod waiting;
mod watcher;

pub use crate::core::Answers;
pub use ask::Ask;
pub use atomic::{Atomic, Outcome};
pub use backoff::Backoff;
pub use batch::Batch;
pub use builder::ClientBuilder;
pub use channels::{Listening, Message, Subscription};
pub use client::Client;
pub use config::Timeouts;
pub use error::{Error, Result, TransportError};
pub use key::{Key, Value};
pub use near_cache::NearCache;
pub use options::{Kind, Options, RequestId, Target};
pub use request::{
    Cmd, Del, Exists, Expire, Expiry, Get, Incr, MGet, MSet, Operation, Persist, Read, Request, Scan, Set, Ttl,
    Waiting, Write,
};
pub use results::{Place, Results};
pub use session::Session;
pub use simplekv_types::{
    Failure, GroupId, InvalidToken, Naming, NodeId, Position, ReadPolicy, Reply, SessionToken, Slot,
};
pub use stats::ClientStats;
pub use topology::{Group, Node, Topology};
pub use tracking::{Stale, Tracking};
pub use version::Version;
pub use views::{
    Aggregate, End, Hash, List, ListPop, ListPosition, ListPush, ListRemove, Lists, SetCombine, SetOf, Walk, Zset,
    ZsetAdd, ZsetCombine, ZsetPop, ZsetRange, Zsets,
};

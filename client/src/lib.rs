//! The smart client of simplekv.
//!
//! It knows which node leads the group of each key, talks straight to it, and learns of every change by push. Requests of all tasks
//! share a few long-lived streams per node. Reads are linearizable unless they say otherwise; a write that is retried is applied
//! once.
//!
//! ```no_run
//! # async fn example() -> simplekv_client::Result<()> {
//! use std::time::Duration;
//!
//! let kv = simplekv_client::Client::connect("simplekv://127.0.0.1:7410").await?;
//! kv.set("user:1", "alice").ttl(Duration::from_secs(60)).await?;
//! let name = kv.get("user:1").await?;
//! assert_eq!(name.as_deref(), Some(&b"alice"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Reads that need not be linearizable
//!
//! A read may say with [`ReadPolicy`] which replicas may answer it, named by what it is promised. A [`Session`] is a client whose reads
//! see what was read and written through it; its token carries that promise to other processes.
//!
//! ```no_run
//! # async fn example(kv: simplekv_client::Client) -> simplekv_client::Result<()> {
//! use std::time::Duration;
//! use simplekv_client::ReadPolicy;
//!
//! let session = kv.session();
//! session.set("cart:1", "3 apples").await?;
//! let token = session.token().to_string(); // to a cookie, say, and back in another process:
//! let session = kv.resume(token.parse()?);
//! assert!(session.get("cart:1").await?.is_some());
//! let rough = kv.get("visits").read(ReadPolicy::Bounded { max_lag: Duration::from_secs(1) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When something fails
//!
//! Requests are retried until their deadline (10 s unless set) with growing pauses, so a failover or a moving slot is a delay and
//! not an error. What remains is an [`Error`] that says what happened. For a write one question matters most, and
//! [`Error::may_have_applied`] answers it: only [`Error::OutcomeUnknown`] and [`Error::Partial`] leave a doubt.

mod attempt;
mod backoff;
mod balance;
mod builder;
mod channels;
mod client;
mod config;
mod core;
mod error;
mod key;
mod lane;
mod listener;
mod options;
mod pool;
mod request;
#[cfg(feature = "sans-io")]
pub mod sans_io;
mod scatter;
mod sequence;
mod session;
mod singleflight;
mod slot_cache;
mod stats;
mod topology;
mod transport;
mod waiting;
mod watcher;

pub use backoff::Backoff;
pub use builder::ClientBuilder;
pub use channels::{Listening, Message, Subscription};
pub use client::Client;
pub use config::Timeouts;
pub use error::{Error, Result, TransportError};
pub use key::{Key, Value};
pub use options::{Kind, Options, RequestId, Target};
pub use request::{Cmd, Del, Exists, Expire, Expiry, Get, Incr, MGet, MSet, Persist, Scan, Set, Ttl};
pub use session::Session;
pub use simplekv_types::{
    Failure, GroupId, InvalidToken, Naming, NodeId, Position, ReadPolicy, Reply, SessionToken, Slot,
};
pub use stats::ClientStats;
pub use topology::{Group, Node, Topology};

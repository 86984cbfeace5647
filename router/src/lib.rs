//! The router: one address for clients that speak the Redis protocol, HTTP or gRPC and know nothing of slots.
//!
//! It owns no data and decides nothing about slots: it is a client of the cluster with other accents. What arrives on one connection
//! is answered in its order and takes effect in its order per slot; what concerns different slots proceeds at the same time.

mod config;
pub mod environment;
mod error;
mod facts;
mod http;
mod listener;
mod metrics;
mod resp;
mod router;
mod rpc;
pub mod settings;
mod shared;
mod tracking;

pub use config::{ConfigError, Limits, NoOrigin, Origin, RouterConfig, Transactions, UnknownTransactions};
pub use router::{Router, StartError};

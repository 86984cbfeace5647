//! A node of simplekv: hosts replicas of groups, serves clients and peers.
//!
//! [`Node::start`] runs one on any metadata store; the binary brings etcd, the one-process cluster a store of its own.
//! [`group::Group`] is what a node does to one group's replica, without any of the machinery around it.

mod awaited;
mod budget;
mod channels;
pub mod clock;
pub mod config;
mod controller;
mod dispatch;
mod flush;
pub mod group;
mod history;
mod host;
mod hosted;
mod http;
mod identity;
mod keyspace;
mod load;
pub mod logging;
mod membership;
mod metrics;
pub mod moves;
mod node;
mod peers;
mod picture;
mod prefetch;
mod read;
mod remains;
mod replicas;
mod resp;
mod routing;
mod rpc;
mod serving;
mod shared;
mod tracking;
mod view;
mod waiters;

pub use history::{History, Standing};
pub use hosted::Published;
pub use node::{Node, StartError};
pub use picture::Picture;
pub use serving::{Begun, Serving};
pub use tracking::Tracking;

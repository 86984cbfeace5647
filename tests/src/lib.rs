//! Whole clusters of real processes, and what can be done to them.
//!
//! A [`Cluster`] is an etcd, `simplekv-server`s and, if wanted, a router, each a process of its own on free ports with its data in a
//! temporary directory. Processes can be killed, paused and restarted, disks can be wiped. Nothing here sleeps for luck: a test
//! waits for a condition with [`wait::until`] and says what it waits for. If a test fails, the ends of all logs are printed.
//!
//! The programs are those that stand beside the running executable in `target/`; a program older than its sources is refused,
//! because a test of yesterday's server proves nothing.

#![expect(clippy::indexing_slicing, reason = "what is indexed are JSON documents, where nothing is found as null")]

mod admin;
mod cluster;
mod ledger;
mod node;
mod ports;
mod process;
mod programs;
mod resp;
mod router;
mod turn;
pub mod wait;

pub use admin::{Admin, Outcome};
pub use cluster::{Cluster, Shape};
pub use ledger::{Ledger, Verdict};
pub use node::{Node, Settings};
pub use ports::free_ports;
pub use process::Process;
pub use programs::program;
pub use resp::RespConnection;
pub use router::Router;
pub use simplekv_meta::testing::EtcdCluster;
pub use turn::Turn;

//! A whole cluster in one process: the same code as a real one, with an embedded metadata store instead of etcd.

mod cluster;
mod layout;

pub use cluster::Cluster;
pub use layout::{Layout, Wanted};

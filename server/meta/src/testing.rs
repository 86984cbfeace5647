//! What tests need of a metadata store: a real etcd to torment, and a store that fails on demand.

mod etcd_process;
mod faulty_store;

pub use etcd_process::{EtcdBackup, EtcdCluster, EtcdProcessError};
pub use faulty_store::{Fault, FaultyStore};

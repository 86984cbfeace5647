//! A group of replicas in one thread: their disks, their clocks, the network between them and the metadata store, all of them
//! unreliable on request, and an oracle that has seen everything.

mod disk;
mod metadata;
mod node;
mod oracle;
mod rng;
mod world;

pub(crate) use oracle::content;
pub(crate) use rng::Rng;
pub(crate) use world::{Fate, Faults, Link, Settings, World, ms, name};

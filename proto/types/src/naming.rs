//! How a subscription names what it listens to.

/// What a subscription names, and how its messages reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Naming {
    /// A channel of the whole cluster.
    Channel,
    /// All channels of the whole cluster whose names match a glob pattern.
    Pattern,
    /// A channel of the slot its name hashes to: that slot's leader fans out.
    Shard,
}

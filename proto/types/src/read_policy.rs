//! Which replicas may answer a read, named by what the reader is promised.

use std::time::Duration;

/// A read's consistency. Chosen per request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadPolicy {
    /// Never older than a write acknowledged before the read began. Any replica that holds a read lease may answer, else the leader.
    #[default]
    Linearizable,
    /// Linearizable, answered by the leader under its lease.
    Leader,
    /// Linearizable without trusting any clock: the leader answers after one round of acknowledgements.
    Quorum,
    /// Not older than the session token sent along. Any replica that has applied the token may answer.
    Session {
        /// How long a replica may wait to catch up with the token before the leader is asked.
        wait: Duration,
    },
    /// At most this far behind. Another replica, then the leader, answers otherwise.
    Bounded {
        /// Greatest age of the state the answer is read from.
        max_lag: Duration,
    },
    /// Whatever any live replica has committed. No promise of freshness.
    Any,
}

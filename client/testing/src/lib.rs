//! Clusters for the tests of programs that use [`simplekv_client`].
//!
//! [`MockCluster`] answers as a cluster does, with all commands on data, and fails as it is told: answers are lost, nodes hang or die,
//! leaders change, slots move. It writes down what it was asked. It keeps nothing, and is there at once.
//!
//! ```
//! use simplekv_client::Failure;
//! use simplekv_testing::{MockCluster, Verdict};
//!
//! # #[tokio::main]
//! # async fn main() -> simplekv_client::Result<()> {
//! let cluster = MockCluster::three_nodes();
//! let kv = cluster.client().await;
//!
//! // The answer is lost after the write was done: the client asks again, and it is done once.
//! cluster.next_named("INCRBY", Verdict::ServeAndHangUp);
//! assert_eq!(kv.incr("visits").await?, 1);
//! assert!(cluster.seen_named("INCRBY").len() > 1);
//!
//! // What a program does with an error.
//! cluster.script(|_| Verdict::Refuse(Failure::command("ERR not today")));
//! assert!(kv.get("visits").await.is_err());
//!
//! // The leader of both groups dies, another node takes over.
//! cluster.script(|_| Verdict::Serve);
//! let mut cluster = cluster;
//! cluster.kill(1);
//! cluster.elect(1, 2);
//! assert_eq!(kv.incr("visits").await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! What the mock does not play is what makes a cluster: no replica is ever behind, nothing is stored, and no write is refused for want
//! of replicas unless it is told so. For that there is `LocalCluster`, with feature `local-cluster`: nodes, a router and their metadata
//! store in the test's own process, the code that runs in production.

#[cfg(feature = "local-cluster")]
mod local;
mod mock;

#[cfg(feature = "local-cluster")]
pub use local::{LocalCluster, StartError};
pub use mock::{FRAME_BYTES_MAX, Keyspace, MockCluster, Seen, Verdict, World, key_of_group, until};

use std::time::Duration;

use simplekv_client::{Client, Result, Timeouts};

/// Runs an example of a document against a mock cluster of its own.
///
/// ```
/// simplekv_testing::example(async |kv| {
///     kv.set("user:1", "alice").await?;
///     assert!(kv.exists("user:1").await?);
///     Ok(())
/// });
/// ```
///
/// # Panics
/// With the error that the example ends with.
pub fn example(example: impl AsyncFnOnce(Client) -> Result<()>) {
    let cluster = MockCluster::three_nodes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // On a busy machine an example may take its time, and what it shows must not depend on that.
    let mut timeouts = Timeouts::default();
    (timeouts.attempt, timeouts.total) = (Duration::from_secs(20), Duration::from_secs(60));
    let run = async {
        let kv = cluster.builder().timeouts(timeouts).build().await?;
        example(kv).await
    };
    if let Err(error) = runtime.expect("a runtime can be made").block_on(run) {
        panic!("{error}");
    }
}

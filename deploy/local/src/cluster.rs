//! Starting and stopping all parts of a local cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use rand::Rng;
use simplekv_meta::{Cas, EmbeddedOptions, EmbeddedStore, Keys, MetaStore, Records};
use simplekv_router::Router;
use simplekv_server::Node;
use simplekv_types::{ClusterId, ClusterRecord, Epoch, GroupId, GroupRecord, Lineage, RecoveryPolicy, SlotMap};

use crate::layout::Layout;

/// Length of the leader lease, in milliseconds.
const LEASE_MS: u64 = 1000;

/// A running local cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    router: Router,
}

impl Cluster {
    /// Starts every node; a new data directory becomes a new cluster first.
    ///
    /// # Errors
    /// If the directory cannot be used or is in use, or a port is taken.
    pub async fn start(layout: &Layout) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&layout.dir).with_context(|| format!("cannot create {}", layout.dir.display()))?;
        let path = layout.dir.join("metadata.json");
        let store: Arc<dyn MetaStore> = Arc::new(EmbeddedStore::open(&path, EmbeddedOptions::default())?);
        init(layout, &store).await?;
        let mut nodes = Vec::new();
        for &node in &layout.nodes {
            let started = Node::start(layout.config(node)?, Arc::clone(&store)).await;
            nodes.push(started.with_context(|| format!("node {node} does not start"))?);
        }
        let seeds = nodes.iter().map(|node| node.addresses().grpc.clone()).collect();
        let router = Router::start(layout.router(seeds)).await.context("the router does not start")?;
        Ok(Self { nodes, router })
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The router in front of them.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Completes once every slot is served, by the nodes and through the router.
    ///
    /// # Errors
    /// If the router does not reach the nodes in time.
    pub async fn serves(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.serves().await;
        }
        self.router.client().exists("simplekv").await.context("the router does not reach the cluster")?;
        Ok(())
    }

    /// Completes with the reason when a node cannot go on.
    pub async fn failed(&self) -> String {
        let mut failures = tokio::task::JoinSet::new();
        for node in &self.nodes {
            failures.spawn(node.failed());
        }
        match failures.join_next().await {
            Some(Ok(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Stops every node, all at once: there is nobody to hand leadership to.
    pub async fn stop(self) {
        self.router.shutdown().await;
        let mut stops = tokio::task::JoinSet::new();
        for node in self.nodes {
            stops.spawn(node.stop());
        }
        stops.join_all().await;
    }
}

/// Creates the cluster in a store that has none.
async fn init(layout: &Layout, store: &Arc<dyn MetaStore>) -> anyhow::Result<()> {
    let records = Records::new(Arc::clone(store), Keys::new(Keys::DEFAULT_PREFIX)?);
    if records.cluster().await?.is_some() {
        return Ok(());
    }
    let groups: BTreeMap<GroupId, GroupRecord> = layout.groups.iter().map(|&id| (id, group(layout, id))).collect();
    let groups: Vec<(GroupId, GroupRecord)> = groups.into_iter().collect();
    let cluster = ClusterRecord { cluster: ClusterId(rand::rng().random()), format: ClusterRecord::FORMAT };
    match records.init(&cluster, &groups, &SlotMap::spread(&layout.groups)).await? {
        Cas::Done { .. } => Ok(()),
        Cas::Lost(keys) => {
            anyhow::bail!("the metadata holds half a cluster ({}), remove {}", keys.join(", "), layout.dir.display())
        }
    }
}

fn group(layout: &Layout, id: GroupId) -> GroupRecord {
    GroupRecord {
        epoch: Epoch::ZERO,
        leader: None,
        in_sync: Vec::new(),
        fence: Vec::new(),
        lease_ms: LEASE_MS,
        fence_ms: LEASE_MS,
        replicas: layout.replicas_of(id),
        min_in_sync: layout.min_in_sync(),
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

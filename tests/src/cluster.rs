//! A whole cluster.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use simplekv_meta::testing::EtcdCluster;
use simplekv_types::{GroupId, NodeId};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::node::{Node, Settings};
use crate::router::Router;
use crate::turn::Turn;

/// What a cluster shall look like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The nodes of each group, the preferred leader first. Nodes are those that occur.
    pub groups: Vec<Vec<u32>>,
    /// What every node's configuration says beyond the defaults.
    pub settings: Settings,
    /// Whether each node is in a zone of its own, named like the node, so that a client may prefer one.
    pub zones: bool,
}

impl Shape {
    /// Two groups of three replicas on six nodes.
    #[must_use]
    pub fn six_nodes() -> Self {
        Self { groups: vec![vec![1, 2, 3], vec![4, 5, 6]], settings: Settings::new(), zones: false }
    }

    /// One group of three replicas.
    #[must_use]
    pub fn three_nodes() -> Self {
        Self { groups: vec![vec![1, 2, 3]], settings: Settings::new(), zones: false }
    }

    /// One group of one replica.
    #[must_use]
    pub fn one_node() -> Self {
        Self { groups: vec![vec![1]], settings: Settings::new(), zones: false }
    }

    /// The same with one more setting on every node.
    #[must_use]
    pub fn with(mut self, section: &'static str, key: &'static str, value: impl Into<toml::Value>) -> Self {
        self.settings.push((section, key, value.into()));
        self
    }

    /// The same with each node in a zone of its own.
    #[must_use]
    pub fn in_zones(mut self) -> Self {
        self.zones = true;
        self
    }

    fn settings_of(&self, node: NodeId) -> Settings {
        let zone = self.zones.then(|| ("node", "zone", node.to_string().into()));
        self.settings.iter().cloned().chain(zone).collect()
    }

    fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.groups.iter().flatten().map(|&node| NodeId(node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Arguments of `simplekv-admin init`.
    fn placements(&self) -> String {
        let group = |(number, nodes): (usize, &Vec<u32>)| {
            let nodes: Vec<String> = nodes.iter().map(|&node| NodeId(node).to_string()).collect();
            format!(" --group g{}={}", number + 1, nodes.join(","))
        };
        self.groups.iter().enumerate().map(group).collect()
    }
}

/// Running processes that form one cluster. Dropping it ends them and removes their data.
#[derive(Debug)]
pub struct Cluster {
    /// The metadata store.
    pub etcd: EtcdCluster,
    /// The nodes in order of their numbers.
    pub nodes: Vec<Node>,
    // Declared after the processes: they are killed before their data goes and the next cluster may come.
    dir: TempDir,
    _turn: Turn,
}

impl Cluster {
    /// Starts a cluster and waits until it is healthy.
    ///
    /// # Errors
    /// If a program is missing or the cluster does not become healthy.
    pub async fn start(shape: &Shape) -> Result<Self> {
        let turn = Turn::take().await?;
        let dir = TempDir::with_prefix("simplekv-")?;
        let etcd = EtcdCluster::start(1).await?;
        let node = |id| Node::new(dir.path(), id, etcd.endpoints(), &shape.settings_of(id));
        let nodes = shape.nodes().into_iter().map(node).collect::<Result<_>>()?;
        let mut cluster = Self { etcd, nodes, dir, _turn: turn };
        for node in &mut cluster.nodes {
            node.process.start()?;
        }
        let admin = cluster.admin()?;
        crate::wait::until("the first node has reached etcd", async || {
            let status = admin.json("status").await.ok()?;
            status["metadata_reachable"].as_bool()?.then_some(())
        })
        .await;
        admin.run(&format!("init{}", shape.placements())).await?;
        cluster.healthy().await?;
        Ok(cluster)
    }

    /// Where the processes keep their data and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The admin program, pointed at the first node that runs.
    ///
    /// # Errors
    /// If the program is missing or no node runs.
    pub fn admin(&self) -> Result<Admin> {
        let node = self.nodes.iter().find(|node| node.process.pid().is_some()).context("no node runs")?;
        Admin::at(&node.admin)
    }

    /// Starts a router before the cluster.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn router(&self) -> Result<Router> {
        self.router_with(&Settings::new()).await
    }

    /// As [`Cluster::router`], with these settings.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn router_with(&self, settings: &Settings) -> Result<Router> {
        Router::start(self.dir(), &self.seeds(), settings).await
    }

    /// gRPC addresses of all nodes, for clients.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.grpc.clone()).collect()
    }

    /// One node.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap_or_else(|| panic!("there is no {id}"))
    }

    /// Waits until every replica of every group is in sync.
    ///
    /// # Errors
    /// If that takes longer than a minute.
    pub async fn healthy(&self) -> Result<()> {
        self.admin()?.run("health --exit-when-healthy --timeout 60s").await.map(drop)
    }

    /// The node that leads the group, as the metadata store says.
    ///
    /// # Errors
    /// If no node answers.
    pub async fn leader(&self, group: GroupId) -> Result<Option<NodeId>> {
        let groups = self.admin()?.json("list-groups").await?;
        let groups = groups["groups"].as_array().context("groups are an array")?;
        let group = groups.iter().find(|found| found["id"] == group.to_string().as_str());
        group.map_or(Ok(None), |group| node_id(&group["leader"]))
    }

    /// The node that holds elections.
    ///
    /// # Errors
    /// If no node answers.
    pub async fn controller(&self) -> Result<Option<NodeId>> {
        node_id(&self.admin()?.json("status").await?["controller"])
    }

    /// SIGKILL of all nodes at once, as far as one machine can.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill_all_nodes(&mut self) -> Result<()> {
        // None may live to see another's death and act on it.
        for node in &self.nodes {
            node.process.pause()?;
        }
        self.nodes.iter_mut().try_for_each(|node| node.process.kill())
    }
}

fn node_id(value: &Value) -> Result<Option<NodeId>> {
    value.as_str().map(|text| text.parse().context("a node")).transpose()
}

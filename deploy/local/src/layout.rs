//! Which ports and directories a local cluster uses, and which node does what.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use simplekv_router::{RouterConfig, Transactions};
use simplekv_server::config::{Config, Listen};
use simplekv_types::{FlushPolicy, GroupId, NodeAddresses, NodeId};

/// Ports from one node to the next.
const NODE_STRIDE: u16 = 10;
/// From the router's port to that of node 0, which does not exist.
const NODES_AT: u16 = 21;

/// Segments of a laptop's cluster are small: each is reserved as a whole.
const SEGMENT_BYTES: u64 = 16 << 20;

/// What is wanted of a local cluster. A data directory that has been used remembers its nodes and groups.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where data is kept.
    pub dir: PathBuf,
    /// The router's Redis protocol port, to which all others keep their distance; `None` takes any that are free.
    pub port_base: Option<u16>,
    /// How many nodes.
    pub nodes: u32,
    /// How many groups.
    pub groups: u32,
    /// Replicas of each group; `None` means three, or as many as there are nodes.
    pub replicas: Option<u32>,
    /// When an acknowledged write is on disk.
    pub flush: FlushPolicy,
    /// What becomes of transactions over several groups.
    pub transactions: Transactions,
}

impl Wanted {
    /// Three nodes and two groups, on any ports, with the promises of a real cluster.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let (flush, transactions) = (FlushPolicy::default(), Transactions::default());
        Self { dir, port_base: None, nodes: 3, groups: 2, replicas: None, flush, transactions }
    }
}

/// What a local cluster looks like.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(crate) dir: PathBuf,
    port_base: Option<u16>,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) groups: Vec<GroupId>,
    replicas: usize,
    flush: FlushPolicy,
    transactions: Transactions,
}

impl Layout {
    /// The layout of what is wanted.
    ///
    /// # Errors
    /// If a group would have more replicas than there are nodes, or the ports end before the nodes do.
    pub fn new(wanted: &Wanted) -> anyhow::Result<Self> {
        let nodes: Vec<NodeId> = (1..=wanted.nodes).map(NodeId).collect();
        let groups = (1..=wanted.groups).map(GroupId).collect();
        let replicas = wanted.replicas.unwrap_or(3.min(wanted.nodes)) as usize;
        anyhow::ensure!(
            replicas <= nodes.len(),
            "{replicas} replicas of a group need as many nodes, not {}",
            nodes.len()
        );
        let Wanted { port_base, flush, transactions, .. } = *wanted;
        if let Some(base) = port_base {
            let last = u32::from(base) + u32::from(NODES_AT) + wanted.nodes * u32::from(NODE_STRIDE) + 2;
            anyhow::ensure!(
                last <= u32::from(u16::MAX),
                "--port-base {base} leaves no room for {} nodes",
                wanted.nodes
            );
        }
        Ok(Self { dir: wanted.dir.clone(), port_base, nodes, groups, replicas, flush, transactions })
    }

    /// The nodes of a group, the one that shall lead first: neighbours, so that every node leads or follows.
    pub(crate) fn replicas_of(&self, group: GroupId) -> Vec<NodeId> {
        let first = group.0 as usize - 1;
        self.nodes.iter().cycle().skip(first % self.nodes.len()).take(self.replicas).copied().collect()
    }

    /// A majority of a group, so that it survives the loss of a minority.
    pub(crate) fn min_in_sync(&self) -> u32 {
        u32::try_from(self.replicas / 2 + 1).unwrap_or(1)
    }

    /// The configuration of a node.
    pub(crate) fn config(&self, node: NodeId) -> anyhow::Result<Config> {
        let number = u16::try_from(node.0).context("more nodes than ports")?;
        let at = |offset: u16| self.at(NODES_AT + number * NODE_STRIDE + offset);
        let listen = Listen { grpc: at(0), resp: at(1), admin: at(2) };
        let advertise = NodeAddresses {
            grpc: listen.grpc.to_string(),
            resp: listen.resp.to_string(),
            admin: listen.admin.to_string(),
        };
        let flush = self.flush;
        Ok(Config {
            node,
            listen,
            advertise,
            data_dir: self.dir.join(node.to_string()),
            flush,
            segment_bytes: SEGMENT_BYTES,
            ..Config::default()
        })
    }

    /// So far behind the first port, or any port.
    fn at(&self, distance: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port_base.map_or(0, |base| base + distance)))
    }

    /// The configuration of the router, which finds the cluster through nodes at these addresses.
    pub(crate) fn router(&self, seeds: Vec<String>) -> RouterConfig {
        let mut config = RouterConfig::new(seeds, self.at(0), self.at(1));
        config.limits.transactions = self.transactions;
        config.grpc_listen = Some(self.at(2));
        config
    }

    /// What to print once everything is served; of ports that were chosen.
    #[must_use]
    pub fn greeting(&self) -> String {
        let mut text = String::new();
        let replicas =
            if self.replicas == 1 { "1 replica".to_owned() } else { format!("{} replicas each", self.replicas) };
        let groups = self.groups.len();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "simplekv is up: {} nodes, {groups} groups of slots, {replicas}", self.nodes.len());
        let RouterConfig { resp_listen, http_listen, grpc_listen, .. } = self.router(Vec::new());
        let grpc = grpc_listen.map_or_else(String::new, |grpc| format!("   gRPC {grpc}"));
        let _ = writeln!(text, "  router  Redis {resp_listen}   HTTP http://{http_listen}{grpc}");
        for &node in &self.nodes {
            if let Ok(config) = self.config(node) {
                let NodeAddresses { grpc, resp, admin } = config.advertise;
                let _ =
                    writeln!(text, "  {node}      Redis Cluster {resp}   gRPC {grpc}   admin http://{admin}/metrics");
            }
        }
        let _ = writeln!(text, "  data    {}", self.dir.display());
        let _ = writeln!(text, "try: redis-cli -p {} set hello world", resp_listen.port());
        text
    }
}

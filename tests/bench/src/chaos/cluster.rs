//! The processes of the cluster, each on its own host.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::SmallRng;
use simplekv_tests::{Admin, Process, program, wait};
use simplekv_types::NodeId;
use tokio::net::TcpStream;

use crate::chaos::lan::{Host, Lan};

/// How many nodes there are.
pub(crate) const NODES: usize = 5;
/// The nodes of each group, the preferred leader first.
pub(crate) const GROUPS: [[usize; 3]; 3] = [[1, 2, 3], [3, 4, 5], [5, 1, 4]];

const ETCD: Host = Host { name: "etcd", number: 2 };
const HOSTS: [Host; NODES] = [
    Host { name: "n1", number: 11 },
    Host { name: "n2", number: 12 },
    Host { name: "n3", number: 13 },
    Host { name: "n4", number: 14 },
    Host { name: "n5", number: 15 },
];
const GRPC_PORT: u16 = 7410;
const RESP_PORT: u16 = 7411;
const ADMIN_PORT: u16 = 7412;
const ETCD_PORT: u16 = 2379;
/// How far clocks may be wrong, in millionths: what leases allow for.
const CLOCK_ERROR_MAX: u32 = 10_000;
/// How long a node may take to hand over its leaderships and end: its own grace for that, twice.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// A node, and what can be done to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) process: Process,
    /// Tells the node how slow its disk is.
    slow: PathBuf,
}

/// The cluster. Dropping it ends the processes and removes the network.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) etcd: Process,
    false_clocks: u64,
    /// Declared last: a namespace goes when nothing runs in it.
    pub(crate) lan: Lan,
}

/// Whether two nodes have a group together, and so have anything to say to each other all the time.
pub(crate) fn share_a_group(one: Host, other: Host) -> bool {
    let number = |host: Host| HOSTS.iter().zip(1..).find(|(known, _)| **known == host).map_or(0, |(_, number)| number);
    GROUPS.iter().any(|nodes| nodes.contains(&number(one)) && nodes.contains(&number(other)))
}

pub(crate) fn hosts() -> Vec<Host> {
    HOSTS.into_iter().chain([ETCD]).collect()
}

impl Node {
    fn new(dir: &Path, id: NodeId, host: Host) -> Result<Self> {
        let (file, slow) = (dir.join(format!("{id}.toml")), dir.join(format!("{id}.slow")));
        let address = |port: u16| format!("{}:{port}", host.address());
        let config = format!(
            "[node]\nid = {}\n[listen]\ngrpc = {:?}\nresp = {:?}\nadmin = {:?}\n[etcd]\nendpoints = [\"{}:{ETCD_PORT}\"]\n\
             [storage]\ndir = {:?}\n[log]\nformat = \"pretty\"\n",
            id.0,
            address(GRPC_PORT),
            address(RESP_PORT),
            address(ADMIN_PORT),
            ETCD.address(),
            dir.join(id.to_string()),
        );
        fs::write(&file, config).with_context(|| file.display().to_string())?;
        let server = program("simplekv-faulty-server")?;
        let mut args: Vec<OsString> = host.enter().into_iter().map(Into::into).collect();
        let own: [OsString; 5] =
            [server.into(), "--config".into(), file.into(), "--slow-disk".into(), slow.clone().into()];
        args.extend(own);
        let process = Process::new(&id.to_string(), "ip".into(), args, &dir.join(format!("{id}.log")));
        Ok(Self { host, process, slow })
    }

    pub(crate) fn grpc(&self) -> String {
        format!("{}:{GRPC_PORT}", self.host.address())
    }

    pub(crate) fn admin(&self) -> String {
        format!("{}:{ADMIN_PORT}", self.host.address())
    }

    /// Makes every flush to its disk so late from now on.
    pub(crate) fn slow_down(&self, by: Duration) -> Result<()> {
        fs::write(&self.slow, by.as_millis().to_string()).context("telling a node to be slow")
    }

    /// How many flushes of its present run were late.
    pub(crate) fn late_flushes(&self) -> u64 {
        let text = fs::read_to_string(self.slow.with_extension("count")).unwrap_or_default();
        text.parse().unwrap_or(0)
    }
}

impl Cluster {
    /// Starts a cluster and waits until it is healthy.
    pub(crate) async fn start(dir: &Path, lan: Lan, random: &mut SmallRng) -> Result<Self> {
        let etcd = etcd(dir);
        let nodes = (1..).zip(HOSTS).map(|(number, host)| Node::new(dir, NodeId(number), host));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let mut cluster = Self { nodes, etcd, false_clocks: 0, lan };
        cluster.etcd.start()?;
        let listens = async || TcpStream::connect((ETCD.address(), ETCD_PORT)).await.ok();
        wait::at_most(wait::LIMIT, "etcd listens", listens).await?;
        for node in 0..NODES {
            cluster.start_node(node, random)?;
        }
        let admin = cluster.admin()?;
        let reached = async || {
            let status = admin.json("status").await.ok()?;
            status.get("metadata_reachable")?.as_bool()?.then_some(())
        };
        wait::at_most(wait::LIMIT, "the first node has reached etcd", reached).await?;
        let placement = |(number, nodes): (usize, &[usize; 3])| {
            let [first, second, third] = nodes;
            format!(" --group g{}=n{first},n{second},n{third}", number + 1)
        };
        admin.run(&format!("init{}", GROUPS.iter().enumerate().map(placement).collect::<String>())).await?;
        cluster.healthy().await?;
        Ok(cluster)
    }

    /// Starts a node, most of the time with a clock that is wrong.
    pub(crate) fn start_node(&mut self, place: usize, random: &mut SmallRng) -> Result<()> {
        let rate = match random.random_range(0..4) {
            0 => 1_000_000,
            1 => 1_000_000 - CLOCK_ERROR_MAX,
            2 => 1_000_000 + CLOCK_ERROR_MAX,
            _ => random.random_range(1_000_000 - CLOCK_ERROR_MAX..=1_000_000 + CLOCK_ERROR_MAX),
        };
        let node = self.nodes.get_mut(place).context("there is such a node")?;
        node.process.env("FAULTY_CLOCK_RATE", rate.to_string());
        node.process.start()?;
        self.false_clocks += u64::from(rate != 1_000_000);
        Ok(())
    }

    /// Lets a node hand over its leaderships and end. `false` if it has to be killed.
    pub(crate) fn stop_node(&mut self, place: usize) -> Result<bool> {
        let node = self.nodes.get_mut(place).context("there is such a node")?;
        match node.process.stop(STOP_LIMIT) {
            Ok(status) => Ok(status.success()),
            Err(_) => node.process.kill().map(|()| false),
        }
    }

    /// How often a node was started with a clock that is wrong.
    pub(crate) fn false_clocks(&self) -> u64 {
        self.false_clocks
    }

    pub(crate) fn etcd_host() -> Host {
        ETCD
    }

    /// gRPC addresses of all nodes, for clients.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(Node::grpc).collect()
    }

    /// The admin program, pointed at the first node that runs.
    pub(crate) fn admin(&self) -> Result<Admin> {
        let node = self.nodes.iter().find(|node| node.process.pid().is_some()).context("no node runs")?;
        Admin::at(&node.admin())
    }

    /// Fails if a process has ended by itself: whatever happens around it, it should not.
    pub(crate) fn nobody_has_left(&mut self) -> Result<()> {
        for process in self.nodes.iter_mut().map(|node| &mut node.process).chain([&mut self.etcd]) {
            ensure!(process.is_running(), "{} has ended by itself", process.name());
        }
        Ok(())
    }

    /// Waits until every replica of every group is in sync.
    pub(crate) async fn healthy(&self) -> Result<()> {
        self.admin()?.run("health --exit-when-healthy --timeout 60s").await.map(drop)
    }
}

/// One etcd. Its data outlives its process.
fn etcd(dir: &Path) -> Process {
    let url = |port: u16| format!("http://{}:{port}", ETCD.address());
    let (client, peer) = (url(ETCD_PORT), url(ETCD_PORT + 1));
    let program = std::env::var("SIMPLEKV_ETCD").unwrap_or_else(|_| "etcd".to_owned());
    let path = format!("PATH={}", std::env::var("PATH").unwrap_or_default());
    let mut args = ETCD.enter();
    // ETCD_* variables would be options.
    args.extend(["env", "-i", &path, &program, "--name", "m0", "--data-dir"].map(str::to_owned));
    args.push(dir.join("etcd").display().to_string());
    args.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client].map(str::to_owned));
    args.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer].map(str::to_owned));
    args.extend(["--initial-cluster", &format!("m0={peer}"), "--initial-cluster-state", "new"].map(str::to_owned));
    args.extend(["--heartbeat-interval", "50", "--election-timeout", "500"].map(str::to_owned));
    Process::new("etcd", "ip".into(), args, &dir.join("etcd.log"))
}

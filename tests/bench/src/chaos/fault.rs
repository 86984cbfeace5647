//! What happens to the cluster, and whether it really did.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::chaos::cluster::{Cluster, NODES, share_a_group};
use crate::chaos::lan::{CLIENTS, Cut, Host};
use crate::chaos::watch::Watch;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Two nodes do not hear each other.
    CutNodes,
    /// One node does not hear another one, which hears it.
    CutNodesOneWay,
    /// A node and all others do not hear each other; clients and etcd are there as ever.
    Isolate,
    /// A node and etcd do not hear each other.
    CutEtcd,
    /// Of a node and etcd, one does not hear the other.
    CutEtcdOneWay,
    /// A node and the clients do not hear each other.
    CutClients,
    /// Requests get through to a node and answers do not, or the other way round.
    CutClientsOneWay,
    /// SIGSTOP of a node, and SIGCONT.
    PauseNode,
    /// SIGSTOP of etcd, and SIGCONT.
    PauseEtcd,
    /// SIGKILL of a node, and a start.
    KillNode,
    /// SIGTERM of a node, which hands over, and a start.
    RestartNode,
    /// SIGKILL of etcd, and a start.
    KillEtcd,
    /// Every flush of a node is late.
    SlowDisk,
    /// A node runs on a clock that is wrong by up to 1 %. Begins and ends with a node's process.
    ClockRate,
}

/// Something that goes wrong now.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    target: Target,
    state: State,
}

/// Who is hit. Nobody is by two faults at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The node at this place.
    Node(usize),
    Etcd,
}

#[derive(Debug)]
enum State {
    Cut { names: Vec<String>, cuts: Vec<Cut> },
    Paused { is_standing: bool },
    Ended { as_wanted: bool },
    Slow { by: Duration, late_before: u64 },
}

impl Kind {
    /// All that begin and end by themselves, in order.
    pub(crate) const DEALT: [Self; 13] = [
        Self::CutNodes,
        Self::CutNodesOneWay,
        Self::Isolate,
        Self::CutEtcd,
        Self::CutEtcdOneWay,
        Self::CutClients,
        Self::CutClientsOneWay,
        Self::PauseNode,
        Self::PauseEtcd,
        Self::KillNode,
        Self::RestartNode,
        Self::KillEtcd,
        Self::SlowDisk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CutNodes => "cut_nodes",
            Self::CutNodesOneWay => "cut_nodes_one_way",
            Self::Isolate => "isolate",
            Self::CutEtcd => "cut_etcd",
            Self::CutEtcdOneWay => "cut_etcd_one_way",
            Self::CutClients => "cut_clients",
            Self::CutClientsOneWay => "cut_clients_one_way",
            Self::PauseNode => "pause_node",
            Self::PauseEtcd => "pause_etcd",
            Self::KillNode => "kill_node",
            Self::RestartNode => "restart_node",
            Self::KillEtcd => "kill_etcd",
            Self::SlowDisk => "slow_disk",
            Self::ClockRate => "clock_rate",
        }
    }

    /// How long it lasts, in milliseconds: from what nobody notices to beyond every lease and session that it concerns.
    pub(crate) fn lasts_ms(self) -> Range<u64> {
        match self {
            Self::CutNodes | Self::CutNodesOneWay | Self::Isolate => 300..3000,
            // The session with etcd outlives three seconds of silence.
            Self::CutEtcd | Self::CutEtcdOneWay | Self::PauseEtcd => 500..5000,
            Self::CutClients | Self::CutClientsOneWay => 300..2500,
            Self::PauseNode | Self::SlowDisk => 300..3000,
            Self::KillNode | Self::KillEtcd => 50..2000,
            Self::RestartNode | Self::ClockRate => 50..500,
        }
    }
}

impl Fault {
    /// Lets it begin, on a node that leads a group more often than not. `None` if everybody it may hit is `busy`.
    pub(crate) fn begin(
        kind: Kind,
        cluster: &mut Cluster,
        watch: &Watch,
        busy: &[Target],
        random: &mut SmallRng,
    ) -> Result<Option<Self>> {
        let target = match kind {
            Kind::PauseEtcd | Kind::KillEtcd => Some(Target::Etcd),
            _ => node(watch, busy, random).map(Target::Node),
        };
        let Some(target) = target.filter(|target| !busy.contains(target)) else { return Ok(None) };
        let state = match target {
            Target::Etcd => begin_on_etcd(kind, cluster)?,
            Target::Node(place) => begin_on_node(kind, place, cluster, random)?,
        };
        Ok(Some(Self { kind, target, state }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Ends it. `false` if nothing came of it: a cut that stopped no packet, a disk to which nothing was flushed.
    pub(crate) fn end(self, cluster: &mut Cluster, random: &mut SmallRng) -> Result<bool> {
        match self.state {
            State::Cut { cuts, .. } => {
                let stopped = cuts.into_iter().map(|cut| cluster.lan.heal(cut)).sum::<Result<u64>>()?;
                Ok(stopped > 0)
            }
            State::Paused { is_standing } => {
                match self.target {
                    Target::Etcd => cluster.etcd.resume()?,
                    Target::Node(place) => cluster.nodes.get(place).context("a node")?.process.resume()?,
                }
                Ok(is_standing)
            }
            State::Ended { as_wanted } => {
                match self.target {
                    Target::Etcd => cluster.etcd.start()?,
                    Target::Node(place) => cluster.start_node(place, random)?,
                }
                Ok(as_wanted)
            }
            State::Slow { late_before, .. } => {
                let Target::Node(place) = self.target else { return Ok(false) };
                let node = cluster.nodes.get(place).context("a node")?;
                node.slow_down(Duration::ZERO)?;
                Ok(node.late_flushes() != late_before)
            }
        }
    }
}

/// A node nothing happens to yet.
fn node(watch: &Watch, busy: &[Target], random: &mut SmallRng) -> Option<usize> {
    let is_free = |place: &usize| !busy.contains(&Target::Node(*place));
    let leaders: Vec<usize> = watch.leaders().into_iter().filter(is_free).collect();
    let all: Vec<usize> = (0..NODES).filter(is_free).collect();
    let leader = leaders.choose(random).copied().filter(|_| random.random_bool(0.6));
    leader.or_else(|| all.choose(random).copied())
}

fn begin_on_etcd(kind: Kind, cluster: &mut Cluster) -> Result<State> {
    if kind == Kind::KillEtcd {
        cluster.etcd.kill()?;
        return Ok(State::Ended { as_wanted: true });
    }
    cluster.etcd.pause()?;
    Ok(State::Paused { is_standing: stands(cluster.etcd.pid()) })
}

fn begin_on_node(kind: Kind, place: usize, cluster: &mut Cluster, random: &mut SmallRng) -> Result<State> {
    let node = cluster.nodes.get_mut(place).context("there is such a node")?;
    match kind {
        Kind::PauseNode => {
            node.process.pause()?;
            Ok(State::Paused { is_standing: stands(node.process.pid()) })
        }
        Kind::KillNode => {
            node.process.kill()?;
            Ok(State::Ended { as_wanted: true })
        }
        Kind::RestartNode => Ok(State::Ended { as_wanted: cluster.stop_node(place)? }),
        Kind::SlowDisk => {
            let (by, late_before) = (Duration::from_millis(random.random_range(20..900)), node.late_flushes());
            node.slow_down(by)?;
            Ok(State::Slow { by, late_before })
        }
        _ => {
            let host = node.host;
            let mut others: Vec<Host> = cluster.nodes.iter().map(|other| other.host).collect();
            others.retain(|other| *other != host);
            let peers = match kind {
                Kind::CutNodes | Kind::CutNodesOneWay => {
                    others.retain(|other| share_a_group(host, *other));
                    others.choose(random).copied().into_iter().collect()
                }
                Kind::CutEtcd | Kind::CutEtcdOneWay => vec![Cluster::etcd_host()],
                Kind::CutClients | Kind::CutClientsOneWay => vec![CLIENTS],
                _ => others,
            };
            let is_one_way = matches!(kind, Kind::CutNodesOneWay | Kind::CutEtcdOneWay | Kind::CutClientsOneWay);
            let directions: &[bool] = match (is_one_way, random.random_bool(0.5)) {
                (false, _) => &[true, false],
                (true, true) => &[true],
                (true, false) => &[false],
            };
            cut(cluster, host, &peers, directions)
        }
    }
}

/// Cuts the links to `peers`: what is sent to them (`true`), what they send (`false`).
fn cut(cluster: &Cluster, host: Host, peers: &[Host], directions: &[bool]) -> Result<State> {
    let (mut names, mut cuts) = (Vec::new(), Vec::new());
    for &peer in peers {
        for &outwards in directions {
            let (from, to) = if outwards { (host, peer) } else { (peer, host) };
            names.push(format!("{}->{}", from.name, to.name));
            cuts.push(cluster.lan.cut(from, to)?);
        }
    }
    Ok(State::Cut { names, cuts })
}

/// Whether the system says that the process stands still. A moment after the signal it may not do so yet.
fn stands(pid: Option<u32>) -> bool {
    let Some(pid) = pid else { return false };
    (0..100).any(|_| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_standing = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        if !is_standing {
            std::thread::sleep(Duration::from_millis(1));
        }
        is_standing
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.name())?;
        match (&self.state, self.target) {
            (State::Cut { names, .. }, _) => write!(f, " {}", names.join(" "))?,
            (_, Target::Etcd) => (),
            (_, Target::Node(place)) => write!(f, " n{}", place + 1)?,
        }
        match &self.state {
            State::Slow { by, .. } => write!(f, " by {} ms", by.as_millis()),
            State::Ended { as_wanted: false } => f.write_str(" (had to be killed)"),
            _ => Ok(()),
        }
    }
}

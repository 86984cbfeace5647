//! The lanes to every node, and how much may be in flight on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use simplekv_types::NodeId;

use crate::lane::{Lane, Surroundings};
use crate::parcel::Parcel;
use crate::topology::{Node, Topology};

/// Bounds of what is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) lanes_per_node: usize,
    pub(crate) in_flight_per_node: usize,
}

/// Lanes by node. A node's lanes start with its first request; one node's trouble stays in its own lanes.
pub(crate) struct Pool {
    nodes: DashMap<NodeId, Arc<NodeLanes>>,
    surroundings: Surroundings,
    bounds: Bounds,
}

struct NodeLanes {
    /// Where the lanes lead. A node that comes back elsewhere gets new lanes.
    address: Arc<str>,
    lanes: Box<[Lane]>,
    next: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
}

/// Places among those a limit allows in flight; given back when dropped.
pub(crate) struct Places {
    count: Arc<AtomicUsize>,
    taken: usize,
}

impl Places {
    /// `None` if fewer than `wanted` of `limit` places are free.
    pub(crate) fn take(count: &Arc<AtomicUsize>, wanted: usize, limit: usize) -> Option<Self> {
        let before = count.fetch_add(wanted, Ordering::Relaxed);
        let places = Self { count: Arc::clone(count), taken: wanted };
        // Dropping the places gives the surplus back.
        (before + wanted <= limit).then_some(places)
    }
}

impl Places {
    /// Parts with so many of them.
    pub(crate) fn split(&mut self, count: usize) -> Self {
        let count = count.min(self.taken);
        self.taken -= count;
        Self { count: Arc::clone(&self.count), taken: count }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.count.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(surroundings: Surroundings, bounds: Bounds) -> Self {
        Self { nodes: DashMap::new(), surroundings, bounds }
    }

    /// Hands requests to one lane of the node. The places in flight are to be kept until they are answered or given up. `None`, and
    /// nothing was handed over, if too many are in flight there.
    pub(crate) fn submit(&self, node: &Node, lane: Option<usize>, parcel: Parcel) -> Option<Places> {
        let lanes = self.lanes(node);
        let places = Places::take(&lanes.in_flight, parcel.len(), self.bounds.in_flight_per_node)?;
        lanes.pick(lane).submit(parcel).then_some(places)
    }

    fn lanes(&self, node: &Node) -> Arc<NodeLanes> {
        if let Some(lanes) = self.nodes.get(&node.id)
            && *lanes.address == *node.addresses.grpc
        {
            return Arc::clone(&lanes);
        }
        let fresh = Arc::new(self.start(node));
        let mut entry = self.nodes.entry(node.id).or_insert_with(|| Arc::clone(&fresh));
        if *entry.address != *node.addresses.grpc {
            *entry = fresh;
        }
        Arc::clone(&entry)
    }

    fn start(&self, node: &Node) -> NodeLanes {
        let address: Arc<str> = Arc::from(node.addresses.grpc.as_str());
        // Room besides for those that were given up on and wait to be taken out.
        let capacity = self.bounds.in_flight_per_node * 2 + 64;
        let start = |_| Lane::start(Arc::clone(&address), capacity, self.surroundings.clone());
        let lanes = (0..self.bounds.lanes_per_node).map(start).collect();
        NodeLanes { address, lanes, next: AtomicUsize::new(0), in_flight: Arc::default() }
    }

    /// Lets go of the lanes to nodes that are no longer there or moved. What is in flight on them still gets its answer.
    pub(crate) fn retain_nodes_of(&self, topology: &Topology) {
        self.nodes.retain(|id, lanes| topology.node(*id).is_some_and(|node| *lanes.address == *node.addresses.grpc));
    }

    /// Closes every lane once what is in flight on it has been answered.
    pub(crate) fn clear(&self) {
        self.nodes.clear();
    }

    /// Whether the node's lanes could not be connected when last tried.
    pub(crate) fn is_down(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|lanes| lanes.lanes.iter().any(Lane::is_down))
    }
}

impl NodeLanes {
    fn pick(&self, lane: Option<usize>) -> &Lane {
        let at = lane.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        self.lanes.get(at % self.lanes.len()).expect("a node has at least one lane")
    }
}

//! What is asked of which slots and keys, here and on all nodes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_proto::v1::admin_client::AdminClient;
use simplekv_types::{NodeId, Slot};

use super::PATIENCE;
use crate::load::HotKey;
use crate::shared::Shared;

/// What is asked of this node.
pub(super) fn own(shared: &Shared, request: v1::LoadRequest) -> v1::LoadReply {
    let most = usize::try_from(request.keys).unwrap_or(usize::MAX);
    let node = shared.node();
    let wire = |hot: Vec<HotKey>| hot.into_iter().take(most).map(|hot| hot_key(node, hot)).collect();
    let load = shared.load();
    let (reads, writes) = if most == 0 { (Vec::new(), Vec::new()) } else { (load.hot_reads(), load.hot_writes()) };
    let slots = if request.slots { slots(shared) } else { Vec::new() };
    v1::LoadReply { slots, reads: wire(reads), writes: wire(writes), unreachable: Vec::new() }
}

fn hot_key(node: NodeId, hot: HotKey) -> v1::HotKey {
    let HotKey { key, rate, excess } = hot;
    v1::HotKey { key, rate, excess, nodes: vec![v1::NodeRate { node: node.0, rate }] }
}

fn slots(shared: &Shared) -> Vec<v1::SlotLoad> {
    let routing = shared.routing();
    let led: Vec<_> = routing.led_by(shared.node()).filter_map(|group| shared.hosted(group)).collect();
    let each = Slot::all().filter_map(|slot| {
        let (reads, writes) = shared.load().of_slot(slot);
        let leader = led.iter().find(|hosted| hosted.published().owned.load().shows(slot));
        let stats = leader.map(|hosted| hosted.reader().stats(slot)).unwrap_or_default();
        let is_idle = (reads, writes, stats.keys) == (0, 0, 0);
        let (keys, bytes) = (stats.keys, stats.bytes);
        (!is_idle).then_some(v1::SlotLoad { slot: slot.number().into(), reads, writes, keys, bytes })
    });
    each.collect()
}

/// What is asked of all nodes that answer.
pub(super) async fn all(shared: &Shared, view: &ClusterView, request: v1::LoadRequest) -> v1::LoadReply {
    let own_request = v1::LoadRequest { own: true, ..request };
    let others = view.nodes.iter().filter(|(node, _)| **node != shared.node());
    let asked: Vec<_> = others
        .map(|(node, registration)| {
            (*node, tokio::spawn(ask(registration.record.addresses.admin.clone(), own_request)))
        })
        .collect();
    let mut replies = vec![own(shared, own_request)];
    let mut unreachable = Vec::new();
    for (node, answer) in asked {
        match answer.await.ok().flatten() {
            Some(theirs) => replies.push(theirs),
            None => unreachable.push(node.0),
        }
    }
    together(replies, unreachable, usize::try_from(request.keys).unwrap_or(usize::MAX))
}

async fn ask(address: String, request: v1::LoadRequest) -> Option<v1::LoadReply> {
    let asked = async {
        let mut client = AdminClient::connect(format!("http://{address}")).await.ok()?;
        client.load(request).await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?.map(tonic::Response::into_inner)
}

/// One answer of the nodes'. `most`: how many keys of each kind.
fn together(replies: Vec<v1::LoadReply>, unreachable: Vec<u32>, most: usize) -> v1::LoadReply {
    let mut slots: BTreeMap<u32, v1::SlotLoad> = BTreeMap::new();
    let (mut reads, mut writes) = (HashMap::new(), HashMap::new());
    for reply in replies {
        for theirs in reply.slots {
            let slot = slots.entry(theirs.slot).or_insert(v1::SlotLoad { slot: theirs.slot, ..Default::default() });
            slot.reads += theirs.reads;
            slot.writes += theirs.writes;
            // While leadership changes two may say so for a moment.
            slot.keys = slot.keys.max(theirs.keys);
            slot.bytes = slot.bytes.max(theirs.bytes);
        }
        reply.reads.into_iter().for_each(|key| add_key(&mut reads, key));
        reply.writes.into_iter().for_each(|key| add_key(&mut writes, key));
    }
    let greatest = |keys: HashMap<Bytes, v1::HotKey>| {
        let mut keys: Vec<_> = keys.into_values().collect();
        keys.sort_unstable_by(|one, other| other.rate.total_cmp(&one.rate).then_with(|| one.key.cmp(&other.key)));
        keys.truncate(most);
        keys
    };
    v1::LoadReply {
        slots: slots.into_values().collect(),
        reads: greatest(reads),
        writes: greatest(writes),
        unreachable,
    }
}

fn add_key(keys: &mut HashMap<Bytes, v1::HotKey>, theirs: v1::HotKey) {
    match keys.get_mut(&theirs.key) {
        None => drop(keys.insert(theirs.key.clone(), theirs)),
        Some(known) => {
            known.rate += theirs.rate;
            known.excess += theirs.excess;
            known.nodes.extend(theirs.nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(node: u32, key: &'static str, rate: f64) -> v1::HotKey {
        hot_key(NodeId(node), HotKey { key: Bytes::from_static(key.as_bytes()), rate, excess: 1.0 })
    }

    #[test]
    fn what_nodes_say_of_a_slot_or_key_is_added_up() {
        let slot = |slot, reads, keys| v1::SlotLoad { slot, reads, writes: 1, keys, bytes: keys * 100 };
        let one = v1::LoadReply {
            slots: vec![slot(3, 10, 7), slot(9, 1, 1)],
            reads: vec![key(1, "a", 50.0), key(1, "b", 40.0)],
            writes: vec![key(1, "w", 1.0)],
            unreachable: Vec::new(),
        };
        let other = v1::LoadReply {
            slots: vec![slot(3, 30, 0)],
            reads: vec![key(2, "b", 30.0), key(2, "c", 5.0)],
            ..Default::default()
        };
        let all = together(vec![one, other], vec![4], 2);
        let said: Vec<_> = all.slots.iter().map(|s| (s.slot, s.reads, s.writes, s.keys, s.bytes)).collect();
        assert_eq!(said, [(3, 40, 2, 7, 700), (9, 1, 1, 1, 100)]);
        let reads: Vec<_> = all.reads.iter().map(|key| (&*key.key, key.rate, key.excess, key.nodes.len())).collect();
        assert_eq!(reads, [(b"b".as_slice(), 70.0, 2.0, 2), (b"a".as_slice(), 50.0, 1.0, 1)]);
        assert_eq!((all.writes.len(), all.unreachable), (1, vec![4]));
    }
}

use super::*;

/// Two groups on three nodes; the slots are shared, everyone is in sync.
pub(crate) fn healthy() -> v1::StatusReply {
    let group = |id: u32, leader: u32| v1::Group {
        id,
        epoch: 3,
        leader,
        in_sync: vec![1, 2, 3],
        replicas: vec![1, 2, 3],
        min_in_sync: 2,
        group_time: 0,
    };
    let node = |id: u32| v1::Node {
        id,
        grpc: format!("127.0.0.1:74{id}0"),
        resp: format!("127.0.0.1:74{id}1"),
        admin: format!("127.0.0.1:74{id}2"),
        zone: String::new(),
        live: true,
    };
    let leader = |group: u32, node: u32| v1::ReplicaStatus {
        group,
        node,
        role: "leader".to_owned(),
        keys: 1200 * u64::from(group),
        log_bytes: 3 << 20,
        lags: vec![v1::Lag { node: 3, records: 7, silent_ms: 1, in_sync: true }],
        ..Default::default()
    };
    v1::StatusReply {
        cluster_id: vec![0xab; 16].into(),
        topology: Some(v1::TopologyUpdate {
            slot_map_version: 12,
            slots: vec![
                v1::SlotOwner { first: 8192, last: 16383, group: 2 },
                v1::SlotOwner { first: 0, last: 8191, group: 1 },
            ],
            groups: vec![group(2, 2), group(1, 1)],
            nodes: vec![node(1), node(2), node(3)],
            ..Default::default()
        }),
        replicas: vec![leader(1, 1), leader(2, 2)],
        controller: 1,
        metadata_reachable: true,
        version: "0.1.0".to_owned(),
        ..Default::default()
    }
}

fn health_of(reply: v1::StatusReply) -> Health {
    Picture::of(reply).unwrap().health().health
}

#[test]
fn a_cluster_with_everyone_in_sync_is_healthy() {
    assert_eq!(health_of(healthy()), Health::Healthy);
}

#[test]
fn an_empty_answer_is_not_healthy() {
    assert_eq!(health_of(v1::StatusReply::default()), Health::Unhealthy);
    let before_init = Picture::of(v1::StatusReply::default()).unwrap().status();
    assert_eq!(before_init.cluster, None);
    assert!(before_init.findings[0].advice.contains("init"), "{:?}", before_init.findings);
}

#[test]
fn what_the_topology_shows_counts_even_if_no_node_complains() {
    let mut leaderless = healthy();
    leaderless.topology.as_mut().unwrap().groups[0].leader = 0;
    assert_eq!(health_of(leaderless), Health::Unhealthy);

    let mut unowned = healthy();
    unowned.topology.as_mut().unwrap().slots.pop();
    assert_eq!(health_of(unowned), Health::Unhealthy);

    let mut shrunk = healthy();
    shrunk.topology.as_mut().unwrap().groups[0].in_sync.pop();
    assert_eq!(health_of(shrunk), Health::Degraded);
}

#[test]
fn the_worst_finding_decides() {
    let mut warned = healthy();
    warned.findings = vec![v1::Finding { subject: "g1".to_owned(), ..Default::default() }];
    assert_eq!(health_of(warned.clone()), Health::Degraded);
    warned.findings[0].severity = v1::finding::Severity::Critical as i32;
    assert_eq!(health_of(warned), Health::Unhealthy);
}

#[test]
fn both_ends_of_the_keyspace_are_located() {
    let picture = Picture::of(healthy()).unwrap();
    assert_eq!(picture.locate("123456789").slot, 12739);
    let lowest = picture.locate("");
    assert_eq!((lowest.slot, lowest.group.as_deref(), lowest.resp.as_deref()), (0, Some("g1"), Some("127.0.0.1:7411")));
    let last = picture.slots(Some(GroupId(2))).unwrap().slots;
    assert_eq!(last.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>(), [(8192, 16383)]);
}

#[test]
fn the_documented_json_of_list_groups_is_what_is_printed() {
    let json = serde_json::to_value(Picture::of(healthy()).unwrap().groups()).unwrap();
    assert_eq!(
        json["groups"][0],
        serde_json::json!({
            "id": "g1", "epoch": 3, "leader": "n1", "in_sync": ["n1", "n2", "n3"], "replicas": ["n1", "n2", "n3"], "min_in_sync": 2,
            "lineage": 0, "recovering": false, "recovery": "manual",
            "slots": 8192, "ranges": ["0-8191"], "keys": 1200, "live_bytes": 0, "log_bytes": 3145728, "lag_records": 7,
        })
    );
}

#[test]
fn an_impossible_answer_is_refused() {
    let mut overlapping = healthy();
    overlapping.topology.as_mut().unwrap().slots[1].last = 9000;
    assert!(Picture::of(overlapping).is_err());
    let mut beyond = healthy();
    beyond.topology.as_mut().unwrap().slots[0].last = 16384;
    assert!(Picture::of(beyond).is_err());
    assert!(Picture::of(v1::StatusReply { cluster_id: vec![1].into(), ..healthy() }).is_err());
}

use simplekv_types::{ClusterId, GroupId, NodeId};

use bytes::Bytes;

use super::*;
use crate::facts::{group_id, node_id};

const CLUSTER: ClusterId = ClusterId(0xc1);

fn node(number: u32, is_up: bool) -> NodeFacts {
    NodeFacts { id: node_id(CLUSTER, NodeId(number)), host: format!("10.0.0.{number}"), port: 7411, is_up }
}

fn group(number: u32, slots: &[&str], leader: Option<usize>, followers: &[usize]) -> GroupFacts {
    let slots = slots.iter().map(|range| range.parse().unwrap()).collect();
    let (epoch, log_end) = (u64::from(number) + 3, 100);
    GroupFacts { id: group_id(CLUSTER, GroupId(number)), slots, leader, followers: followers.to_vec(), epoch, log_end }
}

/// Two groups over three nodes: the first node leads one and follows the other, the third only follows.
fn facts() -> ClusterFacts {
    ClusterFacts {
        myself: 1,
        nodes: vec![node(1, true), node(2, true), node(3, false)],
        groups: vec![group(1, &["8192-16383"], Some(0), &[1, 2]), group(2, &["0-8000", "8002-8191"], Some(1), &[0])],
    }
}

#[test]
fn ids_have_forty_digits_and_none_is_used_twice() {
    let ids = [node_id(CLUSTER, NodeId(1)), node_id(CLUSTER, NodeId(2)), group_id(CLUSTER, GroupId(1))];
    assert!(ids.iter().all(|id| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert!(ids[0] != ids[1] && ids[0] != ids[2]);
}

#[test]
fn nodes_that_lead_are_masters_of_what_they_lead() {
    let id = |number| node_id(CLUSTER, NodeId(number));
    let (one, two, three) = (id(1), id(2), id(3));
    assert_eq!(
        nodes(&facts()),
        format!(
            "{one} 10.0.0.1:7411@17411 master - 0 0 4 connected 8192-16383\n\
             {two} 10.0.0.2:7411@17411 myself,master - 0 0 5 connected 0-8000 8002-8191\n\
             {three} 10.0.0.3:7411@17411 slave,fail {one} 0 0 4 disconnected\n"
        )
    );
}

/// Each row of SLOTS as `first-last: node node`, nodes by the last digit of their address.
fn slots_rows(facts: &ClusterFacts) -> Vec<String> {
    let Reply::Array(rows) = slots(facts) else { panic!("SLOTS is an array") };
    let host = |node: &Reply| match node {
        Reply::Array(parts) => match &parts[0] {
            Reply::Bulk(host) => String::from_utf8_lossy(&host[host.len() - 1..]).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let row = |row: Reply| match row {
        Reply::Array(parts) => match parts.as_slice() {
            [Reply::Int(first), Reply::Int(last), nodes @ ..] => {
                format!("{first}-{last}: {}", nodes.iter().map(host).collect::<Vec<_>>().join(" "))
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn slots_are_told_in_order_with_the_leader_first() {
    let mut facts = facts();
    facts.groups[0].followers = vec![2];
    facts.groups[1].followers = vec![2];
    assert_eq!(slots_rows(&facts), ["0-8000: 2 3", "8002-8191: 2 3", "8192-16383: 1 3"]);
    facts.groups[1].leader = None;
    assert_eq!(slots_rows(&facts), ["0-8000: 3", "8002-8191: 3", "8192-16383: 1 3"]);
    facts.groups[1].followers = vec![];
    assert_eq!(slots_rows(&facts), ["8192-16383: 1 3"]);
    let Reply::Array(rows) = slots(&facts) else { unreachable!() };
    let Reply::Array(parts) = &rows[0] else { unreachable!() };
    let id = node_id(CLUSTER, NodeId(1));
    let leader = vec![Reply::text("10.0.0.1"), Reply::Int(7411), Reply::text(id), Reply::Map(vec![])];
    assert_eq!(parts[2], Reply::Array(leader));
}

#[test]
fn a_node_with_two_roles_is_read_as_a_leader_first_and_last() {
    assert_eq!(
        slots_rows(&facts()),
        [
            "0-0: 2",
            "8192-8192: 1",
            "1-8000: 2 1",
            "8002-8190: 2 1",
            "8193-16382: 1 2 3",
            "8191-8191: 2",
            "16383-16383: 1",
        ]
    );
    let mut few = facts();
    few.groups[1].slots = vec!["5".parse().unwrap()];
    few.groups[0].slots = vec!["6".parse().unwrap(), "8".parse().unwrap()];
    assert_eq!(slots_rows(&few), ["6-6: 1", "5-5: 2", "8-8: 1"]);
}

#[test]
fn a_group_nobody_leads_is_down() {
    assert!(
        info(&facts()).contains("cluster_state:fail\r\ncluster_slots_assigned:16383\r\ncluster_slots_ok:16383\r\n")
    );
    let mut whole = facts();
    whole.groups[1].slots = vec!["0-8191".parse().unwrap()];
    assert!(info(&whole).contains("cluster_state:ok\r\n"));
    assert!(info(&whole).contains("cluster_current_epoch:5\r\ncluster_my_epoch:5\r\n"));
    whole.groups[1].leader = None;
    assert!(info(&whole).contains("cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:8192\r\n"));
}

#[test]
fn each_question_has_its_answer() {
    let facts = facts();
    assert_eq!(answer(&ClusterCommand::MyId, &facts), Some(Reply::text(node_id(CLUSTER, NodeId(2)))));
    assert_eq!(answer(&ClusterCommand::MyShardId, &facts), Some(Reply::text(group_id(CLUSTER, GroupId(2)))));
    assert_eq!(answer(&ClusterCommand::KeySlot { key: "foo".into() }, &facts), Some(Reply::Int(12182)));
    assert_eq!(answer(&ClusterCommand::Links, &facts), Some(Reply::Array(vec![])));
    let id = |number| Bytes::from(node_id(CLUSTER, NodeId(number)));
    let replicas = |number| answer(&ClusterCommand::Replicas { node: id(number) }, &facts);
    let third = nodes(&facts).lines().nth(2).unwrap().to_owned();
    assert_eq!(replicas(1), Some(Reply::Array(vec![Reply::text(third)])));
    assert_eq!(replicas(2), Some(Reply::Array(vec![])));
    let error = |text| Some(Reply::Error(Failure::command(text)));
    assert_eq!(replicas(3), error("ERR The specified node is not a master"));
    assert_eq!(answer(&ClusterCommand::Replicas { node: "x".into() }, &facts), error("ERR Unknown node x"));
    assert_eq!(answer(&ClusterCommand::CountFailureReports { node: id(3) }, &facts), Some(Reply::Int(0)));
    assert_eq!(answer(&ClusterCommand::CountKeysInSlot { slot: Slot::MIN }, &facts), None);
}

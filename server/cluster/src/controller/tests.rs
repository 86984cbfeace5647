use std::time::Duration;

use simplekv_types::{Leadership, Lineage, RunId, StorageId};

use super::*;

const GROUP: GroupId = GroupId(1);

fn member(node: u32) -> Member {
    Member { node: NodeId(node), storage: StorageId(u128::from(node)) }
}

fn facts(node: u32, run: u64, live: bool) -> NodeFacts {
    let member = member(node);
    NodeFacts {
        node: member.node,
        storage: member.storage,
        run: RunId(run),
        revision: Revision(run),
        poisoned: false,
        live: live.then_some(RunId(run)),
    }
}

/// Three replicas, all in sync, led by run 11 of node 1 in epoch 4.
fn record() -> GroupRecord {
    GroupRecord {
        epoch: Epoch(4),
        leader: Some(Leadership { node: NodeId(1), storage: StorageId(1), run: RunId(11) }),
        in_sync: vec![member(1), member(2), member(3)],
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 1000,
        replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
        min_in_sync: 2,
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

/// A controller of a minute's standing, at 60 s.
fn controller(live: [bool; 3]) -> Controller {
    let mut controller = Controller::new(Timing::default());
    controller.step(Tick::ZERO, ControllerEvent::TookOffice);
    let nodes = [1, 2, 3].into_iter().zip(live).map(|(node, live)| facts(node, 10 + u64::from(node), live)).collect();
    controller.step(Tick::ZERO, ControllerEvent::NodesSeen(nodes));
    let seen = ControllerEvent::RecordSeen { group: GROUP, record: Some(record()), revision: Revision(100) };
    controller.step(Tick::from_millis(60_000), seen);
    controller
}

fn effects(controller: &mut Controller) -> Vec<ControllerEffect> {
    std::iter::from_fn(|| controller.next_effect()).collect()
}

fn elected(controller: &mut Controller, at: u64) -> Option<(NodeId, Vec<Member>)> {
    controller.step(Tick::from_millis(at), ControllerEvent::Tick);
    effects(controller).into_iter().find_map(|effect| match effect {
        ControllerEffect::ChangeGroup { change, .. } => Some((change.record.leader?.node, change.record.in_sync)),
        ControllerEffect::TransferEnded { .. } | ControllerEffect::Inspect { .. } => None,
    })
}

#[test]
fn a_healthy_group_is_left_alone() {
    assert_eq!(elected(&mut controller([true; 3]), 120_000), None);
}

#[test]
fn a_dead_leader_is_replaced_after_its_followers_had_their_chance() {
    let mut controller = controller([false, true, true]);
    assert_eq!(elected(&mut controller, 60_500), None);
    assert_eq!(controller.next_deadline(), Some(Tick::from_millis(60_600)));
    assert_eq!(elected(&mut controller, 60_600), Some((NodeId(2), vec![member(2), member(3)])));
    assert_eq!(elected(&mut controller, 70_000), None, "one change at a time");
}

/// Sessions may have been lost while the store was away; everybody gets the time to open a new one.
#[test]
fn a_new_controller_does_not_believe_in_missing_sessions() {
    let mut controller = controller([false, true, true]);
    controller.step(Tick::from_millis(60_000), ControllerEvent::Reconnected);
    assert_eq!(elected(&mut controller, 62_900), None);
    elected(&mut controller, 63_000);
    assert!(elected(&mut controller, 63_600).is_some());
}

#[test]
fn a_restarted_leader_needs_no_session_to_time_out() {
    let mut controller = controller([true; 3]);
    controller.step(Tick::from_millis(60_000), ControllerEvent::Reconnected);
    controller.step(Tick::from_millis(60_000), ControllerEvent::NodesSeen(vec![facts(1, 20, true)]));
    let (leader, in_sync) = elected(&mut controller, 60_600).unwrap();
    assert_eq!((leader, in_sync.len()), (NodeId(1), 3), "its storage is intact, and it is preferred");
}

/// C66: the leader lives and holds its session, but cannot begin its epoch.
#[test]
fn a_leader_that_asks_is_replaced_by_another() {
    let mut controller = controller([true; 3]);
    let from = Sender { node: NodeId(1), storage: StorageId(1), run: RunId(11) };
    let stale = ControllerEvent::ElectionRequested { group: GROUP, epoch: Epoch(3), from, unheard: vec![member(2)] };
    controller.step(Tick::from_millis(60_001), stale);
    assert_eq!(effects(&mut controller), []);
    let asked = ControllerEvent::ElectionRequested { group: GROUP, epoch: Epoch(4), from, unheard: vec![member(2)] };
    controller.step(Tick::from_millis(60_001), asked);
    let [ControllerEffect::ChangeGroup { change, .. }] = &effects(&mut controller)[..] else { panic!("one election") };
    assert_eq!(change.record.leader.unwrap().node, NodeId(2));
}

#[test]
fn an_unknown_outcome_is_tried_again_until_the_record_shows_it() {
    let mut controller = controller([true; 3]);
    controller
        .step(Tick::from_millis(60_001), ControllerEvent::Transfer { ticket: 7, group: GROUP, to: Some(NodeId(3)) });
    let Some(ControllerEffect::ChangeGroup { id, change, .. }) = effects(&mut controller).pop() else {
        panic!("one election")
    };
    let unknown = ControllerEvent::Metadata { id, outcome: MetadataOutcome::Unknown };
    controller.step(Tick::from_millis(60_010), unknown);
    assert_eq!(effects(&mut controller), []);
    let seen = ControllerEvent::RecordSeen { group: GROUP, record: Some(change.record), revision: Revision(101) };
    controller.step(Tick::from_millis(60_020), seen);
    let outcome = TransferOutcome::Elected { leader: NodeId(3), epoch: Epoch(5) };
    assert_eq!(effects(&mut controller), [ControllerEffect::TransferEnded { ticket: 7, outcome }]);
}

#[test]
fn a_transfer_to_a_replica_out_of_sync_ends() {
    let mut controller = controller([true; 3]);
    controller
        .step(Tick::from_millis(60_001), ControllerEvent::Transfer { ticket: 7, group: GROUP, to: Some(NodeId(9)) });
    assert_eq!(effects(&mut controller), []);
    controller.step(Tick::from_millis(60_001) + Duration::from_secs(1), ControllerEvent::Tick);
    let ended = ControllerEffect::TransferEnded { ticket: 7, outcome: TransferOutcome::GivenUp };
    assert_eq!(effects(&mut controller), [ended]);
}

#[test]
fn nobody_in_sync_is_taken_off_the_assigned() {
    let mut controller = controller([true; 3]);
    let wanted = vec![NodeId(4), NodeId(1), NodeId(2)];
    controller.step(Tick::from_millis(60_001), ControllerEvent::Assign { group: GROUP, replicas: wanted.clone() });
    let [ControllerEffect::ChangeGroup { change, .. }] = &effects(&mut controller)[..] else { panic!("one change") };
    assert_eq!(change.record.replicas, [NodeId(4), NodeId(1), NodeId(2), NodeId(3)]);
    let in_sync = vec![member(1), member(2), member(4)];
    let record = Some(GroupRecord { in_sync, ..change.record.clone() });
    controller
        .step(Tick::from_millis(60_002), ControllerEvent::RecordSeen { group: GROUP, record, revision: Revision(102) });
    // The earlier change is lost by then; its place is taken by the second half.
    let lost = ControllerEvent::Metadata { id: RequestId(1), outcome: MetadataOutcome::Lost { current: None } };
    controller.step(Tick::from_millis(60_002), lost);
    controller.step(Tick::from_millis(60_200), ControllerEvent::Tick);
    let [ControllerEffect::ChangeGroup { change, .. }] = &effects(&mut controller)[..] else { panic!("one change") };
    assert_eq!(change.record.replicas, wanted);
}

#[test]
fn without_the_office_nothing_is_changed() {
    let mut controller = controller([false, true, true]);
    controller.step(Tick::from_millis(60_001), ControllerEvent::LostOffice);
    assert_eq!(elected(&mut controller, 90_000), None);
    assert_eq!(controller.next_deadline(), None);
}

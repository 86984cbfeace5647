use simplekv_types::{RecoveryPolicy, RunId};

use super::*;

/// Three replicas, all in sync, last led by node 1 in epoch 4.
fn record() -> GroupRecord {
    let listed = |node: u32| Member { node: NodeId(node), storage: StorageId(node.into()) };
    GroupRecord {
        epoch: Epoch(4),
        leader: Some(Leadership { node: NodeId(1), storage: StorageId(1), run: RunId(11) }),
        in_sync: (1..=3).map(listed).collect(),
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 500,
        replicas: vec![NodeId(2), NodeId(1), NodeId(3), NodeId(4)],
        min_in_sync: 2,
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::Manual,
    }
}

/// A node that came back as incarnation 10 times its number on the same disk, with a log of epoch 4 up to `log_end`.
fn came_back(node: u32, log_end: u64) -> Remains {
    let (storage, run) = (StorageId(u128::from(node) * 10), RunId(20 + u64::from(node)));
    let identity = Sender { node: NodeId(node), storage, run };
    Remains {
        facts: NodeFacts {
            node: NodeId(node),
            storage,
            run,
            revision: Revision(run.0),
            poisoned: false,
            live: Some(run),
        },
        previous: vec![StorageId(node.into())],
        replica: Some(Traces {
            identity,
            lineage: Lineage(0),
            epoch: Epoch(4),
            last_epoch: Epoch(4),
            log_end: Lsn(log_end),
            high_watermark: Lsn(log_end / 2),
            halted: None,
        }),
    }
}

fn remains(each: impl IntoIterator<Item = Remains>) -> BTreeMap<NodeId, Remains> {
    each.into_iter().map(|found| (found.facts.node, found)).collect()
}

/// All three came back from a loss of power, the second with the longest log.
fn after_power_loss() -> BTreeMap<NodeId, Remains> {
    remains([came_back(1, 90), came_back(2, 100), came_back(3, 80)])
}

/// Whole as it was listed.
fn intact(node: u32) -> Remains {
    let mut found = came_back(node, 100);
    found.facts.storage = StorageId(node.into());
    found.previous.clear();
    found.replica.as_mut().unwrap().identity.storage = StorageId(node.into());
    found
}

fn wish(lost: &[u32]) -> Wish {
    Wish { lost: lost.iter().copied().map(NodeId).collect(), ..Wish::default() }
}

#[test]
fn the_longest_log_becomes_the_history_of_another_lineage() {
    let Recovery { chosen, change, .. } = recover(&record(), Revision(9), &after_power_loss(), &wish(&[])).unwrap();
    assert_eq!(chosen, Member { node: NodeId(2), storage: StorageId(20) });
    let next = &change.record;
    assert_eq!((next.epoch, next.lineage, next.recovering), (Epoch(5), Lineage(1), false));
    assert_eq!(next.leader, Some(Leadership { node: NodeId(2), storage: StorageId(20), run: RunId(22) }));
    assert_eq!((&next.in_sync, next.min_in_sync), (&vec![chosen], 2), "the floor stands: nobody commits alone");
    assert_eq!((next.fence.len(), next.fence_ms), (3, 1000), "every older lease is waited for");
    let compared: Vec<(u32, u64)> = change.registrations.iter().map(|(node, at)| (node.0, at.0)).collect();
    assert_eq!((change.expected, compared), (Revision(9), vec![(1, 21), (2, 22), (3, 23)]));
}

#[test]
fn an_operator_may_choose_another_log_and_another_floor() {
    let asked = Wish { to: Some(NodeId(3)), min_in_sync: Some(1), ..Wish::default() };
    let recovery = recover(&record(), Revision(9), &after_power_loss(), &asked).unwrap();
    assert_eq!((recovery.chosen.node, recovery.change.record.min_in_sync), (NodeId(3), 1));
    for floor in [0, 5] {
        let asked = Wish { min_in_sync: Some(floor), ..Wish::default() };
        assert_eq!(recover(&record(), Revision(9), &after_power_loss(), &asked), Err(Obstacle::ImpossibleFloor));
    }
    let nobody = Wish { to: Some(NodeId(4)), ..Wish::default() };
    assert_eq!(recover(&record(), Revision(9), &after_power_loss(), &nobody), Err(Obstacle::NotEligible(NodeId(4))));
}

/// What is done must be what was shown.
#[test]
fn whatever_is_shown_changes_the_digest() {
    let digest =
        |left: &BTreeMap<NodeId, Remains>, wish: &Wish| recover(&record(), Revision(9), left, wish).unwrap().digest;
    let shown = digest(&after_power_loss(), &wish(&[]));
    assert_eq!(digest(&after_power_loss(), &wish(&[])), shown);
    assert_eq!(digest(&after_power_loss(), &Wish { to: Some(NodeId(2)), ..Wish::default() }), shown, "the same choice");
    let changes: [fn(&mut Remains); 6] = [
        |found| found.replica.as_mut().unwrap().log_end = Lsn(81),
        |found| found.replica.as_mut().unwrap().last_epoch = Epoch(3),
        |found| found.replica.as_mut().unwrap().halted = Some(HaltCause::Conflict),
        |found| found.replica = None,
        |found| {
            found.facts.run = RunId(50);
            found.replica.as_mut().unwrap().identity.run = RunId(50);
        },
        |found| found.previous.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut left = after_power_loss();
        change(left.get_mut(&NodeId(3)).unwrap());
        assert_ne!(digest(&left, &wish(&[3])), shown, "change {number}");
    }
    assert_ne!(digest(&after_power_loss(), &Wish { min_in_sync: Some(1), ..Wish::default() }), shown);
    assert_ne!(digest(&after_power_loss(), &Wish { to: Some(NodeId(1)), ..Wish::default() }), shown);
}

#[test]
fn equal_logs_leave_the_choice_to_the_groups_preference() {
    let equal = remains([came_back(1, 100), came_back(2, 100), came_back(3, 100)]);
    assert_eq!(candidates(&record(), &equal), [2, 1, 3].map(NodeId));
    // A later epoch beats a longer log.
    let mut older = came_back(2, 500);
    older.replica.as_mut().unwrap().last_epoch = Epoch(3);
    assert_eq!(candidates(&record(), &remains([came_back(1, 100), older])), [1, 2].map(NodeId));
}

#[test]
fn a_replica_out_of_sync_counts_if_its_log_is_the_longest() {
    let mut learner = came_back(4, 120);
    learner.previous.clear();
    let mut left = after_power_loss();
    left.insert(NodeId(4), learner);
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])).unwrap().chosen.node, NodeId(4));
}

/// C44: whoever holds everything acknowledged is never passed over.
#[test]
fn a_whole_replica_is_never_given_up() {
    let mut left = after_power_loss();
    left.insert(NodeId(3), intact(3));
    let can_go_on = Err(Obstacle::CanGoOn(vec![NodeId(3)]));
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[3])), can_go_on, "whatever an operator says");
    // Its session says that it is there, although it does not answer.
    left.get_mut(&NodeId(3)).unwrap().replica = None;
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[3])), can_go_on);
}

/// C44: it may live behind a partition, or on a disk that is switched off.
#[test]
fn a_replica_that_may_return_is_waited_for_unless_an_operator_vouches() {
    let listed = Member { node: NodeId(3), storage: StorageId(3) };
    let mut absent = intact(3);
    (absent.replica, absent.facts.live) = (None, None);
    let mut replaced = came_back(3, 0);
    replaced.previous.clear();
    let mut distrusted = intact(3);
    (distrusted.replica, distrusted.facts.poisoned) = (None, true);
    for (found, fate) in [
        (Some(absent), Fate::Absent),
        (Some(replaced), Fate::Replaced),
        (Some(distrusted), Fate::Distrusted),
        (None, Fate::Unknown),
    ] {
        let left = remains([came_back(1, 90), came_back(2, 100)].into_iter().chain(found));
        let obstacle = Err(Obstacle::MayReturn(vec![(listed, fate)]));
        assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])), obstacle);
        assert_eq!(recover(&record(), Revision(9), &left, &wish(&[1])), obstacle, "of another nobody spoke");
        assert_eq!(recover(&record(), Revision(9), &left, &wish(&[3])).unwrap().chosen.node, NodeId(2));
    }
}

/// It lost its session, was vouched for, and writes its sign of life again before the change is made: its registration stays as it was.
#[test]
fn whoever_was_judged_by_silence_must_be_silent_still() {
    let mut left = after_power_loss();
    let mut absent = intact(3);
    (absent.replica, absent.facts.live) = (None, None);
    left.insert(NodeId(3), absent);
    let recovery = recover(&record(), Revision(9), &left, &wish(&[3])).unwrap();
    assert_eq!(recovery.change.silent, [NodeId(3)]);
    let recovery = recover(&record(), Revision(9), &after_power_loss(), &wish(&[3])).unwrap();
    assert_eq!(recovery.change.silent, [], "all of them are back as others");
}

/// What a run tells is worth nothing once another has registered: it may have lost what it told of. What the new one holds is not
/// known before it says so.
#[test]
fn only_the_registered_run_speaks() {
    let mut left = after_power_loss();
    left.get_mut(&NodeId(2)).unwrap().facts.run = RunId(40);
    let silent = Err(Obstacle::Silent(vec![NodeId(2)]));
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])), silent);
    let asked = Wish { to: Some(NodeId(1)), ..Wish::default() };
    assert_eq!(recover(&record(), Revision(9), &left, &asked), silent, "nobody has said that it is given up");
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[2])).unwrap().chosen.node, NodeId(1));
    assert!(recover_longest(&record(), Revision(9), &left).is_err(), "what it left has not been looked at");
}

/// All three are back and accounted for; the one with the longest log still reads it.
#[test]
fn what_an_ended_incarnation_left_is_looked_at_first() {
    let mut left = after_power_loss();
    left.get_mut(&NodeId(2)).unwrap().replica = None;
    let silent = Err(Obstacle::Silent(vec![NodeId(2)]));
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])), silent);
    assert_eq!(recover_longest(&record(), Revision(9), &left), silent);
    left.insert(NodeId(2), came_back(2, 100));
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])).unwrap().chosen.node, NodeId(2));
}

/// Node 4 joined after the metadata store was backed up, and has not noticed that it was put back.
#[test]
fn whoever_answers_in_another_run_is_waited_for_as_well() {
    let mut left = after_power_loss();
    let mut unaware = came_back(4, 120);
    unaware.facts.run = RunId(3);
    left.insert(NodeId(4), unaware);
    let obstacle = Err(Obstacle::NotRegistered(vec![NodeId(4)]));
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[])), obstacle);
    assert_eq!(recover(&record(), Revision(9), &left, &wish(&[4])).unwrap().chosen.node, NodeId(2), "given up");
}

/// Node 4 is out of sync. It may have more than anybody else for all that, so the controller waits until it has told.
#[test]
fn the_controller_waits_for_everybody_who_is_there() {
    let mut learner = came_back(4, 120);
    learner.previous.clear();
    let told = learner.replica.take();
    let mut left = after_power_loss();
    left.insert(NodeId(4), learner.clone());
    assert_eq!(recover_longest(&record(), Revision(9), &left), Err(Obstacle::Silent(vec![NodeId(4)])));
    left.get_mut(&NodeId(4)).unwrap().facts.live = None;
    assert_eq!(recover_longest(&record(), Revision(9), &left).unwrap().chosen.node, NodeId(2), "it is not there");
    left.insert(NodeId(4), Remains { replica: told, ..learner });
    assert_eq!(recover_longest(&record(), Revision(9), &left).unwrap().chosen.node, NodeId(4));
}

#[test]
fn a_group_that_never_had_a_leader_has_nothing_to_lose() {
    let new = GroupRecord { epoch: Epoch::ZERO, leader: None, in_sync: Vec::new(), ..record() };
    let mut fresh = after_power_loss();
    for found in fresh.values_mut() {
        found.replica.as_mut().unwrap().epoch = Epoch::ZERO;
    }
    assert_eq!(recover(&new, Revision(9), &fresh, &wish(&[])), Err(Obstacle::NeverLed));
}

/// C45: all replicas know epoch 7; the store, restored from before, shows 4 and lists them as they are. They have halted.
#[test]
fn a_restored_store_is_overruled_by_an_operator_alone() {
    let halted = |node: u32, log_end: u64, cause: HaltCause| {
        let mut found = intact(node);
        let traces = found.replica.as_mut().unwrap();
        (traces.epoch, traces.last_epoch, traces.log_end) = (Epoch(7), Epoch(7), Lsn(log_end));
        traces.halted = Some(cause);
        found
    };
    let left = remains([
        halted(1, 90, HaltCause::MetadataRegressed),
        halted(2, 95, HaltCause::MetadataRegressed),
        halted(3, 99, HaltCause::Conflict),
    ]);
    let recovery = recover(&record(), Revision(9), &left, &wish(&[])).unwrap();
    assert_eq!(recovery.chosen.node, NodeId(2), "what halted for another reason does not act again");
    assert_eq!(recovery.change.record.epoch, Epoch(8), "later than anything they have acted in");
    let mut lineage_ahead = after_power_loss();
    lineage_ahead.get_mut(&NodeId(1)).unwrap().replica.as_mut().unwrap().lineage = Lineage(2);
    let recovery = recover(&record(), Revision(9), &lineage_ahead, &wish(&[])).unwrap();
    assert_eq!(recovery.chosen.node, NodeId(1), "logs of earlier histories are none of this group's any more");
    assert_eq!(recovery.change.record.lineage, Lineage(3));
    assert_eq!(recover_longest(&record(), Revision(9), &lineage_ahead), Err(Obstacle::MetadataRegressed));
}

/// Node 1 was chosen, and lost its identity again before it began: nobody has given up anything yet.
#[test]
fn what_was_not_chosen_can_be_as_long_as_the_chosen_one_has_not_begun() {
    let chosen = Member { node: NodeId(1), storage: StorageId(10) };
    let begun = GroupRecord { epoch: Epoch(5), in_sync: vec![chosen], lineage: Lineage(1), ..record() };
    let halted = |node: u32, log_end: u64, cause: HaltCause| {
        let mut found = came_back(node, log_end);
        found.replica.as_mut().unwrap().halted = Some(cause);
        found
    };
    let mut lost = halted(1, 70, HaltCause::LineageEnded);
    lost.facts.storage = StorageId(100);
    lost.replica.as_mut().unwrap().identity.storage = StorageId(100);
    lost.previous.push(StorageId(10));
    let mut learner = came_back(4, 0);
    learner.replica.as_mut().unwrap().lineage = Lineage(1);
    let two_wait = [halted(2, 100, HaltCause::LineageEnded), halted(3, 80, HaltCause::LineageEnded)];
    let left = remains(two_wait.clone().into_iter().chain([lost, learner.clone()]));
    let recovery = recover(&begun, Revision(9), &left, &wish(&[])).unwrap();
    assert_eq!(recovery.chosen.node, NodeId(2), "node 4 has been told of lineage 1 and holds nothing of it");
    assert_eq!((recovery.change.record.lineage, recovery.change.record.epoch), (Lineage(2), Epoch(6)));
    assert_eq!(recover_longest(&begun, Revision(9), &left).unwrap().chosen.node, NodeId(2));

    // Once somebody holds a part of the later history, that is what counts; and who puts its log away has nothing to offer.
    learner.replica.as_mut().unwrap().log_end = Lsn(1);
    let mut later = left.clone();
    later.insert(NodeId(4), learner);
    assert_eq!(recover(&begun, Revision(9), &later, &wish(&[])).unwrap().chosen.node, NodeId(4));
    let mut given_up = left.clone();
    given_up.insert(NodeId(2), halted(2, 100, HaltCause::GivenUp));
    assert_eq!(recover(&begun, Revision(9), &given_up, &wish(&[])).unwrap().chosen.node, NodeId(3));

    // As long as the chosen one may begin it is never overruled, even if it has halted and not heard of it yet.
    let waits = remains(two_wait.into_iter().chain([halted(1, 70, HaltCause::LineageEnded)]));
    let can_go_on = Err(Obstacle::CanGoOn(vec![NodeId(1)]));
    assert_eq!(recover(&begun, Revision(9), &waits, &wish(&[1])), can_go_on);
}

/// C65: a node that lost power twice lists both incarnations; a wiped one lists none, and the controller waits for an operator.
#[test]
fn the_controller_goes_on_with_proof_alone() {
    let mut left = after_power_loss();
    left.get_mut(&NodeId(3)).unwrap().previous = vec![StorageId(3), StorageId(33)];
    assert_eq!(recover_longest(&record(), Revision(9), &left).unwrap().chosen.node, NodeId(2));

    left.get_mut(&NodeId(3)).unwrap().previous = vec![StorageId(33)];
    let listed = Member { node: NodeId(3), storage: StorageId(3) };
    let waits = Err(Obstacle::MayReturn(vec![(listed, Fate::Replaced)]));
    assert_eq!(recover_longest(&record(), Revision(9), &left), waits);

    let mut unseen = after_power_loss();
    unseen.get_mut(&NodeId(3)).unwrap().replica = None;
    assert!(recover_longest(&record(), Revision(9), &unseen).is_err(), "its log may be the longest");
}

#[test]
fn nothing_at_all_is_not_chosen_without_an_operator() {
    let empty = remains([came_back(1, 0), came_back(2, 0), came_back(3, 0)]);
    assert_eq!(recover_longest(&record(), Revision(9), &empty), Err(Obstacle::NothingLeft));
    assert!(recover(&record(), Revision(9), &empty, &wish(&[])).is_ok());
    assert_eq!(recover(&record(), Revision(9), &BTreeMap::new(), &wish(&[1, 2, 3])), Err(Obstacle::NobodyLeft));
}

#[test]
fn a_group_waits_for_a_decision_once_all_its_incarnations_are_superseded() {
    let nodes: Nodes = after_power_loss().into_iter().map(|(node, found)| (node, found.facts)).collect();
    let change = await_decision(&record(), Revision(9), &nodes).unwrap();
    assert_eq!((change.record.leader, change.record.recovering), (None, true));
    assert_eq!((change.record.epoch, &change.record.in_sync), (Epoch(4), &record().in_sync));
    assert_eq!(change.registrations.len(), 3, "what it rests on is compared");
    assert_eq!(await_decision(&change.record, Revision(10), &nodes), None, "it is said once");

    let mut one_left = nodes.clone();
    one_left.insert(NodeId(1), intact(1).facts);
    assert_eq!(await_decision(&record(), Revision(9), &one_left), None);
    one_left.remove(&NodeId(1));
    assert_eq!(await_decision(&record(), Revision(9), &one_left), None, "of an unknown node nothing is known");
}

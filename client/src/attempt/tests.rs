use std::sync::Arc;

use simplekv_types::{ClientId, ClusterId, Epoch, GroupId, GroupTime, NodeAddresses, Seq, Slot, SlotMapVersion};

use super::*;
use crate::topology::process_millis;
use crate::topology::tests::{slot, two_groups};
use crate::{Group, Node};

const TOTAL: Duration = Duration::from_secs(10);
const ATTEMPT: Duration = Duration::from_millis(500);

/// All nodes alike.
fn draw(dice: u32) -> Draw<'static> {
    Draw { dice, cost: &|_| 0, zone: "" }
}

/// One request, step by step. Slot 1 belongs to `g1`, which n1 leads.
struct Story {
    plan: Plan,
    progress: Progress,
    topology: Topology,
    elapsed: Duration,
    budget: bool,
}

impl Story {
    fn of(access: Access) -> Self {
        let target = Target::Slot(slot(1));
        let plan = Plan { access, target, retry: true, refusals_max: 4, total: TOTAL, attempt: ATTEMPT, spread: false };
        Self { plan, progress: Progress::default(), topology: two_groups(5), elapsed: Duration::ZERO, budget: true }
    }

    fn read() -> Self {
        Self::of(Access::Read(ReadPolicy::Linearizable))
    }

    fn write() -> Self {
        Self::of(Access::Write(Some(id())))
    }

    fn after(&mut self, outcome: Outcome) -> String {
        let budget = self.budget;
        let mut time = Time { elapsed: self.elapsed, millis: process_millis(), budget: &mut || budget };
        match decide(&mut self.plan, &mut self.progress, outcome, &self.topology, &mut time, draw(0)) {
            Action::Send { to, attempt, timeout } => format!("send {to} #{attempt} {}ms", timeout.as_millis()),
            Action::Pause { step, over_budget, refresh } => {
                let (budget, refresh) =
                    (if over_budget { " over budget" } else { "" }, if refresh { " refresh" } else { "" });
                format!("pause {step}{budget}{refresh}")
            }
            Action::Finish(Ok(reply)) => format!("ok {reply:?}"),
            Action::Finish(Err(error)) => format!("error {} {}", error.code(), cause(&error)),
        }
    }

    /// The group's time becomes known, if it is told.
    fn hear_of(&self, time: Option<u64>) {
        let group = self.topology.group(GroupId(1)).unwrap();
        time.into_iter().for_each(|time| group.clock.observe(GroupTime(time), process_millis()));
    }

    fn deadline(&self) -> u64 {
        self.plan.access.request_id().unwrap().deadline.0
    }

    fn failed(&mut self, failure: Failure) -> String {
        self.after(Outcome::Answered(Reply::Error(failure)))
    }
}

fn cause(error: &Error) -> &'static str {
    match error {
        Error::Timeout { last, .. } => last.code(),
        Error::OutcomeUnknown { source, .. } => source.code(),
        _ => "",
    }
}

fn id() -> RequestId {
    RequestId { client: ClientId(1), seq: Seq(1), deadline: GroupTime(60_000) }
}

fn lost(sent: bool) -> Outcome {
    Outcome::Lost { sent, error: TransportError { address: Arc::from("h:1"), reason: Arc::from("reset") } }
}

fn moved(node: Option<u32>, version: u64) -> Failure {
    let address = String::new();
    Failure::Moved {
        slot: slot(1),
        group: GroupId(2),
        node: node.map(NodeId),
        address,
        version: SlotMapVersion(version),
    }
}

fn not_leader(leader: Option<u32>, epoch: u64) -> Failure {
    let address = String::new();
    Failure::NotLeader { slot: slot(1), group: GroupId(1), leader: leader.map(NodeId), address, epoch: Epoch(epoch) }
}

#[test]
fn a_request_goes_to_the_leader_and_its_answer_is_the_result() {
    let mut story = Story::read();
    assert_eq!(story.after(Outcome::Ready), "send n1 #1 500ms");
    assert_eq!(story.after(Outcome::Answered(Reply::Int(7))), "ok Int(7)");
}

#[test]
fn a_redirect_that_names_the_node_is_followed_at_once() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(moved(Some(2), 6)), "send n2 #2 500ms");
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(not_leader(Some(2), 2)), "send n2 #2 500ms");
}

#[test]
fn a_redirect_without_a_name_waits_for_the_topology() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(not_leader(None, 2)), "pause 0 refresh");
    assert_eq!(story.after(Outcome::Ready), "send n1 #2 500ms");
}

#[test]
fn a_node_that_knows_less_than_we_do_is_not_believed() {
    let mut story = Story::read();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(moved(Some(2), 4)), "pause 0 refresh", "our slot map is 5");
    assert_eq!(story.after(Outcome::Ready), "send n1 #2 500ms");
    assert_eq!(story.failed(not_leader(Some(2), 0)), "pause 1 refresh", "we know of epoch 1");
}

#[test]
fn nodes_that_send_us_back_and_forth_are_asked_only_so_often_without_a_pause() {
    let mut story = Story::read();
    story.after(Outcome::Ready);
    let sends = (0..20).take_while(|i| {
        let to = if i % 2 == 0 { 2 } else { 1 };
        story.failed(not_leader(Some(to), 9)).starts_with("send")
    });
    assert_eq!(sends.count(), 8);
    assert!(story.after(Outcome::Ready).starts_with("send"), "it goes on after the pause");
    assert_eq!(story.failed(not_leader(Some(2), 9)), "send n2 #11 500ms");
}

#[test]
fn only_the_deadline_ends_the_wait_for_a_leader() {
    for failure in [
        Failure::NoLeader { group: GroupId(1) },
        Failure::NotServing { reason: "stopping".into() },
        Failure::Loading,
        Failure::TryAgain { slot: slot(1) },
        Failure::NoReplicas { in_sync: 1, required: 2 },
        not_leader(None, 1),
    ] {
        let mut story = Story::write();
        for _ in 0..1000 {
            assert!(story.after(Outcome::Ready).starts_with("send n1"));
            assert!(story.failed(failure.clone()).starts_with("pause"), "{failure}");
        }
        story.elapsed = TOTAL;
        assert_eq!(story.failed(failure.clone()), format!("error timeout {}", Error::from(failure).code()));
    }
}

#[test]
fn a_group_that_is_there_and_refuses_is_asked_a_few_times() {
    for failure in [Failure::Busy { what: "queue" }, Failure::SlotUnserved { slot: slot(1) }] {
        let mut story = Story::write();
        for attempt in 1..=3 {
            assert!(story.after(Outcome::Ready).starts_with(&format!("send n1 #{attempt}")));
            assert!(story.failed(failure.clone()).starts_with("pause"));
        }
        story.after(Outcome::Ready);
        assert_eq!(story.failed(failure.clone()), format!("error {} ", Error::from(failure).code()));
    }
}

#[test]
fn a_write_whose_answer_was_lost_is_sent_again_under_its_identity() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.after(lost(true)), "pause 0 refresh");
    assert_eq!(story.after(Outcome::Ready), "send n1 #2 500ms");
    assert_eq!(story.after(Outcome::Answered(Reply::Ok)), "ok Ok", "the answer to attempt 2 settles attempt 1");
}

/// G4: as the client decides it.
#[test]
fn a_write_in_doubt_at_the_deadline_is_reported_as_unknown() {
    for doubt in [lost(true), Outcome::TimedOut { sent: true }, {
        Outcome::Answered(Reply::Error(Failure::Uncertain { reason: "leader changed".into() }))
    }] {
        let mut story = Story::write();
        story.after(Outcome::Ready);
        story.after(doubt);
        story.after(Outcome::Ready);
        story.elapsed = TOTAL;
        // The refusal concerns attempt 2; attempt 1 may still be on its way.
        let end = story.failed(Failure::NoLeader { group: GroupId(1) });
        assert_eq!(end, "error outcome_unknown no_leader");
    }
}

#[test]
fn a_write_that_never_left_times_out_without_doubt() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    story.after(lost(false));
    story.after(Outcome::Ready);
    story.elapsed = TOTAL;
    assert_eq!(story.after(Outcome::TimedOut { sent: false }), "error timeout no_answer");
}

#[test]
fn a_read_is_never_in_doubt() {
    let mut story = Story::read();
    story.after(Outcome::Ready);
    story.after(lost(true));
    story.elapsed = TOTAL;
    assert_eq!(story.after(Outcome::Ready), "error timeout transport");
}

#[test]
fn an_evaluated_error_is_a_result_even_after_a_doubt() {
    for failure in [Failure::WrongType, Failure::command("ERR value is not an integer or out of range")] {
        let mut story = Story::write();
        story.after(Outcome::Ready);
        story.after(lost(true));
        story.after(Outcome::Ready);
        assert!(story.failed(failure).starts_with("ok Error"));
    }
}

#[test]
fn a_refused_request_after_a_doubt_is_unknown() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    story.after(lost(true));
    story.after(Outcome::Ready);
    let refused = Failure::TooLarge { what: "value", size: 2, limit: 1 };
    assert_eq!(story.failed(refused.clone()), "error outcome_unknown too_large");
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert!(story.failed(refused).starts_with("ok Error"));
}

#[test]
fn a_lapsed_identity_ends_the_retries() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(Failure::Expired), "error timeout expired", "nothing was done");
    let mut story = Story::write();
    story.after(Outcome::Ready);
    story.after(lost(true));
    story.after(Outcome::Ready);
    assert_eq!(story.failed(Failure::Expired), "error outcome_unknown expired");
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.failed(Failure::StaleRetry), "error outcome_unknown stale_retry");
}

#[test]
fn without_retries_the_first_failure_is_the_answer_but_redirects_are_followed() {
    let once = |access| {
        let mut story = Story::of(access);
        story.plan.retry = false;
        story.after(Outcome::Ready);
        story
    };
    assert_eq!(once(Access::Write(None)).after(lost(true)), "error outcome_unknown transport");
    assert_eq!(once(Access::Write(None)).after(lost(false)), "error transport ");
    assert_eq!(once(Access::Write(None)).failed(Failure::Busy { what: "queue" }), "error overloaded ");
    assert_eq!(once(Access::Read(ReadPolicy::Leader)).after(Outcome::TimedOut { sent: true }), "error no_answer ");
    assert_eq!(once(Access::Write(None)).failed(moved(Some(2), 6)), "send n2 #2 500ms");
}

#[test]
fn an_answer_nobody_can_read_leaves_a_write_in_doubt() {
    let unreadable =
        || Outcome::Unreadable(TransportError { address: Arc::from("h:1"), reason: Arc::from("gibberish") });
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.after(unreadable()), "error outcome_unknown transport");
    let mut story = Story::read();
    story.after(Outcome::Ready);
    assert_eq!(story.after(unreadable()), "error transport ");
}

#[test]
fn a_request_too_large_for_the_node_is_refused_and_one_held_back_was_no_attempt() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.after(Outcome::Held), "send n1 #1 500ms");
    assert_eq!(story.after(Outcome::TooLarge { size: 2, limit: 1 }), "error too_large ");
}

#[test]
fn an_empty_budget_delays_a_retry_and_never_fails_it() {
    let mut story = Story::write();
    story.budget = false;
    for _ in 0..100 {
        story.after(Outcome::Ready);
        assert!(story.after(lost(false)).contains("over budget"));
    }
}

#[test]
fn our_own_limit_is_reported_at_once() {
    let mut story = Story::write();
    story.after(Outcome::Ready);
    assert_eq!(story.after(Outcome::Full { what: "here" }), "error overloaded ");
    let mut story = Story::write();
    story.after(Outcome::Ready);
    story.after(lost(true));
    story.after(Outcome::Ready);
    assert_eq!(story.after(Outcome::Full { what: "here" }), "error outcome_unknown overloaded");
}

/// A write that was never sent, of a client that knows `time` of the group.
fn undated(time: Option<u64>) -> Story {
    let story = Story::of(Access::Write(Some(RequestId { deadline: GroupTime::ZERO, ..id() })));
    story.hear_of(time);
    story
}

#[test]
fn a_write_keeps_the_deadline_of_its_first_attempt() {
    let mut story = undated(None);
    story.topology = Topology::unknown();
    assert_eq!(story.after(Outcome::Ready), "pause 0 refresh");
    story.topology = two_groups(5);
    assert_eq!(story.after(Outcome::Ready), "pause 1 refresh", "a node would date each attempt anew");
    story.hear_of(Some(1_000_000));
    assert_eq!(story.after(Outcome::Ready), "send n1 #1 500ms");
    let deadline = story.deadline();
    assert!((1_060_000..1_070_000).contains(&deadline), "{deadline}");
    story.hear_of(Some(2_000_000));
    story.after(lost(true));
    assert_eq!(story.after(Outcome::Ready), "send n1 #2 500ms");
    assert_eq!(story.deadline(), deadline);
    story.elapsed = TOTAL;
    assert_eq!(story.failed(Failure::Expired), "error outcome_unknown expired");
}

#[test]
fn a_write_may_be_executed_for_longer_than_its_request_lasts() {
    let mut story = undated(Some(1_000_000));
    story.plan.total = Duration::from_secs(300);
    story.after(Outcome::Ready);
    assert!(story.deadline() >= 1_000_000 + 300_000, "{}", story.deadline());
    let mut story = undated(Some(1_000_000));
    story.plan.total = Duration::MAX;
    assert!(story.after(Outcome::Ready).starts_with("send"));
}

#[test]
fn nothing_known_is_waited_for() {
    let mut story = Story::read();
    story.topology = Topology::unknown();
    assert_eq!(story.after(Outcome::Ready), "pause 0 refresh");
    story.elapsed = TOTAL;
    assert_eq!(story.after(Outcome::Ready), "error timeout slot_unserved");
}

#[test]
fn the_last_attempt_gets_what_time_is_left() {
    let mut story = Story::read();
    story.elapsed = TOTAL - Duration::from_millis(20);
    assert_eq!(story.after(Outcome::Ready), "send n1 #1 20ms");
}

#[test]
fn any_replica_may_answer_a_read_without_promise_and_the_one_that_failed_is_avoided() {
    let mut story = Story::of(Access::Read(ReadPolicy::Any));
    let choose = |story: &Story, avoid, dice| route(&story.plan, &story.topology, avoid, draw(dice));
    assert_eq!(choose(&story, None, 0), Some(NodeId(1)));
    assert_eq!(choose(&story, None, 1), Some(NodeId(2)));
    assert_eq!(story.after(Outcome::Ready), "send n1 #1 500ms");
    assert_eq!(story.after(lost(true)), "pause 0 refresh");
    assert_eq!(story.after(Outcome::Ready), "send n2 #2 500ms");
    let leader_only = Story::read();
    assert!((0..9).all(|dice| choose(&leader_only, None, dice) == Some(NodeId(1))));
}

#[test]
fn a_command_without_keys_goes_to_the_leader_of_its_group() {
    let mut story = Story::read();
    story.plan.target = Target::Group(GroupId(2));
    assert_eq!(story.after(Outcome::Ready), "send n2 #1 500ms");
    assert_eq!(story.plan.target, Target::from(GroupId(2)));
    assert_eq!(Target::from(Slot::MIN), Target::Slot(Slot::MIN));
}

#[test]
fn a_linearizable_read_goes_to_any_replica_that_is_quick_and_to_the_leader_if_that_holds_no_lease() {
    let mut story = Story::read();
    story.plan.spread = true;
    let slow = |node| move |other| if other == node { 9 } else { 1 };
    for dice in 0..9 {
        let quick = Draw { dice, cost: &slow(NodeId(1)), zone: "" };
        assert_eq!(route(&story.plan, &story.topology, None, quick), Some(NodeId(2)), "n1 leads, and is slow");
    }
    story.plan.spread = false;
    let alone = Draw { dice: 0, cost: &slow(NodeId(1)), zone: "" };
    assert_eq!(route(&story.plan, &story.topology, None, alone), Some(NodeId(1)), "others go with it: to the leader");

    story.plan.spread = true;
    story.progress.asked = Some(NodeId(1));
    assert_eq!(story.after(Outcome::Ready), "send n2 #1 500ms");
    let (group, leader, epoch) = (GroupId(1), Some(NodeId(1)), Epoch(1));
    let failure = Failure::NotLeader { slot: slot(1), group, leader, address: String::new(), epoch };
    assert_eq!(story.failed(failure), "send n1 #2 500ms", "without a pause");
}

/// What a policy promises decides who may keep the promise.
#[test]
fn reads_are_sent_to_all_who_may_answer_them() {
    let bounded = ReadPolicy::Bounded { max_lag: ATTEMPT };
    let targets = |policy, in_sync: &[u32], leader: Option<u32>| {
        let mut group = Group::new(GroupId(1), Epoch(1), leader.map(NodeId), vec![NodeId(1), NodeId(2), NodeId(3)]);
        group.in_sync = in_sync.iter().copied().map(NodeId).collect();
        let nodes = (1..=3).map(|id| Node::new(NodeId(id), NodeAddresses::default())).collect();
        let all = [("0-16383".parse().unwrap(), GroupId(1))];
        let mut story = Story::of(Access::Read(policy));
        story.plan.spread = true;
        story.topology = Topology::new(5, ClusterId(1), SlotMapVersion(5), all, vec![group], nodes);
        let targets = (0..36).filter_map(|dice| route(&story.plan, &story.topology, None, draw(dice)));
        targets.map(|node| node.0).collect::<std::collections::BTreeSet<u32>>().into_iter().collect::<Vec<u32>>()
    };
    for policy in [ReadPolicy::Linearizable, ReadPolicy::SESSION, bounded] {
        assert_eq!(targets(policy, &[1, 2], Some(1)), [1, 2], "{policy}: those in sync");
    }
    for policy in [ReadPolicy::Leader, ReadPolicy::Quorum] {
        assert_eq!(targets(policy, &[1, 2], Some(1)), [1], "{policy}: the leader");
        assert!(targets(policy, &[1, 2], None).is_empty());
    }
    assert_eq!(targets(ReadPolicy::Any, &[1, 2], Some(1)), [1, 2, 3], "all");
    for policy in [ReadPolicy::SESSION, bounded, ReadPolicy::Any] {
        assert!(targets(policy, &[2, 3], None).len() >= 2, "{policy}: no leader is needed");
    }
    assert!(targets(ReadPolicy::Linearizable, &[2, 3], None).is_empty(), "without a leader nobody's lease lasts");
}

#[test]
fn replicas_nearby_come_first_as_long_as_one_of_them_answers() {
    let mut nodes: Vec<Node> = (1..=3).map(|id| Node::new(NodeId(id), NodeAddresses::default())).collect();
    nodes[1].zone = "here".into();
    let group = Group::new(GroupId(1), Epoch(1), Some(NodeId(1)), vec![NodeId(1), NodeId(2), NodeId(3)]);
    let all = [("0-16383".parse().unwrap(), GroupId(1))];
    let mut story = Story::of(Access::Read(ReadPolicy::SESSION));
    story.plan.spread = true;
    story.topology = Topology::new(5, ClusterId(1), SlotMapVersion(5), all, vec![group], nodes);
    let go = |zone, avoid, cost: &dyn Fn(NodeId) -> u64, dice| {
        route(&story.plan, &story.topology, avoid, Draw { dice, cost, zone }).unwrap().0
    };
    let busy_here = |node: NodeId| if node == NodeId(2) { 1000 } else { 1 };
    let shunned_here = |node: NodeId| if node == NodeId(2) { u64::MAX } else { 1 };
    assert!((0..9).all(|dice| go("here", None, &busy_here, dice) == 2), "another zone is farther than a busy node");
    assert!((0..9).all(|dice| go("here", None, &shunned_here, dice) != 2), "one that does not answer is left alone");
    assert!((0..9).all(|dice| go("here", Some(NodeId(2)), &|_| 1, dice) != 2), "and one that has just failed");
    assert!((0..9).any(|dice| go("elsewhere", None, &|_| 1, dice) == 1), "nobody is nearby: everybody is alike");
    assert!((0..9).any(|dice| go("", None, &|_| 1, dice) == 3));
}

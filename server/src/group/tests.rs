//! One group in one hand: its own engine on a disk in memory, a clock that is set, and peers that are played.

mod elements;
mod positions;
mod tracked;
mod transactions;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_cluster::{Config, MetadataOutcome, NodeFacts, Recovered, Timing, Window};
use simplekv_engine::fs::{FaultKind, Fs, MemFs};
use simplekv_engine::record::Record;
use simplekv_engine::{Options, ReplicaIdentity};
use simplekv_types::peer::{Append, AppendAck, Message, Sender};
use simplekv_types::{
    Batch, ClusterId, Failure, FlushPolicy, GroupRecord, Leadership, NodeAddresses, NodeRecord, Position,
    RecoveryPolicy, Registration, Reply, Revision, RunId, Seq, Slot, StorageId,
};

use super::*;

const CLUSTER: ClusterId = ClusterId(1);
const GROUP: GroupId = GroupId(1);
const KEYS: SlotMapVersion = SlotMapVersion(5);

/// Clocks that stand still until they are set.
#[derive(Clone, Default)]
struct Clocks {
    now: Rc<Cell<u64>>,
}

impl Clocks {
    fn pass(&self, time: Duration) {
        self.now.set((Tick(self.now.get()) + time).0);
    }
}

impl Clock for Clocks {
    fn now(&self) -> Tick {
        Tick(self.now.get())
    }

    fn wall(&self) -> GroupTime {
        GroupTime(1_000_000 + self.now.get() / 1_000_000)
    }
}

/// Where one submission's answers go.
#[derive(Clone, Debug, Default)]
struct Heard {
    replies: Rc<RefCell<Option<Vec<Reply>>>>,
    /// Where they were read or written.
    seen: Rc<RefCell<Vec<Position>>>,
    gone: Rc<Cell<bool>>,
}

impl Heard {
    fn reply(&self) -> Option<Reply> {
        self.replies.borrow().as_ref().and_then(|replies| replies.first().cloned())
    }
}

impl Respond for Heard {
    fn respond(self, answers: Vec<Answer>) {
        self.seen.borrow_mut().extend(answers.iter().flat_map(|answer| answer.seen.iter().copied()));
        *self.replies.borrow_mut() = Some(answers.into_iter().map(|answer| answer.reply).collect());
    }

    fn is_wanted(&self) -> bool {
        !self.gone.get()
    }
}

/// A replica of the group, on node 1.
struct Replay {
    clocks: Clocks,
    fs: MemFs,
    group: Group<Heard>,
    outputs: Vec<Output>,
}

fn sender(node: u32) -> Sender {
    Sender { node: NodeId(node), storage: StorageId(u128::from(node)), run: RunId(u64::from(node) * 10) }
}

fn member(node: u32) -> Member {
    Member { node: NodeId(node), storage: StorageId(u128::from(node)) }
}

fn record(epoch: u64, leader: u32, nodes: &[u32]) -> GroupRecord {
    let Sender { node, storage, run } = sender(leader);
    GroupRecord {
        epoch: Epoch(epoch),
        leader: Some(Leadership { node, storage, run }),
        in_sync: nodes.iter().map(|&node| member(node)).collect(),
        replicas: nodes.iter().map(|&node| NodeId(node)).collect(),
        min_in_sync: u32::try_from(nodes.len()).expect("few").min(2),
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 1000,
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

fn facts(nodes: &[u32]) -> Vec<NodeFacts> {
    let registered = |&node: &u32| {
        let Sender { node, storage, run } = sender(node);
        let registration = Registration {
            record: NodeRecord {
                storage,
                run: Some(run),
                nonce: 0,
                prev_storages: Vec::new(),
                poisoned: false,
                addresses: NodeAddresses::default(),
                zone: String::new(),
                flush: FlushPolicy::Replicated,
            },
            revision: Revision(run.0),
        };
        NodeFacts::new(node, &registration, Some(run))
    };
    nodes.iter().map(registered).collect()
}

impl Replay {
    fn new(nodes: &[u32]) -> Self {
        Self::with(nodes, FlushPolicy::Os)
    }

    fn with(nodes: &[u32], flush: FlushPolicy) -> Self {
        let fs = MemFs::new();
        let clocks = Clocks::default();
        clocks.pass(Duration::from_secs(10));
        let identity = ReplicaIdentity { cluster: CLUSTER, group: GROUP, storage: sender(1).storage };
        let mut replayed = Replayed::default();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let options = Options { flush, ..Options::default() };
        let (engine, _) = Engine::open(shared, Path::new("/g1"), identity, &options, &mut |applied| {
            replayed.record(applied.lsn, applied.time, &applied.record);
        })
        .expect("an empty disk is in order");
        let settings = Config {
            cluster: CLUSTER,
            group: GROUP,
            identity: sender(1),
            flush,
            timing: Timing::default(),
            window: Window::default(),
            grant_read_leases: false,
        };
        let replica = Replica::new(clocks.now(), settings, Recovered::empty(Lineage(0)));
        let group = Group::new(GROUP, replica, engine, replayed, Arc::default(), 1 << 20);
        let mut this = Self { clocks, fs, group, outputs: Vec::new() };
        this.step(Event::NodesSeen(facts(nodes)));
        this
    }

    fn step(&mut self, event: Event) {
        self.group.step(&self.clocks, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.group.next_output() {
            // The way to the disk is always open.
            if let Output::Probe { id } = output {
                self.group.step(&self.clocks, Event::Probed { id });
            }
            self.outputs.push(output);
        }
    }

    /// A follower says that it has what it was sent last.
    fn acknowledge(&mut self, node: u32) {
        let sent = self.outputs.iter().rev().find_map(|output| match output {
            Output::Send(Envelope { to, epoch, message: Message::Append(append), .. }) if to.0 == node => {
                Some((*epoch, append.batches.last().map_or(append.prev_end, Batch::end), append.sent_at))
            }
            _ => None,
        });
        let (epoch, verified_end, echo) = sent.expect("it was sent something");
        let ack = AppendAck { verified_end, echo, sent_at: echo, reject: None };
        self.step(heard_from(node, epoch.0, Message::AppendAck(ack)));
    }

    /// The record as a linearizable read shows it.
    fn show(&mut self, record: &GroupRecord, revision: u64) {
        self.step(Event::RecordSeen { record: record.clone(), revision: Revision(revision) });
        let asked = self.outputs.iter().rev().find_map(|output| match output {
            Output::Metadata { id, request: MetadataRequest::ReadGroup } => Some(*id),
            _ => None,
        });
        if let Some(id) = asked {
            let found = Some((record.clone(), Revision(revision)));
            self.step(Event::Metadata { id, outcome: MetadataOutcome::Read(found) });
        }
    }

    /// Lets time pass, tick by tick.
    fn wait(&mut self, time: Duration) {
        let until = self.clocks.now() + time;
        while self.clocks.now() < until {
            self.clocks.pass(Duration::from_millis(1));
            self.group.tick(&self.clocks);
            self.drain();
        }
    }

    /// The only replica of its group leads, and owns every slot.
    fn alone() -> Self {
        let mut this = Self::new(&[1]);
        this.lead_alone();
        this
    }

    fn lead_alone(&mut self) {
        self.show(&record(1, 1, &[1]), 7);
        self.wait(Duration::from_millis(1100));
        let map = SlotMap::spread(&[GROUP]);
        self.group.slots_read(&self.clocks, Some((&map, KEYS)));
        self.drain();
    }

    fn submit(&mut self, commands: Vec<GroupRequest>) -> Heard {
        let heard = Heard::default();
        self.group.submit(&self.clocks, [Submission { requests: commands, respond: heard.clone() }]);
        self.drain();
        heard
    }

    /// Node 2 leads epoch 3, and its records take the place of everything from `kept` on; they are applied.
    fn replaced_from(&mut self, kept: Lsn) {
        let batches = batches_of_epoch(3, kept, 4);
        let end = batches.last().expect("not empty").end();
        let append = Append {
            prev_end: kept,
            prev_epoch: Epoch(2),
            batches,
            high_watermark: kept,
            time: self.clocks.wall(),
            sent_at: Tick(1),
            grant: None,
            fresh: None,
        };
        self.step(heard_from(2, 3, Message::Append(append.clone())));
        let commit = Append { prev_end: end, prev_epoch: Epoch(3), batches: Vec::new(), high_watermark: end, ..append };
        self.step(heard_from(2, 3, Message::Append(commit)));
        assert_eq!(self.group.engine.applied(), end, "what replaced it is applied");
    }

    fn do_one(&mut self, words: &[&str]) -> Heard {
        self.submit(vec![request(words)])
    }

    /// Whether the replica failed, and if so whether its storage is to be distrusted.
    fn failed(&self) -> Option<bool> {
        self.outputs.iter().find_map(|output| match output {
            Output::Failed { distrust, .. } => Some(*distrust),
            _ => None,
        })
    }
}

fn request(words: &[&str]) -> GroupRequest {
    let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let Ok(simplekv_resp::Request { body: simplekv_resp::Body::Data(command), .. }) =
        simplekv_resp::Request::parse(args)
    else {
        panic!("{words:?} is not a data command")
    };
    GroupRequest { command, dedupe: None, barrier: false, origin: None }
}

/// A write that its client may send again.
fn retriable(words: &[&str], attempt: u32) -> GroupRequest {
    let write = simplekv_types::Dedupe { seq: Seq(1), ack_below: Seq(1), deadline: GroupTime(u64::MAX), attempt };
    GroupRequest { dedupe: Some((ClientId(9), write)), ..request(words) }
}

fn heard_from(node: u32, epoch: u64, message: Message) -> Event {
    let to = NodeId(1);
    let from = sender(node);
    let (cluster, group, lineage, epoch) = (CLUSTER, GROUP, Lineage(0), Epoch(epoch));
    Event::Received(Envelope { cluster, group, lineage, epoch, from, to, message })
}

#[test]
fn a_write_is_answered_once_it_is_applied() {
    let mut g1 = Replay::alone();
    assert_eq!(g1.do_one(&["SET", "k", "v"]).reply(), Some(Reply::Ok));
    assert_eq!(g1.do_one(&["INCR", "n"]).reply(), Some(Reply::Int(1)));
    assert_eq!(g1.failed(), None);
}

/// The plan for the key that is due in an hour must not hide the one that is due in a second.
#[test]
fn the_key_that_is_due_first_decides_when_time_moves() {
    let mut g1 = Replay::alone();
    g1.do_one(&["SET", "hour", "v", "EX", "3600"]);
    g1.do_one(&["SET", "second", "v", "PX", "1000"]);
    assert_eq!(g1.group.reader.totals().keys, 2);
    g1.wait(Duration::from_millis(1100));
    assert!(!g1.group.reader.guard().contains(Slot::of_key(b"second"), b"second"), "it expired, though nobody wrote");
    assert!(g1.group.reader.guard().contains(Slot::of_key(b"hour"), b"hour"));
}

/// A write that finds a key expired and so has nothing to do has told that it is: whoever reads next must not find it again. What it
/// saw is in the log, once.
#[test]
fn what_expired_for_a_write_that_changed_nothing_has_expired_for_all() {
    for write in [["DEL", "k"], ["GETDEL", "k"], ["PERSIST", "k"]] {
        let mut g1 = Replay::alone();
        g1.do_one(&["SET", "k", "v", "PX", "100"]);
        g1.clocks.pass(Duration::from_millis(101));
        let before = g1.group.engine.log_end();
        let read_first = g1.do_one(&["GET", "k"]).reply();
        assert_eq!(read_first, Some(Reply::Bulk("v".into())), "no record says yet that it is gone");
        let reply = g1.do_one(&write).reply();
        assert!(matches!(reply, Some(Reply::Int(0) | Reply::Null)), "{write:?} found it gone: {reply:?}");
        assert!(!g1.group.reader.guard().contains(Slot::of_key(b"k"), b"k"), "and so does everybody after {write:?}");
        assert_eq!(g1.do_one(&["GET", "k"]).reply(), Some(Reply::Null));
        g1.do_one(&write);
        assert_eq!(g1.group.engine.log_end(), before + 1, "one record said it, and the second write needed none");
    }
}

/// A read in one turn with a write that changed nothing sees what the log says, not what the clock does.
#[test]
fn a_read_beside_a_write_that_logs_nothing_does_not_run_ahead() {
    let mut g1 = Replay::alone();
    g1.do_one(&["SET", "k", "v", "PX", "100"]);
    g1.clocks.pass(Duration::from_millis(101));
    let mut turn = |words: &[&[&str]]| g1.submit(words.iter().map(|words| request(words)).collect());
    let heard = turn(&[&["DEL", "other"], &["GET", "k"]]);
    assert_eq!(heard.replies.borrow().as_ref().expect("answered")[1], Reply::Bulk("v".into()));
    assert!(g1.group.reader.guard().contains(Slot::of_key(b"k"), b"k"), "nobody was told otherwise");
}

/// How long a key still lives is told by the hour, whichever way a read takes: group time stands still while a group is idle.
#[test]
fn what_is_left_of_a_keys_time_does_not_depend_on_what_stands_before_the_question() {
    let mut g1 = Replay::alone();
    g1.do_one(&["SET", "lock", "mine", "PX", "60000"]);
    g1.clocks.pass(Duration::from_secs(40));
    let heard = g1.submit(vec![request(&["SET", "lock", "yours", "NX"]), request(&["PTTL", "lock"])]);
    assert_eq!(*heard.replies.borrow(), Some(vec![Reply::Null, Reply::Int(20_000)]));
}

/// A read that trusts no clock changes nothing: if it is never confirmed, nothing is uncertain.
#[test]
fn a_barrier_that_is_never_committed_is_not_an_uncertain_write() {
    let mut g1 = Replay::alone();
    g1.step(Event::NodesSeen(facts(&[1, 2, 3])));
    g1.show(&record(2, 1, &[1, 2, 3]), 8);
    for _ in 0..20 {
        g1.wait(Duration::from_millis(60));
        g1.acknowledge(2);
        g1.acknowledge(3);
    }
    let barrier = g1.submit(vec![GroupRequest { barrier: true, ..request(&["GET", "k"]) }]);
    let write = g1.do_one(&["SET", "k", "v"]);
    assert_eq!((barrier.reply(), write.reply()), (None, None), "both wait for node 2");
    g1.step(heard_from(2, 3, Message::EpochProbe));
    assert_eq!(barrier.reply(), Some(Reply::Error(Failure::NoLeader { group: GROUP })));
    assert!(matches!(write.reply(), Some(Reply::Error(Failure::Uncertain { .. }))), "{:?}", write.reply());
}

/// A flush that failed may have lost what it was to make durable: this storage must not pass for what it was.
#[test]
fn a_failed_flush_is_the_nodes_business() {
    let mut g1 = Replay::alone();
    g1.step(Event::StorageFailed);
    assert_eq!(g1.failed(), Some(true));
    let refused = g1.do_one(&["SET", "k", "v"]).reply();
    assert!(matches!(refused, Some(Reply::Error(_))), "{refused:?}");
}

#[test]
fn a_failed_write_makes_storage_distrusted_and_a_full_disk_does_not() {
    let mut broken = Replay::alone();
    broken.fs.fail(FaultKind::Write, 0, io::ErrorKind::Other);
    let outcome = broken.do_one(&["SET", "k", "v"]).reply();
    assert!(matches!(outcome, Some(Reply::Error(Failure::Uncertain { .. }))), "{outcome:?}");
    assert_eq!(broken.failed(), Some(true));

    let mut full = Replay::alone();
    full.fs.set_capacity(Some(0));
    let value = "v".repeat(1 << 19);
    // The active segment still has room; the next one finds none.
    for n in 0..1000 {
        full.do_one(&["SET", &format!("k{n}"), &value]);
        if full.failed().is_some() {
            break;
        }
    }
    assert_eq!(full.failed(), Some(false), "a full disk has lost nothing");
}

/// A refusal says that nothing was done, and is of use only while its caller still waits.
#[test]
fn a_refusal_does_not_wait_for_the_writes_before_it() {
    let mut g1 = Replay::new(&[1, 2]);
    g1.show(&record(1, 1, &[1, 2]), 7);
    g1.wait(Duration::from_millis(50));
    // Node 2 has never answered: the leader refuses to append.
    let refused = g1.do_one(&["SET", "k", "v"]).reply();
    assert!(matches!(refused, Some(Reply::Error(_))), "answered at once: {refused:?}");
}

/// What nobody waits for any more is dropped, however long nothing can be committed.
#[test]
fn what_callers_gave_up_on_does_not_pile_up() {
    let mut g1 = Replay::new(&[1, 2]);
    g1.show(&record(1, 1, &[1, 2]), 7);
    for _ in 0..5000 {
        let heard = g1.do_one(&["GET", "k"]);
        heard.gone.set(true);
    }
    assert!(g1.group.waiting.len() <= 2 * WAITING_MIN, "{} still wait", g1.group.waiting.len());
}

/// A command that does not fit with the rows that make its retry harmless leaves nothing behind.
#[test]
fn a_command_that_does_not_fit_is_taken_back_whole() {
    let mut g1 = Replay::alone();
    let pairs: Vec<String> = (0..65_536).flat_map(|n| [format!("k{n}"), "v".to_owned()]).collect();
    let words: Vec<&str> = ["MSET"].into_iter().chain(pairs.iter().map(String::as_str)).collect();
    let before = g1.group.engine.log_end();
    let refused = g1.submit(vec![retriable(&words, 1)]).reply();
    assert!(matches!(refused, Some(Reply::Error(Failure::TooLarge { .. }))), "{refused:?}");
    assert_eq!((g1.group.engine.log_end(), g1.group.reader.totals().keys), (before, 0), "nothing was written");
    assert_eq!(g1.do_one(&["SET", "k", "v"]).reply(), Some(Reply::Ok), "and the group goes on");
}

/// Reads that trust no clock share one record, however many they are.
#[test]
fn many_barriers_of_one_turn_cost_one_record() {
    let mut g1 = Replay::alone();
    let before = g1.group.engine.log_end();
    let read = GroupRequest { barrier: true, ..request(&["GET", "k"]) };
    g1.submit(vec![read; 70_000]);
    assert_eq!(g1.group.engine.log_end(), before + 1);
}

/// The record that a retry is recognised by is about to be cut off. Whatever takes its number says nothing about the write.
#[test]
fn a_retry_is_not_answered_by_a_record_in_its_place() {
    let mut g1 = Replay::alone();
    g1.step(Event::NodesSeen(facts(&[1, 2, 3])));
    g1.show(&record(2, 1, &[1, 2, 3]), 8);
    for _ in 0..20 {
        g1.wait(Duration::from_millis(60));
        g1.acknowledge(2);
        g1.acknowledge(3);
    }
    let kept = g1.group.engine.applied();
    let first = g1.submit(vec![retriable(&["SET", "k", "v"], 1)]);
    assert_eq!((first.reply(), g1.group.engine.log_end() > kept), (None, true), "it is appended, and waits");

    // Node 2 leads epoch 3: the first attempt's outcome is unknown, the second finds a row that was never committed.
    g1.step(heard_from(2, 3, Message::EpochProbe));
    let second = g1.submit(vec![retriable(&["SET", "k", "v"], 2)]);
    g1.replaced_from(kept);
    for heard in [first, second] {
        let reply = heard.reply();
        assert!(!matches!(reply, Some(Reply::Ok)), "the write is gone: {reply:?}");
    }
    assert_eq!(g1.group.waiting.len(), 0);
}

/// Batches of one small record each, as another leader writes them.
fn batches_of_epoch(epoch: u64, from: Lsn, count: usize) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(
        BatchStart {
            lineage: Lineage(0),
            epoch: Epoch(epoch),
            base: from,
            time: GroupTime(2_000_000),
            high_watermark: from,
        },
        1 << 20,
    );
    let mut batches = Vec::new();
    for _ in 0..count {
        let base = batches.last().map_or(from, Batch::end);
        builder.start(BatchStart { base, ..builder.started() });
        builder.push(&Record::Tick).expect("it is small");
        builder.end_command();
        batches.push(builder.finish().expect("it is not empty"));
    }
    batches
}

/// Behind the last write stands how far it is flushed: damage to it is found, and not taken for a torn end.
#[test]
fn a_resting_log_says_that_it_is_flushed() {
    let mut g1 = Replay::with(&[1], FlushPolicy::Replicated);
    g1.lead_alone();
    g1.do_one(&["SET", "k", "v"]);
    g1.group.engine.flusher().flush().expect("the disk works");
    g1.step(Event::Flushed { log_end: g1.group.engine.log_end(), truncations: 0 });
    let before = log_bytes(&g1);
    g1.wait(Duration::from_secs(3));
    assert!(log_bytes(&g1) > before, "it was written down");
    let resting = log_bytes(&g1);
    g1.wait(Duration::from_secs(3));
    assert_eq!(log_bytes(&g1), resting, "once is enough");
}

fn log_bytes(replay: &Replay) -> u64 {
    replay.group.engine.segment_stats().iter().map(|segment| segment.bytes).sum()
}

//! Commands on one slot, sent together.

mod mock_cluster;

use std::sync::Arc;

use bytes::Bytes;
use mock_cluster::{MockCluster, Verdict};
use simplekv_client::{Client, Error, Failure, Kind, Options, Reply, Result, Slot};

async fn run(kv: &Client, commands: &[&str]) -> Vec<Result<Reply>> {
    let slot = Slot::of_key(b"k");
    let commands = commands.iter().map(|line| {
        let kind = if line.starts_with("GET ") { Kind::Read } else { Kind::Write };
        (line.split(' ').map(|word| Bytes::from(word.to_owned())).collect::<Arc<[Bytes]>>(), kind)
    });
    kv.execute_in_order(slot, commands.collect(), Options::default()).await
}

fn bulk(text: &str) -> Reply {
    Reply::text(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_those_before_it_did_in_one_frame() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let results = run(&kv, &["SET k 1", "GET k", "INCRBY k 4", "GET k", "SET k x", "INCRBY k 1", "GET k"]).await;
    let results: Vec<Reply> = results.into_iter().map(|result| result.unwrap()).collect();
    let error = Failure::command("ERR value is not an integer or out of range");
    assert_eq!(
        results,
        [Reply::Ok, bulk("1"), Reply::Int(5), bulk("5"), Reply::Ok, Reply::Error(error), bulk("x")],
        "one that fails does not stop those after it"
    );
    assert_eq!(*cluster.world.frames.lock(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_frame_is_repeated_in_order_and_done_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let mut frames = 0;
    cluster.script(move |op| {
        frames += usize::from(op.name() == "SET");
        match (frames, op.name()) {
            (1, "GET") => Verdict::ServeAndHangUp,
            _ => Verdict::Serve,
        }
    });
    let mut results = run(&kv, &["SET k 1", "INCRBY k 1", "GET k", "INCRBY k 1", "GET k"]).await;
    let error = results.remove(2).unwrap_err();
    assert!(error.is_retryable(), "it might see the write behind it: {error}");
    let results: Vec<Reply> = results.into_iter().map(|result| result.unwrap()).collect();
    assert_eq!(results, [Reply::Ok, Reply::Int(2), Reply::Int(3), bulk("3")]);
    assert_eq!(cluster.world.keys.lock().executed_writes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_not_repeated_once_a_write_behind_it_may_have_been_done() {
    for lose in [|| Verdict::ServeSilently, || Verdict::ServeAndHangUp] {
        let cluster = MockCluster::start(1, &[&[1]]);
        let kv = cluster.client().await;
        let mut is_first = true;
        cluster.script(move |op| match op.name() {
            "GET" if is_first => Verdict::ServeSilently,
            "SET" if std::mem::take(&mut is_first) => lose(),
            _ => Verdict::Serve,
        });
        let mut results = run(&kv, &["GET k", "SET k 1", "GET k"]).await.into_iter();
        let error = results.next().unwrap().unwrap_err();
        assert!(error.is_retryable() && !error.may_have_applied(), "{error}");
        assert_eq!(results.next().unwrap().unwrap(), Reply::Ok);
        assert_eq!(results.next().unwrap().unwrap(), bulk("1"));
        assert_eq!(cluster.world.keys.lock().executed_writes, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_alone_are_repeated_as_often_as_needed() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let mut count = 0;
    cluster.script(move |_| {
        count += 1;
        if count == 2 { Verdict::HangUp } else { Verdict::Serve }
    });
    for result in run(&kv, &["SET k 1", "GET k", "GET k"]).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_one_holds_back_the_reads_behind_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|op| match (op.name(), op.attempt()) {
        ("SET", 1) => Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(b"k") }),
        _ => Verdict::Serve,
    });
    let results = run(&kv, &["GET k", "SET k 1", "GET k"]).await;
    let results: Vec<Reply> = results.into_iter().map(|result| result.unwrap()).collect();
    assert_eq!(results, [Reply::Null, Reply::Ok, bulk("1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_overtaken_is_not_done_after_all() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|op| match op.args.last().map(String::as_str) {
        Some("first") => Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(b"k") }),
        _ => Verdict::Serve,
    });
    let mut results = run(&kv, &["SET k first", "SET k second", "GET k"]).await.into_iter();
    let error = results.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Server(Failure::TryAgain { .. })), "{error}");
    assert_eq!(results.next().unwrap().unwrap(), Reply::Ok);
    assert_eq!(results.next().unwrap().unwrap(), bulk("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_moves_all_of_them() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    cluster.push(false);
    let kv = cluster.client().await;
    let owner = u32::from(Slot::of_key(b"k").number() > 8191) + 1;
    cluster.move_slot(Slot::of_key(b"k"), 3 - owner);
    let results = run(&kv, &["SET k 1", "INCRBY k 1", "GET k"]).await;
    let results: Vec<Reply> = results.into_iter().map(|result| result.unwrap()).collect();
    assert_eq!(results, [Reply::Ok, Reply::Int(2), bulk("2")]);
    let nodes: Vec<u32> = cluster.seen().iter().map(|op| op.node).collect();
    assert_eq!(nodes, [owner, owner, owner, 3 - owner, 3 - owner, 3 - owner]);
}

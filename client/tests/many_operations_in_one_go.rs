//! Batches, and operations that are done as one.

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, Verdict, key_of_group};
use simplekv_client::{Error, Failure, Outcome, Reply, Request, Slot};

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_of_a_batch_has_its_own_result() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let kv = cluster.client().await;
    kv.set("text", "abc").await.unwrap();
    let mut batch = kv.batch();
    let set = batch.add(kv.set("a", "1"));
    let wrong = batch.add(kv.incr("text"));
    let pushed = batch.add(kv.list("text").rpush(["x"]));
    let apart = batch.add(kv.cmd("MGET").key("a").key("b"));
    let sum = batch.add(kv.incr("a").by(4));
    let got = batch.add(kv.get("a"));
    let missing = batch.add(kv.hash("none").get("field"));
    assert_eq!(batch.len(), 7);
    let mut results = batch.await;
    assert_eq!(results.len(), 7);
    let failed: Vec<usize> = results.failures().map(|(at, _)| at).collect();
    assert_eq!(failed, [1, 2, 3]);
    assert!(results.take(set).unwrap());
    assert!(matches!(results.take(wrong), Err(Error::Server(_))));
    assert!(matches!(results.take(pushed), Err(Error::WrongType)));
    assert!(matches!(results.take(apart), Err(Error::CrossSlot { .. })));
    assert_eq!(results.take(sum).unwrap(), 5, "those of one slot are done in their order");
    assert_eq!(results.take(got).unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(results.take(missing).unwrap(), None);

    let foreign = kv.batch().add(kv.get("a"));
    assert!(matches!(results.take(foreign), Err(Error::Config { .. })));
    assert!(kv.batch().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_travels_in_few_frames() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    let mut batch = kv.batch().timeout(Duration::from_secs(30));
    let places: Vec<_> = (0..5000).map(|i| batch.add(kv.set(format!("k{i}"), i.to_string()))).collect();
    for _ in 0..600 {
        batch.add(kv.incr("same"));
    }
    let mut results = batch.await;
    assert!(results.failures().next().is_none());
    for place in places {
        assert!(results.take(place).unwrap());
    }
    assert_eq!(kv.get("same").await.unwrap().as_deref(), Some(&b"600"[..]));
    let frames = cluster.world.frames.lock().len();
    assert!(frames < 600, "{frames} frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_group_in_trouble_is_no_matter_of_the_others() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    let (good, bad) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    cluster.script(|op| if op.node == 2 { Verdict::Ignore } else { Verdict::Serve });
    let mut batch = kv.batch().timeout(Duration::from_millis(300));
    let (good, bad) = (batch.add(kv.set(&good, "v")), batch.add(kv.set(&bad, "v")));
    let mut results = batch.await;
    assert!(results.take(good).unwrap());
    assert!(results.take(bad).unwrap_err().may_have_applied());
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_done_as_one_command() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    kv.set("{shop}:stock", "3").await.unwrap();
    let mut atomic = kv.atomic();
    let left = atomic.add(kv.incr("{shop}:stock").by(-1));
    let orders = atomic.add(kv.list("{shop}:orders").rpush(["alice"]));
    let wrong = atomic.add(kv.hash("{shop}:orders").get("x"));
    let seen = atomic.add(kv.list("{shop}:orders").range(0, -1));
    let Outcome::Done(mut results) = atomic.await.unwrap() else { panic!("nothing was watched") };
    assert_eq!((results.take(left).unwrap(), results.take(orders).unwrap()), (2, 1));
    assert!(matches!(results.take(wrong), Err(Error::WrongType)));
    assert_eq!(results.take(seen).unwrap(), ["alice"]);
    assert_eq!(cluster.seen_named("ATOMIC").len(), 1);
    assert!(kv.atomic().await.unwrap().done().unwrap().is_empty(), "there was nothing to do");
    let mut atomic = kv.atomic();
    atomic.add(kv.cmd("PING"));
    assert!(matches!(atomic.await, Err(Error::Config { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_key_that_has_changed_is_an_outcome() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    assert_eq!(kv.version("{t}k").await.unwrap(), None);
    kv.hash("{t}k").set("f", "1").await.unwrap();
    let version = kv.version("{t}k").await.unwrap();
    assert_eq!(kv.version("{t}k").await.unwrap(), version);
    let attempt = async || {
        let mut atomic = kv.atomic().check("{t}k", version.clone()).check_absent("{t}none");
        atomic.add(kv.incr("{t}n"));
        atomic.await.unwrap()
    };
    assert!(matches!(attempt().await, Outcome::Done(_)));
    kv.hash("{t}k").set("f", "2").await.unwrap();
    assert!(matches!(attempt().await, Outcome::Changed));
    assert_eq!(kv.get("{t}n").await.unwrap().as_deref(), Some(&b"1"[..]));
    let version = kv.version("{t}k").await.unwrap();
    assert!(kv.atomic().check("{t}k", version).await.unwrap().done().is_some(), "only checks");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_groups_are_named_before_anything_is_sent() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    let (here, also_here, there) = (key_of_group(1, 2, 0), key_of_group(1, 2, 1), key_of_group(2, 2, 0));
    let mut atomic = kv.atomic();
    atomic.add(kv.set(&here, "1"));
    atomic.add(kv.set(&also_here, "1"));
    assert!(atomic.await.unwrap().done().is_some(), "several slots of one group are fine");

    let mut atomic = kv.atomic().check_absent(&here);
    atomic.add(kv.set(&there, "1"));
    let error = atomic.await.unwrap_err();
    let Error::SeveralGroups { first, second } = &error else { panic!("{error}") };
    assert_eq!((first.as_ref(), second.as_ref()), (here.as_bytes(), there.as_bytes()));
    assert!(error.to_string().contains(&here) && error.to_string().contains(&there), "{error}");
    assert!(!error.may_have_applied() && !error.is_retryable());
    assert_eq!(cluster.seen_named("ATOMIC").len(), 1);

    // The node knows of a move before the client does.
    let mut atomic = kv.atomic();
    atomic.add(kv.set(&here, "2"));
    atomic.add(kv.set(&also_here, "2"));
    cluster.script(|_| Verdict::Refuse(Failure::command("ERR not one group any more")));
    let slot = Slot::of_key(also_here.as_bytes());
    assert!(matches!(atomic.await, Err(Error::Server(_))), "its word stands as long as nothing else is known");
    cluster.script(|_| Verdict::Serve);
    cluster.move_slot(slot, 2);
    kv.topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let mut atomic = kv.atomic();
    atomic.add(kv.set(&here, "2"));
    atomic.add(kv.set(&also_here, "2"));
    assert!(matches!(atomic.await, Err(Error::SeveralGroups { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_does_not_do_it_twice() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(
        |op| {
            if op.name() == "ATOMIC" && op.attempt() == 1 { Verdict::ServeAndHangUp } else { Verdict::Serve }
        },
    );
    let mut atomic = kv.atomic();
    let first = atomic.add(kv.incr("n"));
    let second = atomic.add(kv.incr("n"));
    let mut results = atomic.await.unwrap().done().unwrap();
    assert_eq!((results.take(first).unwrap(), results.take(second).unwrap()), (1, 2));
    assert_eq!(cluster.world.keys.lock().executed_writes, 1);

    cluster.script(|_| Verdict::Answer(Reply::Array(Vec::new())));
    let mut atomic = kv.atomic();
    atomic.add(kv.incr("n"));
    let error = atomic.await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { command: "ATOMIC", .. }) && error.may_have_applied());
}

/// Whoever writes code over requests of any kind can.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_kind_fit_a_loop() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    async fn alone<R: Request>(kv: &simplekv_client::Client, request: R) -> Result<R::Output, Error> {
        let mut batch = kv.batch();
        let place = batch.add(request);
        batch.await.take(place)
    }
    assert!(alone(&kv, kv.set("a", "b")).await.unwrap());
    assert_eq!(alone(&kv, kv.zset("z").range(0, 1).with_scores()).await.unwrap(), []);
}

//! The near-cache: what is kept, and what never is.

mod mock_cluster;

use std::time::Duration;

use bytes::Bytes;
use mock_cluster::{MockCluster, Verdict};
use simplekv_client::{Client, NearCache, Stale, Tracking};
use tokio::sync::mpsc;

/// What the client has heard, in order, each after its copies have.
struct Heard(mpsc::UnboundedReceiver<String>);

impl Heard {
    async fn next(&mut self) -> String {
        let heard = tokio::time::timeout(Duration::from_secs(60), self.0.recv()).await;
        heard.expect("nothing was heard within a minute").expect("the client lives")
    }
}

async fn client(cluster: &MockCluster) -> (Client, Tracking, Heard) {
    let client = cluster.builder().near_cache(NearCache::default()).build().await.expect("the cluster answers");
    let (sender, heard) = mpsc::unbounded_channel();
    let tracking = client.track(move |stale| {
        let text =
            |words: &[Bytes]| words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
        let _ = sender.send(match stale {
            Stale::Keys(keys) => text(keys),
            Stale::Read(words) => format!("untracked {}", text(words)),
            _ => "everything".to_owned(),
        });
    });
    let mut heard = Heard(heard);
    tokio::time::timeout(Duration::from_secs(60), tracking.ready()).await.expect("the node tells");
    // It may have begun to tell before the ear above was there.
    while heard.0.try_recv().is_ok() {}
    (client, tracking, heard)
}

async fn cached(client: &Client, key: &str) -> Option<String> {
    client.get(key).cached().await.expect("it is answered").map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn asked(cluster: &MockCluster) -> usize {
    cluster.world.seen.lock().iter().filter(|seen| seen.name() == "GET").count()
}

#[tokio::test]
async fn a_copy_is_used_until_its_key_changes() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.world.keys.lock().insert("k", "1");
    let (client, _tracking, mut heard) = client(&cluster).await;
    let before = client.stats().near_invalidations;
    for _ in 0..3 {
        assert_eq!(cached(&client, "k").await.as_deref(), Some("1"));
    }
    assert_eq!(asked(&cluster), 1);
    cluster.change_key("k", "2");
    assert_eq!(heard.next().await, "k");
    assert_eq!(cached(&client, "k").await.as_deref(), Some("2"));
    client.get("k").await.unwrap();
    assert_eq!(asked(&cluster), 3, "who does not ask for a copy gets none");
    let stats = client.stats();
    assert_eq!((stats.near_hits, stats.near_misses, stats.near_invalidations - before), (2, 2, 1));
}

/// The news overtakes the value that it is about: the copy must not come back to life.
#[tokio::test]
async fn a_value_that_changed_on_its_way_is_not_kept() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.world.keys.lock().insert("k", "1");
    let (client, _tracking, mut heard) = client(&cluster).await;
    cluster.world.answers.send_replace(false);
    let reader = client.clone();
    let read = tokio::spawn(async move { cached(&reader, "k").await });
    wait_until(|| cluster.is_tracked("k")).await;
    cluster.change_key("k", "2");
    assert_eq!(heard.next().await, "k");
    cluster.world.answers.send_replace(true);
    assert_eq!(read.await.unwrap().as_deref(), Some("1"), "it was true when it was read");
    assert_eq!(cached(&client, "k").await.as_deref(), Some("2"));
    assert_eq!(cached(&client, "k").await.as_deref(), Some("2"));
    assert_eq!(client.stats().near_hits, 1);
}

/// Waits for something to become so, however long that takes.
async fn wait_until(is_so: impl Fn() -> bool) {
    let until = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until).await.expect("it never came");
}

#[tokio::test]
async fn while_a_node_is_not_heard_nothing_it_says_is_kept() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.world.keys.lock().insert("k", "1");
    let (client, tracking, mut heard) = client(&cluster).await;
    cached(&client, "k").await;
    cluster.stop_telling(1, true);
    assert_eq!(heard.next().await, "everything");
    for _ in 0..2 {
        assert_eq!(cached(&client, "k").await.as_deref(), Some("1"));
        assert_eq!(heard.next().await, "untracked GET k");
    }
    assert_eq!((asked(&cluster), client.stats().near_hits), (3, 0));
    cluster.stop_telling(1, false);
    assert_eq!(heard.next().await, "everything", "it is heard again");
    tracking.ready().await;
    for _ in 0..2 {
        assert_eq!(cached(&client, "k").await.as_deref(), Some("1"));
    }
    assert_eq!((asked(&cluster), client.stats().near_hits), (4, 1));
}

#[tokio::test]
async fn what_a_client_writes_it_sees_at_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let (client, _tracking, _heard) = client(&cluster).await;
    for round in 0..20 {
        let value = round.to_string();
        client.set("k", value.clone()).await.unwrap();
        assert_eq!(cached(&client, "k").await, Some(value));
    }
    client.mset([("k", "a"), ("l", "b")]).await.unwrap();
    assert_eq!(cached(&client, "k").await.as_deref(), Some("a"));
    client.del("k").await.unwrap();
    assert_eq!(cached(&client, "k").await, None);
}

/// The answer to the write is lost, and with it the news: what is read meanwhile is not kept beyond the write's end.
#[tokio::test]
async fn a_write_that_fails_is_as_good_as_done() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.world.keys.lock().insert("k", "1");
    let (client, _tracking, _heard) = client(&cluster).await;
    cached(&client, "k").await;
    cluster.script(
        |seen| if seen.name() == "SET" { Verdict::Answer(simplekv_client::Reply::Null) } else { Verdict::Serve },
    );
    let before = asked(&cluster);
    let _ = client.set("k", "2").await;
    cached(&client, "k").await;
    assert_eq!(asked(&cluster), before + 1);
}

/// The new owner does not know what was read at the old one, which may be unable to say anything.
#[tokio::test]
async fn whoever_answers_for_a_key_next_owes_nobody_any_news() {
    let cluster = MockCluster::start(2, &[&[1, 2], &[2, 1]]);
    let key = mock_cluster::key_of_group(1, 2, 0);
    let (client, _tracking, mut heard) = client(&cluster).await;
    let changes: [&dyn Fn(); 3] =
        [&|| cluster.elect(1, 2), &|| cluster.move_slot(simplekv_client::Slot::of_key(key.as_bytes()), 2), &|| {
            cluster.change(|update| {
                let node = update.nodes.iter_mut().find(|node| node.id == 2).unwrap();
                node.live = false;
            });
        }];
    for (number, change) in changes.into_iter().enumerate() {
        cached(&client, &key).await;
        cached(&client, &key).await;
        let before = client.stats();
        change();
        assert_eq!(heard.next().await, "everything", "after change {number}");
        cached(&client, &key).await;
        let now = client.stats();
        assert_eq!(
            (now.near_hits, now.near_misses),
            (before.near_hits, before.near_misses + 1),
            "after change {number}"
        );
        assert!(now.near_hits > number as u64, "there was a copy before change {number}");
    }
}

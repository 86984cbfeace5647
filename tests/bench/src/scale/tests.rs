//! What is told in parts is what is told at once, and it comes to everybody.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use simplekv_client::sans_io::TopologyWatch;
use simplekv_meta::{ControllerRecord, EmbeddedOptions, EmbeddedStore, Keys, Mirror, MirrorOptions, Records};
use simplekv_server::Picture;
use simplekv_types::{NodeId, RunId};

use super::cluster::{Cluster, Event, Layout};
use super::cost::{check, content};
use super::counting::{Counting, Counts};
use super::reach::{Change, Links, Steps, spread};
use super::{Rest, stored_bytes};

const SMALL: Layout = Layout { groups: 40, replicas: 5, scattered: false };

#[tokio::test]
async fn a_client_told_differences_knows_what_one_told_everything_knows() {
    for scattered in [false, true] {
        let cluster = Cluster::found(Layout { scattered, ..SMALL }).await.unwrap();
        let mut before = Picture::of(&cluster.view().await.unwrap());
        let mut client = TopologyWatch::default();
        assert!(client.receive(before.whole(1)).unwrap());
        for event in Event::ALL {
            cluster.make(event).await.unwrap();
            let now = Picture::of(&cluster.view().await.unwrap());
            check(&before, &now).unwrap();
            assert!(client.receive(now.since(&before, 1)).unwrap(), "{event:?}");
            before = now;
        }
        let owner = client.topology().owner(simplekv_types::Slot::MIN).map(|group| group.id.0);
        assert_eq!(owner, Some(SMALL.groups), "the slot has moved");
        assert_eq!(
            client.topology().nodes().iter().filter(|node| !node.live).count(),
            40,
            "a zone, of which the node was"
        );
        let mut other = TopologyWatch::default();
        assert!(other.receive(before.whole(1)).unwrap());
        assert_eq!(content(&client.topology()), content(&other.topology()));
    }
}

#[tokio::test]
async fn a_difference_is_as_large_as_what_changed_and_not_as_the_cluster() {
    for event in [Event::Leader, Event::InSync, Event::Slot, Event::Node] {
        let mut sizes = Vec::new();
        for groups in [40, 400] {
            let cluster = Cluster::found(Layout { groups, ..SMALL }).await.unwrap();
            let before = Picture::of(&cluster.view().await.unwrap());
            cluster.make(event).await.unwrap();
            let now = Picture::of(&cluster.view().await.unwrap());
            sizes.push((
                now.since(&before, 1).encoded_len(),
                now.whole(1).encoded_len() as u32 / (groups * SMALL.replicas),
            ));
        }
        for (difference, whole_by_node) in sizes {
            assert!(difference < 300, "{event:?}: {difference} bytes");
            assert!((120..220).contains(&whole_by_node), "{event:?}: {whole_by_node} bytes for each node");
        }
    }
}

fn steps() -> Steps {
    let ms = Duration::from_millis;
    Steps { take: (ms(4), Duration::ZERO), tell: ms(1), apply: ms(2), bytes: (0.0, 100.0) }
}

fn burst(count: u32) -> Vec<Change> {
    (0..count).map(|number| Change { at: Duration::from_millis(1) * number, bytes: 400 }).collect()
}

#[test]
fn a_change_reaches_every_client_once() {
    let links = Links::default();
    let reached = spread(50, 1003, &burst(1), &steps(), &links, 7);
    assert_eq!((reached.after.len(), reached.messages), (1003, 1003));
    assert!((reached.bytes - 100_300.0).abs() < 1e-6, "{}", reached.bytes);
    // Its commit, the two ways, and what the node and the client have to do.
    let least = links.commit + links.way.0 * 2 + Duration::from_millis(4 + 1 + 2);
    assert!(reached.after.iter().all(|after| *after > least), "{:?}", reached.per_mille(0));
    assert_eq!(reached, spread(50, 1003, &burst(1), &steps(), &links, 7), "the seed decides everything");
    assert_ne!(reached, spread(50, 1003, &burst(1), &steps(), &links, 8));
}

#[test]
fn changes_that_come_faster_than_they_are_told_are_told_together() {
    let reached = spread(50, 1000, &burst(500), &steps(), &Links::default(), 7);
    assert_eq!(reached.after.len(), 1000);
    assert!(reached.messages < 1000 * 100, "{} messages", reached.messages);
    let all = 1000.0 * 500.0 * 100.0;
    assert!((reached.bytes - all).abs() < 1.0, "every change is told to every client, {} bytes", reached.bytes);
}

/// What a node does with the metadata store while nothing happens: follow it, keep a session, and stand for the office.
async fn idle(store: Arc<Counting>, node: u32) {
    let records = Records::new(store, Keys::default());
    let mirror = Mirror::start(Arc::clone(records.store()), records.keys().clone(), MirrorOptions::default());
    let session = records.store().open_session(Duration::from_secs(3)).await.unwrap();
    let candidate = ControllerRecord { node: NodeId(node), run: RunId(1) };
    let held = records.await_office(&session, &candidate, &mut mirror.subscribe()).await;
    std::future::pending::<()>().await;
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn nodes_at_rest_ask_the_store_as_often_as_is_reckoned() {
    let store = Arc::new(Counting::new(Arc::new(EmbeddedStore::in_memory(EmbeddedOptions::default()))));
    for node in 1..=3 {
        tokio::spawn(idle(Arc::clone(&store), node));
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let begun = store.counts();
    assert_eq!((begun.sessions, begun.watches, begun.lists), (3, 3, 3), "each once");
    tokio::time::sleep(Duration::from_secs(600)).await;

    let view = Cluster::found(SMALL).await.unwrap().view().await.unwrap();
    let rest = Rest::of(SMALL, stored_bytes(&view));
    let listings = 3 * (600.0 / rest.relist.as_secs_f64()) as u64;
    assert_eq!(store.counts(), Counts { lists: begun.lists + listings, ..begun }, "and nothing else");
}

use std::sync::Arc;
use std::time::Duration;

use simplekv_types::{GroupId, NodeId, Revision, RunId, SlotMap};
use tokio::time::timeout;

use super::{Mirror, MirrorOptions};
use crate::testing::{Fault, FaultyStore};
use crate::{
    ClusterView, EmbeddedOptions, EmbeddedStore, Freshness, Key, Keys, LiveRecord, MetaStore, Records, Txn, TxnOutcome,
    encode,
};

struct World {
    behind: EmbeddedStore,
    store: FaultyStore,
    keys: Keys,
    mirror: Mirror,
}

impl World {
    fn new(options: EmbeddedOptions) -> Self {
        let behind = EmbeddedStore::in_memory(options);
        let store = FaultyStore::new(Arc::new(behind.clone()));
        let keys = Keys::default();
        let mirror = Mirror::start(Arc::new(store.clone()), keys.clone(), MirrorOptions::default());
        Self { behind, store, keys, mirror }
    }

    /// Behind the back of the faults.
    async fn put(&self, key: &Key, value: impl Into<bytes::Bytes>) -> Revision {
        put(&self.behind, &self.keys, key, value).await
    }

    async fn live(&self, node: u32, run: u64) -> Revision {
        self.put(&Key::Live(NodeId(node)), encode(&LiveRecord { run: RunId(run) })).await
    }

    async fn until(&self, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
        let found = timeout(Duration::from_secs(300), self.mirror.until(wanted)).await;
        found.unwrap_or_else(|_| panic!("still {:?}", self.mirror.view()))
    }
}

async fn put(store: &EmbeddedStore, keys: &Keys, key: &Key, value: impl Into<bytes::Bytes>) -> Revision {
    match store.txn(Txn::new().put(keys.text(key), value)).await.expect("memory does not fail") {
        TxnOutcome::Succeeded { revision } => revision,
        TxnOutcome::Lost(lost) => panic!("{lost:?}"),
    }
}

fn run_of(view: &ClusterView, node: u32) -> Option<u64> {
    view.live.get(&NodeId(node)).map(|run| run.0)
}

#[tokio::test(start_paused = true)]
async fn the_view_follows_every_kind_of_record() {
    let world = World::new(EmbeddedOptions::default());
    assert_eq!(world.mirror.view().freshness, Freshness::Empty);
    world.live(1, 7).await;
    let map = SlotMap::spread(&[GroupId(1)]);
    let version = world.put(&Key::Slots, encode(&map)).await;
    world.put(&Key::Job("drain".to_owned()), "anything").await;
    let view = world.until(|view| !view.jobs.is_empty()).await;
    assert!(view.is_current());
    assert_eq!((view.slots.as_ref(), view.slot_map_version.0), (&map, version.0));
    assert_eq!(run_of(&view, 1), Some(7));

    let key = world.keys.text(&Key::Live(NodeId(1)));
    world.behind.txn(Txn::new().delete(key)).await.unwrap();
    let view = world.until(|view| view.live.is_empty()).await;
    let loaded = Records::new(Arc::new(world.behind.clone()), world.keys.clone()).load().await.unwrap();
    assert_eq!(*view, loaded, "following and reading come to the same");
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_the_view_and_says_since_when() {
    let world = World::new(EmbeddedOptions::default());
    world.live(1, 1).await;
    world.until(|view| view.is_current() && run_of(view, 1) == Some(1)).await;
    world.store.set(Fault::Outage);
    let stale = world.until(|view| matches!(view.freshness, Freshness::Stale { .. })).await;
    world.live(1, 2).await;
    let later = timeout(Duration::from_secs(3600), world.mirror.until(|view| run_of(view, 1) == Some(2))).await;
    assert!(later.is_err(), "nothing can be known during an outage");
    assert_eq!(*world.mirror.view(), *stale, "stale since the beginning, however long it lasts");
    world.store.set(Fault::None);
    let back = world.mirror.until(|view| view.is_current() && run_of(view, 1) == Some(2));
    assert!(timeout(Duration::from_secs(1), back).await.is_ok(), "the end of an outage is a reason to list");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_starts_during_an_outage_knows_nothing_until_it_ends() {
    let world = World::new(EmbeddedOptions::default());
    world.store.set(Fault::Outage);
    world.live(1, 1).await;
    let found = timeout(Duration::from_secs(60), world.mirror.until(|view| view.freshness != Freshness::Empty)).await;
    assert!(found.is_err());
    world.store.set(Fault::None);
    world.until(|view| view.is_current() && run_of(view, 1) == Some(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_loses_is_found_by_listing() {
    let world = World::new(EmbeddedOptions::default());
    world.live(1, 1).await;
    world.live(2, 1).await;
    world.until(|view| view.is_current() && view.live.len() == 2).await;
    world.store.set(Fault::LostEvents);
    world.live(1, 2).await;
    let gone = world.keys.text(&Key::Live(NodeId(2)));
    world.behind.txn(Txn::new().delete(gone)).await.unwrap();
    let found = timeout(Duration::from_secs(50), world.mirror.until(|view| view.live.len() == 1)).await;
    assert!(found.is_err(), "the events are lost");
    world.until(|view| view.live.len() == 1 && run_of(view, 1) == Some(2)).await;

    world.live(1, 3).await;
    world.mirror.refresh();
    let found = timeout(Duration::from_secs(1), world.mirror.until(|view| run_of(view, 1) == Some(3))).await;
    assert!(found.is_ok(), "a refresh does not wait for its turn");
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_is_made_up_for_by_listing() {
    let world = World::new(EmbeddedOptions { history: 1 });
    world.until(ClusterView::is_current).await;
    world.store.set(Fault::Outage);
    world.until(|view| !view.is_current()).await;
    for run in 1..10 {
        world.live(1, run).await;
        world.live(2, run).await;
    }
    world.store.set(Fault::None);
    let view = world.until(|view| view.is_current() && run_of(view, 1) == Some(9) && run_of(view, 2) == Some(9)).await;
    assert_eq!(view.revision, world.behind.revision());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_reported_and_ignored() {
    let world = World::new(EmbeddedOptions::default());
    world.live(1, 1).await;
    let unknown = "/skv/unheard-of".to_owned();
    world.behind.txn(Txn::new().put(&unknown, "x")).await.unwrap();
    world.put(&Key::Live(NodeId(1)), "{").await;
    world.put(&Key::Slots, r#"{"ranges":[[[0,9],1],[[9,9],2]]}"#).await;
    let healthy = world.live(2, 5).await;
    let view = world.mirror.seen(healthy).await;
    let live = world.keys.text(&Key::Live(NodeId(1)));
    let slots = world.keys.text(&Key::Slots);
    assert_eq!(view.corrupt.keys().collect::<Vec<_>>(), [&live, &slots, &unknown]);
    assert!(view.corrupt[&live].contains(&live), "the report names the key: {:?}", view.corrupt);
    assert_eq!((run_of(&view, 2), view.slot_map_version.0), (Some(5), 0));

    let mended = world.live(1, 2).await;
    let view = world.mirror.seen(mended).await;
    assert!(!view.corrupt.contains_key(&live));
    assert_eq!(run_of(&view, 1), Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_value_outlives_one_that_cannot_be_read() {
    let world = World::new(EmbeddedOptions::default());
    let good = world.live(1, 1).await;
    world.mirror.seen(good).await;
    let bad = world.put(&Key::Live(NodeId(1)), "{").await;
    assert_eq!(run_of(&*world.mirror.seen(bad).await, 1), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_store_set_back_is_not_followed() {
    let world = World::new(EmbeddedOptions::default());
    world.live(1, 1).await;
    let known = world.live(1, 2).await;
    world.until(|view| view.is_current() && view.revision == known).await;
    world.store.set(Fault::Outage);
    let older = EmbeddedStore::in_memory(EmbeddedOptions::default());
    let found = put(&older, &world.keys, &Key::Live(NodeId(1)), encode(&LiveRecord { run: RunId(1) })).await;
    world.store.replace(Arc::new(older.clone()));
    world.store.set(Fault::None);
    let view = world.until(|view| view.freshness == Freshness::Regressed { known, found }).await;
    assert_eq!((run_of(&view, 1), view.revision), (Some(2), known));

    // Also not when it has caught up in numbers: its history is another one.
    for _ in 0..10 {
        put(&older, &world.keys, &Key::Live(NodeId(1)), encode(&LiveRecord { run: RunId(9) })).await;
    }
    let followed = timeout(Duration::from_secs(300), world.mirror.until(|view| run_of(view, 1) == Some(9))).await;
    assert!(followed.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_store_set_back_and_written_on_is_known_by_its_records() {
    let world = World::new(EmbeddedOptions::default());
    world.live(2, 1).await;
    let known = world.live(1, 2).await;
    world.until(|view| view.is_current() && view.revision == known).await;
    world.store.set(Fault::Outage);
    let other = EmbeddedStore::in_memory(EmbeddedOptions::default());
    let found = put(&other, &world.keys, &Key::Live(NodeId(1)), encode(&LiveRecord { run: RunId(1) })).await;
    for _ in 0..10 {
        put(&other, &world.keys, &Key::Live(NodeId(3)), encode(&LiveRecord { run: RunId(9) })).await;
    }
    world.store.replace(Arc::new(other));
    world.store.set(Fault::None);
    world.until(|view| view.freshness == Freshness::Regressed { known, found }).await;
}

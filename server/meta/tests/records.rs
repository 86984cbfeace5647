//! What the cluster does with its records.
#![expect(clippy::unwrap_used, reason = "clippy does not count the helpers of tests as tests")]

use std::sync::Arc;
use std::time::Duration;

use simplekv_meta::testing::{Fault, FaultyStore};
use simplekv_meta::{
    Campaign, Cas, ClusterView, Compare, ControllerRecord, EmbeddedOptions, EmbeddedStore, GroupChange, GroupConflict,
    Key, Keys, MetaError, Mirror, MirrorOptions, Office, RecordError, Records, Session, Txn, TxnOutcome, Watch,
    WatchEvent,
};
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, FlushPolicy, GroupId, GroupRecord, Lineage, NodeAddresses, NodeId, NodeRecord,
    RecoveryPolicy, Registration, Revision, RunId, SlotMap, SlotMapVersion, StorageId,
};
use tokio::sync::watch;
use tokio::time::timeout;

const G1: GroupId = GroupId(1);
const N1: NodeId = NodeId(1);
const TTL: Duration = Duration::from_secs(3);

fn records() -> (Records, FaultyStore) {
    let store = FaultyStore::new(Arc::new(EmbeddedStore::in_memory(EmbeddedOptions::default())));
    (Records::new(Arc::new(store.clone()), Keys::default()), store)
}

fn cluster(id: u128) -> ClusterRecord {
    ClusterRecord { cluster: ClusterId(id), format: ClusterRecord::FORMAT }
}

fn group(epoch: u64) -> GroupRecord {
    GroupRecord {
        epoch: Epoch(epoch),
        leader: None,
        in_sync: Vec::new(),
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 1000,
        replicas: vec![N1],
        min_in_sync: 1,
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

fn node(nonce: u64) -> NodeRecord {
    NodeRecord {
        storage: StorageId(1),
        run: None,
        nonce,
        prev_storages: Vec::new(),
        poisoned: false,
        addresses: NodeAddresses::default(),
        zone: String::new(),
        flush: FlushPolicy::Always,
    }
}

fn done<C: std::fmt::Debug>(result: Result<Cas<C>, RecordError>) -> Revision {
    match result.unwrap() {
        Cas::Done { revision } => revision,
        Cas::Lost(conflict) => panic!("lost: {conflict:?}"),
    }
}

fn lost<C>(result: Result<Cas<C>, RecordError>) -> C {
    match result.unwrap() {
        Cas::Lost(conflict) => conflict,
        Cas::Done { revision } => panic!("done at {revision}"),
    }
}

async fn initialised() -> (Records, FaultyStore, Revision) {
    let (records, store) = records();
    let revision = done(records.init(&cluster(1), &[(G1, group(0))], &SlotMap::spread(&[G1])).await);
    (records, store, revision)
}

async fn session(records: &Records) -> Session {
    records.store().open_session(TTL).await.unwrap()
}

#[tokio::test]
async fn a_cluster_is_initialised_once() {
    let (records, _, revision) = initialised().await;
    let again = records.init(&cluster(2), &[(GroupId(2), group(0))], &SlotMap::default()).await;
    assert_eq!(lost(again), ["/skv/cluster", "/skv/slots"]);
    let found = records.cluster().await.unwrap().unwrap();
    assert_eq!((found.record, found.modified), (cluster(1), revision));
    let slots = records.slots().await.unwrap().unwrap();
    assert_eq!((slots.record, slots.modified), (SlotMap::spread(&[G1]), revision));
    assert_eq!(records.group(GroupId(2)).await.unwrap(), None);
}

#[tokio::test]
async fn leftovers_of_a_group_stand_in_the_way_of_init() {
    let (records, _) = records();
    let key = records.key(&Key::Group(G1));
    records.store().txn(Txn::new().put(&key, "old")).await.unwrap();
    assert_eq!(lost(records.init(&cluster(1), &[(G1, group(0))], &SlotMap::default()).await), [key]);
}

#[tokio::test]
async fn groups_are_added_to_a_cluster_and_removed_while_the_slot_map_stands() {
    let (empty, _) = records();
    assert_eq!(lost(empty.add_group(G1, &group(0)).await), None);
    let (records, _, first) = initialised().await;
    assert_eq!(lost(records.add_group(G1, &group(9)).await).unwrap().record, group(0));
    let added = done(records.add_group(GroupId(2), &group(0)).await);
    let version = SlotMapVersion(first.0);
    lost(records.remove_group(GroupId(2), added, SlotMapVersion(first.0 - 1)).await);
    done(records.remove_group(GroupId(2), added, version).await);
    lost(records.remove_group(GroupId(2), added, version).await);
    assert_eq!(records.load().await.unwrap().groups.len(), 1);
}

#[tokio::test]
async fn a_registration_is_replaced_only_by_who_has_seen_it() {
    let (records, _, _) = initialised().await;
    let first = done(records.register(N1, Revision(0), &node(1)).await);
    let found = lost(records.register(N1, Revision(0), &node(2)).await).unwrap();
    assert_eq!(found, Registration { record: node(1), revision: first });
    assert_eq!(found.run(), RunId(first.0));
    let second = done(records.register(N1, first, &node(2)).await);
    assert_eq!(records.node(N1).await.unwrap().unwrap().run(), RunId(second.0));

    // A rewrite names the run and so does not change it.
    let rewrite = NodeRecord { run: Some(RunId(second.0)), poisoned: true, ..node(2) };
    done(records.register(N1, second, &rewrite).await);
    assert_eq!(records.node(N1).await.unwrap().unwrap().run(), RunId(second.0));
}

#[tokio::test]
async fn a_run_that_was_replaced_cannot_speak_for_its_node() {
    let (records, _, _) = initialised().await;
    let session = session(&records).await;
    let old = done(records.register(N1, Revision(0), &node(1)).await);
    done(records.announce(N1, RunId(old.0), old, session.id()).await);
    assert!(records.load().await.unwrap().is_alive(N1));
    let new = done(records.register(N1, old, &node(2)).await);
    assert!(!records.load().await.unwrap().is_alive(N1), "the old run's sign of life is not the new one's");
    assert_eq!(lost(records.announce(N1, RunId(old.0), old, session.id()).await).unwrap().revision, new);
    done(records.announce(N1, RunId(new.0), new, session.id()).await);
    assert!(records.load().await.unwrap().is_alive(N1));
    session.close().await.unwrap();
    assert!(!records.load().await.unwrap().is_alive(N1));
}

/// G11: a group's record changes by compare-and-set only.
#[tokio::test]
async fn a_group_changes_only_as_long_as_everything_it_rests_on_stands() {
    let (records, _, first) = initialised().await;
    let registered = done(records.register(N1, Revision(0), &node(1)).await);
    let session = session(&records).await;
    let candidate = ControllerRecord { node: N1, run: RunId(registered.0) };
    let Campaign::Elected(office) = records.campaign(&session, &candidate).await.unwrap() else { panic!("held") };
    let change = GroupChange {
        group: G1,
        expected: first,
        record: group(1),
        registrations: vec![(N1, registered), (NodeId(2), Revision(0))],
        silent: Vec::new(),
        office: Some(office),
    };
    let revision = done(records.change_group(&change).await);

    let stale = lost(records.change_group(&change).await);
    let found = stale.group.unwrap();
    assert_eq!((found.record, found.modified), (group(1), revision));
    assert_eq!((stale.registrations, stale.office_lost), (Vec::new(), false));

    let change = GroupChange { expected: revision, record: group(2), ..change };
    let again = done(records.register(N1, registered, &node(2)).await);
    let moved = lost(records.change_group(&change).await);
    let registration = Registration { record: node(2), revision: again };
    assert_eq!(moved.registrations, [(N1, Some(registration))]);
    assert!(!moved.office_lost);

    let change = GroupChange { registrations: Vec::new(), ..change };
    session.close().await.unwrap();
    let GroupConflict { group: found, office_lost, .. } = lost(records.change_group(&change).await);
    assert!(office_lost);
    assert_eq!(found.unwrap().modified, revision);
    done(records.change_group(&GroupChange { office: None, ..change }).await);
}

/// C44: a node judged by its silence may have come back since, and touches its registration only when its process is another.
#[tokio::test]
async fn a_group_changes_on_a_nodes_silence_only_while_it_lasts() {
    let (records, _, first) = initialised().await;
    let registered = done(records.register(N1, Revision(0), &node(1)).await);
    let session = session(&records).await;
    done(records.announce(N1, RunId(registered.0), registered, session.id()).await);
    let change = GroupChange {
        group: G1,
        expected: first,
        record: group(1),
        registrations: vec![(N1, registered)],
        silent: vec![N1, NodeId(2)],
        office: None,
    };
    let conflict = lost(records.change_group(&change).await);
    assert_eq!((conflict.alive, conflict.registrations), (vec![N1], Vec::new()));
    assert_eq!(conflict.group.unwrap().record, group(0), "nothing was changed");
    session.close().await.unwrap();
    done(records.change_group(&change).await);
}

#[tokio::test]
async fn the_slot_map_changes_from_version_to_version() {
    let (records, _, first) = initialised().await;
    let map = SlotMap::spread(&[G1, GroupId(2)]);
    let version = SlotMapVersion(first.0);
    let also = vec![Compare::exists(records.key(&Key::Group(GroupId(2))))];
    let found = lost(records.change_slots(version, &map, also).await).unwrap();
    assert_eq!(found.modified, first, "it was the other condition");
    let second = done(records.change_slots(version, &map, Vec::new()).await);
    assert_eq!(lost(records.change_slots(version, &SlotMap::default(), Vec::new()).await).unwrap().modified, second);
    assert_eq!(records.slots().await.unwrap().unwrap().record, map);
}

#[tokio::test]
async fn a_corrupt_record_is_an_error_that_names_its_key() {
    let (records, _, _) = initialised().await;
    let key = records.key(&Key::Group(G1));
    records.store().txn(Txn::new().put(&key, r#"{"epoch":-1}"#)).await.unwrap();
    let corrupt =
        |error: RecordError| assert!(matches!(error, RecordError::Corrupt { key: found, .. } if found == key));
    corrupt(records.group(G1).await.unwrap_err());
    corrupt(records.add_group(G1, &group(0)).await.unwrap_err());
    let view = records.load().await.unwrap();
    assert_eq!((view.groups.len(), view.corrupt.len()), (0, 1));
    assert!(view.cluster.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_office_goes_to_one_and_on_to_the_next() {
    let (records, _, _) = initialised().await;
    let (first, second) = (session(&records).await, session(&records).await);
    let candidate = |node| ControllerRecord { node: NodeId(node), run: RunId(1) };
    let mut views = views(&records);
    let office = records.await_office(&first, &candidate(1), &mut views).await.unwrap();
    assert_eq!(
        records.campaign(&first, &candidate(1)).await.unwrap(),
        Campaign::Elected(office),
        "asked again by the same"
    );
    let held = records.campaign(&second, &candidate(1)).await.unwrap();
    assert!(matches!(held, Campaign::Held { .. }), "the same candidate, but the office will end with another session");
    let held = records.campaign(&second, &candidate(2)).await.unwrap();
    assert!(
        matches!(held, Campaign::Held { created, holder: Some(holder), .. } if created == office.created && holder == candidate(1))
    );

    let waiting = tokio::spawn({
        let records = records.clone();
        async move { (records.await_office(&second, &candidate(2), &mut views).await, second) }
    });
    assert!(timeout(TTL * 5, first_change(records.store().watch("/skv/ctl/", office.created))).await.is_err());
    first.close().await.unwrap();
    let (successor, second) = waiting.await.unwrap();
    let successor = successor.unwrap();
    assert!(successor.created > office.created);
    assert_eq!(records.controller().await.unwrap().unwrap().record, candidate(2));

    let fenced = records.store().txn(Txn::new().when(records.holds(&office)).put("/skv/ctl/job/x", "")).await.unwrap();
    assert!(matches!(fenced, TxnOutcome::Lost(_)), "whoever held it before can do nothing any more");
    records.resign(&office).await.unwrap();
    assert!(records.controller().await.unwrap().is_some(), "an office that ended cannot be given up");
    records.resign(&successor).await.unwrap();
    assert_eq!(records.controller().await.unwrap(), None);
    second.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_campaign_whose_answer_was_lost_is_resolved_by_reading() {
    let (records, store, _) = initialised().await;
    let session = session(&records).await;
    let candidate = ControllerRecord { node: N1, run: RunId(1) };
    store.set(Fault::LostRequests);
    let unknown = records.campaign(&session, &candidate).await.unwrap_err();
    assert!(unknown.may_have_applied(), "a request that may yet arrive");
    store.set(Fault::LostAnswers);
    let Campaign::Elected(Office { created }) = records.campaign(&session, &candidate).await.unwrap() else { panic!() };
    assert_eq!(records.controller().await.unwrap().unwrap().created, created);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_waits_through_an_outage_but_not_beyond_its_session() {
    let (records, store, _) = initialised().await;
    let session = session(&records).await;
    let candidate = ControllerRecord { node: N1, run: RunId(1) };
    store.set(Fault::Outage);
    let mut views = views(&records);
    assert!(timeout(TTL * 10, records.await_office(&session, &candidate, &mut views)).await.is_err());
    store.set(Fault::None);
    let office = timeout(TTL, records.await_office(&session, &candidate, &mut views)).await.unwrap().unwrap();
    records.resign(&office).await.unwrap();

    store.set(Fault::Outage);
    session.set_paused(true);
    let ended = records.await_office(&session, &candidate, &mut views).await.unwrap_err();
    assert_eq!(ended, RecordError::Store(MetaError::SessionLost { session: session.id() }));
}

/// The cluster as a node follows it.
fn views(records: &Records) -> watch::Receiver<Arc<ClusterView>> {
    let mirror = Mirror::start(Arc::clone(records.store()), records.keys().clone(), MirrorOptions::default());
    let views = mirror.subscribe();
    // Followed until the test's runtime ends.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(mirror);
    });
    views
}

/// Ends at the first change.
async fn first_change(mut watch: Watch) {
    while let Some(WatchEvent::Progress { .. }) = watch.next().await {}
}

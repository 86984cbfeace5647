//! Moves of slots in every store: what changes together does, whoever looks on.
#![expect(clippy::unwrap_used, reason = "clippy does not count the helpers of tests as tests")]

use std::sync::Arc;

use simplekv_meta::{
    Campaign, Cas, ControllerRecord, EmbeddedOptions, EmbeddedStore, GroupChange, Keys, MetaStore, MigrationChange,
    MigrationConflict, RecordError, Records,
};
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, GroupId, GroupRecord, Lineage, MigrationId, MigrationRecord, MigrationState,
    NodeId, RecoveryPolicy, Revision, RunId, Side, SlotMap, SlotMapVersion, SlotRange,
};

const A: GroupId = GroupId(1);
const B: GroupId = GroupId(2);
const C: GroupId = GroupId(3);

fn group(lineage: u64) -> GroupRecord {
    GroupRecord {
        epoch: Epoch(0),
        leader: None,
        in_sync: Vec::new(),
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 1000,
        replicas: vec![NodeId(1)],
        min_in_sync: 1,
        lineage: Lineage(lineage),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

fn slots(text: &str) -> Vec<SlotRange> {
    vec![text.parse().unwrap()]
}

fn record(slots: Vec<SlotRange>, source: GroupId, target: GroupId) -> MigrationRecord {
    MigrationRecord {
        slots,
        source,
        target,
        state: MigrationState::Copy,
        source_lineage: Lineage(0),
        target_lineage: Lineage(0),
        source_closed: false,
        target_closed: false,
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

/// A cluster of three groups in the store, below a prefix of its own.
async fn cluster(store: &Arc<dyn MetaStore>, prefix: &str) -> (Records, Revision) {
    let records = Records::new(Arc::clone(store), Keys::new(prefix).unwrap());
    let cluster = ClusterRecord { cluster: ClusterId(1), format: ClusterRecord::FORMAT };
    let groups = [(A, group(0)), (B, group(0)), (C, group(0))];
    let revision = done(records.init(&cluster, &groups, &SlotMap::spread(&[A, B])).await);
    (records, revision)
}

/// Begins a move by the slot map of this version; returns it with its revision.
async fn begin(records: &Records, text: &str, target: GroupId) -> (MigrationId, MigrationRecord, Revision) {
    let map = records.slots().await.unwrap().unwrap();
    let version = SlotMapVersion(map.modified.0);
    let migration = MigrationId::from(version);
    let begun = record(slots(text), A, target);
    let change = MigrationChange {
        migration,
        expected: Revision(0),
        record: Some(begun.clone()),
        slots: Some((version, map.record.with_migration(migration, &begun.slots, A).unwrap())),
        groups: Vec::new(),
        office: None,
    };
    let revision = done(records.change_migration(&change).await);
    (migration, begun, revision)
}

async fn a_move_and_the_slot_map_change_together(store: &Arc<dyn MetaStore>) {
    let (records, first) = cluster(store, "/together").await;
    let (id, begun, revision) = begin(&records, "3-5", B).await;
    assert_eq!(id, MigrationId(first.0));
    let map = records.slots().await.unwrap().unwrap();
    assert_eq!((map.modified, map.record.migration(simplekv_types::Slot::new(4).unwrap())), (revision, Some(id)));
    assert_eq!(records.migration(id).await.unwrap().unwrap().record, begun);

    let handover = MigrationChange {
        migration: id,
        expected: revision,
        record: Some(MigrationRecord { state: MigrationState::Done, ..begun.clone() }),
        slots: Some((SlotMapVersion(revision.0), map.record.handed_over(&begun.slots, A, B).unwrap())),
        groups: vec![(A, first), (B, first)],
        office: None,
    };
    // The target's record has changed since it was read: nothing is.
    let group_at = done(
        records
            .change_group(&GroupChange {
                group: B,
                expected: first,
                record: group(0),
                registrations: Vec::new(),
                silent: Vec::new(),
                office: None,
            })
            .await,
    );
    let MigrationConflict { migration, slots: found, groups, office_lost, .. } =
        lost(records.change_migration(&handover).await);
    assert_eq!(migration.unwrap().record, begun);
    assert_eq!(found.unwrap().modified, revision);
    assert_eq!(groups.iter().map(|(group, _)| *group).collect::<Vec<_>>(), [B]);
    assert!(!office_lost);

    let handover = MigrationChange { groups: vec![(A, first), (B, group_at)], ..handover };
    let handed_over = done(records.change_migration(&handover).await);
    let view = records.all_migrations().await.unwrap();
    assert_eq!(view.revision, handed_over);
    assert_eq!(view.migration(id).unwrap().modified, handed_over);
    assert!(view.slots.as_ref().unwrap().record.belong_to(&begun.slots, B));
    assert_eq!((view.groups.len(), view.open().count()), (3, 0));
    lost(records.change_migration(&handover).await);

    let over = begun.closed(Side::Source).closed(Side::Target);
    let forget = MigrationChange {
        expected: handed_over,
        record: None,
        slots: Some((SlotMapVersion(handed_over.0), view.slots.unwrap().record.without_migration(id))),
        groups: Vec::new(),
        ..handover
    };
    assert!(over.is_over());
    done(records.change_migration(&forget).await);
    assert_eq!(records.migration(id).await.unwrap(), None);
    assert_eq!(records.slots().await.unwrap().unwrap().record.migrating(), []);
}

/// M26: a plan that was made by an earlier map is not carried out by a later one.
async fn a_late_beginning_is_refused(store: &Arc<dyn MetaStore>) {
    let (records, first) = cluster(store, "/late").await;
    let (_, _, revision) = begin(&records, "3-5", B).await;
    let late = MigrationChange {
        migration: MigrationId(first.0 + 100),
        expected: Revision(0),
        record: Some(record(slots("9"), A, B)),
        slots: Some((SlotMapVersion(first.0), SlotMap::spread(&[A, B]))),
        groups: Vec::new(),
        office: None,
    };
    let conflict = lost(records.change_migration(&late).await);
    assert_eq!((conflict.migration, conflict.slots.unwrap().modified), (None, revision));
}

async fn a_controller_that_lost_its_office_changes_nothing(store: &Arc<dyn MetaStore>) {
    let (records, _) = cluster(store, "/office").await;
    let session = records.store().open_session(std::time::Duration::from_secs(600)).await.unwrap();
    let candidate = ControllerRecord { node: NodeId(1), run: RunId(1) };
    let Campaign::Elected(office) = records.campaign(&session, &candidate).await.unwrap() else { panic!("held") };
    let (id, begun, revision) = begin(&records, "3-5", B).await;
    let abort = MigrationChange {
        migration: id,
        expected: revision,
        record: begun.aborted(),
        slots: None,
        groups: Vec::new(),
        office: Some(office),
    };
    session.close().await.unwrap();
    let conflict = lost(records.change_migration(&abort).await);
    assert!(conflict.office_lost);
    done(records.change_migration(&MigrationChange { office: None, ..abort }).await);
}

/// M16: with another history of a group its moves end, unless they were handed over; other groups' go on.
async fn another_history_aborts_what_was_not_handed_over(store: &Arc<dyn MetaStore>) {
    let (records, first) = cluster(store, "/lineage").await;
    let (copying, ..) = begin(&records, "3-5", B).await;
    let (others, ..) = begin(&records, "7", C).await;
    let (handed_over, begun, revision) = begin(&records, "9", B).await;
    let done_already = MigrationChange {
        migration: handed_over,
        expected: revision,
        record: Some(MigrationRecord { state: MigrationState::Done, ..begun }),
        slots: None,
        groups: Vec::new(),
        office: None,
    };
    done(records.change_migration(&done_already).await);
    let change = GroupChange {
        group: B,
        expected: first,
        record: group(1),
        registrations: Vec::new(),
        silent: Vec::new(),
        office: None,
    };
    let stale = GroupChange { expected: Revision(first.0 + 1), ..change.clone() };
    assert_eq!(lost(records.begin_lineage(&stale).await).group.unwrap().record, group(0));
    let begun_at = done(records.begin_lineage(&change).await);
    let view = records.all_migrations().await.unwrap();
    let state = |id| view.migration(id).map(|found| (found.record.state, found.modified == begun_at));
    assert_eq!(state(copying), Some((MigrationState::Aborted, true)), "in the same transaction");
    assert_eq!(state(others), Some((MigrationState::Copy, false)));
    assert_eq!(state(handed_over), Some((MigrationState::Done, false)));
    let of_group = view.groups.iter().find(|(group, _)| *group == B).map(|(_, found)| found);
    assert_eq!(of_group.map(|found| (found.record.lineage, found.modified)), Some((Lineage(1), begun_at)));
}

async fn run_all(store: Arc<dyn MetaStore>) {
    a_move_and_the_slot_map_change_together(&store).await;
    a_late_beginning_is_refused(&store).await;
    a_controller_that_lost_its_office_changes_nothing(&store).await;
    another_history_aborts_what_was_not_handed_over(&store).await;
}

#[tokio::test(start_paused = true)]
async fn moves_in_the_embedded_store_in_memory() {
    run_all(Arc::new(EmbeddedStore::in_memory(EmbeddedOptions::default()))).await;
}

#[tokio::test(start_paused = true)]
async fn moves_in_the_embedded_store_with_a_file() {
    let dir = tempfile::tempdir().unwrap();
    run_all(Arc::new(EmbeddedStore::open(&dir.path().join("meta"), EmbeddedOptions::default()).unwrap())).await;
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn moves_in_etcd() {
    use simplekv_meta::testing::EtcdCluster;
    use simplekv_meta::{EtcdOptions, EtcdStore};

    let etcd = EtcdCluster::start(1).await.unwrap_or_else(|error| panic!("{error}"));
    run_all(Arc::new(EtcdStore::new(EtcdOptions::new(etcd.endpoints())).unwrap())).await;
}

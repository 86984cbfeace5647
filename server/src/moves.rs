//! What moves of slots want of the world around their group: the metadata store, the disk, and the other group's leader.

use simplekv_cluster::migration::{MoveChange, MoveOutcome, MoveRecords, MoveRequest};
use simplekv_meta::{Cas, ClusterView, MigrationChange, MigrationView, Office, Records};
use simplekv_types::{MigrationId, MigrationRecord, Revision, SlotMapVersion};
use tracing::warn;

pub(crate) mod wire;

/// Does once what a move asks of the metadata store, and tells what is known of it. `office`: the controller's, if it is the controller who
/// asks.
pub async fn ask(records: &Records, request: MoveRequest, office: Option<Office>) -> MoveOutcome {
    let asked = match request {
        MoveRequest::Change(change) => return change_move(records, *change, office).await,
        MoveRequest::Read(migration) => Some(migration),
        MoveRequest::ReadAll => None,
    };
    match records.all_migrations().await {
        Ok(view) => move_records(asked, view).map_or(MoveOutcome::Failed, |read| MoveOutcome::Read(Box::new(read))),
        Err(failure) => {
            warn!(error = %failure, "moves of slots cannot be read");
            MoveOutcome::Failed
        }
    }
}

/// `None` before the cluster is initialised.
fn move_records(asked: Option<MigrationId>, view: MigrationView) -> Option<MoveRecords> {
    let MigrationView { migrations, slots, groups, revision } = view;
    let slots = slots?;
    let wanted = |migration: MigrationId| asked.is_none_or(|asked| asked == migration);
    let migrations = migrations.into_iter().filter(|(migration, _)| wanted(*migration));
    Some(MoveRecords {
        asked,
        migrations: migrations.map(|(migration, found)| (migration, (found.record, found.modified))).collect(),
        slots: slots.record,
        version: SlotMapVersion(slots.modified.0),
        groups: groups.into_iter().map(|(group, found)| (group, (found.record.lineage, found.modified))).collect(),
        revision,
    })
}

async fn change_move(records: &Records, change: MoveChange, office: Option<Office>) -> MoveOutcome {
    let MoveChange { migration, expected, record, slots, groups } = change;
    let expected = expected.unwrap_or(Revision(0));
    match records.change_migration(&MigrationChange { migration, expected, record, slots, groups, office }).await {
        Ok(Cas::Done { revision }) => MoveOutcome::Succeeded { revision },
        Ok(Cas::Lost(_)) => MoveOutcome::Lost,
        Err(failure) => {
            warn!(%migration, error = %failure, "a move of slots was not changed");
            if failure.may_have_applied() { MoveOutcome::Unknown } else { MoveOutcome::Failed }
        }
    }
}

/// The moves that a view shows: a hint.
pub(crate) fn seen(view: &ClusterView) -> Vec<(MigrationId, MigrationRecord, Revision)> {
    let read = view.migrations.iter().filter_map(|(migration, found)| {
        // One that cannot be read stops the move where that is decided.
        Some((*migration, found.understood()?, found.modified))
    });
    read.collect()
}

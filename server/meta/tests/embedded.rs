//! What only an embedded store can go through: the end of its process.

use std::time::Duration;

use simplekv_meta::{
    Compare, EmbeddedOptions, EmbeddedStore, MetaError, MetaStore, OpenError, Txn, TxnOutcome, WatchEvent,
};
use simplekv_types::Revision;

#[tokio::test]
async fn everything_but_sessions_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let open = || EmbeddedStore::open(&path, EmbeddedOptions::default());
    let store = open().unwrap();
    let session = store.open_session(Duration::from_secs(600)).await.unwrap();
    store.txn(Txn::new().put("/t/a", "1")).await.unwrap();
    store.txn(Txn::new().put_in(session.id(), "/t/live", "1")).await.unwrap();
    store.txn(Txn::new().when(Compare::exists("/t/a")).put("/t/a", "2")).await.unwrap();
    let before = store.get("/t/a").await.unwrap();
    let revision = store.revision();
    assert!(matches!(open(), Err(OpenError::InUse { .. })));

    drop(store);
    let store = open().unwrap();
    assert_eq!(store.get("/t/a").await.unwrap(), before);
    assert_eq!(store.get("/t/live").await.unwrap(), None);
    assert_eq!(store.revision(), Revision(revision.0 + 1), "the end of a session is a change");
    let again = store.open_session(Duration::from_secs(600)).await.unwrap();
    assert_ne!(again.id(), session.id());

    drop(store);
    let store = open().unwrap();
    assert_eq!(store.revision(), Revision(revision.0 + 1));
    let mut watch = store.watch("/t/", revision);
    assert_eq!(watch.next().await, Some(WatchEvent::Compacted { revision: Revision(revision.0 + 2) }));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    store.txn(Txn::new().put("/t/a", "1")).await.unwrap();
    drop(store);
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &content).unwrap();
    let error = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

#[tokio::test]
async fn a_change_that_cannot_be_saved_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    store.txn(Txn::new().put("/t/a", "1")).await.unwrap();
    // A directory where the new file would be written.
    std::fs::create_dir(dir.path().join("meta.new")).unwrap();
    let refused = store.txn(Txn::new().put("/t/a", "2")).await;
    assert!(matches!(refused, Err(MetaError::Unavailable { .. })), "{refused:?}");
    assert_eq!(store.get("/t/a").await.unwrap().unwrap().value, "1");
    std::fs::remove_dir(dir.path().join("meta.new")).unwrap();
    assert!(matches!(store.txn(Txn::new().put("/t/a", "3")).await, Ok(TxnOutcome::Succeeded { .. })));
}

#[tokio::test]
async fn a_store_that_may_have_saved_answers_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    // The file cannot be renamed over a directory that is not empty.
    std::fs::create_dir_all(path.join("full")).unwrap();
    let unknown = store.txn(Txn::new().put("/t/a", "1")).await;
    assert!(matches!(unknown, Err(MetaError::Unknown { .. })), "{unknown:?}");
    assert!(matches!(store.get("/t/a").await, Err(MetaError::Unavailable { .. })));
    assert!(matches!(store.txn(Txn::new().put("/t/a", "2")).await, Err(MetaError::Unavailable { .. })));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_part_file_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    for n in 0..20 {
        let mut txn = store.txn(Txn::new().put("/t/a", n.to_string()));
        // Polled once, so that it is under way, and dropped.
        let _ = futures::poll!(&mut txn);
    }
    let last = store.txn(Txn::new().put("/t/b", "")).await.unwrap();
    assert_eq!(last, TxnOutcome::Succeeded { revision: Revision(22) });
    let listing = store.list("/t/").await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    assert_eq!(store.list("/t/").await.unwrap(), listing);
}

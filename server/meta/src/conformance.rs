//! What every metadata store must do. Each behaviour is a test that panics where it is not met.
//!
//! Behaviours wait by tokio's clock, so that stores without real time behind them can be tested with the clock paused.
#![expect(clippy::unwrap_used, reason = "a suite of tests: a panic is its way to fail")]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use simplekv_types::Revision;
use tokio::time::timeout;

use crate::{
    Change, Compare, Entry, Lost, MetaError, MetaStore, SessionState, TXN_OPS_MAX, Txn, TxnOutcome, Watch, WatchEvent,
};

/// A behaviour: its name, and a test of it on a store below a prefix of its own. The store must be otherwise idle.
pub type Behaviour = (&'static str, fn(Arc<dyn MetaStore>, String) -> BoxFuture<'static, ()>);

/// Shortest session of all stores tested.
const TTL: Duration = Duration::from_secs(1);
/// Nothing here takes this long on a store that works.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! behaviours {
    ($($name:ident),* $(,)?) => {
        /// All behaviours.
        pub const BEHAVIOURS: &[Behaviour] = &[$((stringify!($name), |store, prefix| $name(store, prefix).boxed())),*];
    };
}

behaviours![
    a_missing_key_reads_as_nothing,
    revisions_are_of_the_whole_store,
    a_key_put_again_after_a_delete_is_a_new_key,
    comparisons_hold_exactly_when_they_should,
    a_lost_transaction_shows_what_is_there_and_changes_nothing,
    a_change_of_nothing_has_no_revision,
    a_transaction_of_many_operations_is_one_change,
    malformed_transactions_are_refused,
    concurrent_increments_are_all_counted,
    a_listing_is_of_the_prefix_and_in_order,
    large_and_binary_values_come_back,
    a_watch_sees_every_change_in_order,
    a_watch_begins_where_it_is_told,
    a_session_is_kept_alive,
    a_paused_session_ends_and_takes_its_keys,
    a_closed_session_takes_its_keys_at_once,
    a_key_put_without_its_session_stays,
];

/// Runs all behaviours one after the other, each below its own prefix of `root`.
pub async fn run_all(store: Arc<dyn MetaStore>, root: &str) {
    for (name, behaviour) in BEHAVIOURS {
        tracing::info!(name, "conformance");
        behaviour(Arc::clone(&store), format!("{root}/{name}/")).await;
    }
}

async fn a_missing_key_reads_as_nothing(store: Arc<dyn MetaStore>, prefix: String) {
    assert_eq!(store.get(&format!("{prefix}a")).await, Ok(None));
    assert_eq!(store.list(&prefix).await.unwrap().entries, []);
    assert!(matches!(store.get("").await, Err(MetaError::Invalid { .. })));
    assert!(matches!(store.list("").await, Err(MetaError::Invalid { .. })));
}

async fn revisions_are_of_the_whole_store(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let first = put(&store, &a, "1").await;
    let second = put(&store, &b, "1").await;
    assert_eq!(second.0, first.0 + 1);
    let third = put(&store, &a, "2").await;
    assert_eq!(store.get(&a).await, Ok(Some(entry(&a, "2", first, third))));
    assert_eq!(store.get(&b).await, Ok(Some(entry(&b, "1", second, second))));
    assert_eq!(store.list(&prefix).await.unwrap().revision, third);
}

async fn a_key_put_again_after_a_delete_is_a_new_key(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, _] = keys(&prefix);
    put(&store, &a, "1").await;
    let deleted = succeeded(&store, Txn::new().delete(&a)).await;
    assert_eq!(store.get(&a).await, Ok(None));
    let again = put(&store, &a, "2").await;
    assert_eq!(again.0, deleted.0 + 1);
    assert_eq!(store.get(&a).await, Ok(Some(entry(&a, "2", again, again))));
}

async fn comparisons_hold_exactly_when_they_should(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, missing] = keys(&prefix);
    let created = put(&store, &a, "1").await;
    let modified = put(&store, &a, "2").await;
    let none = Revision(0);
    let table = [
        (Compare::modified(&a, modified), true),
        (Compare::modified(&a, created), false),
        (Compare::modified(&a, none), false),
        (Compare::modified(&missing, none), true),
        (Compare::modified(&missing, modified), false),
        (Compare::created(&a, created), true),
        (Compare::created(&a, modified), false),
        (Compare::created(&missing, none), true),
        (Compare::exists(&a), true),
        (Compare::exists(&missing), false),
        (Compare::missing(&missing), true),
        (Compare::missing(&a), false),
    ];
    for (compare, holds) in &table {
        let outcome = store.txn(Txn::new().when(compare.clone())).await.unwrap();
        assert_eq!(matches!(outcome, TxnOutcome::Succeeded { .. }), *holds, "{compare:?}");
    }
    let all = table.iter().filter(|(_, holds)| *holds).map(|(compare, _)| compare.clone());
    succeeded(&store, Txn::new().when_all(all.clone())).await;
    lost(&store, Txn::new().when_all(all).when(Compare::exists(&missing))).await;
}

async fn a_lost_transaction_shows_what_is_there_and_changes_nothing(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let missing = format!("{prefix}missing");
    let at_a = put(&store, &a, "1").await;
    let at_b = put(&store, &b, "2").await;
    let txn = Txn::new()
        .when(Compare::modified(&b, at_b))
        .when(Compare::missing(&missing))
        .when(Compare::modified(&a, at_b))
        .when(Compare::exists(&a))
        .put(&a, "never")
        .delete(&b);
    let found = lost(&store, txn).await;
    let current = vec![entry(&a, "1", at_a, at_a), entry(&b, "2", at_b, at_b)];
    assert_eq!(found, Lost { current, revision: at_b });
    assert_eq!(found.entry(&missing), None);
    assert_eq!(store.list(&prefix).await.unwrap().entries, found.current);
}

async fn a_change_of_nothing_has_no_revision(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, missing] = keys(&prefix);
    let revision = put(&store, &a, "1").await;
    assert_eq!(succeeded(&store, Txn::new().delete(&missing)).await, revision);
    assert_eq!(succeeded(&store, Txn::new().when(Compare::exists(&a))).await, revision);
    assert_eq!(put(&store, &a, "1").await.0, revision.0 + 1, "the same value again is a change");
}

async fn a_transaction_of_many_operations_is_one_change(store: Arc<dyn MetaStore>, prefix: String) {
    let name = |n: usize| format!("{prefix}{n:03}");
    let names = (0..TXN_OPS_MAX).map(name);
    let txn = names.fold(Txn::new(), |txn, name| txn.when(Compare::missing(&name)).put(name, "x"));
    let revision = succeeded(&store, txn).await;
    let listing = store.list(&prefix).await.unwrap();
    let expected: Vec<Entry> = (0..TXN_OPS_MAX).map(|n| entry(&name(n), "x", revision, revision)).collect();
    assert_eq!(listing.entries, expected);
    assert_eq!(listing.revision, revision);
}

async fn malformed_transactions_are_refused(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let many = (0..=TXN_OPS_MAX).fold(Txn::new(), |txn, n| txn.put(format!("{prefix}{n}"), "x"));
    let compares = (0..=TXN_OPS_MAX).fold(Txn::new(), |txn, n| txn.when(Compare::exists(format!("{prefix}{n}"))));
    let huge = Txn::new().put(&a, vec![0; crate::TXN_BYTES_MAX + 1]);
    let twice = Txn::new().put(&a, "1").put(&a, "2");
    let torn = Txn::new().put(&a, "1").delete(&a);
    for txn in [many, compares, huge, twice, torn, Txn::new().put("", "x"), Txn::new().when(Compare::exists(""))] {
        assert!(matches!(store.txn(txn).await, Err(MetaError::Invalid { .. })));
    }
    assert_eq!(store.list(&prefix).await.unwrap().entries, []);
    // The largest that is allowed is accepted.
    succeeded(&store, Txn::new().put(&b, vec![7; crate::TXN_BYTES_MAX - b.len()])).await;
}

async fn concurrent_increments_are_all_counted(store: Arc<dyn MetaStore>, prefix: String) {
    const TASKS: usize = 4;
    const EACH: usize = 10;
    let [a, _] = keys(&prefix);
    let increment = async || {
        for _ in 0..EACH {
            loop {
                let found = store.get(&a).await.unwrap();
                let (count, revision) = found.map_or((0, Revision(0)), |found| (number(&found), found.modified));
                let next = (count + 1).to_string();
                let txn = Txn::new().when(Compare::modified(&a, revision)).put(&a, next);
                if let TxnOutcome::Succeeded { .. } = store.txn(txn).await.unwrap() {
                    break;
                }
            }
        }
    };
    futures::future::join_all((0..TASKS).map(|_| increment())).await;
    assert_eq!(number(&store.get(&a).await.unwrap().unwrap()), TASKS * EACH);
}

async fn a_listing_is_of_the_prefix_and_in_order(store: Arc<dyn MetaStore>, prefix: String) {
    let inside = [format!("{prefix}x/"), format!("{prefix}x/1"), format!("{prefix}x/\u{10ffff}")];
    let outside = [format!("{prefix}w/1"), format!("{prefix}x"), format!("{prefix}x0")];
    for key in inside.iter().rev().chain(&outside) {
        put(&store, key, "").await;
    }
    let listing = store.list(&format!("{prefix}x/")).await.unwrap();
    let found: Vec<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(found, inside);
}

async fn large_and_binary_values_come_back(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    for (key, value) in [(&a, vec![0xff, 0x00, 0xfe]), (&b, vec![b'x'; 1_000_000]), (&a, Vec::new())] {
        succeeded(&store, Txn::new().put(key, value.clone())).await;
        assert_eq!(store.get(key).await.unwrap().unwrap().value, value);
    }
}

async fn a_watch_sees_every_change_in_order(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let before = put(&store, &a, "before").await;
    let mut watch = store.watch(&prefix, before);
    let first = succeeded(&store, Txn::new().put(&a, "1").put(&b, "1")).await;
    put(&store, &format!("{}elsewhere", prefix.trim_end_matches('/')), "").await;
    let second = succeeded(&store, Txn::new().delete(&a).put(&b, "2")).await;
    let third = put(&store, &b, "3").await;

    let (revision, mut changes) = next_change(&mut watch).await;
    changes.sort_by(|x, y| x.key().cmp(y.key()));
    let expected = [Change::Put(entry(&a, "1", before, first)), Change::Put(entry(&b, "1", first, first))];
    assert_eq!((revision, changes.as_slice()), (first, expected.as_slice()));
    let (revision, mut changes) = next_change(&mut watch).await;
    changes.sort_by(|x, y| x.key().cmp(y.key()));
    let expected = [Change::Delete { key: a.clone() }, Change::Put(entry(&b, "2", first, second))];
    assert_eq!((revision, changes.as_slice()), (second, expected.as_slice()));
    assert_eq!(next_change(&mut watch).await, (third, vec![Change::Put(entry(&b, "3", first, third))]));
}

async fn a_watch_begins_where_it_is_told(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, _] = keys(&prefix);
    let first = put(&store, &a, "1").await;
    let second = put(&store, &a, "2").await;
    let third = put(&store, &a, "3").await;
    let mut watch = store.watch(&prefix, first);
    assert_eq!(next_change(&mut watch).await.0, second);
    let mut again = store.watch(&prefix, second);
    assert_eq!(next_change(&mut watch).await.0, third);
    assert_eq!(next_change(&mut again).await, (third, vec![Change::Put(entry(&a, "3", first, third))]));
}

async fn a_session_is_kept_alive(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, _] = keys(&prefix);
    let session = store.open_session(TTL).await.unwrap();
    assert!(session.ttl() >= TTL);
    let revision = succeeded(&store, Txn::new().put_in(session.id(), &a, "here")).await;
    assert!(timeout(session.ttl() * 3, session.lost()).await.is_err(), "the session ended although it was kept alive");
    assert_eq!(session.state(), SessionState::Alive);
    let expected = Entry { session: Some(session.id()), ..entry(&a, "here", revision, revision) };
    assert_eq!(store.get(&a).await, Ok(Some(expected)));
    session.close().await.unwrap();
}

async fn a_paused_session_ends_and_takes_its_keys(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let session = store.open_session(TTL).await.unwrap();
    let revision = succeeded(&store, Txn::new().put_in(session.id(), &a, "").put_in(session.id(), &b, "")).await;
    let mut watch = store.watch(&prefix, revision);
    session.set_paused(true);
    let (_, changes) = next_change(&mut watch).await;
    assert_eq!(changes.len(), 2, "all keys of a session go together");
    assert_eq!(store.list(&prefix).await.unwrap().entries, []);
    session.set_paused(false);
    timeout(PATIENCE, session.lost()).await.expect("the end of a session is noticed");
    assert_eq!(session.state(), SessionState::Lost);
    let late = store.txn(Txn::new().put_in(session.id(), &a, "")).await;
    assert_eq!(late, Err(MetaError::SessionLost { session: session.id() }));
    session.close().await.unwrap();
}

async fn a_closed_session_takes_its_keys_at_once(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    // Far longer than the test: only closing can end it.
    let session = store.open_session(Duration::from_secs(600)).await.unwrap();
    let (id, lost) = (session.id(), session.lost());
    let revision = succeeded(&store, Txn::new().put_in(id, &a, "").put_in(id, &b, "")).await;
    session.close().await.unwrap();
    let listing = store.list(&prefix).await.unwrap();
    assert_eq!((listing.entries, listing.revision), (Vec::new(), Revision(revision.0 + 1)));
    timeout(PATIENCE, lost).await.expect("a closed session is lost");
    let late = store.txn(Txn::new().put_in(id, &a, "")).await;
    assert_eq!(late, Err(MetaError::SessionLost { session: id }));
}

async fn a_key_put_without_its_session_stays(store: Arc<dyn MetaStore>, prefix: String) {
    let [a, b] = keys(&prefix);
    let session = store.open_session(Duration::from_secs(600)).await.unwrap();
    let first = succeeded(&store, Txn::new().put_in(session.id(), &a, "1").put_in(session.id(), &b, "1")).await;
    let second = put(&store, &a, "2").await;
    session.close().await.unwrap();
    assert_eq!(store.list(&prefix).await.unwrap().entries, [entry(&a, "2", first, second)]);
}

fn keys(prefix: &str) -> [String; 2] {
    [format!("{prefix}a"), format!("{prefix}b")]
}

fn entry(key: &str, value: &str, created: Revision, modified: Revision) -> Entry {
    let (key, value) = (key.to_owned(), value.to_owned().into());
    Entry { key, value, created, modified, session: None }
}

fn number(entry: &Entry) -> usize {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

async fn put(store: &Arc<dyn MetaStore>, key: &str, value: &str) -> Revision {
    succeeded(store, Txn::new().put(key, value.to_owned())).await
}

async fn succeeded(store: &Arc<dyn MetaStore>, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Succeeded { revision } => revision,
        TxnOutcome::Lost(lost) => panic!("lost to {lost:?}"),
    }
}

async fn lost(store: &Arc<dyn MetaStore>, txn: Txn) -> Lost {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Lost(lost) => lost,
        TxnOutcome::Succeeded { revision } => panic!("succeeded at {revision}"),
    }
}

async fn next_change(watch: &mut Watch) -> (Revision, Vec<Change>) {
    let next = async {
        loop {
            match watch.next().await.expect("the watch goes on") {
                WatchEvent::Changed { revision, changes } => return (revision, changes),
                WatchEvent::Progress { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a change arrives")
}

//! What the store makes of an etcd that misbehaves.
#![cfg(feature = "etcd")]
#![expect(clippy::unwrap_used, reason = "clippy does not count the helpers of tests as tests")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use simplekv_meta::testing::EtcdCluster;
use simplekv_meta::{
    ClusterView, Compare, EtcdOptions, EtcdStore, EtcdTls, EtcdUser, Freshness, Key, Keys, MetaError, MetaStore,
    Mirror, MirrorOptions, Records, SessionState, Txn, TxnOutcome, Watch, WatchEvent, encode,
};
use simplekv_types::{FlushPolicy, NodeAddresses, NodeId, NodeRecord, Revision, StorageId};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(members: usize) -> EtcdCluster {
    EtcdCluster::start(members).await.unwrap_or_else(|error| panic!("{error}"))
}

fn connect(etcd: &EtcdCluster) -> EtcdStore {
    EtcdStore::new(EtcdOptions::new(etcd.endpoints())).unwrap()
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Revision {
    match store.txn(Txn::new().put(key, value.to_owned())).await.unwrap() {
        TxnOutcome::Succeeded { revision } => revision,
        TxnOutcome::Lost(lost) => panic!("{lost:?}"),
    }
}

async fn next(watch: &mut Watch) -> WatchEvent {
    timeout(PATIENCE, watch.next()).await.expect("an event arrives").expect("the watch goes on")
}

async fn next_revision(watch: &mut Watch) -> Revision {
    loop {
        if let WatchEvent::Changed { revision, .. } = next(watch).await {
            return revision;
        }
    }
}

/// All changes after one revision up to another arrive, each once and in order. Only for tests that change nothing but what they
/// watch; attempts of unknown outcome may be among it.
async fn all_arrive(watch: &mut Watch, after: Revision, upto: Revision) {
    for expected in after.0 + 1..=upto.0 {
        assert_eq!(next_revision(watch).await, Revision(expected));
    }
}

/// Repeats a put, as a caller would whose every attempt is known not to have been made.
async fn put_when_possible(store: &EtcdStore, key: &str) -> Revision {
    let started = Instant::now();
    loop {
        match store.txn(Txn::new().put(key, "x")).await {
            Ok(TxnOutcome::Succeeded { revision }) => return revision,
            other => assert!(started.elapsed() < PATIENCE, "still {other:?}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_is_costs_nothing() {
    let etcd = start(1).await;
    // Port 9 is "discard": nobody listens there.
    let endpoints = ["127.0.0.1:9".to_owned(), "http://127.0.0.1:9".to_owned()].into_iter().chain(etcd.endpoints());
    let store = EtcdStore::new(EtcdOptions::new(endpoints)).unwrap();
    let revision = put(&store, "/t/a", "1").await;
    assert_eq!(store.get("/t/a").await.unwrap().unwrap().modified, revision);
    let mut watch = store.watch("/t/", Revision(revision.0 - 1));
    assert_eq!(next_revision(&mut watch).await, revision);
    store.open_session(Duration::from_secs(5)).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_unavailable_at_once() {
    let store = EtcdStore::new(EtcdOptions::new(["127.0.0.1:9"])).unwrap();
    let started = Instant::now();
    let refused = |error: MetaError| assert!(matches!(error, MetaError::Unavailable { .. }), "{error:?}");
    refused(store.get("/t/a").await.unwrap_err());
    refused(store.list("/t/").await.unwrap_err());
    refused(store.txn(Txn::new().put("/t/a", "1")).await.unwrap_err());
    refused(store.open_session(Duration::from_secs(5)).await.unwrap_err());
    assert!(started.elapsed() < Duration::from_secs(2));
    let mut watch = store.watch("/t/", Revision(1));
    assert!(matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }));
}

#[tokio::test]
async fn a_session_outlives_the_member_it_was_opened_at() {
    let mut etcd = start(3).await;
    let store = connect(&etcd);
    let session = store.open_session(Duration::from_secs(2)).await.unwrap();
    let mut states = session.states();
    store.txn(Txn::new().put_in(session.id(), "/t/live", "")).await.unwrap();
    let mut watch = store.watch("/t/", Revision(1));
    assert_eq!(next_revision(&mut watch).await, Revision(2));

    etcd.kill(0);
    let first = put_when_possible(&store, "/t/a").await;
    assert!(timeout(session.ttl() * 3, states.wait_for(|state| *state == SessionState::Lost)).await.is_err());
    assert!(store.get("/t/live").await.unwrap().is_some());
    // The watch went over to another member and missed nothing.
    all_arrive(&mut watch, Revision(2), first).await;

    etcd.restart(0).await.unwrap();
    etcd.kill(1);
    let second = put_when_possible(&store, "/t/b").await;
    all_arrive(&mut watch, first, second).await;
}

#[tokio::test]
async fn a_member_that_hangs_is_left_for_another() {
    let mut etcd = start(3).await;
    // Not the leader: without that one nobody could answer until there is another.
    let follower = follower(&etcd).await;
    let mut endpoints = etcd.endpoints();
    endpoints.swap(0, follower);
    let store = EtcdStore::new(EtcdOptions::new(endpoints)).unwrap();
    put(&store, "/t/a", "1").await;
    etcd.pause(follower);
    let started = Instant::now();
    for _ in 0..10 {
        assert!(store.get("/t/a").await.unwrap().is_some());
    }
    // It costs one time limit, not one per read.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    etcd.resume(follower);
}

/// The number of a member that does not lead.
async fn follower(etcd: &EtcdCluster) -> usize {
    for (member, endpoint) in etcd.endpoints().iter().enumerate() {
        let mut client = etcd_client::Client::connect([endpoint], None).await.unwrap();
        let status = client.status().await.unwrap();
        if status.leader() != status.header().unwrap().member_id() {
            return member;
        }
    }
    panic!("of three one leads")
}

#[tokio::test]
async fn a_transaction_whose_answer_does_not_come_is_unknown_and_is_resolved_by_reading() {
    let mut etcd = start(1).await;
    let store = connect(&etcd);
    let before = put(&store, "/t/a", "1").await;
    etcd.pause(0);
    let started = Instant::now();
    let unknown = store.txn(Txn::new().when(Compare::modified("/t/a", before)).put("/t/a", "2")).await.unwrap_err();
    assert!(unknown.may_have_applied(), "{unknown:?}");
    assert!(started.elapsed() < Duration::from_secs(4));
    let unread = store.get("/t/a").await.unwrap_err();
    assert!(matches!(unread, MetaError::Unavailable { .. }), "{unread:?}");
    etcd.resume(0);

    // Whether the first one arrived or not, a put that names what it has seen decides.
    let outcome = timeout(PATIENCE, async {
        loop {
            let Ok(Some(found)) = store.get("/t/a").await else { continue };
            let txn = Txn::new().when(Compare::modified("/t/a", found.modified)).put("/t/a", "3");
            if let Ok(TxnOutcome::Succeeded { revision }) = store.txn(txn).await {
                return revision;
            }
        }
    });
    let revision = outcome.await.expect("etcd answers again");
    assert_eq!(store.get("/t/a").await.unwrap().unwrap().modified, revision);
}

#[tokio::test]
async fn without_a_majority_nothing_is_answered_and_then_everything_again() {
    let mut etcd = start(3).await;
    let store = connect(&etcd);
    let before = put(&store, "/t/a", "1").await;
    let mut watch = store.watch("/t/", before);
    etcd.kill(1);
    etcd.kill(2);
    let started = Instant::now();
    assert!(matches!(store.get("/t/a").await, Err(MetaError::Unavailable { .. })));
    assert!(store.txn(Txn::new().put("/t/a", "2")).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(8));
    while !matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }) {}
    etcd.restart_all().await.unwrap();
    put_when_possible(&store, "/t/b").await;
    next_revision(&mut watch).await;
}

#[tokio::test]
async fn a_watch_misses_nothing_over_a_restart() {
    let mut etcd = start(1).await;
    let store = connect(&etcd);
    let mut seen = put(&store, "/t/a", "1").await;
    let mut watch = store.watch("/t/", Revision(seen.0 - 1));
    assert_eq!(next_revision(&mut watch).await, seen);
    for _ in 0..3 {
        etcd.kill(0);
        while !matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }) {}
        etcd.restart(0).await.unwrap();
        // Another connection, so that the changes are made before the watch is back.
        let other = connect(&etcd);
        put_when_possible(&other, "/t/a").await;
        let last = put_when_possible(&other, "/t/b").await;
        all_arrive(&mut watch, seen, last).await;
        seen = last;
    }
}

#[tokio::test]
async fn a_watch_of_nothing_rests_and_one_on_a_member_that_hangs_moves() {
    let mut etcd = start(3).await;
    let store = connect(&etcd);
    let before = put(&store, "/elsewhere", "1").await;
    let mut watch = store.watch("/t/", before);
    assert_eq!(next(&mut watch).await, WatchEvent::Progress { revision: before });
    assert!(timeout(Duration::from_secs(6), watch.next()).await.is_err(), "a member that is there is not left");

    etcd.pause(0);
    while !matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }) {}
    let revision = put_when_possible(&store, "/t/a").await;
    all_arrive(&mut watch, before, revision).await;
    etcd.resume(0);
}

#[tokio::test]
async fn a_watch_that_begins_before_a_compaction_says_so_and_ends() {
    let etcd = start(1).await;
    let store = connect(&etcd);
    let first = put(&store, "/t/a", "1").await;
    put(&store, "/t/a", "2").await;
    let last = put(&store, "/t/a", "3").await;
    compact(&etcd, last).await;
    let mut watch = store.watch("/t/", first);
    let mut event = next(&mut watch).await;
    if let WatchEvent::Progress { .. } = event {
        event = next(&mut watch).await;
    }
    assert_eq!(event, WatchEvent::Compacted { revision: last });
    assert_eq!(watch.next().await, None);
    let mut watch = store.watch("/t/", Revision(last.0 - 1));
    assert_eq!(next_revision(&mut watch).await, last);
}

#[tokio::test]
async fn a_session_revoked_behind_its_back_is_lost() {
    let etcd = start(1).await;
    let store = connect(&etcd);
    let session = store.open_session(Duration::from_secs(2)).await.unwrap();
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    client.lease_revoke(i64::try_from(session.id().0).unwrap()).await.unwrap();
    timeout(PATIENCE, session.lost()).await.expect("the loss is noticed");
}

#[tokio::test]
async fn a_session_is_doubtful_while_etcd_hangs_and_revives_with_it() {
    let mut etcd = start(1).await;
    let store = connect(&etcd);
    let session = store.open_session(Duration::from_secs(60)).await.unwrap();
    let short = store.open_session(Duration::from_secs(2)).await.unwrap();
    let mut states = short.states();
    assert!(timeout(short.ttl() * 2, states.changed()).await.is_err(), "kept alive beyond its first time to live");
    etcd.pause(0);
    timeout(PATIENCE, states.wait_for(|state| *state == SessionState::Doubtful)).await.unwrap().unwrap();
    assert_eq!(session.state(), SessionState::Alive, "its time has not run out");
    // A restarted etcd gives every lease its full time again.
    etcd.restart(0).await.unwrap();
    timeout(PATIENCE, states.wait_for(|state| *state == SessionState::Alive)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_mirror_survives_a_restart_and_a_compaction() {
    let mut etcd = start(1).await;
    let keys = Keys::default();
    let store = connect(&etcd);
    let mirror = Mirror::start(Arc::new(store.clone()), keys.clone(), MirrorOptions::default());
    let records = Records::new(Arc::new(store), keys);
    register(&records, 1).await;
    wait(&mirror, |view| view.nodes.contains_key(&NodeId(1))).await;

    etcd.kill(0);
    let stale = wait(&mirror, |view| matches!(view.freshness, Freshness::Stale { .. })).await;
    assert!(stale.nodes.contains_key(&NodeId(1)), "what was known stays");

    etcd.restart(0).await.unwrap();
    let other = Records::new(Arc::new(connect(&etcd)), records.keys().clone());
    register(&other, 2).await;
    let revision = register(&other, 3).await;
    compact(&etcd, revision).await;
    let view = wait(&mirror, |view| view.is_current() && view.nodes.len() == 3).await;
    assert!(view.revision >= revision);

    let revision = register(&other, 4).await;
    assert_eq!(timeout(PATIENCE, mirror.seen(revision)).await.unwrap().nodes.len(), 4);
}

#[tokio::test]
async fn a_mirror_does_not_follow_an_etcd_that_was_set_back() {
    let mut etcd = start(1).await;
    let store: Arc<dyn MetaStore> = Arc::new(connect(&etcd));
    let mirror = Mirror::start(Arc::clone(&store), Keys::default(), MirrorOptions::default());
    let records = Records::new(store, Keys::default());
    for node in 1..=3 {
        register(&records, node).await;
    }
    let before = wait(&mirror, |view| view.nodes.len() == 3).await;
    etcd.restart_empty().await.unwrap();
    let view = wait(&mirror, |view| matches!(view.freshness, Freshness::Regressed { .. })).await;
    assert_eq!((&view.nodes, view.revision), (&before.nodes, before.revision));
}

#[tokio::test]
async fn a_key_that_is_not_text_is_not_seen() {
    let etcd = start(1).await;
    let store = connect(&etcd);
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    let mut watch = store.watch("/t/", Revision(1));
    client.put(b"/t/\xff".to_vec(), "", None).await.unwrap();
    let revision = put(&store, "/t/a", "1").await;
    assert_eq!(next_revision(&mut watch).await, revision);
    assert_eq!(store.list("/t/").await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_login_that_etcd_forgot_is_made_again() {
    let etcd = start(1).await;
    let mut admin = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    admin.user_add("root", "secret", None).await.unwrap();
    admin.role_add("root").await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    let endpoints = etcd.endpoints();
    let with = |password: &str| {
        let user = Some(EtcdUser { name: "root".to_owned(), password: password.to_owned() });
        EtcdStore::new(EtcdOptions { user, ..EtcdOptions::new(endpoints.clone()) }).unwrap()
    };
    for refused in [connect(&etcd), with("wrong")] {
        let error = refused.get("/t/a").await.unwrap_err();
        assert!(matches!(error, MetaError::Invalid { .. }), "{error:?}");
        let error = refused.txn(Txn::new().put("/t/a", "1")).await.unwrap_err();
        assert!(matches!(error, MetaError::Invalid { .. }), "{error:?}");
    }
    let store = with("secret");
    put(&store, "/t/a", "1").await;

    forget_logins(&etcd).await;
    assert!(store.get("/t/a").await.unwrap().is_some(), "a read logs in and goes on");
    forget_logins(&etcd).await;
    let error = store.txn(Txn::new().put("/t/a", "2")).await.unwrap_err();
    assert!(matches!(error, MetaError::Unavailable { .. }), "{error:?}");
    put(&store, "/t/a", "3").await;
    let session = store.open_session(Duration::from_secs(2)).await.unwrap();
    forget_logins(&etcd).await;
    assert!(timeout(session.ttl() * 2, session.lost()).await.is_err());
    assert_eq!(session.state(), SessionState::Alive);
}

/// Sets the password to what it is: etcd then forgets who has logged in with it.
async fn forget_logins(etcd: &EtcdCluster) {
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let mut admin = etcd_client::Client::connect(etcd.endpoints(), Some(options)).await.unwrap();
    admin.user_change_password("root", "secret").await.unwrap();
}

#[tokio::test]
async fn etcd_and_its_client_know_each_other_by_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let authority = authority();
    let (certificate, key) = certificate(&authority);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = free.local_addr().unwrap().to_string();
    drop(free);
    let url = format!("https://{endpoint}");
    let etcd = Command::new("etcd")
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", "http://127.0.0.1:0", "--client-cert-auth"])
        .arg("--trusted-ca-file")
        .arg(file("ca.pem", &authority.pem()))
        .arg("--cert-file")
        .arg(file("cert.pem", &certificate))
        .arg("--key-file")
        .arg(file("key.pem", &key))
        .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let _etcd = KillOnDrop(etcd);
    let with = |tls| EtcdStore::new(EtcdOptions { tls, ..EtcdOptions::new([endpoint.clone()]) }).unwrap();
    let ca = authority.pem().into_bytes();
    let known = EtcdTls { ca: ca.clone(), identity: Some((certificate.into_bytes(), key.into_bytes())), domain: None };
    timeout(PATIENCE, put_when_possible(&with(Some(known.clone())), "/t/a")).await.unwrap();

    let unknown = EtcdTls { identity: None, ..known.clone() };
    let wary = EtcdTls { ca: self::authority().pem().into_bytes(), ..known };
    for tls in [Some(unknown), Some(wary), None] {
        let error = with(tls).get("/t/a").await.unwrap_err();
        assert!(matches!(error, MetaError::Unavailable { .. }), "{error:?}");
    }
}

struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

async fn wait(mirror: &Mirror, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
    timeout(PATIENCE, mirror.until(wanted)).await.unwrap_or_else(|_| panic!("still {:?}", mirror.view()))
}

async fn register(records: &Records, node: u32) -> Revision {
    let record = NodeRecord {
        storage: StorageId(u128::from(node)),
        run: None,
        nonce: 0,
        prev_storages: Vec::new(),
        poisoned: false,
        addresses: NodeAddresses::default(),
        zone: String::new(),
        flush: FlushPolicy::Always,
    };
    let key = records.key(&Key::Node(NodeId(node)));
    match records.store().txn(Txn::new().put(key, encode(&record))).await.unwrap() {
        TxnOutcome::Succeeded { revision } => revision,
        TxnOutcome::Lost(lost) => panic!("{lost:?}"),
    }
}

async fn compact(etcd: &EtcdCluster, revision: Revision) {
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    client.compact(i64::try_from(revision.0).unwrap(), None).await.unwrap();
}

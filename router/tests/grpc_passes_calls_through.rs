//! Calls of gRPC: what they ask reaches the cluster as it was asked, and what the cluster says reaches them.

mod harness;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use harness::mock_cluster::{MockCluster, Verdict, key_of_group, until};
use harness::{grpc, http, router, router_with};
use simplekv_client::{Failure, GroupId, Position, ReadPolicy};
use simplekv_proto::convert::failure_in_details;
use simplekv_proto::v1;
use simplekv_proto::v1::value::Kind;
use simplekv_router::{Limits, Router};
use simplekv_types::{Epoch, Lineage, Lsn, SlotMapVersion};
use tonic::{Code, Status};

/// Longer than anything takes, shorter than whoever waits for a test.
const LONG: Duration = Duration::from_secs(60);

fn told(status: &Status) -> (Code, Failure) {
    (status.code(), failure_in_details(status.details()).unwrap_or_else(|| panic!("no failure in {status:?}")))
}

/// Every operation is one record of the one group's log.
fn count_records(cluster: &MockCluster) {
    let end = AtomicU64::new(0);
    cluster.script(move |_| {
        let end = Lsn(end.fetch_add(1, Ordering::Relaxed) + 1);
        let (group, slots, lineage, epoch) = (GroupId(1), SlotMapVersion(1), Lineage(0), Epoch(1));
        Verdict::ServeAt(Position { group, slots, lineage, epoch, end })
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_through_as_they_are() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let mut kv = grpc::kv(&router).await;
    let value: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    for group in [1, 2] {
        let key = key_of_group(group, 2, 0);
        assert!(!kv.get(grpc::get(&key)).await.unwrap().into_inner().found);
        kv.set(grpc::set(&key, value.clone())).await.unwrap();
        let got = kv.get(grpc::get(&key)).await.unwrap().into_inner();
        assert!(got.found && got.value == value);
        assert_eq!(cluster.seen().pop().unwrap().node as usize, group, "its group was asked");
        let delete = v1::DeleteRequest { key: key.into(), session: String::new() };
        assert!(kv.delete(delete.clone()).await.unwrap().into_inner().deleted);
        assert!(!kv.delete(delete).await.unwrap().into_inner().deleted);
    }
    kv.set(v1::SetRequest { ttl_ms: 60_000, ..grpc::set("k", "v") }).await.unwrap();
    for (line, answer) in [
        ("PTTL k", Kind::Int(60_000)),
        ("APPEND k w", Kind::Int(2)),
        ("GET k", Kind::Bulk("vw".into())),
        ("MSET foo 1 foo2 2 bar 3", Kind::Ok(v1::Unit {})),
        ("DBSIZE", Kind::Int(4)),
        ("DEL foo foo2 bar", Kind::Int(3)),
        ("BLPOP nothing 0.01", Kind::NullArray(v1::Unit {})),
    ] {
        let answered = kv.execute(grpc::execute(line)).await.unwrap().into_inner();
        assert_eq!(answered.value.unwrap().kind, Some(answer), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_is_read_as_its_call_says() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    count_records(&cluster);
    let router = router(&cluster).await;
    let mut kv = grpc::kv(&router).await;
    let mut session = kv.set(grpc::set("k", "v")).await.unwrap().into_inner().session;
    assert_eq!(session, "s1-g1.1.0.1.1");
    let (wait, max_lag) = (Duration::from_millis(50), Duration::from_secs(2));
    for policy in [
        ReadPolicy::Linearizable,
        ReadPolicy::Leader,
        ReadPolicy::Quorum,
        ReadPolicy::Session { wait },
        ReadPolicy::Bounded { max_lag },
        ReadPolicy::Any,
    ] {
        let seen_before: Option<u64> = session.rsplit('.').next().unwrap().parse().ok();
        let get = v1::GetRequest { read: Some(policy.into()), session, ..grpc::get("k") };
        let got = kv.get(get).await.unwrap().into_inner();
        let read = cluster.seen_named("GET").pop().unwrap();
        assert_eq!((&got.value[..], read.policy), (&b"v"[..], policy));
        if matches!(policy, ReadPolicy::Session { .. }) {
            assert_eq!(read.floor.map(|floor| floor.end.0), seen_before);
        }
        session = got.session;
    }
    assert_eq!(session, "s1-g1.1.0.1.7", "each answer says where it was read");
    kv.get(grpc::get("k")).await.unwrap();
    assert_eq!(cluster.seen_named("GET").pop().unwrap().policy, ReadPolicy::Linearizable);

    let asked = cluster.seen().len();
    let refused = kv.get(v1::GetRequest { session: "s9".into(), ..grpc::get("k") }).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "a session token begins with `s1`"));
    assert_eq!(cluster.seen().len(), asked, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_keeps_the_identity_its_caller_gave_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut kv = grpc::kv(&router).await;
    let dedupe = v1::Dedupe { seq: 3, ack_below: 1, deadline: 2_000_000, attempt: 1 };
    let incr = v1::ExecuteRequest { client_id: vec![9; 16].into(), dedupe: Some(dedupe), ..grpc::execute("INCR n") };
    for _ in 0..3 {
        let answered = kv.execute(incr.clone()).await.unwrap().into_inner();
        assert_eq!(answered.value.unwrap().kind, Some(Kind::Int(1)), "it was done once");
    }
    let seen = cluster.seen_named("INCR").pop().unwrap();
    assert_eq!((seen.client, seen.dedupe.unwrap().seq.0), (vec![9; 16], 3));
    let nameless = kv.execute(v1::ExecuteRequest { client_id: Bytes::new(), ..incr }).await.unwrap_err();
    assert_eq!((nameless.code(), nameless.message()), (Code::InvalidArgument, "`client_id` is missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router_with(&cluster, Limits { request_bytes: 4096, ..Limits::default() }).await;
    let mut kv = grpc::kv(&router).await;
    for line in ["NOSUCH k", "GET", "PING", "SUBSCRIBE c", "INCRBY k x"] {
        let (code, failure) = told(&kv.execute(grpc::execute(line)).await.unwrap_err());
        assert!(matches!(failure, Failure::Command(_)), "{line}: {failure:?}");
        assert_eq!(code, Code::InvalidArgument);
    }
    let (code, failure) = told(&kv.execute(grpc::execute("RENAME foo foo2")).await.unwrap_err());
    assert_eq!((code, failure), (Code::InvalidArgument, Failure::CrossSlot));
    // One that is a little too long, and one that is not even read.
    for bytes in [5000, 1_000_000] {
        let (code, failure) = told(&kv.set(grpc::set("k", vec![0; bytes])).await.unwrap_err());
        let Failure::TooLarge { what: "request", size, limit: 4096 } = failure else { panic!("{failure:?}") };
        assert!(code == Code::InvalidArgument && size as usize > bytes, "{size}");
    }
    assert!(cluster.seen().is_empty(), "{:?}", cluster.seen());
    kv.set(grpc::set("k", vec![0; 4000])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_not_sent() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { output_bytes: 4096, ..Limits::default() }).await;
    let mut kv = grpc::kv(&router).await;
    kv.set(grpc::set("k", vec![b'x'; 5000])).await.unwrap();
    let (code, failure) = told(&kv.get(grpc::get("k")).await.unwrap_err());
    assert!(matches!(failure, Failure::TooLarge { what: "reply", limit: 4096, .. }), "{failure:?}");
    assert_eq!(code, Code::InvalidArgument);
    // It was done, which who hears of an answer that is too large must not take for impossible.
    let (code, failure) = told(&kv.execute(grpc::execute("GETDEL k")).await.unwrap_err());
    assert!(code == Code::Unknown && failure.may_have_applied(), "{failure:?}");
    assert!(!kv.get(grpc::get("k")).await.unwrap().into_inner().found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_away_is_not_noticed() {
    let mut cluster = MockCluster::start(2, &[&[1, 2]]);
    let router = router_with(&cluster, Limits { request_timeout: LONG, ..Limits::default() }).await;
    let mut kv = grpc::kv(&router).await;
    let mut first = true;
    cluster.script(move |op| match op.name() {
        "INCR" if std::mem::take(&mut first) => Verdict::ServeAndHangUp,
        _ => Verdict::Serve,
    });
    let incr = || grpc::execute("INCR n");
    let answered = kv.execute(incr()).await.unwrap().into_inner();
    assert_eq!(answered.value.unwrap().kind, Some(Kind::Int(1)), "tried again, and done once");
    assert_eq!(cluster.seen_named("INCR").len(), 2);
    cluster.kill(1);
    cluster.elect(1, 2);
    let answered = kv.execute(incr()).await.unwrap().into_inner();
    assert_eq!(answered.value.unwrap().kind, Some(Kind::Int(2)));
    assert_eq!(cluster.seen_named("INCR").pop().unwrap().node, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_owns_is_waited_for_only_so_long() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { request_timeout: Duration::from_millis(200), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut kv = grpc::kv(&router).await;
    cluster.change(|topology| topology.slots.clear());
    router.client().topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let (code, failure) = told(&kv.set(grpc::set("k", "v")).await.unwrap_err());
    assert!(matches!(failure, Failure::SlotUnserved { .. }) && code == Code::Unavailable, "{failure:?}");
}

/// The status of a call that may take no longer than this. Asked without a client that would give up by itself at the same time.
async fn within(router: &Router, timeout: &str, line: &str) -> i32 {
    let reply = grpc::web(router, "Execute", &[("grpc-timeout", timeout)], &grpc::execute(line)).await;
    reply.status.unwrap_or_else(|| panic!("{reply:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_caller_waits_no_longer() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { request_timeout: LONG * 10, ..Limits::default() }).await;
    assert_eq!(within(&router, "60S", "SET k v").await, Code::Ok as i32);
    cluster.script(|_| Verdict::ServeSilently);
    for line in ["GET k", "STRLEN k", "MGET foo foo2"] {
        assert_eq!(within(&router, "200m", line).await, Code::DeadlineExceeded as i32, "{line}");
    }
    assert_eq!(within(&router, "200m", "MSET foo 1 foo2 2").await, Code::Unknown as i32, "a part may have been done");
    // On a busy machine the time may be up before it is sent; then it was certainly not done.
    loop {
        let status = within(&router, "200m", "INCR n").await;
        if status == Code::Unknown as i32 {
            break;
        }
        assert_eq!((status, cluster.seen_named("INCR").len()), (Code::DeadlineExceeded as i32, 0));
    }
    cluster.script(|_| Verdict::Serve);
    assert_eq!(within(&router, "200m", "BLPOP nothing 0").await, Code::Ok as i32, "it found nothing until then");
    assert_eq!(within(&router, "soon", "GET k").await, Code::InvalidArgument as i32);
    cluster.elect(1, 0);
    router.client().topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    assert_eq!(within(&router, "200m", "INCR n").await, Code::Unavailable as i32, "it was certainly not done");
}

/// Waits until the router says that so many requests are under way.
async fn under_way(router: &Router, count: usize) {
    let line = format!("simplekv_router_in_flight_requests {count}\n");
    let look = async { while !http::ask(router, "GET /metrics", b"").await.text().contains(&line) {} };
    tokio::time::timeout(LONG, look).await.unwrap_or_else(|_| panic!("never were {count} requests under way"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_lets_go_of_everything() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { request_timeout: LONG * 10, ..Limits::default() }).await;
    let mut kv = grpc::kv(&router).await;
    kv.set(grpc::set("k", "v")).await.unwrap();
    cluster.world.answers.send_replace(false);
    let mut other = kv.clone();
    let call = tokio::spawn(async move { other.execute(grpc::execute("STRLEN k")).await });
    until("it is asked", || !cluster.seen_named("STRLEN").is_empty()).await;
    under_way(&router, 1).await;
    call.abort();
    under_way(&router, 0).await;
    cluster.world.answers.send_replace(true);
    assert_eq!(kv.get(grpc::get("k")).await.unwrap().into_inner().value, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_wait_for_elements_until_the_router_stops() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let kv = grpc::kv(&router).await;
    let call = |line: &'static str| {
        let mut kv = kv.clone();
        tokio::spawn(async move { kv.execute(grpc::execute(line)).await })
    };
    let waiting = call("BLPOP queue 0");
    until("it is tried", || !cluster.seen_named("BLPOP").is_empty()).await;
    call("RPUSH queue job").await.unwrap().unwrap();
    let found = waiting.await.unwrap().unwrap().into_inner().value.unwrap().kind;
    let Some(Kind::Array(found)) = found else { panic!("{found:?}") };
    let words: Vec<_> = found.values.into_iter().map(|value| value.kind).collect();
    assert_eq!(words, ["queue", "job"].map(|word| Some(Kind::Bulk(word.into()))));

    let before = cluster.seen_named("BLPOP").len();
    let waiting = call("BLPOP queue 0");
    until("it is tried again", || cluster.seen_named("BLPOP").len() > before).await;
    tokio::time::timeout(LONG, router.shutdown()).await.unwrap();
    let (code, failure) = told(&waiting.await.unwrap().unwrap_err());
    assert!(code == Code::Unknown && failure.may_have_applied(), "a try may have been under way: {failure:?}");
}

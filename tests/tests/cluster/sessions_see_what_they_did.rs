//! What a session has read and written it sees again: on any replica, in another process, through another protocol, whoever is cut off
//! or dies. Nothing older is ever shown under a policy that does not allow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use simplekv_client::{Client, Error, ReadPolicy, Session, Topology};
use simplekv_proto::v1;
use simplekv_proto::v1::kv_client::KvClient;
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::{GroupId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::client;

const G1: GroupId = GroupId(1);

/// A client that asks this node first whenever it may.
async fn client_near(cluster: &Cluster, node: NodeId) -> Client {
    let builder = cluster.seeds().iter().fold(Client::builder(), |builder, seed| builder.seed(seed));
    builder.zone(node.to_string()).timeout(Duration::from_secs(60)).build().await.unwrap()
}

async fn roles(cluster: &Cluster) -> (NodeId, Vec<NodeId>) {
    let leader = cluster.leader(G1).await.unwrap().unwrap();
    (leader, cluster.nodes.iter().map(|node| node.id).filter(|&node| node != leader).collect())
}

/// How many reads a node has answered while another led.
async fn follower_reads(cluster: &mut Cluster, node: NodeId) -> u64 {
    let (_, text) = crate::http(&cluster.node(node).admin.clone(), "/metrics").await;
    let line = text.lines().find(|line| line.starts_with("simplekv_follower_reads_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What an HTTP interface answers: the status, the session's token and the body.
struct Answer {
    status: u16,
    token: String,
    body: String,
}

async fn http(address: &str, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let token = head.lines().find_map(|line| line.strip_prefix("x-simplekv-session: ")).unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, token: token.to_owned(), body: body.to_owned() }
}

async fn put(router: &str, value: &str) -> String {
    let put = http(router, "PUT /v2/keys/k", &[], value).await;
    assert_eq!((put.status, put.token.is_empty()), (204, false), "{}", put.body);
    put.token
}

async fn value(session: &Session) -> String {
    let value = session.get("k").await.unwrap().unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

fn bulk(text: &str) -> Frame {
    Frame::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

/// Asks one node in one session, over the Redis protocol.
async fn ask_within(node: &str, read: &str, key: &str) -> Frame {
    let mut connection = RespConnection::open(node).await.unwrap();
    assert_eq!(connection.ask(&format!("CLIENT READ {read}")).await.unwrap(), Frame::Status("OK".into()), "{read}");
    connection.ask(&format!("GET {key}")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_from_http_to_a_client_that_reads_a_follower() {
    let mut cluster = Cluster::start(&Shape::three_nodes().in_zones()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let (_, followers) = roles(&cluster).await;
    for &follower in &followers {
        let kv = client_near(&cluster, follower).await;
        let before = follower_reads(&mut cluster, follower).await;
        for n in 0..100 {
            let written = format!("{follower}-{n}");
            let token = put(&router.http, &written).await;
            let session = kv.resume(token.parse().unwrap());
            assert_eq!(value(&session).await, written, "{token}");
        }
        let answered = follower_reads(&mut cluster, follower).await - before;
        println!("{follower} answered {answered} of 100 reads that followed a write at once");
        assert!(answered > 50, "{follower} answered {answered} of 100 reads itself");
    }
    for attempt in 1.. {
        if the_follower_is_cut_off(&mut cluster, &router.http, followers[0]).await {
            break;
        }
        assert!(attempt < 10, "{} has found every write in its sockets", followers[0]);
    }
}

/// The follower stands still while the others go on without it; then it wakes up alone, with old data and a client at its side. False if
/// its data were not old: whatever its leader still sent is in its sockets.
async fn the_follower_is_cut_off(cluster: &mut Cluster, router: &str, cut_off: NodeId) -> bool {
    let kv = client_near(cluster, cut_off).await;
    let old = put(router, "old").await;
    let session = kv.resume(old.parse().unwrap());
    assert_eq!(value(&session).await, "old");

    cluster.node(cut_off).process.pause().unwrap();
    assert_eq!(value(&session).await, "old", "whoever is preferred does not answer, so somebody else does");
    // Until then its leader goes on sending, and it would find everything in its sockets.
    let is_out = |topology: &Arc<Topology>| !topology.group(G1).unwrap().in_sync.contains(&cut_off);
    kv.topology().wait_for(is_out).await.unwrap();
    let new = put(router, "new").await;
    let session = kv.resume(new.parse().unwrap());
    assert_eq!(value(&session).await, "new");

    let others: Vec<NodeId> = cluster.nodes.iter().map(|node| node.id).filter(|&node| node != cut_off).collect();
    for &other in &others {
        cluster.node(other).process.pause().unwrap();
    }
    cluster.node(cut_off).process.resume().unwrap();
    let address = cluster.node(cut_off).resp.clone();
    let has = ask_within(&address, "ANY", "k").await;
    if has == bulk("new") {
        for &other in &others {
            cluster.node(other).process.resume().unwrap();
        }
        cluster.healthy().await.unwrap();
        return false;
    }
    assert_eq!(has, bulk("old"), "that is what it has");
    assert_eq!(ask_within(&address, &format!("SESSION {old}"), "k").await, bulk("old"), "who has seen no more may");
    for read in [format!("SESSION {new}"), "LINEARIZABLE".into(), "LEADER".into(), "QUORUM".into(), "BOUNDED 1".into()]
    {
        let refused = ask_within(&address, &read, "k").await;
        assert!(matches!(&refused, Frame::Error(text) if !text.starts_with(b"ERR")), "{read}: {refused:?}");
    }
    unary_refuses(&cluster.node(cut_off).grpc.clone(), &new).await;
    let read = tokio::spawn({
        let session = session.clone();
        async move { value(&session).await }
    });
    for &other in &others {
        cluster.node(other).process.resume().unwrap();
    }
    assert_eq!(read.await.unwrap(), "new", "it waits for somebody who knows, and shows nothing older meanwhile");
    cluster.healthy().await.unwrap();
    assert_eq!(value(&session).await, "new");
    true
}

async fn unary_refuses(address: &str, token: &str) {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let session = v1::ReadPolicy { kind: v1::read_policy::Kind::Session.into(), millis: 10 };
    let get = v1::GetRequest { key: Bytes::from_static(b"k"), read: Some(session), session: token.to_owned() };
    let refused = KvClient::new(channel).get(get).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
}

/// One session over every door there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_through_every_door() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let (leader, followers) = roles(&cluster).await;
    let follower = cluster.node(followers[0]).resp.clone();

    // Through the router: the connection's own session.
    let mut redis = RespConnection::open(&router.resp).await.unwrap();
    for line in ["CLIENT READ SESSION", "SET a 1", "SET b 2"] {
        redis.push(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }
    redis.push(&[b"CLIENT", b"TOKEN"]);
    let Some(Frame::Bulk(token)) = redis.exchange(4).await.unwrap().pop() else { panic!("a token is text") };
    let token = String::from_utf8(token.to_vec()).unwrap();
    assert!(token.starts_with("s1-g1."), "{token}");
    for n in 0..100 {
        redis.push(&[b"SET", b"a", n.to_string().as_bytes()]);
        redis.push(&[b"GET", b"a"]);
        assert_eq!(redis.exchange(2).await.unwrap()[1], bulk(&n.to_string()), "a read behind a write sees it");
        assert_eq!(redis.ask("GET a").await.unwrap(), bulk(&n.to_string()));
    }

    // To a follower, which answers itself once it has caught up.
    wait::until("the follower has caught up", async || {
        (ask_within(&follower, &format!("SESSION {token}"), "b").await == bulk("2")).then_some(())
    })
    .await;
    let mut node = RespConnection::open(&follower).await.unwrap();
    node.ask(&format!("CLIENT READ SESSION {token}")).await.unwrap();
    let Frame::Error(moved) = node.ask("SET b 3").await.unwrap() else { panic!("a follower writes nothing") };
    assert!(moved.starts_with(b"MOVED "), "{moved:?}");
    assert_eq!(node.ask("READONLY").await.unwrap(), Frame::Status("OK".into()));
    assert_eq!(node.ask("GET b").await.unwrap(), bulk("2"), "linearizable, under the follower's lease");

    // gRPC, one call at a time.
    let address = cluster.node(leader).grpc.clone();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut kv = KvClient::new(channel);
    let key = Bytes::from_static(b"b");
    let set = v1::SetRequest { key: key.clone(), value: Bytes::from_static(b"3"), ttl_ms: 0, session: token };
    let token = kv.set(set).await.unwrap().into_inner().session;
    let session = v1::ReadPolicy { kind: v1::read_policy::Kind::Session.into(), millis: 20 };
    let get = v1::GetRequest { key, read: Some(session), session: token };
    let got = kv.get(get).await.unwrap().into_inner();
    assert_eq!(&got.value[..], b"3");

    // HTTP, and a token that is none.
    let headers = [("X-SimpleKV-Session", got.session.as_str())];
    let got = http(&router.http, "GET /v2/keys/b", &headers, "").await;
    assert_eq!((got.status, got.body.as_str()), (200, "3"));
    let bounded = http(&router.http, "GET /v2/keys/b?read=bounded=2s", &[], "").await;
    assert_eq!((bounded.status, bounded.token.is_empty()), (200, false));
    let bad = http(&router.http, "GET /v2/keys/b", &[("X-SimpleKV-Session", "s1-x")], "").await;
    assert_eq!((bad.status, bad.body.contains("bad_session")), (400, true), "{}", bad.body);
    lost(&cluster, &router.http, &got.token).await;
}

/// A token of a history that this cluster does not have.
async fn lost(cluster: &Cluster, router: &str, token: &str) {
    let mut parts: Vec<&str> = token.split('.').collect();
    let epoch = (parts[3].parse::<u64>().unwrap() + 7).to_string();
    parts[3] = &epoch;
    let forged = parts.join(".");
    let refused = http(router, "GET /v2/keys/b", &[("X-SimpleKV-Session", &forged)], "").await;
    assert_eq!((refused.status, refused.body.contains("token_lost")), (412, true), "{}", refused.body);
    let kv = client(cluster).await;
    let error = kv.resume(forged.parse().unwrap()).get("b").await.unwrap_err();
    assert!(matches!(error, Error::TokenLost { group: G1 }), "{error}");
    for node in &cluster.nodes {
        let Frame::Error(text) = ask_within(&node.resp, &format!("SESSION {forged}"), "b").await else {
            panic!("{} answers", node.id)
        };
        // One that has not applied as much yet sends its client to one that has.
        assert!(text.starts_with(b"TOKENLOST ") || text.starts_with(b"MOVED "), "{}: {text:?}", node.id);
    }
}

/// What is known to have been acknowledged.
#[derive(Default)]
struct Register {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// Reads in a session as long as it is told to, writing now and then. Returns how often it read.
async fn live(kv: Client, register: Arc<Register>, own: String) -> u64 {
    let session = kv.session();
    let (mut seen, mut written, mut reads) = (0, 0_u64, 0);
    while !register.stop.load(Ordering::SeqCst) {
        if reads % 10 == 0 {
            written += 1;
            session.set(&*own, written.to_string()).await.unwrap();
        }
        let mine = session.get(&*own).await.unwrap().unwrap();
        assert_eq!(&mine[..], written.to_string().as_bytes(), "a session sees what it wrote");
        let read = number(&session.get("k").await.unwrap().unwrap());
        assert!(read >= seen, "a session does not go back: {read} after {seen}");
        seen = read;
        reads += 1;
    }
    reads
}

/// Reads what may be a second old, and remembers what was acknowledged a second ago.
async fn live_bounded(kv: Client, register: Arc<Register>) -> u64 {
    const MAX_LAG: Duration = Duration::from_secs(1);
    let mut known: Vec<(tokio::time::Instant, u64)> = Vec::new();
    let mut reads = 0;
    while !register.stop.load(Ordering::SeqCst) {
        let begun = tokio::time::Instant::now();
        known.push((begun, register.acknowledged.load(Ordering::SeqCst)));
        let floor = known.iter().rev().find(|(at, _)| begun - *at > MAX_LAG).map_or(0, |(_, value)| *value);
        let get = kv.get("k").read(ReadPolicy::Bounded { max_lag: MAX_LAG });
        let read = number(&get.await.unwrap().unwrap());
        assert!(read >= floor, "read {read} although {floor} was acknowledged more than {MAX_LAG:?} before");
        reads += 1;
    }
    reads
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_go_back_while_leaders_come_and_go() {
    let mut cluster = Cluster::start(&Shape::three_nodes().in_zones()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "0").await.unwrap();
    let register = Arc::new(Register::default());
    let mut readers = JoinSet::new();
    for node in cluster.nodes.iter().map(|node| node.id) {
        let near = client_near(&cluster, node).await;
        readers.spawn(live(near.clone(), Arc::clone(&register), format!("{{k}}{node}")));
        readers.spawn(live_bounded(near, Arc::clone(&register)));
    }
    let writer = tokio::spawn({
        let register = Arc::clone(&register);
        async move {
            let mut n = 0_u64;
            while !register.stop.load(Ordering::SeqCst) {
                n += 1;
                kv.set("k", n.to_string()).await.unwrap();
                register.acknowledged.store(n, Ordering::SeqCst);
            }
        }
    });
    for round in 0..4 {
        let leader = cluster.leader(G1).await.unwrap().unwrap();
        if round % 2 == 0 {
            cluster.node(leader).process.pause().unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            cluster.node(leader).process.resume().unwrap();
        } else {
            cluster.node(leader).process.kill().unwrap();
            cluster.node(leader).process.start().unwrap();
        }
        cluster.healthy().await.unwrap();
    }
    register.stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    let mut reads = Vec::new();
    while let Some(count) = readers.join_next().await {
        reads.push(count.unwrap());
    }
    println!("{reads:?} reads, {} writes", register.acknowledged.load(Ordering::SeqCst));
    assert!(reads.iter().all(|&count| count > 100), "everybody goes on reading: {reads:?}");
}

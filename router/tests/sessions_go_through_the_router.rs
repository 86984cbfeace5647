//! What a connection reads follows on what it has read and written; its token goes to the next connection, over either protocol.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

mod harness;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::mock_cluster::{MockCluster, Seen, Verdict};
use harness::{Redis, router};
use simplekv_client::{Failure, GroupId, Position, ReadPolicy};
use simplekv_router::Router;
use simplekv_types::{Epoch, Lineage, Lsn, SlotMapVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Every operation is one record of the one group's log.
fn count_records(cluster: &MockCluster) {
    let end = AtomicU64::new(0);
    cluster.script(move |_| {
        let end = Lsn(end.fetch_add(1, Ordering::Relaxed) + 1);
        let (group, slots, lineage, epoch) = (GroupId(1), SlotMapVersion(1), Lineage(0), Epoch(1));
        Verdict::ServeAt(Position { group, slots, lineage, epoch, end })
    });
}

fn last_read(cluster: &MockCluster) -> Seen {
    cluster.seen_named("GET").pop().unwrap()
}

fn floor(op: &Seen) -> Option<u64> {
    op.floor.map(|floor| floor.end.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_reads_as_it_has_chosen() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    count_records(&cluster);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask_all(&["SET k v", "GET k"]).await;
    assert_eq!(redis.ask("GET k").await, "v");
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Linearizable);
    let max_lag = Duration::from_secs(2);
    for (line, policy) in [
        ("CLIENT READ LEADER", ReadPolicy::Leader),
        ("CLIENT READ QUORUM", ReadPolicy::Quorum),
        ("CLIENT READ ANY", ReadPolicy::Any),
        ("CLIENT READ SESSION", ReadPolicy::SESSION),
    ] {
        assert_eq!(redis.ask_all(&[line, "GET k"]).await, ["+OK", "v"]);
        assert_eq!(last_read(&cluster).policy, policy, "{line}");
    }
    assert_eq!(redis.ask_all(&["CLIENT READ BOUNDED 2s", "GET k"]).await, ["+OK", "v"]);
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Bounded { max_lag });
    for line in ["CLIENT READ SOON", "CLIENT READ BOUNDED", "CLIENT READ SESSION xyz"] {
        assert!(redis.ask(line).await.starts_with("-ERR "), "{line}");
    }
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Bounded { max_lag }, "nonsense changes nothing");
    assert_eq!(redis.ask_all(&["RESET", "GET k", "CLIENT TOKEN"]).await[..2], ["+RESET", "v"]);
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Linearizable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connections_token_covers_everything_before_it() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    count_records(&cluster);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("CLIENT TOKEN").await, "s1");
    let lines = ["SET a 1", "SET b 2", "SET c 3", "CLIENT TOKEN", "SET d 4", "CLIENT TOKEN"];
    let replies = redis.ask_all(&lines).await;
    assert_eq!([&*replies[3], &*replies[5]], ["s1-g1.1.0.1.3", "s1-g1.1.0.1.4"]);

    let mut other = Redis::connect(&router).await;
    let resume = format!("CLIENT READ SESSION {}", replies[5]);
    assert_eq!(other.ask_all(&[&resume, "GET a"]).await, ["+OK", "1"]);
    assert_eq!(floor(&last_read(&cluster)), Some(4));
    assert_eq!(other.ask("CLIENT TOKEN").await, "s1-g1.1.0.1.5");

    let refused = |_: &Seen| Verdict::Refuse(Failure::TokenLost { group: GroupId(1) });
    cluster.script(refused);
    assert_eq!(other.ask("GET a").await, "-TOKENLOST what the session has seen of g1 is lost");
}

/// The status, the headers in lower case, and the body.
async fn http(router: &Router, request: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(router.http_address()).await.unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_brings_and_takes_tokens() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    count_records(&cluster);
    let router = router(&cluster).await;
    let (status, head, _) = http(&router, "PUT /v2/keys/k", "", "v").await;
    assert_eq!((status, head.contains("x-simplekv-session: s1-g1.1.0.1.1")), (204, true), "{head}");
    let token = "X-SimpleKV-Session: s1-g1.1.0.1.1\r\n";
    let (status, head, body) = http(&router, "GET /v2/keys/k", token, "").await;
    assert_eq!((status, body.as_str(), head.contains("x-simplekv-session: s1-g1.1.0.1.2")), (200, "v", true), "{head}");
    let read = last_read(&cluster);
    assert_eq!((read.policy, floor(&read)), (ReadPolicy::SESSION, Some(1)));

    let (status, head, _) = http(&router, "GET /v2/keys/missing", token, "").await;
    assert_eq!(
        (status, head.contains("x-simplekv-session: s1-g1.1.0.1.3")),
        (404, true),
        "that it is missing was seen"
    );
    http(&router, "GET /v2/keys/k?read=any", token, "").await;
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Any);
    http(&router, "GET /v2/keys/k", "X-SimpleKV-Read: bounded=2s\r\n", "").await;
    let max_lag = Duration::from_secs(2);
    assert_eq!(last_read(&cluster).policy, ReadPolicy::Bounded { max_lag });

    let asked = cluster.seen().len();
    for (headers, code) in [("X-SimpleKV-Session: s9\r\n", "bad_session"), ("X-SimpleKV-Read: soon\r\n", "bad_query")] {
        let (status, _, body) = http(&router, "GET /v2/keys/k", headers, "").await;
        assert_eq!((status, body.contains(code)), (400, true), "{body}");
    }
    assert_eq!(cluster.seen().len(), asked, "nobody was asked");
    cluster.script(|_| Verdict::Refuse(Failure::TokenLost { group: GroupId(1) }));
    let (status, _, body) = http(&router, "GET /v2/keys/k", token, "").await;
    assert_eq!((status, body.contains("token_lost")), (412, true), "{body}");
}

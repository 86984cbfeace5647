//! Who keeps copies of what it has read hears when they are no longer good: by CLIENT TRACKING, and in the Rust client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use simplekv_client::{Client, NearCache};
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::{GroupId, NodeId, Slot};

use crate::client;

fn text(frame: &Frame) -> String {
    match frame {
        Frame::Null => "nil".to_owned(),
        Frame::Int(number) => number.to_string(),
        // HELLO's answer.
        Frame::Map(_) => "map".to_owned(),
        Frame::Array(parts) | Frame::Push(parts) => {
            format!("[{}]", parts.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        frame => String::from_utf8_lossy(frame.as_bytes().unwrap_or_else(|| panic!("{frame:?}"))).into_owned(),
    }
}

/// Everything.
const FORGET: &str = "[invalidate nil]";

/// A connection whose answers and news are told apart.
struct Reader {
    connection: RespConnection,
    news: Vec<String>,
}

impl Reader {
    async fn open(address: &str, options: &str) -> Self {
        let mut reader = Self { connection: RespConnection::open(address).await.unwrap(), news: Vec::new() };
        reader.ask("HELLO 3").await;
        assert_eq!(reader.ask(&format!("CLIENT TRACKING ON{options}")).await, "OK");
        reader
    }

    async fn receive(&mut self) -> String {
        text(&self.connection.receive().await.unwrap().expect("the connection is open"))
    }

    async fn ask(&mut self, line: &str) -> String {
        self.connection.push(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        self.connection.send().await.unwrap();
        loop {
            let said = self.receive().await;
            if !said.starts_with("[invalidate ") {
                return said;
            }
            self.news.push(said);
        }
    }

    /// Waits for this news, or that all is stale: on a busy machine a replica may lose its lease at any time. Whether it was this.
    async fn hears(&mut self, expected: &str) -> bool {
        loop {
            let is_enough = |news: &&String| *news == expected || *news == FORGET;
            if let Some(news) = self.news.iter().find(is_enough).cloned() {
                self.news.clear();
                return news == expected;
            }
            let said = self.receive().await;
            assert!(said.starts_with("[invalidate "), "{said}");
            self.news.push(said);
        }
    }

    /// Reads a key until nothing that happened before is still on its way: only then is one change one piece of news.
    async fn settled(&mut self, key: &str) -> String {
        loop {
            self.news.clear();
            let value = self.ask(&format!("GET {key}")).await;
            self.ask("PING").await;
            if self.news.is_empty() {
                return value;
            }
        }
    }
}

async fn set(address: &str, key: &str, value: &str) {
    let said = RespConnection::open(address).await.unwrap().ask(&format!("SET {key} {value}")).await.unwrap();
    assert_eq!(said, Frame::Status("OK".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_told_when_somebody_else_changes_it() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let (router, kv) = (cluster.router().await.unwrap(), client(&cluster).await);
    let topology = Arc::clone(&kv.topology().borrow());
    let group_of = |key: &String| topology.owner(Slot::of_key(key.as_bytes())).unwrap().id;
    let keys: BTreeMap<GroupId, String> =
        (0..100).map(|number| format!("user:{number}")).map(|key| (group_of(&key), key)).collect();
    assert_eq!(keys.len(), 2, "one of each group");
    let mut everybody = Reader::open(&router.resp, "").await;
    let mut broad = Reader::open(&router.resp, " BCAST PREFIX user:").await;
    let mut listener = RespConnection::open(&router.resp).await.unwrap();
    let id = text(&listener.ask("CLIENT ID").await.unwrap());
    listener.ask("SUBSCRIBE __redis__:invalidate").await.unwrap();
    let mut redirected = RespConnection::open(&router.resp).await.unwrap();
    redirected.ask(&format!("CLIENT TRACKING ON REDIRECT {id}")).await.unwrap();

    let mut told = [0; 4];
    for (group, key) in &keys {
        let leader = cluster.leader(*group).await.unwrap().unwrap();
        let node = cluster.node(leader).resp.clone();
        let mut at_node = Reader::open(&node, "").await;
        let mut deaf = Reader::open(&node, " OPTIN").await;
        for value in ["1", "2", "3"] {
            let before = everybody.settled(key).await;
            assert_eq!(at_node.settled(key).await, before);
            assert_eq!(text(&redirected.ask(&format!("GET {key}")).await.unwrap()), before);
            assert_eq!(deaf.ask(&format!("GET {key}")).await, before);
            broad.settled(key).await;
            kv.set(key.clone(), value).await.unwrap();
            for (reader, told) in [&mut everybody, &mut at_node, &mut broad].into_iter().zip(&mut told) {
                *told += usize::from(reader.hears(&format!("[invalidate [{key}]]")).await);
                assert_eq!(reader.ask(&format!("GET {key}")).await, value, "the news comes with the change");
            }
            let said = text(&listener.receive().await.unwrap().unwrap());
            told[3] += usize::from(said == format!("[message __redis__:invalidate [{key}]]"));
            assert_eq!(deaf.ask("PING").await, "PONG");
            assert!(deaf.news.iter().all(|news| news == FORGET), "it has not asked for any: {:?}", deaf.news);
        }
        assert_eq!(at_node.ask("CLIENT GETREDIR").await, "0");
    }
    assert!(told.iter().all(|told| *told > 0), "somebody was told of no key: {told:?}");
}

/// Whoever leads next knows nothing of what was read at the one before, and may change it without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_is_reason_enough_to_forget_everything() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    set(&router.resp, "k", "1").await;
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut through_router = Reader::open(&router.resp, "").await;
    let mut at_node = Reader::open(&cluster.node(leader).resp.clone(), "").await;
    assert_eq!([through_router.settled("k").await, at_node.settled("k").await], ["1", "1"]);
    let heir = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {heir}")).await.unwrap();
    at_node.hears(FORGET).await;
    through_router.hears(FORGET).await;
    assert_eq!(through_router.settled("k").await, "1");
    set(&router.resp, "k", "2").await;
    through_router.hears("[invalidate [k]]").await;

    // It dies without a word.
    assert_eq!(through_router.settled("k").await, "2");
    cluster.node(heir).process.kill().unwrap();
    through_router.hears(FORGET).await;
    assert_eq!(through_router.settled("k").await, "2");
    set(&router.resp, "k", "3").await;
    through_router.hears("[invalidate [k]]").await;
}

async fn cached(kv: &Client, key: &str) -> u64 {
    kv.get(key).cached().await.unwrap().map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap())
}

/// Reads that are under way when the news of a change comes bring back what was before it. None of that may stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_never_comes_back_to_life() {
    const READERS: usize = 4;
    const ROUNDS: u64 = 200;
    let cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let writer = client(&cluster).await;
    let seeds = cluster.seeds();
    let builder = seeds.iter().fold(Client::builder(), |builder, seed| builder.seed(seed));
    // No copy is thrown away because of its age.
    let near = NearCache::default().ttl(Duration::from_secs(86_400));
    let reader = builder.timeout(Duration::from_secs(60)).near_cache(near).build().await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        // Without a session a copy may be older than what somebody was answered whose answer overtook the news.
        let session = reader.session();
        readers.push(tokio::spawn(async move {
            let mut last = 0;
            while last < ROUNDS {
                let read = cached(&session, "k").await;
                assert!(read >= last, "{read} was read after {last}");
                last = read;
                tokio::task::yield_now().await;
            }
        }));
    }
    for round in 1..=ROUNDS {
        writer.set("k", round.to_string()).await.unwrap();
        if round % 50 == 0 {
            let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
            let heir = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
            cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {heir}")).await.unwrap();
        }
        if round % 10 == 0 {
            wait::until("the news has come", async || (cached(&reader, "k").await == round).then_some(())).await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    wait::until("there is a copy", async || {
        let hits = reader.stats().near_hits;
        cached(&reader, "k").await;
        (reader.stats().near_hits > hits).then_some(())
    })
    .await;
}

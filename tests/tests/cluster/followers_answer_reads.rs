//! Followers answer linearizable reads under their lease, by themselves, and nothing once it has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use simplekv_client::Client;
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::{GroupId, NodeId};
use tokio::task::JoinSet;

use crate::{client, http};

/// A connection that may be answered by a follower.
async fn reader(address: &str) -> Option<RespConnection> {
    let mut connection = RespConnection::open(address).await.ok()?;
    (connection.ask("READONLY").await.ok()? == Frame::Status("OK".into())).then_some(connection)
}

fn number(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// How many reads a node has answered while another led.
async fn follower_reads(cluster: &mut Cluster, node: NodeId) -> u64 {
    let (_, text) = http(&cluster.node(node).admin.clone(), "/metrics").await;
    let line = text.lines().find(|line| line.starts_with("simplekv_follower_reads_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_what_was_acknowledged_before_it_was_asked() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "0").await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let followers: Vec<NodeId> = cluster.nodes.iter().map(|node| node.id).filter(|&node| node != leader).collect();
    for follower in followers {
        let address = cluster.node(follower).resp.clone();
        let mut asked = reader(&address).await.unwrap();
        let mut answered = 0;
        for n in 1..=200_u64 {
            kv.set("k", n.to_string()).await.unwrap();
            match asked.ask("GET k").await.unwrap() {
                Frame::Error(text) => assert!(text.starts_with(b"MOVED "), "{text:?}"),
                answer => {
                    assert_eq!(number(&answer), Some(n), "nothing older than what was acknowledged");
                    answered += 1;
                }
            }
        }
        assert!(answered > 100, "{follower} answered {answered} of 200 itself");
        // A key that rests is answered without waiting for anything.
        let before = follower_reads(&mut cluster, follower).await;
        assert_eq!(number(&asked.ask("GET k").await.unwrap()), Some(200));
        assert_eq!(follower_reads(&mut cluster, follower).await, before + 1);

        asked.ask("READWRITE").await.unwrap();
        let redirected = format!("MOVED 7629 {}", cluster.node(leader).resp);
        assert_eq!(asked.ask("GET k").await.unwrap(), Frame::Error(redirected.into()));
    }
}

/// The client's own reads are spread over all replicas, at full consistency.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_reads_are_spread_over_the_replicas() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    for n in 0..100_u32 {
        kv.set(format!("k{n}"), n.to_string()).await.unwrap();
    }
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let followers: Vec<NodeId> = cluster.nodes.iter().map(|node| node.id).filter(|&node| node != leader).collect();
    let mut rounds = 0;
    // How fast each is on a busy machine is not asked; that nobody is left out is.
    loop {
        rounds += 1;
        read_all(&kv).await;
        let mut answered = Vec::new();
        for &follower in &followers {
            answered.push(follower_reads(&mut cluster, follower).await);
        }
        println!("after {rounds} rounds of 4000 reads {followers:?} have answered {answered:?}");
        if answered.iter().all(|&count| count > 400) {
            break;
        }
    }
    assert_eq!(follower_reads(&mut cluster, leader).await, 0, "what the leader answers it answers as the leader");
}

/// Eight readers at a time, of a hundred keys.
async fn read_all(kv: &Client) {
    let mut readers = JoinSet::new();
    for reader in 0..8_u32 {
        let kv = kv.clone();
        readers.spawn(async move {
            for n in 0..500 {
                let n = (n * 8 + reader) % 100;
                assert_eq!(kv.get(format!("k{n}")).await.unwrap().unwrap(), n.to_string().as_bytes());
            }
        });
    }
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
}

/// What is known to have been in the register: no later read may show less.
#[derive(Default)]
struct Register {
    known: AtomicU64,
    stop: AtomicBool,
}

/// Reads from one node as long as it is told to. Returns how often it was answered.
async fn read_from(address: String, register: Arc<Register>) -> u64 {
    let (mut connection, mut answered) = (None, 0);
    while !register.stop.load(Ordering::SeqCst) {
        let Some(asked) = connection.as_mut() else {
            connection = reader(&address).await;
            if connection.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            continue;
        };
        let known = register.known.load(Ordering::SeqCst);
        match asked.ask("GET k").await {
            Ok(answer) => {
                if let Some(read) = number(&answer) {
                    assert!(read >= known, "{address} answered {read} after {known} was known");
                    register.known.fetch_max(read, Ordering::SeqCst);
                    answered += 1;
                }
            }
            Err(_) => connection = None,
        }
    }
    answered
}

async fn write(kv: Client, register: Arc<Register>) {
    let mut n = 0_u64;
    while !register.stop.load(Ordering::SeqCst) {
        n += 1;
        kv.set("k", n.to_string()).await.unwrap();
        register.known.fetch_max(n, Ordering::SeqCst);
    }
}

/// Every node answers reads of one register, while its leader stands still, dies and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn no_replica_answers_anything_old_while_leaders_come_and_go() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "0").await.unwrap();
    let register = Arc::new(Register::default());
    let mut readers = JoinSet::new();
    for node in &cluster.nodes {
        readers.spawn(read_from(node.resp.clone(), Arc::clone(&register)));
    }
    let writer = tokio::spawn(write(kv, Arc::clone(&register)));
    for round in 0..4 {
        let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
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
    let mut answered = Vec::new();
    while let Some(count) = readers.join_next().await {
        answered.push(count.unwrap());
    }
    println!("reads answered by each node: {answered:?}, last value {}", register.known.load(Ordering::SeqCst));
    assert!(answered.iter().all(|&count| count > 100), "every node answers: {answered:?}");
}

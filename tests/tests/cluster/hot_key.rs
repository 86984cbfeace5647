//! Many readers of one key through one client: few GETs on the wire, and no value that is older than it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::{ReadPolicy, Slot};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client;

const READERS: u64 = 1000;
/// Reads of each reader, one after the other.
const READS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_share_round_trips_and_every_one_reads_what_is_true() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let node = &cluster.nodes[0];
    let kv = client(&cluster).await;
    // The writer has a connection of its own, so that the client sends nothing but GETs.
    let mut writer = RespConnection::open(&node.resp).await.unwrap();
    assert_eq!(writer.ask("SET hot 0").await.unwrap(), Frame::Status("OK".into()));
    let round_trip = shortest_round_trip(&kv).await;

    // What has been sent, and what has been acknowledged.
    let (sent, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let writing = {
        let (sent, acknowledged, done) = (Arc::clone(&sent), Arc::clone(&acknowledged), Arc::clone(&done));
        tokio::spawn(async move {
            for number in 1_u64.. {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                sent.store(number, Ordering::SeqCst);
                assert_eq!(writer.ask(&format!("SET hot {number}")).await.unwrap(), Frame::Status("OK".into()));
                acknowledged.store(number, Ordering::SeqCst);
            }
        })
    };
    let before = kv.stats().ops;
    let begun = Instant::now();
    let mut readers = JoinSet::new();
    let together = Arc::new(Barrier::new(usize::try_from(READERS).unwrap()));
    for _ in 0..READERS {
        let (kv, together) = (kv.clone(), Arc::clone(&together));
        let (sent, acknowledged) = (Arc::clone(&sent), Arc::clone(&acknowledged));
        readers.spawn(async move {
            together.wait().await;
            for _ in 0..READS {
                let oldest = acknowledged.load(Ordering::SeqCst);
                let value = kv.get("hot").await.unwrap().unwrap();
                let newest = sent.load(Ordering::SeqCst);
                let value: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                assert!((oldest..=newest).contains(&value), "read {value} when {oldest} to {newest} were possible");
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    let elapsed = begun.elapsed();
    done.store(true, Ordering::SeqCst);
    let on_the_wire = kv.stats().ops - before;
    writing.await.unwrap();

    let round_trips = elapsed.as_secs_f64() / round_trip.as_secs_f64();
    println!(
        "{} reads, {on_the_wire} GETs on the wire in {elapsed:?}; a round trip takes {round_trip:?}; {} writes meanwhile",
        READERS * READS,
        acknowledged.load(Ordering::SeqCst)
    );
    assert!(acknowledged.load(Ordering::SeqCst) > 0 && on_the_wire > 0);
    assert!(on_the_wire as f64 <= 2.0 * round_trips + 2.0, "{on_the_wire} GETs in {round_trips:.0} round trips");
    assert!(on_the_wire * 10 <= READERS * READS, "only ten times as many reads as GETs");
}

/// Read on all replicas, it is one key all the same.
#[tokio::test(flavor = "multi_thread")]
async fn hot_keys_and_slots_are_told_from_the_rest() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("hot", "value").await.unwrap();
    let mut clients = JoinSet::new();
    for number in 0..8_u32 {
        let kv = kv.clone();
        clients.spawn(async move {
            for round in 0..1000_u32 {
                // As a command, since GETs of one key at the same time are sent once.
                kv.cmd("GET").key("hot").read(ReadPolicy::Linearizable).await.unwrap();
                if round % 4 == 0 {
                    kv.set(format!("cold{number}-{round}"), "v").await.unwrap();
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let admin = cluster.admin().unwrap();
    let keys = admin.json("hot-keys").await.unwrap();
    let first = &keys["reads"][0];
    assert_eq!(first["key"], "hot", "{keys}");
    assert!(first["nodes"].as_object().unwrap().len() > 1, "followers are asked as well: {keys}");

    let slot = Slot::of_key(b"hot").number();
    let slots = admin.json("hot-slots --by reads --limit 1 --over 1ms").await.unwrap();
    // Nobody reads any more: what a slot was asked is over, what it holds is not.
    assert_eq!(slots["slots"].as_array().unwrap().len(), 0, "{slots}");
    let slots = admin.json("hot-slots --by keys --limit 16384 --over 1ms").await.unwrap();
    let all = slots["slots"].as_array().unwrap();
    let keys: u64 = all.iter().map(|slot| slot["keys"].as_u64().unwrap()).sum();
    assert_eq!(keys, 2001, "every key is counted once");
    assert!(all.iter().any(|found| found["slot"] == slot), "{slots}");
}

/// The shortest of many; a round trip under load takes longer.
async fn shortest_round_trip(kv: &simplekv_client::Client) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..200 {
        let sent = Instant::now();
        kv.get("hot").await.unwrap();
        shortest = shortest.min(sent.elapsed());
    }
    shortest
}

//! Slots move between groups while clients go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simplekv_client::Client;
use simplekv_tests::{Cluster, Shape};
use tokio::task::JoinHandle;

/// A writer's keys, each with the last value that was acknowledged.
type Written = BTreeMap<String, u64>;

/// What a writer has found.
struct Outcome {
    written: Written,
    failures: Vec<String>,
    /// How often it has counted.
    rounds: u64,
    longest: Duration,
}

/// Sets keys of its own, one after the other, and reads each back.
fn writer(client: Client, number: usize, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> JoinHandle<Outcome> {
    tokio::spawn(async move {
        let mut outcome = Outcome { written: Written::new(), failures: Vec::new(), rounds: 0, longest: Duration::ZERO };
        for value in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("w{number}:{}", value % 500);
            let began = Instant::now();
            let set = client.set(&key, value.to_string()).await;
            outcome.longest = outcome.longest.max(began.elapsed());
            match set {
                Ok(_) => drop(outcome.written.insert(key.clone(), value)),
                Err(error) => outcome.failures.push(format!("SET {key}: {error}")),
            }
            let began = Instant::now();
            match client.get(&key).await {
                Ok(found) if found.as_deref() == Some(value.to_string().as_bytes()) => (),
                Ok(found) => outcome.failures.push(format!("GET {key}: {found:?} instead of {value}")),
                Err(error) => outcome.failures.push(format!("GET {key}: {error}")),
            }
            outcome.longest = outcome.longest.max(began.elapsed());
            outcome.rounds += 1;
            if let Err(error) = client.incr(format!("count{number}")).await {
                outcome.failures.push(format!("INCR: {error}"));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_all_slots_change_hands() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let client = super::client(&cluster).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> =
        (0..4).map(|number| writer(client.clone(), number, Arc::clone(&stop), Arc::clone(&done))).collect();
    let admin = cluster.admin().unwrap();
    simplekv_tests::wait::until("the writers have begun", async || (done.load(Ordering::Relaxed) > 100).then_some(()))
        .await;

    // All of the first group's slots go to the second, and half of everything comes back.
    let report = admin.json("migrate-slot 0-8191 --to g2 --timeout 60s").await.unwrap();
    assert_eq!((report["state"].as_str(), report["slots_done"].as_u64()), (Some("done"), Some(8192)), "{report}");
    let report = admin.json("migrate-slot 0-4095,12288-16383 --to g1").await.unwrap();
    assert_eq!(report["done"].as_bool(), Some(true), "{report}");

    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    for (number, writer) in writers.into_iter().enumerate() {
        let outcome = writer.await.unwrap();
        assert_eq!(outcome.failures, Vec::<String>::new());
        for (key, value) in &outcome.written {
            let found = client.get(key).await.unwrap();
            assert_eq!(found.as_deref(), Some(value.to_string().as_bytes()), "{key}");
        }
        longest = longest.max(outcome.longest);
        let count = client.get(format!("count{number}")).await.unwrap().unwrap();
        let count: u64 = std::str::from_utf8(&count).unwrap().parse().unwrap();
        assert_eq!(count, outcome.rounds, "every write is done once");
        println!("writer {number}: {count} rounds, longest request {:?}", outcome.longest);
    }
    println!("longest request {longest:?}");
    let status = admin.json("slots").await.unwrap();
    let owner = |slot: u64| {
        let ranges = status["slots"].as_array().unwrap();
        let range = ranges
            .iter()
            .find(|range| (range["first"].as_u64().unwrap()..=range["last"].as_u64().unwrap()).contains(&slot));
        range.unwrap()["group"].as_str().unwrap().to_owned()
    };
    assert_eq!([0, 4095, 4096, 8191, 12287, 12288, 16383].map(owner), ["g1", "g1", "g2", "g2", "g2", "g1", "g1"]);
}

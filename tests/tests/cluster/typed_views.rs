//! A shop that keeps its books by the client's typed views, and whose leader dies in the middle of the day.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use simplekv_client::{Client, End, Error, Outcome};
use simplekv_tests::{Cluster, Shape, wait};
use simplekv_types::Slot;
use tokio_stream::StreamExt;

const APPLES: i64 = 300;
const CUSTOMERS: usize = 4;

/// Sells one apple, if there is one: what is left, the order, who was here and what they bought change together.
async fn sell(kv: &Client, customer: &str) -> bool {
    loop {
        let version = kv.version("{shop}:stock").await.unwrap();
        let apples = kv.hash("{shop}:stock").get("apples").await.unwrap().expect("somebody filled it");
        if &apples[..] == b"0" {
            return false;
        }
        let mut sale = kv.atomic().check("{shop}:stock", version).check_absent("{shop}:closed");
        let left = sale.add(kv.hash("{shop}:stock").incr("apples", -1));
        sale.add(kv.list("{shop}:orders").rpush([format!("{customer} bought apple {}", text(&apples))]));
        sale.add(kv.set_of("{shop}:customers").add([customer]));
        sale.add(kv.zset("{shop}:bought").incr(customer, 1.0));
        // Another customer was faster if nothing was done.
        if let Outcome::Done(mut results) = sale.await.unwrap() {
            assert!(results.failures().next().is_none(), "{results:?}");
            assert_eq!(results.take(left).unwrap() + 1, text(&apples).parse::<i64>().unwrap());
            return true;
        }
    }
}

/// Takes orders as they come and writes down in another group what was delivered.
async fn deliver(kv: Client) -> usize {
    let mut delivered = 0;
    while let Some(order) = kv.list("{shop}:orders").wait_lpop(Duration::MAX).await.unwrap() {
        if &order[..] == b"closed" {
            break;
        }
        assert_eq!(kv.set_of("delivered").add([order.clone()]).await.unwrap(), 1, "{order:?} came twice");
        delivered += 1;
    }
    delivered
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_keeps_its_books_while_its_leader_dies() {
    let groups = vec![vec![1, 2, 3], vec![2, 3, 1]];
    let mut cluster = Cluster::start(&Shape { groups, ..Shape::three_nodes() }).await.unwrap();
    let kv = super::client(&cluster).await;
    let group = |key: &str| kv.topology().borrow().owner(Slot::of_key(key.as_bytes())).unwrap().id;
    let shop = group("{shop}");
    let elsewhere = (0..).map(|n| format!("key-{n}")).find(|key| group(key) != shop).unwrap();
    kv.hash("{shop}:stock").set_all([("apples", APPLES.to_string()), ("pears", "7".into())]).await.unwrap();

    let mut astray = kv.atomic();
    astray.add(kv.hash("{shop}:stock").incr("apples", 1));
    astray.add(kv.incr(&elsewhere));
    assert!(matches!(astray.await, Err(Error::SeveralGroups { .. })));

    let courier = tokio::spawn(deliver(kv.clone()));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|number| {
            let kv = kv.clone();
            tokio::spawn(async move {
                let (name, mut bought) = (format!("customer {number}"), 0);
                while sell(&kv, &name).await {
                    bought += 1;
                }
                (name, bought)
            })
        })
        .collect();
    // Whom to kill is asked beforehand: the day must not be over before it is known.
    let leader = cluster.leader(shop).await.unwrap().unwrap();
    wait::until("the shop is busy", async || {
        let bought = kv.zset("{shop}:bought").range(0, -1).with_scores().await.unwrap();
        (bought.iter().map(|(_, count)| count).sum::<f64>() >= 30.0).then_some(())
    })
    .await;
    cluster.node(leader).process.kill().unwrap();
    assert!(customers.iter().all(|customer| !customer.is_finished()), "it dies in the middle of the day");

    let mut bought = BTreeMap::new();
    for customer in customers {
        let (name, count) = customer.await.unwrap();
        bought.insert(name, f64::from(count));
    }
    assert_eq!(bought.values().sum::<f64>(), APPLES as f64);
    kv.list("{shop}:last").rpush(["closed"]).await.unwrap();
    kv.list("{shop}:last").move_to("{shop}:orders", End::Left, End::Right).await.unwrap();
    assert_eq!(courier.await.unwrap(), APPLES as usize);

    the_books_agree(&kv, &bought).await;
}

/// Read in one batch over both groups, and by walks.
async fn the_books_agree(kv: &Client, bought: &BTreeMap<String, f64>) {
    let mut batch = kv.batch();
    let stock = batch.add(kv.hash("{shop}:stock").get_all());
    let delivered = batch.add(kv.set_of("delivered").len());
    let best = batch.add(kv.zset("{shop}:bought").range(0, 0).rev().with_scores());
    let text_as_list = batch.add(kv.list("{shop}:stock").len());
    let mut results = batch.await;
    assert_eq!(results.take(stock).unwrap()[&b"apples"[..]], "0");
    assert_eq!(results.take(delivered).unwrap(), APPLES as u64);
    let most = bought.values().copied().fold(0.0, f64::max);
    assert_eq!(results.take(best).unwrap()[0].1, most);
    assert!(matches!(results.take(text_as_list), Err(Error::WrongType)));

    let scores: BTreeMap<String, f64> = {
        let walk = kv.zset("{shop}:bought").scan().count(2).stream();
        walk.map(|member| member.map(|(name, count)| (text(&name), count)).unwrap()).collect().await
    };
    assert_eq!(&scores, bought);
    let seen: BTreeSet<String> =
        kv.set_of("{shop}:customers").scan().stream().map(|name| text(&name.unwrap())).collect().await;
    assert_eq!(seen, bought.keys().cloned().collect());
    let apples: Vec<_> = kv.hash("{shop}:stock").scan().prefix("app").stream().collect().await;
    assert_eq!(apples.len(), 1);
}

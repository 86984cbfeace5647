//! A tour of the client's typed views. Start a cluster with `make run`, then: `cargo run -p simplekv-client --example shop`.
//!
//! Another cluster's address can be given: `… --example shop -- simplekv://10.0.0.1:7410`.

#![expect(clippy::print_stdout, reason = "it is here to be read")]

use std::time::Duration;

use futures::TryStreamExt;
use simplekv_client::{Client, Outcome, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "simplekv://127.0.0.1:7410".into());
    let kv = Client::connect(url).await?;
    // What lies between braces decides which group a key belongs to: these can be changed together.
    for key in ["{shop}:stock", "{shop}:orders", "{shop}:bought"] {
        kv.del(key).await?;
    }
    kv.hash("{shop}:stock").set_all([("apples", "2"), ("pears", "7")]).await?;

    for customer in ["alice", "bob", "carol"] {
        match sell_an_apple(&kv, customer).await? {
            Some(left) => println!("{customer} bought an apple, {left} left"),
            None => println!("{customer} came too late"),
        }
    }

    // Many independent questions in one go, each with its own answer.
    let mut batch = kv.batch();
    let orders = batch.add(kv.list("{shop}:orders").len());
    let best = batch.add(kv.zset("{shop}:bought").range(0, 9).rev().with_scores());
    let mut results = batch.await;
    println!("{} orders; customers, the best first: {:?}", results.take(orders)?, results.take(best)?);

    while let Some(order) = kv.list("{shop}:orders").wait_lpop(Duration::from_millis(100)).await? {
        println!("delivered to {}", String::from_utf8_lossy(&order));
    }
    let mut shelf = kv.hash("{shop}:stock").scan().stream();
    while let Some((fruit, count)) = shelf.try_next().await? {
        println!("left: {} {}", String::from_utf8_lossy(&count), String::from_utf8_lossy(&fruit));
    }
    kv.close(Duration::from_secs(1)).await;
    Ok(())
}

/// How many are left after it; `None` if there was none.
async fn sell_an_apple(kv: &Client, customer: &str) -> Result<Option<i64>> {
    loop {
        let version = kv.version("{shop}:stock").await?;
        if kv.hash("{shop}:stock").get("apples").await?.is_none_or(|apples| &apples[..] == b"0") {
            return Ok(None);
        }
        let mut sale = kv.atomic().check("{shop}:stock", version);
        let left = sale.add(kv.hash("{shop}:stock").incr("apples", -1));
        sale.add(kv.list("{shop}:orders").rpush([customer]));
        sale.add(kv.zset("{shop}:bought").incr(customer, 1.0));
        // If the stock has changed since its version was told, nothing was done.
        if let Outcome::Done(mut results) = sale.await? {
            return results.take(left).map(Some);
        }
    }
}

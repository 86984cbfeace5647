//! Sets a key, reads it, lets it expire. Run against a cluster on this machine:
//!
//! ```sh
//! cargo run -p simplekv-client --example hello -- simplekv://127.0.0.1:7410
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use simplekv_client::{Client, Expiry};

#[tokio::main]
async fn main() -> simplekv_client::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "simplekv://127.0.0.1:7410".to_owned());
    let kv = Client::connect(url).await?;

    kv.set("user:1", "alice").ttl(Duration::from_secs(60)).await?;
    if let Some(name) = kv.get("user:1").await? {
        println!("user:1 is {}", String::from_utf8_lossy(&name));
    }
    if let Expiry::In(left) = kv.ttl("user:1").await? {
        println!("it expires in {} s", left.as_secs());
    }
    println!("visit number {}", kv.incr("visits").await?);

    kv.mset([("user:2", "bob"), ("user:3", "carol")]).await?;
    let names = kv.mget(["user:1", "user:2", "user:3", "user:4"]).await?;
    println!("{} of 4 users exist", names.iter().flatten().count());

    // A write that fails without a doubt was not done; only then is it safe to make it again under a new identity.
    if let Err(error) = kv.set("user:4", "dave").timeout(Duration::from_millis(500)).await {
        println!("not set: {error} (may it have been? {})", error.may_have_applied());
    }
    kv.close(Duration::from_secs(1)).await;
    Ok(())
}

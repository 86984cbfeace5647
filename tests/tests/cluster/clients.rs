//! Clients and frameworks as they are installed, with sessions as their users write them: `tests/clients` has them, one file each.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use simplekv_tests::{Cluster, Shape};
use tokio::process::Command;

/// Longer, and a client waits for something that does not come.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs one of the scripts and expects it to end well.
async fn session(script: &str, addresses: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/test-python/bin/python");
    let mut command = Command::new(&python);
    command.arg(root.join("clients").join(script)).args(addresses).kill_on_drop(true);
    // Nothing is to be left in the source tree.
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let output =
        tokio::time::timeout(LIMIT, command.output()).await.unwrap_or_else(|_| panic!("{script} does not end"));
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; run deploy/setup-test-machine", python.display()));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{script}: {said}{complained}");
    assert!(output.status.success() && said.lines().last() == Some("fine"), "{script}: {}", output.status);
}

/// One Redis is what they take the router for, a Redis Cluster the nodes.
#[tokio::test(flavor = "multi_thread")]
async fn redis_py_and_valkey_glide_work_unchanged() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let addresses = [router.resp.as_str(), cluster.nodes[0].resp.as_str()];
    session("redis_py.py", &addresses).await;
    session("valkey_glide.py", &addresses).await;
}

/// What these do with MULTI is over several groups, which the router has to be told to allow.
#[tokio::test(flavor = "multi_thread")]
async fn django_and_celery_work_unchanged() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router_with(&vec![("redis", "transactions", "per-group".into())]).await.unwrap();
    session("django_cache.py", &[&router.resp]).await;
    session("celery_tasks.py", &[&router.resp]).await;
}

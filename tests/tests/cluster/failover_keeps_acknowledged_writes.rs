//! What `simplekv-bench failover` and `blackout` promise, in short.

use simplekv_tests::program;
use tokio::process::Command;

async fn bench(line: &str) {
    let mut command = Command::new(program("simplekv-bench").unwrap());
    let output = command.args(line.split(' ')).kill_on_drop(true).output().await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}{complained}");
    assert!(output.status.success(), "{line}: {}", output.status);
    assert!(said.contains(" lost=0 duplicated=0 client_errors=0"), "{line}");
}

#[tokio::test]
async fn killed_leaders_lose_nothing() {
    bench("failover --kills 3 --controller-kills 1").await;
}

#[tokio::test]
async fn killed_leaders_lose_nothing_that_was_not_flushed() {
    bench("failover --kills 2 --controller-kills 0 --flush replicated").await;
}

#[tokio::test]
async fn nodes_killed_all_at_once_lose_nothing() {
    bench("blackout --times 2").await;
}

#[tokio::test]
async fn nodes_killed_all_at_once_lose_nothing_that_was_not_flushed() {
    bench("blackout --times 2 --flush replicated").await;
}

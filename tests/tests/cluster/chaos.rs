//! A short round of everything that may go wrong, on a network that can be cut. `simplekv-bench chaos` does it for hours.

use simplekv_tests::program;
use tokio::process::Command;

/// One fault of each kind; clients' histories are linearizable, and nothing acknowledged is lost.
#[tokio::test]
async fn every_kind_of_fault_once_breaks_no_promise() {
    let mut command = Command::new(program("simplekv-bench").unwrap());
    command.args(["chaos", "--minutes", "0.3", "--seed", "7"]).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}{complained}");
    // Not everybody may make network namespaces; who may not is told so.
    if !rustix::process::geteuid().is_root() {
        assert!(complained.contains("chaos needs root"));
        return;
    }
    assert!(output.status.success());
    let figures: Vec<&str> = said.split_whitespace().collect();
    for promise in ["lost=0", "violations=0", "undecided=0"] {
        assert!(figures.contains(&promise), "{promise}");
    }
    let acked = figures.iter().find_map(|figure| figure.strip_prefix("acked=")?.parse::<u64>().ok());
    assert!(acked > Some(500), "{acked:?}");
}
